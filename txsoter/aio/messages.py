"""A peer's messages as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from typing_extensions import Self

from txsoter.wire import Message

__all__ = ["Messages"]

Done = Callable[[Any, "BaseException | None"], None]


class Messages:
    """The messages of one peer, from the call of ``peer.messages()`` on; it ends with the connection.

    A message is in hand until the next is asked for, as it is with a listener: the body of ``async for`` is one.
    """

    __slots__ = ("__weakref__", "_done", "_has_ended", "_loop", "_message", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # a message that was not taken yet
        self._message: Message | None = None
        # tells the driver that the message in hand has been handled
        self._done: Done | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._has_ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Return the next message. Cancelling this loses none."""
        if self._message is None:
            self._finish()
        while self._message is None:
            if self._has_ended:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("two tasks iterate over the messages of one peer at a time")
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message, self._message = self._message, None
        return message

    def put(self, message: Message) -> Messages:
        """Hand a message over; :meth:`then` says when it has been handled."""
        self._message = message
        self._wake()
        return self

    def then(self, done: Done) -> None:
        """Call ``done`` when the message in hand has been handled."""
        self._done = done

    def end(self) -> None:
        """End behind the message that was not taken yet, if there is one."""
        self._has_ended = True
        self._wake()

    def __del__(self) -> None:
        # left by break: the messages that follow go to the listeners alone, or to another iterator made meanwhile
        if self._done is not None and not self._loop.is_closed():
            # a garbage collection may be in any thread
            self._loop.call_soon_threadsafe(self._done, None, None)

    def _finish(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(None, None)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
