"""The DAG of blocks by number: parents, children, heights, and who is in whose past.

Blocks are numbered as they are added, parents first. Of a block's past only the exceptions are kept: the blocks of
lower number that are not in it, few and recent in a DAG whose blocks merge its tips. That takes some bytes a block,
where a set of its whole past would take one bit for each block before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from txsoter.chain.bit_sets import PackedSet, from_members, members, pack, unpack

__all__ = ["BlockGraph"]

KEPT = 40_000
"""Sets of near ancestors that are kept until all are found anew."""


class BlockGraph:
    """A DAG of numbered blocks, the first of which is the genesis.

    :cvar horizon: generations, counted along the shortest way, that near pasts and futures reach.
    :ivar parents: of each block.
    :ivar children: of each block.
    :ivar heights: of each block, one more than its highest parent's.
    :ivar depths: of each block, one more than its lowest parent's: generations to the genesis, along the shortest way.
    """

    horizon: ClassVar[int] = 200

    def __init__(self) -> None:
        self.parents: list[list[int]] = []
        self.children: list[list[int]] = []
        self.heights: list[int] = []
        self.depths: list[int] = []
        self.tips: set[int] = set()
        # near ancestors and those farthest away, by block and distance
        self._near: dict[tuple[int, int], tuple[PackedSet, PackedSet]] = {}
        # near descendants, until the next block may change them
        self._futures: dict[int, PackedSet] = {}
        # of each block those of lower number that are not in its past
        self._earlier: list[PackedSet] = []
        # of each block those of higher number that it is not in the past of, counted from the block itself; of a new
        # block they are filled in when they are asked for
        self._later: list[int] = []
        # of each block the last search that has found it
        self._found_by: list[object] = []

    def __len__(self) -> int:
        return len(self.parents)

    def add(self, parents: Iterable[int]) -> int:
        """Add a block above ``parents``, and return its number."""
        number = len(self.parents)
        known = list(parents)
        # what no parent has: neither the parent itself nor its past
        outside = (1 << number) - 1
        for parent in known:
            outside &= self._earlier_than(parent) | (1 << number) - (2 << parent)
            self.children[parent].append(number)
        self.parents.append(known)
        self.children.append([])
        self._found_by.append(None)
        self.heights.append(1 + max((self.heights[parent] for parent in known), default=-1))
        self.depths.append(1 + min((self.depths[parent] for parent in known), default=-1))
        self._earlier.append(pack(outside))
        self._futures.clear()
        self.tips.difference_update(known)
        self.tips.add(number)
        return number

    def _earlier_than(self, number: int) -> int:
        return unpack(self._earlier[number])

    def past(self, number: int) -> int:
        """Return the set of a block's ancestors."""
        return ((1 << number) - 1) ^ self._earlier_than(number)

    def anticone(self, number: int) -> int:
        """Return the set of blocks that are neither ancestors nor descendants."""
        return self._earlier_than(number) | self._later_than(number)

    def _later_than(self, number: int) -> int:
        if len(self._later) < len(self.parents):
            self._fill_in()
        return self._later[number] << number

    def _fill_in(self) -> None:
        """Bring what is known of blocks of higher number up to date, one by one or all anew, whatever is less work."""
        later, end = self._later, len(self.parents)
        new = range(len(later), end)
        later += [0] * len(new)
        if sum(self._earlier[number][1].bit_count() for number in new) < end:
            for number in new:
                for other in members(self._earlier_than(number)):
                    later[other] |= 1 << number - other
            return
        for number in reversed(range(end)):
            outside = (2 << end - 1 - number) - 2
            for child in self.children[number]:
                outside &= later[child] << child - number | (1 << child - number) - 2
            later[number] = outside

    def is_ancestor(self, number: int, other: int) -> bool:
        """Return whether ``number`` is in the past of ``other``."""
        low, bits = self._earlier[other]
        return number < other and (number < low or not bits >> number - low & 1)

    def near_past(self, number: int) -> int:
        """Return the set of a block's ancestors within the horizon."""
        if self.heights[number] <= self.horizon:
            return self.past(number)
        return self._within(number, self.horizon)[0]

    def _within(self, number: int, distance: int) -> tuple[int, int]:
        """Return the ancestors at most ``distance`` generations away, and those of them exactly so far.

        Those at half of the distance have them, too, and few blocks are there: they are searched one by one over a
        short distance only.
        """
        kept = self._near.get((number, distance))
        if kept is not None:
            return unpack(kept[0]), unpack(kept[1])
        if distance % 2:
            within, farthest = self._search([number], self.parents, distance)
            near, edge = from_members(within), from_members(farthest)
        else:
            near, halfway = self._within(number, distance // 2)
            edge = 0
            for each in members(halfway):
                all_of_it, edge_of_it = self._within(each, distance // 2)
                near |= all_of_it ^ edge_of_it
                edge |= edge_of_it
            edge &= ~near
            near |= edge
        if len(self._near) >= KEPT:
            self._near.clear()
        self._near[number, distance] = pack(near), pack(edge)
        return near, edge

    def near_past_of_tips(self) -> int:
        """Return the set within the horizon of a block above all tips."""
        tips = list(self.tips)
        return from_members(tips + self._search(tips, self.parents, self.horizon - 1)[0])

    def near_future(self, number: int) -> int:
        """Return the set of a block's descendants within the horizon."""
        kept = self._futures.get(number)
        if kept is None:
            kept = self._futures[number] = pack(from_members(self._search([number], self.children, self.horizon)[0]))
        return unpack(kept)

    def _search(self, start: list[int], edges: list[list[int]], distance: int) -> tuple[list[int], list[int]]:
        """Return the blocks at most ``distance`` edges away from any of ``start``, and those of them exactly so far."""
        found_by, this = self._found_by, object()
        level = start
        found: list[int] = []
        for _ in range(distance):
            following: list[int] = []
            for each in level:
                for other in edges[each]:
                    if found_by[other] is not this:
                        found_by[other] = this
                        following.append(other)
            found += following
            level = following
            if not level:
                break
        return found, level
