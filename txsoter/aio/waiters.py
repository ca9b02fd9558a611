"""Futures that wait for a connection: to be ready, to be closed, to have sent, to have an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from txsoter.errors import ConnectionClosed

__all__ = ["Answer", "Waiters", "fail", "succeed"]

T = TypeVar("T")


def succeed(future: asyncio.Future[T], result: T) -> None:
    """Set the result of ``future``, unless its caller has cancelled it."""
    if not future.done():
        future.set_result(result)


def fail(future: asyncio.Future[Any], error: Exception) -> None:
    """Set the error of ``future``, unless its caller has cancelled it.

    The end of a connection is no error in the log when nobody awaits the future: most callers of ``send()`` do not, and
    they are told of the end once, by other means.
    """
    if not future.done():
        future.set_exception(error)
        if isinstance(error, ConnectionClosed):
            future.exception()


class Answer(asyncio.Future[T]):
    """The answer to a request.

    :param give_up: is called with it when its caller cancels it: at once, so that it takes no answer from others.
    """

    def __init__(self, give_up: Callable[[Answer[T]], None], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._give_up = give_up

    def cancel(self, msg: Any | None = None) -> bool:
        """Give the request up."""
        cancelled = super().cancel(msg)
        if cancelled:
            self._give_up(self)
        return cancelled


class Waiters:
    """Futures of callers who wait for the same thing. Cancelling one removes it."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # in the order of asking; made when needed
        self._waiting: dict[asyncio.Future[Any], None] | None = None

    def add(self) -> asyncio.Future[Any]:
        """Return a new one."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._waiting is None:
            self._waiting = {}
        self._waiting[future] = None
        future.add_done_callback(self._remove)
        return future

    def succeed(self, result: Any) -> None:
        """Set the result of all."""
        for future in self._waiting or ():
            succeed(future, result)

    def fail(self, error: Exception) -> None:
        """Set the error of all."""
        for future in self._waiting or ():
            fail(future, error)

    def _remove(self, future: asyncio.Future[Any]) -> None:
        assert self._waiting is not None
        del self._waiting[future]
