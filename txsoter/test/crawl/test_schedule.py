"""The order of visits, and its limits."""

from __future__ import annotations

from unittest import TestCase

from txsoter.crawl.schedule import Schedule, dial_network
from txsoter.service.book.places import Place
from txsoter.test.crawl.visits import internet
from txsoter.test.service.book.support import at


def schedule(dials: int = 100, rate: float = 1000.0, network: int = 100) -> Schedule:
    return Schedule(dials, rate, network)


def taken(plan: Schedule, now: float) -> list[Place]:
    found = []
    while (place := plan.take(now)) is not None:
        found.append(place)
    return found


class ScheduleTests(TestCase):
    def test_due_ones_by_rank_then_in_order(self) -> None:
        plan = schedule()
        for number, (due, rank) in enumerate([(5, 0), (0, 9), (0, 1), (1, 1), (0, 0)]):
            plan.put(internet(number), due, rank)
        self.assertEqual(taken(plan, 1), [internet(each) for each in (4, 2, 3, 1)])
        self.assertEqual((len(plan), plan.next_time(1)), (1, 5))
        self.assertEqual(taken(plan, 5), [internet(0)])
        self.assertEqual((len(plan), plan.next_time(5)), (0, None))

    def test_the_last_plan_counts(self) -> None:
        plan = schedule()
        plan.put(internet(1), 0)
        plan.put(internet(2), 0)
        plan.put(internet(1), 10)
        plan.remove(internet(2))
        self.assertNotIn(internet(2), plan)
        self.assertEqual((taken(plan, 9), plan.next_time(9)), ([], 10))
        # one that is due already may be put off, too
        self.assertEqual(plan.next_time(10), 10)
        plan.put(internet(1), 20)
        self.assertEqual((taken(plan, 10), plan.next_time(10)), ([], 20))

    def test_so_many_at_a_time(self) -> None:
        plan = schedule(dials=2)
        for number in range(3):
            plan.put(internet(number), 0)
        self.assertEqual(len(taken(plan, 0)), 2)
        self.assertIsNone(plan.next_time(0))
        plan.end(internet(0))
        self.assertEqual(taken(plan, 0), [internet(2)])
        self.assertEqual(plan.under_way, {internet(1), internet(2)})

    def test_so_many_a_second(self) -> None:
        """A tenth of a second's may begin at once; later ones wait for their turn."""
        plan = schedule(rate=20.0)
        for number in range(100):
            plan.put(internet(number), 0)
        self.assertEqual(len(taken(plan, 0)), 2)
        self.assertAlmostEqual(plan.next_time(0) or 0, 0.05)
        counts = [len(taken(plan, moment / 20)) for moment in range(1, 21)]
        self.assertAlmostEqual(sum(counts), 20, delta=1)
        # what was not used is not saved up
        self.assertEqual(len(taken(plan, 1000)), 2)

    def test_so_many_in_one_network(self) -> None:
        """Others go on meanwhile; those that waited come when one has ended."""
        plan = schedule(network=2)
        near = [at(f"11.1.1.{host}") for host in range(1, 6)]
        for place in [*near, at("11.1.2.1"), internet(7)]:
            plan.put(place, 0)
        self.assertEqual(taken(plan, 0), [near[0], near[1], at("11.1.2.1"), internet(7)])
        self.assertIsNone(plan.next_time(0))
        plan.remove(near[2])
        plan.end(near[0])
        self.assertEqual(taken(plan, 0), [near[3]])
        plan.end(near[1])
        plan.end(near[3])
        self.assertEqual(taken(plan, 0), [near[4]])
        plan.end(near[4])
        self.assertEqual((len(plan), plan.under_way), (0, {at("11.1.2.1"), internet(7)}))

    def test_networks(self) -> None:
        same = {dial_network(at(host)) for host in ("11.1.1.1", "11.1.1.200")}
        self.assertEqual((len(same), None in same), (1, False))
        self.assertNotEqual(dial_network(at("11.1.1.1")), dial_network(at("11.1.2.1")))
        same = {dial_network(at(host)) for host in ("2a00:1:2:3::1", "2a00:1:2:4::1")}
        self.assertEqual(len(same), 1)
        self.assertNotEqual(dial_network(at("2a00:1:2::1")), dial_network(at("2a00:1:3::1")))
        self.assertIsNone(dial_network(at("127.0.0.1")))

    def test_plans_that_are_replaced_take_no_room(self) -> None:
        plan = schedule()
        for moment in range(10_000):
            plan.put(internet(moment % 10), 1e9 + moment)
        self.assertLess(len(plan._later), 200)
        self.assertEqual(len(plan), 10)
