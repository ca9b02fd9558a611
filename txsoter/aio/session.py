"""A core connection on an asyncio transport: reads and writes, futures, tasks, log lines."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Callable
from functools import partial
from inspect import isawaitable
from typing import Any, cast

from txsoter.aio.messages import Messages
from txsoter.aio.waiters import Waiters, fail, succeed
from txsoter.core.connection import Connection
from txsoter.core.dispatch_table import DispatchTable
from txsoter.core.driver import Driver
from txsoter.core.events import Event
from txsoter.core.reporting import Reporter
from txsoter.core.send_queue import Entry
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy, CloseReason, MalformedMessage
from txsoter.peer.config import PeerConfig
from txsoter.wire import Message, VerAck

__all__ = ["Session"]

_log = logging.getLogger("txsoter")

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}

_LATER = object()
"""A handler's result: go on some turns of the loop later."""

_TURNS = 3
"""Turns of the loop that ``wait_for(connect(...))`` takes before Python 3.12 until its caller goes on."""


class Session(asyncio.Protocol):
    """The driver of a core connection, its transport and its timer, on behalf of a peer.

    :param peer: what listeners are called with.
    :param on_ended: called when the connection has ended, before the listener is.
    :ivar now: gives the time by which the connection is measured.
    :ivar reporter: calls listeners, and logs.
    """

    __slots__ = (
        "_address",
        "_at_eof",
        "_messages",
        "_on_ended",
        "_peer",
        "_tasks",
        "_timer",
        "_transport",
        "closed_waiters",
        "connection",
        "driver",
        "has_ended",
        "loop",
        "now",
        "ready_waiters",
        "reporter",
    )

    def __init__(
        self, peer: Any, config: PeerConfig, inbound: bool, table: DispatchTable, on_ended: Callable[[Any], None] | None
    ) -> None:
        self._peer = peer
        self._on_ended = on_ended
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.connection = Connection(config, inbound, table, config.random)
        self.driver = Driver(self.connection, self, peer)
        self.reporter = Reporter(self.connection, config, self, peer)
        self._transport: Any = None
        self._address = "nowhere"
        self._timer: asyncio.TimerHandle | None = None
        self._messages: Callable[[], Messages | None] = _nobody
        # the loop keeps weak references only; made when needed
        self._tasks: set[asyncio.Future[Any]] | None = None
        self._at_eof = False
        self.has_ended = False
        self.ready_waiters = Waiters(self.loop)
        self.closed_waiters = Waiters(self.loop)

    # -- what asyncio calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the transport is there."""
        self._transport = transport
        host, port, self._address = remote_of(transport)
        if self.connection.state is State.CONNECTING:
            self.driver.connection_made(time.time(), host, port)
        else:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Handle what was read."""
        self.driver.data_received(data)

    def eof_received(self) -> None:
        """End: the remote says nothing more. What it was still to be sent is dropped."""
        self._at_eof = True
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the transport is gone."""
        if exc is not None:
            self.driver.connection_lost(ClosedBy.NETWORK, CloseCause.CONNECTION_LOST, str(exc))
        elif self._at_eof:
            self.driver.connection_lost(ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED, "")
        else:
            self.driver.connection_lost(ClosedBy.LOCAL, CloseCause.DISCONNECT, "its transport was closed")

    def pause_writing(self) -> None:
        """Note that the transport has had enough."""
        self.driver.pause_writing()

    def resume_writing(self) -> None:
        """Note that the transport would take more."""
        self.driver.resume_writing()

    # -- what the driver calls -----------------------------------------------------------------

    @property
    def transport(self) -> Session:
        """The writer of the driver's bytes."""
        return self

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        self._transport.write(data)
        if self._transport.is_closing():
            # it has failed, and would warn of each further write until it says so
            self.driver.pause_writing()

    def set_reading(self, wanted: bool) -> None:
        """Read on, or pause reading."""
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def hang_up(self) -> None:
        """Close the transport once it has written everything."""
        self._transport.close()

    def abort(self) -> None:
        """Close the transport at once, if there is one."""
        if self._transport is not None:
            self._transport.abort()

    def set_timers(self) -> None:
        """Set the timer for the connection's earliest deadline."""
        due = self.connection.next_timeout()
        if self._timer is not None:
            # a deadline that moves on is looked at when its timer expires
            if due is not None and self._timer.when() <= due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self.loop.call_at(due, self._expired)

    def _expired(self) -> None:
        self._timer = None
        self.driver.timeout()

    def wait_for(self, result: Any, done: Callable[[Any, BaseException | None], None]) -> bool:
        """Call ``done`` with the outcome of a handler's coroutine or future."""
        if result is _LATER:
            self._later(_TURNS, done)
        elif isinstance(result, Messages):
            result.then(done)
        elif isawaitable(result):
            try:
                task = asyncio.ensure_future(result, loop=self.loop)
            except ValueError as error:
                # a future of another loop
                done(None, error)
                return True
            if self._tasks is None:
                self._tasks = set()
            self._tasks.add(task)
            task.add_done_callback(partial(self._finished, done, self._tasks))
        else:
            return False
        return True

    def _later(self, turns: int, done: Callable[[Any, BaseException | None], None]) -> None:
        if turns:
            self.loop.call_soon(self._later, turns - 1, done)
        else:
            done(None, None)

    def _finished(
        self, done: Callable[[Any, BaseException | None], None], tasks: set[Any], task: asyncio.Future[Any]
    ) -> None:
        tasks.discard(task)
        if task.cancelled():
            # somebody wants an end of it, most often a loop that is about to close: no further handler is called
            self.driver.close(CloseCause.DISCONNECT, "a handler was cancelled")
            done(None, None)
        else:
            error = task.exception()
            done(None if error is not None else task.result(), error)

    def handler_waits(self, result: Any) -> None:
        """Nothing: its task has not begun yet."""

    def handler_failed(self, error: BaseException, command: str) -> None:
        """Log that a handler failed, and tell the connection."""
        self.reporter.handler_failed(error, command)

    def written(self, batch: list[Entry]) -> None:
        """Log messages that were written, and call ``on_write`` for each."""
        self.reporter.written(batch)

    def sent(self, token: asyncio.Future[None]) -> None:
        """Set the result of the future of ``send()``."""
        succeed(token, None)

    def handle_event(self, event: Event) -> None:
        """Handle an event of the connection."""
        self.reporter.handle(event)

    # -- what the reporter calls ---------------------------------------------------------------

    def log(self, level: str, text: str, error: BaseException | None = None, /, **fields: Any) -> None:
        """Log ``text`` with its fields."""
        number = _LEVELS[level]
        if _log.isEnabledFor(number):
            _log.log(number, "%s", text.format(**fields), exc_info=error)

    def address_text(self) -> str:
        """Return the remote's address for people."""
        return self._address

    def ready(self) -> None:
        """Tell those who wait for both veracks."""
        self.ready_waiters.succeed(self._peer)

    def malformed(self, error: MalformedMessage) -> None:
        """Nothing: ``on_read`` tells of it."""

    def send_failed(self, token: asyncio.Future[None], error: Exception) -> None:
        """Set the error of the future of ``send()``."""
        fail(token, error)

    def request_ended(self, token: asyncio.Future[Message], answer: Message | None, error: Exception | None) -> None:
        """Set the answer or the error of the future of ``request()``."""
        if error is None:
            succeed(token, cast(Message, answer))
        else:
            fail(token, error)

    def ended(self, reason: CloseReason) -> None:
        """Clean up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.ready_waiters.fail(self.connection.channel.closed_error())
        messages = self._messages()
        if messages is not None:
            messages.end()
        if self._on_ended is not None:
            self._on_ended(self._peer)

    def closed(self, reason: CloseReason) -> None:
        """Tell those who wait for the end."""
        self.has_ended = True
        self.closed_waiters.succeed(reason)

    # -- messages ------------------------------------------------------------------------------

    def messages(self) -> Messages:
        """Return an iterator over the messages that follow; one made before ends."""
        before, messages = self._messages(), Messages(self.loop)
        if before is not None:
            before.end()
        if self.has_ended:
            messages.end()
        else:
            self._messages = weakref.ref(messages)
        return messages

    def hand_over(self, message: Message) -> Any:
        """Hand a message over to those who iterate, if somebody does.

        Whoever waits for both veracks has his turn before the next message, to begin with that.
        """
        messages = self._messages()
        if messages is not None:
            return messages.put(message)
        return _LATER if message.__class__ is VerAck else None


def _nobody() -> None:
    """Return no iterator."""


def remote_of(transport: asyncio.BaseTransport) -> tuple[str | None, int, str]:
    """Return the host, the port and the text for people of a transport's remote; None and 0 if it has neither."""
    name: Any = transport.get_extra_info("peername")
    if isinstance(name, tuple) and len(name) >= 2:
        host, port = str(name[0]), int(name[1])
        return host, port, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(name, bytes):
        # an abstract name
        name = name.decode("utf-8", "replace")
    return None, 0, f"unix:{name}" if isinstance(name, str) else str(name)
