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
from txsoter.chain.light.filter_disputes import Claims, FilterDisputes
from txsoter.chain.light.filter_hashes import FilterRange, compare, computed_header, read_hashes
from txsoter.chain.light.filter_peers import FilterPeers
from txsoter.chain.light.header_index import HeaderIndex
from txsoter.chain.light.header_record import HeaderRecord
from txsoter.clock import monotonic
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.wire import ZERO_HASH, Hash, Services, double_sha256

__all__ = ["NEEDED", "FilterSync"]

NEEDED = 2
"""Peers that have to agree about a filter."""

RECENT = 20
"""Heights below the top in which siblings may still be on their way: filters are asked for there, not their hashes."""

SETTLING = 1.0
"""Seconds that peers are given to hear of a block that one of them has sent."""

RETRY = 10.0
"""Seconds until peers are asked again that gave no useful answer."""

LONELY = 60.0
"""Seconds without enough peers after which nobody should wait for filter headers."""

LONGEST = 3600.0
"""Seconds until then at most, after many times."""


class FilterSync:
    """Asks several peers for the filters' hashes, and keeps the header of each filter on which they agree.

    Where two differ, :class:`~txsoter.chain.light.filter_disputes.FilterDisputes` finds out who lies. A block that
    fewer peers know is asked for again later, and holds nothing up but what is built on it.

    :param index: the headers.
    :param keep: notes the filter header of a block.
    :param peers: those to ask.
    :param clock: for the waits.
    :param changes: noted when a filter header is kept, or will not be.
    :param needed: peers that have to agree; 1 believes whoever answers.
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
        self._now = monotonic(clock)
        # a heap of heights that may have blocks without filter headers
        self._heights: list[int] = []
        # those that were asked for in vain: when to ask again, and how often that was
        self._postponed: dict[int, tuple[float, int]] = {}
        self._hopeless: set[Hash] = set()
        # time since which there are not enough peers
        self._lonely_since: float | None = None
        self._changes = changes
        self._disputes = FilterDisputes(index, peers)

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
        self._postponed.pop(record.height, None)
        if not self._heights or self._heights[0] != record.height:
            heappush(self._heights, record.height)
        self._wake.note()

    def peers_changed(self) -> None:
        """Note that a peer has come."""
        self._wake.note()

    # -- reading -------------------------------------------------------------------------------

    @property
    def has_peers(self) -> bool:
        """True if enough peers offer filters."""
        return len(self._peers.offering(Services.CF)) >= self._needed

    def is_expected(self, record: HeaderRecord) -> bool:
        """Return whether the filter header of a block may come soon: it was not yet asked for in vain."""
        if self._lonely_since is not None and self._now() - self._lonely_since >= LONELY:
            return False
        return record.height not in self._postponed and self._is_lacking(record)

    def is_uncertain(self, record: HeaderRecord) -> bool:
        """Return whether the filter of a block may lack scripts that it spends."""
        return record.hash in self._disputes.uncertain

    # -- the sync ------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            if not self.has_peers:
                await self._wait_for_peers()
                continue
            self._lonely_since = None
            asked = self._next_range()
            if asked is None:
                await self._wake.wait(self._next_due())
                continue
            if self._is_recent(asked):
                await self._pause(SETTLING)
                asked = self._next_range() or asked
            has_kept = await self._agree(asked)
            self._postpone({each.height for each in asked.records})
            self._changes.note()
            if not has_kept:
                await self._pause(RETRY)

    async def _wait_for_peers(self) -> None:
        if self._lonely_since is None:
            self._lonely_since = self._now()
        left = self._lonely_since + LONELY - self._now()
        await self._wake.wait(left if left > 0 else None)
        self._changes.note()

    def _pause(self, seconds: float) -> Deferred[None]:
        # one that nobody wakes early
        return Changes(self._clock).wait(seconds)

    def _next_due(self) -> float | None:
        """Return the seconds until a height is to be asked for again; None if there is none."""
        due = min((due for due, _ in self._postponed.values()), default=None)
        return None if due is None else max(due - self._now(), 0.0)

    def _postpone(self, heights: Iterable[int]) -> None:
        """Let heights wait that still lack a filter header: a block may be known to one peer alone."""
        for height in heights:
            _, tries = self._postponed.pop(height, (0.0, 0))
            if self._lacks(height):
                self._postponed[height] = (self._now() + min(RETRY * 2**tries, LONGEST), tries + 1)

    def _next_range(self) -> FilterRange | None:
        """Return the lowest blocks to ask for, or None if there are none now."""
        while True:
            now = self._now()
            lowest = min((height for height, (due, _) in self._postponed.items() if due <= now), default=None)
            while lowest is None and self._heights:
                if self._heights[0] not in self._postponed and self._lacks(self._heights[0]):
                    lowest = self._heights[0]
                else:
                    heappop(self._heights)
            if lowest is None:
                return None
            top = self._index.max_height
            asked = FilterRange.above(self._index, lowest, top - RECENT if lowest <= top - RECENT else top)
            if asked is not None:
                return asked
            # too many for an answer
            self._postponed.pop(lowest, None)
            self._hopeless.update(each.hash for each in self._index.at_height(lowest))
            self._changes.note()

    def _is_lacking(self, record: HeaderRecord) -> bool:
        return record.filter_header is None and record.hash not in self._hopeless

    def _lacks(self, height: int) -> bool:
        """Return whether a filter header may be found for a block of that height."""
        lacking = [each for each in self._index.at_height(height) if self._is_lacking(each)]
        hopeless = {each.hash for each in lacking if each.parents and each.parents[-1] in self._hopeless}
        self._hopeless |= hopeless
        return len(hopeless) < len(lacking)

    def _is_recent(self, asked: FilterRange) -> bool:
        return asked.records[-1].height > self._index.max_height - RECENT

    async def _agree(self, asked: FilterRange) -> bool:
        """Ask for the filters of a range, and keep the headers on which peers agree; return whether there were any."""
        lacking = [each for each in asked.records if self._is_lacking(each)]
        claims = await self._claims(asked, lacking)
        has_kept = False
        while len(claims) >= self._needed:
            agreed, disputed = compare(lacking, claims, self._needed)
            has_kept |= self._keep_agreed(lacking, agreed)
            if disputed is None:
                break
            await self._disputes.settle(self._index[disputed], claims)
            claims = {peer: claim for peer, claim in claims.items() if not peer.is_closing}
        return has_kept

    def _keep_agreed(self, lacking: Iterable[HeaderRecord], agreed: dict[Hash, Hash]) -> bool:
        has_kept = False
        for record in lacking:
            if record.hash not in agreed or not self._is_lacking(self._index[record.hash]):
                continue
            header = computed_header(self._index, record, agreed[record.hash])
            if header is not None:
                self._keep(record.hash, header)
                has_kept = True
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

        return await self._peers.ask_all(self._peers.to_ask(Services.CF, self._needed), ask)
