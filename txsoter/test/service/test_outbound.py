"""OutboundService: so many peers are kept, from the book, and never two where one is enough."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, serverFromString
from twisted.internet.error import ConnectionRefusedError  # noqa: A004
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.logger import LogLevel
from zope.interface import implementer

from txsoter import PeerConfig
from txsoter.errors import FieldError
from txsoter.networks import REGTEST, SIMNET, TESTNET1
from txsoter.service import PeerService
from txsoter.service.book import AddressBook, BookKeeper, Place
from txsoter.service.outbound import OutboundService, endpoint_place, endpoints_like
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.service.book.support import NOW, LoggingCase, at, world
from txsoter.testing import MemoryLink, ScriptedPeer, remote_version
from txsoter.wire import VerAck

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
    :ivar hanging: those where nothing happens, and what waits for it.
    """

    def __init__(self) -> None:
        self.dialled: list[Place] = []
        self.links: dict[Place, tuple[ScriptedPeer, MemoryLink]] = {}
        self.refusing: set[Place] = set()
        self.hanging: dict[Place, Deferred[Any] | None] = {}
        self.refuses_all = False
        self.silent = False

    def endpoint_for(self, host: str, port: int) -> Road:
        return Road(self, at(host, port))

    def connect(self, place: Place, factory: IProtocolFactory) -> Deferred[Any]:
        self.dialled.append(place)
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


class KeepTests(OutboundCase):
    """So many are kept."""

    def test_found(self) -> None:
        """So many peers are found, and then nobody is dialled: nothing runs."""
        outbound = self.begin(3)
        self.assertEqual(self.world.dialled, [])
        self.wait(5)
        self.assertEqual(len(outbound.ready), 3)
        self.assertEqual(set(outbound.ready), self.peers.peers)
        self.assertEqual(set(outbound.ready.values()), set(self.world.dialled))
        self.wait(100, 1)
        self.assertEqual(len(self.world.dialled), 3)
        self.assertEqual(dict(self.book.sizes()), {"tried": 3, "new": 17})

    def test_none_wanted(self) -> None:
        """Of zero nothing is dialled."""
        self.begin(0)
        self.wait(100, 1)
        self.assertEqual(self.world.dialled, [])

    def test_replaced(self) -> None:
        """One that is gone is replaced, and was good until it went."""
        outbound = self.begin(3)
        self.wait(5)
        gone = self.world.dialled[0]
        self.wait(1000, 50)
        self.world.reset(gone)
        self.assertEqual(len(outbound.ready), 2)
        self.wait(5)
        self.assertEqual(len(outbound.ready), 3)
        known = self.book.get(gone)
        assert known is not None
        self.assertGreater(known.succeeded, NOW + 1000)

    def test_dialled_slowly(self) -> None:
        """Half a second between two attempts, more or less by half: not all at once."""
        outbound = self.begin(8)
        times = []
        while len(outbound.ready) < 8:
            before = len(self.world.dialled)
            self.wait(0.05, 0.05)
            self.assertLessEqual(len(self.world.dialled), before + 1)
            times += [self.clock.seconds()] * (len(self.world.dialled) - before)
        gaps = [later - earlier for earlier, later in pairwise(times)]
        self.assertGreaterEqual(min(gaps), 0.2)
        self.assertLessEqual(max(gaps), 0.85)
        self.assertGreater(len({round(gap, 1) for gap in gaps}), 2)

    def test_few_at_once(self) -> None:
        """At most three are dialled at a time, and no more than are wanted."""
        for count, at_once in ((8, 3), (2, 2)):
            self.world = World()
            outbound = self.begin(count)
            self.world.hanging = dict.fromkeys(self.places)
            self.wait(20)
            self.assertEqual(len(self.world.dialled), at_once)
            self.assertEqual(set(outbound.attempts), set(self.world.dialled))
            self.end()

    def test_slower_and_slower(self) -> None:
        """While nobody answers it is dialled less and less often: each half a minute in the end, and that is told."""
        self.world.refuses_all = True
        outbound = self.begin(8, 60)
        self.wait(20)
        early = len(self.world.dialled)
        self.assertGreater(early, 5)
        self.wait(300, 1)
        before = len(self.world.dialled)
        self.wait(600, 1)
        self.assertGreater(len(self.world.dialled) - before, 600 / 45 - 2)
        self.assertLess(len(self.world.dialled) - before, 600 / 15)
        self.assertEqual(len(outbound.ready), 0)
        (warning,) = self.logged()
        self.assertIn("0 of 8 peers found, and no more for now: the last was ", warning)
        self.assertIn("Connection was refused by other side", warning)
        # and at once again when one has answered
        self.world.refuses_all = False
        self.wait(90, 1)
        self.assertEqual(len(outbound.ready), 8)

    def test_nobody_known(self) -> None:
        """An empty book is told of, and looked into again: once somebody is known, he is dialled."""
        outbound = self.begin(2, 0)
        self.wait(200, 1)
        self.assertEqual(
            self.logged(), ["0 of 2 peers found, and no more for now: the address book has nobody else to dial"]
        )
        self.know("11.1.1.1", "12.1.1.1")
        self.wait(100, 1)
        self.assertEqual(len(outbound.ready), 2)

    def test_stopped(self) -> None:
        """What is being dialled is given up, and does not count; who is ready stays. It can be started again."""
        outbound = self.begin(4)
        self.wait(1.2)
        ready = set(outbound.ready)
        self.assertTrue(ready)
        self.world.hanging = dict.fromkeys(self.places)
        self.wait(10, 1)
        self.assertEqual(len(outbound.attempts), 3)
        self.give_up(outbound, ready)
        dialled = len(self.world.dialled)
        self.world.hanging.clear()
        self.wait(60, 1)
        self.assertEqual(len(self.world.dialled), dialled)
        outbound.startService()
        self.wait(60, 1)
        self.assertEqual(len(outbound.ready), 4)

    def test_stopped_while_shaking_hands(self) -> None:
        """So is what has been connected to, and has not shaken hands."""
        self.world.silent = True
        outbound = self.begin(3)
        self.wait(10, 1)
        self.assertEqual(len(self.peers.peers), 3)
        self.give_up(outbound, set())

    def give_up(self, outbound: OutboundService, left: set[Any]) -> None:
        """Stop it: nothing of what it tried is left, or noted as a failure."""
        attempts = set(outbound.attempts)
        self.successResultOf(outbound.stopService())
        self.world.pump()
        self.assertEqual(self.peers.peers, left)
        for place in attempts:
            known = self.book.get(place)
            assert known is not None
            self.assertEqual(known.attempts, 0)

    def test_peer_service_stops_first(self) -> None:
        """When the connections are ended for it, that says nothing of the remotes."""
        self.world.silent = True
        outbound = self.begin(3)
        self.wait(3)
        places = set(outbound.attempts)
        self.assertEqual(len(places), 3)
        self.peers.client_factory.disconnect_all("over")
        self.world.pump()
        for place in places:
            known = self.book.get(place)
            assert known is not None
            self.assertEqual(known.attempts, 0)


class OutcomeTests(OutboundCase):
    """How it went is noted."""

    def test_refused(self) -> None:
        """One where nobody listens has failed; it is not dialled again within half a minute, and less and less."""
        outbound = self.begin(1, 1)
        self.world.refuses_all = True
        self.wait(29, 1)
        self.assertEqual(len(self.world.dialled), 1)
        known = self.book.get(self.places[0])
        assert known is not None
        self.assertEqual((known.attempts, known.tried), (1, False))
        self.wait(60, 1)
        self.assertGreaterEqual(len(self.world.dialled), 2)
        self.assertEqual(outbound.ready, {})

    def test_wrong_network(self) -> None:
        """One that is no peer of this network has failed."""
        self.world.silent = True
        self.begin(1, 1)
        self.wait(2)
        self.world.accept(self.places[0], genesis_hash=SIMNET.genesis_hash)
        self.wait(1)
        known = self.book.get(self.places[0])
        assert known is not None
        self.assertEqual((known.attempts, known.tried), (1, False))
        self.assertEqual(self.peers.peers, frozenset())

    def test_nothing_happens(self) -> None:
        """An attempt that hangs is given up after a minute: a proxy may hang for ever."""
        self.begin(1, 1)
        self.world.hanging = dict.fromkeys(self.places)
        self.wait(59, 1)
        self.assertEqual(len(self.service.attempts if self.service else ()), 1)
        self.wait(5, 1)
        known = self.book.get(self.places[0])
        assert known is not None
        self.assertEqual(known.attempts, 1)

    def test_endpoint_that_cannot_be_made(self) -> None:
        """A road that cannot be taken is a failure like others, told when it is all there is."""

        def none(host: str, port: int) -> Any:
            raise ValueError("no road")

        self.world.endpoint_for = none  # type: ignore[method-assign]
        self.begin(1)
        self.wait(300, 1)
        (warning,) = self.logged()
        self.assertIn(": no road", warning)

    def test_ourselves(self) -> None:
        """An address that leads to ourselves is never dialled again."""
        self.world.silent = True
        outbound = self.begin(1, 1)
        self.wait(2)
        remote, _ = self.world.links[self.places[0]]
        remote.say(*remote.heard)
        self.wait(300, 1)
        self.assertEqual(self.world.dialled, self.places)
        self.assertEqual((len(self.book), outbound.ready), (0, {}))

    def test_ready_and_gone(self) -> None:
        """One that accepts us and goes is dialled each half a minute at most."""
        self.begin(1, 1)
        dialled = 0
        for _ in range(20):
            self.wait(10, 1)
            if self.places[0] in self.world.links:
                self.world.reset(self.places[0])
                dialled += 1
        self.assertGreater(dialled, 2)
        self.assertLessEqual(len(self.world.dialled), 8)

    def test_logged(self) -> None:
        """What fails is told at debug level, each of them; what a remote says is sanitised."""
        self.world.refuses_all = True
        self.begin(1, 1)
        self.wait(3)
        line = "no peer at 11.1.1.1:5070: Connection was refused by other side."
        self.assertEqual(self.logged(LogLevel.debug), [line])


class NeverTwoTests(OutboundCase):
    """Never two connections to one address, nor to two of one network."""

    def test_groups(self) -> None:
        """Never two in one network of 16 bits (IPv4) or 32 bits (IPv6)."""
        outbound = self.begin(8, 0)
        self.know("11.1.1.1", "11.1.2.2", "11.1.1.1", "12.1.1.1", "2a00:1::1", "2a00:1::2", "2a00:1:ffff::1")
        self.wait(100, 1)
        self.assertEqual(len(outbound.ready), 3)
        self.assertEqual(len({str(place)[:7] for place in outbound.ready.values()}), 3)

    def test_attempts_count(self) -> None:
        """One that is being dialled counts as well."""
        self.begin(8, 0)
        places = self.know("11.1.1.1", "11.1.2.2")
        self.world.hanging = dict.fromkeys(places)
        self.wait(40, 1)
        self.assertEqual(len(self.world.dialled), 1)

    def test_those_that_dialled_us(self) -> None:
        """One that dialled us is not dialled, on whatever port; others of its network are."""
        self.begin(8, 0)
        self.come("11.1.1.1")
        self.know("11.1.1.1", "11.1.1.2")
        self.wait(60, 1)
        self.assertEqual(self.world.dialled, [at("11.1.1.2")])

    def come(self, host: str) -> tuple[ScriptedPeer, MemoryLink]:
        """Let somebody dial us."""
        address = IPv4Address("TCP", host, 40000)
        remote = ScriptedPeer(TESTNET1.magic)
        peer = self.peers._inbound.buildProtocol(address)
        link = MemoryLink(remote, peer, address, HERE)
        remote.say(remote_version(genesis_hash=TESTNET1.genesis_hash), VerAck())
        link.pump()
        self.world.links[at(host, 40000)] = remote, link
        return remote, link

    def test_those_that_others_keep(self) -> None:
        """One that somebody else keeps is not dialled, nor its network, whether or not it is there now."""
        self.begin(8, 0, reserved=[at("11.1.1.1", 7000), at("127.0.0.1", 7000)])
        self.know("11.1.1.1", "11.1.2.2", "12.1.1.1")
        self.peers.dial(self.world.endpoint_for("12.1.1.1", 5070), "kept")
        self.world.pump()
        self.assertEqual(len(self.peers.peers), 1)
        self.wait(60, 1)
        self.assertEqual(self.world.dialled, [at("12.1.1.1")])

    def test_those_that_may_not_be_dialled(self) -> None:
        """One that somebody says should not be dialled is not."""
        self.begin(8, 0, may_dial=lambda host: "it is refused" if host == "11.1.1.1" else None)
        self.know("11.1.1.1", "12.1.1.1")
        self.wait(60, 1)
        self.assertEqual(self.world.dialled, [at("12.1.1.1")])

    def test_come_meanwhile(self) -> None:
        """When the address that is being dialled has dialled us meanwhile, ours goes; it has not failed."""
        self.world.silent = True
        outbound = self.begin(1, 1)
        self.wait(2)
        self.come("11.1.1.1")
        self.world.accept(self.places[0])
        self.wait(1)
        (peer,) = self.peers.peers
        self.assertTrue(peer.inbound)
        self.assertEqual((outbound.ready, outbound.attempts), ({}, {}))
        known = self.book.get(self.places[0])
        assert known is not None
        self.assertEqual(known.attempts, 0)

    def test_coming_meanwhile(self) -> None:
        """One that has only begun to dial us does not count: both would go, and none be left."""
        self.world.silent = True
        outbound = self.begin(1, 1)
        self.wait(2)
        address = IPv4Address("TCP", "11.1.1.1", 40000)
        remote = ScriptedPeer(TESTNET1.magic)
        link = MemoryLink(remote, self.peers._inbound.buildProtocol(address), address, HERE)
        self.world.links[at("11.1.1.1", 40000)] = remote, link
        self.world.accept(self.places[0])
        self.wait(1)
        self.assertEqual(len(outbound.ready), 1)

    def test_loopback(self) -> None:
        """Where loopback is allowed, each port there is somebody else, and never dialled twice."""
        self.allow_unroutable = True
        outbound = self.begin(8, 0)
        for port in range(2000, 2005):
            self.know("127.0.0.1", port=port)
        self.come("127.0.0.1")
        self.wait(100, 1)
        self.assertEqual({place.port for place in outbound.ready.values()}, set(range(2000, 2005)))
        self.assertEqual(len(self.world.dialled), 5)


class EndpointTests(LoggingCase):
    """endpoints_like and endpoint_place."""

    def test_tcp(self) -> None:
        """By default plain TCP, IPv6 too."""
        endpoint_for = endpoints_like(world())
        endpoint: Any = endpoint_for("192.0.2.7", 5070)
        self.assertIsInstance(endpoint, TCP4ClientEndpoint | HostnameEndpoint)
        self.assertIn("192.0.2.7", str(vars(endpoint)))
        self.assertIn("2a00::1", str(vars(endpoint_for("2a00::1", 5070))))

    def test_template(self) -> None:
        """Any endpoint that Twisted knows."""
        endpoint_for = endpoints_like(world(), "unix:/run/{host}/{port}")
        self.assertIn("/run/192.0.2.7/5070", str(vars(endpoint_for("192.0.2.7", 5070))))

    def test_no_template(self) -> None:
        """What is none is refused, and told what is allowed."""
        for template in ("", "tcp:{host}", "tcp:192.0.2.7:{port}", "nonsense:{host}:{port}", "{host}:{port}"):
            error = self.assertRaises(FieldError, endpoints_like, world(), template)
            self.assertIn("such as tcp:{host}:{port}", str(error))

    def test_places(self) -> None:
        """Where a tcp: endpoint goes, if that is an IP."""
        for text, place in (
            ("tcp:192.0.2.7:5070", at("192.0.2.7", 5070)),
            ("tcp:192.0.2.7:5070:timeout=10", at("192.0.2.7", 5070)),
            ("tcp:host=192.0.2.7:port=5070", at("192.0.2.7", 5070)),
            (r"tcp:2a00\:\:1:5070", at("2a00::1", 5070)),
            ("tcp:example.org:5070", None),
            ("tcp:192.0.2.7:0", None),
            ("tls:192.0.2.7:5070", None),
            ("tcp:192.0.2.7", None),
        ):
            self.assertEqual(endpoint_place(text), place, text)


class Node:
    """A node on loopback, in this process."""

    def __init__(self, **settings: Any) -> None:
        reactor = real_reactor()
        self.book = AddressBook(REGTEST, reactor, allow_unroutable=True)
        keeper = BookKeeper(self.book)
        config = PeerConfig(network=REGTEST, clock=reactor, **settings)
        self.peers = PeerService(config, reactor, observers=[keeper])
        self.outbound = OutboundService(self.peers, keeper, 2, endpoints_like(reactor))
        self.parts = (self.book, self.peers, self.outbound)
        listening = self.peers.listen(serverFromString(reactor, "tcp:0:interface=127.0.0.1"), "here")
        for part in self.parts[:2]:
            part.startService()
        assert listening.port is not None
        address: Any = listening.port.getHost()
        self.place = at("127.0.0.1", address.port)

    async def stop(self) -> None:
        for part in reversed(self.parts):
            await maybeDeferred(part.stopService)


def called(target: Any, name: str, times: int = 1) -> Deferred[Any]:
    """Fires when a method has been called so many times, with the last call's arguments."""
    fires: Deferred[Any] = Deferred()
    method, left = getattr(target, name), iter(range(times - 1, -1, -1))

    def note(*arguments: Any) -> Any:
        result = method(*arguments)
        if next(left, None) == 0:
            fires.callback(arguments)
        return result

    setattr(target, name, note)
    return fires


@over_sockets()
async def test_found_through_another() -> None:
    """One that is named tells of a third, which is found, too."""
    nodes = first, second, third = [Node(allow_self_connections=True) for _ in range(3)]
    first.book.name("127.0.0.1", second.place.port)
    second.book.name("127.0.0.1", third.place.port)
    both = called(first.book, "succeeded", 2)
    first.outbound.startService()
    await both
    assert set(first.outbound.ready.values()) == {second.place, third.place}
    assert dict(first.book.sizes()) == {"tried": 2, "new": 0}
    for node in nodes:
        await node.stop()


@over_sockets()
async def test_ourselves_over_sockets() -> None:
    """Our own address is known for what it is after one connection."""
    node = Node()
    node.book.name("127.0.0.1", node.place.port)
    own = called(node.book, "is_own")
    node.outbound.startService()
    assert await own == (node.place,)
    assert len(node.book) == 0
    await node.stop()
