"""Waiting for a peer and looking at it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from txsoter import CloseCause, ConnectionClosed, HandshakeFailed, Listeners, PeerStats, SoterPeerProtocol
from txsoter.core.state import State
from txsoter.core.traffic import Traffic
from txsoter.errors import ClosedBy, LocalError
from txsoter.test.peer.cases import (
    WholePeerTestCase,
    as_tx,
    blocks,
    config,
    framed,
    hash_of,
    tx,
    wrong,
)
from txsoter.testing import CLIENT, SERVER, MemoryLink, MemoryTransport, remote_version
from txsoter.wire import (
    GetAddr,
    GetBlocks,
    Inv,
    Ping,
    Unknown,
    VerAck,
)


class WaitingTests(WholePeerTestCase):
    """`when_ready()`, `when_closed()`, `disconnect()`"""

    def test_each_caller_gets_a_deferred_of_its_own(self) -> None:
        pair = self.fresh()
        early: list[Deferred[Any]] = [pair.peer.when_ready(), pair.peer.when_ready()]
        pair.say(remote_version())
        for each in early:
            self.assertNoResult(each)
        early.append(pair.peer.when_ready())
        pair.say(VerAck())
        self.assertEqual([self.successResultOf(each) for each in (*early, pair.peer.when_ready())], [pair.peer] * 4)
        closed = [pair.peer.when_closed(), pair.peer.disconnect("done"), pair.peer.disconnect("again")]
        for each in closed:
            self.assertNoResult(each)
        pair.pump()
        reasons = [self.successResultOf(each) for each in (*closed, pair.peer.when_closed())]
        expected = (ClosedBy.LOCAL, CloseCause.DISCONNECT, "done")
        self.assertEqual([(each.by, each.cause, each.detail) for each in reasons], [expected] * 4)

    def test_when_ready_fails_with_the_reason_otherwise(self) -> None:
        pair = self.fresh()
        waiting = pair.peer.when_ready()
        pair.link.server.loseConnection()
        pair.pump()
        for each in (waiting, pair.peer.when_ready()):
            self.assertIs(self.error_of(each, HandshakeFailed).reason.cause, CloseCause.REMOTE_CLOSED)
        ready = self.scripted()
        ready.peer.disconnect()
        error = self.error_of(ready.peer.when_ready(), ConnectionClosed)
        self.assertNotIsInstance(error, HandshakeFailed)

    def test_one_may_be_cancelled_without_the_others(self) -> None:
        pair = self.fresh()
        first, second = pair.peer.when_ready(), pair.peer.when_ready()
        first.cancel()
        self.failureResultOf(first)
        pair.handshake()
        self.successResultOf(second)

    def test_a_transport_that_somebody_else_has_closed_was_closed_by_us(self) -> None:
        """As a ClientService does when it stops: that is not the remote's doing."""
        pair = self.scripted()
        closed = pair.peer.when_closed()
        pair.transport.abortConnection()
        pair.pump()
        reason = self.successResultOf(closed)
        self.assertEqual((reason.by, reason.cause), (ClosedBy.LOCAL, CloseCause.DISCONNECT))

    def test_a_transport_without_a_clock_is_closed_and_says_so(self) -> None:
        peer = SoterPeerProtocol(config())
        waiting = peer.when_ready()
        transport = MemoryTransport(peer, CLIENT, SERVER)
        with self.assertRaisesRegex(LocalError, "clock"):
            wrong(peer).makeConnection(transport)
        self.assertTrue(transport.aborted)
        MemoryLink._lose(transport, transport)
        self.failureResultOf(waiting, HandshakeFailed)
        self.assertIs(peer.state, State.CLOSED)


class StatsTests(WholePeerTestCase):
    """`stats()`: a frozen snapshot."""

    def test_before_there_is_a_connection(self) -> None:
        peer = SoterPeerProtocol(config(clock=Clock()))
        other = SoterPeerProtocol(config(), inbound=True)
        stats = peer.stats()
        expected = PeerStats(
            id=peer.id,
            address="nowhere",
            inbound=False,
            state="connecting",
            services=0,
            user_agent=b"",
            advertised_version=None,
            negotiated_version=70013,
            connected_at=None,
            last_send=None,
            last_receive=None,
            bytes_sent=0,
            bytes_received=0,
            messages_sent=0,
            messages_received=0,
            sent={},
            received={},
            starting_height=0,
            max_height=0,
            last_announced_block=None,
            time_offset=0,
            relay=True,
            ping_nonce=None,
            ping_time=None,
            ping_micros=None,
            wants_headers=False,
            witness=False,
            known_inventory=0,
            queued_inventory=0,
            pending_requests=0,
            is_reading=True,
            buffered_bytes=0,
            held_bytes=0,
            queue_length=0,
            queue_bytes=0,
            trailing_bytes=0,
            malformed=0,
            unknown_commands=0,
            bloom_refused=0,
            handler_errors=0,
            handling=None,
            handling_seconds=None,
        )
        self.assertEqual(stats, expected)
        self.assertNotEqual(other.stats().id, stats.id)
        self.assertIs(other.stats().inbound, True)
        with self.assertRaises(AttributeError):
            stats.id = 5  # type: ignore[misc]

    def test_of_a_conversation(self) -> None:
        clock = Clock()
        clock.advance(500)
        listeners = Listeners(on_getaddr=lambda peer, message: 1 // 0)
        pair = self.fresh(config(listeners=listeners), clock=clock)
        pair.hear()
        version_size = len(pair.remote.raw)
        clock.advance(1)
        remote = remote_version(services=8, last_block=33, timestamp=511, user_agent=b"/a:1.0.0/")
        pair.handshake(remote)
        clock.advance(1)
        spare = framed(Unknown("getblocks", GetBlocks().to_payload() + b"ears"))
        said = [framed(GetBlocks()), spare, framed(Unknown("what")), framed(GetAddr()), framed(Ping(1))]
        pair.say(*said)
        clock.advance(1)
        pair.peer.send(GetAddr())
        pair.peer.add_known_inventory(as_tx(1))
        pair.peer.update_height(40)
        pair.peer.update_height(39)
        pair.peer.update_announced_block(hash_of(7))
        pair.transport.pause_producer()
        pair.peer.send(Ping(2))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        stats = pair.peer.stats()
        pair.transport.resume_producer()
        verack = Traffic(1, 24)
        self.assertEqual(
            stats.sent,
            {"version": Traffic(1, version_size), "verack": verack, "pong": Traffic(1, 32), "getaddr": verack},
        )
        self.assertEqual(
            stats.received,
            {
                "version": Traffic(1, len(framed(remote))),
                "verack": verack,
                "getblocks": Traffic(2, 2 * len(spare) - 4),
                "unknown": verack,
                "getaddr": verack,
                "ping": Traffic(1, 32),
            },
        )
        self.assertEqual((stats.messages_sent, stats.messages_received), (4, 7))
        self.assertEqual(stats.bytes_sent, version_size + 24 + 32 + 24)
        self.assertEqual(stats.bytes_received, len(framed(remote)) + 24 + sum(map(len, said)))
        self.assertEqual((stats.state, stats.address, stats.inbound), ("ready", "192.0.2.2:18555", False))
        self.assertEqual((stats.connected_at, stats.last_receive, stats.last_send), (500, 502, 503))
        self.assertEqual((stats.services, stats.witness, stats.user_agent), (8, True, b"/a:1.0.0/"))
        self.assertEqual((stats.advertised_version, stats.negotiated_version), (70013, 70013))
        self.assertEqual((stats.starting_height, stats.max_height, stats.time_offset), (33, 40, 10))
        self.assertEqual((stats.last_announced_block, stats.known_inventory), (hash_of(7), 1))
        self.assertEqual((stats.queue_length, stats.queue_bytes), (1, 32))
        self.assertEqual((stats.trailing_bytes, stats.unknown_commands, stats.handler_errors), (4, 1, 1))
        self.assertEqual((stats.malformed, stats.bloom_refused), (0, 0))
        pair.pump()
        self.assertNotIn("ping", stats.sent)
        self.assertIn("ping", pair.peer.stats().sent)

    def test_what_waits_for_the_handshake_is_in_the_queue(self) -> None:
        pair = self.fresh()
        pair.peer.send(Ping(1))
        pair.peer.send(GetAddr())
        stats = pair.peer.stats()
        self.assertEqual((stats.queue_length, stats.queue_bytes), (2, 56))
        pair.handshake()
        stats = pair.peer.stats()
        self.assertEqual((stats.queue_length, stats.queue_bytes), (0, 0))

    def test_two_peers_agree_on_what_crossed(self) -> None:
        pair = self.connected_pair()
        pair.client.send(Inv([as_tx(1)]))
        pair.server.send(blocks(1)[0])
        pair.client.send(tx(2))
        pair.pump()
        client, server = pair.client.stats(), pair.server.stats()
        self.assertEqual((client.sent, client.received), (server.received, server.sent))
        self.assertEqual((client.bytes_sent, client.bytes_received), (server.bytes_received, server.bytes_sent))
