"""Tests of :mod:`txsoter.crawl.map_graph`, against counting by hand and by brute force."""

from __future__ import annotations

import sys
from random import Random
from typing import Any
from unittest import TestCase
from unittest.mock import patch

from txsoter.crawl.map_graph import EclipseCandidate, analyse
from txsoter.crawl.network_map import NodeKind
from txsoter.errors import LocalError
from txsoter.test.crawl.maps import edge, node, the_map


def name(number: int) -> str:
    return f"203.0.113.{number}:5069"


def graph(count: int, pairs: Any) -> Any:
    """A map of nodes 0 to ``count``, all in one address group."""
    return the_map([node(number) for number in range(count)], [edge(name(a), name(b)) for a, b in pairs])


def reached(start: int, pairs: Any, without: int | None = None) -> set[int]:
    found, waiting = {start}, [start]
    while waiting:
        at = waiting.pop()
        for a, b in pairs:
            for other in {a, b} - {at} if at in (a, b) else ():
                if other not in found and other != without:
                    found.add(other)
                    waiting.append(other)
    return found


class ReportTests(TestCase):
    def test_degrees_and_components(self) -> None:
        report = analyse(graph(6, [(0, 1), (1, 2), (2, 0), (3, 4)]))
        self.assertEqual((report.nodes, report.pairs), (6, 4))
        self.assertEqual(report.degrees, {0: 1, 1: 2, 2: 3})
        self.assertEqual(report.components, (3, 2, 1))
        self.assertEqual(report.articulation_points, {})

    def test_who_dialled_is_nothing_to_it(self) -> None:
        self.assertEqual(analyse(graph(2, [(0, 1), (1, 0)])).pairs, 1)

    def test_what_is_not_in_the_graph(self) -> None:
        """Nodes that are not reachable, edges to nowhere, edges whose dialler is not known, loops."""
        nodes = [node(0), node(1), node(2, kind=NodeKind.DOWN)]
        edges = [
            edge(name(0), name(2)),
            edge(name(0), name(9)),
            edge(name(0), name(1), unmatched=True),
            edge(name(1), name(1)),
        ]
        report = analyse(the_map(nodes, edges))
        self.assertEqual((report.nodes, report.pairs, report.components), (2, 0, (1, 1)))

    def test_an_empty_map(self) -> None:
        report = analyse(the_map([]))
        self.assertEqual((report.nodes, report.components, report.eclipse_candidates), (0, (), ()))

    def test_articulation_points_and_how_many_are_behind(self) -> None:
        """A square, to which a chain hangs by node 0, and to its end a triangle."""
        pairs = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (4, 5), (5, 6), (6, 7), (7, 5)]
        report = analyse(graph(8, pairs))
        self.assertEqual(report.articulation_points, {name(0): 4, name(4): 3, name(5): 2})
        behind = {each.name: each.behind for each in report.eclipse_candidates if each.behind}
        self.assertEqual(behind, {name(4): name(0), name(5): name(4), name(6): name(5), name(7): name(5)})

    def test_random_graphs_against_brute_force(self) -> None:
        random = Random(3)
        for _ in range(60):
            count = random.randrange(2, 14)
            pairs = [(random.randrange(count), random.randrange(count)) for _ in range(random.randrange(1, 16))]
            pairs = [(a, b) for a, b in pairs if a != b]
            report = analyse(graph(count, pairs))
            whole = {number: reached(number, pairs) for number in range(count)}
            for cut in range(count):
                rest = whole[cut] - {cut}
                parts = {frozenset(reached(each, pairs, cut)) for each in rest}
                self.assertEqual(name(cut) in report.articulation_points, len(parts) > 1, (count, pairs))
            for candidate in report.eclipse_candidates:
                if candidate.behind is not None:
                    each, cut = (
                        int(text.split(":")[0].rpartition(".")[2]) for text in (candidate.name, candidate.behind)
                    )
                    side = reached(each, pairs, cut)
                    self.assertLess(len(side), len(whole[each]) - 1, "something is on the other side")
            self.assertEqual(sorted(report.components, reverse=True), list(report.components))
            self.assertEqual(sum(report.components), count)
            for point, cut_off in report.articulation_points.items():
                at = int(point.split(":")[0].rpartition(".")[2])
                sides = [len(part) for part in {frozenset(reached(each, pairs, at)) for each in whole[at] - {at}}]
                self.assertIn(cut_off, [sum(sides) - side for side in sides], (pairs, point))

    def test_a_long_chain_takes_no_longer(self) -> None:
        count = 3000
        nodes = [node(0, host=f"11.0.{number // 250}.{number % 250}") for number in range(count)]
        edges = [edge(nodes[number].name, nodes[number + 1].name) for number in range(count - 1)]
        report = analyse(the_map(nodes, edges))
        self.assertEqual(len(report.articulation_points), count - 2)
        self.assertEqual(max(report.articulation_points.values()), count - 2)

    def test_neighbours_in_one_address_group(self) -> None:
        hosts = ["198.51.100.1", "11.1.0.1", "11.1.9.9", "11.2.0.1", "2600:1::1", "2600:2::1"]
        nodes = [node(0, host=host) for host in hosts]
        names = [each.name for each in nodes]
        pairs = [(0, 1), (0, 2), (3, 4), (3, 5), (1, 3), (1, 4), (2, 4), (5, 4), (2, 5)]
        report = analyse(the_map(nodes, [edge(names[a], names[b]) for a, b in pairs]))
        self.assertEqual(report.eclipse_candidates, (EclipseCandidate(names[0], "11.1.0.0/16", None, 2),))

    def test_ipv6_and_names_have_groups(self) -> None:
        nodes = [node(0, host=host) for host in ("2600:1:2::1", "2600:1:3::1", "abc.onion")]
        names = [each.name for each in nodes]
        report = analyse(the_map(nodes, [edge(names[0], names[1]), edge(names[1], names[2])]))
        groups = {each.name: each.one_group for each in report.eclipse_candidates}
        self.assertEqual(groups, {names[0]: "2600:0001::/32", names[2]: "2600:0001::/32"})

    def test_without_rustworkx(self) -> None:
        with patch.dict(sys.modules, {"rustworkx": None}):
            self.assertRaisesRegex(LocalError, r"pip install 'txsoter\[crawl\]'", analyse, the_map([]))
