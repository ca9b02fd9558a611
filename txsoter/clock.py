"""Monotonic time for durations, wall-clock time for time stamps.

A Twisted reactor measures with ``time.time``, which administrators, NTP and virtual machines set. Durations here are
read from :func:`monotonic`; :func:`wall` is only for time stamps that people or remotes read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorCore, IReactorTime

from txsoter.errors import LocalError

__all__ = ["TimeStamps", "monotonic", "use_monotonic_time", "wall"]

_STEP = 0.5
"""Seconds that make a difference between two clocks a step; less is what it takes to read them."""


def monotonic(clock: IReactorTime) -> Callable[[], float]:
    """Return the function that measures durations for ``clock``, in seconds.

    ``time.monotonic`` for a reactor; for any other clock, such as a test's, its own ``seconds``.
    """
    return time.monotonic if IReactorCore.providedBy(clock) else clock.seconds


def wall(clock: IReactorTime) -> Callable[[], float]:
    """Return the function that gives time stamps for ``clock``, in seconds since 1970.

    ``time.time`` for a reactor; for any other clock its ``wall_seconds``, or ``seconds`` if it has none.
    """
    if IReactorCore.providedBy(clock):
        return time.time
    found: Callable[[], float] = getattr(clock, "wall_seconds", clock.seconds)
    return found


class TimeStamps:
    """Wall-clock time stamps of moments that were measured by :func:`monotonic`.

    A step of the wall clock moves the stamps of all moments, past ones too: compared with the stamp of now they show
    the same ages as before. Otherwise a moment's stamp stays the same to the last digit, because the difference of
    the two clocks is kept until it has changed by half a second.

    :param clock: whose times they are.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._monotonic = monotonic(clock)
        self._wall = wall(clock)
        self._offset = self._wall() - self._monotonic()

    @property
    def offset(self) -> float:
        """Seconds to add to a moment to get its stamp."""
        offset = self._wall() - self._monotonic()
        if abs(offset - self._offset) >= _STEP:
            self._offset = offset
        return self._offset

    def of(self, moment: float) -> float:
        """Return the stamp of a moment, in seconds since 1970."""
        return moment + self.offset

    def now(self) -> float:
        """Return the stamp of now, in seconds since 1970."""
        return self.of(self._monotonic())


def use_monotonic_time(reactor: Any) -> None:
    """Let ``reactor`` schedule by ``time.monotonic``: its delayed calls are then in time whatever the wall clock does.

    Call it before anything is scheduled, for instance right after the reactor was imported. A second call changes
    nothing.

    :raises txsoter.errors.LocalError: if calls are scheduled already: they would be due decades from now.
    """
    if reactor.seconds is time.monotonic:
        return
    if reactor.getDelayedCalls():
        raise LocalError("use_monotonic_time() was called after callLater(): call it before anything is scheduled")
    reactor.seconds = time.monotonic
