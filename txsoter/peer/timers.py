"""Timers of a connection: repeated ones, deadlines, and the clock that the remote is held to."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

__all__ = ["Deadline", "RemoteClock", "Repeating"]


class Repeating:
    """A LoopingCall that can be started and stopped again, and that costs nothing while it is not running.

    :param interval: seconds; None means never.
    :param failed: told when ``action`` raises, which ends the repetition.
    """

    __slots__ = ("_action", "_clock", "_failed", "_interval", "_loop")

    def __init__(
        self,
        clock: IReactorTime,
        interval: float | None,
        action: Callable[[], object],
        failed: Callable[[Failure], object],
    ) -> None:
        self._clock = clock
        self._interval = interval
        self._action = action
        self._failed = failed
        self._loop: LoopingCall | None = None

    def start(self) -> None:
        """Begin, unless it is running: the first time is one interval from now."""
        if self._loop is None and self._interval is not None:
            self._loop = loop = LoopingCall(self._action)
            loop.clock = self._clock
            loop.start(self._interval, now=False).addErrback(self._failed)

    def stop(self) -> None:
        """End; it may be started again."""
        loop, self._loop = self._loop, None
        if loop is not None and loop.running:
            loop.stop()


class Deadline:
    """Calls back once the time has come, where the time may move on meanwhile.

    Moving it costs nothing: the timer is looked at when it expires, and set again for what is left. When it
    has come nearer, :meth:`arm` must be called.

    :param left: gives the seconds that are left, or None when there is nothing to wait for.
    :param expired: called when none are.
    """

    __slots__ = ("_call", "_clock", "_expired", "_left")

    def __init__(self, clock: IReactorTime, left: Callable[[], float | None], expired: Callable[[], object]) -> None:
        self._clock = clock
        self._left = left
        self._expired = expired
        self._call: IDelayedCall | None = None

    def arm(self) -> None:
        """Watch, unless it does so already for a time no later."""
        left = self._left()
        if left is None:
            return
        left = max(0.0, left)
        if self._call is None:
            self._call = self._clock.callLater(left, self._look)
        elif self._call.getTime() > self._clock.seconds() + left:
            self._call.reset(left)

    def disarm(self) -> None:
        """Watch no more."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _look(self) -> None:
        self._call = None
        left = self._left()
        if left is None:
            return
        # what rounding leaves must not become a loop of ever smaller waits
        if left > 1e-6:
            self._call = self._clock.callLater(left, self._look)
        else:
            self._expired()


class RemoteClock:
    """The time that the remote is accountable for: it stands still while we keep it waiting."""

    __slots__ = ("_clock", "_held", "_reasons", "_stopped_at")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._held = 0.0
        self._reasons = 0
        self._stopped_at: float | None = None

    def seconds(self) -> float:
        """Its time."""
        now = self._clock.seconds() if self._stopped_at is None else self._stopped_at
        return now - self._held

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self._stopped_at is None

    def stop(self) -> None:
        """There is a reason, or one more, why the remote has to wait for us."""
        self._reasons += 1
        if self._stopped_at is None:
            self._stopped_at = self._clock.seconds()

    def go_on(self) -> None:
        """One reason less."""
        self._reasons = max(0, self._reasons - 1)
        if self._stopped_at is not None and not self._reasons:
            self._held += self._clock.seconds() - self._stopped_at
            self._stopped_at = None
