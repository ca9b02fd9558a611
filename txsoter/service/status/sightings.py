"""What remotes announce: who was first, how many followed, and how late."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import median

import attrs

from txsoter.wire import ZERO_HASH, Hash, InventoryType, InventoryVector

__all__ = ["MAX_ANNOUNCED_BLOCKS", "MAX_FOLLOWERS", "MAX_LOOKED_AT", "Announced", "Announcer", "Sighting", "Sightings"]

MAX_LOOKED_AT = 200
"""How many vectors of one ``inv``, the last of them, are looked at: a remote may send 50,000 again and again."""

MAX_ANNOUNCED_BLOCKS = 10
"""A message that names more blocks than this is no announcement, but the answer to a question."""

MAX_FOLLOWERS = 256
"""How many of those who followed are remembered for each thing announced."""

_KIND = ~(InventoryType.WITNESS_TX ^ InventoryType.TX)


@attrs.frozen
class Announcer:
    """A remote, as it is named for as long as what it was the first to announce is shown.

    :ivar id: no other peer of this process has it.
    :ivar address: for people.
    :ivar agent: for people.
    """

    id: int
    address: str
    agent: str


class Sighting:
    """Something that was announced.

    :ivar hash: its hash.
    :ivar height: a block's; -1 while nobody has named it.
    :ivar first: who announced it first.
    :ivar first_at: when that was.
    :ivar delays: seconds after which each of the others followed, by peer.
    """

    __slots__ = ("delays", "first", "first_at", "hash", "height")

    def __init__(self, hash: Hash, height: int, first: Announcer, first_at: float) -> None:
        self.hash = hash
        self.height = height
        self.first = first
        self.first_at = first_at
        self.delays: dict[int, float] = {}

    @property
    def median_delay(self) -> float | None:
        """Seconds after which half of those who followed had; None while nobody has."""
        return median(self.delays.values()) if self.delays else None

    @property
    def last_delay(self) -> float | None:
        """Seconds after which the last one followed; None while nobody has."""
        return max(self.delays.values(), default=None)


class Sightings:
    """The latest things of one kind that were announced, each once. Times are seconds, as arguments.

    :param limit: how many are remembered; the oldest go.
    :ivar total: how many there have been.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # an ordered one, for a plain dict that loses its first entry again and again looks through all it has lost
        self._seen: OrderedDict[bytes, Sighting] = OrderedDict()
        self.total = 0

    def __len__(self) -> int:
        return len(self._seen)

    def note(self, hash: bytes, height: int, announcer: Announcer, now: float) -> None:
        """Somebody announces something."""
        sighting = self._seen.get(hash)
        if sighting is None:
            self._seen[hash] = Sighting(Hash(hash), height, announcer, now)
            self.total += 1
            if len(self._seen) > self._limit:
                self._seen.popitem(last=False)
            return
        if sighting.height < 0:
            sighting.height = height
        delays, id = sighting.delays, announcer.id
        if id not in delays and id != sighting.first.id and len(delays) < MAX_FOLLOWERS:
            delays[id] = max(0.0, now - sighting.first_at)

    def latest(self, count: int) -> Iterator[Sighting]:
        """The last ``count``, the newest first."""
        return islice(reversed(self._seen.values()), count)


class Announced:
    """Blocks and transactions that remotes have announced.

    :param blocks: how many blocks are remembered.
    :param transactions: how many transactions are.
    """

    def __init__(self, blocks: int = 100, transactions: int = 1000) -> None:
        self.blocks = Sightings(blocks)
        self.transactions = Sightings(transactions)
        self._heights: dict[int, int] = {}

    def height_of(self, id: int) -> int:
        """The height of the highest block that a peer has announced, -1 without one."""
        return self._heights.get(id, -1)

    def forget(self, id: int) -> None:
        """A peer has gone; what it has announced stays."""
        self._heights.pop(id, None)

    def vectors(self, vectors: Sequence[InventoryVector], announcer: Announcer, now: float) -> None:
        """An ``inv`` has come."""
        blocks: list[tuple[bytes, int]] = []
        for type, hash, height in vectors[-MAX_LOOKED_AT:]:
            kind = type & _KIND
            if kind == InventoryType.TX:
                self.transactions.note(hash, -1, announcer, now)
            # a zero hash asks us to ask again
            elif kind == InventoryType.BLOCK and hash != ZERO_HASH:
                blocks.append((hash, height))
        self.listed(blocks, announcer, now)

    def listed(self, blocks: Sequence[tuple[bytes, int]], announcer: Announcer, now: float) -> None:
        """Hashes and heights of blocks have come, -1 for a height that was not named."""
        if blocks:
            highest = max(height for _, height in blocks)
            if highest > self.height_of(announcer.id):
                self._heights[announcer.id] = highest
        if len(blocks) <= MAX_ANNOUNCED_BLOCKS:
            for hash, height in blocks:
                self.blocks.note(hash, height, announcer, now)
