"""The one place where calls cross from other threads to the reactor's."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from txsoter.errors import ConnectionClosed, RequestFailed
from txsoter.peer.deferreds import fail_quietly

__all__ = ["CrossingDeferred", "cross"]

T = TypeVar("T")


class CrossingDeferred(Deferred[T]):
    """A Deferred that another thread got: everything that is done to it is done in the reactor's thread.

    So its callbacks run there, and adding one cannot race with the firing. To wait for it in
    the other thread, use :func:`twisted.internet.threads.blockingCallFromThread`.
    """

    def __init__(
        self,
        call_from_thread: Callable[..., Any],
        reactor_thread: int,
        canceller: Callable[[Deferred[Any]], None] | None = None,
    ) -> None:
        super().__init__(canceller)
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

    def cancel(self) -> None:
        """As ever; from another thread it is done a little later."""
        if get_ident() == self._reactor_thread:
            super().cancel()
        else:
            self._call_from_thread(super().cancel)


def _same(result: T) -> T:
    return result


def cross(
    call_from_thread: Callable[..., Any], reactor_thread: int, function: Callable[..., Any], *args: Any, **kwargs: Any
) -> Deferred[Any]:
    """Call ``function`` in the reactor's thread, from another.

    :return: fires in the reactor's thread with what ``function`` returns or raises. Cancelling it cancels what
        ``function`` returned, or keeps it from being called.
    """
    called: list[Deferred[Any]] = []

    def give_up(_: Deferred[Any]) -> None:
        for each in called:
            each.cancel()

    result: CrossingDeferred[Any] = CrossingDeferred(call_from_thread, reactor_thread, give_up)

    def failed(failure: Failure) -> None:
        if failure.check(ConnectionClosed) is None or failure.check(RequestFailed) is not None:
            result.errback(failure)
        else:
            # as in the reactor's thread: the end of a connection is no fault of those who do not look at what they sent
            fail_quietly(result, failure)

    def call() -> None:
        if not result.called:
            called.append(maybeDeferred(function, *args, **kwargs))
            called[0].addCallbacks(result.callback, failed)

    call_from_thread(call)
    return result
