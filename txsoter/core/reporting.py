"""The application's share of a connection's events: its listeners are called, and lines are logged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from txsoter.core.connection import Connection
from txsoter.core.events import (
    READY,
    Closed,
    Event,
    Notice,
    Observed,
    RequestEnded,
    RoundTrip,
    SendFailed,
    SlowHandler,
    WriteFailed,
)
from txsoter.core.listeners import Listeners
from txsoter.core.log_text import MessageLog, log_lines
from txsoter.core.sanitize import sanitize
from txsoter.core.send_queue import Entry
from txsoter.core.state import State
from txsoter.errors import CloseCause, CloseReason, MalformedMessage
from txsoter.wire import Message
from txsoter.wire.framing import HEADER_SIZE

__all__ = ["Reporter"]

_ORDINARY = (CloseCause.DISCONNECT, CloseCause.REMOTE_CLOSED, CloseCause.CONNECTION_LOST)
"""Ends of connections without a fault."""


class Settings(Protocol):
    """The part of a config that a reporter reads."""

    @property
    def listeners(self) -> Listeners:
        """The application's listeners."""
        ...

    @property
    def log_connections(self) -> bool:
        """Log connections that become ready, and that end without a fault."""
        ...

    @property
    def log_messages(self) -> MessageLog:
        """The amount of each message that is logged."""
        ...


class Host(Protocol):
    """The part of an adapter that a reporter calls."""

    def log(self, level: str, text: str, error: BaseException | None = None, /, **fields: Any) -> None:
        """Log ``text``, whose ``{names}`` stand for the fields.

        :param level: "debug", "info", "warn" or "error".
        :param error: a failure of the application's code, to be logged with its traceback.
        """
        ...

    def address_text(self) -> str:
        """Return the remote's address for people."""
        ...

    def wait_for(self, result: Any, done: Callable[[Any, BaseException | None], None]) -> bool:
        """See :meth:`txsoter.core.driver.Adapter.wait_for`."""
        ...

    def ready(self) -> None:
        """Tell those who wait for both veracks. Called before the listener."""
        ...

    def malformed(self, error: MalformedMessage) -> None:
        """Note that a malformed frame came."""
        ...

    def send_failed(self, token: Any, error: Exception) -> None:
        """Tell the caller of ``send`` that the message will not be sent."""
        ...

    def request_ended(self, token: Any, answer: Message | None, error: Exception | None) -> None:
        """Tell the caller of ``request`` of its answer or its error."""
        ...

    def ended(self, reason: CloseReason) -> None:
        """Clean up: the connection has ended. Called before the listener."""
        ...

    def closed(self, reason: CloseReason) -> None:
        """Tell those who wait for the end. Called after the listener."""
        ...


class Reporter:
    """Reports the events of one connection.

    :param peer: what listeners are called with.
    :ivar is_unknown: the application has not been told of the connection, and is not told of its end.
    """

    __slots__ = ("_config", "_connection", "_host", "_peer", "is_unknown")

    def __init__(self, connection: Connection, config: Settings, host: Host, peer: Any) -> None:
        self._connection = connection
        self._config = config
        self._host = host
        self._peer = peer
        self.is_unknown = False

    def __str__(self) -> str:
        return f"{self._host.address_text()} ({'inbound' if self._connection.channel.inbound else 'outbound'})"

    def handle(self, event: Event) -> None:
        """Report an event other than a message, FLUSH and ABORT."""
        if event is READY:
            self._became_ready()
        else:
            _EVENTS[type(event)](self, event)

    def written(self, batch: list[Entry]) -> None:
        """Report messages that were written."""
        on_write, level = self._config.listeners.on_write, self._config.log_messages
        for frame, message, _ in batch:
            if level > MessageLog.OFF:
                self.log_message(message, frame[HEADER_SIZE:], sends=True)
            if on_write is not None:
                self.call("on_write", on_write, self._peer, len(frame), message, None)

    def handler_failed(self, error: BaseException, command: str) -> None:
        """Log that a handler failed, and tell the connection."""
        command = sanitize(command, 12)
        if self._connection.handler_failed(error, _words(error), command):
            self._log("error", "the handler of {command} failed", error, command=command)
        else:
            self._log("debug", "the handler of {command} was cut short", command=command)

    def call(self, name: str, function: Callable[..., Any], *args: Any) -> None:
        """Call a function of the application without making anything wait for it.

        :param name: for the log, if it fails.
        """
        try:
            result = function(*args)
        except Exception as error:
            self.handler_failed(error, name)
            return
        if result is not None:
            self._host.wait_for(result, lambda _, error: None if error is None else self.handler_failed(error, name))

    def note(self, level: str, text: str) -> None:
        """Log a line about the connection."""
        self._log(level, "{text}", text=text)

    def log_message(self, message: Message, payload: bytes, sends: bool) -> None:
        """Log a message at debug level."""
        for line in log_lines(self._config.log_messages, sends, message, payload, str(self)):
            self._host.log("debug", "{line}", line=line)

    def _log(self, level: str, text: str, error: BaseException | None = None, /, **fields: Any) -> None:
        self._host.log(level, "{peer}: " + text, error, peer=str(self), **fields)

    # -- events --------------------------------------------------------------------------------

    def _became_ready(self) -> None:
        channel, on_ready = self._connection.channel, self._config.listeners.on_ready
        if self._config.log_connections:
            assert channel.handshake.remote is not None
            pver, agent = channel.handshake.pver, sanitize(channel.handshake.remote.user_agent)
            self._log("info", "ready, protocol version {pver}, {agent}", pver=pver, agent=agent)
        self._host.ready()
        # those who were told before may have hung up
        if on_ready is not None and channel.state is State.READY:
            self.call("verack", on_ready, self._peer)

    def _observed(self, event: Observed) -> None:
        on_read = self._config.listeners.on_read
        if event.message is not None and self._config.log_messages > MessageLog.OFF:
            self.log_message(event.message, event.payload, sends=False)
        if isinstance(event.error, MalformedMessage):
            self.call("malformed", self._host.malformed, event.error)
        if on_read is not None:
            self.call("on_read", on_read, self._peer, event.size, event.message, event.error)

    def _write_failed(self, event: WriteFailed) -> None:
        on_write = self._config.listeners.on_write
        if on_write is not None:
            self.call("on_write", on_write, self._peer, 0, event.message, event.error)

    def _send_failed(self, event: SendFailed) -> None:
        self._host.send_failed(event.token, event.error)

    def _request_ended(self, event: RequestEnded) -> None:
        self._host.request_ended(event.token, event.answer, event.error)

    def _round_trip(self, event: RoundTrip) -> None:
        on_round_trip = self._config.listeners.on_round_trip
        if on_round_trip is not None:
            self.call("on_round_trip", on_round_trip, self._peer, event.seconds)

    def _slow_handler(self, event: SlowHandler) -> None:
        self._log(
            "warn",
            "the listener {listener} for {command} has not finished for {seconds:.0f} s; "
            "no message is handled meanwhile",
            listener=event.listener,
            command=sanitize(event.command, 12),
            seconds=event.seconds,
        )

    def _notice(self, event: Notice) -> None:
        self._log(event.level, "{text}", event.error, text=event.text)

    def _closed(self, event: Closed) -> None:
        reason, on_closed = event.reason, self._config.listeners.on_closed
        if (self._config.log_connections and not self.is_unknown) or reason.cause not in _ORDINARY:
            self._log("info", "{reason}", reason=reason)
        self._host.ended(reason)
        if on_closed is not None and not self.is_unknown:
            self.call("close", on_closed, self._peer, reason)
        self._host.closed(reason)


_EVENTS: dict[type, Callable[[Reporter, Any], None]] = {
    Observed: Reporter._observed,
    WriteFailed: Reporter._write_failed,
    SendFailed: Reporter._send_failed,
    RequestEnded: Reporter._request_ended,
    RoundTrip: Reporter._round_trip,
    SlowHandler: Reporter._slow_handler,
    Notice: Reporter._notice,
    Closed: Reporter._closed,
}


def _words(error: BaseException) -> str:
    """Return the text of an error, which may have none that can be had."""
    try:
        return str(error)
    except Exception:
        return f"a {type(error).__name__} that has no text"
