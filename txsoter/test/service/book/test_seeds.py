"""SeedService: whom to begin with."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any
from unittest.mock import patch

from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from txsoter.networks import SIMNET, TESTNET1, Network
from txsoter.service.book import AddressBook, SeedService
from txsoter.service.book.seeds import resolve
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.service.book.resolver import Resolver, v4
from txsoter.test.service.book.support import DAY, NOW, AtOnce, LoggingCase, at, world

NAMED = Network("named", 5, 6000, TESTNET1.genesis_hash, seeds=("1.9.3.4", "seed.example", "other.example"))


class SeedCase(LoggingCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = world()
        self.resolver = Resolver()
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def begin(
        self,
        network: Network = NAMED,
        named: Iterable[tuple[str, int]] = (),
        resolver: Any = True,
        seeds: bool = True,
        **arguments: Any,
    ) -> AddressBook:
        self.book = AddressBook(network, self.clock, worker=AtOnce(), random=Random(1), **arguments)
        self.seeds = SeedService(self.book, self.resolver if resolver is True else resolver, named, seeds, Random(1))
        self.book.startService()
        self.seeds.startService()
        return self.book

    def end(self) -> None:
        self.seeds.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SeedTests(SeedCase):
    def test_seeds(self) -> None:
        """Addresses at once, names when they are resolved, at the network's port, as if seen five days ago."""
        book = self.begin()
        self.assertEqual([each.place for each in self.known()], [at("1.9.3.4", 6000)])
        self.assertEqual(self.resolver.asked, ["seed.example", "other.example"])
        self.resolver.answer("seed.example", v4("1.3.3.4"), IPv6Address("TCP", "2a00::3", 0))
        self.resolver.answer("other.example", v4("1.4.3.4"))
        self.assertEqual(len(book), 4)
        self.assertEqual({each.place.port for each in self.known()}, {6000})
        self.assertEqual({each.seen for each in self.known()}, {NOW - 5 * DAY})
        self.assertFalse(any(each.tried for each in self.known()))
        self.end()

    def known(self) -> list[Any]:
        assert self.book._buckets is not None
        return list(self.book._buckets.known.values())

    def test_enough_known(self) -> None:
        """With a hundred addresses that are not stale no seeds are asked for; with less, or stale ones, they are."""
        for count, age, asked in ((100, 0, False), (99, 0, True), (100, 31 * DAY, True)):
            self.resolver = Resolver()
            self.book = AddressBook(NAMED, self.clock)
            self.book.startService()
            for number in range(count):
                self.book.name(f"11.{number}.1.1", 6000)
            self.clock.advance(age)
            seeds = SeedService(self.book, self.resolver)
            seeds.startService()
            self.assertEqual(bool(self.resolver.asked), asked, (count, age))
            seeds.stopService()

    def test_simnet(self) -> None:
        """Simnet has no seeds, ever; who was named there is known."""
        simnet = Network("simnet", SIMNET.magic, 18555, SIMNET.genesis_hash, seeds=("1.9.3.4", "seed.example"))
        book = self.begin(simnet, [("1.5.3.4", 18555)])
        self.assertEqual((self.resolver.asked, len(book)), ([], 1))
        self.end()

    def test_testnet(self) -> None:
        """Testnet's seeds are addresses: nothing is looked up."""
        book = self.begin(TESTNET1, resolver=None)
        self.assertEqual(len(book), 2)
        self.assertIsNotNone(book.get(at("134.209.59.43", 5070)))
        self.assertEqual(self.logged(), [])
        self.end()

    def test_named(self) -> None:
        """Peers that are named are put in and stay, addresses and names; also when enough are known."""
        book = self.begin(TESTNET1, [("1.2.3.4", 22), ("2a00::5", 7000), ("peer.example", 8000)])
        self.resolver.answer("peer.example", v4("1.6.3.4"))
        for place in (at("1.2.3.4", 22), at("2a00::5", 7000), at("1.6.3.4", 8000)):
            known = book.get(place)
            assert known is not None
            self.assertTrue(known.explicit, place)
        self.end()

    def test_no_seeds(self) -> None:
        """Where seeds are not wanted there are only those that were named."""
        book = self.begin(named=[("peer.example", 8000)], seeds=False)
        self.assertEqual((self.resolver.asked, len(book)), (["peer.example"], 0))
        self.resolver.answer("peer.example", v4("1.6.3.4"))
        self.assertEqual(len(book), 1)
        self.end()

    def test_named_on_loopback(self) -> None:
        """One that cannot be reached is not put in, which is told; where it is allowed it is."""
        book = self.begin(TESTNET1, [("127.0.0.1", 5070)])
        self.assertEqual(len(book), 2)
        self.assertEqual(self.logged(), ["127.0.0.1:5070 is no address of the internet, and others are not allowed"])
        self.end()
        book = self.begin(TESTNET1, [("127.0.0.1", 5070)], allow_unroutable=True)
        self.assertEqual(len(book), 3)
        self.end()

    def test_no_resolver(self) -> None:
        """Without a resolver names are left alone, and told of."""
        self.begin(resolver=None)
        self.assertEqual(self.logged(), ["not looked up, because there is no resolver: seed.example, other.example"])
        self.end()

    def test_not_resolved(self) -> None:
        """Names that mean nothing are tried again after a minute, less and less often, at most each hour."""
        self.begin()
        self.resolver.answer("seed.example")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.resolver.answer("other.example", v4("1.4.3.4"))
        self.assertEqual(self.logged(LogLevel.info), ["cannot be resolved, for now: seed.example"])
        for wait in (60, 120, 240, 480, 960, 1920, 3600, 3600):
            before = len(self.resolver.asked)
            self.clock.advance(0.89 * wait)
            self.assertEqual(len(self.resolver.asked), before)
            self.clock.advance(0.22 * wait)
            self.assertEqual(self.resolver.asked[before:], ["seed.example"])
            self.resolver.answer("seed.example")
        self.clock.advance(4000)
        self.resolver.answer("seed.example", v4("1.3.3.4"))
        self.assertIsNotNone(self.book.get(at("1.3.3.4", 6000)))
        self.end()

    def test_no_host_name(self) -> None:
        """A name that no host can have is not asked for: Twisted's resolver would never say that it has done."""
        for name in ("a..example", "x" * 64, "\ufffd.example"):
            self.assertEqual(self.successResultOf(resolve(self.resolver, name, 8000)), [])
        self.assertEqual(self.resolver.asked, [])

    def test_many_answers(self) -> None:
        """Of a name's addresses the first 64 are looked at."""
        book = self.begin(TESTNET1, [("peer.example", 8000)])
        self.resolver.answer("peer.example", *(v4(f"11.{number}.1.1") for number in range(200)))
        self.assertEqual(len(book), 2 + 64)
        self.end()

    def test_stopped(self) -> None:
        """What is answered after the end is not listened to, nor after another start; nothing is tried again."""
        book = self.begin()
        self.end()
        self.resolver.answer("seed.example", v4("1.3.3.4"))
        self.seeds.startService()
        self.resolver.answer("other.example", v4("1.4.3.4"))
        self.assertEqual(len(book), 1)
        for name in ("seed.example", "other.example"):
            self.resolver.answer(name, v4("1.5.3.4"))
        self.assertEqual(len(book), 2)
        self.end()

    def test_stopped_while_it_waits(self) -> None:
        """A name that is to be tried again is not any more."""
        self.begin()
        for name in ("seed.example", "other.example"):
            self.resolver.answer(name)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.end()

    def test_before_the_book_is_read(self) -> None:
        """It waits for the book, and begins only if it still runs then."""
        for runs in (True, False):
            book = AddressBook(NAMED, self.clock)
            seeds = SeedService(book, self.resolver)
            seeds.startService()
            if not runs:
                seeds.stopService()
            self.resolver.asked.clear()
            book.startService()
            self.assertEqual(bool(self.resolver.asked), runs)
            seeds.stopService()


@over_sockets()
async def test_reactors_resolver() -> None:
    """With the reactor's own resolver."""
    reactor = real_reactor()
    book = AddressBook(TESTNET1, reactor, allow_unroutable=True)
    book.startService()
    seeds = SeedService(book, reactor.nameResolver, [("localhost", 5070)])
    named: Deferred[Any] = Deferred()
    with patch.object(book, "name", lambda *where: None if named.called else named.callback(where)):
        seeds.startService()
        assert await named in (("127.0.0.1", 5070), ("::1", 5070))
    seeds.stopService()
    await book.stopService()
