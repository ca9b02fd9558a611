"""An asyncio loop whose time passes only when there is nothing else to do: real sockets, and nothing waits."""

from __future__ import annotations

import asyncio
import gc
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

__all__ = ["SimulatedLoop", "run_simulated"]

T = TypeVar("T")

LONGEST = 24 * 3600.0
"""Simulated seconds after which a test waits for something that will not happen."""


class _Selector(selectors.DefaultSelector):
    """Lets time pass instead of waiting."""

    loop: SimulatedLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        """Return what is ready; if nothing is, the time is later now."""
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        self.loop.let_pass(timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """A loop with a clock of its own. What goes wrong behind everybody's back is noted.

    Its sockets are real. Only those of the kernel's memory, such as ``socket.socketpair()``, may be used: time must not
    pass while something is under way.

    :ivar faults: everything that was given to the exception handler.
    """

    def __init__(self) -> None:
        self._now = 1000.0
        self._handles: list[asyncio.TimerHandle] = []
        self.faults: list[str] = []
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self.set_exception_handler(lambda loop, context: self.faults.append(_text(context)))

    def time(self) -> float:
        """Return the simulated time in seconds."""
        return self._now

    def let_pass(self, seconds: float | None) -> None:
        """Let time pass.

        :raises AssertionError: if nothing will ever happen.
        """
        if seconds is None or self._now > LONGEST:
            raise AssertionError("the test waits for something that will not happen")
        self._now += seconds

    def call_at(  # type: ignore[override]  # its generics say nothing here
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """As ever; the handle is remembered."""
        handle = super().call_at(when, callback, *args, context=context)
        self._handles.append(handle)
        return handle

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        """Those that are still to expire."""
        return [each for each in self._handles if not each.cancelled() and each.when() > self._now]


def run_simulated(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` on a loop of its own, which must have nothing left in the end: tasks, timers, faults."""
    loop = SimulatedLoop()
    try:
        result = loop.run_until_complete(main)
        # what was closed is told so in the next turn
        loop.run_until_complete(asyncio.sleep(0))
        gc.collect()
        assert asyncio.all_tasks(loop) == set()
        assert loop.timers == []
        assert loop.faults == []
        return result
    finally:
        loop.close()


def _text(context: Mapping[str, Any]) -> str:
    return f"{context['message']}: {context.get('exception')!r}"
