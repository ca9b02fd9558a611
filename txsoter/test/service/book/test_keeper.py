"""BookKeeper: what goes from peers into the book, and from the book to peers."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any
from unittest.mock import patch

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from txsoter import Listeners, PeerConfig
from txsoter.networks import SIMNET, TESTNET1, Network
from txsoter.service import observed
from txsoter.service.book import AddressBook, BookKeeper
from txsoter.service.book.keeper import Allowance
from txsoter.service.book.places import Place, group_of, place_at
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.support import DAY, HOUR, NOW, STEPS, address, at, rival, world
from txsoter.testing import ScriptedPair, remote_version, scripted
from txsoter.wire import Addr, AddrCache, GetAddr, GetAddrCache, Message, NetAddress, VerAck

REMOTE = IPv4Address("TCP", "77.7.7.7", 5070)


class KeeperCase(TrialCase):
    """A keeper with a book in memory, and peers; nothing must be left of them."""

    network: Network = TESTNET1

    def setUp(self) -> None:
        self.clock = world()
        self.book = AddressBook(self.network, self.clock, random=Random(1))
        self.book.startService()
        self.keeper = self.made()
        self.pairs: list[ScriptedPair] = []
        self.addCleanup(self.end)

    def made(self, advertise: Iterable[NetAddress] = ()) -> BookKeeper:
        return BookKeeper(self.book, advertise, Random(1))

    def peer(
        self, inbound: bool = False, remote: IAddress | None = REMOTE, ready: bool = True, **settings: Any
    ) -> ScriptedPair:
        """A peer of the keeper's, in the end ready."""
        listeners = observed(Listeners(), [self.keeper])
        config = PeerConfig(network=self.network, random=Random(1), listeners=listeners, **settings)
        pair = scripted(config, inbound=inbound, handshake=False, clock=self.clock, remote_address=remote)
        self.pairs.append(pair)
        if ready:
            self.shake_hands(pair)
        return pair

    def shake_hands(self, pair: ScriptedPair, **version: object) -> None:
        fields = {"genesis_hash": self.network.genesis_hash, "services": 9, **version}
        pair.say(remote_version(**fields), VerAck())

    def end(self) -> None:
        for pair in self.pairs:
            pair.peer.disconnect()
            pair.pump()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.keeper._sessions, self.keeper._dialled), ({}, {}))
        self.assertEqual(self.flushLoggedErrors(), [])

    def answers(self, pair: ScriptedPair, *questions: Message) -> list[Message]:
        """What a remote hears on what it says, but for the handshake and our own question."""
        pair.hear()
        pair.remote.say(*questions)
        return [each for each in pair.hear() if not isinstance(each, GetAddr)]

    def fill(self, count: int, first: int = 11) -> list[Place]:
        places = [at(f"{first + number // 256}.{number % 256}.1.1") for number in range(count)]
        for place in places:
            self.book.succeeded(place, 1)
        return places


class ConnectionTests(KeeperCase):
    """Who was connected to."""

    def test_dialled(self) -> None:
        """One that we dialled has worked, has the services that it says, and was good until it went."""
        pair = self.peer(ready=False)
        self.assertEqual(len(self.book), 0)
        self.shake_hands(pair)
        known = self.book.get(at("77.7.7.7"))
        assert known is not None
        self.assertEqual((known.tried, known.services, known.succeeded), (True, 9, NOW))
        self.clock.advance(100)
        pair.peer.disconnect()
        pair.pump()
        self.assertEqual(known.succeeded, NOW + 100)

    def test_one_that_we_stay_connected_to_is_fresh_and_keeps_its_place(self) -> None:
        """After 31 days of one connection it is told to others with a recent time, and nobody takes its place."""
        self.peer()
        place = at("77.7.7.7")
        other = rival(place, lambda each: self.slots().of_tried(each, group_of(each)))
        for _ in range(31):
            self.clock.advance(DAY)
            self.book.succeeded(other, 1)
        known = self.book.get(place)
        assert known is not None
        self.assertFalse(known.is_stale(self.book.now()))
        self.assertTrue(known.tried)
        told = [each.timestamp for each in self.book.sample() if each.host == place.host]
        self.assertEqual([stamp > NOW + 29 * DAY for stamp in told], [True])
        # not to the hour: those whom we tell shall not see whom we are connected to
        self.clock.advance(HOUR)
        self.assertEqual([each.timestamp for each in self.book.sample() if each.host == place.host], told)

    def slots(self) -> Any:
        assert self.book._buckets is not None
        return self.book._buckets._slots

    def test_nothing_runs_without_connections_that_we_have_dialled(self) -> None:
        inbound, first, second = self.peer(inbound=True), self.peer(), self.peer()
        hourly = [call for call in self.clock.calls if call.getTime() - self.clock.seconds() == HOUR]
        self.assertEqual(len(hourly), 1)
        for pair in (first, second):
            self.assertTrue(hourly[0].active())
            pair.peer.disconnect()
            pair.pump()
        self.assertFalse(hourly[0].active())
        self.assertEqual(inbound.peer.state.value, "ready")

    def test_dialled_us(self) -> None:
        """Of one who dialled us we do not know where it listens."""
        pair = self.peer(inbound=True)
        pair.peer.disconnect()
        pair.pump()
        self.assertEqual(len(self.book), 0)
        # though it come from the port of one that we know
        self.book.hear([address("77.7.7.7")], at("1.1.1.1").ip)
        pair = self.peer(inbound=True)
        pair.peer.disconnect()
        pair.pump()
        known = self.book.get(at("77.7.7.7"))
        assert known is not None
        self.assertEqual(known.succeeded, 0)

    def test_never_ready(self) -> None:
        """One whose handshake fails has not worked."""
        self.book.hear([address("77.7.7.7")], at("1.1.1.1").ip)
        pair = self.peer(ready=False)
        self.shake_hands(pair, genesis_hash=SIMNET.genesis_hash)
        known = self.book.get(at("77.7.7.7"))
        assert known is not None
        self.assertEqual((known.tried, known.succeeded), (False, 0))

    def test_other_transports(self) -> None:
        """What has no IP is nowhere; IPv6 has one, its zone left out."""
        for remote in (UNIXAddress(b"/run/soter"), IPv4Address("TCP", "localhost", 5070)):
            pair = self.peer(remote=remote)
            self.assertIsNone(self.keeper.place_of(pair.peer))
        self.assertEqual(len(self.book), 0)
        self.peer(remote=IPv6Address("TCP", "2a00::7", 5070))
        self.assertEqual(len(self.book), 1)
        zoned = self.peer(remote=IPv6Address("TCP", "fe80::7%eth0", 5070))
        self.assertEqual(self.keeper.place_of(zoned.peer), at("fe80::7"))

    def test_behind_a_proxy(self) -> None:
        """A proxy's address is nobody's; where it leads to is known to who dialled."""
        pair = self.peer(proxy="77.7.7.7:9050", ready=False)
        self.assertIsNone(self.keeper.place_of(pair.peer))
        self.keeper.dialled(pair.peer, at("1.2.3.4", 6000))
        self.assertEqual(self.keeper.place_of(pair.peer), at("1.2.3.4", 6000))
        self.shake_hands(pair)
        self.assertEqual(dict(self.book.sizes()), {"tried": 1, "new": 0})
        self.assertIsNotNone(self.book.get(at("1.2.3.4", 6000)))
        self.peer(proxy="77.7.7.7:9050")
        self.assertEqual(len(self.book), 1)

    def test_dialled_and_gone(self) -> None:
        """Of one that has ended already nothing is noted."""
        pair = self.peer()
        pair.peer.disconnect()
        pair.pump()
        self.keeper.dialled(pair.peer, at("1.2.3.4"))

    def test_simnet(self) -> None:
        """On simnet nobody is learned, asked, or told."""
        self.network = SIMNET
        self.setUp()
        self.keeper = self.made([address("9.9.9.9")])
        outbound, inbound = self.peer(), self.peer(inbound=True)
        self.assertEqual([each.command for each in outbound.hear()], ["version", "verack"])
        self.book.name("1.2.3.4", 18555)
        told = [Addr([address("1.3.3.4")]), GetAddr(), GetAddrCache()]
        for pair in (outbound, inbound):
            self.assertEqual(self.answers(pair, *told), [])
        self.assertEqual(len(self.book), 1)


class SelfTests(KeeperCase):
    """A connection to ourselves."""

    def ours(self, *, dialled: bool = True) -> None:
        """We dial an address, and end up at our own port."""
        outbound = self.peer(remote=IPv4Address("TCP", "1.2.3.4", 5070), ready=False)
        if dialled:
            self.keeper.dialled(outbound.peer, at("1.2.3.4"))
        outbound.pump()
        (version,) = outbound.remote.heard
        inbound = self.peer(inbound=True, remote=outbound.transport.getHost(), ready=False)
        inbound.say(version)
        self.assertIsNotNone(inbound.remote.closed)

    def test_noticed_by_the_end_that_was_dialled(self) -> None:
        """It is the end that was dialled that notices; the address is ours from now on."""
        self.book.hear([address("1.2.3.4")], at("1.1.1.1").ip)
        self.ours()
        self.assertEqual(len(self.book), 0)
        self.book.hear([address("1.2.3.4")], at("1.1.1.1").ip)
        self.assertEqual(len(self.book), 0)

    def test_noticed_by_the_end_that_dialled(self) -> None:
        """So does what gives us back what we say."""
        pair = self.peer(ready=False)
        self.keeper.dialled(pair.peer, at("77.7.7.7"))
        pair.pump()
        pair.say(*pair.remote.heard)
        self.book.hear([address("77.7.7.7")], at("1.1.1.1").ip)
        self.assertEqual(len(self.book), 0)

    def test_from_elsewhere(self) -> None:
        """When it did not come from where we dialled, we do not know which address it was."""
        self.book.hear([address("1.2.3.4")], at("1.1.1.1").ip)
        self.ours(dialled=False)
        self.assertEqual(len(self.book), 1)

    def test_bounded(self) -> None:
        """From where the last 64 connections were made is remembered."""
        for number in range(70):
            pair = self.peer(ready=False)
            pair.transport._host = IPv4Address("TCP", "192.0.2.1", 1000 + number)
            self.keeper.dialled(pair.peer, at("1.2.3.4", 2000 + number))
        self.assertEqual(list(self.keeper._locals), [at("192.0.2.1", 1000 + number) for number in range(6, 70)])


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


class AnswerTests(KeeperCase):
    """What peers are told."""

    def test_getaddr(self) -> None:
        """Answered once a connection, and only to who dialled us."""
        places = self.fill(20)
        pair = self.peer(inbound=True)
        (told,) = self.answers(pair, GetAddr())
        assert isinstance(told, Addr)
        self.assertEqual({place_at(each.host, each.port) for each in told.addresses}, set(places))
        self.assertEqual(self.answers(pair, GetAddr(), GetAddr()), [])
        self.assertEqual(self.answers(self.peer(), GetAddr()), [])

    def test_getaddr_before_verack(self) -> None:
        """Before the handshake is over it is not answered: nothing is known of who asks."""
        self.fill(20)
        pair = self.peer(inbound=True, ready=False)
        pair.say(remote_version(genesis_hash=self.network.genesis_hash), GetAddr())
        self.assertEqual([each.command for each in pair.hear()], ["version", "verack"])

    def test_nothing_known(self) -> None:
        """No answer when there is nothing to tell: a soterd closes on an empty one."""
        pair = self.peer(inbound=True, remote=UNIXAddress(b"/run/soter"))
        self.assertEqual(self.answers(pair, GetAddr(), GetAddrCache()), [])

    def test_part_of_it(self) -> None:
        """23 % of what is known, others each time; the same for a day when it is more than a thousand."""
        self.fill(400)
        known = len(self.book)

        def told() -> set[Place]:
            (answer,) = self.answers(self.peer(inbound=True), GetAddr())
            assert isinstance(answer, Addr)
            return {place_at(each.host, each.port) for each in answer.addresses}

        first = told()
        self.assertEqual(len(first), known * 23 // 100)
        self.assertNotEqual(told(), first)
        self.fill(2000)
        self.assertGreater(len(self.book), 1000)
        self.clock.advance(DAY)
        day = told()
        self.assertEqual(len(day), len(self.book) * 23 // 100)
        self.clock.advance(DAY - 1)
        self.assertEqual(told(), day)
        self.clock.advance(1)
        self.assertNotEqual(told(), day)

    def test_the_answer_of_a_day_is_another_one_a_day_later_whatever_the_wall_clock_shows(self) -> None:
        """Also when it was a year ahead at first; and a step of it asks for no other answer."""
        self.fill(2000)

        def told() -> set[Place]:
            (answer,) = self.answers(self.peer(inbound=True), GetAddr())
            assert isinstance(answer, Addr)
            return {place_at(each.host, each.port) for each in answer.addresses}

        for step in (*STEPS, 365 * DAY, -365 * DAY):
            self.clock.step_wall(-step)
            before = told()
            self.clock.step_wall(step)
            self.assertEqual(told(), before)
            self.clock.advance(DAY)
            self.assertNotEqual(told(), before)

    def test_a_step_of_the_wall_clock_gives_and_takes_no_allowance(self) -> None:
        for step in STEPS:
            pair = self.peer(inbound=True)
            self.assertEqual(len(self.answers(pair, GetAddrCache())), 1)
            before = len(self.book)
            self.clock.step_wall(step)
            self.assertEqual(self.answers(pair, GetAddrCache()), [])
            pair.say(Addr([address(f"{30 + number}.1.1.1") for number in range(50)]))
            self.assertLessEqual(len(self.book) - before, 1)
            self.clock.advance(10)
            self.assertEqual(len(self.answers(pair, GetAddrCache())), 1)
            self.clock.step_wall(-step)

    def test_a_wall_clock_past_2106_keeps_no_peer_from_being_asked_or_told(self) -> None:
        self.clock.step_wall((1 << 32) - NOW)
        self.keeper = self.made([NetAddress(9, "1.2.3.4", 5070)])
        pair = self.peer()
        sent = {each.command: each for each in pair.hear()}
        self.assertIn("getaddr", sent)
        told = sent["addr"]
        assert isinstance(told, Addr)
        self.assertEqual(list(told.addresses), [NetAddress(9, "1.2.3.4", 5070, (1 << 32) - 1)])
        inbound = self.peer(inbound=True)
        self.assertEqual(
            [each.command for each in self.answers(inbound, GetAddr(), GetAddrCache())], ["addr", "addrcache"]
        )

    def test_the_latest(self) -> None:
        """In a small network who came last is told at once."""
        for number in range(1, 6):
            place = self.fill(1, 10 + number)[0]
            (answer,) = self.answers(self.peer(inbound=True), GetAddr())
            assert isinstance(answer, Addr)
            self.assertIn(place, {place_at(each.host, each.port) for each in answer.addresses})
            self.assertEqual(len(answer.addresses), number)

    def test_getaddrcache(self) -> None:
        """Who dialled us, whom we dialled, whom we know; of a remote once in ten seconds."""
        (place,) = self.fill(1)
        outbound = self.peer()
        inbound = self.peer(inbound=True, remote=IPv4Address("TCP", "5.6.7.8", 40000))
        self.clock.advance(5)
        now = NOW + 5
        (cache,) = self.answers(inbound, GetAddrCache())
        assert isinstance(cache, AddrCache)
        self.assertEqual(list(cache.inbound), [NetAddress(9, "5.6.7.8", 40000, now)])
        self.assertEqual(list(cache.outbound), [NetAddress(9, "77.7.7.7", 5070, now)])
        self.assertEqual({each.host for each in cache.known}, {place.host, "77.7.7.7"})
        self.assertEqual(self.answers(inbound, GetAddrCache()), [])
        self.assertEqual([each.command for each in self.answers(outbound, GetAddrCache())], ["addrcache"])
        self.clock.advance(10)
        outbound.peer.disconnect()
        outbound.pump()
        (cache,) = self.answers(inbound, GetAddrCache())
        assert isinstance(cache, AddrCache)
        self.assertEqual(len(cache.outbound), 0)

    def test_getaddrcache_is_ipv4(self) -> None:
        """No IPv6, of which a soterd dies, nor what others cannot reach."""
        self.book.succeeded(at("2a00::9"), 1)
        self.peer(remote=IPv6Address("TCP", "2a00::7", 5070))
        self.peer(remote=IPv4Address("TCP", "10.0.0.7", 5070))
        pair = self.peer(inbound=True, remote=IPv6Address("TCP", "2a00::8", 40000))
        self.assertEqual(self.answers(pair, GetAddrCache()), [])
        self.assertEqual([each.command for each in self.answers(pair, GetAddr())], ["addr"])

    def test_our_own_address(self) -> None:
        """Our own address is told only if we say so, and then to whom we dial."""
        pair = self.peer()
        self.assertEqual(self.answers(pair), [])
        self.assertEqual([each.command for each in pair.hear()], [])
        self.keeper.on_closed(pair.peer, self.reason_of(pair))
        self.keeper = self.made([NetAddress(9, "1.2.3.4", 5070)])
        pair = self.peer()
        (told,) = (each for each in pair.hear() if isinstance(each, Addr))
        self.assertEqual(list(told.addresses), [NetAddress(9, "1.2.3.4", 5070, NOW)])
        inbound = self.peer(inbound=True)
        self.assertNotIn("addr", [each.command for each in inbound.hear()])

    def reason_of(self, pair: ScriptedPair) -> Any:
        closed = pair.peer.disconnect()
        pair.pump()
        return self.successResultOf(closed)
