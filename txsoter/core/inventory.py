"""Inventory that the remote is known to have, and inventory that waits for the next trickled announcement."""

from __future__ import annotations

from collections import OrderedDict, deque

from txsoter.wire import InventoryVector

__all__ = ["TRICKLE_BATCH", "KnownInventory", "TrickleQueue"]

TRICKLE_BATCH = 1000
"""The most vectors in one trickled ``inv``."""


class KnownInventory:
    """A most-recently-used set of vectors: type, hash and height together.

    :param limit: how many are remembered; the least recently used go first.
    """

    __slots__ = ("_vectors", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # a plain dict would look through all that it has forgotten for the oldest
        self._vectors: OrderedDict[InventoryVector, None] | None = None

    def add(self, vector: InventoryVector) -> None:
        """Remember ``vector`` as the most recent."""
        if self.limit <= 0:
            return
        vectors = self._vectors
        if vectors is None:
            vectors = self._vectors = OrderedDict()
        vectors.pop(vector, None)
        if len(vectors) >= self.limit:
            vectors.popitem(last=False)
        vectors[vector] = None

    def __contains__(self, vector: object) -> bool:
        return self._vectors is not None and vector in self._vectors

    def __len__(self) -> int:
        return 0 if self._vectors is None else len(self._vectors)


class TrickleQueue:
    """Vectors that wait for the next trickle, in the order in which they came.

    :param limit: how many may wait; past it the oldest go.
    """

    __slots__ = ("_limit", "_waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # with each, whether it is announced although known; made when it is needed, for many never need it
        self._waiting: deque[tuple[InventoryVector, bool]] | None = None

    def append(self, vector: InventoryVector, force: bool = False) -> None:
        """Let ``vector`` wait; ``force`` announces it although the remote is known to have it."""
        if self._waiting is None:
            self._waiting = deque(maxlen=self._limit)
        self._waiting.append((vector, force))

    def next_batch(self, known: KnownInventory, most: int) -> list[InventoryVector]:
        """Remove and return up to ``most`` vectors, without those that became known; marks them as known."""
        batch: list[InventoryVector] = []
        while self._waiting and len(batch) < most:
            vector, force = self._waiting.popleft()
            if force or vector not in known:
                known.add(vector)
                batch.append(vector)
        return batch

    def clear(self) -> None:
        """Forget all."""
        self._waiting = None

    def __len__(self) -> int:
        return 0 if self._waiting is None else len(self._waiting)
