"""A status page in memory, and those who visit it."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IListeningPort,
    IProtocolFactory,
    ISSLTransport,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from zope.interface import implementer

from txsoter import SIMNET, PeerConfig
from txsoter.service import observed
from txsoter.service.status import StatusParts, StatusService
from txsoter.test.peer.support import TrialCase
from txsoter.testing import ScriptedPair, remote_version, repeatable, scripted
from txsoter.wire import VerAck

__all__ = ["HERE", "Answer", "Deaf", "Here", "PageTestCase", "Visitor", "broken"]

HERE = IPv4Address("TCP", "127.0.0.1", 8080)


def broken() -> Any:
    """Fails."""
    raise ZeroDivisionError


class Port:
    """A port in memory."""

    def __init__(self, address: IAddress) -> None:
        self._address = address
        self.open = True

    def getHost(self) -> IAddress:
        return self._address

    def stopListening(self) -> Deferred[None]:
        self.open = False
        return succeed(None)


@implementer(IStreamServerEndpoint)
class Here:
    """An endpoint that listens in memory."""

    def __init__(self, address: IAddress = HERE) -> None:
        self.factory: Any = None
        self.port = Port(address)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        self.factory = protocolFactory
        port: Any = self.port
        return succeed(port)


@attrs.frozen
class Answer:
    """What a visitor was answered."""

    code: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Answer:
        head, _, body = raw.partition(b"\r\n\r\n")
        status, *lines = head.decode("ascii").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        return cls(int(status.split()[1]), {name.lower(): value for name, value in pairs}, body)


class VisitorTransport(StringTransportWithDisconnection):
    """A transport whose remote takes what it is sent at once, until it stalls.

    :ivar stalled: whether it takes nothing.
    :ivar buffered: what it was sent and has not taken.
    """

    stalled = False
    buffered = b""

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        if self.stalled:
            self.buffered += data
        else:
            super().write(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Ask it for more at once, and until there is no more, as TCP does when its buffer is empty."""
        super().registerProducer(producer, streaming)
        producer.resumeProducing()
        self.take()

    def take(self) -> None:
        """Take what there is, unless it stalls."""
        while not self.stalled:
            taken, self.buffered = self.buffered, b""
            super().write(taken)
            if self.producer is None:
                break
            self.producer.resumeProducing()


class Visitor:
    """A connection to the page."""

    def __init__(self, factory: Any, here: IAddress = HERE) -> None:
        self.transport: Any = VisitorTransport(here, IPv4Address("TCP", "127.0.0.1", 50000))
        self.transport.protocol = factory.buildProtocol(self.transport.getPeer())
        self.transport.protocol.makeConnection(self.transport)

    @property
    def connected(self) -> bool:
        return bool(self.transport.connected)

    @property
    def raw(self) -> bytes:
        """All that came."""
        value: bytes = self.transport.value()
        return value

    def say(self, data: bytes) -> None:
        self.transport.protocol.dataReceived(data)

    def ask(self, path: str = "/", method: str = "GET", version: str = "1.1", **headers: str | None) -> Answer:
        """Ask for something; ``sec_fetch_site="none"`` is a header, ``host=None`` leaves one out."""
        self.transport.clear()
        given = {"host": "127.0.0.1:8080", **headers}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items() if value is not None]
        self.say("\r\n".join([f"{method} {path} HTTP/{version}", *lines, "", ""]).encode())
        return Answer.parse(self.raw)

    def events(self) -> list[dict[str, Any]]:
        """The events that came since this was asked last."""
        found = re.findall(rb"(?<=\n)data: (\{.*\})\n\n", self.raw)
        self.transport.clear()
        return [json.loads(each) for each in found]

    def stall(self) -> None:
        """Take nothing more."""
        self.transport.stalled = True

    def take_piece(self) -> None:
        """Take what has been handed to the transport, and no more."""
        self.transport.stalled = False
        taken, self.transport.buffered = self.transport.buffered, b""
        self.transport.write(taken)
        self.transport.stalled = True
        self.transport.producer.resumeProducing()

    def go_on(self) -> None:
        """Take what there is, and what comes."""
        self.transport.stalled = False
        self.transport.take()


@implementer(IHandshakeListener)
class Deaf(Protocol):
    """A client on a socket that sends requests, and reads nothing."""

    transport: Any

    def __init__(self, requests: bytes) -> None:
        self._requests = requests
        self._ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        if not ISSLTransport.providedBy(self.transport):
            self.transport.pauseProducing()
        self.transport.write(self._requests)

    def handshakeCompleted(self) -> None:
        # of TLS, before which it has to read
        self.transport.pauseProducing()

    def hear(self) -> Deferred[None]:
        """Read; fires at the end of the connection."""
        if not self._ended.called:
            self.transport.resumeProducing()
        return self._ended

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended.callback(None)


class PageTestCase(TrialCase):
    """A status service with a clock, which must stand still in the end, and scripted peers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.here = Here()
        self.pairs: list[ScriptedPair] = []
        self._served: StatusService | None = None
        self.addCleanup(self._nothing_remains)

    def serve(self, parts: StatusParts | None = None, hosts: tuple[str, ...] = (), **fields: Any) -> StatusService:
        """Start a service; ``fields`` are those of its config."""
        self.config = repeatable(self.clock, PeerConfig(network=SIMNET, **fields))
        self._served = StatusService(
            self.here,
            lambda: [pair.peer for pair in self.pairs],
            self.config,
            parts=parts,
            hosts=hosts,
            clock=self.clock,
        )
        self._served.startService()
        return self._served

    @property
    def status(self) -> StatusService:
        """The service."""
        assert self._served is not None
        return self._served

    def visit(self, here: IAddress = HERE) -> Visitor:
        return Visitor(self.here.factory, here)

    def ask(self, path: str = "/", **how: Any) -> Answer:
        """What somebody who comes for one request is answered."""
        return self.visit().ask(path, **how)

    def shown(self) -> dict[str, Any]:
        """What is at ``/status.json``, a second later."""
        self.clock.advance(1)
        found: dict[str, Any] = json.loads(self.ask("/status.json").body)
        return found

    def peer(
        self, inbound: bool = False, handshake: bool = True, remote_address: IAddress | None = None, **version: Any
    ) -> ScriptedPair:
        """A peer of the service, with a scripted remote that said ``version``."""
        config = self.config.replace(listeners=observed(self.config.listeners, [self.status.observer]))
        pair = scripted(config, inbound=inbound, handshake=False, clock=self.clock, remote_address=remote_address)
        self.pairs.append(pair)
        if handshake:
            pair.say(remote_version(**version), VerAck())
        return pair

    def close(self, pair: ScriptedPair) -> None:
        """End a connection."""
        pair.peer.disconnect("the test is over")
        pair.pump()
        self.pairs.remove(pair)

    def _nothing_remains(self) -> None:
        for pair in list(self.pairs):
            self.close(pair)
        if self._served is not None and self._served.running:
            self.successResultOf(self._served.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
