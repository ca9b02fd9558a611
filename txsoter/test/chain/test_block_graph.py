"""Tests of :mod:`txsoter.chain.block_graph` and :mod:`txsoter.chain.bit_sets`."""

from __future__ import annotations

from random import Random
from unittest import TestCase
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from txsoter.chain import block_graph
from txsoter.chain.bit_sets import from_members, lowest, members, pack, unpack
from txsoter.chain.block_graph import BlockGraph
from txsoter.test.chain.plain_dag import PlainDag
from txsoter.test.chain.test_dag_order import narrow_dag
from txsoter.test.test_strategies import deterministic


class BitSetTests(TestCase):
    """Sets of whole numbers as integers."""

    @deterministic(200)
    @given(st.sets(st.integers(0, 3000)), st.integers(0, 9))
    def test_round_trips(self, found: set[int], count: int) -> None:
        bits = from_members(list(found))
        self.assertEqual(bits, sum(1 << each for each in found))
        self.assertEqual(members(bits), sorted(found))
        self.assertEqual(lowest(bits, count), sorted(found)[:count])
        self.assertEqual(unpack(pack(bits)), bits)
        self.assertLessEqual(pack(bits)[1].bit_length(), max(found, default=0) - min(found, default=0) + 1)


class GraphTests(TestCase):
    """Numbers for ids; the rest is tested by way of :class:`Dag`."""

    def graph_of(self, seed: int, size: int) -> tuple[BlockGraph, PlainDag, list[str]]:
        blocks = narrow_dag(Random(seed), size)
        names, graph = list(blocks), BlockGraph()
        for parents in blocks.values():
            graph.add(names.index(parent) for parent in parents)
        return graph, PlainDag(blocks, 3), names

    def named(self, bits: int, names: list[str]) -> set[str]:
        return {names[number] for number in members(bits)}

    def test_near_pasts_and_futures(self) -> None:
        for seed, horizon in enumerate((1, 2, 3, 4, 5, 6, 8, 12, 16, 25)):
            with patch.object(BlockGraph, "horizon", horizon), patch.object(block_graph, "KEPT", 40):
                graph, plain, names = self.graph_of(seed, 60)
                for number, name in enumerate(names):
                    self.assertEqual(self.named(graph.near_past(number), names), plain.past(name, horizon))
                    self.assertEqual(
                        self.named(graph.near_future(number), names), plain.future(name, horizon) - {plain.top}
                    )
                top = plain.past(plain.top, horizon)
                self.assertEqual(self.named(graph.near_past_of_tips(), names), top)
                # what is kept is bounded
                self.assertLessEqual(len(graph._near), 40)

    def test_depths(self) -> None:
        """Generations to the genesis along the shortest way, as heights are along the longest."""
        graph, plain, names = self.graph_of(3, 40)
        for number, name in enumerate(names):
            self.assertEqual(graph.heights[number], plain.height(name))
            shortest = next(depth for depth in range(41) if not number or names[0] in plain.past(name, depth))
            self.assertEqual(graph.depths[number], shortest)

    def test_anticones_asked_now_and_then(self) -> None:
        """New blocks are filled in one by one, or all anew: the anticones are the same."""
        blocks = narrow_dag(Random(7), 60)
        names = list(blocks)
        for every in (1, 2, 7, 60):
            graph = BlockGraph()
            for number, parents in enumerate(blocks.values()):
                graph.add(names.index(parent) for parent in parents)
                if (number + 1) % every == 0:
                    part = PlainDag({name: blocks[name] for name in names[: number + 1]}, 3)
                    for other in range(number + 1):
                        self.assertEqual(self.named(graph.anticone(other), names), part.anticone(names[other]))

    def test_pasts_take_few_bytes(self) -> None:
        """A block keeps what is not in its past, which in a DAG that merges its tips is near and little."""
        graph = BlockGraph()
        graph.add(())
        for number in range(1, 4000):
            graph.add(range(max(0, number - 3 - number % 3), max(1, number - number % 3)))
        self.assertLess(max(bits.bit_length() for _, bits in graph._earlier), 9)
        self.assertEqual(graph.past(3999).bit_count(), 3999 - len(members(graph.anticone(3999))))
