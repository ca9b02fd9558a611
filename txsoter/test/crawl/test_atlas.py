"""What a crawl decides: whom to visit when, whom to believe what, and whom to forget."""

from __future__ import annotations

from unittest import TestCase

from txsoter.crawl.atlas import MAX_HINTS, NO_IPV6
from txsoter.crawl.rules import CrawlRules
from txsoter.crawl.visit_result import Outcome
from txsoter.service.book.places import Place
from txsoter.test.crawl.visits import World, answered, failed, internet
from txsoter.test.service.book.support import DAY, HOUR, at

A, B, C, D = (internet(number) for number in range(4))
MINUTE = 60


class OnceTests(TestCase):
    """A single crawl."""

    def test_from_one_to_all(self) -> None:
        world = World(once=True)
        for number in range(50):
            world.says(internet(number), told=[internet((number * 7 + each) % 50) for each in (1, 2, 3)])
        world.name(internet(0))
        world.finish()
        self.assertEqual(set(world.kinds().values()), {"reachable"})
        self.assertEqual(len(world.kinds()), 50)
        self.assertEqual(sorted(world.visited), sorted({*world.visited}))

    def test_what_may_be_chance_is_tried_again(self) -> None:
        """A timeout of one that two sources tell of, or our own side; not one of a single source, nor a refusal."""
        world = World(once=True)
        world.says(A, told=[C, D])
        world.says(B, told=[C])
        for place in (C, D):
            world.answers[place] = failed(place, Outcome.TIMED_OUT)
        world.name(A, B, internet(9))
        world.finish()
        counts = {place: world.visited.count(place) for place in (A, B, C, D, internet(9))}
        tries = 1 + CrawlRules().retries
        self.assertEqual(counts, {A: 1, B: 1, C: tries, D: 1, internet(9): 1})

    def test_one_that_gives_no_lists_is_asked_once_more(self) -> None:
        world = World(once=True)
        world.says(A, outbound=None, inbound=None)
        world.name(A)
        world.finish()
        self.assertEqual(world.visited, [A, A])

    def test_an_end_even_without_a_way_into_the_network(self) -> None:
        world = World(once=True)
        world.answers[A] = failed(A, Outcome.NOT_COUNTED, "Network is unreachable")
        world.name(A)
        world.finish()
        why = "it was not visited yet: something of our own failed (Network is unreachable)"
        self.assertEqual(world.why(A), why)
        self.assertEqual(world.kinds(), {str(A): "seen"})


class KindsTests(TestCase):
    """Which addresses count, and why the others do not."""

    def setUp(self) -> None:
        self.world = World(once=True)
        self.world.says(A, told=[C, D, internet(4)])
        self.world.says(B, told=[C])
        self.world.name(A, B)

    def test_seen_and_fake(self) -> None:
        """Fake is what never answered and a single network tells of."""
        near = at("11.0.200.9")
        self.world.says(near, told=[D])
        self.world.says(internet(4))
        self.world.name(near)
        self.world.finish()
        kinds = self.world.kinds()
        self.assertEqual((kinds[str(C)], kinds[str(D)], kinds[str(internet(4))]), ("seen", "fake", "reachable"))
        self.assertEqual(
            self.world.why(C), "it never answered, dialled 1 times: the connection was refused; 2 sources told of it"
        )
        self.assertIn("a single source told of it", self.world.why(D))
        self.assertEqual(self.world.why(A), "it is listed: it answered at its last visit")
        self.assertEqual(self.world.why(internet(77)), "nobody has told of it")

    def test_why_not(self) -> None:
        """In words, for each way in which a visit can fail."""
        for outcome in Outcome:
            if outcome not in (Outcome.ANSWERED, Outcome.NOT_COUNTED):
                world = World(once=True, retries=0)
                world.answers[A] = failed(A, outcome, "more about it")
                world.name(A)
                world.finish()
                self.assertIn(outcome.value, world.why(A))
                self.assertEqual("ourselves" in world.kinds().values(), outcome is Outcome.OURSELVES)
                if outcome is not Outcome.OURSELVES:
                    self.assertIn("(more about it); it was named by this side", world.why(A))

    def test_itself_is_no_source(self) -> None:
        """An address that tells of itself is not told of by two."""
        world = World(revisit=600.0)
        world.says(A, told=[C])
        world.says(C, told=[C])
        world.name(A)
        world.run()
        self.assertEqual(world.map().by_name[str(C)].sources, 1)

    def test_ipv6_is_listed_and_not_dialled(self) -> None:
        """By default: our address would stand in the addrcache of a soterd, which dies of it."""
        six = at("2a00:1::1")
        self.world.says(A, told=[six])
        self.world.says(six)
        self.world.finish()
        self.assertNotIn(six, self.world.visited)
        self.assertEqual(self.world.kinds()["[2a00:1::1]:5070"], "seen")
        self.assertEqual(self.world.why(six), f"it was never dialled: {NO_IPV6}")
        world = World(once=True, dial_ipv6=True)
        world.says(six)
        world.name(six)
        world.finish()
        self.assertEqual(world.kinds(), {"[2a00:1::1]:5070": "reachable"})

    def test_addresses_that_nobody_can_have(self) -> None:
        nowhere = [at("0.0.0.0"), at("255.255.255.255"), at("224.0.0.1"), at("::"), at("ff02::1")]
        no_port = A._replace(port=0)
        for allowed in (False, True):
            world = World(once=True, allow_unroutable=allowed)
            world.says(A, told=[*nowhere, no_port, at("127.0.0.1"), at("fd00::1")])
            world.name(A)
            world.finish()
            self.assertEqual(len(world.kinds()), 3 if allowed else 1)
            self.assertEqual(world.atlas.refused, 6 if allowed else 8)

    def test_our_own_end_is_no_address(self) -> None:
        """A node tells us of ourselves, by the address that it sees us at."""
        own = at("198.18.1.1", 40_001)
        self.world.says(A, own_end=own, seen_as=own, told=[own], inbound=[own])
        self.world.atlas.connected(A, own)
        self.world.finish()
        self.assertEqual(set(self.world.kinds()), {str(A), str(B), str(C)})
        self.assertEqual(self.world.edges(), {})


class AgainTests(TestCase):
    """A crawl that goes on."""

    def setUp(self) -> None:
        self.world = World(revisit=600.0)

    def visits(self, place: Place) -> int:
        return self.world.visited.count(place)

    def test_one_that_answers_is_visited_again_each_so_many_minutes(self) -> None:
        self.world.says(A)
        self.world.name(A)
        self.world.run(10 * HOUR, 10)
        self.assertAlmostEqual(self.visits(A), 61, delta=4)
        (node,) = self.world.map().nodes
        self.assertTrue(node.good)
        self.assertEqual([round(row.share, 3) for row in node.reliability], [1.0] * 5)
        self.assertEqual((node.protocol_version, node.height, node.services), (70013, 100, 9))

    def test_one_that_is_down_is_visited_less_and_less(self) -> None:
        self.world.says(A)
        self.world.name(B)
        self.world.says(B, told=[A])
        self.world.run(HOUR, 10)
        del self.world.answers[A]
        before = self.visits(A)
        self.world.run(DAY, 10)
        self.assertIn(self.visits(A) - before, range(5, 11))
        self.assertEqual(self.world.kinds()[str(A)], "down")
        self.assertRegex(
            self.world.why(A), "it has not answered for 24 hours, [0-9]+ times: the connection was refused"
        )
        self.assertIsNone(self.world.map().by_name[str(A)].connected_since)
        self.world.says(A)
        self.world.run(13 * HOUR, 10)
        self.assertEqual(self.world.kinds()[str(A)], "reachable")
        self.assertIsNotNone(self.world.map().by_name[str(A)].connected_since)

    def test_claims_of_one_that_is_down(self) -> None:
        """They are remembered for a day, so that its edges are no younger when it is back."""
        self.world.says(A, outbound=[B])
        self.world.name(A)
        self.world.run(HOUR, 10)
        (edge,) = self.world.map().edges
        gone = self.world.answers.pop(A)
        self.world.run(HOUR, 10)
        self.assertEqual(self.world.edges(), {})
        self.world.answers[A] = gone
        self.world.run(2 * HOUR, 10)
        self.assertEqual([each.first_seen for each in self.world.map().edges], [edge.first_seen])
        del self.world.answers[A]
        self.world.run(3 * DAY, 100)
        self.assertEqual(len(self.world.atlas.claims), 0)

    def test_dropped(self) -> None:
        """A fake after three failures, a hearsay after a week, a node after a month; not what was named."""
        self.world.name(A, B, internet(50))
        self.world.says(A, told=[C, D, internet(60)])
        self.world.says(B, told=[C])
        self.world.says(internet(60))
        self.world.run(HOUR, 10)
        self.assertNotIn(str(D), self.world.kinds())
        self.assertRegex(self.world.why(D), "it never answered, dialled 3 times, and a single source told of it")
        self.assertIn(str(C), self.world.kinds())
        del self.world.answers[internet(60)]
        self.world.says(A)
        self.world.says(B)
        self.world.run(8 * DAY, 100)
        self.assertRegex(self.world.why(C), "dropped: it never answered in [78] days, dialled [0-9]+ times")
        self.assertEqual(self.world.kinds()[str(internet(60))], "down")
        self.world.run(23 * DAY, 100)
        self.assertRegex(self.world.why(internet(60)), "dropped: it has not answered for 3[01] days")
        self.assertEqual(set(self.world.kinds()), {str(A), str(B), str(internet(50))})

    def test_what_was_dropped_is_not_taken_again_for_a_day(self) -> None:
        self.world.name(A)
        self.world.says(A, told=[D])
        self.world.run(20 * HOUR, 10)
        self.assertEqual(self.visits(D), 3)
        self.world.run(10 * HOUR, 10)
        self.assertGreater(self.visits(D), 3)
        # our own side may name it at once
        self.world.run(HOUR, 10)
        self.world.says(D)
        self.world.name(D)
        self.world.run()
        self.assertEqual(self.world.kinds()[str(D)], "reachable")

    def test_dropped_ones_are_remembered_up_to_a_limit(self) -> None:
        world = World(max_dropped=5)
        world.name(A)
        world.says(A, told=[internet(number) for number in range(10, 20)])
        world.run(MINUTE)
        world.says(A)
        world.run(2 * HOUR, 10)
        self.assertEqual((len(world.atlas.dropped), len(world.kinds())), (5, 1))


class QuotaTests(TestCase):
    """Liars that tell many addresses."""

    def flood(self, source: int, count: int = 1000) -> list[Place]:
        return [at(f"{100 + source}.{number % 200}.{number // 200}.9") for number in range(count)]

    def test_a_source_introduces_only_so_many(self) -> None:
        world = World(once=True, max_unproven=100)
        world.says(A, told=self.flood(1))
        world.name(A)
        world.finish()
        self.assertEqual((len(world.kinds()), world.atlas.refused), (101, 900))

    def test_nobody_makes_us_try_all_ports_of_another(self) -> None:
        """Of one host so many addresses are taken that have not answered; on a network of tests, any number."""
        for host, count in (("11.9.9.9", 8), ("127.0.0.1", 500)):
            world = World(once=True, allow_unroutable=True)
            for number in range(5):
                teller = internet(10 + number)
                world.says(teller, told=[at(host, 1000 + 100 * number + port) for port in range(100)])
                world.name(teller)
            world.finish()
            self.assertEqual(len(world.kinds()), 5 + count)
        # those that answer leave room for others
        world = World(once=True)
        for port in range(1000, 1020):
            world.says(at("11.9.9.9", port), told=[at("11.9.9.9", port + 1)])
        world.name(at("11.9.9.9", 1000))
        world.finish()
        self.assertEqual(list(world.kinds().values()).count("reachable"), 20)

    def test_those_that_answer_make_room(self) -> None:
        world = World(once=True, max_unproven=10)
        honest = [internet(number) for number in range(10, 40)]
        for place in honest:
            world.says(place)
        told = [honest[:10], honest[10:20], honest[20:]]
        world.answers[A] = lambda: answered(A, told=told.pop(0) if told else (), inbound=None)
        world.atlas.name(A, world.now)
        world.finish()
        world.name(A)
        world.finish()
        self.assertEqual(len(world.kinds()), 31)

    def test_who_tells_many_waits(self) -> None:
        """The nodes that an honest source tells are visited before the flood, although that was told first."""
        world = World(once=True, dials_per_second=10.0, max_dials=1)
        world.says(A, told=self.flood(1, 200))
        world.says(B, told=[C, D])
        world.says(C)
        world.says(D)
        world.name(A, B)
        world.run(3, 0.1)
        self.assertTrue({C, D} <= {*world.visited[:10]})

    def test_a_full_atlas_makes_room_for_who_told_less(self) -> None:
        """Whoever has introduced the most gives way; nodes that have answered never do."""
        world = World(max_nodes=50)
        world.says(A, told=self.flood(1))
        world.name(A)
        world.run(0)
        self.assertEqual(len(world.kinds()), 50)
        honest = [internet(number) for number in range(10, 30)]
        world.says(B, told=honest)
        for place in honest:
            world.says(place)
        world.name(B)
        world.run(5)
        kinds = world.kinds()
        self.assertLessEqual(len(kinds), 51)
        self.assertTrue(all(kinds[str(place)] == "reachable" for place in honest))
        self.assertIn("too many addresses", " ".join(why for _, why in world.atlas.dropped.values()))

    def test_hints_of_a_liar_are_few(self) -> None:
        """It lists inbound connections of all nodes, who are not all compared with it."""
        world = World(once=True)
        ends = [at("77.7.7.7", 1000 + number) for number in range(100)]
        for number, end in enumerate(ends):
            world.says(internet(10 + number), inbound=[end])
            world.name(internet(10 + number))
        world.finish()
        world.says(A, inbound=ends)
        world.name(A)
        world.finish()
        self.assertLessEqual(len(world.visited), 101 + 2 * 2 * MAX_HINTS)
        self.assertEqual(set(world.kinds().values()), {"reachable"})
