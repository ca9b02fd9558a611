"""A core connection on a Twisted transport: reads and writes, Deferreds, log lines."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from inspect import iscoroutine
from threading import get_ident
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IConsumer, IPushProducer, IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from txsoter.clock import wall
from txsoter.core.connection import Connection
from txsoter.core.driver import Driver
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
from txsoter.core.log_text import MessageLog, log_lines
from txsoter.core.sanitize import sanitize
from txsoter.core.send_queue import Entry
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy, ConnectionClosed, LocalError, MalformedMessage
from txsoter.peer.addressing import address_text, host_and_port, remote_address
from txsoter.peer.config import PeerConfig
from txsoter.peer.deferreds import Waiters, fail_quietly
from txsoter.peer.threads import cross
from txsoter.peer.tracebacks import drop_tracebacks
from txsoter.peer.wakeup import Wakeup, ticker_of
from txsoter.wire import Message
from txsoter.wire.framing import HEADER_SIZE

__all__ = ["Session"]

# of the module, not of the class: events that are kept must not keep closed peers
_log = Logger()

_ORDINARY = (CloseCause.DISCONNECT, CloseCause.REMOTE_CLOSED, CloseCause.CONNECTION_LOST)
"""Ends of connections without a fault."""


@implementer(IPushProducer)
class Session:
    """The driver of a core connection, its transport and its timers, on behalf of a peer.

    It is apart from the peer so that applications may give their subclasses any methods they like.

    :param peer: what listeners are called with.
    :ivar transport: of the connection, or None before it is made.
    :ivar thread: the identifier of the reactor's thread.
    :ivar remote: address of the remote; None before the connection is made, or as long as a proxy has not named it.
    :ivar is_unnamed: the first read may tell the remote's address.
    :ivar is_refused: the connection was not let in.
    """

    __slots__ = (
        "_clock",
        "_config",
        "_peer",
        "_wakeup",
        "closed",
        "driver",
        "has_ended",
        "is_refused",
        "is_unnamed",
        "now",
        "ready",
        "remote",
        "thread",
        "transport",
    )

    def __init__(self, peer: Any, config: PeerConfig, connection: Connection) -> None:
        self._peer = peer
        self._config = config
        self.transport: Any = None
        self._clock: IReactorTime | None = config.clock
        self._wakeup: Wakeup | None = None
        self.remote: IAddress | None = None
        self.is_unnamed = False
        self.is_refused = False
        self.driver = Driver(connection, self, peer)
        self.now: Callable[[], float] = _not_yet
        self.ready = Waiters()
        self.closed = Waiters()
        self.has_ended = False
        self.thread = get_ident()

    # -- what Twisted calls --------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Begin: the transport is there."""
        self.thread = get_ident()
        self.transport = transport
        if self.driver.connection.state is not State.CONNECTING:
            # disconnect() came before the connection did
            self.abort()
            return
        self.find_remote()
        if self.is_refused:
            return
        clock = self._clock = self._config.clock or getattr(transport, "reactor", None)
        if clock is None:
            self.abort()
            raise LocalError("PeerConfig.clock is None, and the transport has no reactor: give a clock")
        config = self._config
        ticker = config.shared(clock, lambda: ticker_of(clock, config.tick))
        self.now = ticker.now
        self._wakeup = Wakeup(clock, self.now, self.driver, ticker, config.trickle_interval)
        # writes are gathered here already: gathering them again costs small messages up to 40 ms
        if isinstance(transport.getPeer(), (IPv4Address, IPv6Address)) and hasattr(transport, "setTcpNoDelay"):
            # a socket that is closed already tells so in its own time
            with suppress(OSError):
                transport.setTcpNoDelay(True)
        if IConsumer.providedBy(transport):
            transport.registerProducer(self, True)
        self.driver.connection_made(self.wall_seconds(), *host_and_port(self.remote))

    def find_remote(self) -> None:
        """Find the remote's address, and ask the factory whether it may stay."""
        self.remote = remote_address(self.transport)
        self.is_unnamed = self.remote is None
        # one of another kind lets everybody in
        named = getattr(self._peer.factory, "named", None)
        if named is not None and self.remote is not None:
            named(self._peer)

    def named_late(self) -> None:
        """Note that bytes came: if a proxy names the remote at all, it has done so now."""
        self.find_remote()
        self.is_unnamed = False
        self.driver.connection.remote_is(*host_and_port(self.remote))

    def refuse(self, why: str) -> None:
        """End a connection that may not stay; quietly, if it has not begun."""
        if self.driver.connection.state is State.CONNECTING:
            self.is_refused = True
            # its events are not asked for: nobody is told of a connection that was not let in
            self.driver.connection.connection_lost(ClosedBy.LOCAL, CloseCause.DISCONNECT, why, self.now())
            self._peer.factory.forget(self._peer)
            self.abort()
        else:
            self.driver.close(CloseCause.DISCONNECT, why)

    def connection_lost(self, failure: Failure) -> None:
        """End: the transport is gone."""
        if self.is_refused:
            return
        self.driver.connection_lost(*_lost(failure, getattr(self.transport, "disconnecting", False)))

    def pauseProducing(self) -> None:
        """Note that the transport has had enough."""
        self.driver.pause_writing()

    def resumeProducing(self) -> None:
        """Note that the transport would take more."""
        self.driver.resume_writing()

    def stopProducing(self) -> None:
        """Nothing: ``connectionLost`` tells that the transport is gone."""

    # -- what the driver calls -----------------------------------------------------------------

    def set_reading(self, wanted: bool) -> None:
        """Read on, or pause reading."""
        if wanted:
            self.transport.resumeProducing()
        else:
            self.transport.pauseProducing()

    def hang_up(self) -> None:
        """Close the transport once it has written everything."""
        # one with a streaming producer does not finish closing
        if IConsumer.providedBy(self.transport):
            self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close the transport at once."""
        getattr(self.transport, "abortConnection", self.transport.loseConnection)()

    def set_timers(self) -> None:
        """Set the timers for the connection's deadlines."""
        if self._wakeup is not None:
            self._wakeup.update()

    def wait_for(self, result: Any, done: Callable[[Any, BaseException | None], None]) -> bool:
        """Call ``done`` with the outcome of a handler's Deferred or coroutine."""
        if iscoroutine(result):
            result = Deferred.fromCoroutine(result)
        elif not isinstance(result, Deferred):
            return False

        def failed(failure: Failure) -> None:
            done(None, failure.value)

        result.addCallbacks(lambda value: done(value, None), failed)
        return True

    def handler_failed(self, error: BaseException, command: str) -> None:
        """Log that a handler failed, and tell the connection."""
        failure = Failure(error)
        command = sanitize(command, 12)
        if not self.driver.connection.handler_failed(error, failure.getErrorMessage(), command):
            _log.debug("{peer}: the handler of {command} was cut short", peer=self.text(), command=command)
            return
        _log.failure("{peer}: the handler of {command} failed", failure, peer=self.text(), command=command)
        drop_tracebacks(failure)

    def written(self, batch: list[Entry]) -> None:
        """Log messages that were written, and call ``on_write`` for each."""
        on_write, level = self._config.listeners.on_write, self._config.log_messages
        for frame, message, _ in batch:
            if level > MessageLog.OFF:
                self.log_message(message, frame[HEADER_SIZE:], sends=True)
            if on_write is not None:
                self.call_unwaited("on_write", on_write, self._peer, len(frame), message, None)

    def sent(self, token: Deferred[None]) -> None:
        """Fire the Deferred of ``send()``."""
        token.callback(None)

    def handle_event(self, event: Event) -> None:
        """Handle an event of the connection."""
        if event is READY:
            self._became_ready()
        else:
            _EVENTS[type(event)](self, event)

    # -- events --------------------------------------------------------------------------------

    def _became_ready(self) -> None:
        channel, config = self.driver.connection.channel, self._config
        if config.log_connections:
            assert channel.handshake.remote is not None
            agent = sanitize(channel.handshake.remote.user_agent)
            _log.info(
                "{peer}: ready, protocol version {pver}, {agent}",
                peer=self.text(),
                pver=channel.handshake.pver,
                agent=agent,
            )
        self.ready.succeed(self._peer)
        # those who were told before may have hung up
        if channel.state is State.READY:
            self.call_unwaited("verack", self._peer.peer_ready)
        if config.listeners.on_ready is not None and channel.state is State.READY:
            self.call_unwaited("verack", config.listeners.on_ready, self._peer)

    def _observed(self, event: Observed) -> None:
        on_read = self._config.listeners.on_read
        if event.message is not None and self._config.log_messages > MessageLog.OFF:
            self.log_message(event.message, event.payload, sends=False)
        if isinstance(event.error, MalformedMessage):
            self.call_unwaited("malformed", self._peer.malformed_received, event.error)
        if on_read is not None:
            self.call_unwaited("on_read", on_read, self._peer, event.size, event.message, event.error)

    def _write_failed(self, event: WriteFailed) -> None:
        on_write = self._config.listeners.on_write
        if on_write is not None:
            self.call_unwaited("on_write", on_write, self._peer, 0, event.message, event.error)

    def _send_failed(self, event: SendFailed) -> None:
        if isinstance(event.error, ConnectionClosed):
            fail_quietly(event.token, Failure(event.error))
        else:
            event.token.errback(event.error)

    def _request_ended(self, event: RequestEnded) -> None:
        if event.token.called:
            # given up by a callback of the one before it
            return
        if event.error is None:
            event.token.callback(event.answer)
        else:
            event.token.errback(event.error)

    def _round_trip(self, event: RoundTrip) -> None:
        on_round_trip = self._config.listeners.on_round_trip
        if on_round_trip is not None:
            self.call_unwaited("on_round_trip", on_round_trip, self._peer, event.seconds)

    def _slow_handler(self, event: SlowHandler) -> None:
        _log.warn(
            "{peer}: the listener for {command} has not finished for {seconds:.0f} s; no message is handled meanwhile",
            peer=self.text(),
            command=sanitize(event.command, 12),
            seconds=event.seconds,
        )

    def _notice(self, event: Notice) -> None:
        if event.error is None:
            _log.emit(LogLevel.lookupByName(event.level), "{peer}: {text}", peer=self.text(), text=event.text)
            return
        failure = Failure(event.error)
        _log.failure("{peer}: {text}", failure, peer=self.text(), text=event.text)
        drop_tracebacks(failure)

    def _closed(self, event: Closed) -> None:
        reason, config = event.reason, self._config
        if self._wakeup is not None:
            self._wakeup.stop()
        self.ready.fail(self.driver.connection.channel.closed_error())
        if config.log_connections or reason.cause not in _ORDINARY:
            _log.info("{peer}: {reason}", peer=self.text(), reason=reason)
        factory, self._peer.factory = self._peer.factory, None
        # one of another kind keeps no account of its peers
        forget = getattr(factory, "forget", None)
        if forget is not None:
            forget(self._peer)
        self.call_unwaited("close", self._peer.peer_closed, reason)
        if config.listeners.on_closed is not None:
            self.call_unwaited("close", config.listeners.on_closed, self._peer, reason)
        self.has_ended = True
        self.closed.succeed(reason)

    # -- the application -----------------------------------------------------------------------

    def call_unwaited(self, name: str, function: Callable[..., Any], *args: Any) -> None:
        """Call a function of the application without making anything wait for it.

        :param name: for the log, if it fails.
        """
        try:
            result = function(*args)
        except Exception as error:
            self.handler_failed(error, name)
            return
        if result is not None:
            self.wait_for(result, lambda _, error: None if error is None else self.handler_failed(error, name))

    def cross(self, verb: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a verb in the reactor's thread, from another.

        :raises LocalError: if there is no reactor to cross over to.
        """
        for reactor in (self._config.clock, getattr(self.transport, "reactor", None)):
            call_from_thread = getattr(reactor, "callFromThread", None)
            if call_from_thread is not None:
                return cross(call_from_thread, self.thread, verb, *args, **kwargs)
        raise LocalError("called from another thread, and neither clock nor transport has callFromThread")

    def call(self, function: Callable[[], None]) -> None:
        """Call a function in the reactor's thread, at once if this is it."""
        if get_ident() == self.thread:
            function()
        else:
            self.cross(function)

    def wall_seconds(self) -> float:
        """Return the wall-clock time in seconds since 1970; 0 before there is a clock."""
        return 0.0 if self._clock is None else wall(self._clock)()

    def text(self) -> str:
        """Return the remote for people: address and direction."""
        direction = "inbound" if self.driver.connection.channel.inbound else "outbound"
        return f"{self.address_text()} ({direction})"

    def address_text(self) -> str:
        """Return the remote's address for people."""
        if self.transport is None:
            return "nowhere"
        return address_text(self.transport.getPeer() if self.remote is None else self.remote)

    def log_message(self, message: Message, payload: bytes, sends: bool) -> None:
        """Log a message at debug level."""
        for line in log_lines(self._config.log_messages, sends, message, payload, self.text()):
            _log.debug("{line}", line=line)


_EVENTS: dict[type, Callable[[Session, Any], None]] = {
    Observed: Session._observed,
    WriteFailed: Session._write_failed,
    SendFailed: Session._send_failed,
    RequestEnded: Session._request_ended,
    RoundTrip: Session._round_trip,
    SlowHandler: Session._slow_handler,
    Notice: Session._notice,
    Closed: Session._closed,
}


def _not_yet() -> float:
    """Return the time of a connection that has no clock yet."""
    return 0.0


def _lost(failure: Failure, disconnecting: bool) -> tuple[ClosedBy, CloseCause, str]:
    """Return by whom, why and how a connection was lost."""
    inner = next(iter(getattr(failure.value, "args", ())), None)
    if isinstance(inner, Failure):
        # txtorcon hands the transport's failure on inside an error of its own
        failure = inner
    if disconnecting:
        # somebody has closed the transport itself, such as a ClientService that stops
        return ClosedBy.LOCAL, CloseCause.DISCONNECT, "its transport was closed"
    if failure.check(ConnectionDone) is None:
        return ClosedBy.NETWORK, CloseCause.CONNECTION_LOST, failure.getErrorMessage()
    return ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED, ""
