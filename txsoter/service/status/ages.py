"""The page's times: measured monotonically, shown as wall-clock time stamps."""

from __future__ import annotations

import math

from twisted.internet.interfaces import IReactorTime

from txsoter.clock import TimeStamps, monotonic

__all__ = ["PageClock"]


class PageClock:
    """Moments for the page, and the stamps under which it shows them.

    The page shows ages: differences between the stamp of a moment and that of now. Setting the wall clock moves all
    stamps together, so that no age changes.

    :param clock: the service's.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._stamps = TimeStamps(clock)
        self._monotonic = monotonic(clock)

    def now(self) -> float:
        """Return the moment that it is, in seconds."""
        return self._monotonic()

    def stamp_now(self) -> float:
        """Return the stamp of now, in seconds since 1970."""
        return self._stamps.now()

    def stamp(self, moment: float | None) -> float | None:
        """Return the stamp of a moment in seconds since 1970, to the millisecond; None for none that JSON can hold."""
        return None if moment is None or not math.isfinite(moment) else round(self._stamps.of(moment), 3)

    def of_peer(self, at: float | None) -> float | None:
        """Return the moment of one of the times in ``PeerStats``, which are time stamps.

        Nothing else in the service depends on which clock those times are of.
        """
        # never in the future, by whatever rounding
        return None if at is None else min(self.now(), at - self._stamps.offset)
