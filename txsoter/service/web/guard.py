"""Protects the HTTP server: connections, request size and time, slow readers, memory."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorTime, ITransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from txsoter.clock import monotonic
from txsoter.service.web.output import Output
from txsoter.service.web.pace import Pace

__all__ = ["MAX_HELD_BYTES", "REQUEST_BYTES", "REQUEST_SECONDS", "TAKE_SECONDS", "Guard", "GuardedConnection"]

REQUEST_SECONDS = 15.0
"""Seconds for a request to come, from the connection or the end of the last answer on."""

REQUEST_BYTES = 32 * 1024
"""The most bytes of a request, and of what comes before it was answered."""

TAKE_SECONDS = 5.0
"""Seconds in which a client must take the next piece of an answer, 16 KiB."""

GRACE_SECONDS = 0.2
"""Seconds after some progress in which a connection makes no room for another."""

MAX_HELD_BYTES = 16 * 1024 * 1024
"""The most bytes of answers that all connections of a port hold together."""

KERNEL_BYTES = 32 * 1024
"""Bytes of the kernel's send buffer for each connection: a client that reads nothing is noticed that much sooner."""

VANISHED_SECONDS = 20
"""Seconds after which the kernel gives up on a client that acknowledges nothing."""

BURST = 50
"""Requests that connections which are kept open may send at once, all together."""

RATE = 100.0
"""Requests a second beyond that. The first one of a connection is not counted."""


class GuardedConnection(ProtocolWrapper):
    """An HTTP connection whose requests and answers are bounded in size and time.

    :ivar output: what the client has not taken yet.
    :ivar is_aborted: whether it is about to be lost.
    :ivar changed_at: when it last made progress, in monotonic seconds.
    """

    # a Guard; any, for older Twisteds have no type for it
    factory: Any
    output: Output

    def __init__(self, factory: Any, wrappedProtocol: Any) -> None:
        ProtocolWrapper.__init__(self, factory, wrappedProtocol)
        self.changed_at = factory.now()
        self.is_aborted = False
        self._deadline: IDelayedCall | None = None
        self._left = REQUEST_BYTES
        self._is_answering = False
        self._producer: Any = None
        self._when_taken: list[Callable[[], object]] = []
        self._next: Callable[[], None] = _nothing
        self._is_lost = False

    def makeConnection(self, transport: ITransport) -> None:
        """Begin to wait for a request, in place of another connection if there are too many."""
        _bound_kernel_buffers(transport)
        self.output = Output(transport, self)
        self.expect_request()
        ProtocolWrapper.makeConnection(self, transport)
        self.factory.make_room(self)

    @property
    def rank(self) -> int:
        """Its worth: 0 while a request is awaited, 1 while nothing is taken, 2 after recent progress, else 3."""
        if self._is_answering and not self.output.is_busy:
            return 3
        if self.factory.now() - self.changed_at < GRACE_SECONDS:
            return 2
        return int(self._is_answering)

    # -- requests ------------------------------------------------------------------------------

    def expect_request(self) -> None:
        """Wait for the next request, for :data:`REQUEST_SECONDS`. (Twisted's timeout begins anew with each byte.)"""
        self._is_answering = False
        self._left = REQUEST_BYTES
        self._changed(REQUEST_SECONDS)

    def request_received(self) -> None:
        """Stop the timeout: the whole request is there."""
        self._is_answering = True
        self._changed(TAKE_SECONDS if self.output.is_busy else None)

    def dataReceived(self, data: bytes) -> None:
        """Pass on what is within the limits."""
        self._left -= len(data)
        if self._left < 0:
            self.abortConnection()
        else:
            ProtocolWrapper.dataReceived(self, data)

    def when_answer_taken(self, call: Callable[[], object]) -> None:
        """Call ``call`` once the client has taken everything, possibly now."""
        if self.output.is_busy:
            self._when_taken.append(call)
        else:
            call()

    def when_next_request_may_come(self, call: Callable[[], None]) -> None:
        """Call ``call`` when the next request of this connection may be parsed."""
        self._next = call
        self.factory.pace.wait(self._go_on)

    def _go_on(self) -> None:
        self.expect_request()
        self._next()

    # -- answers -------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send ``data`` when the client has taken what came before."""
        self.writeSequence((data,))

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several pieces of data."""
        self.output.write(data)
        self.factory.keep_to_memory()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause and resume ``producer``, a push producer, as the client takes data."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None

    def output_begun(self) -> None:
        """Pause the producer, and give the client its time."""
        self._changed(TAKE_SECONDS)
        if self._producer is not None:
            self._producer.pauseProducing()

    def output_progressed(self) -> None:
        """Give the client its time again."""
        self._changed(TAKE_SECONDS)

    def output_taken(self) -> None:
        """Go on with what has waited for it."""
        self._changed(None if self._is_answering else REQUEST_SECONDS)
        if self._producer is not None:
            self._producer.resumeProducing()
        calls, self._when_taken = self._when_taken, []
        for call in calls:
            call()

    # -- the end -------------------------------------------------------------------------------

    def loseConnection(self) -> None:
        """Close once the client has taken everything; it has its usual time for that."""
        self.disconnecting = 1
        self._changed(TAKE_SECONDS)
        transport: Any = self.transport
        self.when_answer_taken(transport.loseConnection)

    def abortConnection(self) -> None:
        """Close now, and drop what was not taken."""
        self.is_aborted = True
        self.output.discard()
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Forget everything."""
        self._is_lost = True
        self._changed(None)
        self.output.discard()
        self._when_taken.clear()
        self._next = _nothing
        self.factory.pace.forget(self._go_on)
        ProtocolWrapper.connectionLost(self, reason)
        # not before what is served knows of it
        self.factory.connection_ended()

    def _changed(self, seconds: float | None) -> None:
        """Note progress, and set the deadline for the next."""
        self.changed_at = self.factory.now()
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()
        if seconds is not None and not self._is_lost:
            self._deadline = self.factory.clock.callLater(seconds, self._expired)

    def _expired(self) -> None:
        self._deadline = None
        self.abortConnection()


class Guard(WrappingFactory):
    """Makes guarded connections, and keeps all of them within limits.

    Where there are too many, a new one takes the place of one that is worth less: whose request has not come, or else
    who takes nothing, the longest of them without progress first. Up to four times as many are let in while all of
    them have made progress just now. So whoever asks and reads gets through, whatever others do.

    :param limit: connections at a time.
    :param max_held: bytes of answers that all connections hold together.
    :ivar pace: of requests other than the first ones of connections.
    :ivar now: monotonic seconds.
    """

    protocol = GuardedConnection
    noisy = False
    protocols: dict[GuardedConnection, Any]

    def __init__(
        self, factory: IProtocolFactory, clock: IReactorTime, limit: int, max_held: int = MAX_HELD_BYTES
    ) -> None:
        untyped: Any = super()
        untyped.__init__(factory)
        self.clock = clock
        self.now = monotonic(clock)
        self.pace = Pace(clock, BURST, RATE)
        self._limit = limit
        self._max_held = max_held
        self._ended: list[Deferred[None]] = []

    @property
    def held(self) -> int:
        """Bytes of answers that connections hold, and have not handed to their transports."""
        return sum(each.output.held for each in self.protocols)

    def make_room(self, newest: GuardedConnection) -> None:
        """Close one connection, other than ``newest``, if there are too many and one is dispensable."""
        live = [each for each in self.protocols if not each.is_aborted]
        if len(live) > self._limit:
            least = _least([each for each in live if each is not newest])
            if least.rank < 2 or len(live) > 4 * self._limit:
                least.abortConnection()

    def keep_to_memory(self) -> None:
        """Close connections until the rest hold no more than they may."""
        while self.held > self._max_held:
            _least([each for each in self.protocols if each.output.held]).abortConnection()

    def connection_ended(self) -> None:
        """Tell those who wait for the end of all connections if this was the last one."""
        if not self.protocols:
            ended, self._ended = self._ended, []
            for each in ended:
                each.callback(None)

    def abort_all(self) -> Deferred[None]:
        """Close all connections now; fires once they are closed."""
        if not self.protocols:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._ended.append(ended)
        for each in list(self.protocols):
            each.abortConnection()
        return ended


def _least(connections: list[GuardedConnection]) -> GuardedConnection:
    """Return the connection that is worth the least."""
    return min(connections, key=lambda each: (each.rank, each.changed_at))


def _bound_kernel_buffers(transport: Any) -> None:
    """Make the kernel hold little for the client, and give up on one that has vanished."""
    handle = _socket_of(transport)
    if handle is not None:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        # Linux has it
        if handle.family in (socket.AF_INET, socket.AF_INET6) and hasattr(socket, "TCP_USER_TIMEOUT"):
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, VANISHED_SECONDS * 1000)


def _socket_of(transport: Any) -> socket.socket | None:
    """Return the socket of a transport, or of the one below TLS; None for others."""
    while transport is not None:
        handle = transport.getHandle() if hasattr(transport, "getHandle") else None
        if isinstance(handle, socket.socket):
            return handle
        transport = getattr(transport, "transport", None)
    return None


def _nothing() -> None:
    """Do nothing."""
