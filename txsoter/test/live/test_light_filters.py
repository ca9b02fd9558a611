"""A light client on soterds: their committed filters, and payments found by these and by bloom filters."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.endpoints import clientFromString

from txsoter.chain import LightClient
from txsoter.test.live.fed import Fed
from txsoter.test.live.peers import live, simnet
from txsoter.test.node import recorded
from txsoter.testing.soterd import SoterdFactory, eventually

BLOCKS = [block for _, block in recorded()]
SCRIPT = BLOCKS[0].transactions[0].outputs[0].script
PAYING = {block.hash for block in BLOCKS if block.transactions[0].outputs[0].script == SCRIPT}


async def found_by(client: LightClient, count: int) -> list[Any]:
    """Return the first transactions that concern the script."""
    found = []
    watch = client.watch([SCRIPT])
    async for each in watch:
        found.append(each)
        if len(found) == count:
            break
    await watch.aclose()
    return found


@live(120)
async def test_filter_headers_and_payments(soterds: SoterdFactory, fed: Fed) -> None:
    """Two nodes agree on all filter headers, which are those that they tell; each payment is proven."""
    from twisted.internet import reactor

    nodes = [await soterds.start(data=fed.data) for _ in range(2)]
    client = LightClient(simnet())
    for node in nodes:
        client.peers.dial(clientFromString(reactor, node.endpoint), node.endpoint)
    client.startService()
    try:
        await client.when_synced()
        await eventually(lambda: all(each.filter_header for each in client.index), "all filter headers", 60)
        for record in client.index:
            assert str(record.filter_header) == await nodes[0].rpc("getcfilterheader", str(record.hash), 0)
        found = await found_by(client, len(PAYING))
        assert {each.block_hash for each in found} >= PAYING
        assert all(each.transaction.txid in each.proof.matched() for each in found)
    finally:
        await client.stopService()


@pytest.mark.parametrize("options", [(), ("--nocfilters",)])
@live(120)
async def test_payments_found_on_one_node(soterds: SoterdFactory, fed: Fed, options: tuple[str, ...]) -> None:
    """By its committed filters, which are believed then; by bloom filters of one that has no others."""
    from twisted.internet import reactor

    node = await soterds.start(*options, data=fed.data)
    client = LightClient(simnet(), filter_peers=1)
    client.peers.dial(clientFromString(reactor, node.endpoint), node.endpoint)
    client.startService()
    try:
        found = await found_by(client, len(PAYING))
        assert {each.block_hash for each in found} == PAYING
        sent = client.followed[0].stats().sent
        assert ("filterload" in sent, "getcfilters" in sent) == (bool(options), not options)
    finally:
        await client.stopService()
