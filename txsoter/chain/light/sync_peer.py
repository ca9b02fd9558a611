"""``SyncPeer``: the state of one peer in header sync: its lists, and the blocks it was asked for."""

from __future__ import annotations

from math import inf
from typing import Any

__all__ = ["SyncPeer"]

MOST_STALE = 4000
"""Blocks that a peer may still owe of passes that were begun anew."""

UNASKED = 2000.0
"""Entries and blocks that a peer may send although they are known or were not asked for."""

UNASKED_RATE = 50.0
"""As many more may come each second."""

IMPATIENT_AFTER = 5.0
"""Seconds without an answer after which others are asked for the blocks that a peer was asked for."""

LONGEST_WAIT = 15.0
"""Seconds that it waits for blocks that others were asked for, however many of them come meanwhile."""


class SyncPeer:
    """A peer, and how far its lists of blocks have been followed.

    A pass over its lists begins at a height, asks for list after list, and is over at the peer's tip or at a height.

    :param key: the caller's name for it.
    :param now: seconds of a monotonic clock.
    :ivar height: the greatest height that it has told.
    :ivar since: time at which it became ready, or leader.
    :ivar taken: blocks of it that were new since then.
    :ivar rate: blocks a second that it gave when its rate was last measured; infinite before.
    :ivar first: the height at which the pass began, or the last one did.
    :ivar cursor: the height at which the next list of the pass begins; None if no pass is going on.
    :ivar end: the height at which the pass is over; None for the peer's tip.
    :ivar listing: the height at which the list begins that is waited for, or None.
    :ivar is_list_stale: whether that was asked for before the pass was begun anew.
    :ivar wanted: blocks to ask it for, with the heights it told, in order.
    :ivar asked: those it was asked for, with the same heights, and has not sent.
    :ivar stale: the same, of before the pass was begun anew.
    :ivar waits_since: time since which it waits for blocks that others were asked for, or None.
    :ivar due: time at which it has stalled, or None.
    :ivar has_caught_up: whether its lists were followed to its tip once.
    :ivar has_led: whether it has been synced from before the others.
    :ivar is_suspect: whether blocks are asked of it although others are asked for them.
    :ivar unlisted: heights below this one have not been listed by it.
    :ivar next_pass: time of the next pass once it has caught up.
    """

    __slots__ = (
        "_unasked",
        "_unasked_at",
        "asked",
        "cursor",
        "due",
        "end",
        "first",
        "has_caught_up",
        "has_led",
        "height",
        "is_list_stale",
        "is_suspect",
        "key",
        "listing",
        "next_pass",
        "rate",
        "since",
        "stale",
        "taken",
        "unlisted",
        "waits_since",
        "wanted",
    )

    def __init__(self, key: Any, height: int, now: float) -> None:
        self.key = key
        self.height = height
        self.since = now
        self.taken = 0
        self.rate = inf
        self.first = 0
        self.cursor: int | None = None
        self.end: int | None = None
        self.listing: int | None = None
        self.is_list_stale = False
        self.wanted: dict[bytes, int] = {}
        self.asked: dict[bytes, int] = {}
        self.stale: dict[bytes, int] = {}
        self.waits_since: float | None = None
        self.due: float | None = None
        self.has_caught_up = False
        self.has_led = False
        self.is_suspect = False
        self.unlisted = 0
        self.next_pass = now
        self._unasked = UNASKED
        self._unasked_at = now

    @property
    def is_in_step(self) -> bool:
        """True if all that it has told has been taken."""
        return self.has_caught_up and not self.wanted and not self.asked

    @property
    def is_idle(self) -> bool:
        """True if nothing is asked of it, nor is to be."""
        return self.cursor is None and not self.wanted and not self.asked

    @property
    def takes_announcements(self) -> bool:
        """True if its announcements come behind all that it has listed, not before."""
        return self.has_caught_up and (self.cursor is None or self.end is not None)

    def begin_pass(self, first: int, end: int | None = None) -> None:
        """Follow its lists from a height on; what it was asked for may still come."""
        self.first = first
        self.cursor = first
        self.end = end
        self.is_list_stale = self.listing is not None
        if len(self.stale) > MOST_STALE:
            self.stale.clear()
        self.stale.update(self.asked)
        self.asked.clear()
        self.wanted.clear()

    def is_silent(self, now: float, timeout: float) -> bool:
        """Return whether no answer has come for a while.

        :param timeout: seconds from an answer until it has stalled.
        """
        return self.due is not None and self.due - now <= timeout - IMPATIENT_AFTER

    def waits_long(self, now: float) -> bool:
        """Return whether it has waited too long for blocks that others were asked for."""
        return self.waits_since is not None and now - self.waits_since >= LONGEST_WAIT

    def spend(self, count: int, now: float) -> bool:
        """Note ``count`` entries that were not asked for; return False if these are too many."""
        self._unasked = min(UNASKED, self._unasked + (now - self._unasked_at) * UNASKED_RATE) - count
        self._unasked_at = now
        return self._unasked >= 0
