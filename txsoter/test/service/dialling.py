"""A world of remotes in memory, and an OutboundService in it."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError  # noqa: A004
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from txsoter import PeerConfig
from txsoter.networks import TESTNET1
from txsoter.service import PeerService
from txsoter.service.book import AddressBook, BookKeeper, Place
from txsoter.service.outbound import OutboundService
from txsoter.test.service.book.support import LoggingCase, at, world
from txsoter.testing import MemoryLink, ScriptedPeer, remote_version
from txsoter.wire import VerAck

__all__ = ["HERE", "OutboundCase", "World"]

HERE = IPv4Address("TCP", "192.0.2.1", 49152)


@implementer(IStreamClientEndpoint)
class Road:
    """The endpoint for a place."""

    def __init__(self, world: World, place: Place) -> None:
        self._world = world
        self._place = place

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        return self._world.connect(self._place, protocolFactory)


class World:
    """Who listens where.

    :ivar dialled: the places that were dialled, in that order.
    :ivar refusing: those where nobody listens.
    :ivar failing: what dialling fails with, wherever it goes.
    :ivar hanging: those where nothing happens, and what waits for it.
    """

    def __init__(self) -> None:
        self.dialled: list[Place] = []
        self.links: dict[Place, tuple[ScriptedPeer, MemoryLink]] = {}
        self.refusing: set[Place] = set()
        self.hanging: dict[Place, Deferred[Any] | None] = {}
        self.refuses_all = False
        self.failing: Exception | None = None
        self.silent = False

    def endpoint_for(self, host: str, port: int) -> Road:
        return Road(self, at(host, port))

    def connect(self, place: Place, factory: IProtocolFactory) -> Deferred[Any]:
        self.dialled.append(place)
        if self.failing is not None:
            return fail(self.failing)
        if self.refuses_all or place in self.refusing:
            return fail(ConnectionRefusedError())
        if place in self.hanging:
            waiting = self.hanging[place] = Deferred()
            return waiting
        address: Any = (IPv6Address if ":" in place.host else IPv4Address)("TCP", place.host, place.port)
        peer: Any = factory.buildProtocol(address)
        remote = ScriptedPeer(TESTNET1.magic)
        link = MemoryLink(peer, remote, HERE, address)
        self.links[place] = remote, link
        if not self.silent:
            self.accept(place)
        return succeed(peer)

    def accept(self, place: Place, **version: object) -> None:
        """Let who listens there shake hands."""
        remote, _ = self.links[place]
        remote.say(remote_version(**{"genesis_hash": TESTNET1.genesis_hash, **version}), VerAck())

    def pump(self) -> None:
        for _, link in list(self.links.values()):
            link.pump()

    def reset(self, place: Place) -> None:
        """Lose a connection."""
        self.links.pop(place)[1].reset()


class OutboundCase(LoggingCase):
    """A service that keeps peers; in the end nothing is left."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = world()
        self.world = World()
        self.network = TESTNET1
        self.allow_unroutable = False
        self.service: OutboundService | None = None
        self.addCleanup(self.end)

    def begin(self, count: int = 3, known: int = 20, **arguments: Any) -> OutboundService:
        """Begin with so many known, each in a group of its own."""
        self.book = AddressBook(TESTNET1, self.clock, allow_unroutable=self.allow_unroutable, random=Random(1))
        self.book.startService()
        self.keeper = BookKeeper(self.book, random=Random(1))
        quiet: dict[str, Any] = {"idle_timeout": None, "ping_interval": None}
        config = PeerConfig(network=TESTNET1, clock=self.clock, random=Random(1), **quiet)
        self.peers = PeerService(config, self.clock, observers=[self.keeper])
        self.peers.startService()
        self.places = self.know(*(f"{11 + number}.1.1.1" for number in range(known)))
        arguments = {"random": Random(1), **arguments}
        self.service = OutboundService(self.peers, self.keeper, count, self.world.endpoint_for, **arguments)
        self.service.startService()
        return self.service

    def know(self, *hosts: str, port: int = 5070) -> list[Place]:
        for host in hosts:
            self.book.name(host, port)
        return [at(host, port) for host in hosts]

    def wait(self, seconds: float, step: float = 0.25) -> None:
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            self.clock.advance(step)
            self.world.pump()

    def end(self) -> None:
        if self.service is not None:
            self.successResultOf(self.service.stopService())
            self.assertEqual(self.service.attempts, {})
            stopping = self.peers.stopService()
            self.world.pump()
            self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])
