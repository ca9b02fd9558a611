"""``HeaderSync``: which blocks are asked of whom, and what is believed; driven by messages and time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from txsoter.chain.light.header_index import HeaderIndex
from txsoter.chain.light.header_record import HeaderRecord
from txsoter.chain.light.penalties import AHEAD, BROKEN, INVALID, STALLED
from txsoter.chain.light.sync_peer import SyncPeer
from txsoter.errors import InvalidBlock
from txsoter.wire import (
    ZERO_HASH,
    Block,
    GetBlocks,
    GetData,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    Message,
    NotFound,
)
from txsoter.wire.views import RowView

__all__ = ["Drop", "HeaderSync", "Send"]

LISTED = 500
"""Blocks that a node lists in an answer to ``getblocks``, at most: one of as many is continued."""

WINDOW = 500
"""Blocks that one peer is asked for at a time."""

MOST_WANTED = 4 * LISTED
"""Blocks of one peer that are waited for, those listed and those announced."""

OVERLAP = 500
"""Heights below our own top at which lists begin: siblings may come late."""

DEEPER = 8
"""As many times as deep begins the next pass if blocks lack parents that the lists did not have."""

TIMEOUT = 30.0
"""Seconds in which a list, or the next block, has to come."""

PASS_EVERY = 60.0
"""Seconds between passes over the last heights of a peer that has caught up: some nodes do not announce everything."""

OLD_LIST_EVERY = 1.0
"""Seconds between lists of heights before those with which it was begun."""

TURN = 60.0
"""Seconds over which the rate is measured of the peer that is synced from."""

FAST = 100.0
"""Blocks a second from which no other peer is tried instead."""

ORPHAN = 100
"""Entries that were not asked for which a block without parents counts as: lists are read again for it."""

_BLOCKS = (InventoryType.BLOCK, InventoryType.WITNESS_BLOCK)


class Send(NamedTuple):
    """Send a message to a peer."""

    peer: Any
    message: Message


class Drop(NamedTuple):
    """End the connection with a peer that misbehaved.

    :param points: shares of 100, from which an address is refused.
    :param reason: for people, without text of the remote's.
    """

    peer: Any
    points: float
    reason: str


class HeaderSync:
    """Keeps an index in step with any number of peers.

    One peer is synced from, list by list; each block is checked before it is taken. Then all are followed, and compared
    with what the others have told: a block that one of them lacks is found at the next. Blocks are asked for in the
    order of the lists, so parents come first; one whose parents are missing is not kept, but asked for again behind
    them, when the lists have been followed from further below.

    It has neither clock nor I/O: times are arguments, in seconds of a monotonic clock, and the actions to take are in
    :attr:`outbox`.

    :param index: the headers that are known; it changes only by ``take``.
    :param take: adds a record to the index, and is given the block.
    :param check: checks a block, and returns its record, or raises :exc:`~txsoter.errors.InvalidBlock`.
    :param timeout: seconds in which a list, or the next block, has to come.
    :ivar outbox: messages to send and peers to drop, in order; taken out by the caller.
    :ivar is_synced: whether a peer's lists have been followed to its tip.
    """

    def __init__(
        self,
        index: HeaderIndex,
        take: Callable[[HeaderRecord, Block], object],
        check: Callable[[Block], HeaderRecord],
        timeout: float = TIMEOUT,
    ) -> None:
        self._index = index
        self._take = take
        self._check = check
        self._timeout = timeout
        self._peers: dict[Any, SyncPeer] = {}
        self._leader: SyncPeer | None = None
        # by hash, who was asked for it, and who waits for what becomes of that
        self._asked_of: dict[bytes, SyncPeer] = {}
        self._waiting: dict[bytes, list[SyncPeer]] = {}
        self.outbox: list[Send | Drop] = []
        self.is_synced = False

    # -- reading -------------------------------------------------------------------------------

    @property
    def peers(self) -> list[Any]:
        """Those that are followed, in the order in which they became ready."""
        return list(self._peers)

    @property
    def in_step(self) -> list[Any]:
        """Those of them that have told nothing that was not taken."""
        return [peer.key for peer in self._peers.values() if peer.is_in_step]

    @property
    def height(self) -> int:
        """The greatest height that the peer synced from, or else any that is followed, has told."""
        if self._leader is not None:
            return self._leader.height
        return max((peer.height for peer in self._peers.values() if peer.has_caught_up), default=-1)

    # -- peers ---------------------------------------------------------------------------------

    def peer_ready(self, key: Any, height: int, now: float) -> None:
        """Follow a peer.

        :param height: that it told in its ``version``.
        """
        peer = self._peers[key] = SyncPeer(key, height, now)
        if self.is_synced:
            self._begin(peer, now)
        else:
            self._choose_leader(now)

    def peer_gone(self, key: Any, now: float) -> None:
        """Follow a peer no more; others are asked for what it did not send."""
        peer = self._peers.pop(key, None)
        if peer is None:
            return
        if peer is self._leader:
            self._leader = None
            self._choose_leader(now)
        self._release(peer, now)

    def _choose_leader(self, now: float) -> None:
        """Sync from a peer if there is none to sync from; or see that there is nothing more to come."""
        if self._leader is not None or self.is_synced:
            return
        peers = list(self._peers.values())
        has_any_caught_up = any(peer.has_caught_up for peer in peers)
        for peer in peers:
            # each is trusted once to have more than those before; it may be no more than its word
            if not peer.has_led and (not has_any_caught_up or peer.height > self._index.max_height):
                self._lead(peer, now)
                return
        if has_any_caught_up:
            self.is_synced = True
            for peer in peers:
                if peer.cursor is None and not peer.has_caught_up:
                    self._begin(peer, now)
        elif peers:
            self._lead(max(peers, key=lambda each: each.rate), now)

    def _lead(self, peer: SyncPeer, now: float) -> None:
        self._leader = peer
        peer.has_led = True
        if peer.is_idle:
            self._begin(peer, now)
        else:
            peer.since, peer.taken = now, 0
            self._continue(peer, now)

    def _begin(self, peer: SyncPeer, now: float) -> None:
        """Follow a peer's lists from some way below our top."""
        peer.since, peer.taken = now, 0
        first = self._first_of(peer, OVERLAP)
        peer.unlisted = max(peer.unlisted, first)
        self._begin_pass(peer, first, None, now)

    def _first_of(self, peer: SyncPeer, depth: int) -> int:
        """Return the height so far below our top, and not above the peer's, which may not answer to that."""
        return max(0, min(self._index.max_height - depth, peer.height))

    def _begin_pass(self, peer: SyncPeer, first: int, end: int | None, now: float) -> None:
        self._release(peer, now)
        peer.begin_pass(first, end)
        self._continue(peer, now)

    def _drop(self, peer: SyncPeer, points: float, reason: str, now: float) -> None:
        self.outbox.append(Drop(peer.key, points, reason))
        self.peer_gone(peer.key, now)

    # -- messages ------------------------------------------------------------------------------

    def inv_received(self, key: Any, inv: Inv, now: float) -> None:
        """Take a list that was asked for, or an announcement."""
        peer = self._peers.get(key)
        if peer is None:
            return
        vectors = inv.vectors
        rows = list(vectors.tuples() if isinstance(vectors, RowView) else vectors)
        # answers begin where they were asked to; announcements do so by chance, and do no harm then
        if peer.listing is not None and (not rows or (rows[0][2] == peer.listing and rows[0][0] in _BLOCKS)):
            self._list_received(peer, rows, now)
        else:
            found = [(each, height) for kind, each, height in rows if kind in _BLOCKS and each != ZERO_HASH]
            self._announced(peer, found, now)

    def headers_received(self, key: Any, headers: Headers, now: float) -> None:
        """Take an announcement by headers, which nobody asks for."""
        peer = self._peers.get(key)
        if peer is not None:
            self._announced(peer, [(each.hash, -1) for each in headers.headers], now)

    def _announced(self, peer: SyncPeer, found: Sequence[tuple[bytes, int]], now: float) -> None:
        index, wanted, asked = self._index, peer.wanted, peer.asked
        if not peer.takes_announcements:
            # the last of its lists is still to come, and will have them
            return
        new = {each: height for each, height in found if each not in index and each not in asked}
        if not peer.spend(len(found) - len(new), now):
            self._drop(peer, BROKEN, "it announces what is known, again and again", now)
            return
        for each, height in new.items():
            wanted.setdefault(each, height)
            peer.height = max(peer.height, height)
        if len(wanted) > MOST_WANTED:
            self._drop(peer, BROKEN, "it announces blocks without end", now)
            return
        self._continue(peer, now)

    def _list_received(self, peer: SyncPeer, rows: Sequence[tuple[int, bytes, int]], now: float) -> None:
        index, wanted, asked = self._index, peer.wanted, peer.asked
        first = last = peer.listing or 0
        peer.listing = None
        peer.due = now + self._timeout if asked else None
        if peer.is_list_stale:
            peer.is_list_stale = False
            self._continue(peer, now)
            return
        if not rows and not peer.has_caught_up:
            # lists begin no higher than the height that it told
            self._drop(peer, STALLED, "it lists no blocks", now)
            return
        if len(rows) > LISTED:
            self._drop(peer, BROKEN, f"its list has more than {LISTED} blocks", now)
            return
        for kind, each, height in rows:
            if kind not in _BLOCKS or height < last:
                self._drop(peer, BROKEN, "its list is not of blocks in order of height", now)
                return
            last = height
            record = index.get(each)
            if record is None:
                if each not in asked:
                    wanted.setdefault(each, height)
            elif record.height != height:
                self._drop(peer, INVALID, "its list tells another height than a block has", now)
                return
        if len(rows) == LISTED:
            # it may end between siblings; more than can be listed at one height cannot be asked for
            peer.cursor = last if last > first else last + 1
        else:
            peer.cursor = None
        if peer.end is not None and (peer.cursor is None or last > peer.end):
            peer.cursor = peer.end = None
            peer.unlisted = 0
        # what it told at first is its word only, until its lists are over
        peer.height = last if peer.cursor is None and not peer.has_caught_up else max(peer.height, last)
        self._continue(peer, now)

    def block_received(self, key: Any, block: Block, now: float) -> None:
        """Check a block, whether or not it was asked for, and take its header."""
        peer = self._peers.get(key)
        if peer is None:
            return
        record: HeaderRecord | None = None
        failure: InvalidBlock | None = None
        try:
            record = self._check(block)
            block_hash = record.hash
        except InvalidBlock as error:
            failure = error
            block_hash = error.block_hash
        # an orphan that was asked for twice comes twice
        is_stale = record is None and block_hash in peer.stale
        height = None if is_stale else peer.asked.pop(block_hash, None)
        is_asked = height is not None
        if is_asked:
            if self._asked_of.get(block_hash) is peer:
                del self._asked_of[block_hash]
            peer.due = now + self._timeout if peer.asked or peer.listing is not None else None
        else:
            height = peer.stale.pop(block_hash, None)
            if height is not None and peer.due is not None:
                # the answers behind it come later
                peer.due = now + self._timeout
        if record is None:
            assert failure is not None
            self._refuse(peer, failure, height, is_asked, now)
            return
        if block_hash in self._index:
            # each of its transactions has been hashed
            if height is None and not peer.spend(1 + len(block.transactions) // 8, now):
                self._drop(peer, BROKEN, "it sends blocks that nobody asked for", now)
                return
        else:
            if height is not None and height >= 0 and record.height != height:
                self._drop(peer, INVALID, "it sent a block of another height than it told", now)
                self._poke(block_hash, now)
                return
            self._take(record, block)
            peer.taken += 1
        if len(peer.asked) <= WINDOW // 2:
            self._continue(peer, now)
        if self._waiting:
            self._poke(block_hash, now)

    def _refuse(self, peer: SyncPeer, error: InvalidBlock, height: int | None, is_asked: bool, now: float) -> None:
        block_hash = error.block_hash
        if error.rule != "known parents":
            points = AHEAD if error.rule == "time too new" else INVALID
            self._drop(peer, points, f"it sent a block that breaks a rule: {error.rule}", now)
        elif is_asked:
            self._orphan_received(peer, -1 if height is None else height, now)
        elif height is None and not peer.spend(1, now):
            self._drop(peer, BROKEN, "it sends blocks that nobody asked for", now)
        elif height is None and peer.has_caught_up:
            # soon, but not for each of many
            peer.next_pass = min(peer.next_pass, now + OLD_LIST_EVERY)
        if peer.key in self._peers:
            self._continue(peer, now)
        self._poke(block_hash, now)

    def _orphan_received(self, peer: SyncPeer, height: int, now: float) -> None:
        """Follow a peer's lists from further below: they had a block, and not its parents.

        :param height: of the block as it was told, or -1.
        """
        if not peer.spend(ORPHAN, now):
            self._drop(peer, BROKEN, "its blocks lack parents again and again", now)
            return
        top = self._index.max_height
        height = min(height, top) if height >= 0 else top
        depth = OVERLAP
        if peer.is_suspect:
            if peer.first == 0:
                self._drop(peer, BROKEN, "its lists have blocks and not their parents", now)
                return
            depth = max(depth, (height - peer.first) * DEEPER)
        peer.is_suspect = True
        self._begin_pass(peer, self._first_of(peer, top - height + depth), None, now)

    def notfound_received(self, key: Any, notfound: NotFound, now: float) -> None:
        """Note blocks that a peer does not have."""
        peer = self._peers.get(key)
        if peer is None:
            return
        if any(each.hash in peer.asked for each in notfound.vectors):
            self._drop(peer, BROKEN, "it does not have a block that it told of", now)

    # -- going on ------------------------------------------------------------------------------

    def _continue(self, peer: SyncPeer, now: float) -> None:
        """Ask a peer for the next list, and for the next blocks.

        The list first: nodes answer in order, and it should be there before the last of these blocks is.
        """
        is_list_due = peer.cursor is not None and (peer.end is None or peer.next_pass <= now)
        if is_list_due and peer.listing is None and len(peer.wanted) <= LISTED:
            self._ask_for_list(peer, now)
        if peer.wanted and len(peer.asked) <= WINDOW // 2:
            self._ask_for_blocks(peer, now)
        if peer.cursor is None and not peer.wanted and not peer.asked:
            self._pass_over(peer, now)

    def _ask_for_list(self, peer: SyncPeer, now: float) -> None:
        assert peer.cursor is not None
        peer.listing = peer.cursor
        if peer.due is None:
            peer.due = now + self._timeout
        if peer.end is not None:
            peer.next_pass = now + OLD_LIST_EVERY
        self.outbox.append(Send(peer.key, GetBlocks(height=peer.cursor - 1)))

    def _ask_for_blocks(self, peer: SyncPeer, now: float) -> None:
        index, wanted, asked, asked_of = self._index, peer.wanted, peer.asked, self._asked_of
        vectors = []
        passed = []
        for each, height in wanted.items():
            if len(asked) >= WINDOW:
                break
            if each not in index:
                if each in asked_of and not peer.is_suspect:
                    # those behind it may need it: wait for what becomes of it
                    waiting = self._waiting.setdefault(each, [])
                    if peer not in waiting:
                        waiting.append(peer)
                    if peer.waits_since is None:
                        peer.waits_since = now
                    break
                asked[each] = height
                asked_of.setdefault(each, peer)
                vectors.append(InventoryVector(InventoryType.WITNESS_BLOCK, each, height))
            passed.append(each)
        for each in passed:
            del wanted[each]
        if not wanted:
            peer.waits_since = None
        if vectors:
            if peer.due is None:
                peer.due = now + self._timeout
            self.outbox.append(Send(peer.key, GetData(vectors)))

    def _pass_over(self, peer: SyncPeer, now: float) -> None:
        peer.is_suspect = False
        if not peer.has_caught_up:
            peer.has_caught_up = True
            peer.next_pass = now + OLD_LIST_EVERY
        if peer is self._leader:
            self._leader = None
        self._choose_leader(now)

    def _poke(self, block_hash: bytes, now: float) -> None:
        """Go on with those that have waited for what becomes of a block."""
        for peer in self._waiting.pop(block_hash, ()):
            if self._peers.get(peer.key) is peer:
                self._continue(peer, now)

    # -- time ----------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Drop peers that have stalled, and begin passes that are due; to be called each second."""
        for peer in list(self._peers.values()):
            if peer.due is not None and peer.due <= now:
                question = "getdata" if peer.listing is None else "getblocks"
                self._drop(peer, STALLED, f"it did not answer {question}", now)
            elif peer is self._leader:
                self._consider_leader(peer, now)
            elif peer.has_caught_up and peer.next_pass <= now:
                self._pass_due(peer, now)
        for block_hash, waiting in list(self._waiting.items()):
            source = self._asked_of.get(block_hash)
            if source is not None and (
                source.is_silent(now, self._timeout) or any(each.waits_long(now) for each in waiting)
            ):
                for each in waiting:
                    each.waits_since = None
                self._release(source, now)

    def _release(self, peer: SyncPeer, now: float) -> None:
        """Let others be asked for what a peer was asked for."""
        released = [each for each in peer.asked if self._asked_of.get(each) is peer]
        for each in released:
            del self._asked_of[each]
        for each in released:
            self._poke(each, now)

    def _consider_leader(self, peer: SyncPeer, now: float) -> None:
        if now - peer.since < TURN:
            return
        peer.rate = peer.taken / (now - peer.since)
        peer.since, peer.taken = now, 0
        if peer.rate < FAST and any(each.rate > 2 * peer.rate for each in self._peers.values()):
            # it will be compared later
            self._release(peer, now)
            self._leader = None
            self._choose_leader(now)

    def _pass_due(self, peer: SyncPeer, now: float) -> None:
        if peer.cursor is not None:
            self._continue(peer, now)
        elif peer.wanted or peer.asked:
            return
        elif peer.unlisted > 0:
            self._begin_pass(peer, 0, peer.unlisted, now)
        else:
            peer.next_pass = now + PASS_EVERY
            self._begin_pass(peer, self._first_of(peer, OVERLAP), None, now)
