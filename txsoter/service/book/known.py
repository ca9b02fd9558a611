"""What is known of one address, and what follows from that."""

from __future__ import annotations

from typing import NamedTuple

from txsoter.service.book.places import Place, group_of, source_group

__all__ = ["DAY", "HOUR", "MINUTE", "Known", "Row"]

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

FUTURE = 10 * MINUTE
"""A time that is further ahead than this many seconds is no time."""

UNDATED = 5 * DAY
"""How many seconds ago an address was seen of which no time, or none that can be, is known."""

TOO_OLD = 30 * DAY
"""Seconds after which an address that nobody has seen is stale."""

NEVER_WORKED = 3
"""Failures after which an address that never worked is stale."""

WORKED_ONCE = 10
"""Failures after which one is stale that has not worked for a week."""

WEEK = 7 * DAY

RECENTLY = 10 * MINUTE
"""Seconds for which an address that was dialled is hardly picked again."""

_FADING = tuple(0.66**failures for failures in range(9))


class Row(NamedTuple):
    """An address as it is kept; see :class:`Known`. On the disk its times are the wall clock's."""

    ip: bytes
    port: int
    services: int
    source: bytes
    seen: int
    attempted: int
    counted: int
    attempts: int
    succeeded: int
    tried: int
    slots: bytes


class Known:
    """An address, where it came from, and how it went. Times are whole seconds of the book's own time, 0 for never.

    :ivar source: the 16 bytes of the IP of who told us first; the address itself when that was nobody.
    :ivar seen: when it is said to have been seen.
    :ivar attempted: when it was last dialled.
    :ivar counted: when a failure last counted.
    :ivar attempts: failures that counted since it last worked.
    :ivar succeeded: when it last worked: a handshake, or a connection that was ready, from hour to hour and at its end.
    :ivar tried: whether it has worked, and has not lost its place among those that have.
    :ivar explicit: whether our own side named it in this run; then hearsay does not push it out.
    :ivar slots: where it stands in its table: one slot among the tried ones, up to four in the hearsay.
    """

    __slots__ = (
        "attempted",
        "attempts",
        "counted",
        "explicit",
        "group",
        "place",
        "seen",
        "services",
        "slots",
        "source",
        "succeeded",
        "tried",
    )

    def __init__(self, place: Place, services: int, seen: int, source: bytes) -> None:
        self.place = place
        self.group = group_of(place)
        self.services = services
        self.seen = seen
        self.source = source
        self.attempted = self.counted = self.attempts = self.succeeded = 0
        self.tried = self.explicit = False
        self.slots: list[int] = []

    def __repr__(self) -> str:
        return f"<{'tried' if self.tried else 'new'} {self.place}>"

    @property
    def source_group(self) -> bytes:
        """The network of who told us first."""
        return source_group(self.source)

    def is_stale(self, now: float) -> bool:
        """Whether it is not worth keeping, telling or dialling while there are others."""
        if 0 <= now - self.attempted < MINUTE:
            # it may just be about to work
            return False
        if self.seen > now + FUTURE or now - max(self.seen, self.succeeded) > TOO_OLD:
            return True
        if not self.succeeded:
            return self.attempts >= NEVER_WORKED
        return self.attempts >= WORKED_ONCE and now - self.succeeded > WEEK

    def chance(self, now: float) -> float:
        """How likely it is taken once the dice have fallen on it, from 0 to 1."""
        chance = _FADING[min(self.attempts, len(_FADING) - 1)]
        if 0 <= now - self.attempted < RECENTLY:
            chance *= 0.01
        return chance * 0.05 if self.is_stale(now) else chance

    def row(self) -> Row:
        """What is kept of it."""
        slots = b"".join(slot.to_bytes(2, "big") for slot in self.slots)
        return Row(
            self.place.ip,
            self.place.port,
            self.services,
            self.source,
            self.seen,
            self.attempted,
            self.counted,
            self.attempts,
            self.succeeded,
            int(self.tried),
            slots,
        )

    @classmethod
    def from_row(cls, row: Row) -> Known:
        """The reverse, its slots not checked."""
        known = cls(Place(row.ip, row.port), row.services, row.seen, row.source)
        known.attempted, known.counted, known.attempts = row.attempted, row.counted, row.attempts
        known.succeeded, known.tried = row.succeeded, bool(row.tried)
        known.slots = [int.from_bytes(row.slots[at : at + 2], "big") for at in range(0, len(row.slots), 2)]
        return known
