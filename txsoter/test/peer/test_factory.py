"""Factories, ``connect()`` and ``listen()``, on endpoints in memory."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectError, ConnectionRefusedError  # noqa: A004
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from txsoter import (
    CloseCause,
    HandshakeFailed,
    Listeners,
    PeerConfig,
    SoterClientFactory,
    SoterPeerProtocol,
    SoterServerFactory,
    connect,
    listen,
)
from txsoter.core.state import State
from txsoter.test.peer.cases import WholePeerTestCase, config, wrong
from txsoter.testing import CLIENT, SERVER, MemoryLink, ScriptedPair, ScriptedPeer, remote_version
from txsoter.wire import Reject


@implementer(IStreamClientEndpoint)
class MemoryClientEndpoint:
    """Connects to a scripted remote when :meth:`accept` is called."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.cancelled = 0

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.factory = protocolFactory
        self.waiting: Deferred[IProtocol] = Deferred(self._cancelled)
        return self.waiting

    def _cancelled(self, waiting: object) -> None:
        self.cancelled += 1

    def accept(self) -> ScriptedPair:
        """Make the connection."""
        peer = wrong(self.factory.buildProtocol(SERVER))
        remote = ScriptedPeer()
        pair = ScriptedPair(peer, remote, MemoryLink(peer, remote, CLIENT, SERVER), self.clock)
        self.waiting.callback(peer)
        pair.pump()
        return pair


class ConnectTests(WholePeerTestCase):
    """ "`connect(endpoint, config) -> Deferred[SoterPeerProtocol]` (ready)"."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.endpoint = MemoryClientEndpoint(self.clock)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def dial(self) -> Deferred[SoterPeerProtocol]:
        return connect(self.endpoint, config(clock=self.clock))

    def close(self, pair: ScriptedPair) -> None:
        pair.peer.disconnect()
        pair.pump()
        self.assertIs(pair.peer.state, State.CLOSED)

    def test_it_fires_with_the_peer_after_both_veracks(self) -> None:
        dialled = self.dial()
        pair = self.endpoint.accept()
        self.assertNoResult(dialled)
        pair.handshake()
        self.assertIs(self.successResultOf(dialled), pair.peer)
        self.close(pair)

    def test_an_endpoint_that_cannot_connect_gives_its_own_failure(self) -> None:
        for error in (ConnectionRefusedError("refused"), ConnectError("no road"), ValueError("bad certificate")):
            dialled = self.dial()
            self.endpoint.waiting.errback(error)
            self.assertIs(self.failureResultOf(dialled, type(error)).value, error)

    def test_a_remote_that_fails_the_handshake_says_which_check(self) -> None:
        dialled = self.dial()
        pair = self.endpoint.accept()
        pair.handshake(remote_version(protocol_version=5))
        self.assertIs(self.error_of(dialled, HandshakeFailed).reason.cause, CloseCause.OBSOLETE_VERSION)
        dialled = self.dial()
        pair = self.endpoint.accept()
        pair.say(Reject(b"version", 0x11, b"old"))
        reason = self.error_of(dialled, HandshakeFailed).reason
        self.assertEqual((reason.cause, reason.code, reason.reject_reason), (CloseCause.REJECTED, 0x11, "old"))

    def test_cancelled_while_dialling_it_gives_up(self) -> None:
        dialled = self.dial()
        dialled.cancel()
        self.failureResultOf(dialled, CancelledError)
        self.assertEqual(self.endpoint.cancelled, 1)

    def test_cancelled_during_the_handshake_it_closes_what_was_opened(self) -> None:
        dialled = self.dial()
        pair = self.endpoint.accept()
        dialled.cancel()
        self.failureResultOf(dialled, CancelledError)
        pair.pump()
        self.assertIsNotNone(pair.remote.closed)
        self.assertIs(self.successResultOf(pair.peer.when_closed()).cause, CloseCause.DISCONNECT)


@implementer(IStreamServerEndpoint)
class MemoryServerEndpoint:
    """Notes what is to listen."""

    def __init__(self, port: IListeningPort) -> None:
        self.port = port

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        self.factory = protocolFactory
        return succeed(self.port)


class FactoryTests(WholePeerTestCase):
    """`SoterClientFactory(config)`, `SoterServerFactory(config)`, `listen()`"""

    def dial(self, factory: SoterClientFactory | SoterServerFactory, clock: Clock) -> ScriptedPair:
        peer, remote = factory.buildProtocol(None), ScriptedPeer()
        if peer.inbound:
            return ScriptedPair(peer, remote, MemoryLink(remote, peer), clock)
        return ScriptedPair(peer, remote, MemoryLink(peer, remote), clock)

    def test_they_make_the_peers_of_their_side_with_their_config(self) -> None:
        settings = config()
        for factory, inbound in ((SoterClientFactory(settings), False), (SoterServerFactory(settings), True)):
            verifyObject(IProtocolFactory, factory)
            self.assertIsInstance(factory, Factory)
            peer = factory.buildProtocol(SERVER)
            self.assertIs(type(peer), SoterPeerProtocol)
            self.assertEqual((peer.inbound, peer.config, peer.factory), (inbound, settings, factory))

    def test_of_a_class_of_the_applications_own(self) -> None:
        class Mine(SoterPeerProtocol):
            pass

        self.assertIs(type(SoterServerFactory(config(), Mine).buildProtocol(None)), Mine)

    def test_they_know_the_peers_that_live_and_forget_them_with_their_end(self) -> None:
        """After close nothing remains: no reference from the factory."""
        clock = Clock()
        for factory in (SoterClientFactory(config(clock=clock)), SoterServerFactory(config(clock=clock))):
            pairs = [self.dial(factory, clock) for _ in range(3)]
            self.assertEqual(factory.peers, {pair.peer for pair in pairs})
            for pair in pairs:
                pair.handshake()
            pairs[0].peer.disconnect()
            pairs[0].pump()
            pairs[1].link.reset()
            self.assertEqual(factory.peers, {pairs[2].peer})
            self.assertEqual([pair.peer.factory for pair in pairs], [None, None, factory])
            pairs[2].peer.disconnect()
            pairs[2].pump()
            self.assertEqual((factory.peers, clock.getDelayedCalls()), (set(), []))

    def test_disconnect_all(self) -> None:
        clock = Clock()
        factory = SoterServerFactory(config(clock=clock))
        self.assertEqual(self.successResultOf(factory.disconnect_all()), [])
        pairs = [self.dial(factory, clock) for _ in range(3)]
        pairs[0].handshake()
        unconnected = factory.buildProtocol(None)
        ended = factory.disconnect_all("shutting down")
        self.assertNoResult(ended)
        for pair in pairs:
            pair.pump()
        reasons = self.successResultOf(ended)
        told = [(each.cause, each.detail) for each in reasons]
        self.assertEqual(told, [(CloseCause.DISCONNECT, "shutting down")] * 4)
        self.assertEqual((factory.peers, clock.getDelayedCalls()), (set(), []))
        self.assertIs(unconnected.state, State.CLOSED)

    def test_disconnect_all_ends_them_in_the_order_in_which_they_were_made(self) -> None:
        """A set's order is another one in each run, and a simulation that ends so could not be repeated."""
        ended: list[SoterPeerProtocol] = []
        listeners = Listeners(on_closed=lambda peer, reason: ended.append(peer))
        factory = SoterServerFactory(config(listeners=listeners))
        peers = [factory.buildProtocol(None) for _ in range(30)]
        self.successResultOf(factory.disconnect_all())
        self.assertEqual(ended, peers)

    def test_listen_gives_the_endpoints_port_and_makes_inbound_peers(self) -> None:
        port: IListeningPort = wrong("a port")
        endpoint = MemoryServerEndpoint(port)
        settings = PeerConfig()
        self.assertIs(self.successResultOf(listen(endpoint, settings)), port)
        assert isinstance(endpoint.factory, SoterServerFactory)
        self.assertIs(endpoint.factory.config, settings)

    def test_a_factory_of_another_kind_need_not_keep_account(self) -> None:
        clock = Clock()
        peer, remote = SoterPeerProtocol(config(clock=clock)), ScriptedPeer()
        peer.factory = Factory()
        pair = ScriptedPair(peer, remote, MemoryLink(peer, remote), clock)
        peer.disconnect()
        pair.pump()
        self.assertIsNone(peer.factory)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_a_peer_that_its_factory_has_forgotten_already_ends_all_the_same(self) -> None:
        clock = Clock()
        factory = SoterServerFactory(config(clock=clock))
        pair = self.dial(factory, clock)
        factory.forget(pair.peer)
        pair.peer.connectionLost(Failure(ConnectError()))
        pair.peer.connectionLost(Failure(ConnectError()))
        self.assertIs(self.successResultOf(pair.peer.when_closed()).cause, CloseCause.CONNECTION_LOST)
        self.assertEqual(clock.getDelayedCalls(), [])
