"""Timers of connections: one LoopingCall for the pings and long deadlines of all, and few of a connection's own."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from weakref import WeakValueDictionary

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from txsoter.clock import monotonic, wall
from txsoter.core.channel import ROUNDING
from txsoter.core.deadlines import Precision
from txsoter.core.driver import Driver
from txsoter.peer.tracebacks import drop_tracebacks

__all__ = ["Ticker", "Wakeup", "ticker_of"]

_log = Logger()

LATE = 5.0
"""Seconds by which a tick must be late to tell that the reactor's clock was set back."""


class Ticker:
    """A LoopingCall that wakes connections, all those of one tick together.

    A timer for each of ten thousand connections would wake the process that often. It runs while somebody waits.

    :param tick: seconds; a connection wakes up to that much later than asked.
    :ivar now: gives the time by which connections are measured.
    :ivar wall: gives the time for time stamps, seconds since 1970.
    """

    def __init__(self, clock: IReactorTime, tick: float) -> None:
        self._clock = clock
        self._now = monotonic(clock)
        self.wall = wall(clock)
        # a reactor's own time, by which it schedules, may be set back
        self.now = self._now if clock.seconds is self._now or self._now == clock.seconds else self._checked_now
        self._tick = tick
        self._origin = self._now()
        # the number of the last tick, counted from the origin
        self._over = 0
        self._loop = LoopingCall(self._on_tick)
        self._loop.clock = clock
        self._catching_up = False
        self._tick_of: dict[Wakeup, int] = {}
        self._waiting_at: dict[int, dict[Wakeup, None]] = {}

    def __len__(self) -> int:
        return len(self._tick_of)

    def wake_at(self, wakeup: Wakeup, when: float) -> None:
        """Wake ``wakeup`` at the first tick from ``when`` on, or earlier if it has asked for that before."""
        tick = max(ceil((when - self._origin - ROUNDING) / self._tick), self._over + 1)
        before = self._tick_of.get(wakeup)
        if before is not None:
            if before <= tick:
                return
            self._remove(wakeup, before)
        self._tick_of[wakeup] = tick
        self._waiting_at.setdefault(tick, {})[wakeup] = None
        if not self._loop.running:
            self._start()

    def forget(self, wakeup: Wakeup) -> None:
        """Do not wake ``wakeup`` any more."""
        tick = self._tick_of.get(wakeup)
        if tick is not None:
            self._remove(wakeup, tick)
            if not self._tick_of:
                self._stop()

    def _checked_now(self) -> float:
        """Return the time, and notice overdue ticks: the reactor's clock was set back, and its timers with it."""
        now = self._now()
        overdue = self._origin + (self._over + 1) * self._tick + LATE
        if now > overdue and self._loop.running and not self._catching_up:
            self._catching_up = True
            self._clock.callLater(0, self._catch_up)
        return now

    def _catch_up(self) -> None:
        self._catching_up = False
        if self._loop.running:
            self._loop.stop()
            self._start()
            for wakeup in list(self._tick_of):
                wakeup.rearm()
            self._on_tick()

    def _remove(self, wakeup: Wakeup, tick: int) -> None:
        del self._tick_of[wakeup]
        waiting = self._waiting_at[tick]
        del waiting[wakeup]
        if not waiting:
            del self._waiting_at[tick]

    def _start(self) -> None:
        # ticks while nobody waited are over
        self._over = self._number()
        self._loop.start(self._tick, now=False).addErrback(self._failed)

    def _stop(self) -> None:
        if self._loop.running:
            self._loop.stop()

    def _failed(self, failure: Failure) -> None:
        _log.failure("the timer of all connections stopped", failure)

    def _number(self) -> int:
        return int((self._now() - self._origin + ROUNDING) / self._tick)

    def _on_tick(self) -> None:
        last, self._over = self._over, self._number()
        if self._over - last == 1:
            due = [self._over] if self._over in self._waiting_at else []
        else:
            due = sorted(tick for tick in self._waiting_at if tick <= self._over)
        for tick in due:
            for wakeup in list(self._waiting_at[tick]):
                # the one before it may have made it forget
                if self._tick_of.get(wakeup) == tick:
                    self._remove(wakeup, tick)
                    _wake(wakeup)
        if not self._tick_of:
            self._stop()


def _wake(wakeup: Wakeup) -> None:
    try:
        wakeup.fire()
    except Exception:
        # one connection's fault must not stop the clock of the others
        failure = Failure()
        _log.failure("a connection is not woken any more", failure)
        drop_tracebacks(failure)


_tickers: WeakValueDictionary[tuple[IReactorTime, float], Ticker] = WeakValueDictionary()


def ticker_of(clock: IReactorTime, tick: float) -> Ticker:
    """Return the ticker of all connections with the same clock and tick."""
    found = _tickers.get((clock, tick))
    if found is None:
        found = _tickers[clock, tick] = Ticker(clock, tick)
    return found


class Wakeup:
    """Timers of one connection.

    Long deadlines are left to the shared ticker. Beside that there is at most one delayed call, for the earliest exact
    deadline, and one LoopingCall while inventory waits to be trickled.
    """

    __slots__ = ("_call", "_clock", "_driver", "_due", "_interval", "_now", "_ticker", "_trickle")

    def __init__(
        self, clock: IReactorTime, now: Callable[[], float], driver: Driver, ticker: Ticker, trickle: float | None
    ) -> None:
        self._clock = clock
        self._now = now
        self._driver = driver
        self._ticker = ticker
        self._interval = trickle
        self._call: IDelayedCall | None = None
        self._due = 0.0
        self._trickle: LoopingCall | None = None

    def update(self) -> None:
        """Set the timers for the connection's deadlines, which may have changed."""
        timeouts = self._driver.connection.next_timeouts()
        coarse = timeouts[Precision.COARSE]
        if coarse is None:
            self._ticker.forget(self)
        else:
            self._ticker.wake_at(self, coarse)
        self._update_call(timeouts[Precision.EXACT])
        if (timeouts[Precision.TRICKLE] is None) is not (self._trickle is None):
            self._update_trickle(timeouts[Precision.TRICKLE] is not None)

    def _update_call(self, due: float | None) -> None:
        if self._call is not None:
            # a deadline that moves on is looked at when its timer expires
            if due is not None and self._due <= due:
                return
            self._call.cancel()
            self._call = None
        if due is not None:
            self._due = due
            self._call = self._clock.callLater(max(0.0, due - self._now()), self._expired)

    def _expired(self) -> None:
        self._call = None
        self.fire()

    def fire(self) -> None:
        """Let the connection do what is due; its timers are set again then."""
        self._driver.timeout()

    def _update_trickle(self, wanted: bool) -> None:
        loop, self._trickle = self._trickle, None
        if loop is not None and loop.running:
            loop.stop()
        if wanted and self._interval is not None:
            loop = self._trickle = LoopingCall(self.fire)
            loop.clock = self._clock
            loop.start(self._interval, now=False).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        _log.failure("announcing failed", failure)
        drop_tracebacks(failure)

    def rearm(self) -> None:
        """Set all timers anew: those that were set may be hours late."""
        self._update_call(None)
        self._update_trickle(False)
        self.update()

    def stop(self) -> None:
        """Stop all timers."""
        self._ticker.forget(self)
        self._update_call(None)
        self._update_trickle(False)
