"""One timer for the long deadlines of all connections.

Ten thousand timers of their own would wake the process that often, each time for one of them.
"""

from __future__ import annotations

from math import ceil, floor, log2
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txsoter.peer.logs import let_go

__all__ = ["ROUNDING", "Ticker", "tick_for", "ticker_of"]

_log = Logger()

ROUNDING = 1e-6
"""Seconds that do not count: what sums of floats leave."""


class Watcher(Protocol):
    """Whoever has something to do from time to time."""

    def look(self, now: float) -> float | None:
        """Do what is due at ``now``, and say when to look again; None for never."""
        ...


def tick_for(*intervals: float) -> float:
    """How long a tick is to be for these: a second, or less where a thirtieth of the shortest is."""
    shortest = min(intervals, default=30.0)
    return 1.0 if shortest >= 30 else float(2.0 ** floor(log2(shortest / 30)))


class Ticker:
    """Lets watchers look when their time has come, all those of one tick together. It sleeps while nothing is due.

    :param tick: seconds; a watcher looks up to that much later than it asked to.
    """

    def __init__(self, clock: IReactorTime, tick: float) -> None:
        self._clock = clock
        self._tick = tick
        self._origin = clock.seconds()
        # ticks are counted from the origin: the last one that is over, and the one that the timer is set to
        self._over = 0
        self._next = 0
        self._call: IDelayedCall | None = None
        self._looking = False
        self._tick_of: dict[Watcher, int] = {}
        self._watchers_at: dict[int, dict[Watcher, None]] = {}

    def __len__(self) -> int:
        return len(self._tick_of)

    def floor(self, when: float) -> float:
        """The last tick that is no later than ``when``."""
        return self._origin + floor((when - self._origin + ROUNDING) / self._tick) * self._tick

    def watch(self, watcher: Watcher, when: float) -> None:
        """Let ``watcher`` look at the first tick from ``when`` on, instead of when it was to look before."""
        self._remove(watcher)
        tick = max(ceil((when - self._origin - ROUNDING) / self._tick), self._over + 1)
        self._tick_of[watcher] = tick
        self._watchers_at.setdefault(tick, {})[watcher] = None
        if not self._looking and (self._call is None or tick < self._next):
            self._wake_at(tick)

    def forget(self, watcher: Watcher) -> None:
        """``watcher`` looks no more."""
        self._remove(watcher)
        if not self._tick_of:
            self._sleep()

    def _remove(self, watcher: Watcher) -> None:
        tick = self._tick_of.pop(watcher, None)
        watchers = None if tick is None else self._watchers_at.get(tick)
        if tick is not None and watchers is not None:
            del watchers[watcher]
            if not watchers:
                del self._watchers_at[tick]

    def _wake_at(self, tick: int) -> None:
        self._sleep()
        _tickers[self._clock, self._tick] = self
        self._next = tick
        left = self._origin + tick * self._tick - self._clock.seconds()
        self._call = self._clock.callLater(max(0.0, left), self._look)

    def _sleep(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        # whoever needs it next makes a new one: it must not keep a clock that nobody uses
        if _tickers.get((self._clock, self._tick)) is self:
            del _tickers[self._clock, self._tick]

    def _look(self) -> None:
        self._call = None
        self._over = self._next
        now = max(self._clock.seconds(), self._origin + self._over * self._tick)
        self._looking = True
        for watcher in self._watchers_at.pop(self._over, ()):
            # the one before it may have made it forget
            if self._tick_of.get(watcher) == self._over:
                del self._tick_of[watcher]
                self._let_look(watcher, now)
        self._looking = False
        if self._watchers_at:
            self._wake_at(min(self._watchers_at))
        else:
            self._sleep()

    def _let_look(self, watcher: Watcher, now: float) -> None:
        try:
            when = watcher.look(now)
        except Exception:
            # one watcher's fault must not stop the others' clock
            failure = Failure()
            _log.failure("{watcher} looks no more", failure, watcher=repr(watcher))
            let_go(failure)
            return
        if when is not None:
            self.watch(watcher, when)


_tickers: dict[tuple[IReactorTime, float], Ticker] = {}


def ticker_of(clock: IReactorTime, tick: float) -> Ticker:
    """The ticker that all share who have the same clock and tick."""
    found = _tickers.get((clock, tick))
    return Ticker(clock, tick) if found is None else found
