"""A light client of soterd nodes: sync, restart, confirmations."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from twisted.internet.endpoints import clientFromString

from txsoter import SIMNET
from txsoter.chain import Dag, LightClient
from txsoter.test.live.fed import Fed
from txsoter.test.live.peers import live, simnet
from txsoter.test.node import recorded
from txsoter.testing.soterd import Soterd, SoterdFactory, eventually
from txsoter.wire import Block, Encoding, Hash

BLOCKS = [block for _, block in recorded()]
PAID = Counter(output.script for block in BLOCKS for output in block.transactions[0].outputs).most_common(1)[0][0]
"""The script that most of them pay to."""

PAYING = {block.hash for block in BLOCKS if PAID in (output.script for output in block.transactions[0].outputs)}


@asynccontextmanager
async def following(*nodes: Soterd, folder: Path | None = None) -> AsyncIterator[LightClient]:
    """A light client that is in step with the nodes."""
    from twisted.internet import reactor

    client = LightClient(simnet(), folder, retry_policy=lambda failures: 0.1)
    for node in nodes:
        client.peers.dial(clientFromString(reactor, node.endpoint), node.endpoint)
    client.startService()
    try:
        await client.when_synced()
        await eventually(lambda: len(client.in_step) == len(nodes), "the client is in step with the nodes")
        yield client
    finally:
        await client.stopService()


async def submit(node: Soterd, blocks: list[Block]) -> None:
    """Give blocks to a node."""
    for block in blocks:
        await node.rpc("submitblock", block.to_payload(encoding=Encoding.WITNESS).hex())


@live(90)
async def test_sync_and_resume(soterds: SoterdFactory, tmp_path: Path) -> None:
    """It syncs from the genesis block, hears of new blocks, and goes on where it was when it is started again."""
    node = await soterds.start()
    await submit(node, BLOCKS[:20])
    async with following(node, folder=tmp_path) as client:
        assert len(client.index) == 21
        await submit(node, BLOCKS[20:30])
        await eventually(lambda: len(client.index) == 31, "the client has what was announced")
    await submit(node, BLOCKS[30:])
    client = LightClient(simnet(), tmp_path)
    client.startService()
    await eventually(lambda: client.store.is_open, "the headers are read")
    assert len(client.index) == 31
    await client.stopService()
    async with following(node, folder=tmp_path) as client:
        assert client.index.max_height == 50
        tips = await node.rpc("getdagtips")
        assert [str(tip.hash) for tip in client.index.tips] == tips["tips"]
        assert {record.hash for record in client.index} == {SIMNET.genesis_hash, *(block.hash for block in BLOCKS)}


@live(90)
async def test_confirmations(soterds: SoterdFactory, fed: Fed) -> None:
    """Each payment comes with a proof that is its block's, and with the number of blue blocks above that."""
    nodes = [await soterds.start(data=fed.data) for _ in range(2)]
    found: set[Hash] = set()
    async with following(*nodes) as client:
        dag: Dag[Hash] = Dag()
        for record in client.index:
            dag.add(record.hash, record.parents)
        blue = dag.blue_set()
        async with aclosing(client.watch([PAID])) as watch:
            async for each in watch:
                assert each.proof.header.hash == each.block_hash
                assert each.proof.matched() == [each.transaction.txid]
                assert [each.transaction.outputs[position].script for position in each.pays] == [PAID]
                assert each.height == dag.height(each.block_hash)
                assert each.confirmations == sum(dag.is_ancestor(each.block_hash, above) for above in blue)
                found.add(each.block_hash)
                if len(found) == len(PAYING):
                    break
    assert found == PAYING
