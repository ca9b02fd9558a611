"""``Changes``: waiting for something to change."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

__all__ = ["Changes"]


class Changes:
    """Wakes all who wait whenever something has changed. They look themselves whether that concerns them.

    :param clock: for those who wait no longer than so many seconds.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[Deferred[None], None] = {}

    def wait(self, seconds: float | None = None) -> Deferred[None]:
        """Return a Deferred that fires at the next change, or after so many seconds; cancel it to give up."""
        waiter: Deferred[None] = Deferred(lambda each: self._waiting.pop(each, None))
        self._waiting[waiter] = None
        if seconds is not None:
            timer = self._clock.callLater(seconds, self._fire, waiter)

            def stop(result: None) -> None:
                if timer.active():
                    timer.cancel()
                return result

            waiter.addBoth(stop)
        return waiter

    def _fire(self, waiter: Deferred[None]) -> None:
        if waiter in self._waiting:
            del self._waiting[waiter]
            waiter.callback(None)

    def note(self) -> None:
        """Wake all who wait now; those who wait again from then on wait for the next change."""
        for waiter in list(self._waiting):
            self._fire(waiter)
