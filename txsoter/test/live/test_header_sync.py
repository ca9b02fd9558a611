"""A light client on soterds: all blocks of two nodes, one that is mined, and the same after a restart."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.endpoints import clientFromString

from txsoter.chain import LightClient
from txsoter.test.live.fed import Fed
from txsoter.test.live.peers import live, simnet
from txsoter.testing.soterd import Soterd, SoterdFactory, eventually
from txsoter.wire import Block


def client_of(folder: Path, *nodes: Soterd) -> LightClient:
    """Return a light client that has begun to dial nodes."""
    from twisted.internet import reactor

    client = LightClient(simnet(), folder)
    for node in nodes:
        client.peers.dial(clientFromString(reactor, node.endpoint), node.endpoint)
    client.startService()
    return client


@live(240)
async def test_headers_of_two_nodes(soterds: SoterdFactory, fed: Fed, tmp_path: Path) -> None:
    """Parents and heights are those that a node tells; a mined block comes by itself; a restart fetches nothing."""
    one = await soterds.start(data=fed.data)
    two = await soterds.start(data=fed.data)
    client = client_of(tmp_path / "state", one, two)
    try:
        await client.when_synced()
        assert (len(client.index), client.index.max_height) == (fed.block_count, fed.height)
        for record in client.index:
            told = await one.rpc("getblock", str(record.hash), True)
            assert (told["height"], told["time"]) == (record.height, record.time)
            listed = [each["hash"] for each in told["parents"] or []] if not record.is_genesis else []
            assert listed == [str(each) for each in record.parents]
        await eventually(lambda: len(client.in_step) == 2, "both are in step", 30)
        # a block that the other does not know
        (mined,) = await one.rpc("generate", 1)
        await eventually(lambda: len(client.index) == fed.block_count + 1, "the mined block has come", 30)
        assert [str(each.hash) for each in client.index.tips] == [mined]
        assert len(client.in_step) == 2
    finally:
        await client.stopService()
    again = client_of(tmp_path / "state", two)
    came: list[Block] = []
    again.listen_to_blocks(lambda record, block: came.append(block))
    try:
        await again.when_synced()
        # from the file, not from the one that does not know it
        assert [str(each.hash) for each in again.index.tips] == [mined]
        assert came == []
    finally:
        await again.stopService()
