"""``Watching``: what concerns a program, found in blocks as they come, for any number of watches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import takewhile
from weakref import WeakSet

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txsoter.chain.bloom_filter import BloomFilter
from txsoter.chain.golomb_filter import GolombFilter
from txsoter.chain.light.block_search import BlockSearch, Way
from txsoter.chain.light.changes import Changes
from txsoter.chain.light.confirmations import ConfirmationCounter, Confirmations
from txsoter.chain.light.filter_hashes import MOST_BLOCKS
from txsoter.chain.light.filter_peers import FilterPeers
from txsoter.chain.light.filter_sync import NEEDED, RETRY, FilterSync
from txsoter.chain.light.filtered_blocks import Sighting
from txsoter.chain.light.header_index import HeaderIndex
from txsoter.chain.light.header_record import HeaderRecord
from txsoter.chain.light.watched import Concerns, Watched, WatchedTransaction
from txsoter.clock import monotonic
from txsoter.errors import FieldError, LocalError
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.wire import Block, Hash

__all__ = ["Watch", "Watching"]

AT_ONCE = {Way.FILTER: 100, Way.BLOOM: 20, Way.BLOCK: 20}
"""Blocks that are searched together. A node may send all transactions of those that it filters."""


def check_libraries() -> None:
    """Check that there is what filters need.

    :raises LocalError: if it is not installed.
    """
    GolombFilter.build(bytes(16), ())
    BloomFilter(1, 0.5)


class Watch:
    """An asynchronous iterator over transactions that concern what is watched, in the order of their blocks.

    Blocks are searched when the next transaction is asked for: a loop that takes its time is not overrun. It goes on
    with new blocks as they come, and ends when it or the client is closed. One loop at a time. A block that nobody
    sends is passed over, and asked for again each ten seconds; a transaction that spends an output in it may come once
    more then.
    """

    def __init__(self, found: AsyncGenerator[WatchedTransaction, None]) -> None:
        self._found = found
        self._step: Deferred[WatchedTransaction] | None = None
        self._is_closed = False

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> WatchedTransaction:
        if self._is_closed:
            raise StopAsyncIteration
        if self._step is not None:
            raise LocalError("another loop waits for the next transaction of this watch")
        step = self._step = Deferred.fromCoroutine(self._next())
        try:
            return await step
        except CancelledError:
            if self._is_closed:
                raise StopAsyncIteration from None
            # whoever waited was cancelled: a generator that was interrupted cannot go on
            self._is_closed = True
            raise
        finally:
            self._step = None

    async def _next(self) -> WatchedTransaction:
        return await anext(self._found)

    async def aclose(self) -> None:
        """End it; a loop that waits for the next transaction ends."""
        self._is_closed = True
        if self._step is not None:
            self._step.cancel()
        else:
            await self._found.aclose()


class Watching:
    """The filter headers of an index, the watches on its blocks, and the confirmations of these.

    :param peers: those to ask.
    :param clock: for the waits.
    :param tweak: gives a random u32.
    :param needed: peers that have to agree about a block's filter.
    """

    log = Logger()

    def __init__(self, peers: FilterPeers, clock: IReactorTime, tweak: Callable[[], int], needed: int = NEEDED) -> None:
        if not isinstance(needed, int) or needed < 1:
            raise FieldError("needed", needed, "a whole number from 1")
        self._peers = peers
        self._clock = clock
        self._now = monotonic(clock)
        self._tweak = tweak
        self._needed = needed
        self._changes = Changes(clock)
        self._index: HeaderIndex | None = None
        self._sync: FilterSync | None = None
        self._counter: ConfirmationCounter | None = None
        self._watches: WeakSet[Watch] = WeakSet()

    # -- its life ------------------------------------------------------------------------------

    def start(self, index: HeaderIndex, keep: Callable[[Hash, Hash], object]) -> None:
        """Begin, once the headers are in step with a peer's.

        :param keep: notes the filter header of a block.
        """
        self._index = index
        self._counter = ConfirmationCounter(index)
        try:
            check_libraries()
        except LocalError as error:
            self.log.info("filter headers are not fetched: {error}", error=str(error))
            return
        self._sync = FilterSync(index, keep, self._peers, self._clock, self._changes, self._needed)
        self._sync.start()
        self._changes.note()

    def stop(self) -> None:
        """End all watches, and ask no more."""
        for watch in list(self._watches):
            Deferred.fromCoroutine(watch.aclose())
        if self._sync is not None:
            self._sync.stop()
        self._sync = self._index = self._counter = None

    def added(self, record: HeaderRecord) -> None:
        """Note a block that is new in the index."""
        if self._sync is not None:
            self._sync.added(record)
            self._changes.note()

    def peers_changed(self) -> None:
        """Note that a peer has come or gone."""
        if self._sync is not None:
            self._sync.peers_changed()
            self._changes.note()

    def was_asked(self, peer: SoterPeerProtocol, block: Block) -> bool:
        """Return whether a block that has come was asked for here; once for each."""
        return self._peers.was_asked(peer, block)

    # -- watches -------------------------------------------------------------------------------

    def watch(self, watched: Watched, from_height: int) -> Watch:
        """Watch the blocks from a height on.

        :raises FieldError: for a height that cannot be.
        :raises LocalError: without the libraries of the extra ``chain``.
        """
        if not isinstance(from_height, int) or isinstance(from_height, bool) or from_height < 0:
            raise FieldError("from_height", from_height, "a height from 0")
        check_libraries()
        watch = Watch(self._found(watched, from_height))
        self._watches.add(watch)
        return watch

    async def _found(self, watched: Watched, from_height: int) -> AsyncGenerator[WatchedTransaction, None]:
        while self._sync is None or self._index is None:
            await self._changes.wait()
        search = BlockSearch(self._index, self._sync, self._peers, watched, self._tweak)
        seen: set[tuple[Hash, Hash, Concerns]] = set()
        position, retry_at = 0, 0.0
        while True:
            missed: list[HeaderRecord] = []
            if search.missed and self._now() >= retry_at:
                missed, search.missed = search.missed[: AT_ONCE[Way.BLOCK]], search.missed[AT_ONCE[Way.BLOCK] :]
                retry_at = self._now() + RETRY
            records = self._index.numbered(position, position + AT_ONCE[Way.FILTER])
            wanted = [each for each in records if each.height >= from_height]
            if records and not wanted and not missed:
                position += len(records)
                continue
            way, together = (Way.BLOCK, missed) if missed else self._batch(search, wanted)
            if way is None:
                await self._changes.wait(max(retry_at - self._now(), 0.0) if search.missed else None)
                continue
            if not missed:
                position = self._index.number(together[-1].hash) + 1
            async with aclosing(search.search(way, together)) as found:
                async for each in found:
                    if missed:
                        # what spends it was passed over, or came without that
                        position = min(position, self._index.number(each.record.hash) + 1)
                    key = each.record.hash, each.tx.txid, each.concerns
                    if key not in seen:
                        seen.add(key)
                        yield await self._described(each)

    def _batch(self, search: BlockSearch, records: list[HeaderRecord]) -> tuple[Way | None, list[HeaderRecord]]:
        """Return those of the next blocks that can be searched together, and the way to; none if they have to wait."""
        ways = search.ways()
        way = search.way_to(records[0], ways) if records else None
        if way is None:
            return None, []
        together = list(takewhile(lambda each: search.way_to(each, ways) is way, records[: AT_ONCE[way]]))
        return way, together if self._span(together) <= MOST_BLOCKS else together[:1]

    def _span(self, records: list[HeaderRecord]) -> int:
        """Return the number of blocks from the lowest height of records to the greatest."""
        assert self._index is not None
        heights = [each.height for each in records]
        return sum(len(self._index.at_height(height)) for height in range(min(heights), max(heights) + 1))

    async def _described(self, sighting: Sighting) -> WatchedTransaction:
        record, tx, proof, concerns = sighting
        confirmations = await self.confirmations(record.hash)
        return WatchedTransaction(
            block_hash=record.hash,
            height=record.height,
            transaction=tx,
            proof=proof,
            pays=concerns.pays,
            spends=concerns.spends,
            is_mined=tx.is_coinbase,
            confirmations=confirmations.count,
            is_blue=confirmations.is_blue,
        )

    # -- confirmations -------------------------------------------------------------------------

    async def confirmations(self, block_hash: Hash) -> Confirmations:
        """Return how well a block is confirmed now.

        :raises FieldError: for a block that is not in the index.
        :raises LocalError: while there are no headers.
        """
        counter = self._counter
        if counter is None:
            raise LocalError("the light client has no headers yet, or none any more")
        while not counter.catch_up():
            # let the reactor do something else
            await Changes(self._clock).wait(0)
        return counter.of(block_hash)
