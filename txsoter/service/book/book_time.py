"""An address book's own time, and its conversion to the wall-clock time that is on the disk and on the wire.

What is decided in memory must not depend on a clock that somebody sets: addresses would all be stale, or protected
from everything, until the clock shows the time again. So the book counts seconds since 1970 as they were when it was
made, and from then on monotonically.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from txsoter.clock import TimeStamps, monotonic
from txsoter.service.book.known import FUTURE, UNDATED, Row

__all__ = ["BookTime", "loaded", "stored"]

EARLIEST = 1_231_006_505
"""When Bitcoin began: a clock that shows less at the start has not been set yet."""


class BookTime:
    """Seconds since 1970 that are never set.

    :param clock: tells the time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._monotonic = monotonic(clock)
        self._stamps = TimeStamps(clock)
        self._offset = max(self._stamps.offset, EARLIEST - self._monotonic())

    def now(self) -> float:
        """Return the book's time."""
        return self._monotonic() + self._offset

    @property
    def shift(self) -> int:
        """Whole seconds by which the wall clock is ahead of the book's time."""
        return round(self._stamps.offset - self._offset)


def stored(row: Row, shift: int) -> Row:
    """Return a row with wall-clock times, from one with the book's.

    :param shift: see :attr:`BookTime.shift`.
    """

    def wall(time: int) -> int:
        # 0 is never, and stays so
        return time and max(1, time + shift)

    return row._replace(
        seen=wall(row.seen),
        attempted=wall(row.attempted),
        counted=wall(row.counted),
        succeeded=wall(row.succeeded),
    )


def loaded(row: Row, shift: int, now: float) -> Row:
    """Return a row with the book's times, from one with wall-clock times.

    A time in the future says that a clock was wrong, then or now. So that it protects nothing from being replaced,
    and keeps nothing from being dialled or from fading, it is taken for :data:`UNDATED`, or never for an attempt.

    :param shift: see :attr:`BookTime.shift`.
    :param now: the book's time.
    """

    def past(time: int, instead: int) -> int:
        time -= shift
        if time > now + FUTURE:
            return instead
        return max(1, min(time, int(now)))

    undated = max(1, int(now) - UNDATED)
    return row._replace(
        seen=past(row.seen, undated),
        attempted=row.attempted and past(row.attempted, 0),
        counted=row.counted and past(row.counted, 0),
        succeeded=row.succeeded and past(row.succeeded, undated),
    )
