"""The blue set of a block's past, as the node colours it: PHANTOM's greedy algorithm, with a horizon.

Each parent is tried as the selected parent: the blue set of its past, then the parent itself, then, in the order of
their ids, the blocks of its anticone that have at most k blue blocks in their own anticone. The largest of these sets
is the block's; of several, that of the lowest id. Only the last 200 generations of the block's past take part, and
among them an ancestor or descendant more than 200 generations away counts as a member of the anticone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from txsoter.chain.bit_sets import lowest, members
from txsoter.chain.block_graph import BlockGraph

__all__ = ["Colour", "Colouring"]

KEPT = 1000
"""Blue sets that are kept whole; others are put together again."""


class Colour(NamedTuple):
    """The blue set of a block's past, as what it adds to the blue set of the selected parent's past.

    :param selected: the selected parent, which is blue; -1 for a genesis block.
    :param added: the other blocks that become blue.
    """

    selected: int
    added: tuple[int, ...]


class Colouring:
    """The blue sets of a graph that grows.

    :param keys: of each block, in whose order blocks are tried; kept by the owner of the graph.
    :param k: number of blue blocks that may be in the anticone of another.
    """

    def __init__(self, graph: BlockGraph, keys: list[Any], k: int) -> None:
        self._graph = graph
        self._keys = keys
        self._k = k
        self._colours: list[Colour] = []
        self._sets: dict[int, int] = {}
        self._tips: tuple[int, Colour, int] = (0, Colour(-1, ()), 0)

    def colour(self, number: int) -> Colour:
        """Return what the blue set of a block's past adds to that of its selected parent's."""
        # parents first, so that none waits for another
        while len(self._colours) <= number:
            self._colours.append(self._new_colour(len(self._colours)))
        return self._colours[number]

    def blue_set(self, number: int) -> int:
        """Return the blue set of a block's past, and the block."""
        bits, at = 0, number
        while at >= 0 and at not in self._sets:
            selected, added = self.colour(at)
            bits |= sum(1 << each for each in added) | 1 << at
            at = selected
        if at >= 0:
            bits |= self._sets[at]
        self._keep(number, bits)
        return bits

    def _keep(self, number: int, bits: int) -> None:
        self._sets[number] = bits
        if len(self._sets) > KEPT:
            del self._sets[next(iter(self._sets))]

    def blue_set_of_all(self) -> int:
        """Return the blue set of the whole graph: of the past of a block above all tips."""
        return self._all()[2]

    def colour_of_all(self) -> Colour:
        """Return what that blue set adds to the selected tip's, without blocks beyond the horizon."""
        return self._all()[1]

    def _all(self) -> tuple[int, Colour, int]:
        graph = self._graph
        size = len(graph)
        if self._tips[0] != size:
            near = graph.near_past_of_tips()
            top = max(graph.heights)
            colour, blue = self._best(graph.tips, near, size, top)
            # to those beyond the horizon the block above the tips is in the anticone, and blue
            whole = (1 << size) - 1
            blue = self._spread(whole & ~near, whole, blue, self._k - 1, top)
            self._tips = (size, colour, blue)
        return self._tips

    def _new_colour(self, number: int) -> Colour:
        graph = self._graph
        parents = graph.parents[number]
        if len(parents) > 1:
            colour, blue = self._best(parents, graph.near_past(number), number, graph.heights[number] - 1)
            self._keep(number, blue | 1 << number)
            return colour
        # nothing of a single parent's anticone is in the past
        return Colour(parents[0] if parents else -1, ())

    def _best(self, parents: Iterable[int], area: int, number: int, top: int) -> tuple[Colour, int]:
        """Return the largest of the blue sets with one of ``parents`` each as the selected parent, and what it adds.

        :param area: the blocks that may become blue.
        :param number: of the block whose parents they are.
        :param top: the greatest height in the area.
        """
        graph = self._graph
        candidates = []
        for rank, parent in enumerate(sorted(parents, key=self._keys.__getitem__)):
            others = area & ~graph.near_past(parent) & ~(1 << parent)
            blue = self.blue_set(parent)
            candidates.append((-blue.bit_count() - others.bit_count(), rank, parent, others, blue))
        # the largest bound first: thousands of tips that branch off far below need not be tried
        candidates.sort()
        best, most, first, chosen = 0, -1, -1, -1
        for bound, rank, parent, others, blue in candidates:
            if -bound < most:
                break
            if any(child < number and graph.is_ancestor(child, number) for child in graph.children[parent]):
                others &= ~graph.near_future(parent)
            blue = self._spread(others, area, blue, self._k, top)
            size = blue.bit_count()
            if size > most or (size == most and rank < first):
                best, most, first, chosen = blue, size, rank, parent
        added = members(best & ~self.blue_set(chosen))
        return Colour(chosen, tuple(added)), best

    def _spread(self, others: int, area: int, blue: int, k: int, top: int) -> int:
        """Return ``blue`` with those of ``others`` that it leaves blue, one after the other."""
        graph = self._graph
        heights, depths = graph.heights, graph.depths
        numbers = members(others & ~blue) if k >= 0 else []
        oldest = lowest(area & blue, k + 1)
        if numbers and len(oldest) > k:
            # further above these than the horizon a block has them all in its anticone; to most this is all there is
            depth, height = max(depths[each] for each in oldest) + graph.horizon, max(heights[each] for each in oldest)
            numbers = [each for each in numbers if depths[each] <= depth or heights[each] < height]
        blues = area & blue
        for number in sorted(numbers, key=self._keys.__getitem__):
            height = heights[number]
            anticone = graph.anticone(number)
            count = (blues & anticone).bit_count()
            if count <= k and height > graph.horizon:
                far = blues & graph.past(number) & ~graph.near_past(number)
                count += far.bit_count()
            if count <= k and top - height > graph.horizon:
                far = (blues >> number + 1 << number + 1) & ~anticone & ~graph.near_future(number)
                count += far.bit_count()
            if count <= k:
                blue |= 1 << number
                blues |= 1 << number
        return blue
