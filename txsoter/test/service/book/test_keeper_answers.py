"""BookKeeper: what peers are told of the address book."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from txsoter.service.book.places import Place, place_at
from txsoter.test.service.book.keeper_case import KeeperCase
from txsoter.test.service.book.support import DAY, NOW, STEPS, address, at
from txsoter.testing import ScriptedPair, remote_version
from txsoter.wire import Addr, AddrCache, GetAddr, GetAddrCache, NetAddress


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
