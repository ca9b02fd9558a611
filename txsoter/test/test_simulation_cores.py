"""Cores in the simulated network: connections without transports, and all that goes wrong between them."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from txsoter import SIMNET, CloseCause, ClosedBy, ConnectionClosed, Listeners, PeerConfig
from txsoter.core.state import State
from txsoter.errors import RequestTimedOut
from txsoter.testing import CoreNode, CorePeer, Faults, SimulatedNetwork
from txsoter.wire import InventoryType, InventoryVector, Message, Ping, Pong, Unknown

KIB = 1024


class CoreTestCase(TestCase):
    """A network of cores; when a test is over, nothing may be left in it."""

    def network(self, seed: int = 7, **options: Any) -> SimulatedNetwork:
        network = SimulatedNetwork(seed, **options)
        self.addCleanup(network.close)
        return network

    def nodes(self, network: SimulatedNetwork, count: int = 2, **fields: Any) -> list[CoreNode]:
        """Some nodes; ``on_…`` fields are their listeners."""
        hooks = {name: fields.pop(name) for name in list(fields) if name.startswith("on_")}
        config = PeerConfig(network=SIMNET, listeners=Listeners(**hooks), **fields)
        return [network.core_node(config) for _ in range(count)]

    def connected(self, network: SimulatedNetwork, **fields: Any) -> tuple[CorePeer, CorePeer]:
        """Both ends of a connection that is ready."""
        alice, bob = self.nodes(network, **fields)
        client = alice.connect(bob)
        network.run(3)
        [server] = bob.peers
        self.assertEqual((client.state, server.state), (State.READY, State.READY))
        return client, server

    def assert_closed(self, peer: CorePeer, by: ClosedBy, cause: CloseCause) -> None:
        self.assertIs(peer.state, State.CLOSED)
        assert peer.close_reason is not None
        self.assertEqual((peer.close_reason.by, peer.close_reason.cause), (by, cause))
        self.assertNotIn(peer, peer.node.peers)


class ConversationTests(CoreTestCase):
    """What a program does with a core."""

    def test_messages_arrive_and_their_senders_are_told(self) -> None:
        network = self.network()
        heard: list[Message] = []
        client, server = self.connected(network, on_unknown=lambda peer, message: heard.append(message))
        told: list[object] = []
        messages = [Unknown("one", b"1"), Unknown("two", bytes(100 * KIB))]
        for message in messages:
            client.send(message, told=lambda answer, error: told.append((answer, error)))
        network.run(5)
        self.assertEqual(heard, messages)
        self.assertEqual(told, [(None, None)] * 2)
        self.assertEqual(client.delivered, server.stats().bytes_received)

    def test_a_request_is_told_of_its_answer_or_its_error(self) -> None:
        network = self.network()
        client, _ = self.connected(network)
        told: list[tuple[object, object]] = []
        client.request(Ping(5), Pong, lambda answer, error: told.append((answer, error)))
        network.run(3)
        self.assertEqual(told, [(Pong(5), None)])
        client.request(Ping(6), Unknown, lambda answer, error: told.append((answer, error)), timeout=2.0)
        network.run(3)
        self.assertIsInstance(told[1][1], RequestTimedOut)
        client.request(Ping(7), Unknown, lambda answer, error: told.append((answer, error)))
        client.close()
        self.assertIsInstance(told[2][1], ConnectionClosed)

    def test_a_request_that_is_given_up_is_told_of_nothing(self) -> None:
        network = self.network()
        client, _ = self.connected(network)
        told: list[object] = []

        def tell(answer: object, error: object) -> None:
            told.append(answer)

        client.request(Ping(5), Pong, tell)
        client.give_up(tell)
        network.run(3)
        self.assertEqual((told, client.stats().pending_requests), ([], 0))

    def test_inventory_is_announced(self) -> None:
        network = self.network()
        heard: list[Any] = []
        client, _ = self.connected(network, on_inv=lambda peer, inv: heard.extend(inv.vectors), trickle_interval=2.0)
        vectors = [InventoryVector(InventoryType.TX, bytes([number]) * 32) for number in range(3)]
        client.add_known_inventory(vectors[1])
        for vector in vectors:
            client.queue_inventory(vector)
        network.run(5)
        self.assertEqual([each.hash for each in heard], [vectors[0].hash, vectors[2].hash])

    def test_what_a_listener_raises_is_noted(self) -> None:
        network = self.network()

        def fail(peer: CorePeer, ping: Ping) -> None:
            raise ZeroDivisionError

        client, server = self.connected(network, on_ping=fail)
        client.send(Ping(1))
        network.run(3)
        self.assertEqual([type(each) for each in server.node.failures], [ZeroDivisionError])
        self.assertIs(server.state, State.READY)

    def test_protocols_and_cores_may_share_a_network(self) -> None:
        network = self.network()
        dialler, listener = network.node(), network.node()
        listener.listen()
        client, _ = self.connected(network)
        peer = network.wait_for(dialler.connect(listener))
        network.partition([dialler, client.node])
        network.run(400)
        self.assertTrue(peer.is_closing)
        self.assertTrue(client.is_closing)
        hosts = [node.host for node in network.nodes] + [node.host for node in network.core_nodes]
        self.assertEqual(len({*hosts}), 4)


class BeginningTests(CoreTestCase):
    """Dialling."""

    def test_nobody_listens(self) -> None:
        network = self.network()
        alice, bob = self.nodes(network)
        bob.is_listening = False
        peer = alice.connect(bob)
        self.assertIs(peer.state, State.CONNECTING)
        network.run(3)
        self.assert_closed(peer, ClosedBy.NETWORK, CloseCause.CONNECTION_LOST)
        self.assertEqual((list(bob.peers), network.leftovers()), ([], []))

    def test_nobody_answers(self) -> None:
        network = self.network()
        alice, bob = self.nodes(network)
        network.partition([alice])
        peer = alice.connect(bob, timeout=20)
        network.run(19)
        self.assertIs(peer.state, State.CONNECTING)
        network.run(1)
        self.assert_closed(peer, ClosedBy.NETWORK, CloseCause.CONNECTION_LOST)

    def test_closed_before_it_is_connected(self) -> None:
        network = self.network()
        alice, bob = self.nodes(network)
        peer = alice.connect(bob)
        told: list[object] = []
        peer.send(Ping(1), told=lambda answer, error: told.append(type(error)))
        peer.close("changed my mind")
        self.assert_closed(peer, ClosedBy.LOCAL, CloseCause.DISCONNECT)
        self.assertEqual(len(told), 1)
        network.run(100)
        self.assertEqual((list(bob.peers), network.leftovers()), ([], []))

    def test_given_up_when_the_other_end_has_accepted_it_and_is_closed_again(self) -> None:
        class GivesUp(CorePeer):
            def accepted(self) -> None:
                self.close("changed my mind")
                super().accepted()

        network = self.network()
        config = PeerConfig(network=SIMNET)
        alice, bob = network.core_node(config, GivesUp), network.core_node(config)
        peer = alice.connect(bob)
        network.run_until(lambda: bob.peers)
        [server] = bob.peers
        server.abort()
        network.run(0)
        self.assertFalse(server.connected)
        network.run_until(lambda: peer.is_closing)
        self.assert_closed(peer, ClosedBy.LOCAL, CloseCause.DISCONNECT)
        self.assertEqual((list(bob.peers), network.leftovers()), ([], []))
        self.assertEqual(network.clock.getDelayedCalls(), [])


class EndTests(CoreTestCase):
    """Ends of connections, good and bad."""

    def test_in_good_order(self) -> None:
        network = self.network()
        reasons: list[object] = []
        client, server = self.connected(network, on_closed=lambda peer, reason: reasons.append((peer, reason)))
        client.send(Unknown("last", bytes(10 * KIB)))
        client.close("enough")
        network.run(3)
        self.assert_closed(client, ClosedBy.LOCAL, CloseCause.DISCONNECT)
        self.assert_closed(server, ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED)
        self.assertEqual(server.stats().received["unknown"].messages, 1)
        self.assertEqual(reasons, [(client, client.close_reason), (server, server.close_reason)])

    def test_aborted(self) -> None:
        network = self.network()
        client, server = self.connected(network)
        client.abort()
        network.run(3)
        self.assert_closed(client, ClosedBy.LOCAL, CloseCause.DISCONNECT)
        self.assert_closed(server, ClosedBy.NETWORK, CloseCause.CONNECTION_LOST)

    def test_reset(self) -> None:
        network = self.network()
        client, server = self.connected(network)
        client.send(Ping(1))
        network.links[0].reset()
        network.run(3)
        for peer in (client, server):
            self.assert_closed(peer, ClosedBy.NETWORK, CloseCause.CONNECTION_LOST)
        self.assertNotIn("ping", server.stats().received)

    def test_the_network_says_what_is_left_and_ends_it(self) -> None:
        network = SimulatedNetwork(3)
        client, server = self.connected(network)
        self.assertEqual(network.leftovers()[0], "<link 1: 10.0.0.1 to 10.0.0.2>")
        network.close()
        self.assertEqual((client.state, server.state, network.leftovers()), (State.CLOSED, State.CLOSED, []))


class RoomTests(CoreTestCase):
    """Links that are full, and ends that do not read."""

    def test_a_link_takes_its_window_and_an_end_its_buffer(self) -> None:
        network = self.network(window=(16 * KIB, 16 * KIB))
        client, server = self.connected(network, soft_queue_limit=1, hard_queue_limit=1 << 30, write_timeout=1000.0)
        server.hold(50)
        told: list[float] = []
        for _ in range(10):
            client.send(
                Unknown("much", bytes(40 * KIB)), told=lambda answer, error: told.append(network.clock.seconds())
            )
        network.run(40)
        self.assertLessEqual(client.waiting, 64 * KIB + 64 * KIB)
        self.assertGreater(client.stats().queue_bytes, 200 * KIB)
        before = len(told)
        self.assertLess(before, 10)
        network.run(60)
        self.assertEqual((len(told), client.waiting, client.stats().queue_bytes), (10, 0, 0))
        self.assertEqual(server.stats().received["unknown"].messages, 10)

    def test_a_partition_loses_nothing(self) -> None:
        network = self.network()
        client, server = self.connected(network)
        network.partition([client.node])
        client.send(Ping(1))
        network.run(20)
        self.assertNotIn("ping", server.stats().received)
        network.heal()
        network.run(3)
        self.assertEqual(server.stats().received["ping"].messages, 1)


class SeedTests(CoreTestCase):
    """One seed, one life."""

    def life(self, seed: int) -> tuple[str, list[float]]:
        network = self.network(seed)
        times: list[float] = []
        nodes = self.nodes(network, 4, on_pong=lambda peer, pong: times.append(network.clock.seconds()))
        network.disturb(Faults(reset=20.0, hold=5.0, partition=30.0))
        for round in range(40):
            dialler, to = network.random.choices(nodes, k=2)
            dialler.connect(to)
            for peer in [peer for node in nodes for peer in node.peers if peer.state is State.READY]:
                peer.send(Ping(round))
            network.run(2)
        network.close()
        return network.digest, times

    def test_the_same_life_again(self) -> None:
        lives = [self.life(seed) for seed in (1, 1, 2)]
        self.assertEqual(lives[0], lives[1])
        self.assertNotEqual(lives[0][0], lives[2][0])
        self.assertGreater(len(lives[0][1]), 100)

    def test_with_a_beat_bytes_arrive_at_multiples_of_it_and_together(self) -> None:
        network = self.network(beat=0.5, chop=1.0)
        times: list[float] = []
        client, _ = self.connected(network, on_ping=lambda peer, ping: times.append(network.clock.seconds()))
        for number in range(50):
            client.send(Ping(number))
            network.run(0.3)
        network.run(3)
        self.assertEqual(len(times), 50)
        self.assertEqual({time % 0.5 for time in times}, {0.0})
        self.assertLess(len({*times}), 35)
