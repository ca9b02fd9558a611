"""The snapshot of a connection."""

from __future__ import annotations

from unittest import mock

import attrs

from txsoter.core.stats import PeerStats, snapshot
from txsoter.core.traffic import Traffic
from txsoter.test.core.ends import WALL, ConnectionTestCase, End, filler, frame, remote_version, simnet, tx_vector
from txsoter.wire import FeeFilter, Hash, Inv, MemPool, Ping, SendHeaders, Services, Unknown, VerAck

BLOCK = Hash(bytes(range(32)))


def stats_of(end: End, step: float = 0.0) -> PeerStats:
    """Return a snapshot.

    :param step: seconds by which the wall clock was set forward since the connection was made.
    """
    return snapshot(end.connection, id=7, address="192.0.2.1:18555", now=end.now, wall=WALL + end.now + step)


class StatsTests(ConnectionTestCase):
    def test_before_the_connection(self) -> None:
        stats = stats_of(self.end(simnet(protocol_version=70001)))
        expected: dict[str, object] = {
            "id": 7,
            "address": "192.0.2.1:18555",
            "inbound": False,
            "state": "connecting",
            "services": 0,
            "user_agent": b"",
            "advertised_version": None,
            "negotiated_version": 70001,
            "connected_at": None,
            "last_send": None,
            "last_receive": None,
            "bytes_sent": 0,
            "bytes_received": 0,
            "messages_sent": 0,
            "messages_received": 0,
            "sent": {},
            "received": {},
            "starting_height": 0,
            "max_height": 0,
            "last_announced_block": None,
            "time_offset": 0,
            "relay": True,
            "ping_nonce": None,
            "ping_time": None,
            "ping_micros": None,
            "wants_headers": False,
            "witness": False,
            "known_inventory": 0,
            "queued_inventory": 0,
            "pending_requests": 0,
            "is_reading": True,
            "buffered_bytes": 0,
            "held_bytes": 0,
            "queue_length": 0,
            "queue_bytes": 0,
            "trailing_bytes": 0,
            "malformed": 0,
            "unknown_commands": 0,
            "bloom_refused": 0,
            "handler_errors": 0,
            "handling": None,
            "handling_seconds": None,
        }
        self.assertEqual(attrs.asdict(stats), expected)

    def test_what_the_remote_said_of_itself(self) -> None:
        end = self.end(inbound=True).made()
        end.advance(20)
        version = remote_version(
            services=Services.NETWORK | Services.WITNESS,
            protocol_version=70012,
            user_agent=b"/x:1.0.0/",
            last_block=77,
            timestamp=int(WALL) + 80,
            relay=False,
        )
        end.feed(version, VerAck())
        stats = stats_of(end)
        self.assertEqual((stats.services, stats.user_agent, stats.relay), (9, b"/x:1.0.0/", False))
        self.assertEqual((stats.advertised_version, stats.negotiated_version), (70012, 70012))
        self.assertEqual((stats.starting_height, stats.max_height, stats.time_offset), (77, 77, 60))
        self.assertEqual((stats.inbound, stats.state, stats.witness), (True, "ready", True))

    def test_advertised_and_negotiated_are_kept_apart(self) -> None:
        for ours, theirs, negotiated in ((70013, 70012, 70012), (70001, 70013, 70001), (70013, 80000, 70013)):
            end = self.end(simnet(protocol_version=ours)).made()
            end.feed(remote_version(protocol_version=theirs))
            stats = stats_of(end)
            self.assertEqual((stats.advertised_version, stats.negotiated_version), (theirs, negotiated))

    def test_bytes_and_messages_each_way_and_by_command(self) -> None:
        end = self.ready()
        before = stats_of(end)
        end.now = 5.0
        end.feed(Ping(1), Ping(2), Unknown("a", b"xyz"), Unknown("b"))
        end.now = 7.0
        end.feed(frame(Ping(3))[:10])
        after = stats_of(end)
        self.assertEqual(after.received["ping"], Traffic(2, 64))
        self.assertEqual(after.received["unknown"], Traffic(2, 51))
        self.assertEqual(after.sent["pong"], Traffic(2, 64))
        self.assertEqual(after.messages_received - before.messages_received, 4)
        self.assertEqual(after.messages_sent - before.messages_sent, 2)
        self.assertEqual(after.bytes_received - before.bytes_received, 64 + 51 + 10)
        self.assertEqual(after.bytes_sent - before.bytes_sent, 64)
        self.assertEqual((after.connected_at, after.last_send, after.last_receive), (WALL, WALL + 5, WALL + 7))
        self.assertEqual(after.unknown_commands, 2)
        self.assertEqual(after.bytes_sent, len(end.raw))

    def test_times_are_those_of_the_wall_clock_as_it_is_now(self) -> None:
        """Corrected since, it says when that was by the clock of today."""
        end = self.ready()
        end.now = 5.0
        end.feed(Ping(1))
        stats = stats_of(end, step=3600.0)
        self.assertEqual((stats.connected_at, stats.last_receive), (WALL + 3600, WALL + 3605))

    def test_it_is_frozen(self) -> None:
        """Later traffic does not change it, nor can its reader change the connection."""
        end = self.ready()
        end.feed(Ping(1))
        stats = stats_of(end)
        end.feed(Ping(2))
        self.assertEqual(stats.received["ping"], Traffic(1, 32))
        for field in attrs.fields(PeerStats):
            with self.assertRaises(attrs.exceptions.FrozenInstanceError):
                setattr(stats, field.name, None)
        stats.received["ping"].bytes = 0
        self.assertEqual(stats_of(end).received["ping"].bytes, 64)

    def test_what_is_known_of_the_remote(self) -> None:
        end = self.ready()
        end.connection.add_known_inventory(tx_vector(1))
        end.channel.last_announced_block = BLOCK
        end.feed(SendHeaders())
        stats = stats_of(end)
        self.assertEqual((stats.known_inventory, stats.wants_headers), (1, True))
        self.assertEqual(stats.last_announced_block, BLOCK)

    def test_the_queue(self) -> None:
        end = self.ready()
        end.connection.pause_writing()
        for _ in range(3):
            end.send(filler(100_000))
        stats = stats_of(end)
        self.assertEqual((stats.queue_length, stats.queue_bytes), (3, 300_000))

    def test_the_queue_of_what_waits_for_the_handshake(self) -> None:
        end = self.end().made()
        end.send(filler(100_000))
        stats = stats_of(end)
        self.assertEqual((stats.queue_length, stats.queue_bytes), (1, 100_000))

    def test_pings(self) -> None:
        end = self.ready(simnet(ping_interval=100.0))
        end.advance(100)
        [ping] = end.said()
        assert isinstance(ping, Ping)
        stats = stats_of(end)
        assert stats.ping_time is not None
        self.assertEqual((stats.ping_nonce, stats.ping_micros), (ping.nonce, None))
        self.assertTrue(85 <= stats.ping_time - WALL <= 100)
        end.advance(0.25)
        end.feed(ping.response())
        micros = stats_of(end).ping_micros
        assert micros is not None
        self.assertAlmostEqual(micros / 1e6, 100.25 - (stats.ping_time - WALL), 3)

    def test_what_waits(self) -> None:
        end = self.ready(holds={FeeFilter})
        end.feed(FeeFilter(1), FeeFilter(2), frame(FeeFilter(3))[:10])
        stats = stats_of(end)
        self.assertEqual((stats.buffered_bytes, stats.held_bytes, stats.is_reading), (42, 42 + 8, False))
        end.connection.queue_inventory(tx_vector(1), False, end.now)
        end.connection.queue_inventory(tx_vector(2), False, end.now)
        end.request(MemPool(), Inv)
        stats = stats_of(end)
        self.assertEqual((stats.queued_inventory, stats.pending_requests, stats.is_reading), (2, 1, True))

    def test_faults(self) -> None:
        end = self.ready()
        end.feed(Unknown("getblocks", bytes(45)))
        end.connection.handler_failed(KeyError(), "", "getblocks")
        end.feed(bytes(24))
        stats = stats_of(end)
        self.assertEqual((stats.trailing_bytes, stats.handler_errors, stats.malformed), (8, 1, 1))

    def test_the_message_in_hand(self) -> None:
        end = self.ready(holds={FeeFilter})
        end.now = 10.0
        end.feed(FeeFilter(1))
        end.now = 14.0
        stats = stats_of(end)
        self.assertEqual((stats.handling, stats.handling_seconds), ("feefilter", 4.0))
        end.finish()
        self.assertIsNone(stats_of(end).handling)

    def test_after_the_end(self) -> None:
        end = self.ready()
        end.close()
        end.lose()
        stats = stats_of(end)
        self.assertEqual((stats.state, stats.queue_length, stats.user_agent[:9]), ("closed", 0, b"/soterwir"))

    def test_another_thread_may_add_a_command_meanwhile(self) -> None:
        """The counters are copied as they are, whatever is added while that is done."""
        end = self.ready()
        end.feed(Ping(1), FeeFilter(1))
        received = end.channel.counters.received
        copy = Traffic.copy

        def copy_and_add(traffic: Traffic) -> Traffic:
            received.setdefault(f"new {len(received)}", Traffic())
            return copy(traffic)

        with mock.patch.object(Traffic, "copy", copy_and_add):
            stats = stats_of(end)
        self.assertIn("feefilter", stats.received)
