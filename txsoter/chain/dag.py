"""The DAG of blocks: who came before whom, what is blue, and in which order all of it stands."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Generic, TypeVar

from txsoter.chain.bit_sets import members
from txsoter.chain.block_graph import BlockGraph
from txsoter.chain.colouring import Colouring
from txsoter.chain.dag_order import node_order, parents_first_order
from txsoter.errors import FieldError, InvalidProof
from txsoter.wire import Hash

__all__ = ["Dag"]

Id = TypeVar("Id", bound=Hashable)

MAX_WAITING = 100_000

K = 3
"""The node's limit to blue blocks in the anticone of a blue one."""


class Dag(Generic[Id]):
    """A DAG of blocks that grows.

    Blocks may be added in any order: one whose parents are not all there waits for them, and is not part of the DAG
    meanwhile. The result does not depend on the order. Ids are any values of one kind that can be hashed and sorted; a
    :class:`~txsoter.wire.Hash` is sorted as people read it. Nothing is checked but the structure, and memory grows with
    each block: check a block's proof of work before it is added.

    :param max_waiting: blocks that may wait for parents.
    """

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._max_waiting = max_waiting
        self._graph = BlockGraph()
        self._ids: list[Id] = []
        self._keys: list[Any] = []
        self._numbers: dict[Id, int] = {}
        self._waiting: dict[Id, tuple[Id, ...]] = {}
        # ids of those that wait for each one
        self._waited_for: dict[Id, list[Id]] = {}
        self._colourings: dict[int, Colouring] = {}

    def add(self, id: Id, parents: Iterable[Id]) -> None:
        """Add a block.

        :param parents: ids of the blocks that it builds on, in any order; none for the genesis.
        :raises FieldError: for a second genesis, a block that is its own parent, or one that is there with others.
        :raises InvalidProof: for one that would have to wait where too many wait already.
        """
        named = tuple(dict.fromkeys(parents))
        if id in self._numbers or id in self._waiting:
            if set(named) != set(self._parents(id)):
                raise FieldError("parents", named, "those that the block was added with")
            return
        if id in named:
            raise FieldError("parents", named, "other blocks than itself")
        if not named and self._ids:
            raise FieldError("parents", named, f"at least one: the genesis is {self._ids[0]}")
        lacking = [parent for parent in named if parent not in self._numbers]
        if not lacking:
            self._connect(id, named)
            return
        if len(self._waiting) >= self._max_waiting:
            raise InvalidProof("waiting blocks", f"{len(self._waiting)} wait for parents already, at most as many may")
        self._waiting[id] = named
        for parent in lacking:
            self._waited_for.setdefault(parent, []).append(id)

    def _parents(self, id: Id) -> Iterable[Id]:
        if id in self._waiting:
            return self._waiting[id]
        return [self._ids[parent] for parent in self._graph.parents[self._numbers[id]]]

    def _connect(self, id: Id, parents: Iterable[Id]) -> None:
        """Put a block into the graph, and those that have waited for it alone."""
        ready = [(id, parents)]
        for each, named in ready:
            self._numbers[each] = self._graph.add(self._numbers[parent] for parent in named)
            self._ids.append(each)
            self._keys.append(each[::-1] if isinstance(each, Hash) else each)
            for child in self._waited_for.pop(each, ()):
                if all(parent in self._numbers for parent in self._waiting[child]):
                    ready.append((child, self._waiting.pop(child)))

    def __len__(self) -> int:
        """Blocks in the DAG, those that wait left out."""
        return len(self._ids)

    def __contains__(self, id: object) -> bool:
        return id in self._numbers

    @property
    def missing(self) -> frozenset[Id]:
        """Ids of parents that were named and have not been added."""
        return frozenset(id for id in self._waited_for if id not in self._waiting)

    @property
    def tips(self) -> list[Id]:
        """Ids of the blocks without children, ascending."""
        return [self._ids[number] for number in sorted(self._graph.tips, key=self._keys.__getitem__)]

    def height(self, id: Id) -> int:
        """Return a block's height: one more than its highest parent's; 0 for the genesis.

        :raises FieldError: here and below, for an id that is not in the DAG.
        """
        return self._graph.heights[self._number(id)]

    def past(self, id: Id) -> set[Id]:
        """Return the ids of a block's ancestors."""
        return self._named(self._graph.past(self._number(id)))

    def anticone(self, id: Id) -> set[Id]:
        """Return the ids of the blocks that are neither ancestors nor descendants of a block."""
        return self._named(self._graph.anticone(self._number(id)))

    def is_ancestor(self, ancestor: Id, id: Id) -> bool:
        """Return whether ``ancestor`` is in the past of ``id``; no block is in its own."""
        return self._graph.is_ancestor(self._number(ancestor), self._number(id))

    def blue_set(self, k: int = K, tip: Id | None = None) -> set[Id]:
        """Return the ids of the blue blocks, as the node colours them.

        :param k: number of blue blocks that may be in the anticone of another; the node's is 3.
        :param tip: the block whose past, and itself, is coloured, as the node's ``getdagcoloring`` does with the last
            that it connected; None for the whole DAG.
        """
        colouring = self._colouring(k)
        if tip is not None:
            return self._named(colouring.blue_set(self._number(tip)))
        return self._named(colouring.blue_set_of_all()) if self._ids else set()

    def soterd_order(self, k: int = K) -> list[Id]:
        """Return the order that the node computes, to compare with a node's.

        It may leave blocks out, and may put one before a parent of its: see :meth:`topological_order`.
        """
        if not self._ids:
            return []
        return [self._ids[number] for number in node_order(self._graph, self._keys, self._colouring(k))]

    def topological_order(self, k: int = K) -> list[Id]:
        """Return an order of all blocks: parents first, blue past before red, ties by id.

        The order of a block's past is settled with the block, and stays as it is while the DAG grows.
        """
        if not self._ids:
            return []
        return [self._ids[number] for number in parents_first_order(self._graph, self._keys, self._colouring(k))]

    def _number(self, id: Id) -> int:
        try:
            return self._numbers[id]
        except KeyError:
            raise FieldError("id", id, "of a block in the DAG") from None

    def _named(self, bits: int) -> set[Id]:
        return {self._ids[number] for number in members(bits)}

    def _colouring(self, k: int) -> Colouring:
        if not isinstance(k, int) or k < 0:
            raise FieldError("k", k, "a whole number from 0")
        return self._colourings.setdefault(k, Colouring(self._graph, self._keys, k))
