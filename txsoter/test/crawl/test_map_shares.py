"""Tests of :mod:`txsoter.crawl.map_shares`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from unittest import TestCase

from txsoter.crawl.map_shares import MAX_NAMES, MAX_SAMPLES, Growth, GrowthSample, best_height, shares
from txsoter.crawl.network_map import NodeKind
from txsoter.test.crawl.maps import NOW, edge, node, the_map


def at_heights(*heights: int | None) -> Any:
    return the_map([node(number, height=height) for number, height in enumerate(heights)])


class SharesTests(TestCase):
    def test_of_reachable_nodes(self) -> None:
        found = shares(
            the_map(
                [
                    node(1),
                    node(2, user_agent="/soterwire:0.6.0/soterd:4.1.0(x)/", services=1, protocol_version=70012),
                    node(3, user_agent="", height=None),
                    node(4, height=412_851),
                    node(5, kind=NodeKind.DOWN),
                ]
            )
        )
        self.assertEqual(found.versions, {"soterd 4.2.0": 2, "soterd 4.1.0": 1, "none": 1})
        self.assertEqual(found.services, {"network": 4, "witness": 3, "cf": 3})
        self.assertEqual(found.protocols, {"70013": 3, "70012": 1})

    def test_versions_beyond_the_most_common_ones_are_counted_together(self) -> None:
        """Remotes choose their names: they must not fill the page."""
        nodes = [node(number, user_agent=f"/a:{number}.0.0/") for number in range(100)]
        found = shares(the_map([*nodes, node(200)])).versions
        self.assertEqual(len(found), MAX_NAMES + 1)
        self.assertEqual((found["other"], sum(found.values())), (101 - MAX_NAMES, 101))

    def test_lag_behind_a_height_that_a_few_liars_do_not_set(self) -> None:
        found = shares(at_heights(2**31 - 1, 2**31 - 1, *[1000] * 10, 998, 991, 905, 1, None))
        self.assertEqual(found.heights, {"at the tip": 13, "within 10": 1, "within 100": 1, "within 1000": 1})
        self.assertEqual(shares(at_heights(5000, 5000, 5000, 1)).heights, {"at the tip": 3, "further behind": 1})

    def test_best_height(self) -> None:
        for heights, best in (
            ((), None), ((None,), None), ((7,), 7), ((9, 7), 7), ((9, 8, 7), 7), ((9, 9, 9, 1), 9),
            ((*[10**6] * 6, *[9] * 244), 10**6), ((*[10**6] * 5, *[9] * 245), 9),
        ):  # fmt: skip
            self.assertEqual(best_height(at_heights(*heights).nodes), best, heights[:4])


class GrowthTests(TestCase):
    def sample(self, when: float) -> GrowthSample:
        return GrowthSample(when, 1, 1, 0, None, None)

    def test_a_sample(self) -> None:
        found = GrowthSample.of(the_map([node(1), node(2, kind=NodeKind.SEEN)], [edge("a:1", "b:2")]))
        self.assertEqual(found, GrowthSample(NOW, 1, 2, 1, 412_861, shares(the_map([node(1)]))))

    def test_samples_are_apart(self) -> None:
        growth = Growth(60.0)
        for when in (0, 59, 60, 61, 119, 121):
            if growth.is_due(when):
                growth.add(self.sample(when))
        self.assertEqual([each.when for each in growth.samples], [0, 60, 121])

    def test_months_in_bounded_memory(self) -> None:
        """The first and the last sample stay, and those between are about as far apart."""
        growth = Growth(60.0)
        for minute in range(100_000):
            if growth.is_due(minute * 60.0):
                growth.add(self.sample(minute * 60.0))
        whens = [each.when for each in growth.samples]
        self.assertLessEqual(len(whens), MAX_SAMPLES)
        self.assertGreater(len(whens), MAX_SAMPLES // 2 - 2)
        self.assertEqual(whens[0], 0)
        gaps = {b - a for a, b in pairwise(whens)}
        self.assertLessEqual(max(gaps) / min(gaps), 2)
        self.assertGreater(whens[-1], 100_000 * 60 - max(gaps))

    def test_what_was_kept_elsewhere_comes_first(self) -> None:
        growth = Growth(60.0)
        growth.add(self.sample(5000))
        growth.begin_with([self.sample(when) for when in range(0, 10_000, 2)])
        whens = [each.when for each in growth.samples]
        self.assertEqual((whens[0], whens[-1]), (0, 5000))
        self.assertLessEqual(len(whens), MAX_SAMPLES // 2 + 1)
        self.assertEqual(whens, sorted(whens))
        growth = Growth()
        growth.begin_with([])
        growth.begin_with([self.sample(1)])
        self.assertEqual([each.when for each in growth.samples], [1])
