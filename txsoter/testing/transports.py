"""An end of a connection in a simulated network: what Twisted's TCP makes of it, on simulated time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.error import ConnectionLost as TransportLost
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
from txsoter.testing.pipes import Packet, Pipe, cancel

__all__ = ["SimulatedTransport"]

WRITE_SIZE = 128 * 1024
"""The most bytes that the kernel is given at once, as by Twisted's TCP."""


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
    :ivar held_until: time until which its program is busy elsewhere and reads nothing.
    :ivar written: bytes that the protocol has written.
    :ivar attempt: of the side that dials, until it is decided.
    :ivar when_lost: called when the connection is lost.
    """

    bufferSize = 64 * 1024

    link: Link

    def __init__(self, host: IPv4Address, peer: IPv4Address) -> None:
        self.protocol: Any = None
        self.connected = False
        self.disconnecting = False
        self.reading = True
        self.written = 0
        self.held_until = 0.0
        self.attempt: Attempt | None = None
        self.when_lost: Callable[[], object] | None = None
        self._host = host
        self._peer = peer
        self._aborting = False
        self._half_closing = False
        self._half_closed = False
        self._no_delay = self._keep_alive = False
        self._producer: IProducer | None = None
        self._streaming = self._producer_paused = False
        self._buffer = ByteQueue()
        self._pipe: Pipe
        self._turn: IDelayedCall | None = None

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
        self.held_until = max(self.held_until, self.reactor.seconds() + seconds)

    def finish(self) -> None:
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
        room = min(link.window - self._pipe.size, WRITE_SIZE)
        if self._buffer and room > 0:
            taken = self._buffer.take(room)
            self._pipe.send(taken)
        if self._buffer:
            if self._pipe.size < link.window:
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

    # -- what its link calls -------------------------------------------------------------------

    def attach(self, link: Link, pipe: Pipe) -> None:
        """Take a link, and the pipe to its other end."""
        self.link = link
        self._pipe = pipe

    @property
    def host(self) -> str:
        """The IP of its node, as text."""
        return self._host.host

    @property
    def delivered(self) -> int:
        """How many of the bytes written the other end's protocol has been given."""
        return self._pipe.delivered

    @property
    def has_unread(self) -> bool:
        """Whether bytes of this end have arrived at the other that were not read."""
        return self._pipe.has_unread

    def put(self, packet: Packet) -> None:
        """Send a packet to the other end."""
        self._pipe.put(packet)

    def expect(self) -> None:
        """Look anew at what is on its way: the other end reads on, or is closed."""
        self._pipe.expect()

    def receive(self, data: bytes) -> None:
        """Give bytes to the protocol."""
        assert self.protocol is not None
        self.protocol.dataReceived(data)

    def has_room(self) -> None:
        """Bytes of this end were read: the other end says so."""
        if len(self._buffer):
            self._take_turn(self.link.delay())

    def was_reset(self) -> None:
        """There is no connection."""
        self._lose(TransportLost(), None)

    def breaks(self, delay: float) -> None:
        """Lose the connection in so many seconds; nothing more is read or written."""
        self._aborting = True
        self.reading = False
        self._lose_later(delay, TransportLost(), None)

    def other_ended(self) -> None:
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
        if farewell is Packet.END and self.other.has_unread:
            # as of a socket that is closed while it has bytes to be read
            farewell = Packet.RESET
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
