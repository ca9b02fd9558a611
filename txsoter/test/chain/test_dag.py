"""Tests of :mod:`txsoter.chain.dag`: structure, growth, and what callers get wrong."""

from __future__ import annotations

import sys
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from txsoter.chain import Dag
from txsoter.networks import SIMNET
from txsoter.test import vectors
from txsoter.test.chain import ChainTestCase, block_of
from txsoter.test.chain.plain_dag import PlainDag
from txsoter.test.test_strategies import deterministic
from txsoter.wire import Hash

Blocks = dict[str, list[str]]


@st.composite
def dags(draw: st.DrawFn, most: int = 14) -> Blocks:
    """The parents of each block, parents first; some name an ancestor of another parent, too."""
    names = draw(st.permutations([f"{number:02x}" for number in range(most)]))
    size = draw(st.integers(1, most))
    blocks: Blocks = {names[0]: []}
    for name in names[1:size]:
        blocks[name] = draw(st.lists(st.sampled_from(list(blocks)), min_size=1, max_size=4, unique=True))
    return blocks


def dag_of(blocks: Blocks) -> Dag[str]:
    """A DAG of these blocks."""
    dag: Dag[str] = Dag()
    for name, parents in blocks.items():
        dag.add(name, parents)
    return dag


def pictured(dag: Dag[Any], k: int = 3) -> tuple[object, ...]:
    """All that a DAG says."""
    order = dag.topological_order(k)
    return (
        order,
        dag.soterd_order(k),
        dag.blue_set(k),
        dag.tips,
        [(dag.height(each), dag.past(each), dag.anticone(each), dag.blue_set(k, each)) for each in order],
    )


class StructureTests(ChainTestCase):
    """Ancestors and descendants."""

    def test_an_empty_dag(self) -> None:
        dag: Dag[str] = Dag()
        self.assertEqual((len(dag), dag.tips, dag.missing, dag.blue_set()), (0, [], frozenset(), set()))
        self.assertEqual((dag.soterd_order(), dag.topological_order()), ([], []))

    def test_a_genesis_alone(self) -> None:
        dag = dag_of({"g": []})
        self.assertEqual((dag.tips, dag.height("g"), dag.past("g"), dag.anticone("g")), (["g"], 0, set(), set()))
        self.assertEqual((dag.blue_set(), dag.blue_set(tip="g")), ({"g"}, {"g"}))
        self.assertEqual((dag.soterd_order(), dag.topological_order()), (["g"], ["g"]))
        self.assertFalse(dag.is_ancestor("g", "g"))

    @deterministic(200)
    @given(dags())
    def test_past_anticone_height_and_tips(self, blocks: Blocks) -> None:
        dag, plain = dag_of(blocks), PlainDag(blocks, 3)
        self.assertEqual(dag.tips, plain.tips)
        for each in blocks:
            self.assertIn(each, dag)
            self.assertEqual(dag.past(each), plain.past(each))
            self.assertEqual(dag.anticone(each), plain.anticone(each))
            self.assertEqual(dag.height(each), plain.height(each))
            self.assertEqual({other for other in blocks if dag.is_ancestor(other, each)}, plain.past(each))

    @deterministic(150)
    @given(dags(), st.integers(0, 4), st.randoms(use_true_random=False))
    def test_the_order_of_feeding_makes_no_difference(self, blocks: Blocks, k: int, rng: Random) -> None:
        """Not even where children come before parents, and while answers are asked for in between."""
        dag: Dag[str] = Dag()
        names = list(blocks)
        rng.shuffle(names)
        for name in names:
            dag.add(name, rng.sample(blocks[name], len(blocks[name])))
            pictured(dag, k)
        self.assertEqual(pictured(dag, k), pictured(dag_of(blocks), k))
        self.assertEqual((len(dag), dag.missing), (len(blocks), frozenset()))

    def test_hashes_are_sorted_as_people_read_them(self) -> None:
        genesis, low, high = Hash(bytes(32)), Hash(b"\2" + bytes(30) + b"\1"), Hash(b"\1" + bytes(30) + b"\2")
        self.assertLess(high, low)
        self.assertLess(str(low), str(high))
        dag: Dag[Hash] = Dag()
        dag.add(genesis, [])
        for each in (high, low):
            dag.add(each, [genesis])
        self.assertEqual(dag.tips, [low, high])
        self.assertEqual(dag.soterd_order(), [genesis, low, high])
        self.assertEqual(dag.topological_order(), [genesis, low, high])

    def test_ids_may_be_anything_that_is_sorted(self) -> None:
        for genesis, left, right in ((0, 1, 2), ((0, "a"), (0, "b"), (1, "a")), (0.5, 1.5, 2.5)):
            dag: Dag[Any] = Dag()
            dag.add(genesis, [])
            dag.add(right, [genesis])
            dag.add(left, [genesis])
            self.assertEqual(dag.soterd_order(), [genesis, left, right])

    def test_a_long_chain_needs_no_deep_stack(self) -> None:
        size = 3 * sys.getrecursionlimit()
        dag: Dag[int] = Dag()
        # from the last to the first: all wait for the genesis
        for number in reversed(range(size)):
            dag.add(number, [number - 1] if number else [])
        self.assertEqual(dag.topological_order(), list(range(size)))
        self.assertEqual(dag.soterd_order(), list(range(size)))
        self.assertEqual(len(dag.blue_set()), size)


class WaitingTests(ChainTestCase):
    """Blocks whose parents are not there."""

    def test_missing_parents(self) -> None:
        dag = dag_of({"g": []})
        dag.add("c", ["b", "x"])
        dag.add("d", ["c"])
        self.assertEqual((dag.missing, len(dag), dag.tips), ({"b", "x"}, 1, ["g"]))
        self.assertNotIn("c", dag)
        dag.add("b", ["g"])
        self.assertEqual((dag.missing, dag.tips), ({"x"}, ["b"]))
        dag.add("x", ["g"])
        self.assertEqual((dag.missing, dag.tips, dag.height("d")), (frozenset(), ["d"], 3))

    def test_one_that_waits_is_not_there(self) -> None:
        dag = dag_of({"g": [], "c": ["b"]})
        for call in (dag.height, dag.past, dag.anticone):
            self.assert_mistake("id", call, "c")

    def test_blocks_that_wait_for_each_other_wait(self) -> None:
        dag = dag_of({"g": [], "a": ["b"], "b": ["a"]})
        self.assertEqual((dag.missing, len(dag)), (frozenset(), 1))

    def test_as_many_as_are_allowed(self) -> None:
        dag: Dag[str] = Dag(max_waiting=2)
        for name in "ab":
            dag.add(name, ["p"])
        self.assert_invalid("waiting blocks", "2 wait for parents already", dag.add, "c", ["p"])
        # what is there already, and what waits for nothing, is no matter
        dag.add("a", ["p"])
        dag.add("p", [])
        self.assertEqual((len(dag), dag.missing), (3, frozenset()))
        dag.add("c", ["q"])
        self.assertEqual(dag.missing, {"q"})


class MistakeTests(ChainTestCase):
    """Mistakes of callers."""

    def test_a_block_twice(self) -> None:
        dag = dag_of({"g": [], "a": ["g"], "b": ["g"], "w": ["x", "a"]})
        for name, parents in (("a", ["g", "g"]), ("g", []), ("w", ["a", "x"])):
            dag.add(name, parents)
        self.assertEqual(dag.tips, ["a", "b"])
        for name, parents in (("a", ["b"]), ("a", []), ("g", ["a"]), ("w", ["a"])):
            self.assert_mistake("parents", dag.add, name, parents)
        self.assertEqual((len(dag), dag.missing), (3, {"x"}))

    def test_a_second_genesis(self) -> None:
        """A block whose parents were taken away would be one."""
        dag = dag_of({"g": []})
        self.assert_mistake("parents", dag.add, "h", [])
        self.assertEqual(dag.tips, ["g"])

    def test_a_parent_of_itself(self) -> None:
        dag = dag_of({"g": []})
        self.assert_mistake("parents", dag.add, "a", ["g", "a"])

    def test_unknown_ids_and_values_of_k(self) -> None:
        dag = dag_of({"g": []})
        for call in (
            dag.height,
            dag.past,
            dag.anticone,
            lambda other: dag.is_ancestor(other, "g"),
            lambda other: dag.blue_set(3, other),
        ):
            self.assert_mistake("id", call, "x")
        for k in (-1, 1.5, None):
            for method in (dag.blue_set, dag.soterd_order, dag.topological_order):
                self.assert_mistake("k", method, k)


class NodeTests(ChainTestCase):
    """Blocks of a simnet DAG, and what a node said of it after each."""

    def test_states_of_a_running_node(self) -> None:
        dag: Dag[Hash] = Dag()
        dag.add(SIMNET.genesis_hash, [])
        mined = {row["hash"]: block_of(row["raw"][24:].hex()) for row in vectors.dag()}
        states = vectors.consensus("node_order")
        for row in states:
            block = mined[row["last"]]
            parents = [parent.hash for parent in block.parents]
            self.assertEqual([str(each) for each in parents], row["parents"])
            dag.add(block.hash, parents)
            order = dag.soterd_order()
            self.assertEqual([str(each) for each in order], row["order"])
            blue = dag.blue_set(tip=block.hash)
            self.assertEqual([each in blue for each in order], row["isblue"])
            self.assertEqual([str(each) for each in dag.tips], sorted(row["tips"]))
            self.assertEqual((dag.height(block.hash), len(dag)), (row["height"], row["blkcount"]))
        self.assertEqual(len(states), 53)
