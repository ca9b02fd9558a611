"""BookKeeper: addresses that peers tell, and how many of them are learnt."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.address import IPv4Address, UNIXAddress

from txsoter.service.book.keeper import Allowance
from txsoter.service.book.places import place_at
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.keeper_case import KeeperCase
from txsoter.test.service.book.support import DAY, NOW, address, at
from txsoter.wire import Addr, AddrCache, NetAddress


class LearnTests(KeeperCase):
    """What peers tell."""

    def many(self, count: int = 1000, first: int = 11) -> list[NetAddress]:
        return [address(f"{first + number // 256}.{number % 256}.1.1") for number in range(count)]

    def test_asked(self) -> None:
        """Whom we dial is asked, and may then tell a message's worth; who told it is noted."""
        pair = self.peer()
        self.assertEqual([each.command for each in pair.hear()], ["version", "verack", "getaddr"])
        pair.say(Addr(self.many()))
        self.assertGreater(len(self.book), 500)
        known = self.book.get(at("11.1.1.1"))
        assert known is not None
        self.assertEqual((known.source, known.seen, known.services), (at("77.7.7.7").ip, NOW - 3 * 3600, 1))

    def test_not_asked(self) -> None:
        """Who was not asked may tell of one, and of one more each ten seconds, whatever it sends."""
        pair = self.peer(inbound=True)
        for _ in range(5):
            pair.say(Addr(self.many()))
        self.assertEqual(len(self.book), 1)
        self.clock.advance(100)
        pair.say(Addr(self.many(first=30)))
        self.assertGreater(len(self.book), 5)
        self.assertLessEqual(len(self.book), 11)

    def test_which_ones(self) -> None:
        """Of more than it may tell, any: not those that it puts first."""
        pair = self.peer(inbound=True)
        self.clock.advance(200)
        pair.say(Addr(self.many()))
        self.assertGreater(len(self.book), 10)
        self.assertFalse({known.place for known in self.known()} <= {at(f"11.{number}.1.1") for number in range(50)})

    def known(self) -> list[Any]:
        known = [self.book.get(place_at(each.host, each.port)) for each in [*self.many(), *self.many(first=30)]]
        return [each for each in known if each is not None]

    def test_coming_again(self) -> None:
        """One who goes and comes again has no more for it; one from elsewhere has its own."""
        for _ in range(10):
            pair = self.peer(inbound=True, remote=IPv4Address("TCP", "77.7.7.7", 40000))
            pair.say(Addr(self.many()))
            pair.peer.disconnect()
            pair.pump()
        self.assertEqual(len(self.book), 1)
        self.peer(inbound=True, remote=IPv4Address("TCP", "77.7.7.8", 40000)).say(Addr(self.many(first=30)))
        self.assertEqual(len(self.book), 2)

    def test_floods_from_many(self) -> None:
        """A flood from each of many peers is one address of each; of how many we remember that is bounded."""
        with patch("txsoter.service.book.keeper.SOURCES", 50):
            for number in range(60):
                pair = self.peer(inbound=True, remote=IPv4Address("TCP", f"11.{number}.7.7", 4000))
                pair.say(Addr(self.many(1000, 100)))
                self.assertLessEqual(len(self.book), number + 1)
        self.assertGreater(len(self.book), 40)
        self.assertEqual(len(self.keeper._allowances), 50)

    def test_addrcache(self) -> None:
        """Of an addrcache those whom it dialled and those it knows; who dialled it does not listen there."""
        pair = self.peer()
        inbound, outbound, known = self.many(3, 40), self.many(3, 50), self.many(3, 60)
        pair.say(AddrCache(inbound, outbound, known))
        self.assertEqual(len(self.book), 1 + 6)
        self.assertIsNone(self.book.get(at("40.0.1.1")))

    def test_from_nowhere(self) -> None:
        """What comes over a socket without an IP is learned, too."""
        pair = self.peer(remote=UNIXAddress(b"/run/soter"))
        pair.say(Addr(self.many(1)))
        self.assertEqual(len(self.book), 1)

    def test_hostile_addresses(self) -> None:
        """Addresses of nowhere, of ourselves, on other services' ports, of the future: nothing breaks."""
        pair = self.peer()
        pair.say(
            Addr(
                [
                    NetAddress(),
                    NetAddress((1 << 64) - 1, "255.255.255.255", 65535, (1 << 32) - 1),
                    address("127.0.0.1"),
                    address("1.2.3.4", 25),
                    address("1.2.3.4", 0),
                    NetAddress((1 << 64) - 1, "1.2.3.4", 65535, (1 << 32) - 1),
                ]
            )
        )
        self.assertEqual(len(self.book), 2)
        known = self.book.get(at("1.2.3.4", 65535))
        assert known is not None
        self.assertEqual((known.services, known.seen), ((1 << 64) - 1, NOW - 5 * DAY - 7200))


class AllowanceTests(TrialCase):
    """Allowance."""

    def test_refilled(self) -> None:
        """One at first; one each ten seconds, up to a thousand; a thousand when asked."""
        allowance = Allowance(0)
        self.assertEqual(allowance.take(1000, 0), 1)
        self.assertEqual(allowance.take(1000, 9), 0)
        self.assertEqual(allowance.take(1000, 10), 1)
        self.assertEqual(allowance.take(1000, 1e9), 1000)
        self.assertEqual(allowance.take(1000, 1e9 + 5), 0)
        self.assertEqual(allowance.take(1000, 1e9 + 25), 2)
        allowance.asked()
        allowance.asked()
        self.assertEqual(allowance.take(10, 1e9 + 25), 10)
        self.assertEqual(allowance.take(5000, 1e9 + 25), 990)
