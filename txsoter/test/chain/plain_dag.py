"""The rules of the DAG word for word, with sets of ids and no thought of speed: what :class:`Dag` is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["PlainDag"]

EVERYTHING = 1 << 30


class PlainDag:
    """A DAG that does not grow.

    :param parents: of each block.
    :param horizon: generations that pasts and futures reach in colouring.
    """

    def __init__(self, parents: Mapping[str, Sequence[str]], k: int, horizon: int = 200) -> None:
        self.k = k
        self.horizon = horizon
        self.tips = sorted(set(parents) - {parent for named in parents.values() for parent in named})
        # above all tips, and in no order: nothing else is ever a child of a tip
        self.top = "~"
        self.parents = {**parents, self.top: self.tips}
        self.children: dict[str, set[str]] = {each: set() for each in self.parents}
        for each, named in self.parents.items():
            for parent in named:
                self.children[parent].add(each)
        self.blocks = set(parents)
        self._blue: dict[str, set[str]] = {}

    def past(self, block: str, generations: int = EVERYTHING) -> set[str]:
        """Ancestors."""
        return self._reached(block, self.parents, generations)

    def future(self, block: str, generations: int = EVERYTHING) -> set[str]:
        """Descendants."""
        return self._reached(block, self.children, generations)

    def _reached(self, block: str, edges: Mapping[str, object], generations: int) -> set[str]:
        seen: set[str] = set()
        level = {block}
        for _ in range(generations):
            level = {other for each in level for other in self._edges(edges, each)} - seen
            if not level:
                break
            seen |= level
        return seen

    @staticmethod
    def _edges(edges: Mapping[str, object], block: str) -> set[str]:
        found = edges[block]
        assert isinstance(found, (set, list, tuple))
        return set(found)

    def anticone(self, block: str) -> set[str]:
        """Neither ancestors nor descendants."""
        return self.blocks - self.past(block) - self.future(block) - {block}

    def height(self, block: str) -> int:
        """The longest way to the genesis."""
        return max((self.height(parent) + 1 for parent in self.parents[block]), default=0)

    def _near_anticone(self, block: str, area: set[str]) -> set[str]:
        return area - self.past(block, self.horizon) - self.future(block, self.horizon) - {block}

    def blue_past(self, block: str) -> set[str]:
        """The blue set of a block's past."""
        if block not in self._blue:
            area = self.past(block, self.horizon)
            found: set[str] = set()
            for parent in sorted(self.parents[block]):
                blue = self._grown(parent, area, self.blue_past(parent) | {parent})
                if len(blue) > len(found):
                    found = blue
            self._blue[block] = found
        return self._blue[block]

    def _grown(self, block: str, area: set[str], blue: set[str]) -> set[str]:
        for each in sorted(self._near_anticone(block, area)):
            if len(self._near_anticone(each, area) & blue) <= self.k:
                blue = blue | {each}
        return blue

    def blue_set(self) -> set[str]:
        """The blue set of the whole."""
        return self._grown(self.top, {*self.blocks, self.top}, self.blue_past(self.top) | {self.top}) - {self.top}

    def soterd_order(self) -> list[str]:
        """The node's order."""
        blue = {*self.blue_set(), self.top}
        [genesis] = [each for each in self.blocks if not self.parents[each]]
        queue, order = [genesis], []
        for each in queue:
            if each == self.top:
                break
            order.append(each)
            for child in sorted(self.children[each] & blue):
                between = self.anticone(each) & self.past(child)
                queue += [other for other in [*sorted(between), child] if other not in queue]
        return order
