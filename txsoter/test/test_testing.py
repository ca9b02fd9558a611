"""``txsoter.testing``: links, transports and scripts in memory, as its users see them."""

from __future__ import annotations

import time

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from txsoter import REGTEST, SIMNET, CloseCause, ClosedBy, Listeners, PeerConfig, SoterPeerProtocol
from txsoter.core.state import State
from txsoter.errors import MalformedMessage
from txsoter.test.peer.cases import wrong
from txsoter.test.peer.support import TrialCase
from txsoter.testing import (
    CLIENT,
    SERVER,
    MemoryLink,
    MemoryTransport,
    ScriptedPeer,
    connected_pair,
    remote_version,
    repeatable,
    scripted,
)
from txsoter.wire import (
    ZERO_HASH,
    GetAddr,
    Inv,
    InventoryVector,
    Ping,
    Pong,
    Unknown,
    VerAck,
    Version,
    write_message,
)


class Noting(Protocol):
    """Notes what comes and goes."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.lost: list[type[BaseException] | None] = []
        self.calls: list[str] = []

    def dataReceived(self, data: bytes) -> None:
        self.data.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason.type)

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


class LinkTests(TrialCase):
    """Two ends of one link."""

    def setUp(self) -> None:
        self.client, self.server = Noting(), Noting()
        self.link = MemoryLink(self.client, self.server)

    def test_transports_are_what_they_say(self) -> None:
        for interface in (ITransport, IConsumer, IPushProducer):
            verifyObject(interface, self.link.client)
        self.assertEqual((self.link.client.getHost(), self.link.client.getPeer()), (CLIENT, SERVER))
        self.assertEqual((self.link.server.getHost(), self.link.server.getPeer()), (SERVER, CLIENT))

    def test_bytes_move_when_it_is_pumped_in_chunks_if_wanted(self) -> None:
        self.link.client.write(b"hel")
        self.link.client.writeSequence([b"l", b"o"])
        self.link.server.write(b"you")
        self.assertEqual((self.server.data, self.client.data), ([], []))
        self.assertTrue(self.link.step(2))
        self.assertEqual((self.server.data, self.client.data), ([b"he"], [b"yo"]))
        self.link.pump(2)
        self.assertEqual((self.server.data, self.client.data), ([b"he", b"ll", b"o"], [b"yo", b"u"]))
        self.assertFalse(self.link.step())

    def test_only_bytes_are_taken_as_by_real_transports(self) -> None:
        for data in (bytearray(b"x"), memoryview(b"x"), "x"):
            with self.assertRaises(TypeError):
                self.link.client.write(wrong(data))

    def test_a_remote_that_does_not_take_and_one_that_does_not_read(self) -> None:
        self.link.client.takes = False
        self.link.client.write(b"one")
        self.link.client.pauseProducing()
        self.link.server.write(b"two")
        self.link.pump()
        self.assertEqual((self.server.data, self.client.data, self.link.client.waiting), ([], [], 3))
        self.link.client.takes = True
        self.link.client.resumeProducing()
        self.link.pump()
        self.assertEqual((self.server.data, self.client.data), ([b"one"], [b"two"]))

    def test_a_producer_is_paused_past_64_kib_and_resumed_when_all_is_gone(self) -> None:
        transport = self.link.client
        transport.registerProducer(wrong(self.client), True)
        transport.write(bytes(65536))
        self.assertEqual(self.client.calls, [])
        transport.write(b"x")
        transport.write(b"x")
        self.assertEqual(self.client.calls, ["pause"])
        transport.take(65537)
        self.assertEqual(self.client.calls, ["pause"])
        transport.take()
        self.assertEqual((self.client.calls, transport.waiting), (["pause", "resume"], 0))

    def test_closing_waits_for_what_was_written_and_for_the_producer(self) -> None:
        transport = self.link.client
        transport.registerProducer(wrong(self.client), True)
        transport.write(b"bye")
        transport.stopProducing()
        transport.write(b"too late")
        self.link.pump()
        self.assertEqual((self.server.data, self.server.lost), ([b"bye"], []))
        transport.unregisterProducer()
        self.link.pump()
        self.assertEqual((self.client.lost, self.server.lost), ([ConnectionDone], [ConnectionDone]))
        transport.write(b"far too late")
        self.link.pump()
        self.assertEqual((self.server.data, transport.waiting), ([b"bye"], 0))

    def test_aborting_does_not_wait(self) -> None:
        self.link.server.write(b"bye")
        self.link.server.abortConnection()
        self.link.pump()
        self.assertEqual(
            (self.client.data, self.client.lost, self.server.lost), ([], [ConnectionLost], [ConnectionAborted])
        )

    def test_the_end_is_not_seen_by_one_that_does_not_read(self) -> None:
        self.link.server.pauseProducing()
        self.link.client.loseConnection()
        self.link.pump()
        self.assertEqual(self.server.lost, [])
        self.link.server.resumeProducing()
        self.link.pump()
        self.assertEqual(self.server.lost, [ConnectionDone])

    def test_both_may_close_at_once(self) -> None:
        self.link.client.loseConnection()
        self.link.server.loseConnection()
        self.link.pump()
        self.assertEqual((self.client.lost, self.server.lost), ([ConnectionDone], [ConnectionDone]))

    def test_a_reset_is_lost_at_both_ends_once(self) -> None:
        self.link.client.write(b"lost")
        self.link.reset()
        self.link.reset()
        self.link.pump()
        self.assertEqual((self.client.lost, self.server.lost), ([ConnectionLost], [ConnectionLost]))
        self.assertEqual(self.server.data, [])


class PairTests(TrialCase):
    """Peers in memory."""

    def test_the_example_of_the_module(self) -> None:
        pair = connected_pair()
        pair.client.send(Ping(7))
        pair.pump()
        self.assertEqual(pair.server.stats().received["ping"].messages, 1)
        pair.advance(125)
        self.assertIsNotNone(pair.client.stats().ping_micros)
        pair.server.disconnect()
        pair.pump(1)
        self.assertEqual((pair.client.state, pair.server.state), (State.CLOSED, State.CLOSED))
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_without_the_handshake_nothing_has_arrived(self) -> None:
        pair = connected_pair(handshake=False)
        self.assertEqual((pair.client.state, pair.server.stats().bytes_received), (State.NEGOTIATING, 0))
        pair.link.reset()
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_two_runs_are_alike(self) -> None:
        runs = []
        for _ in range(2):
            pair = connected_pair()
            pair.advance(600, 60)
            runs.append((pair.client.stats().ping_nonce, pair.server.stats().bytes_sent))
            pair.link.reset()
        self.assertEqual(runs[0], runs[1])
        clock = Clock()
        settings = repeatable(clock, PeerConfig(network=REGTEST, strict=True))
        self.assertEqual((settings.network, settings.strict, settings.clock), (REGTEST, True, clock))
        self.assertTrue(settings.allow_self_connections)

    def test_peers_of_ones_own_class(self) -> None:
        class Mine(SoterPeerProtocol):
            pass

        pair = connected_pair(protocol=Mine)
        script = scripted(protocol=Mine)
        self.assertEqual({type(each) for each in (pair.client, pair.server, script.peer)}, {Mine})
        for link in (pair.link, script.link):
            link.reset()

    def test_a_scripted_remote_says_and_hears(self) -> None:
        for inbound in (False, True):
            pair = scripted(inbound=inbound)
            self.assertEqual((pair.peer.state, pair.peer.inbound), (State.READY, inbound))
            self.assertEqual(pair.hear(), [])
            pair.say(Ping(1), b"\x16\x1c\x14")
            self.assertEqual((pair.remote.commands, pair.hear(), pair.remote.heard), (["pong"], [Pong(1)], []))
            self.assertIs(pair.transport.protocol, pair.peer)
            pair.advance(1)
            self.assertEqual(pair.clock.seconds(), 1)
            pair.peer.disconnect()
            self.assertIsNone(pair.remote.closed)
            pair.pump()
            self.assertIsNotNone(pair.remote.closed)
            self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_only_the_handshake_is_not_heard(self) -> None:
        """What an on_ready listener sends belongs to the test."""
        for inbound in (False, True):
            listeners = Listeners(on_ready=lambda peer: peer.send(GetAddr()))
            pair = scripted(PeerConfig(network=SIMNET, listeners=listeners), inbound=inbound)
            self.assertEqual((pair.remote.commands, pair.hear()), (["getaddr"], [GetAddr()]))
            pair.link.reset()

    def test_much_is_heard_in_a_time_that_grows_with_it(self) -> None:
        """64 MiB in pieces of 64 KiB: in half a minute once, and in a second now."""
        inv = write_message(Inv([InventoryVector(2, ZERO_HASH)] * 1000), SIMNET.magic)
        stream = inv * (64 * (1 << 20) // len(inv))
        remote, began = ScriptedPeer(), time.perf_counter()
        for start in range(0, len(stream), 1 << 16):
            remote.dataReceived(stream[start : start + (1 << 16)])
        self.assertLess(time.perf_counter() - began, 10)
        self.assertEqual((len(remote.heard), remote.unread), (len(stream) // len(inv), 0))
        self.assertEqual(remote.raw, stream)

    def test_much_moves_through_a_link_in_a_time_that_grows_with_it(self) -> None:
        """64 MiB that wait as one write and as thousands, taken in chunks of 64 KiB."""
        began = time.perf_counter()
        for size in (1 << 26, 1 << 13):
            source = MemoryTransport(Noting(), CLIENT, SERVER)
            for _ in range((1 << 26) // size):
                source.write(bytes(size))
            taken = [len(source.take(1 << 16)) for _ in range(1 << 10)]
            self.assertEqual((set(taken), source.waiting), ({1 << 16}, 0))
        self.assertLess(time.perf_counter() - began, 10)

    def test_an_empty_write_keeps_no_link_open(self) -> None:
        link = MemoryLink(Noting(), Noting())
        link.client.write(b"")
        link.client.loseConnection()
        link.pump()
        self.assertFalse(link.client.connected)

    def test_a_scripted_remote_reads_at_its_protocol_version_of_the_moment(self) -> None:
        remote = ScriptedPeer()
        remote.dataReceived(write_message(Ping(7), SIMNET.magic))
        remote.pver = 60000
        remote.dataReceived(write_message(Ping(), SIMNET.magic, 60000)[:20])
        self.assertEqual((remote.heard, remote.unread), ([Ping(7)], 20))
        remote.forget_unread()
        remote.dataReceived(write_message(Ping(), SIMNET.magic, 60000))
        self.assertEqual((remote.heard, remote.unread), ([Ping(7), Ping()], 0))
        with self.assertRaises(MalformedMessage):
            remote.dataReceived(write_message(Ping(7), SIMNET.magic))
        remote.raw = b""
        self.assertEqual(remote.raw, b"")

    def test_it_hears_what_comes_in_pieces(self) -> None:
        pair = scripted(handshake=False)
        pair.pump(1)
        [version] = pair.hear()
        self.assertIsInstance(version, Version)
        pair.handshake(remote_version(user_agent=b"/me:1.0.0/"))
        self.assertEqual((pair.peer.stats().user_agent, pair.hear()), (b"/me:1.0.0/", [VerAck()]))
        pair.peer.send(GetAddr())
        pair.peer.send(Unknown("what"))
        self.assertEqual((pair.hear(), pair.remote.raw[-24:][4:8]), ([GetAddr(), Unknown("what")], b"what"))
        pair.link.reset()

    def test_a_network_and_a_clock_of_ones_own(self) -> None:
        clock = Clock()
        clock.advance(5)
        pair = scripted(PeerConfig(network=REGTEST), clock=clock, handshake=False)
        pair.handshake(remote_version(genesis_hash=REGTEST.genesis_hash, timestamp=8))
        stats = pair.peer.stats()
        self.assertEqual((stats.state, stats.connected_at, stats.time_offset), ("ready", 5, 3))
        pair.link.reset()
        reason = self.successResultOf(pair.peer.when_closed())
        self.assertEqual((reason.by, reason.cause), (ClosedBy.NETWORK, CloseCause.CONNECTION_LOST))

    def test_a_scripted_peer_needs_a_transport_to_speak(self) -> None:
        with self.assertRaises(AssertionError):
            ScriptedPeer().say(VerAck())

    def test_a_transport_takes_streaming_producers_only(self) -> None:
        transport = MemoryTransport(Noting(), CLIENT, SERVER)
        with self.assertRaises(AssertionError):
            transport.registerProducer(wrong(Noting()), False)
