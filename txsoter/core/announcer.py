"""Announcements: blocks at once, everything else trickled, nothing that the remote is known to have."""

from __future__ import annotations

from txsoter.core.beat import next_beat
from txsoter.core.inventory import TRICKLE_BATCH, KnownInventory, TrickleQueue
from txsoter.errors import FieldError
from txsoter.wire import Inv, InventoryVector
from txsoter.wire.framing import HEADER_SIZE
from txsoter.wire.inventory import INVENTORY_VECTOR

__all__ = ["SMALLEST_ANNOUNCEMENT", "Announcer", "checked_vector", "vectors_within"]


def vectors_within(size: int) -> int:
    """Return the most vectors of one trickled ``inv`` whose frame may take ``size`` bytes; at least one."""
    return max(1, min(TRICKLE_BATCH, (size - HEADER_SIZE - _LARGEST_COUNT) // INVENTORY_VECTOR.size))


_LARGEST_COUNT = 3

SMALLEST_ANNOUNCEMENT = HEADER_SIZE + _LARGEST_COUNT + INVENTORY_VECTOR.size
"""Bytes of an ``inv`` of one vector, or a little more."""


def checked_vector(vector: InventoryVector) -> InventoryVector:
    """Return ``vector``, if it is one.

    :raises FieldError: for what cannot be encoded.
    """
    try:
        vector = InventoryVector(*vector)
    except TypeError:
        raise FieldError("vector", vector, "an InventoryVector") from None
    try:
        INVENTORY_VECTOR.pack_one(vector)
    except FieldError as error:
        raise error.within("InventoryVector") from None
    return vector


class Announcer:
    """The vectors that wait to be announced to one remote, and those that it is known to have.

    :param known_limit: vectors remembered as known.
    :param queue_limit: vectors that may wait; past it the oldest go.
    :param interval: seconds between trickled announcements; None to announce at once.
    :ivar due: time of the next trickled announcement, or None.
    :ivar waits_for_room: announcements are due, and the send queue is full.
    """

    __slots__ = ("_blocks", "_interval", "_known", "_queue_limit", "_trickle", "due", "waits_for_room")

    def __init__(self, known_limit: int, queue_limit: int, interval: float | None) -> None:
        self._known = KnownInventory(known_limit)
        self._trickle = TrickleQueue(queue_limit)
        self._queue_limit = queue_limit
        self._interval = interval
        # blocks that wait for the handshake, or for room in the send queue; made when needed
        self._blocks: list[InventoryVector] | None = None
        self.due: float | None = None
        self.waits_for_room = False

    def __len__(self) -> int:
        return len(self._trickle) + len(self._blocks or ())

    @property
    def known_inventory(self) -> int:
        """The number of vectors that the remote is known to have."""
        return len(self._known)

    def add_known(self, vector: InventoryVector) -> None:
        """Note that the remote has ``vector``."""
        self._known.add(vector)

    def add(self, vector: InventoryVector, force: bool) -> None:
        """Let ``vector`` wait, unless the remote is known to have it and ``force`` is not set."""
        if vector in self._known and not force:
            return
        if not vector.is_block:
            self._trickle.append(vector, force)
            return
        if self._blocks is None:
            self._blocks = []
        self._blocks.append(vector)
        del self._blocks[: -self._queue_limit]

    def begin(self, now: float) -> bool:
        """Set the time of the next trickled announcement, if something waits for one and none is set.

        :return: whether it was set.
        """
        if self.due is not None or self._interval is None or not len(self._trickle):
            return False
        self.due = now + self._interval
        return True

    @property
    def has_blocks(self) -> bool:
        """Blocks wait to be announced."""
        return bool(self._blocks)

    @property
    def has_trickled(self) -> bool:
        """Other vectors wait to be announced."""
        return len(self._trickle) > 0

    def next_block(self) -> Inv | None:
        """Return the announcement of the next block that waits. Blocks are not marked as known by that."""
        return Inv([self._blocks.pop(0)]) if self._blocks else None

    @property
    def trickles_at_once(self) -> bool:
        """True if vectors are announced without waiting for others."""
        return self._interval is None

    def next_trickled(self, most: int = TRICKLE_BATCH) -> Inv | None:
        """Return an announcement of up to ``most`` vectors that wait, and mark them as known; None when none wait."""
        batch = self._trickle.next_batch(self._known, most)
        return Inv(batch) if batch else None

    def trickled(self, now: float) -> None:
        """Set the time of the next trickled announcement: an interval later if something still waits."""
        if not len(self._trickle) or self._interval is None:
            self.due = None
        elif self.due is not None:
            # a late one is not made up for
            self.due = next_beat(self.due, self._interval, now)

    def clear(self) -> None:
        """Forget what waits."""
        self._trickle.clear()
        self._blocks = None
        self.due = None
        self.waits_for_room = False
