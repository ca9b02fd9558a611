"""Order, filters and proofs of :mod:`txsoter.chain`, beside those of a soterd."""

from __future__ import annotations

from typing import Any

import pytest

from txsoter import SIMNET, SoterPeerProtocol
from txsoter.chain import BloomFilter, Dag, GolombFilter, basic_filter, filter_header, merkle_block
from txsoter.core.walk import walk_blocks
from txsoter.test import vectors
from txsoter.test.live.fed import Fed
from txsoter.test.live.peers import dial, live, simnet
from txsoter.testing.soterd import SoterdFactory
from txsoter.wire import (
    ZERO_HASH,
    Block,
    BloomUpdate,
    CFHeaders,
    CFilter,
    GetCFHeaders,
    GetCFilters,
    GetData,
    Hash,
    InventoryType,
    InventoryVector,
    MerkleBlock,
    Tx,
)


async def _blocks(peer: SoterPeerProtocol) -> list[Block]:
    """All blocks of a node, parents first, siblings in the order of their hashes as people read them."""
    found = sorted([(height, str(block.hash), block) async for height, block in walk_blocks(peer)], key=lambda x: x[:2])
    return [block for _, _, block in found]


def _filters(blocks: list[Block]) -> tuple[dict[Hash, GolombFilter], dict[Hash, Hash]]:
    """Compute the committed filters of blocks, and their filter headers, from the blocks alone."""
    filters: dict[Hash, GolombFilter] = {}
    headers: dict[Hash, Hash] = {}
    scripts: dict[tuple[Hash, int], bytes] = {}
    for block in blocks:
        spending = [each for tx in block.transactions if not tx.is_coinbase for each in tx.inputs]
        for tx in block.transactions:
            scripts.update(((tx.txid, index), output.script) for index, output in enumerate(tx.outputs))
        spent = [scripts[each.previous_hash, each.previous_index] for each in spending]
        filters[block.hash] = basic_filter(block, spent)
        parent_header = headers[block.parents[-1].hash] if block.parents else ZERO_HASH
        headers[block.hash] = filter_header(filters[block.hash], parent_header)
    return filters, headers


@pytest.mark.parametrize("rows", [vectors.dag(), vectors.red_dag()], ids=["all blue", "some red"])
@live(120)
async def test_order_and_colours(soterds: SoterdFactory, rows: tuple[dict[str, Any], ...]) -> None:
    """As getdagcoloring and getdagtips have them after each block that is submitted."""
    node = await soterds.start()
    dag: Dag[str] = Dag()
    dag.add(str(SIMNET.genesis_hash), [])
    several_tips = 0
    for row in rows:
        # a frame without its header
        await node.rpc("submitblock", row["raw"][24:].hex())
        tip = row["hash"]
        dag.add(tip, row["parents"])
        colouring = await node.rpc("getdagcoloring")
        assert [each["hash"] for each in colouring] == dag.soterd_order()
        assert {each["hash"] for each in colouring if each["isblue"]} == dag.blue_set(tip=tip)
        tips = await node.rpc("getdagtips")
        assert sorted(tips["tips"]) == dag.tips
        assert (tips["blkcount"], tips["maxheight"]) == (len(dag), max(map(dag.height, dag.tips)))
        several_tips += len(dag.tips) > 1
    assert several_tips >= 10
    assert (len(dag.blue_set()) < len(dag)) == (rows is vectors.red_dag())


@live(120)
async def test_filters_and_filter_headers(soterds: SoterdFactory, fed: Fed) -> None:
    """Those that we compute of each block are what RPC and messages give, byte for byte."""
    node = await soterds.start(data=fed.data)
    peer = await dial(node, simnet())
    blocks = await _blocks(peer)
    assert len(blocks) == fed.block_count
    filters, headers = _filters(blocks)
    for block in blocks:
        raw = bytes(filters[block.hash]).hex()
        assert (await node.rpc("getcfilter", str(block.hash), 0), raw) == (raw, raw)
        assert await node.rpc("getcfilterheader", str(block.hash), 0) == str(headers[block.hash])
    question = GetCFilters(start_height=0, stop=blocks[-1].hash)
    answers = peer.request_all(question, CFilter, count=len(blocks))
    sent = {answer.block_hash: answer.data async for answer in answers}
    assert sent == {hash: bytes(filter) for hash, filter in filters.items()}
    for height, above in ((0, blocks), (30, blocks[30:])):
        message = await peer.request(GetCFHeaders(start_height=height, stop=blocks[-1].hash), CFHeaders)
        assert list(message.filter_hashes) == [filters[block.hash].hash for block in above]
        # up to height 40 there is one block at each
        assert message.previous_header == (headers[blocks[height - 1].hash] if height else ZERO_HASH)
    await peer.disconnect()


@live(120)
async def test_bloom_filters_and_merkle_proofs(soterds: SoterdFactory, fed: Fed) -> None:
    """Its answer to each filtered block is the proof that we would give; it proves what we asked for."""
    node = await soterds.start(data=fed.data)
    peer = await dial(node, simnet())
    blocks = await _blocks(peer)
    wanted = [block.transactions[0] for block in blocks[1::5]]
    bloom = BloomFilter(len(wanted), 1e-6, tweak=7, flags=BloomUpdate.ALL)
    for tx in wanted:
        bloom.add(tx.txid)
    await peer.send(bloom.filter_load())
    proven: list[Hash] = []
    received: list[Hash] = []
    for block in blocks:
        question = GetData([InventoryVector(InventoryType.FILTERED_BLOCK, block.hash)])
        async for answer in peer.request_all(question, (MerkleBlock, Tx)):
            if isinstance(answer, Tx):
                received.append(answer.txid)
                continue
            assert isinstance(answer, MerkleBlock)
            assert answer.to_payload() == merkle_block(block, bloom.matches_tx).to_payload()
            assert answer.header.hash == block.hash
            proven += answer.matched()
    assert proven == received == [tx.txid for tx in wanted]
    await peer.disconnect()
