"""The one place where calls cross from other threads to the reactor's."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

__all__ = ["CrossingDeferred", "cross"]

T = TypeVar("T")


class CrossingDeferred(Deferred[T]):
    """A Deferred that another thread got: everything that is done to it is done in the reactor's thread.

    So its callbacks run there, and adding one cannot race with the firing. To wait for it in
    the other thread, use :func:`twisted.internet.threads.blockingCallFromThread`.
    """

    def __init__(self, call_from_thread: Callable[..., Any], reactor_thread: int) -> None:
        super().__init__()
        self._call_from_thread = call_from_thread
        self._reactor_thread = reactor_thread

    def addCallbacks(self, *args: Any, **kwargs: Any) -> Any:
        """As ever; from another thread it is done a little later."""
        if get_ident() == self._reactor_thread:
            return super().addCallbacks(*args, **kwargs)
        self._call_from_thread(super().addCallbacks, *args, **kwargs)
        return self

    def addCallback(self, callback: Any, *args: Any, **kwargs: Any) -> Any:
        """As ever; see :meth:`addCallbacks`."""
        return self.addCallbacks(callback, callbackArgs=args, callbackKeywords=kwargs)

    def addErrback(self, errback: Any, *args: Any, **kwargs: Any) -> Any:
        """As ever; see :meth:`addCallbacks`."""
        return self.addCallbacks(_same, errback, errbackArgs=args, errbackKeywords=kwargs)

    def addBoth(self, callback: Any, *args: Any, **kwargs: Any) -> Any:
        """As ever; see :meth:`addCallbacks`."""
        return self.addCallbacks(
            callback,
            callback,
            callbackArgs=args,
            errbackArgs=args,
            callbackKeywords=kwargs,
            errbackKeywords=kwargs,
        )


def _same(result: T) -> T:
    return result


def cross(
    call_from_thread: Callable[..., Any], reactor_thread: int, function: Callable[..., Any], *args: Any, **kwargs: Any
) -> Deferred[Any]:
    """Call ``function`` in the reactor's thread, from another.

    :return: fires in the reactor's thread with what ``function`` returns or raises.
    """
    result: CrossingDeferred[Any] = CrossingDeferred(call_from_thread, reactor_thread)

    def call() -> None:
        maybeDeferred(function, *args, **kwargs).addCallbacks(result.callback, result.errback)

    call_from_thread(call)
    return result
