"""A soterd's DAG: fetched, and relayed to another node by ``examples/bridge.py``."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from txsoter import SIMNET, Listeners, SoterPeerProtocol
from txsoter.core.state import State
from txsoter.errors import LocalError
from txsoter.test.live.fed import Fed
from txsoter.test.live.peers import Dag, dial, live, simnet, within
from txsoter.test.vectors import dag
from txsoter.testing.soterd import SoterdFactory, eventually, free_ports
from txsoter.wire import (
    Block,
    CFCheckpt,
    CFHeaders,
    CFilter,
    GetBlocks,
    GetCFCheckpt,
    GetCFHeaders,
    GetCFilters,
    GetData,
    Hash,
    Inv,
    InventoryType,
    InventoryVector,
    Ping,
    Pong,
    double_sha256,
)

ROOT = Path(__file__).parents[3]


def example(name: str) -> tuple[list[str], dict[str, str]]:
    """The command that runs an example with this txsoter, and its environment."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return [sys.executable, "-u", str(ROOT / "examples" / name)], {**os.environ, "PYTHONPATH": path}


@contextlib.contextmanager
def bridge(listen_port: int, node: str, log: Path, services: int = 9) -> Iterator[None]:
    """The example, running."""
    command, environment = example("bridge.py")
    command += [f"tcp:{listen_port}:interface=127.0.0.1", node, "--network=simnet", f"--services={services}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        finally:
            process.kill()
            process.wait()


@live(180)
async def test_bridge(soterds: SoterdFactory, fed: Fed, tmp_path: Path) -> None:
    """A fresh node syncs with bridge.py alone between it and another; not when bridge.py offers NETWORK alone."""
    from twisted.internet import reactor

    first = await soterds.start(data=fed.data)
    ports = free_ports(2)
    logs = [tmp_path / "bridge-9", tmp_path / "bridge-1"]
    with bridge(ports[0], first.endpoint, logs[0]), bridge(ports[1], first.endpoint, logs[1], services=1):
        await eventually(lambda: all(b"listening" in log.read_bytes() for log in logs), "the bridges listen")
        fresh = await soterds.start(f"--connect=127.0.0.1:{ports[0]}")
        refusing = await soterds.start(f"--connect=127.0.0.1:{ports[1]}")
        began = time.monotonic()

        async def has_all() -> bool:
            return await fresh.block_count() == fed.block_count

        await eventually(has_all, "the node behind the bridge has all blocks", 60)
        took = time.monotonic() - began
        print(f"{fed.block_count} blocks relayed in {took:.2f} s")

        async def claimed() -> list[tuple[str, int]]:
            return [(each["services"], each["startingheight"]) for each in await refusing.peers()]

        async def tempted() -> bool:
            return await claimed() == [("00000001", fed.height)]

        await eventually(tempted, "the other node is connected to its bridge")
        until = time.monotonic() + max(10, 10 * took)
        while time.monotonic() < until:
            assert await refusing.block_count() == 1
            await deferLater(reactor, 0.2)
        assert await tempted()
    for log in logs:
        assert b"Traceback" not in log.read_bytes()
    assert await first.block_count() == fed.block_count


@live(60)
async def test_fetch_dag(soterds: SoterdFactory, fed: Fed, tmp_path: Path) -> None:
    """fetch_dag.py lists the whole DAG, and draws it."""
    node = await soterds.start(data=fed.data)
    command, environment = example("fetch_dag.py")
    command += [node.endpoint, "--network=simnet", "--dot", str(tmp_path / "dot")]
    run = await deferToThread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    recorded = {" ".join((str(row["height"]), row["hash"], *row["parents"])) for row in dag()}
    assert lines[0] == f"0 {SIMNET.genesis_hash}"
    assert len(lines) == fed.block_count
    assert recorded <= set(lines)
    drawn = (tmp_path / "dot").read_text()
    for row in dag():
        for parent in row["parents"]:
            assert f'"{row["hash"]}" -> "{parent}"' in drawn


@live(60)
async def test_every_block(soterds: SoterdFactory, fed: Fed) -> None:
    """Each block has the hash it was announced by, its merkle root, and a header that commits to its parents."""
    node = await soterds.start(data=fed.data)
    peer = await dial(node, simnet())
    inv = await peer.request(GetBlocks(height=-1), Inv)
    assert len(inv.vectors) == fed.block_count
    assert max(vector.height for vector in inv.vectors) == fed.height
    blocks: dict[Hash, Block] = {}
    for vector in inv.vectors:
        wanted = InventoryVector(InventoryType.WITNESS_BLOCK, vector.hash, vector.height)
        block = await peer.request(GetData([wanted]), Block)
        assert block.hash == vector.hash
        block.verify()
        # parents are announced before their children
        assert all(parent.hash in blocks for parent in block.parents)
        assert (vector.height == 0) == (len(block.parents) == 0)
        blocks[block.hash] = block
    assert set(Dag().blocks) <= set(blocks)
    await peer.disconnect()


@live(60)
async def test_committed_filters(soterds: SoterdFactory, fed: Fed) -> None:
    """Filters, the hashes of them, and their checkpoints agree with each other."""
    node = await soterds.start(data=fed.data)
    filters: list[CFilter] = []
    all_came: Deferred[None] = Deferred()

    def on_cfilter(peer: SoterPeerProtocol, message: CFilter) -> None:
        filters.append(message)
        if message.block_hash == tip:
            all_came.callback(None)

    peer = await dial(node, simnet(listeners=Listeners(on_cfilter=on_cfilter)))
    inv = await peer.request(GetBlocks(height=-1), Inv)
    tip = inv.vectors[-1].hash
    await peer.send(GetCFilters(start_height=0, stop=tip))
    await within(20, all_came)
    headers = await peer.request(GetCFHeaders(start_height=0, stop=tip), CFHeaders)
    checkpoints = await peer.request(GetCFCheckpt(stop=tip), CFCheckpt)
    assert headers.stop == checkpoints.stop == tip
    assert [each.block_hash for each in filters] == [vector.hash for vector in inv.vectors]
    assert list(headers.filter_hashes) == [double_sha256(each.data) for each in filters]
    await peer.disconnect()


@live(60)
async def test_largest_inv(soterds: SoterdFactory, fed: Fed) -> None:
    """It accepts an inv of 45,000; one of 45,001 fails here, and is not sent."""
    node = await soterds.start(data=fed.data)
    peer = await dial(node, simnet())
    vectors = list(islice(cycle(Dag().vectors), 45_001))
    with pytest.raises(LocalError, match="45000"):
        peer.send(Inv(vectors))
    assert "inv" not in peer.stats().sent
    await peer.send(Inv(vectors[:45_000]))
    assert (await peer.request(Ping(4), Pong)).nonce == 4
    (seen,) = await node.peers()
    assert seen["bytesrecv"] == peer.stats().bytes_sent > 1_800_000
    assert peer.state is State.READY
    await peer.disconnect()
