"""Edges: whose word makes one, and what nobody's word makes."""

from __future__ import annotations

from unittest import TestCase

from txsoter.crawl.claims import PORTS_SHOWN
from txsoter.service.book.places import Place
from txsoter.test.crawl.visits import World, internet
from txsoter.test.service.book.support import at

A, B, C, D = (internet(number) for number in range(4))


def from_port(place: Place, port: int = 50_000) -> Place:
    """The end of a connection that a node has dialled."""
    return Place(place.ip, port)


class EdgeTests(TestCase):
    def setUp(self) -> None:
        self.world = World(once=True, allow_unroutable=True)

    def edges(self) -> dict[tuple[str, str], str]:
        """The edges after all have said what they say."""
        self.world.name(*self.world.answers)
        self.world.finish()
        return self.world.edges()

    def test_what_one_end_says(self) -> None:
        self.world.says(A, outbound=[B])
        self.world.says(C, inbound=[from_port(D)])
        self.world.says(D)
        self.assertEqual(self.edges(), {(str(A), str(B)): "from", (str(D), str(C)): "to"})

    def test_what_both_ends_say(self) -> None:
        self.world.says(A, outbound=[B])
        self.world.says(B, inbound=[from_port(A)])
        self.assertEqual(self.edges(), {(str(A), str(B)): "from+to"})
        (edge,) = self.world.map().edges
        self.assertTrue(edge.confirmed)

    def test_connections_in_both_directions_are_two_edges(self) -> None:
        self.world.says(A, outbound=[B], inbound=[from_port(B)])
        self.world.says(B, outbound=[A], inbound=[from_port(A)])
        self.assertEqual(self.edges(), {(str(A), str(B)): "from+to", (str(B), str(A)): "from+to"})

    def test_a_liar_confirms_nothing(self) -> None:
        """It claims to have dialled everybody, and to have been dialled by everybody."""
        self.world.says(A, outbound=[B])
        self.world.says(B, inbound=[from_port(A)])
        self.world.says(C, outbound=[A, B], inbound=[from_port(A), from_port(B), from_port(D)])
        edges = self.edges()
        self.assertEqual([edge for edge, ends in edges.items() if ends == "from+to"], [(str(A), str(B))])
        self.assertEqual(edges[str(C), str(A)], "from")
        self.assertEqual(edges[str(A), str(C)], "to")

    def test_several_nodes_at_one_host(self) -> None:
        """As many connections as there are nodes that claim them: all are confirmed."""
        one, two, three = (at("127.0.0.1", port) for port in (1001, 1002, 1003))
        self.world.says(one, outbound=[two, three])
        self.world.says(two, outbound=[three], inbound=[at("127.0.0.1", 50_001)])
        self.world.says(three, inbound=[at("127.0.0.1", 50_002), at("127.0.0.1", 50_003)])
        self.assertEqual(
            self.edges(),
            {
                (str(one), str(two)): "from+to",
                (str(one), str(three)): "from+to",
                (str(two), str(three)): "from+to",
            },
        )

    def test_more_claims_than_connections_confirm_none(self) -> None:
        """One of two at a host lies, and nobody can tell which."""
        honest, liar = at("10.1.1.1", 1001), at("10.1.1.1", 1002)
        self.world.says(honest, outbound=[B])
        self.world.says(liar, outbound=[B])
        self.world.says(B, inbound=[at("10.1.1.1", 50_001)])
        self.assertEqual(self.edges(), {(str(honest), str(B)): "from", (str(liar), str(B)): "from"})

    def test_a_host_with_several_nodes_of_which_none_claims_it(self) -> None:
        for port in (1001, 1002):
            self.world.says(at("10.1.1.1", port))
        self.world.says(B, inbound=[at("10.1.1.1", 50_001)])
        self.assertEqual(self.edges(), {("10.1.1.1:50001", str(B)): "to*"})

    def test_a_host_without_a_node(self) -> None:
        self.world.says(B, inbound=[at("10.1.1.1", 50_001), at("10.1.1.1", 50_002)])
        self.assertEqual(self.edges(), {("10.1.1.1:50001", str(B)): "to*", ("10.1.1.1:50002", str(B)): "to*"})

    def test_a_node_that_does_not_answer_but_is_the_only_one_there(self) -> None:
        """Two sources tell of it, behind a firewall perhaps."""
        self.world.says(A, told=[D])
        self.world.says(B, told=[D], inbound=[from_port(D), from_port(D, 50_001)])
        self.assertEqual(self.edges(), {(str(D), str(B)): "to", (str(from_port(D, 50_001)), str(B)): "to*"})

    def test_addresses_that_are_not_of_the_internet(self) -> None:
        """A node behind NAT tells of its own network, whose addresses are others' in other networks."""
        self.world = World(once=True)
        self.world.says(
            A, outbound=[at("192.168.1.9"), B], inbound=[at("10.0.0.7", 50_000)], told=[at("192.168.1.9"), B]
        )
        self.assertEqual(self.edges(), {(str(A), str(B)): "from"})
        self.assertEqual(set(self.world.kinds()), {str(A), str(B)})

    def test_a_node_does_not_dial_itself(self) -> None:
        self.world.says(A, outbound=[A], inbound=[from_port(A)])
        self.assertEqual(self.edges(), {(str(from_port(A)), str(A)): "to*"})

    def test_many_connections_from_one_host(self) -> None:
        """They are counted, but not all their ports are kept."""
        self.world.says(A, inbound=[at("10.1.1.1", port) for port in range(1000, 2000)])
        self.assertEqual(len(self.edges()), PORTS_SHOWN)
        self.assertEqual(self.world.atlas.claims.inbound[A][at("10.1.1.1").ip].count, 1000)

    def test_first_and_last_seen(self) -> None:
        """What is said again was first seen before; what is not said again is gone, and so is what a node said that
        does not answer any more."""
        self.world = World(revisit=600.0)
        self.world.says(A, outbound=[B, C])
        self.world.name(A)
        self.world.run()
        began = self.world.now
        self.world.says(A, outbound=[B, D])
        self.world.run(700)
        edges = {edge.target: edge for edge in self.world.map().edges}
        self.assertEqual(set(edges), {str(B), str(D)})
        self.assertEqual(edges[str(B)].first_seen, began)
        self.assertGreater(edges[str(B)].last_seen, began + 500)
        self.assertEqual(edges[str(D)].first_seen, edges[str(B)].last_seen)
        del self.world.answers[A]
        self.world.run(700)
        self.assertEqual(self.world.edges(), {})
