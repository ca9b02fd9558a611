"""Tests of :mod:`txsoter.peer.lifecycle`: what remains after the end, and which transports will do."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, Logger, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from txsoter.core.handshake import LIVE_NONCES
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy, ConnectionClosed, LocalError
from txsoter.peer.factory import SoterClientFactory
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.test.peer.support import PeerTestCase, simnet
from txsoter.testing import SERVER, MemoryLink, ScriptedPeer, remote_version, scripted
from txsoter.wire import (
    GetBlocks,
    GetHeaders,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    Ping,
    Reject,
    Unknown,
    VerAck,
    Version,
)

VECTOR = InventoryVector(InventoryType.TX, bytes(range(32)))


@implementer(ITransport)
class BareTransport:
    """No more than ITransport: no producers, no abort."""

    def __init__(self) -> None:
        self.written = b""
        self.losing = 0

    def write(self, data: bytes) -> None:
        self.written += data

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.losing += 1

    def getPeer(self) -> IPv4Address:
        return SERVER

    def getHost(self) -> IPv4Address:
        return SERVER


@implementer(ILogObserver)
def no_observer(event: LogEvent) -> None:
    """Forget it."""


class UnloggedPeer(SoterPeerProtocol):
    """Until logging begins Twisted keeps all log events, and with them the peers that they are about."""

    log = Logger(observer=no_observer)


def connect(protocol: Any, transport: object) -> None:
    """Give ``protocol`` its transport."""
    protocol.makeConnection(transport)


class NothingRemainsTests(PeerTestCase):
    """After close nothing remains: no timer, no pending Deferred, no reference from the factory."""

    def busy(self, factory: SoterClientFactory, clock: Clock) -> tuple[SoterPeerProtocol, MemoryLink, ScriptedPeer]:
        peer = factory.buildProtocol(SERVER)
        remote = ScriptedPeer()
        link = MemoryLink(peer, remote)
        remote.say(remote_version(), VerAck())
        link.pump()
        self.assertIs(peer.state, State.READY)
        link.client.takes = False
        peer.queue_inventory(VECTOR)
        peer.send(GetBlocks())
        for _ in range(20):
            peer.send(Unknown("x", bytes(100 * 1024)))
        return peer, link, remote

    def test_however_it_ends(self) -> None:
        ends: tuple[Callable[[SoterPeerProtocol, MemoryLink, Clock], object], ...] = (
            lambda peer, link, clock: link.reset(),
            lambda peer, link, clock: peer.disconnect(),
            lambda peer, link, clock: link.server.loseConnection(),
            lambda peer, link, clock: link.server.abortConnection(),
            lambda peer, link, clock: clock.pump([1.0] * 100),
        )
        for end in ends:
            clock = Clock()
            factory = SoterClientFactory(simnet(clock=clock), UnloggedPeer)
            nonces = len(LIVE_NONCES)
            peer, link, remote = self.busy(factory, clock)
            self.assertEqual((factory.peers, len(LIVE_NONCES)), ({peer}, nonces + 1))
            request = peer.request(GetHeaders(), Headers, timeout=None)
            # the ticker, that for trickling, and one for the earliest exact deadline
            self.assertEqual(len(clock.getDelayedCalls()), 3)
            end(peer, link, clock)
            link.client.takes = True
            link.pump()
            self.assertIs(peer.state, State.CLOSED)
            self.assertEqual((clock.getDelayedCalls(), factory.peers, len(LIVE_NONCES)), ([], set(), nonces))
            self.assertIsNone(peer.factory)
            self.failureResultOf(request, ConnectionClosed)
            seen = weakref.ref(peer)
            del peer, link, remote, request, end
            gc.collect()
            self.assertIsNone(seen())

    def test_log_events_that_are_kept_do_not_keep_it(self) -> None:
        """Found by fuzz/peer.py: those of what could not be encoded held the error, and by its frames the peer."""
        events: list[LogEvent] = []
        observer = implementer(ILogObserver)(lambda event: events.append(event))
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        unwritable = Reject(b"version", 999, b"no")
        for hooks in ({"on_version": lambda peer, version: unwritable}, {"newest_block": lambda: 1 << 40}):
            pair = scripted(simnet(**hooks), handshake=False, inbound=True)
            pair.handshake()
            self.assertIs(pair.peer.state, State.CLOSED)
            seen = weakref.ref(pair.peer)
            del pair
            gc.collect()
            self.assertIsNone(seen())
        told = [event["text"].removeprefix("not sent: ") for event in events if "text" in event]
        self.assertEqual([each.partition(" = ")[0] for each in told], ["Reject.code", "Version.last_block"])

    def test_a_factory_of_another_kind(self) -> None:
        clock = Clock()
        factory = Factory.forProtocol(lambda: SoterPeerProtocol(simnet(clock=clock)))
        peer = factory.buildProtocol(SERVER)
        assert isinstance(peer, SoterPeerProtocol)
        link = MemoryLink(peer, ScriptedPeer())
        link.reset()
        self.assertIs(self.successResultOf(peer.when_closed()).cause, CloseCause.CONNECTION_LOST)
        self.assertIsNone(peer.factory)

    def test_handlers_that_finish_after_the_end_do_no_harm(self) -> None:
        for outcome in (None, ValueError("late")):
            gate: Deferred[None] = Deferred()
            handled: list[int] = []

            async def on_ping(peer: SoterPeerProtocol, ping: Ping, gate: Deferred[None] = gate) -> None:
                await gate
                peer.send(Ping())
                peer.queue_inventory(VECTOR)

            pair = self.scripted(on_ping=on_ping, on_inv=lambda peer, inv, handled=handled: handled.append(1))
            pair.say(Ping(), Inv())
            pair.link.reset()
            reason = self.assert_closed(pair, CloseCause.CONNECTION_LOST, ClosedBy.NETWORK)
            if outcome is None:
                gate.callback(None)
            else:
                gate.errback(outcome)
            self.assertEqual((pair.clock.getDelayedCalls(), handled), ([], []))
            self.assertIs(self.successResultOf(pair.peer.when_closed()), reason)
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 0 if outcome is None else 1)


class ClosingTests(PeerTestCase):
    def test_a_remote_that_takes_nothing_is_aborted_in_the_end(self) -> None:
        """The wait itself has a deadline."""
        pair = self.scripted(close_timeout=7.0)
        pair.transport.takes = False
        pair.peer.send(Ping())
        pair.peer.disconnect()
        pair.advance(6.5, 0.5)
        self.assertFalse(pair.transport.aborted)
        pair.clock.advance(0.5)
        self.assertTrue(pair.transport.aborted)
        self.assert_closed(pair, CloseCause.DISCONNECT)

    def test_none_waits_for_ever(self) -> None:
        pair = self.scripted(close_timeout=None)
        pair.transport.takes = False
        pair.peer.send(Ping())
        pair.peer.disconnect()
        pair.advance(1000, 100)
        self.assertEqual((pair.clock.getDelayedCalls(), pair.peer.state), ([], State.CLOSING))

    def test_nothing_is_read_any_more(self) -> None:
        pair = self.scripted()
        pair.peer.disconnect()
        before = pair.peer.stats()
        pair.peer.dataReceived(b"rubbish")
        self.assertEqual(pair.peer.stats(), before)

    def test_a_transport_without_abort_is_closed_again(self) -> None:
        clock = Clock()
        peer = SoterPeerProtocol(simnet(clock=clock, close_timeout=7.0))
        transport = BareTransport()
        connect(peer, transport)
        peer.disconnect()
        self.assertEqual(transport.losing, 1)
        clock.advance(7)
        self.assertEqual(transport.losing, 2)
        peer.connectionLost()
        self.assert_leaves_nothing(clock, peer)


class OtherTransportTests(PeerTestCase):
    def test_without_back_pressure_the_handshake_works(self) -> None:
        """Neither producers nor abortConnection are needed."""
        clock = Clock()
        peer = SoterPeerProtocol(simnet(clock=clock))
        transport = BareTransport()
        connect(peer, transport)
        remote = ScriptedPeer()
        connect(remote, BareTransport())
        remote.say(remote_version(), VerAck())
        peer.dataReceived(remote.transport.written)  # type: ignore[union-attr]
        self.assertIs(self.successResultOf(peer.when_ready()), peer)
        self.successResultOf(peer.send(Unknown("x", bytes(300 * 1024))))
        remote.dataReceived(transport.written)
        self.assertEqual([type(each) for each in remote.heard], [Version, VerAck, Unknown])
        peer.connectionLost()
        self.assert_leaves_nothing(clock, peer)

    def test_twisteds_string_transport(self) -> None:
        clock = Clock()
        peer = SoterPeerProtocol(simnet(clock=clock), inbound=True)
        transport = StringTransport()
        connect(peer, transport)
        self.assertEqual(transport.value(), b"")
        remote = ScriptedPeer()
        connect(remote, BareTransport())
        remote.say(remote_version(), VerAck())
        peer.dataReceived(remote.transport.written)  # type: ignore[union-attr]
        remote.dataReceived(transport.value())
        self.assertEqual(remote.commands, ["version", "verack"])
        self.assertEqual(peer.address, "192.168.1.1:54321")
        peer.disconnect()
        self.assertTrue(transport.disconnecting)
        peer.connectionLost()
        self.assert_leaves_nothing(clock, peer)

    def test_the_clock_is_the_transports_reactor_by_default(self) -> None:
        clock = Clock()
        peer = SoterPeerProtocol(simnet(clock=None))
        transport = StringTransport()
        transport.reactor = clock  # type: ignore[attr-defined]
        connect(peer, transport)
        self.assertGreater(len(clock.getDelayedCalls()), 0)
        peer.connectionLost()
        self.assert_leaves_nothing(clock, peer)

    def test_without_any_clock_the_connection_is_refused_and_everybody_told(self) -> None:
        factory = SoterClientFactory(simnet(clock=None))
        peer = factory.buildProtocol(SERVER)
        ready, sent = peer.when_ready(), peer.send(Ping())
        transport = StringTransport()
        with self.assertRaises(LocalError) as caught:
            connect(peer, transport)
        self.assertIn("PeerConfig.clock", str(caught.exception))
        self.assertTrue(transport.disconnecting)
        peer.connectionLost(Failure(ConnectionLost()))
        for each in (ready, sent):
            self.failureResultOf(each, ConnectionClosed)
        self.assertEqual((peer.state, factory.peers), (State.CLOSED, set()))

    def test_calls_from_other_threads_need_a_reactor(self) -> None:
        pair = self.scripted()
        with ThreadPoolExecutor(1) as another:
            for verb in (pair.peer.disconnect, pair.peer.when_closed):
                self.assertIsInstance(another.submit(verb).exception(), LocalError)
