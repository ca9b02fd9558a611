"""A thread of one's own, for what blocks: so a slow disk holds up nothing but itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

__all__ = ["OwnThread", "Worker"]

T = TypeVar("T")


class Worker(Protocol):
    """Calls functions one after the other, somewhere."""

    def run(self, function: Callable[..., T], *args: Any) -> Deferred[T]:
        """Call it, behind all that were to be called before; fires with what it returns, or fails."""
        ...

    def stop(self) -> None:
        """Call no more; nothing is being called."""
        ...


class OwnThread:
    """Calls functions in a thread of its own, not one of those that the reactor shares among all.

    :param reactor: in whose thread the results arrive; it must run for that.
    :param name: of the thread.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._name = name
        self._pool: ThreadPool | None = None
        self._trigger: Any = None

    def run(self, function: Callable[..., T], *args: Any) -> Deferred[T]:
        """Call it in the thread, which begins with the first call."""
        if self._pool is None:
            self._pool = ThreadPool(1, 1, self._name)
            self._pool.start()
            # a thread that is forgotten keeps the process from ending
            self._trigger = self._reactor.addSystemEventTrigger("after", "shutdown", self._pool.stop)
        called: Deferred[T] = deferToThreadPool(self._reactor, self._pool, function, *args)
        return called

    def stop(self) -> None:
        """End the thread, and wait for that; the next call begins another."""
        if self._pool is not None:
            self._reactor.removeSystemEventTrigger(self._trigger)
            self._pool.stop()
            self._pool = None
