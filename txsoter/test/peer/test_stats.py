"""Tests of :mod:`txsoter.peer.stats` (PEER.md, "Verbs", ``stats()``)."""

from __future__ import annotations

import attrs

from txsoter.core.stats import PeerStats
from txsoter.core.traffic import Traffic
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.test.peer.support import PeerTestCase, TrialCase, simnet
from txsoter.testing import remote_version
from txsoter.wire import Hash, InventoryType, InventoryVector, Ping, SendHeaders, Services, Unknown, write_message


class TrafficTests(TrialCase):
    def test_messages_and_bytes(self) -> None:
        traffic = Traffic()
        traffic += 24
        traffic += 32
        self.assertEqual((traffic.messages, traffic.bytes), (2, 56))
        self.assertEqual(repr(traffic), "Traffic(messages=2, bytes=56)")

    def test_a_copy_stays_as_it_is(self) -> None:
        traffic = Traffic(1, 24)
        copy = traffic.copy()
        traffic += 24
        self.assertEqual(copy, Traffic(1, 24))
        self.assertNotEqual(copy, traffic)

    def test_it_equals_its_like_alone(self) -> None:
        self.assertNotEqual(Traffic(1, 24), (1, 24))
        self.assertNotEqual(Traffic(1, 24), Traffic(2, 24))
        self.assertRaises(TypeError, hash, Traffic())


class StatsTests(PeerTestCase):
    """A frozen snapshot."""

    def test_before_the_connection(self) -> None:
        stats = SoterPeerProtocol(simnet(protocol_version=70001)).stats()
        expected: dict[str, object] = {
            "address": "nowhere",
            "inbound": False,
            "state": "connecting",
            "services": 0,
            "user_agent": b"",
            "advertised_version": None,
            "negotiated_version": 70001,
            "connected_at": None,
            "last_send": None,
            "last_receive": None,
            "messages_sent": 0,
            "bytes_received": 0,
            "sent": {},
            "received": {},
            "last_announced_block": None,
            "ping_nonce": None,
            "ping_time": None,
            "ping_micros": None,
            "witness": False,
            "relay": True,
            "queue_length": 0,
            "queue_bytes": 0,
        }
        self.assertEqual({name: getattr(stats, name) for name in expected}, expected)

    def test_what_the_remote_said_of_itself(self) -> None:
        pair = self.scripted(handshake=False, inbound=True)
        pair.clock.advance(20)
        version = remote_version(
            services=Services.NETWORK | Services.WITNESS,
            protocol_version=70012,
            user_agent=b"/x:1.0.0/",
            last_block=77,
            timestamp=80,
            relay=False,
        )
        pair.handshake(version)
        stats = pair.peer.stats()
        self.assertEqual((stats.services, stats.user_agent, stats.relay), (9, b"/x:1.0.0/", False))
        self.assertEqual((stats.advertised_version, stats.negotiated_version), (70012, 70012))
        self.assertEqual((stats.starting_height, stats.max_height, stats.time_offset), (77, 77, 60))
        self.assertEqual((stats.inbound, stats.state, stats.witness), (True, "ready", True))
        self.assertEqual((stats.address, stats.id), ("192.0.2.1:49152", pair.peer.id))

    def test_advertised_and_negotiated_are_kept_apart(self) -> None:
        for ours, theirs, negotiated in ((70013, 70012, 70012), (70001, 70013, 70001), (70013, 80000, 70013)):
            pair = self.scripted(handshake=False, protocol_version=ours)
            pair.pump()
            pair.remote.pver = negotiated
            pair.handshake(remote_version(protocol_version=theirs))
            stats = pair.peer.stats()
            self.assertEqual((stats.advertised_version, stats.negotiated_version), (theirs, negotiated))

    def test_bytes_and_messages_each_way_and_by_command(self) -> None:
        pair = self.scripted()
        before = pair.peer.stats()
        pair.clock.advance(5)
        pair.say(Ping(1), Ping(2), Unknown("a", b"xyz"), Unknown("b"))
        partial = write_message(Ping(3), pair.remote.magic)[:10]
        pair.clock.advance(2)
        pair.say(partial)
        after = pair.peer.stats()
        self.assertEqual(after.received["ping"], Traffic(2, 64))
        self.assertEqual(after.received["unknown"], Traffic(2, 51))
        self.assertEqual(after.sent["pong"], Traffic(2, 64))
        self.assertEqual(after.messages_received - before.messages_received, 4)
        self.assertEqual(after.messages_sent - before.messages_sent, 2)
        self.assertEqual(after.bytes_received - before.bytes_received, 64 + 51 + 10)
        self.assertEqual(after.bytes_sent - before.bytes_sent, 64)
        self.assertEqual((after.connected_at, after.last_send, after.last_receive), (0, 5, 7))
        self.assertEqual(after.unknown_commands, 2)
        self.assertEqual(sum(each.bytes for each in after.sent.values()), len(pair.remote.raw))

    def test_it_is_frozen(self) -> None:
        """Later traffic does not change it, nor can its reader."""
        pair = self.scripted()
        pair.say(Ping(1))
        stats = pair.peer.stats()
        pair.say(Ping(2))
        self.assertEqual(stats.received["ping"], Traffic(1, 32))
        for field in attrs.fields(PeerStats):
            with self.assertRaises(attrs.exceptions.FrozenInstanceError):
                setattr(stats, field.name, None)
        stats.received["ping"].bytes = 0
        self.assertEqual(pair.peer.stats().received["ping"].bytes, 64)

    def test_what_the_application_notes(self) -> None:
        pair = self.scripted()
        block = Hash(bytes(range(32)))
        for height in (5, 9, 7):
            pair.peer.update_height(height)
        pair.peer.update_announced_block(block)
        pair.peer.add_known_inventory(InventoryVector(InventoryType.BLOCK, block, 9))
        stats = pair.peer.stats()
        self.assertEqual((stats.starting_height, stats.max_height), (0, 9))
        self.assertEqual((stats.last_announced_block, stats.known_inventory), (block, 1))
        pair.say(SendHeaders())
        self.assertEqual((stats.wants_headers, pair.peer.stats().wants_headers), (False, True))

    def test_the_queue(self) -> None:
        pair = self.scripted()
        pair.transport.takes = False
        for _ in range(3):
            pair.peer.send(Unknown("x", bytes(100_000)))
        stats = pair.peer.stats()
        self.assertEqual((stats.queue_length, stats.queue_bytes), (2, 3 * 100_024 - pair.transport.waiting))

    def test_pings(self) -> None:
        pair = self.scripted(ping_interval=100.0)
        pair.clock.advance(100)
        [ping] = pair.hear()
        assert isinstance(ping, Ping)
        stats = pair.peer.stats()
        self.assertEqual((stats.ping_nonce, stats.ping_micros), (ping.nonce, None))
        assert stats.ping_time is not None
        self.assertTrue(90 <= stats.ping_time <= 100)
        pair.clock.advance(0.25)
        pair.say(ping.response())
        self.assertEqual(pair.peer.stats().ping_micros, round((100.25 - stats.ping_time) * 1e6))

    def test_bytes_behind_messages(self) -> None:
        pair = self.scripted()
        pair.say(write_message(Unknown("getblocks", bytes(45)), pair.remote.magic))
        self.assertEqual(pair.peer.stats().trailing_bytes, 45 - 37)

    def test_after_the_end(self) -> None:
        pair = self.scripted()
        pair.peer.disconnect()
        pair.pump()
        stats = pair.peer.stats()
        self.assertEqual((stats.state, stats.queue_length, stats.user_agent[:9]), ("closed", 0, b"/soterwir"))
