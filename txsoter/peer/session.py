"""A core connection on a Twisted transport: reads and writes, Deferreds, log lines."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from inspect import getgeneratorlocals, iscoroutine, isgenerator
from threading import get_ident
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from txsoter.clock import wall
from txsoter.core.config import tick_of
from txsoter.core.connection import Connection
from txsoter.core.driver import Driver
from txsoter.core.events import Event
from txsoter.core.reporting import Reporter
from txsoter.core.send_queue import Entry
from txsoter.core.state import State
from txsoter.errors import (
    CloseCause,
    ClosedBy,
    CloseReason,
    ConnectionClosed,
    IllegalTransition,
    LocalError,
    MalformedMessage,
)
from txsoter.peer.addressing import address_text, host_and_port, remote_address
from txsoter.peer.config import PeerConfig, shared
from txsoter.peer.deferreds import Waiters, fail_quietly
from txsoter.peer.threads import cross
from txsoter.peer.tracebacks import drop_tracebacks
from txsoter.peer.wakeup import Wakeup, ticker_of
from txsoter.wire import Message

__all__ = ["Session"]

# or is closed already, which it tells in its own time
_IS_NO_TCP = suppress(OSError)

# of the module, not of the class: events that are kept must not keep closed peers
_log = Logger()


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
    :ivar reporter: calls listeners, and logs.
    """

    __slots__ = (
        "_clock",
        "_config",
        "_peer",
        "_wakeup",
        "closed_waiters",
        "driver",
        "has_ended",
        "is_refused",
        "is_unnamed",
        "now",
        "ready_waiters",
        "remote",
        "reporter",
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
        self.reporter = Reporter(connection, config, self, peer)
        self.now: Callable[[], float] = _not_yet
        self.ready_waiters = Waiters()
        self.closed_waiters = Waiters()
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
        ticker = shared(config, clock, lambda: ticker_of(clock, tick_of(config)))
        self.now = ticker.now
        self._wakeup = Wakeup(clock, self.now, self.driver, ticker, config.trickle_interval)
        # writes are gathered here already: gathering them again costs small messages up to 40 ms
        set_no_delay = getattr(transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            with _IS_NO_TCP:
                set_no_delay(True)
        register = getattr(transport, "registerProducer", None)
        if register is not None:
            register(self, True)
        self.driver.connection_made(ticker.wall(), *host_and_port(self.remote))

    def find_remote(self) -> None:
        """Find the remote's address, and ask the factory whether it may stay."""
        self.remote = remote_address(self.transport)
        self.is_unnamed = self.remote is None
        # one of another kind lets everybody in
        named = getattr(self._peer.factory, "named", None)
        if named is not None and self.remote is not None:
            named(self._peer, self.remote)

    def named_late(self) -> None:
        """Note that bytes came: if a proxy names the remote at all, it has done so now."""
        self.find_remote()
        self.is_unnamed = False
        self.driver.connection.remote_is(*host_and_port(self.remote))

    def refuse(self, why: str) -> None:
        """End a connection that may not stay; quietly, if it has not begun."""
        if self.driver.connection.state is State.CONNECTING:
            # only those who wait for something of it are told of a connection that was not let in
            self.is_refused = self.reporter.is_unknown = True
            self.driver.connection_lost(ClosedBy.LOCAL, CloseCause.DISCONNECT, why)
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
        unregister = getattr(self.transport, "unregisterProducer", None)
        if unregister is not None:
            unregister()
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

    def handler_waits(self, result: Any) -> None:
        """Fail what a handler waits for that was just called, if that can only come when it is done."""
        awaited = _awaited(result)
        if self.driver.connection.state is State.READY or not isinstance(awaited, Deferred) or awaited.called:
            return
        if self.ready_waiters.remove(awaited):
            what = "when_ready()"
        elif self.driver.connection.forget_early(awaited):
            what = "a message that is sent when the handshake is over"
        else:
            return
        awaited.errback(IllegalTransition(f"a listener that waits for {what} waits for itself: do not wait in it"))

    def handler_failed(self, error: BaseException, command: str) -> None:
        """Log that a handler failed, and tell the connection."""
        self.reporter.handler_failed(error, command)

    def written(self, batch: list[Entry]) -> None:
        """Log messages that were written, and call ``on_write`` for each."""
        self.reporter.written(batch)

    def sent(self, token: Deferred[None]) -> None:
        """Fire the Deferred of ``send()``."""
        token.callback(None)

    def handle_event(self, event: Event) -> None:
        """Handle an event of the connection."""
        self.reporter.handle(event)

    # -- what the reporter calls ---------------------------------------------------------------

    def log(self, level: str, text: str, error: BaseException | None = None, /, **fields: Any) -> None:
        """Log ``text`` with its fields."""
        if error is None:
            _log.emit(LogLevel.lookupByName(level), text, **fields)
            return
        failure = Failure(error)
        _log.failure(text, failure, **fields)
        drop_tracebacks(failure)

    def address_text(self) -> str:
        """Return the remote's address for people."""
        if self.transport is None:
            return "nowhere"
        return address_text(self.transport.getPeer() if self.remote is None else self.remote)

    def ready(self) -> None:
        """Tell those who wait for both veracks."""
        self.ready_waiters.succeed(self._peer)
        # those who were told before may have hung up
        if self.driver.connection.state is State.READY:
            self.reporter.call("verack", self._peer.peer_ready)

    def malformed(self, error: MalformedMessage) -> None:
        """Tell the peer of a malformed frame."""
        self._peer.malformed_received(error)

    def send_failed(self, token: Deferred[None], error: Exception) -> None:
        """Fail the Deferred of ``send()``."""
        if isinstance(error, ConnectionClosed):
            fail_quietly(token, Failure(error))
        else:
            token.errback(error)

    def request_ended(self, token: Deferred[Any], answer: Message | None, error: Exception | None) -> None:
        """Fire the Deferred of ``request()``, unless a callback of the one before it has given it up."""
        if token.called:
            return
        if error is None:
            token.callback(answer)
        else:
            token.errback(error)

    def ended(self, reason: CloseReason) -> None:
        """Clean up."""
        if self._wakeup is not None:
            self._wakeup.stop()
        if self.ready_waiters:
            self.ready_waiters.fail(self.driver.connection.channel.closed_error())
        factory, self._peer.factory = self._peer.factory, None
        # one of another kind keeps no account of its peers
        forget = getattr(factory, "forget", None)
        if forget is not None:
            forget(self._peer)
        if not self.is_refused:
            self.reporter.call("close", self._peer.peer_closed, reason)

    def closed(self, reason: CloseReason) -> None:
        """Tell those who wait for the end."""
        self.has_ended = True
        self.closed_waiters.succeed(reason)

    # -- the application -----------------------------------------------------------------------

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


def _awaited(result: Any) -> Any:
    """Return what a coroutine is suspended on, through the coroutines that it awaits; anything else as it is."""
    while iscoroutine(result):
        result = result.cr_await
    # newer Deferreds are awaited by a generator of theirs
    return getgeneratorlocals(result).get("self") if isgenerator(result) else result


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
    if not isinstance(failure.value, ConnectionDone):
        return ClosedBy.NETWORK, CloseCause.CONNECTION_LOST, failure.getErrorMessage()
    return ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED, ""
