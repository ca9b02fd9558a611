"""Graphs of connections."""

from __future__ import annotations

from collections import Counter
from random import Random
from unittest import TestCase

from txsoter.testing.loopback.topology import TOPOLOGIES


class TopologyTests(TestCase):
    def edges(self, name: str, count: int, degree: int = 8) -> list[tuple[int, int]]:
        edges = TOPOLOGIES[name](count, degree, Random(5))
        self.assertTrue(all(0 <= end < count for edge in edges for end in edge))
        self.assertTrue(all(dialler != dialled for dialler, dialled in edges))
        self.assertEqual(len({frozenset(edge) for edge in edges}), len(edges), "two connections between the same two")
        return edges

    def test_in_a_random_graph_each_dials_degree_others(self) -> None:
        dialled = Counter(dialler for dialler, _ in self.edges("random", 200, 7))
        self.assertEqual(dialled, dict.fromkeys(range(200), 7))

    def test_a_random_graph_that_is_too_small_for_its_degree_is_complete(self) -> None:
        for count in (1, 2, 3, 8):
            self.assertEqual(len(self.edges("random", count, 50)), count * (count - 1) // 2)

    def test_ring(self) -> None:
        self.assertEqual(self.edges("ring", 4), [(0, 1), (1, 2), (2, 3), (3, 0)])
        self.assertEqual(self.edges("ring", 2), [(0, 1)])
        self.assertEqual(self.edges("ring", 1), [])

    def test_star(self) -> None:
        self.assertEqual(self.edges("star", 4), [(1, 0), (2, 0), (3, 0)])
        self.assertEqual(self.edges("star", 1), [])
