"""A table of slots in buckets: where an address may stand is a matter of a secret key, not of who brings it."""

from __future__ import annotations

from hashlib import blake2b
from random import Random

from txsoter.service.book.known import Known
from txsoter.service.book.places import Place

__all__ = ["BUCKET", "NEW_BUCKETS", "TRIED_BUCKETS", "Slots", "Table"]

BUCKET = 16
"""Slots of a bucket."""

NEW_BUCKETS = 1024
"""Buckets of the hearsay."""

TRIED_BUCKETS = 256
"""Buckets of those that have worked."""

PER_SOURCE = 64
"""Buckets that all sources of one group can reach with all they tell; with addresses of one group only one."""

PER_GROUP = 8
"""Buckets of tried addresses that those of one group can reach."""


class Slots:
    """Says where an address belongs.

    :param key: secret: who knows it can choose addresses that push others out.
    """

    def __init__(self, key: bytes) -> None:
        self._hash = blake2b(key=key, digest_size=8)

    def _number(self, *parts: bytes) -> int:
        # none of them has more than 255 bytes: no two lists of parts give the same bytes
        digest = self._hash.copy()
        digest.update(b"".join([b"%c%b" % (len(part), part) for part in parts]))
        return int.from_bytes(digest.digest(), "big")

    def of_new(self, place: Place, group: bytes, source_group: bytes) -> int:
        """The slot for what a source has told."""
        lane = self._number(b"lane", source_group, group) % PER_SOURCE
        bucket = self._number(b"new", source_group, b"%d" % lane) % NEW_BUCKETS
        return self._slot(b"new slot", bucket, place)

    def of_tried(self, place: Place, group: bytes) -> int:
        """The slot for what has worked."""
        lane = self._number(b"lane", place.ip, b"%d" % place.port) % PER_GROUP
        bucket = self._number(b"tried", group, b"%d" % lane) % TRIED_BUCKETS
        return self._slot(b"tried slot", bucket, place)

    def _slot(self, kind: bytes, bucket: int, place: Place) -> int:
        return bucket * BUCKET + self._number(kind, b"%d" % bucket, place.ip, b"%d" % place.port) % BUCKET


class Table:
    """Slots, and who stands there. Picks a bucket first, so that a full one weighs no more than one with one address.

    :param buckets: how many.
    """

    def __init__(self, buckets: int) -> None:
        self.size = buckets * BUCKET
        self._at: dict[int, Known] = {}
        self._buckets: dict[int, list[int]] = {}
        # those with somebody in them, in no order, and where each stands in that list
        self._filled: list[int] = []
        self._position: dict[int, int] = {}

    def __len__(self) -> int:
        """How many slots are taken."""
        return len(self._at)

    def get(self, slot: int) -> Known | None:
        """Who stands there."""
        return self._at.get(slot)

    def put(self, slot: int, known: Known) -> None:
        """Take a slot that is free."""
        assert slot not in self._at
        self._at[slot] = known
        bucket = slot // BUCKET
        taken = self._buckets.get(bucket)
        if taken is None:
            taken = self._buckets[bucket] = []
            self._position[bucket] = len(self._filled)
            self._filled.append(bucket)
        taken.append(slot)

    def clear(self, slot: int) -> None:
        """Free a slot."""
        del self._at[slot]
        bucket = slot // BUCKET
        taken = self._buckets[bucket]
        taken.remove(slot)
        if not taken:
            del self._buckets[bucket]
            position, last = self._position.pop(bucket), self._filled.pop()
            if last != bucket:
                self._filled[position] = last
                self._position[last] = position

    def pick(self, rng: Random) -> Known:
        """Somebody, of any bucket that is not empty."""
        taken = self._buckets[self._filled[int(rng.random() * len(self._filled))]]
        return self._at[taken[int(rng.random() * len(taken))]]
