"""A ``Clock`` for simulations: thousands of calls wait on it, and each is made at its own time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from itertools import count

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

__all__ = ["Livelock", "SimulatedClock"]

MAX_CALLS_AT_ONCE = 1_000_000
"""How many calls may be made without time going on; more are taken for a circle of calls that call each other."""


class Livelock(Exception):
    """Calls were made again and again, and time did not go on."""


class SimulatedClock(Clock):
    """Twisted's ``Clock``, but for large simulations.

    - A call costs the same however many others wait: Twisted's sorts all of them for each.
    - :meth:`advance` takes time from one call to the next, as a reactor does; Twisted's is at the end at once, and
      a call that sets another one sets it too late.

    Calls for the same time are made in the order in which they were set.
    """

    def __init__(self) -> None:
        # without Clock's own: there is no list to keep sorted
        self._heap: list[tuple[float, int, DelayedCall]] = []
        self._order = count()
        self._cancelled = 0
        self._wall_offset = 0.0

    def wall_seconds(self) -> float:
        """The wall-clock time, which :meth:`step_wall` sets apart from the time that ``seconds`` measures."""
        return self.rightNow + self._wall_offset

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock by ``seconds``, as an administrator or NTP would; durations are not affected."""
        self._wall_offset += seconds

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        """Call later; what is not in the future is called when time goes on next, be it by nothing."""
        call = DelayedCall(self.rightNow + delay, callable, args, kw, self._forget, self._put, self.seconds)
        self._put(call)
        return call

    def _put(self, call: DelayedCall) -> None:
        heappush(self._heap, (call.getTime(), next(self._order), call))

    def _forget(self, call: DelayedCall) -> None:
        # it stays where it is until its time, or until most of what waits is such
        self._cancelled += 1
        if self._cancelled > 100 and self._cancelled * 2 > len(self._heap):
            # the one that is being cancelled does not say so yet
            self._heap = [entry for entry in self._heap if entry[2].active() and entry[2] is not call]
            heapify(self._heap)
            self._cancelled = 0

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """What waits, in the order of its times."""
        waiting = dict.fromkeys(call for _, _, call in sorted(self._heap) if call.active())
        return sorted(waiting, key=DelayedCall.getTime)

    @property
    def calls(self) -> list[DelayedCall]:  # type: ignore[override]
        """As ``Clock`` names them."""
        return list(self.getDelayedCalls())  # type: ignore[arg-type]

    @property
    def next_time(self) -> float | None:
        """When the next call is made; None when none waits."""
        heap = self._heap
        while heap:
            due, _, call = heap[0]
            if call.active():
                if call.getTime() <= due:
                    return due
                heappop(heap)
                # as a reactor does: what is reset to less than this from now on says so
                call.activate_delay()
                self._put(call)
            else:
                # cancelled, or made already at an earlier time to which it was reset
                self._cancelled -= call.cancelled
                heappop(heap)
        return None

    def advance(self, amount: float) -> None:
        """Let time go on, and make each call when its time comes.

        What a call raises is raised here, at that time; what waits behind it is not lost.

        :param amount: seconds.
        :raises Livelock: when calls are made without end, and time does not go on.
        """
        until = self.rightNow + amount
        made = 0
        while True:
            due = self.next_time
            if due is None or due > until:
                break
            made += 1
            if due > self.rightNow:
                self.rightNow = due
                made = 0
            _, _, call = heappop(self._heap)
            if made > MAX_CALLS_AT_ONCE:
                raise Livelock(f"{made} calls were made at {self.rightNow:g} s, the last of them {call}")
            call.called = 1
            call.func(*call.args, **call.kw)
        # a call may have let time go on itself
        self.rightNow = max(self.rightNow, until)
