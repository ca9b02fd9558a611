"""A connection in memory: two transports, and the link that moves bytes between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.error import ConnectionLost as TransportLost
from twisted.internet.interfaces import IAddress, IConsumer, IProducer, IProtocol, IPushProducer, ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from txsoter.networks import SIMNET
from txsoter.testing.byte_queue import ByteQueue

__all__ = ["CLIENT", "SERVER", "MemoryLink", "MemoryTransport"]

CLIENT = IPv4Address("TCP", "192.0.2.1", 49152)
"""Where the dialling side of a link is."""

SERVER = IPv4Address("TCP", "192.0.2.2", SIMNET.default_port)
"""Where the dialled side of a link is."""


@implementer(ITransport, IConsumer, IPushProducer)
class MemoryTransport:
    """One end of a :class:`MemoryLink`.

    It has the back-pressure of Twisted's TCP: a streaming producer is paused once more than 64 KiB wait,
    and resumed when all of it has gone.

    :ivar takes: whether the other side takes what is written; set it to False for a remote that stops reading.
    :ivar reading: False while our side has paused reading.
    :ivar disconnecting: whether ``loseConnection`` was called.
    :ivar writes: how often ``write`` was called.
    """

    BUFFER = 64 * 1024

    def __init__(self, protocol: IProtocol, host: IAddress, peer: IAddress) -> None:
        self.protocol = protocol
        self.takes = True
        self.reading = True
        self.disconnecting = False
        self.aborted = False
        self.connected = True
        self.writes = 0
        self._host = host
        self._peer = peer
        self._waiting = ByteQueue()
        self._producer: IPushProducer | None = None
        self._producer_paused = False

    @property
    def waiting(self) -> int:
        """Bytes written and not taken yet."""
        return len(self._waiting)

    def write(self, data: bytes) -> None:
        """Queue bytes for the other side."""
        if not isinstance(data, bytes):
            raise TypeError(f"a transport takes bytes, not {type(data).__name__}")
        if self.disconnecting or not self.connected:
            return
        self.writes += 1
        self._waiting.add(data)
        if self._producer is not None and not self._producer_paused and self.waiting > self.BUFFER:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Queue several."""
        self.write(b"".join(data))

    def take(self, size: int | None = None) -> bytes:
        """Remove up to ``size`` of the bytes that wait; the producer goes on when none are left."""
        taken = self._waiting.take(size)
        if not self._waiting and self._producer is not None and self._producer_paused:
            self._producer_paused = False
            self._producer.resumeProducing()
        return taken

    def loseConnection(self) -> None:
        """Close once everything written has been taken."""
        self.disconnecting = True

    def abortConnection(self) -> None:
        """Close at once."""
        self.disconnecting = self.aborted = True
        self._waiting.clear()

    def getPeer(self) -> IAddress:
        """The other side's address."""
        return self._peer

    def getHost(self) -> IAddress:
        """Our side's address."""
        return self._host

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let a streaming producer be paused and resumed."""
        assert streaming, "only streaming producers are supported"
        self._producer = cast(IPushProducer, producer)

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None
        self._producer_paused = False

    def pause_producer(self) -> None:
        """Ask our side to write nothing for now, as a full buffer does."""
        assert self._producer is not None
        self._producer_paused = True
        self._producer.pauseProducing()

    def resume_producer(self) -> None:
        """Tell our side to write on."""
        assert self._producer is not None
        self._producer_paused = False
        self._producer.resumeProducing()

    def pauseProducing(self) -> None:
        """Our side wants to read nothing for now."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Our side reads on."""
        self.reading = True

    def stopProducing(self) -> None:
        """As :meth:`loseConnection`."""
        self.loseConnection()

    @property
    def finished(self) -> bool:
        """Whether this side has closed and nothing of it waits."""
        return self.disconnecting and not self._waiting and self._producer is None


class MemoryLink:
    """Connects two protocols, as TCP would.

    :ivar client: transport of the side that dialled.
    :ivar server: transport of the side that was dialled.
    """

    def __init__(
        self, client: IProtocol, server: IProtocol, client_address: IAddress = CLIENT, server_address: IAddress = SERVER
    ) -> None:
        self.client = MemoryTransport(client, client_address, server_address)
        self.server = MemoryTransport(server, server_address, client_address)
        server.makeConnection(self.server)
        client.makeConnection(self.client)

    def step(self, chunk: int | None = None) -> bool:
        """Move what one side has written to the other, both ways, at most ``chunk`` bytes each.

        :return: whether anything has moved.
        """
        moved = False
        for source, target in ((self.client, self.server), (self.server, self.client)):
            if source.connected and source.takes and target.reading and target.connected and source.waiting:
                data = source.take(chunk)
                target.protocol.dataReceived(data)
                moved = True
        for source, target in ((self.client, self.server), (self.server, self.client)):
            if source.connected and (source.aborted or source.finished) and (target.reading or target.disconnecting):
                self._lose(source, target)
                moved = True
        return moved

    def pump(self, chunk: int | None = None) -> None:
        """Move bytes, at most ``chunk`` at a time, until both sides are quiet."""
        while self.step(chunk):
            pass

    def advance(self, clock: Clock, seconds: float, step: float = 1.0) -> None:
        """Let time pass in steps, bytes moving after each."""
        until = clock.seconds() + seconds
        while clock.seconds() < until:
            clock.advance(min(step, until - clock.seconds()))
            self.pump()

    def reset(self) -> None:
        """Break the connection, as a lost network does."""
        for side in (self.client, self.server):
            if side.connected:
                side.connected = False
                side.protocol.connectionLost(Failure(TransportLost()))

    @staticmethod
    def _lose(source: MemoryTransport, target: MemoryTransport) -> None:
        source.connected = False
        source.protocol.connectionLost(Failure(ConnectionAborted() if source.aborted else ConnectionDone()))
        if target.connected:
            target.connected = False
            target.protocol.connectionLost(Failure(TransportLost() if source.aborted else ConnectionDone()))
