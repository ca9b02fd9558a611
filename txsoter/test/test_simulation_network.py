"""``txsoter.testing``'s simulated network, as those see it who test their own programs with it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionLost,
    NoProtocol,
)
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TimedOut
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint, IStreamServerEndpoint
from zope.interface.verify import verifyObject

from txsoter import CloseCause, ClosedBy, HandshakeFailed, Listeners, PeerConfig, SoterPeerProtocol, connect
from txsoter.networks import SIMNET
from txsoter.service import PeerService
from txsoter.service.peers import ReadyPeer
from txsoter.test.peer.support import TrialCase
from txsoter.test.simulation.plain import Counting
from txsoter.testing import Faults, SimulatedNetwork
from txsoter.wire import Inv, Ping, Pong, Unknown

KIB = 1024


class DiallingTests(TrialCase):
    def setUp(self) -> None:
        self.network = SimulatedNetwork(5)
        self.here, self.there = self.network.node(), self.network.node()
        self.addCleanup(self.network.close)

    def dial(self, factory: Counting, timeout: float = 30) -> Deferred[Any]:
        return self.here.client_endpoint(self.there, timeout=timeout).connect(factory)

    def test_endpoints_are_what_they_say(self) -> None:
        verifyObject(IStreamClientEndpoint, self.here.client_endpoint(self.there))
        verifyObject(IStreamServerEndpoint, self.there.server_endpoint(7))
        self.assertEqual(str(self.here.client_endpoint(self.there, 7)), "<from 10.0.0.1 to 10.0.0.2:7>")
        self.assertEqual(str(self.there.server_endpoint(7)), "<port 7 of 10.0.0.2>")
        self.assertEqual(str(self.there), "<node 10.0.0.2>")

    def test_a_port_is_one_listeners_at_a_time(self) -> None:
        factory = Counting()
        port = self.successResultOf(self.there.server_endpoint(7).listen(factory))
        verifyObject(IListeningPort, port)
        self.assertEqual((port.getHost().host, port.getHost().port, factory.started), ("10.0.0.2", 7, 1))
        self.failureResultOf(self.there.server_endpoint(7).listen(factory), CannotListenError)
        self.successResultOf(self.here.server_endpoint(7).listen(Counting()))
        port.stopListening()
        port.stopListening()
        self.assertEqual(factory.started, 0)
        self.successResultOf(self.there.server_endpoint(7).listen(factory))

    def test_refused_where_nobody_listens(self) -> None:
        factory = Counting()
        dialling = self.dial(factory)
        self.assertNoResult(dialling)
        self.assertEqual((factory.started, len(self.network.links)), (1, 1))
        with self.assertRaises(Refused):
            self.network.wait_for(dialling)
        self.assertEqual((factory.started, self.network.links, factory.made), (0, [], []))

    def test_timed_out_when_nothing_gets_through(self) -> None:
        self.there.listen()
        self.network.partition([self.here])
        with self.assertRaises(TimedOut):
            self.network.wait_for(self.dial(Counting(), timeout=7))
        self.assertEqual(self.network.clock.seconds(), 7)

    def test_a_partition_that_heals_in_time_only_delays(self) -> None:
        listening = Counting()
        self.there.server_endpoint().listen(listening)
        self.network.partition([self.here])
        dialling = self.dial(Counting())
        self.network.run(20)
        self.assertEqual(listening.made, [])
        self.network.heal()
        self.network.wait_for(dialling)
        self.assertEqual(len(listening.made), 1)

    def test_cancelled_at_any_time(self) -> None:
        """Before the other side knows of it, and after: nothing is left on either side."""
        for after in (0.0, 0.1, 0.2, 0.3, 0.4):
            listening, dialling = Counting(), Counting()
            port = self.successResultOf(self.there.server_endpoint().listen(listening))
            network, connecting = self.network, self.dial(dialling)
            latency = network.links[-1].latency
            network.run(after * latency * 10)
            connecting.cancel()
            if not dialling.made:
                self.failureResultOf(connecting, ConnectingCancelledError)
            network.run(2)
            port.stopListening()
            if not dialling.made:
                self.assertEqual((network.links, dialling.started, listening.started), ([], 0, 0))
                self.assertEqual([made.lost for made in listening.made], [[ConnectionLost]] * len(listening.made))

    def test_a_reset_ends_an_attempt(self) -> None:
        self.there.listen()
        dialling = self.dial(Counting())
        self.network.links[0].reset()
        self.failureResultOf(dialling, ConnectionLost)
        self.assertEqual(self.network.links, [])

    def test_factories_that_make_nothing(self) -> None:
        self.there.server_endpoint(1).listen(Counting(None))
        self.there.server_endpoint(2).listen(Counting())
        client = Counting()
        self.network.wait_for(self.here.client_endpoint(self.there, 1).connect(client))
        self.network.run(1)
        self.assertEqual(client.made[0].lost, [ConnectionDone])
        with self.assertRaises(NoProtocol):
            self.network.wait_for(self.here.client_endpoint(self.there, 2).connect(Counting(None)))
        self.network.run(1)
        self.assertEqual(self.network.links, [])


def ready_peer(network: SimulatedNetwork, client: Any) -> SoterPeerProtocol:
    """Whom a ClientService is connected to."""
    ready = network.wait_for(client.whenConnected())
    assert isinstance(ready, ReadyPeer)
    return ready.peer


class PeerTests(TrialCase):
    """Peers on simulated time."""

    def test_the_example_of_the_class(self) -> None:
        heard: list[Any] = []
        listeners = Listeners(on_ping=lambda peer, ping: heard.append(ping))
        network = SimulatedNetwork(seed=7)
        alice, bob = network.node(), network.node(PeerConfig(network=SIMNET, listeners=listeners))
        bob.listen()
        peer = network.wait_for(alice.connect(bob))
        self.assertEqual((alice.peers, [type(each) for each in bob.peers]), ([peer], [SoterPeerProtocol]))
        peer.send(Ping(7))
        network.run(10)
        self.assertEqual(heard, [Ping(7)])
        network.partition([alice])
        network.run(400)
        self.assertEqual((alice.peers, bob.peers), ([], []))
        self.assertIs(self.successResultOf(peer.when_closed()).cause, CloseCause.IDLE)
        network.heal()
        network.close()
        self.assertEqual(network.leftovers(), [])

    def test_configs_are_kept_but_for_time_and_chance(self) -> None:
        network = SimulatedNetwork(3)
        given = PeerConfig(network=SIMNET, trickle_interval=7)
        node, other = network.node(given), network.node()
        self.assertEqual((node.config.trickle_interval, node.config.clock), (7, network.clock))
        self.assertNotEqual(node.config.random.random(), other.config.random.random())
        self.assertEqual(network.nodes, [node, other])
        self.assertEqual((node.address().port, node.address(3).port, node.host), (18555, 3, "10.0.0.1"))

    def test_a_partition_loses_nothing(self) -> None:
        heard: list[Any] = []
        listeners = Listeners(on_unknown=lambda peer, message: heard.append(message))
        network = SimulatedNetwork(4)
        nodes = [network.node(PeerConfig(network=SIMNET, listeners=listeners)) for _ in range(3)]
        nodes[2].listen()
        far, near = (network.wait_for(node.connect(nodes[2])) for node in nodes[:2])
        network.partition([nodes[0]])
        far.send(Unknown("far"))
        near.send(Unknown("near"))
        network.run(60)
        self.assertEqual(heard, [Unknown("near")])
        network.partition([nodes[0], nodes[1]], [nodes[2]])
        near.send(Unknown("again"))
        network.run(60)
        self.assertEqual(heard, [Unknown("near")])
        network.heal()
        network.run(5)
        self.assertEqual(sorted(message.command for message in heard), ["again", "far", "near"])
        network.close()

    def test_why_connections_end(self) -> None:
        """A peer is told the same as by TCP."""
        for act, cause, by in (
            (lambda end: end.link.reset(), CloseCause.CONNECTION_LOST, ClosedBy.NETWORK),
            (lambda end: end.other.abortConnection(), CloseCause.CONNECTION_LOST, ClosedBy.NETWORK),
            (lambda end: end.other.loseWriteConnection(), CloseCause.REMOTE_CLOSED, ClosedBy.REMOTE),
            (lambda end: end.other.protocol.disconnect(), CloseCause.REMOTE_CLOSED, ClosedBy.REMOTE),
            (lambda end: end.loseConnection(), CloseCause.DISCONNECT, ClosedBy.LOCAL),
        ):
            network = SimulatedNetwork(5)
            alice, bob = network.node(), network.node()
            bob.listen()
            peer = network.wait_for(alice.connect(bob))
            closed = peer.when_closed()
            act(peer.transport)
            reason = network.wait_for(closed)
            self.assertEqual((reason.cause, reason.by), (cause, by))
            network.close()

    def test_a_remote_that_takes_nothing(self) -> None:
        """Back-pressure reaches the peer: send() waits, and in the end the remote is closed."""
        network = SimulatedNetwork(6, window=(256 * KIB, 256 * KIB))
        alice, bob = network.node(), network.node()
        bob.listen()
        peer = network.wait_for(alice.connect(bob))
        network.run(1)
        peer.transport.other.hold(1000)
        sent = [peer.send(Unknown("filler", bytes(100 * KIB))) for _ in range(4)]
        network.run(30)
        self.assertEqual([each.called for each in sent], [True, True, False, False])
        self.assertGreater(peer.stats().queue_bytes, 100 * KIB)
        for each in sent:
            each.addErrback(lambda failure: None)
        self.assertIs(network.wait_for(peer.when_closed(), 300).cause, CloseCause.WRITE_TIMEOUT)
        network.close()

    def test_a_service_works_unchanged(self) -> None:
        network = SimulatedNetwork(7)
        alice, bob = network.node(), network.node()
        serving = PeerService(bob.config, network.clock)
        serving.listen(bob.server_endpoint(), "bob's port")
        dialling = PeerService(alice.config, network.clock, lambda failures: 3.0)
        client = dialling.dial(alice.client_endpoint(bob), "bob")
        dialling.startService()
        network.run(1)
        self.assertEqual(dialling.peers, frozenset())
        serving.startService()
        first = ready_peer(network, client)
        first.transport.link.reset()
        network.run(0.5)
        self.assertNotEqual(ready_peer(network, client).id, first.id)
        for service in (dialling, serving):
            network.wait_for(service.stopService())
        network.close()

    def test_a_refusal_is_told_to_the_one_who_connects(self) -> None:
        network = SimulatedNetwork(8)
        alice = network.node(PeerConfig(network=SIMNET, user_agent_name="agent", user_agent_version="1.0.0"))
        bob = network.node(PeerConfig(network=SIMNET, user_agent_name="agent", user_agent_version="2.0.0"))
        bob.listen(7)
        with self.assertRaises(ConnectError):
            network.wait_for(alice.connect(bob))
        with self.assertRaises(HandshakeFailed):
            network.wait_for(alice.connect(bob, 7))
        network.close()

    def test_a_connect_that_is_cancelled_in_the_handshake_leaves_nothing(self) -> None:
        network = SimulatedNetwork(9)
        alice, bob = network.node(), network.node()
        bob.listen()
        connecting = connect(alice.client_endpoint(bob), alice.config)
        network.run_until(lambda: alice.peers)
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        network.close()


class SeedTests(TrialCase):
    """What comes of a seed."""

    def life(self, seed: int, disturbed: bool = True) -> tuple[str, float, int]:
        network = SimulatedNetwork(seed)
        listeners = Listeners(on_inv=lambda peer, inv: peer.send(Unknown("heard")))
        nodes = [network.node(PeerConfig(network=SIMNET, listeners=listeners, random=network.random)) for _ in range(5)]
        for node in nodes:
            node.listen()
        for node in nodes:
            for to in network.random.sample(nodes, 3):
                node.connect(to).addErrback(lambda failure: None)
        if disturbed:
            network.disturb(Faults(reset=20, hold=10, partition=40))
        for _ in range(30):
            network.run(network.random.random() * 10)
            for peer in network.random.choice(nodes).peers:
                peer.send(Inv())
        network.close()
        return network.digest, network.clock.seconds(), len(network.links)

    def test_the_same_life_again(self) -> None:
        first = [self.life(seed) for seed in range(5)]
        again = [self.life(seed) for seed in range(5)]
        self.assertEqual(first, again)
        self.assertEqual(len({digest for digest, _, _ in first}), 5)
        self.assertNotEqual(self.life(0, disturbed=False)[0], first[0][0])

    def test_what_goes_wrong_is_what_was_asked_for(self) -> None:
        def lost(faults: Faults) -> int:
            network = SimulatedNetwork(3)
            nodes = [network.node() for _ in range(4)]
            for node in nodes:
                node.listen()
            peers = [network.wait_for(node.connect(nodes[0])) for node in nodes[1:]]
            network.disturb(Faults(reset=1))
            network.disturb(faults)
            network.run(100)
            closed = [peer.stats().state for peer in peers].count("closed")
            split = not all(network.reaches(node.host, nodes[0].host) for node in nodes)
            network.calm()
            self.assertTrue(all(network.reaches(node.host, nodes[0].host) for node in nodes))
            network.run(100)
            self.assertEqual([peer.stats().state for peer in peers].count("closed"), closed)
            network.close()
            return closed + 10 * split

        self.assertEqual(lost(Faults(reset=None, hold=None, partition=None)), 0)
        self.assertEqual(lost(Faults(reset=5, hold=None, partition=None)), 3)
        self.assertEqual(lost(Faults(reset=None, hold=1, partition=None)), 0)
        self.assertEqual(lost(Faults(reset=None, hold=None, partition=10, partition_seconds=(90, 91))), 10)


class TimeTests(TrialCase):
    """Letting time go on, and the end of it."""

    def test_until_something_holds(self) -> None:
        network = SimulatedNetwork()
        done: list[float] = []
        for seconds in (3, 1, 2):
            network.clock.callLater(seconds, lambda: done.append(network.clock.seconds()))
        network.run_until(lambda: len(done) == 2)
        self.assertEqual((done, network.clock.seconds()), ([1, 2], 2))
        with self.assertRaisesRegex(TimeoutError, "10 s of simulated time"):
            network.run_until(lambda: False, 10)
        self.assertEqual((done, network.clock.seconds()), ([1, 2, 3], 12))
        network.run_until(lambda: network.clock.seconds() >= 15, 3)

    def test_until_a_deferred_has_fired(self) -> None:
        network = SimulatedNetwork()
        good: Deferred[int] = Deferred()
        bad: Deferred[int] = Deferred()
        network.clock.callLater(5, good.callback, 7)
        network.clock.callLater(6, bad.errback, ValueError("bad"))
        self.assertEqual((network.wait_for(good), network.clock.seconds()), (7, 5))
        with self.assertRaisesRegex(ValueError, "bad"):
            network.wait_for(bad)
        with self.assertRaises(TimeoutError):
            network.wait_for(Deferred(), 3)

    def test_the_end_says_what_is_left(self) -> None:
        network = SimulatedNetwork()
        alice, bob = network.node(), network.node()
        bob.listen()
        peer = network.wait_for(alice.connect(bob))
        network.partition([alice])
        self.assertEqual(network.leftovers()[:2], ["port 18555 of 10.0.0.2", "<link 1: 10.0.0.1 to 10.0.0.2>"])
        network.clock.callLater(1000, peer.disconnect)
        with self.assertRaisesRegex(AssertionError, "^left after the end: <DelayedCall .*disconnect"):
            network.close()
        self.assertEqual((network.links, network.ports, alice.transports), ([], {}, []))
        # it does not wait longer than it takes
        self.assertLess(network.clock.seconds(), 130)

    def test_pongs_take_their_time(self) -> None:
        network = SimulatedNetwork(latency=(0.2, 0.2))
        alice, bob = network.node(), network.node()
        bob.listen()
        peer = network.wait_for(alice.connect(bob))
        network.wait_for(peer.request(Ping(1), Pong))
        micros = peer.stats().ping_micros
        assert micros is not None
        self.assertTrue(400_000 <= micros <= 800_000)
        network.close()
