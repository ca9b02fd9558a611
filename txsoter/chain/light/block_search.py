"""``BlockSearch``: finds in blocks what is watched, by committed filters, by bloom filters, or in whole blocks."""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from twisted.logger import Logger

from txsoter.chain.light.filter_checks import check_filter, created_outputs, decoded_filter
from txsoter.chain.light.filter_hashes import computed_header
from txsoter.chain.light.filter_peers import UNANSWERED, FilterPeers
from txsoter.chain.light.filter_sync import FilterSync
from txsoter.chain.light.filtered_blocks import FilteredBlocks, Sighting
from txsoter.chain.light.header_index import HeaderIndex
from txsoter.chain.light.header_record import HeaderRecord
from txsoter.chain.light.penalties import INVALID
from txsoter.chain.light.watched import Watched
from txsoter.chain.merkle_proof import merkle_block
from txsoter.errors import InvalidProof
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.wire import Block, Hash, Services, double_sha256
from txsoter.wire.partial_merkle import MAX_PROVEN_TRANSACTIONS

__all__ = ["BlockSearch", "Way", "Ways"]


class Way(enum.Enum):
    """A way to search a block."""

    FILTER = "by its committed filter"
    BLOOM = "by a bloom filter that a node matches with"
    BLOCK = "in the whole block"


class Ways(NamedTuple):
    """The ways that there are just now.

    :param has_peers: a peer is there.
    :param has_filters: one that offers committed filters is.
    :param has_bloom: one that offers bloom filters is.
    """

    has_peers: bool
    has_filters: bool
    has_bloom: bool


class BlockSearch:
    """Finds in blocks what is watched.

    A block's filter is believed if it is the one on which several peers agreed. Where it is not, nobody sends it, peers
    could not agree, or there are too few, the block itself is searched. Bloom filters are used where nobody offers
    committed ones; then two nodes are asked, if there are two, since one could leave out what it likes.

    :param watched: scripts and outputs that concern the program.
    :param tweak: gives a random u32.
    :ivar missed: blocks that nobody has sent.
    """

    log = Logger()

    def __init__(
        self,
        index: HeaderIndex,
        sync: FilterSync,
        peers: FilterPeers,
        watched: Watched,
        tweak: Callable[[], int],
    ) -> None:
        self._index = index
        self._sync = sync
        self._peers = peers
        self._watched = watched
        self.missed: list[HeaderRecord] = []
        self._bloom = FilteredBlocks(peers, watched, tweak)
        # filters that are not those agreed on, by block
        self._doubted: dict[Hash, list[tuple[SoterPeerProtocol, bytes]]] = {}

    def ways(self) -> Ways:
        """Return the ways that there are just now."""
        offering = self._peers.offering
        return Ways(bool(offering()), bool(offering(Services.CF)), bool(self._peers.filtering()))

    def way_to(self, record: HeaderRecord, ways: Ways) -> Way | None:
        """Return the way to search a block; None if it has to wait for peers, or until they agree about its filter."""
        if not ways.has_peers:
            return None
        if self._watched.needs_blocks or self._sync.is_uncertain(record):
            return Way.BLOCK
        if ways.has_filters:
            if record.filter_header is not None:
                return Way.FILTER
            return None if self._sync.is_expected(record) else Way.BLOCK
        return Way.BLOOM if ways.has_bloom and self._watched.fits_bloom else Way.BLOCK

    async def search(self, way: Way, records: Sequence[HeaderRecord]) -> AsyncGenerator[Sighting, None]:
        """Search blocks, and iterate over the transactions found, in order."""
        if way is Way.BLOOM:
            sightings = await self._bloom.search(records)
            if sightings is None:
                self.missed += records
            for each in sightings or ():
                yield each
            return
        suspects = {each.hash for each in records} if way is Way.BLOCK else await self._suspects(records)
        for record in records:
            if record.hash in suspects:
                block = await self._peers.block(record)
                if block is None:
                    self.missed.append(record)
                    continue
                self._judge(block)
                for each in self._in_block(record, block):
                    yield each

    async def _suspects(self, records: Sequence[HeaderRecord]) -> set[Hash]:
        """Return the blocks that may have what is watched, by their filters."""
        left = {each.hash: each for each in records}
        suspects: set[Hash] = set()
        self._doubted.clear()
        for peer in self._peers.offering(Services.CF):
            if left:
                try:
                    await self._ask(peer, left, suspects)
                except UNANSWERED as error:
                    self._peers.failed(peer, error)
                else:
                    self._peers.answered(peer)
        return suspects.union(left, self._doubted)

    async def _ask(self, peer: SoterPeerProtocol, left: dict[Hash, HeaderRecord], suspects: set[Hash]) -> None:
        """Ask a peer for filters: take those that it answers for out of ``left``, and add those that match."""
        last = max(left.values(), key=lambda each: (each.height, each.hash[::-1]))
        lowest = min(each.height for each in left.values())
        items = self._watched.items
        async with aclosing(self._peers.filters(peer, lowest, last.hash, list(left))) as filters:
            async for block_hash, data in filters:
                record = left[block_hash]
                if computed_header(self._index, record, double_sha256(data)) != record.filter_header:
                    # it may lie, and then about others, too: the block will tell, and another peer of these
                    self._doubted.setdefault(block_hash, []).append((peer, data))
                    return
                del left[block_hash]
                if _matches(block_hash, data, items):
                    suspects.add(block_hash)

    def _judge(self, block: Block) -> None:
        """Drop the peers whose filter cannot be the block's."""
        for peer, data in self._doubted.pop(block.hash, ()):
            try:
                check_filter(data, block, created_outputs([block]))
            except InvalidProof as error:
                self._peers.punish(peer, INVALID, f"its filter is not its block's: {error.rule}")

    def _in_block(self, record: HeaderRecord, block: Block) -> list[Sighting]:
        if len(block.transactions) > MAX_PROVEN_TRANSACTIONS:
            self.log.warn("block {block} has too many transactions to be valid", block=str(record.hash))
            return []
        found = []
        for position, tx in enumerate(block.transactions):
            concerns = self._watched.concerns(tx)
            if concerns is not None:
                found.append(Sighting(record, tx, merkle_block(block, [position]), concerns))
        return found


def _matches(block_hash: Hash, data: bytes, items: list[bytes]) -> bool:
    try:
        return decoded_filter(block_hash, data).match_any(items)
    except InvalidProof:
        # all have agreed on what is no filter: the block tells
        return True
