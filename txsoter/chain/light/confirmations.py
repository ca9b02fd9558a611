"""``ConfirmationCounter``: the colour of blocks, and the number of blue ones above them."""

from __future__ import annotations

import attrs

from txsoter.chain.dag import Dag
from txsoter.chain.light.header_index import HeaderIndex
from txsoter.wire import Hash

__all__ = ["ConfirmationCounter", "Confirmations"]

AT_ONCE = 250
"""Blocks that are coloured at a time: some 50 ms."""


@attrs.frozen
class Confirmations:
    """The confirmations of a block, and its colour.

    Both may change while the DAG grows: a block may turn red, or blue again.

    :ivar count: blue blocks above it.
    :ivar is_blue: whether it is blue itself.
    """

    count: int
    is_blue: bool


class ConfirmationCounter:
    """Counts blue blocks above others. The DAG is coloured as nodes do, with k = 3.

    :param index: the headers.
    """

    def __init__(self, index: HeaderIndex) -> None:
        self._index = index
        self._dag: Dag[Hash] = Dag()
        self._blue: set[Hash] | None = None

    def catch_up(self) -> bool:
        """Colour some of the blocks that are new in the index; return whether none is left."""
        first = len(self._dag)
        records = self._index.numbered(first, first + AT_ONCE)
        for record in records:
            self._dag.add(record.hash, record.parents)
        if records:
            self._blue = None
            # the DAG remembers the colours
            self._dag.blue_set(tip=records[-1].hash)
        return len(self._dag) == len(self._index)

    def of(self, block_hash: Hash) -> Confirmations:
        """Return the confirmations of a block, in the DAG up to the last :meth:`catch_up`.

        :raises FieldError: for a block that is not in it.
        """
        # first, for its error
        self._dag.height(block_hash)
        if self._blue is None:
            self._blue = self._dag.blue_set()
        above = sum(self._dag.is_ancestor(block_hash, each) for each in self._blue)
        return Confirmations(above, block_hash in self._blue)
