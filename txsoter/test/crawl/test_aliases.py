"""Several addresses of one node: found when it is so, and never because somebody says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import TestCase

from txsoter.crawl.aliases import MAX_ENDS, OwnEnds
from txsoter.crawl.visit_result import VisitResult
from txsoter.service.book.places import Place
from txsoter.test.crawl.visits import World, answered, internet
from txsoter.test.service.book.support import at, ip

P, Q, OTHER, LIAR = (internet(number) for number in range(4))
HERE = "192.0.2.9"


class AliasTests(TestCase):
    """Each visit has a port of its own; a node lists all our connections that are open while it answers."""

    def setUp(self) -> None:
        self.begin()

    def begin(self, **rules: object) -> None:
        self.world = World(**{"once": True, **rules})
        self.port = 40_000
        # our end of the visit that is open, by address; both of a pair are
        self.open: dict[Place, Place] = {}

    def says(self, *places: Place, inbound: Sequence[Place] = (), **fields: Any) -> None:
        """Let one node answer at several addresses."""

        def answer(place: Place) -> VisitResult:
            own = self.open[place]
            listed = [self.open[each] for each in places if each in self.open]
            return answered(place, inbound=[*inbound, *listed], own_end=own, seen_as=own, **fields)

        for place in places:
            self.world.answers[place] = lambda place=place: answer(place)

    def finish(self) -> None:
        self.world.name(*self.world.answers)
        atlas = self.world.atlas
        for _ in range(1000):
            while places := atlas.next_visit(self.world.now):
                self.open = {}
                for place in places:
                    self.port += 1
                    self.open[place] = at(HERE, self.port)
                    atlas.connected(place, self.open[place])
                atlas.visited(tuple(map(self.world.visit, places)), self.world.now)
            if atlas.is_finished:
                return
            self.world.now += 0.1
        self.fail("it does not come to an end")

    def test_two_addresses_of_one_node(self) -> None:
        """The hint is an inbound connection that both list, the proof are ours."""
        self.says(P, Q, inbound=[at("11.9.9.9", 50_001)], outbound=[OTHER])
        self.says(OTHER, inbound=[Place(Q.ip, 50_002)])
        self.finish()
        self.assertEqual(self.world.kinds(), {str(P): "reachable", str(Q): "alias", str(OTHER): "reachable"})
        self.assertEqual(self.world.why(Q), f"it is another address of {P}")
        # it dialled from the address under which it is not listed
        self.assertEqual(self.world.edges()[str(P), str(OTHER)], "from+to")
        self.assertEqual(self.world.visited.count(P), 2)

    def test_three_addresses(self) -> None:
        third = internet(9)
        self.says(P, Q, third, inbound=[at("11.9.9.9", 50_001)])
        self.finish()
        self.assertEqual(sorted(self.world.kinds().values()), ["alias", "alias", "reachable"])
        self.assertEqual({self.world.atlas.node_of(each) for each in (P, Q, third)}, {P})

    def test_a_liar_that_copies(self) -> None:
        """It lists what an honest node lists, our connection to that included; the honest node does not list ours to
        the liar."""
        shared = [at("11.9.9.9", 50_001)]
        self.says(P, inbound=shared, outbound=[OTHER, Q])

        def copy() -> VisitResult:
            listed = [*shared, *self.open.values()]
            return answered(
                LIAR, inbound=listed, outbound=[OTHER, Q], own_end=self.open[LIAR], nonce=hash(P) & 0xFFFFFFFF
            )

        self.world.answers[LIAR] = copy
        self.finish()
        self.assertEqual(self.world.kinds()[str(P)], "reachable")
        self.assertEqual(self.world.kinds()[str(LIAR)], "reachable")
        self.assertGreater(self.world.visited.count(LIAR), 1, "they were not compared")

    def test_a_liar_that_says_where_we_are(self) -> None:
        """It names as our address what an honest node lists, which proves nothing."""
        shared = at("11.9.9.9", 50_001)
        self.says(P, inbound=[shared])

        def lie() -> VisitResult:
            return answered(LIAR, inbound=[shared, *self.open.values()], own_end=self.open[LIAR], seen_as=shared)

        self.world.answers[LIAR] = lie
        self.finish()
        self.assertEqual(set(self.world.kinds().values()), {"reachable"})

    def test_nodes_that_dialled_the_same_are_compared_and_differ(self) -> None:
        for place in (P, Q):
            self.says(place, outbound=[internet(7), internet(8)])
        self.finish()
        self.assertEqual(self.world.kinds()[str(P)], "reachable")
        self.assertEqual(self.world.kinds()[str(Q)], "reachable")
        self.assertEqual((self.world.visited.count(P), self.world.visited.count(Q)), (2, 2))

    def test_by_nonces_where_there_are_no_lists(self) -> None:
        """A nonce that both give at the same time and did not give before; not one that never changes."""
        for constant, kinds in ((False, {"reachable", "alias"}), (True, {"reachable"})):
            self.begin()
            visits = [0]

            def answer(place: Place, constant: bool = constant, visits: list[int] = visits) -> VisitResult:
                visits[0] += 1
                nonce = 7 if constant or visits[0] <= 2 else 8
                return answered(place, nonce=nonce, inbound=None, outbound=None, own_end=self.open[place])

            for place in (P, Q):
                self.world.answers[place] = lambda place=place: answer(place)
            self.finish()
            self.assertEqual(set(self.world.kinds().values()), kinds)

    def test_an_alias_is_listed_when_its_node_is_gone_or_it_is_one_of_its_own(self) -> None:
        self.begin(once=False, compare_again=100.0, revisit=600.0)
        self.says(P, Q, inbound=[at("11.9.9.9", 50_001)])
        self.world.name(P, Q)

        def run(seconds: float) -> None:
            until = self.world.now + seconds
            while self.world.now < until:
                while places := self.world.atlas.next_visit(self.world.now):
                    self.port += 2
                    self.open = {place: at(HERE, self.port + number) for number, place in enumerate(places)}
                    for place, end in self.open.items():
                        self.world.atlas.connected(place, end)
                    self.world.atlas.visited(tuple(map(self.world.visit, places)), self.world.now)
                self.world.now += 10

        run(100)
        self.assertEqual(self.world.kinds(), {str(P): "reachable", str(Q): "alias"})
        gone = self.world.answers.pop(P)
        run(700)
        self.assertEqual(self.world.kinds(), {str(P): "down", str(Q): "reachable"})
        self.world.answers[P] = gone
        run(1400)
        self.assertEqual(self.world.kinds(), {str(P): "reachable", str(Q): "alias"})
        # now there are two nodes
        self.says(P, inbound=[at("11.9.9.9", 50_001)])
        self.says(Q, inbound=[at("11.9.9.9", 50_002)])
        run(1400)
        self.assertEqual(self.world.kinds(), {str(P): "reachable", str(Q): "reachable"})


class OwnEndsTests(TestCase):
    def own(self, number: int) -> Place:
        return Place(at("192.168.0.2").ip, 1 + number % 65_535)

    def result(self, number: int) -> VisitResult:
        return answered(internet(1), own_end=self.own(number))

    def test_most_networks_say_where_we_are(self) -> None:
        """A connection is known by our own port, at the address that most see us at, and at our socket's."""
        ends = OwnEnds()
        for voter in range(3):
            ends.vote(bytes([voter]), ip("198.18.1.1"))
        ends.vote(b"\x09", ip("6.6.6.6"))
        self.assertEqual(ends.public_ip(), ip("198.18.1.1"))
        self.assertEqual(ends.of(self.result(5)), {at("192.168.0.2", 6), at("198.18.1.1", 6)})
        ends.connected(internet(1), self.own(9))
        self.assertEqual(ends.recent, {at("198.18.1.1", 10): internet(1), at("192.168.0.2", 10): internet(1)})

    def test_without_a_majority(self) -> None:
        ends = OwnEnds()
        self.assertIsNone(ends.public_ip())
        for voter in range(2):
            ends.vote(bytes([voter]), ip(f"198.18.1.{voter}"))
        self.assertIsNone(ends.public_ip())
        self.assertEqual(ends.of(self.result(1)), {at("192.168.0.2", 2)})

    def test_without_an_address_of_ours(self) -> None:
        self.assertEqual(OwnEnds().of(answered(internet(1))), frozenset())

    def test_only_so_many_are_remembered(self) -> None:
        ends = OwnEnds()
        for number in range(MAX_ENDS + 500):
            ends.vote(number.to_bytes(4, "big"), ip("6.6.6.6"))
            ends.connected(internet(1), self.own(number))
        self.assertEqual(len(ends.recent), MAX_ENDS)
        self.assertEqual(ends.public_ip(), ip("6.6.6.6"))
