"""Deferreds that wait for a connection: to be ready, to be closed, to have sent."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["Waiters", "fail_quietly"]


class Waiters:
    """Deferreds of callers who wait for the same thing. Cancelling one removes it."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        # made when needed, which for most connections is never
        self._waiting: list[Deferred[Any]] | None = None

    def __len__(self) -> int:
        return len(self._waiting or ())

    def add(self) -> Deferred[Any]:
        """Return a new one."""
        if self._waiting is None:
            self._waiting = []
        waiter: Deferred[Any] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    def remove(self, waiter: Deferred[Any]) -> bool:
        """Forget one; tell whether it was there."""
        found = any(each is waiter for each in self._waiting or ())
        if found:
            assert self._waiting is not None
            self._waiting.remove(waiter)
        return found

    def succeed(self, result: Any) -> None:
        """Fire all with ``result``."""
        # one by one: a callback may cancel another
        while self._waiting:
            self._waiting.pop(0).callback(result)

    def fail(self, error: Exception) -> None:
        """Fail all with ``error``."""
        while self._waiting:
            self._waiting.pop(0).errback(error)


def fail_quietly(deferred: Deferred[Any], failure: Failure) -> None:
    """Fail ``deferred``, without an error in the log if nobody has asked for its result.

    Most callers of ``send()`` do not look at what it returns, and they are told of the end of a connection once, by
    other means.
    """
    # the name of the list depends on Twisted's version
    fields = vars(deferred)
    watched = bool(fields.get("_callbacks", fields.get("callbacks")))
    deferred.errback(failure)
    info = deferred._debugInfo
    if not watched and info is not None:
        info.failResult = None
