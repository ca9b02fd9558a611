"""For tests of programs that use txsoter: peers connected in memory, and a remote that follows a script.

Nothing here opens a socket or waits: bytes move when :meth:`MemoryLink.pump` is called, time when the
``Clock`` is advanced::

    pair = connected_pair()
    pair.client.send(Ping(7))
    pair.pump()
    assert pair.server.stats().received["ping"].messages == 1
    pair.clock.advance(120)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import cast

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.error import ConnectionLost as TransportLost
from twisted.internet.interfaces import IAddress, IConsumer, IProducer, IProtocol, IPushProducer, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from txsoter.errors import NeedMoreData
from txsoter.networks import SIMNET
from txsoter.peer.config import PeerConfig
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.wire import (
    PROTOCOL_VERSION,
    Encoding,
    Message,
    VerAck,
    Version,
    read_message,
    write_message,
)

__all__ = [
    "MemoryLink",
    "MemoryTransport",
    "PeerPair",
    "ScriptedPair",
    "ScriptedPeer",
    "connected_pair",
    "remote_version",
    "repeatable",
    "scripted",
]

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
    """

    BUFFER = 64 * 1024

    def __init__(self, protocol: IProtocol, host: IAddress, peer: IAddress) -> None:
        self.protocol = protocol
        self.takes = True
        self.reading = True
        self.disconnecting = False
        self.aborted = False
        self.connected = True
        self._host = host
        self._peer = peer
        self._waiting: list[bytes] = []
        self._producer: IPushProducer | None = None
        self._producer_paused = False

    @property
    def waiting(self) -> int:
        """Bytes written and not taken yet."""
        return sum(map(len, self._waiting))

    def write(self, data: bytes) -> None:
        """Queue bytes for the other side."""
        if not isinstance(data, bytes):
            raise TypeError(f"a transport takes bytes, not {type(data).__name__}")
        if self.disconnecting or not self.connected:
            return
        self._waiting.append(data)
        if self._producer is not None and not self._producer_paused and self.waiting > self.BUFFER:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Queue several."""
        self.write(b"".join(data))

    def take(self, size: int | None = None) -> bytes:
        """Remove up to ``size`` of the bytes that wait; the producer goes on when none are left."""
        data = b"".join(self._waiting)
        size = len(data) if size is None else size
        taken, rest = data[:size], data[size:]
        self._waiting = [rest] if rest else []
        if not rest and self._producer is not None and self._producer_paused:
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


@attrs.frozen
class PeerPair:
    """Two peers of ours, connected in memory.

    :ivar client: the one that dialled.
    :ivar server: the one that was dialled.
    """

    client: SoterPeerProtocol
    server: SoterPeerProtocol
    link: MemoryLink
    clock: Clock

    def pump(self, chunk: int | None = None) -> None:
        """As :meth:`MemoryLink.pump`."""
        self.link.pump(chunk)

    def advance(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass in steps, bytes moving after each."""
        _advance(self.clock, self.link, seconds, step)


def _advance(clock: Clock, link: MemoryLink, seconds: float, step: float) -> None:
    until = clock.seconds() + seconds
    while clock.seconds() < until:
        clock.advance(min(step, until - clock.seconds()))
        link.pump()


def repeatable(clock: Clock, config: PeerConfig | None = None) -> PeerConfig:
    """``config``, or simnet's defaults, made repeatable: on ``clock``, from a fixed seed, self connections allowed."""
    base = PeerConfig(network=SIMNET, random=Random(1)) if config is None else config
    return base.replace(clock=clock, allow_self_connections=True)


def connected_pair(
    client: PeerConfig | None = None,
    server: PeerConfig | None = None,
    *,
    handshake: bool = True,
    protocol: Callable[[PeerConfig, bool], SoterPeerProtocol] = SoterPeerProtocol,
) -> PeerPair:
    """Two peers on one ``Clock``, connected in memory; ready, unless ``handshake`` is False."""
    clock = Clock()
    dialler = protocol(repeatable(clock, client), False)
    listener = protocol(repeatable(clock, server), True)
    pair = PeerPair(dialler, listener, MemoryLink(dialler, listener), clock)
    if handshake:
        pair.pump()
    return pair


class ScriptedPeer(Protocol):
    """A remote that says what it is told to, and notes what it hears.

    It works on any transport: in memory, or over TCP.

    :ivar heard: the messages that came.
    :ivar raw: the bytes that came.
    :ivar closed: why the connection ended, or None while it lasts.
    :ivar pver: the protocol version it reads and writes.
    """

    def __init__(self, magic: int = SIMNET.magic, encoding: Encoding = Encoding.WITNESS) -> None:
        self.magic = magic
        self.encoding = encoding
        self.pver = PROTOCOL_VERSION
        self.heard: list[Message] = []
        self.raw = b""
        self.closed: Failure | None = None
        self._unread = b""

    def dataReceived(self, data: bytes) -> None:
        """Note what came."""
        self.raw += data
        self._unread += data
        while self._unread:
            try:
                message, consumed = read_message(self._unread, self.magic, self.pver, self.encoding)
            except NeedMoreData:
                return
            self._unread = self._unread[consumed:]
            self.heard.append(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the end."""
        self.closed = reason

    def say(self, *messages: Message | bytes) -> None:
        """Send messages, or bytes as they are."""
        assert self.transport is not None
        for message in messages:
            raw = (
                message if isinstance(message, bytes) else write_message(message, self.magic, self.pver, self.encoding)
            )
            self.transport.write(raw)

    @property
    def commands(self) -> list[str]:
        """The commands of what came."""
        return [message.command for message in self.heard]


@attrs.frozen
class ScriptedPair:
    """A peer of ours and a scripted remote, connected in memory."""

    peer: SoterPeerProtocol
    remote: ScriptedPeer
    link: MemoryLink
    clock: Clock

    @property
    def transport(self) -> MemoryTransport:
        """Our peer's end of the link."""
        return self.link.server if self.peer.inbound else self.link.client

    def pump(self, chunk: int | None = None) -> None:
        """As :meth:`MemoryLink.pump`."""
        self.link.pump(chunk)

    def advance(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass in steps, bytes moving after each."""
        _advance(self.clock, self.link, seconds, step)

    def say(self, *messages: Message | bytes) -> None:
        """Let the remote say something, and let it arrive."""
        self.remote.say(*messages)
        self.pump()

    def hear(self) -> list[Message]:
        """What the remote has heard since it was last asked."""
        self.pump()
        heard, self.remote.heard = self.remote.heard, []
        return heard

    def handshake(self, version: Version | None = None) -> None:
        """Let the remote say its version, :func:`remote_version` by default, and its verack."""
        self.say(remote_version() if version is None else version, VerAck())


def remote_version(**fields: object) -> Version:
    """A ``version`` that a simnet peer accepts, with some fields changed."""
    values: dict[str, object] = {
        "protocol_version": PROTOCOL_VERSION,
        "user_agent": b"/soterwire:0.6.0/scripted:1.0.0/",
        "genesis_hash": SIMNET.genesis_hash,
        "nonce": 0x1122334455667788,
        **fields,
    }
    return Version(**values)  # type: ignore[arg-type]


def scripted(
    config: PeerConfig | None = None,
    *,
    inbound: bool = False,
    handshake: bool = True,
    clock: Clock | None = None,
    remote_address: IAddress | None = None,
    protocol: Callable[[PeerConfig, bool], SoterPeerProtocol] = SoterPeerProtocol,
) -> ScriptedPair:
    """A peer of ours, and a scripted remote at the other end of a link in memory.

    :param inbound: whether the remote dialled us.
    :param handshake: whether to go through it, so that the peer is ready.
    :param remote_address: where the remote says it is.
    """
    clock = Clock() if clock is None else clock
    base = PeerConfig(network=SIMNET, random=Random(1)) if config is None else config
    peer = protocol(base.replace(clock=clock), inbound)
    remote = ScriptedPeer(base.network.magic)
    if inbound:
        link = MemoryLink(remote, peer, remote_address or CLIENT, SERVER)
    else:
        link = MemoryLink(peer, remote, CLIENT, remote_address or SERVER)
    pair = ScriptedPair(peer, remote, link, clock)
    if handshake:
        pair.handshake()
        remote.heard.clear()
    return pair
