"""Fixtures of the live tests."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import pytest_twisted  # type: ignore[import-untyped]

from txsoter import Listeners
from txsoter.test.live.fed import Fed
from txsoter.test.live.peers import FULL, Dag, dial, simnet, within
from txsoter.testing.soterd import Soterd, eventually

STALE = 20 * 3600
"""Seconds. A node is current while its tip is younger than 24 h; one that is not leaves much unanswered."""


@pytest.fixture(scope="session")
def fed(soterd_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Fed:
    """The recorded DAG in a node, to which our peer has fed it."""
    node = Soterd(soterd_binary, tmp_path_factory.mktemp("fed"))
    try:
        block_count, height = pytest_twisted.blockon(within(240, _feed(node)))
    finally:
        node.stop()
    return Fed(node.data, block_count, height)


async def _feed(node: Soterd) -> tuple[int, int]:
    await node.answers()
    dag = Dag()
    listeners = Listeners(on_getblocks=dag.on_getblocks, on_getdata=dag.on_getdata)
    peer = await dial(node, simnet(services=FULL, newest_block=lambda: dag.height, listeners=listeners))

    async def has_all() -> bool:
        return await node.block_count() == len(dag.blocks) + 1

    await eventually(has_all, "a node has the recorded DAG", 60)
    await peer.disconnect()
    newest = max(block.header.time for block in dag.blocks.values())
    if newest > time.time() - STALE:
        return len(dag.blocks) + 1, dag.height
    await node.rpc("generate", 1)
    return await node.block_count(), dag.height + 1
