"""One visit, byte by byte: what is asked over IPv4 and IPv6, what ends it, and how each failure is called."""

from __future__ import annotations

import errno
from random import Random
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, DNSLookupError, NoRouteError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TimedOut
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.task import Clock

from txsoter.crawl.atlas import Atlas
from txsoter.crawl.crawler import Crawler
from txsoter.crawl.rules import CrawlRules
from txsoter.crawl.visit_result import Outcome, VisitResult
from txsoter.networks import SIMNET
from txsoter.peer.config import PeerConfig
from txsoter.service.book.places import Place
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.support import address, at
from txsoter.testing import MemoryLink, ScriptedPeer, remote_version
from txsoter.wire import Addr, AddrCache, Message, NetAddress, VerAck

HERE = IPv4Address("TCP", "192.0.2.1", 50_000)


class Nowhere:
    """An endpoint at which nobody listens."""

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        return fail(Refused())


class VisitCase(TrialCase):
    """A crawler that visits one address once; a test plays the node there.

    :ivar dialled: what the endpoint's ``connect()`` gives, or None for a connection to ``remote``.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.results: list[VisitResult] = []
        self.dialled: Deferred[Any] | None = None
        self.here: IAddress = HERE
        self.remote = ScriptedPeer()
        self.link: MemoryLink | None = None

    def visit(self, place: Place, **rules: Any) -> None:
        given = {"once": True, "retries": 0, "dial_ipv6": True, "allow_unroutable": True, "stay": 1.0, **rules}
        atlas = Atlas(CrawlRules(**given), Random(1))
        atlas.name(place, 0.0)
        config = PeerConfig(network=SIMNET, clock=self.clock, random=Random(1))
        self.place = place
        self.crawler = Crawler(
            atlas, config, self.endpoint_for, self.clock, self.clock.seconds, Random(1), self.results.append
        )
        self.crawler.start()

    def endpoint_for(self, host: str, port: int) -> Any:
        """This itself is the endpoint of the address; at others nobody listens."""
        return self if at(host, port) == self.place else Nowhere()

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        """What the endpoint does."""
        if self.dialled is not None:
            return self.dialled
        kind = IPv6Address if ":" in self.place.host else IPv4Address
        there = kind("TCP", self.place.host, self.place.port)
        peer = cast(Any, factory.buildProtocol(there))
        self.link = MemoryLink(peer, self.remote, self.here, there)
        return succeed(peer)

    def say(self, *messages: Message | bytes) -> None:
        assert self.link is not None
        self.remote.say(*messages)
        self.link.pump()

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        if self.link is not None:
            self.link.pump()

    def shake_hands(self, **version: Any) -> None:
        self.say(remote_version(**version), VerAck())

    def result(self) -> VisitResult:
        """The only result; nothing is left."""
        self.wait(0)
        self.successResultOf(self.crawler.stop())
        self.wait(2)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        (found,) = (each for each in self.results if each.place == self.place)
        return found


class AskingTests(VisitCase):
    def test_both_questions_once(self) -> None:
        """The visit ends when both are answered and it has stayed for a moment."""
        self.visit(at("11.1.1.1"))
        self.shake_hands(nonce=7, last_block=9, services=5, addr_you=NetAddress(0, "198.18.1.1", 77))
        self.assertEqual(self.remote.commands, ["version", "verack", "getaddr", "getaddrcache"])
        self.say(Addr([address("11.1.1.2")]))
        self.say(AddrCache([address("11.1.1.3", 50_001)], [address("11.1.1.4")], [address("11.1.1.5")]))
        self.wait(0.9)
        self.assertEqual(self.results, [])
        self.wait(0.2)
        found = self.result()
        self.assertEqual((found.outcome, found.nonce, found.height, found.services), (Outcome.ANSWERED, 7, 9, 5))
        self.assertEqual(found.told, (at("11.1.1.2"), at("11.1.1.4"), at("11.1.1.5")))
        self.assertEqual((found.outbound, found.inbound), ((at("11.1.1.4"),), (at("11.1.1.3", 50_001),)))
        self.assertEqual((found.own_end, found.seen_as), (at(HERE.host, HERE.port), at("198.18.1.1", 77)))
        self.assertEqual(self.remote.commands, ["version", "verack", "getaddr", "getaddrcache"])

    def test_no_addrcache_over_ipv6(self) -> None:
        """Our own address would stand in it. An ``addr`` ends the visit, but not one of itself alone."""
        self.here = IPv6Address("TCP", "2a00:9::9", 50_000)
        self.visit(at("2a00:1::1"))
        self.shake_hands()
        self.assertEqual(self.remote.commands, ["version", "verack", "getaddr"])
        self.say(Addr([address("2a00:1::1")]))
        self.wait(5)
        self.assertEqual(self.results, [])
        self.say(Addr([address("2a00:1::1"), address("11.1.1.2")]))
        found = self.result()
        self.assertEqual((found.told, found.inbound), ((at("2a00:1::1"), at("11.1.1.2")), None))
        self.assertEqual(found.own_end, at("2a00:9::9", 50_000))

    def test_no_answer(self) -> None:
        """It is waited for; the node counts all the same."""
        self.visit(at("11.1.1.1"), answer_timeout=5.0)
        self.shake_hands()
        self.wait(1)
        self.wait(3.9)
        self.assertEqual(self.results, [])
        self.wait(0.2)
        self.assertEqual(self.results[0].outcome, Outcome.ANSWERED)
        # it is asked once more, for the lists
        self.crawler.stop()

    def test_a_connection_without_an_ip(self) -> None:
        """As through a proxy on a socket in the file system."""
        self.here = UNIXAddress(b"/run/proxy")
        self.visit(at("11.1.1.1"))
        self.shake_hands()
        self.say(AddrCache())
        self.wait(1)
        self.assertIsNone(self.result().own_end)


class EndTests(VisitCase):
    def ended(self, error: Exception) -> VisitResult:
        self.dialled = fail(error)
        self.visit(at("11.1.1.1"))
        return self.results[0]

    def test_failures_of_dialling(self) -> None:
        for error, outcome in (
            (Refused(), Outcome.REFUSED),
            (TimedOut(), Outcome.TIMED_OUT),
            (NoRouteError(), Outcome.UNREACHABLE),
            (DNSLookupError("no such name"), Outcome.UNREACHABLE),
            (ConnectError(errno.ENETUNREACH, "unreachable"), Outcome.NOT_COUNTED),
            (OSError(errno.EMFILE, "Too many open files"), Outcome.NOT_COUNTED),
        ):
            self.results.clear()
            self.assertEqual(self.ended(error).outcome, outcome)
            self.crawler.stop()

    def test_dialling_that_never_ends(self) -> None:
        """Given up after the time of the whole visit."""
        self.dialled = Deferred()
        self.visit(at("11.1.1.1"), visit_timeout=20.0)
        self.wait(19)
        self.assertEqual(self.results, [])
        self.wait(1)
        self.assertEqual(self.result().outcome, Outcome.TIMED_OUT)

    def test_stopped_while_it_dials(self) -> None:
        """That does not count."""
        self.dialled = Deferred()
        self.visit(at("11.1.1.1"))
        self.successResultOf(self.crawler.stop())
        self.assertEqual(self.results[0].outcome, Outcome.NOT_COUNTED)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_whole_takes_too_long(self) -> None:
        """Handshake in time, answers in time, and still more than a visit may take."""
        self.visit(at("11.1.1.1"), visit_timeout=3.0, answer_timeout=60.0)
        self.shake_hands()
        self.wait(1)
        self.wait(2)
        self.assertEqual(self.results[0].outcome, Outcome.ANSWERED)
        self.crawler.stop()

    def test_the_handshake_is_cut_off(self) -> None:
        self.visit(at("11.1.1.1"), visit_timeout=3.0, handshake_timeout=60.0)
        self.wait(3)
        self.assertEqual(self.result().outcome, Outcome.SILENT)

    def test_closed_in_the_handshake(self) -> None:
        self.visit(at("11.1.1.1"))
        assert self.link is not None
        self.link.server.loseConnection()
        self.link.pump()
        found = self.result()
        self.assertEqual(found.outcome, Outcome.CLOSED)
        self.assertIn("the remote closed the connection", found.detail)
