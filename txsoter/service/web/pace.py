"""A rate limit that delays and never drops."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txsoter.clock import monotonic

__all__ = ["Pace"]


class Pace:
    """Lets a burst through at once, then so many calls a second, first come, first served.

    :param burst: calls that are made at once after a time of rest.
    :param rate: calls a second beyond that.
    """

    def __init__(self, clock: IReactorTime, burst: int, rate: float) -> None:
        self._clock = clock
        self._now = monotonic(clock)
        self._interval = 1 / rate
        self._slack = burst * self._interval
        # when the next call is due, if none came early
        self._due = self._now()
        # a dict, for its order and quick removal
        self._waiting: dict[Callable[[], None], None] = {}
        self._timer: IDelayedCall | None = None

    def wait(self, call: Callable[[], None]) -> None:
        """Make ``call`` when it is its turn, possibly at once."""
        self._waiting[call] = None
        if self._timer is None:
            self._run()

    def forget(self, call: Callable[[], None]) -> None:
        """Do not make a call that may be waiting."""
        self._waiting.pop(call, None)
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        self._timer = None
        while self._waiting and self._timer is None:
            now = self._now()
            early = self._due - self._slack - now
            # sums of intervals are not exact
            if early > 1e-6:
                self._timer = self._clock.callLater(early, self._run)
                return
            self._due = max(self._due, now) + self._interval
            call = next(iter(self._waiting))
            del self._waiting[call]
            call()
