"""What strangers may take of us: :mod:`txsoter.peer.limits`, and how peers and factories keep to it."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from txsoter import CloseCause, Listeners, PeerConfig, SoterServerFactory
from txsoter.core.admission import Admission
from txsoter.core.memory_budget import MemoryBudget
from txsoter.core.reader import MESSAGE_OVERHEAD
from txsoter.core.state import State
from txsoter.ip import address_group
from txsoter.peer.factory import Refused
from txsoter.test.peer.cases import WholePeerTestCase, config
from txsoter.test.peer.support import TrialCase
from txsoter.testing import SERVER, MemoryLink, ScriptedPeer, remote_version
from txsoter.wire import FeeFilter, GetHeaders, Headers, Inv, Ping, Reject, Unknown, VerAck, write_message

KIB, MIB = 1024, 1024 * 1024


def at(host: str) -> IPv4Address:
    return IPv4Address("TCP", host, 40000)


class AddressGroupTests(TrialCase):
    """An IPv4 address, or the network of 64 bits that an IPv6 subscriber has."""

    def test_it(self) -> None:
        for host, group in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("abc.onion", None),
            (None, None),
        ):
            self.assertEqual(address_group(host), group)


class AdmissionTests(TrialCase):
    def test_most_in_all_and_of_one(self) -> None:
        admission = Admission(3, 2)
        for group in ("a", "a", None):
            self.assertIsNone(admission.refusal(group))
            admission.enter(group)
        self.assertIn("3 already (max_connections)", str(admission.refusal("b")))
        admission.leave(None)
        self.assertIn("2 from a already", str(admission.refusal("a")))
        self.assertIsNone(admission.refusal("b"))
        admission.leave("a")
        self.assertIsNone(admission.refusal("a"))
        admission.leave("a")
        self.assertEqual((len(admission), admission._of_group), (0, {}))

    def test_none_is_any_number_and_zero_is_none(self) -> None:
        admission = Admission(None, None)
        for _ in range(1000):
            admission.enter("a")
        self.assertIsNone(admission.refusal("a"))
        self.assertIsNotNone(Admission(0, None).refusal("a"))


class FactoryTests(WholePeerTestCase):
    """Most connections in all and from one address."""

    def dial(self, factory: SoterServerFactory, address: IAddress) -> tuple[Any, ScriptedPeer, MemoryLink]:
        peer, remote = factory.buildProtocol(address), ScriptedPeer()
        return peer, remote, MemoryLink(remote, peer, address, SERVER)

    def factory(self, **fields: Any) -> SoterServerFactory:
        return SoterServerFactory(config(clock=Clock(), **fields))

    def test_by_default_125_in_all_and_8_from_one_address(self) -> None:
        factory = self.factory()
        dialled = [self.dial(factory, at(f"192.0.2.{number // 9}")) for number in range(9 * 15)]
        self.assertEqual((len(factory.peers), factory.refused), (15 * 8, 15))
        dialled += [self.dial(factory, at(f"198.51.100.{number}")) for number in range(10)]
        self.assertEqual((len(factory.peers), factory.refused), (125, 20))
        for _, _, link in dialled:
            link.reset()
        self.assertEqual((len(factory.peers), len(factory._groups), len(factory._admission)), (0, 0, 0))

    def test_who_is_refused_hears_nothing_and_is_gone_at_once(self) -> None:
        lines = self.log_lines(LogLevel.warn)
        factory = self.factory(max_connections=0)
        peer, remote, link = self.dial(factory, at("192.0.2.1"))
        link.pump()
        self.assertIsInstance(peer, Refused)
        self.assertEqual(remote.raw, b"")
        self.assertIsNotNone(remote.closed)
        self.assertTrue(link.server.aborted)
        self.assertEqual(len(lines), 1)
        for _ in range(1000):
            self.dial(factory, at("192.0.2.1"))
        self.assertEqual((factory.refused, len(lines)), (1001, 10))

    def assert_refused(self, factory: SoterServerFactory, peer: Any, remote: ScriptedPeer, link: MemoryLink) -> None:
        """It hears nothing, is gone at once, and nobody is told of it."""
        link.pump()
        self.assertEqual((remote.raw, link.server.aborted, peer in factory.peers), (b"", True, False))
        self.assertIsNotNone(remote.closed)
        self.assertIs(peer.state, State.CLOSED)

    def test_the_application_may_refuse_too(self) -> None:
        unwanted = at("192.0.2.1")
        factory = SoterServerFactory(
            config(clock=Clock()), may_enter=lambda address: "not you" if address == unwanted else None
        )
        self.assert_refused(factory, *self.dial(factory, unwanted))
        peer, _, link = self.dial(factory, at("192.0.2.2"))
        self.assertIs(peer.state, State.NEGOTIATING)
        link.reset()

    def test_a_place_that_is_left_can_be_taken(self) -> None:
        factory = self.factory(max_connections_per_address=1)
        _, _, link = self.dial(factory, at("192.0.2.1"))
        self.assert_refused(factory, *self.dial(factory, at("192.0.2.1")))
        link.reset()
        peer, _, link = self.dial(factory, at("192.0.2.1"))
        self.assertIs(peer.state, State.NEGOTIATING)
        link.reset()

    def test_addresses_that_cannot_be_counted_are_counted_in_all(self) -> None:
        factory = self.factory(max_connections=3, max_connections_per_address=1)
        addresses = [UNIXAddress("/a"), UNIXAddress("/a"), HostnameAddress(b"abc.onion", 1), UNIXAddress("/b")]
        links = [self.dial(factory, address)[2] for address in addresses]
        self.assertEqual((len(factory.peers), factory.refused), (3, 1))
        for link in links:
            link.reset()

    def test_an_ipv6_subscriber_is_one_address(self) -> None:
        factory = self.factory(max_connections_per_address=2)
        links = [self.dial(factory, IPv6Address("TCP", f"2001:db8::{number}", 1))[2] for number in range(1, 5)]
        self.assertEqual((len(factory.peers), factory.refused), (2, 2))
        for link in links:
            link.reset()


class RateTests(WholePeerTestCase):
    """Over the cap reading pauses; nothing is dropped."""

    def test_messages_a_second(self) -> None:
        pair = self.scripted(config(max_messages_per_second=10))
        pair.remote.say(*[FeeFilter(number) for number in range(100)])
        counts = []
        for _ in range(5):
            pair.pump()
            counts.append(pair.peer.stats().received["feefilter"].messages)
            self.assertFalse(pair.transport.reading)
            pair.advance(1, 0.125)
        # of the second's worth that may come at once, version and verack were two
        self.assertEqual(counts, [8, 18, 28, 38, 48])
        pair.advance(10, 0.125)
        self.assertEqual(pair.peer.stats().received["feefilter"].messages, 100)
        self.assertTrue(pair.transport.reading)

    def test_bytes_a_second(self) -> None:
        pair = self.scripted(config(max_bytes_per_second=100_000))
        pair.remote.say(*[Unknown("x", bytes(49_976)) for _ in range(10)])
        pair.pump()
        self.assertEqual(pair.peer.stats().received["unknown"].messages, 2)
        pair.advance(4, 0.125)
        self.assertEqual(pair.peer.stats().received["unknown"].messages, 10)

    def test_the_time_that_a_remote_has_to_wait_is_not_held_against_it(self) -> None:
        pair = self.scripted(config(max_messages_per_second=0.01, ping_interval=None))
        self.assertIs(pair.peer.state, State.NEGOTIATED)
        pair.remote.say(FeeFilter(1), FeeFilter(2))
        pair.advance(310, 10)
        self.assertIs(pair.peer.state, State.READY)
        self.assertEqual(pair.peer.stats().received["feefilter"].messages, 2)

    def test_reading_ahead_for_an_answer_is_no_way_around_it(self) -> None:
        asked: list[Deferred[Headers]] = []

        def on_inv(peer: Any, inv: Inv) -> Deferred[Headers]:
            asked.append(peer.request(GetHeaders(), Headers, timeout=None))
            return asked[-1]

        pair = self.scripted(config(max_messages_per_second=10, listeners=Listeners(on_inv=on_inv)))
        pair.advance(10)
        pair.remote.say(Inv(), *[FeeFilter(number) for number in range(30)], Headers())
        pair.pump()
        self.assertNoResult(asked[0])
        pair.advance(1.5, 0.125)
        self.assertNoResult(asked[0])
        pair.advance(2, 0.125)
        self.successResultOf(asked[0])
        pair.advance(5, 0.125)
        self.assertEqual(pair.peer.stats().received["feefilter"].messages, 30)


class BudgetTests(WholePeerTestCase):
    """What all connections of a config hold together."""

    def pairs(self, count: int, **fields: Any) -> tuple[PeerConfig, list[Any]]:
        shared = config(random=Random(1), **fields)
        clock = Clock()
        pairs = [self.scripted(shared, clock=clock) for _ in range(count)]
        return shared, pairs

    def held(self, pair: Any) -> int:
        return int(pair.peer.stats().held_bytes)

    def budget_of(self, pair: Any) -> MemoryBudget:
        budget: MemoryBudget = pair.peer.config.memory
        return budget

    def test_half_a_message_that_never_ends(self) -> None:
        pair = self.scripted(config(memory_budget=MIB))
        frame = write_message(Reject(b"x", 1, bytes(3 * MIB)), pair.remote.magic)
        pair.say(frame[: 900 * KIB])
        self.assertEqual(self.budget_of(pair).total, 900 * KIB)
        self.assertIs(pair.peer.state, State.READY)
        pair.say(frame[900 * KIB : 1100 * KIB])
        self.assertIs(pair.peer.state, State.CLOSED)
        self.assertIs(self.successResultOf(pair.peer.when_closed()).cause, CloseCause.OVER_BUDGET)
        self.assertEqual((self.budget_of(pair).total, len(self.budget_of(pair))), (0, 0))

    def test_a_queue_that_is_not_taken(self) -> None:
        pair = self.scripted(config(memory_budget=MIB))
        pair.transport.takes = False
        sent = [pair.peer.send(Unknown("x", bytes(100 * KIB))) for _ in range(10)]
        self.assertGreater(self.budget_of(pair).total, 800 * KIB)
        stats = pair.peer.stats()
        self.assertEqual(self.budget_of(pair).total, stats.queue_bytes + MESSAGE_OVERHEAD * stats.queue_length)
        sent += [pair.peer.send(Unknown("x", bytes(100 * KIB))) for _ in range(3)]
        self.assertIs(pair.peer.state, State.CLOSING)
        self.assertEqual(self.budget_of(pair).total, 0)
        for each in sent:
            self.assertTrue(each.called)
            each.addErrback(lambda failure: None)

    def test_what_is_sent_and_handled_is_no_longer_held(self) -> None:
        gate: list[Deferred[None]] = []

        def on_unknown(peer: Any, message: Unknown) -> Deferred[None]:
            gate.append(Deferred())
            return gate[-1]

        pair = self.scripted(config(listeners=Listeners(on_unknown=on_unknown)))
        pair.say(Unknown("x", bytes(200 * KIB)), Unknown("x", bytes(100 * KIB)))
        self.assertGreaterEqual(self.budget_of(pair).total, 200 * KIB)
        pair.transport.takes = False
        for _ in range(3):
            pair.peer.send(Unknown("x", bytes(100 * KIB)))
        self.assertGreater(self.budget_of(pair).total, 300 * KIB)
        gate[0].callback(None)
        pair.pump()
        gate[1].callback(None)
        pair.transport.takes = True
        pair.pump()
        pair.say(Ping(1))
        self.assertEqual((self.budget_of(pair).total, len(self.budget_of(pair))), (0, 0))

    def test_what_a_turn_has_queued_and_the_transport_taken_is_not_held(self) -> None:
        """Found by fuzz/peer.py: it was counted until the next turn, which may be minutes away."""

        def on_unknown(peer: Any, message: Unknown) -> None:
            peer.send(Unknown("x", bytes(40 * KIB)))

        pair = self.scripted(config(listeners=Listeners(on_unknown=on_unknown)))
        pair.say(Unknown("x"))
        self.assertEqual(pair.peer.stats().queue_bytes, 0)
        self.assertEqual((self.budget_of(pair).total, len(self.budget_of(pair))), (0, 0))

    def test_the_largest_goes_and_the_others_stay(self) -> None:
        shared = config(memory_budget=MIB).replace(clock=Clock(), allow_self_connections=True)
        factory = SoterServerFactory(shared)
        links = []
        for number in range(4):
            peer, remote = factory.buildProtocol(at(f"192.0.2.{number}")), ScriptedPeer()
            link = MemoryLink(remote, peer, at(f"192.0.2.{number}"), SERVER)
            links.append((peer, remote, link))
        for _, remote, link in links:
            remote.say(remote_version(), VerAck())
            link.pump()
        for (_, remote, link), size in zip(links, (300, 500, 200, 100), strict=True):
            remote.say(write_message(Unknown("x", bytes(900 * KIB)), remote.magic)[: size * KIB])
            link.pump()
        self.assertEqual([peer.state for peer, _, _ in links].count(State.READY), 3)
        links[1][2].pump()
        self.assertIs(links[1][0].state, State.CLOSED)
        self.assertEqual(shared.memory.total, 600 * KIB)
        for _, _, link in links:
            link.reset()
        self.assertEqual(shared.memory.total, 0)

    def test_none_is_no_limit(self) -> None:
        pair = self.scripted(config(memory_budget=None))
        pair.say(write_message(Reject(b"x", 1, bytes(3 * MIB)), pair.remote.magic)[: 2 * MIB])
        self.assertIs(pair.peer.state, State.READY)
