"""``FilterSync``: filter headers on which several peers agree, and the end of those that lie about one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txsoter.chain.golomb_filter import basic_filter, filter_header
from txsoter.chain.light.changes import Changes
from txsoter.chain.light.filter_checks import Outpoint, best_filter, check_filter, created_outputs, spent_outpoints
from txsoter.chain.light.filter_hashes import FilterRange, compare, computed_header, read_hashes
from txsoter.chain.light.filter_peers import INVALID, FilterPeers
from txsoter.chain.light.header_index import HeaderIndex
from txsoter.chain.light.header_record import HeaderRecord
from txsoter.errors import InvalidProof
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.wire import ZERO_HASH, Block, Hash, Services, double_sha256

__all__ = ["NEEDED", "FilterSync"]

NEEDED = 2
"""Peers that have to agree about a filter."""

MOST_ASKED = 4
"""Peers that are asked about each filter."""

RECENT = 20
"""Heights below the top in which siblings may still be on their way: filters are asked for there, not their hashes."""

SETTLING = 1.0
"""Seconds that peers are given to hear of a block that one of them has sent."""

RETRY = 10.0
"""Seconds until peers are asked again that gave no useful answer."""

LOOKED_THROUGH = 50
"""Blocks that are fetched to find the outputs that a disputed block spends."""

Claims = dict[SoterPeerProtocol, dict[Hash, Hash]]
"""Of each peer, the filter hash of each block that it has answered for."""


class FilterSync:
    """Asks several peers for the filters' hashes, and keeps the header of each filter on which they agree.

    Where two differ, the block and its filters are fetched, and a peer whose filter cannot be the block's is dropped;
    see :mod:`~txsoter.chain.light.filter_checks` for what can be proven. If several filters may be honest, the one with
    the most known scripts is taken, nobody is dropped, and the block is listed in :attr:`uncertain`.

    :param index: the headers.
    :param keep: notes the filter header of a block.
    :param peers: those to ask.
    :param clock: for the waits.
    :param changes: noted when a filter header is kept, or will not be.
    :param needed: peers that have to agree; 1 believes whoever answers.
    :ivar uncertain: blocks whose filter may lack scripts that they spend.
    """

    log = Logger()

    def __init__(
        self,
        index: HeaderIndex,
        keep: Callable[[Hash, Hash], object],
        peers: FilterPeers,
        clock: IReactorTime,
        changes: Changes,
        needed: int = NEEDED,
    ) -> None:
        self._index = index
        self._keep = keep
        self._peers = peers
        self._needed = needed
        self._clock = clock
        self._wake = Changes(clock)
        self._running: Deferred[None] | None = None
        # a heap of heights that may have blocks without filter headers
        self._heights: list[int] = []
        self._hopeless: set[Hash] = set()
        self._changes = changes
        self.uncertain: set[Hash] = set()

    # -- its life ------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin with the blocks of the index that lack a filter header."""
        genesis = self._index.network.genesis_block
        if genesis is not None and self._index[genesis.hash].filter_header is None:
            self._keep(genesis.hash, filter_header(basic_filter(genesis, ()), ZERO_HASH))
        for record in self._index:
            if record.filter_header is None:
                self.added(record)
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._ended)

    def stop(self) -> None:
        """Ask no more."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def _ended(self, failure: Any) -> None:
        if failure.check(CancelledError) is None:
            self.log.failure("the sync of filter headers has stopped", failure)

    def added(self, record: HeaderRecord) -> None:
        """Note a block that is new in the index."""
        if not self._heights or self._heights[0] != record.height:
            heappush(self._heights, record.height)
        self._wake.note()

    def peers_changed(self) -> None:
        """Note that a peer has come."""
        self._wake.note()

    # -- reading -------------------------------------------------------------------------------

    @property
    def has_peers(self) -> bool:
        """Whether enough peers offer filters."""
        return len(self._peers.offering(Services.CF)) >= self._needed

    def may_come(self, record: HeaderRecord) -> bool:
        """Whether a filter header that is not known may still come to be known."""
        return record.filter_header is None and record.hash not in self._hopeless

    # -- the sync ------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            asked = self._next_range() if self.has_peers else None
            if asked is None:
                await self._wake.wait()
                continue
            if self._is_recent(asked):
                await self._pause(SETTLING)
                asked = self._next_range() or asked
            if not await self._agree(asked):
                await self._pause(RETRY)

    def _pause(self, seconds: float) -> Deferred[None]:
        # one that nobody wakes early
        return Changes(self._clock).wait(seconds)

    def _next_range(self) -> FilterRange | None:
        """Return the lowest blocks that lack a filter header, or None if there are no such."""
        while self._heights:
            lowest = self._heights[0]
            if self._lacks(lowest):
                asked = FilterRange.above(self._index, lowest)
                if asked is not None:
                    return asked
                self._hopeless.update(each.hash for each in self._index.at_height(lowest))
                self._changes.note()
            heappop(self._heights)
        return None

    def _lacks(self, height: int) -> bool:
        """Whether a filter header may be found for a block of that height."""
        lacking = [each for each in self._index.at_height(height) if self.may_come(each)]
        hopeless = {each.hash for each in lacking if each.parents and each.parents[-1] in self._hopeless}
        self._hopeless |= hopeless
        return len(hopeless) < len(lacking)

    def _is_recent(self, asked: FilterRange) -> bool:
        return asked.records[-1].height > self._index.max_height - RECENT

    async def _agree(self, asked: FilterRange) -> bool:
        """Ask for the filters of a range, and keep the headers on which peers agree; return whether there were any."""
        lacking = [each for each in asked.records if self.may_come(each)]
        claims = await self._claims(asked, lacking)
        has_kept = False
        while len(claims) >= self._needed:
            agreed, disputed = compare(lacking, claims, self._needed)
            has_kept |= self._keep_agreed(lacking, agreed)
            if disputed is None:
                break
            await self._settle(self._index[disputed], claims)
            claims = {peer: claim for peer, claim in claims.items() if not peer.is_closing}
        return has_kept

    def _keep_agreed(self, lacking: Iterable[HeaderRecord], agreed: dict[Hash, Hash]) -> bool:
        has_kept = False
        for record in lacking:
            if record.hash not in agreed or not self.may_come(self._index[record.hash]):
                continue
            header = computed_header(self._index, record, agreed[record.hash])
            if header is not None:
                self._keep(record.hash, header)
                has_kept = True
        if has_kept:
            self._changes.note()
        return has_kept

    async def _claims(self, asked: FilterRange, lacking: Sequence[HeaderRecord]) -> Claims:
        """Ask peers for the filter hashes of a range."""
        is_recent = self._is_recent(asked)

        async def ask(peer: SoterPeerProtocol) -> dict[Hash, Hash]:
            if not is_recent:
                found = read_hashes(self._index, asked, await self._peers.hashes(peer, asked.start, asked.stop))
                if found is not None:
                    return found
            wanted = [each.hash for each in asked.records if each.height >= lacking[0].height]
            filters = self._peers.filters(peer, lacking[0].height, asked.stop, wanted)
            return {block_hash: double_sha256(data) async for block_hash, data in filters}

        return await self._peers.ask_all(self._peers.offering(Services.CF)[:MOST_ASKED], ask)

    # -- disputes ------------------------------------------------------------------------------

    async def _settle(self, record: HeaderRecord, claims: Claims) -> None:
        """Find out which filter is a block's: the claims of all who stay are the same then, or none."""
        claimants = [peer for peer, claim in claims.items() if record.hash in claim]
        filters = await self._peers.ask_all(claimants, lambda peer: self._peers.filter(peer, record))
        for peer in claimants:
            data = filters.get(peer)
            claimed = claims[peer].pop(record.hash)
            if data is None:
                continue
            claims[peer][record.hash] = double_sha256(data)
            if claimed != double_sha256(data):
                self._peers.contradicted(peer)
        if len(set(filters.values())) < 2:
            return
        block = await self._peers.block(record)
        best = None if block is None else await self._judge(record, block, filters)
        for peer in filters:
            if best is None:
                del claims[peer][record.hash]
            else:
                claims[peer][record.hash] = double_sha256(best)

    async def _judge(self, record: HeaderRecord, block: Block, filters: dict[SoterPeerProtocol, bytes]) -> bytes | None:
        """Drop the peers whose filter cannot be the block's; return the best of the others', or None."""
        spent = created_outputs([block])
        honest = self._drop_liars(block, filters, spent)
        outpoints = spent_outpoints(block)
        if len(set(honest.values())) > 1 and not spent.keys() >= set(outpoints):
            spent = await self._find_outputs(record, outpoints, spent)
            honest = self._drop_liars(block, honest, spent)
        if not honest:
            return None
        best = best_filter(block, list(honest.values()), spent)
        for peer, data in honest.items():
            if data != best:
                self.uncertain.add(record.hash)
                self._peers.differed(peer)
        return best

    def _drop_liars(
        self, block: Block, filters: dict[SoterPeerProtocol, bytes], spent: dict[Outpoint, bytes]
    ) -> dict[SoterPeerProtocol, bytes]:
        honest = {}
        for peer, data in filters.items():
            try:
                check_filter(data, block, spent)
            except InvalidProof as error:
                self._peers.punish(peer, INVALID, f"its filter is not its block's: {error.rule}")
            else:
                honest[peer] = data
        return honest

    async def _find_outputs(
        self, record: HeaderRecord, outpoints: Sequence[Outpoint], known: dict[Outpoint, bytes]
    ) -> dict[Outpoint, bytes]:
        """Look for the outputs that a block spends in the blocks below, the nearest first; return those found."""
        found, wanted = dict(known), set(outpoints)
        left = LOOKED_THROUGH
        for height in range(record.height - 1, -1, -1):
            for each in self._index.at_height(height):
                if not left or found.keys() >= wanted:
                    return found
                left -= 1
                block = await self._peers.block(each)
                if block is not None:
                    created = created_outputs([block])
                    found.update({outpoint: created[outpoint] for outpoint in created.keys() & wanted})
        return found
