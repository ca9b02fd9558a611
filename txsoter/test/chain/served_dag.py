"""A node for tests that serves a DAG: blocks, committed filters with their headers, and blocks filtered by bloom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from txsoter import SIMNET, PeerConfig, SoterPeerProtocol
from txsoter.chain import BloomFilter, GolombFilter, basic_filter, filter_header, merkle_block
from txsoter.test.node import FakeNode
from txsoter.wire import (
    ZERO_HASH,
    Block,
    BlockHeader,
    CFHeaders,
    CFilter,
    Encoding,
    FilterClear,
    FilterLoad,
    GetCFHeaders,
    GetCFilters,
    GetData,
    Hash,
    Inv,
    InventoryType,
    InventoryVector,
    NotFound,
    Parent,
    Services,
    Tx,
    TxIn,
    TxOut,
    parents_commitment,
)
from txsoter.wire.hashes import merkle_root

__all__ = ["GENESIS", "ServedDag", "block_above", "heights_of", "payment"]

assert SIMNET.genesis_block is not None
GENESIS: Block = SIMNET.genesis_block

MAX_FILTERS = 1000
"""Filters that soterd sends at once; of a range with more it sends none."""

MAX_FILTER_HASHES = 2000

_FILTERED = (InventoryType.FILTERED_BLOCK, InventoryType.WITNESS_FILTERED_BLOCK)


def block_above(parents: Sequence[Block], *transactions: Tx, script: bytes = b"\x51", number: int = 0) -> Block:
    """Return a block without proof of work, whose coinbase pays 50 to ``script``.

    :param parents: in the order in which it lists them.
    :param number: keeps blocks apart that are the same in all else.
    """
    time = 1 + max(each.header.time for each in parents)
    marked = b"\x08" + number.to_bytes(4, "little") + time.to_bytes(4, "little")
    coinbase = Tx(inputs=[TxIn(ZERO_HASH, 0xFFFFFFFF, marked)], outputs=[TxOut(5_000_000_000, script)])
    listed = [coinbase, *transactions]
    root, _ = merkle_root(each.txid for each in listed)
    hashes = [each.hash for each in parents]
    header = BlockHeader(version=0x20000000, prev=parents_commitment(hashes), merkle_root=root, time=time)
    return Block(header=header, parents=[Parent(each) for each in hashes], transactions=listed)


def payment(*spent: tuple[Tx, int], to: Iterable[bytes]) -> Tx:
    """Return a transaction that spends outputs of others, and pays 1 to each script."""
    inputs = [TxIn(tx.txid, index, b"\x09signature", witness=(b"signature",)) for tx, index in spent]
    return Tx(inputs=inputs, outputs=[TxOut(1, script) for script in to])


def heights_of(blocks: Iterable[Block]) -> list[tuple[int, Block]]:
    """Return blocks above the genesis, parents before children, with their heights."""
    heights = {GENESIS.hash: 0}
    for block in (blocks := list(blocks)):
        heights[block.hash] = 1 + max(heights[each.hash] for each in block.parents)
    return [(heights[block.hash], block) for block in blocks]


class ServedDag:
    """A DAG as a soterd serves it, the answers to ``getcfheaders`` with their extra siblings included.

    :param blocks: above the genesis, parents before children.
    :param services: what its version offers.
    :param hooks: listeners, some of them instead of its own.
    :param config: fields of its PeerConfig, some of them instead of its own.
    :ivar node: serves blocks and headers; its ``factory`` makes the peers that dial it.
    :ivar filters: by block. Tests put others in their place.
    :ivar filter_headers: by block.
    :ivar questions: about filters that have come, in order.
    """

    def __init__(
        self,
        blocks: Iterable[Block] = (),
        *,
        services: int = Services.NETWORK | Services.WITNESS | Services.BLOOM | Services.CF,
        hooks: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        self.filters: dict[Hash, GolombFilter] = {}
        self.filter_headers: dict[Hash, Hash] = {}
        self.questions: list[GetCFilters | GetCFHeaders] = []
        self._scripts: dict[tuple[bytes, int], bytes] = {}
        self._peers: list[SoterPeerProtocol] = []
        self._bloom: dict[SoterPeerProtocol, BloomFilter] = {}
        own: dict[str, Any] = {
            "on_ready": self._peers.append,
            "on_getdata": self.serve,
            "on_getcfilters": self.send_filters,
            "on_getcfheaders": self.send_filter_hashes,
            "on_filterload": self.load_filter,
            "on_filterclear": self.clear_filter,
        }
        self.node = FakeNode(hooks={**own, **(hooks or {})}, services=services, **config)
        self._index(GENESIS)
        for height, block in heights_of(blocks):
            self.node.blocks[block.hash] = (height, block)
            self._index(block)

    def _index(self, block: Block) -> None:
        for tx in block.transactions:
            for index, output in enumerate(tx.outputs):
                self._scripts[tx.txid, index] = output.script
        outpoints = [each[:2] for tx in block.transactions if not tx.is_coinbase for each in tx.inputs]
        self.filters[block.hash] = basic_filter(
            block, [self._scripts[each] for each in outpoints if each in self._scripts]
        )
        below = self.filter_headers[block.parents[-1].hash] if block.parents else ZERO_HASH
        self.filter_headers[block.hash] = filter_header(self.filters[block.hash], below)

    @property
    def config(self) -> PeerConfig:
        """That of its peers, for a node of a simulated network."""
        return self.node.factory.config

    def take(self, block: Block) -> int:
        """Have a block more; return its height."""
        height = 1 + max(self.node.blocks[each.hash][0] for each in block.parents)
        self._index(block)
        self.node.blocks[block.hash] = (height, block)
        return height

    def announce(self, block: Block) -> None:
        """Take a block, and announce it to all who are connected, by whatever factory."""
        height = self.take(block)
        for peer in self._peers:
            if not peer.is_closing:
                peer.send(Inv([InventoryVector(InventoryType.BLOCK, block.hash, height)]))

    def between(self, start: int, stop: Hash) -> list[Hash]:
        """Return the blocks from a height to that of ``stop``, siblings by their shown hashes."""
        highest, _ = self.node.blocks.get(stop, (-1, None))
        listed = sorted((height, each[::-1]) for each, (height, _) in self.node.blocks.items())
        return [Hash(each[::-1]) for height, each in listed if start <= height <= highest]

    # -- answers -------------------------------------------------------------------------------

    def send_filters(self, peer: SoterPeerProtocol, question: GetCFilters) -> None:
        """Answer getcfilters."""
        self.questions.append(question)
        found = self.between(question.start_height, question.stop)
        for each in found if len(found) <= MAX_FILTERS else ():
            peer.send(CFilter(each, bytes(self.filters[each])))

    def send_filter_hashes(self, peer: SoterPeerProtocol, question: GetCFHeaders) -> None:
        """Answer getcfheaders: behind the first sibling of the height below come that one's other siblings, too."""
        self.questions.append(question)
        start, most, previous = question.start_height, MAX_FILTER_HASHES, ZERO_HASH
        if start:
            start, most = start - 1, most + 1
        found = self.between(start, question.stop)
        if len(found) > most or len(found) <= (question.start_height > 0):
            return
        if question.start_height:
            previous = self.filter_headers[found.pop(0)]
        peer.send(CFHeaders(question.stop, previous, [self.filters[each].hash for each in found]))

    def load_filter(self, peer: SoterPeerProtocol, message: FilterLoad) -> None:
        """Match with a bloom filter from now on."""
        if not message.filter:
            raise AssertionError("a filter of no bytes: a soterd would divide by zero")
        self._bloom[peer] = BloomFilter.from_filter_load(message)
        peer.when_closed().addCallback(lambda _: self._bloom.pop(peer, None))

    def clear_filter(self, peer: SoterPeerProtocol, message: FilterClear) -> None:
        """Match no more."""
        del self._bloom[peer]

    async def serve(self, peer: SoterPeerProtocol, question: GetData) -> None:
        """Answer getdata."""
        filtered = [each for each in question.vectors if each.type in _FILTERED]
        others = [each for each in question.vectors if each.type not in _FILTERED]
        if others:
            await self.node.serve(peer, GetData(others))
        lacking = [each for each in filtered if each.hash not in self.node.blocks]
        for vector in filtered if peer in self._bloom else ():
            if vector in lacking:
                continue
            _, block = self.node.blocks[vector.hash]
            encoding = Encoding.WITNESS if vector.type == InventoryType.WITNESS_FILTERED_BLOCK else Encoding.BASE
            proof = merkle_block(block, self._bloom[peer].matches_tx)
            await peer.send(proof)
            matched = set(proof.matched())
            for tx in block.transactions:
                if tx.txid in matched:
                    await peer.send(tx, encoding)
        if lacking:
            await peer.send(NotFound(lacking))
