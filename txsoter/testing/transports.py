"""An end of a connection in a simulated network: what Twisted's TCP makes of it, on simulated time."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.error import AlreadyCalled, AlreadyCancelled, ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    IPullProducer,
    IPushProducer,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from txsoter.testing.byte_queue import ByteQueue
from txsoter.testing.clock import SimulatedClock
from txsoter.testing.interfaces import Attempt, Link

__all__ = ["SimulatedTransport"]

READ_SIZE = 64 * 1024
"""The most bytes that a protocol is given at once, as by Twisted's TCP."""

WRITE_SIZE = 128 * 1024
"""The most bytes that the kernel is given at once, as by Twisted's TCP."""


class Packet(enum.Enum):
    """What is on its way besides bytes."""

    KNOCK = "a connection is wanted"
    ACCEPTED = "there is a connection"
    END = "no more bytes will come"
    RESET = "there is no connection"


@implementer(ITCPTransport, IConsumer, IPushProducer)
class SimulatedTransport:
    """One end of a :class:`SimulatedLink`; it behaves as Twisted's TCP transport does.

    Bytes written are taken in the reactor's next turn, as far as the link has room. A streaming producer is
    paused while more than 64 KiB wait, and resumed when all of it is gone. All that is told to the protocol is told
    from the clock, never from inside of a call to the transport.

    :ivar link: whose end it is.
    :ivar reactor: the network's clock.
    :ivar protocol: whom it serves; None before the connection is made and after it is lost.
    :ivar connected: whether there is a connection.
    :ivar disconnecting: whether ``loseConnection`` was called.
    :ivar reading: False while the protocol has paused it.
    :ivar written: bytes that the protocol has written.
    :ivar delivered: how many of these the other end's protocol has been given.
    """

    bufferSize = 64 * 1024

    def __init__(self, link: Link, host: IPv4Address, peer: IPv4Address) -> None:
        self.link = link
        self.protocol: Any = None
        self.connected = False
        self.disconnecting = False
        self.reading = True
        self.written = 0
        self.delivered = 0
        # of the side that dials, until it is decided
        self.attempt: Attempt | None = None
        self.when_lost: Callable[[], object] | None = None
        self._host = host
        self._peer = peer
        self._aborting = False
        self._half_closing = False
        self._half_closed = False
        self._held_until = 0.0
        self._no_delay = self._keep_alive = False
        self._producer: IProducer | None = None
        self._streaming = self._producer_paused = False
        self._buffer = ByteQueue()
        # what is on its way to the other end, with the time of its arrival
        self._pipe: deque[tuple[float, bytes | Packet]] = deque()
        self._piped = 0
        self._last_due = 0.0
        self._turn: IDelayedCall | None = None
        self._delivery: IDelayedCall | None = None

    @property
    def reactor(self) -> SimulatedClock:
        """The network's clock."""
        return self.link.network.clock

    @property
    def other(self) -> SimulatedTransport:
        """The other end."""
        other: SimulatedTransport = self.link.server if self is self.link.client else self.link.client
        return other

    @property
    def waiting(self) -> int:
        """Bytes that the link has not taken yet."""
        return len(self._buffer)

    def __repr__(self) -> str:
        return (
            f"<{self._host.host}:{self._host.port} to {self._peer.host}:{self._peer.port} of link {self.link.number}>"
        )

    # -- ITransport and IConsumer --------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes in the next turn."""
        if not isinstance(data, bytes):
            raise TypeError(f"a transport takes bytes, not {type(data).__name__}")
        if not self.connected or not data:
            return
        self.written += len(data)
        tap = self.link.network.tap
        if tap is not None:
            tap(self, data)
        if self._half_closed:
            return
        self._buffer.add(data)
        # told each time, as by Twisted
        if self._producer is not None and self._streaming and len(self._buffer) > self.bufferSize:
            self._producer_paused = True
            cast(IPushProducer, self._producer).pauseProducing()
        self._take_turn()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close once everything written has been taken; nothing more is read."""
        if self.connected and not self.disconnecting:
            self.reading = False
            self.disconnecting = True
            self._take_turn()

    def loseWriteConnection(self) -> None:
        """Write nothing more; the other end is told once everything written has been taken."""
        self._half_closing = True
        self._take_turn()

    def abortConnection(self) -> None:
        """Close at once; what waits is lost."""
        if self.connected and not self._aborting:
            self._aborting = True
            self.reading = False
            self._lose_later(0.0, ConnectionAborted(), Packet.RESET)

    def getHost(self) -> IPv4Address:
        """Our address."""
        return self._host

    def getPeer(self) -> IPv4Address:
        """The other end's address."""
        return self._peer

    def getTcpNoDelay(self) -> bool:
        """What was set."""
        return self._no_delay

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Has no effect."""
        self._no_delay = bool(enabled)

    def getTcpKeepAlive(self) -> bool:
        """What was set."""
        return self._keep_alive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Has no effect."""
        self._keep_alive = bool(enabled)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Pause and resume ``producer`` as there is room."""
        if self._producer is not None:
            raise RuntimeError(f"there is a producer already: {self._producer}")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer, self._streaming = producer, streaming
        if not streaming:
            cast(IPullProducer, producer).resumeProducing()

    def unregisterProducer(self) -> None:
        """There is no producer any more."""
        self._producer = None
        self._take_turn()

    # -- IPushProducer -------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Give the protocol no bytes for now."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Give the protocol bytes again."""
        if self.connected and not self.disconnecting and not self._aborting:
            self.reading = True
            self.other.expect()

    def stopProducing(self) -> None:
        """As :meth:`loseConnection`."""
        self.loseConnection()

    # -- what may happen to it -----------------------------------------------------------------

    def hold(self, seconds: float) -> None:
        """The program at this end is busy elsewhere: it reads nothing for so long, and what is sent to it piles up."""
        self._held_until = max(self._held_until, self.reactor.seconds() + seconds)

    def hang_up(self) -> None:
        """End the connection in good order; a peer of ours says why."""
        disconnect = getattr(self.protocol, "disconnect", None)
        if disconnect is not None:
            disconnect("the simulation is over")
        elif self.connected:
            self.loseConnection()

    # -- writing -------------------------------------------------------------------------------

    def _take_turn(self, delay: float = 0.0) -> None:
        """Let the link take what it has room for, in the next turn or later."""
        if self._turn is None and self.connected:
            self._turn = self.reactor.callLater(delay, self._write_some)

    def _write_some(self) -> None:
        """What Twisted's TCP does when a socket can be written to."""
        self._turn = None
        link = self.link
        room = min(link.window - self._piped, WRITE_SIZE)
        if self._buffer and room > 0:
            taken = self._buffer.take(room)
            self._piped += len(taken)
            for piece in link.pieces(taken):
                self.put(piece)
        if self._buffer:
            if self._piped < link.window:
                self._take_turn()
        elif self._producer is not None and (not self._streaming or self._producer_paused):
            self._producer_paused = False
            cast(IPushProducer, self._producer).resumeProducing()
        elif self.disconnecting:
            self._lose(ConnectionDone(), Packet.END)
        elif self._half_closing and not self._half_closed:
            self._half_closed = True
            self.put(Packet.END)
            half = IHalfCloseableProtocol(cast(Any, self.protocol), None)
            if half is not None:
                half.writeConnectionLost()

    def put(self, item: bytes | Packet) -> None:
        """Send on its way what comes behind all that is on its way already."""
        self._last_due = max(self._last_due, self.reactor.seconds() + self.link.delay())
        self._pipe.append((self._last_due, item))
        if len(self._pipe) == 1 or item is Packet.RESET:
            self.expect()

    # -- arriving ------------------------------------------------------------------------------

    def _arrival(self) -> float | None:
        """When something happens next to what is on its way; None when that is up to others."""
        if not self._pipe or not self.link.passable:
            return None
        due, item = self._pipe[0]
        other = self.other
        if not other.connected or not (isinstance(item, bytes) or item is Packet.END):
            return due
        # a reset need not be read to be noticed
        reset = self._pipe[-1][0] if self._pipe[-1][1] is Packet.RESET else None
        if not other.reading:
            return reset
        read = max(due, other._held_until)
        return read if reset is None else min(read, reset)

    def expect(self) -> None:
        """Look at what is on its way once something of it is due."""
        due = self._arrival()
        if due is None:
            return
        left = max(0.0, due - self.reactor.seconds())
        if self._delivery is None:
            self._delivery = self.reactor.callLater(left, self._deliver)
        elif self._delivery.getTime() > self.reactor.seconds() + left:
            self._delivery.reset(left)

    def _deliver(self) -> None:
        self._delivery = None
        try:
            while True:
                due = self._arrival()
                if due is None or due > self.reactor.seconds():
                    break
                self._deliver_next()
        finally:
            # a protocol that raises does not stop the network
            self.expect()

    def _deliver_next(self) -> None:
        """Something is due: let it arrive."""
        other, now = self.other, self.reactor.seconds()
        item = self._pipe[0][1]
        if not isinstance(item, bytes) and item is not Packet.END:
            self._pipe.popleft()
            self.link.arrived(other, item)
        elif not other.connected:
            self._pipe.popleft()
            self.link.arrived(other, Packet.END if item is Packet.END else None)
        elif not other.reading or other._held_until > now:
            # what was not read is lost by the reset behind it
            self.discard()
            self.link.arrived(other, Packet.RESET)
        elif item is Packet.END:
            self._pipe.popleft()
            other._ended()
        else:
            self._give(other, self._read(now))
            while self.link.overruns and self._has_come(now) and other.connected and not other.disconnecting:
                self._give(other, self._read(now))

    def _has_come(self, now: float) -> bool:
        """Whether bytes have arrived."""
        return bool(self._pipe) and self._pipe[0][0] <= now and isinstance(self._pipe[0][1], bytes)

    def _read(self, now: float) -> bytes:
        """What has just arrived, or as many of the bytes that have waited as are read at once."""
        _, first = self._pipe.popleft()
        assert isinstance(first, bytes)
        parts, size = [first], len(first)
        while self._pipe:
            due, item = self._pipe[0]
            if due >= now or not isinstance(item, bytes) or size + len(item) > READ_SIZE:
                break
            self._pipe.popleft()
            parts.append(item)
            size += len(item)
        return b"".join(parts)

    def _give(self, other: SimulatedTransport, data: bytes) -> None:
        self.delivered += len(data)
        self._piped -= len(data)
        self.link.network.note(self.link, self is self.link.client, data)
        if self._buffer:
            # the other end says that it has room again
            self._take_turn(self.link.delay())
        assert other.protocol is not None
        other.protocol.dataReceived(data)

    def _ended(self) -> None:
        """The other end writes no more."""
        half = IHalfCloseableProtocol(cast(Any, self.protocol), None)
        if half is None:
            self._lose(ConnectionDone(), Packet.END)
        else:
            self.reading = False
            half.readConnectionLost()

    # -- beginning and ending ------------------------------------------------------------------

    def begin(self, protocol: IProtocol) -> None:
        """There is a connection."""
        self.connected = True
        self.protocol = protocol
        protocol.makeConnection(self)

    def _lose_later(self, delay: float, error: Exception, farewell: Packet | None) -> None:
        cancel(self._turn)
        self._turn = self.reactor.callLater(delay, self._lose, error, farewell)

    def _lose(self, error: Exception, farewell: Packet | None) -> None:
        """The connection is lost at this end."""
        unread = self.other._pipe[0] if self.other._pipe else None
        if farewell is Packet.END and unread is not None and isinstance(unread[1], bytes):
            # as of a socket that is closed while it has bytes to be read
            farewell = Packet.RESET if unread[0] <= self.reactor.seconds() else farewell
        self.connected = False
        cancel(self._turn)
        self._turn = None
        self._buffer.clear()
        if farewell is not None and not (farewell is Packet.END and self._half_closed):
            self.put(farewell)
        producer, self._producer = self._producer, None
        protocol, self.protocol = self.protocol, None
        self.link.closed()
        # what waited to be read now meets a closed door
        self.other.expect()
        if producer is not None:
            producer.stopProducing()
        assert protocol is not None
        protocol.connectionLost(Failure(error))
        when_lost, self.when_lost = self.when_lost, None
        if when_lost is not None:
            when_lost()

    def retransmit(self) -> None:
        """The way is free again: what waited for that arrives a little later, in order."""
        earliest = self.reactor.seconds() + self.link.delay()
        self._pipe = deque((max(due, earliest), item) for due, item in self._pipe)
        self._last_due = max(self._last_due, earliest)
        self.expect()

    def discard(self) -> None:
        """What is on its way is lost."""
        self._pipe.clear()
        self._piped = 0
        cancel(self._delivery)
        self._delivery = None


def cancel(call: IDelayedCall | None) -> None:
    """Cancel a call that may have been made."""
    if call is not None:
        with suppress(AlreadyCalled, AlreadyCancelled):
            call.cancel()
