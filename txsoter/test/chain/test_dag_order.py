"""Tests of the colouring and of both orders: :mod:`txsoter.chain.colouring`, :mod:`txsoter.chain.dag_order`."""

from __future__ import annotations

from random import Random
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from txsoter import compiled
from txsoter.chain import Dag, block_graph, colouring
from txsoter.chain.block_graph import BlockGraph
from txsoter.chain.colouring import Colouring
from txsoter.test import vectors
from txsoter.test.chain import ChainTestCase
from txsoter.test.chain.plain_dag import PlainDag
from txsoter.test.chain.test_dag import Blocks, dag_of, dags
from txsoter.test.test_strategies import deterministic


def blocks_of(row: dict[str, Any], feed: str = "blocks") -> Blocks:
    """The blocks of a vector, in an order of feeding."""
    parents = {each["id"]: each["parents"] for each in row["blocks"]}
    return parents if feed == "blocks" else {name: parents[name] for name in row[feed]}


def narrow_dag(rng: Random, size: int) -> Blocks:
    """A DAG of few tips and many generations, some of them left out by a parent far below."""
    names = [f"{number:04x}" for number in rng.sample(range(1 << 16), size)]
    blocks: Blocks = {names[0]: []}
    for at in range(1, size):
        recent = names[max(0, at - rng.randint(1, 5)) : at]
        parents = {rng.choice(recent), rng.choice(recent)}
        if rng.random() < 0.05:
            parents.add(names[rng.randrange(at)])
        blocks[names[at]] = sorted(parents)
    return blocks


class VectorTests(ChainTestCase):
    """Orders that the reference computes with nothing remembered: its pure function."""

    def check(self, row: dict[str, Any], order: str = "order", feed: str = "blocks") -> None:
        dag, k = dag_of(blocks_of(row, feed)), row.get("k", 3)
        self.assertEqual(sorted(dag.blue_set(k)), row["blue"], row["name"])
        self.assertEqual(dag.soterd_order(k), row[order], row["name"])
        for tip, blue in row.get("tip_blue", {}).items():
            self.assertEqual(sorted(dag.blue_set(k, tip)), blue)
        self.assertEqual(dag.missing, frozenset())
        if "tips" in row:
            self.assertEqual(dag.tips, row["tips"])

    def test_small_dags(self) -> None:
        """Of all shapes, and for k from 0 to 10; in many of them the node's order is not topological."""
        rows = vectors.consensus("dag_order")
        for row in rows:
            self.check(row)
            order = dag_of(blocks_of(row)).soterd_order(row["k"])
            place = {name: at for at, name in enumerate(order)}
            self.assertEqual(sorted(set(blocks_of(row)) - set(order)), row["missing"])
            edges = [(parent, each) for each, named in blocks_of(row).items() for parent in named]
            sound = all(place[parent] < place[each] for parent, each in edges if {parent, each} <= place.keys())
            self.assertEqual(sound, row["topological"], row["name"])
        self.assertEqual({row["k"] for row in rows}, {0, 1, 2, 3, 4, 10})
        self.assertGreater(sum(not row["topological"] for row in rows), 50)

    def test_long_dags_in_both_orders_of_feeding(self) -> None:
        for row in vectors.consensus("dag_order_long"):
            self.check(row, "order_after_restart")
            self.check(row, "order_after_restart", "other_feed")

    def test_narrow_dags_beyond_the_horizon(self) -> None:
        for row in vectors.consensus("dag_order_horizon"):
            self.check(row)


class ColouringTests(ChainTestCase):
    """Against the rules word for word."""

    @deterministic(300)
    @given(dags(), st.integers(0, 4))
    def test_small_dags(self, blocks: Blocks, k: int) -> None:
        dag, plain = dag_of(blocks), PlainDag(blocks, k)
        self.assertEqual(dag.blue_set(k), plain.blue_set())
        self.assertEqual(dag.soterd_order(k), plain.soterd_order())
        for each in blocks:
            self.assertEqual(dag.blue_set(k, each), plain.blue_past(each) | {each})

    def test_narrow_dags_with_a_near_horizon(self) -> None:
        """Two generations or so are as good as 200, for what lies beyond."""
        differ = 0
        for seed in range(60):
            rng = Random(seed)
            blocks, k, horizon = narrow_dag(rng, 40), rng.randint(0, 3), rng.choice((1, 2, 3, 4, 6, 8, 12))
            plain = PlainDag(blocks, k, horizon)
            dag: Dag[str] = Dag()
            with patch.object(BlockGraph, "horizon", horizon):
                for name, parents in blocks.items():
                    dag.add(name, parents)
                    # what is found meanwhile is not for ever
                    dag.blue_set(k)
                self.assertEqual(dag.blue_set(k), plain.blue_set(), seed)
                self.assertEqual(dag.soterd_order(k), plain.soterd_order(), seed)
                for each in blocks:
                    self.assertEqual(dag.blue_set(k, each), plain.blue_past(each) | {each}, seed)
            differ += plain.blue_set() != PlainDag(blocks, k).blue_set()
        self.assertGreater(differ, 20)

    def test_the_block_above_the_tips_counts_beyond_the_horizon(self) -> None:
        """It is blue, and in the anticone of blocks that are farther below than the horizon."""
        blocks = {
            "f": [],
            "e": ["f"],
            "a": ["e"],
            "d": ["e", "f"],
            "h": ["d", "e"],
            "b": ["e", "f"],
            "c": ["h"],
            "i": ["a", "c"],
        }
        with patch.object(BlockGraph, "horizon", 3):
            self.assertEqual(dag_of(blocks).blue_set(2), set(blocks) - {"d"})
            self.assertEqual(PlainDag(blocks, 2, 3).blue_set(), set(blocks) - {"d"})

    def test_what_is_forgotten_is_found_again(self) -> None:
        """Blue sets and near pasts are kept in part: with little room the results are the same."""
        for row in vectors.consensus("dag_order_long")[:1]:
            expected = dag_of(blocks_of(row)).blue_set()
            with patch.object(block_graph, "KEPT", 5), patch.object(colouring, "KEPT", 2):
                self.assertEqual(dag_of(blocks_of(row)).blue_set(), expected)

    def test_tips_that_cannot_be_selected_are_not_tried(self) -> None:
        """Thousands on top of the genesis are cheap to mine, and each that is tried has all others to look at."""
        chain = {f"c{number:03}": [f"c{number - 1:03}"] if number else [] for number in range(600)}
        tips = {f"{name}{number:03}": ["c000"] for name in "az" for number in range(100)}
        dag = dag_of({**chain, **tips})
        with patch.object(Colouring, "_spread", autospec=True, side_effect=Colouring._spread) as spread:
            self.assertEqual(dag.blue_set(), set(chain))
        if "txsoter.chain.colouring" not in compiled:  # whose methods call each other directly
            # once for the tip that is selected, once for those beyond the horizon
            self.assertEqual(spread.call_count, 2)

    def test_a_dag_that_is_asked_while_it_grows(self) -> None:
        row = vectors.consensus("dag_order_long")[0]
        dag: Dag[str] = Dag()
        for name, parents in blocks_of(row).items():
            dag.add(name, parents)
            dag.blue_set()
            dag.anticone(name)
        self.assertEqual(sorted(dag.blue_set()), row["blue"])
        self.assertEqual(dag.soterd_order(), row["order_after_restart"])


class TopologicalOrderTests(ChainTestCase):
    """The sound order."""

    @deterministic(200)
    @given(dags(), st.integers(0, 4))
    def test_all_blocks_parents_first(self, blocks: Blocks, k: int) -> None:
        order = dag_of(blocks).topological_order(k)
        self.assertEqual(sorted(order), sorted(blocks))
        place = {name: at for at, name in enumerate(order)}
        for each, parents in blocks.items():
            self.assertTrue(all(place[parent] < place[each] for parent in parents))

    @deterministic(100)
    @given(dags(), st.integers(0, 4))
    def test_the_order_of_a_past_is_settled(self, blocks: Blocks, k: int) -> None:
        """A DAG that ends with a block has it last, and orders its past as any later DAG on top of it does."""
        for each in blocks:
            past = PlainDag(blocks, k).past(each)
            part = dag_of({name: parents for name, parents in blocks.items() if name in past or name == each})
            grown = dag_of({**{name: blocks[name] for name in blocks if name in past or name == each}, "ff": [each]})
            self.assertEqual(part.topological_order(k)[-1], each)
            self.assertEqual(grown.topological_order(k), [*part.topological_order(k), "ff"])

    def test_blue_before_red_and_ties_by_id(self) -> None:
        """Red blocks that are merged come behind the blue ones that are merged with them, whatever their ids."""
        chain = {"g": [], "c1": ["g"], "c2": ["c1"], "c3": ["c2"], "c4": ["c3"], "c5": ["c4"]}
        dag = dag_of({**chain, "a1": ["g"], "a0": ["g"], "b1": ["c3"], "m": ["a0", "a1", "b1", "c5"]})
        self.assertEqual(dag.blue_set(1), {*chain, "b1", "m"})
        self.assertEqual(dag.topological_order(1), ["g", "c1", "c2", "c3", "b1", "c4", "c5", "a0", "a1", "m"])
        # without the block that merges them, the tips are merged in the same way
        dag = dag_of({**chain, "a1": ["g"], "a0": ["g"], "b1": ["c3"]})
        self.assertEqual(dag.topological_order(1), ["g", "c1", "c2", "c3", "b1", "c4", "c5", "a0", "a1"])
