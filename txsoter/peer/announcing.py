"""What a peer announces: blocks at once, all else by the trickle timer, nothing that the remote is known to have."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING

from txsoter.errors import CloseReason, FieldError
from txsoter.peer.conversation import PeerConversation
from txsoter.peer.handshake import State
from txsoter.peer.inventory import TRICKLE_BATCH, KnownInventory, TrickleQueue
from txsoter.peer.timers import Repeating
from txsoter.wire import Encoding, Inv, InventoryVector
from txsoter.wire.framing import HEADER_SIZE
from txsoter.wire.inventory import INVENTORY_VECTOR

if TYPE_CHECKING:
    from txsoter.peer.config import PeerConfig

__all__ = ["PeerAnnouncing"]

LARGEST_ANNOUNCEMENT = HEADER_SIZE + 3 + TRICKLE_BATCH * INVENTORY_VECTOR.size
"""Bytes of an ``inv`` that the trickle timer sends, at most."""


class PeerAnnouncing(PeerConversation):
    """A peer that is told of blocks and transactions. Applications use :class:`~txsoter.SoterPeerProtocol`."""

    __slots__ = ("_early_blocks", "_known", "_trickle", "_trickle_loop", "_waits_for_room")

    def __init__(self, config: PeerConfig, inbound: bool) -> None:
        super().__init__(config, inbound)
        self._known = KnownInventory(config.max_known_inventory)
        self._trickle = TrickleQueue(config.max_trickle_queue)
        # blocks that wait for the remote to be ready, or for room in the queue
        self._early_blocks: list[InventoryVector] = []
        self._trickle_loop: Repeating | None = None
        # announcements are held back, because the queue is full
        self._waits_for_room = False

    # -- what applications call ----------------------------------------------------------------

    def queue_inventory(self, vector: InventoryVector, force: bool = False) -> None:
        """Announce something, unless the remote is known to have it.

        Blocks are announced at once, and not marked as known by that; all else waits for the next trickle.
        Before the remote is ready they are kept and sent once it is; when not connected they are dropped.

        :param force: announce it although known; the remote may have forgotten.
        :raises txsoter.errors.FieldError: for a vector that cannot be encoded.
        """
        vector = _checked(vector)
        if get_ident() != self._thread:
            self._cross(self.queue_inventory, vector, force)
            return
        if self.state is State.CONNECTING or self.is_closing or (vector in self._known and not force):
            return
        if vector.is_block:
            self._announce_block(vector)
            return
        self._trickle.append(vector, force)
        if self.state is State.READY:
            if self.config.trickle_interval is None:
                self._trickle_out()
            else:
                self._start_trickle()

    def add_known_inventory(self, vector: InventoryVector) -> None:
        """Note that the remote has something, so that it is not announced to it.

        What it announces is not noted by itself: call this for what the remote offers and sends.
        """
        if get_ident() != self._thread:
            self._cross(self.add_known_inventory, vector)
            return
        self._known.add(_checked(vector))

    # -- when it is told -----------------------------------------------------------------------

    def _announce(self) -> None:
        self._waits_for_room = False
        blocks, self._early_blocks = self._early_blocks, []
        for vector in blocks:
            self._announce_block(vector)
        self._trickle_out()

    def _start_trickle(self) -> None:
        self._trickle_loop = self._repeating(self._trickle_loop, self.config.trickle_interval, self._trickle_out)

    def _trickle_out(self) -> None:
        """Announce what waits, as far as the queue has room: what was not sent must not be marked as known."""
        batches = self._trickle.batches(self._known)
        while self._has_room() and (batch := next(batches, None)) is not None:
            self._send(Inv(batch), Encoding.BASE, None)
        # an on_write listener may have queued more
        if len(self._trickle):
            self._waits_for_room = self._waits_for_room or not self._has_room()
        elif self._trickle_loop is not None:
            self._trickle_loop.stop()

    def _has_room(self) -> bool:
        """Whether another announcement may be queued."""
        waiting = self._outbox.waiting
        fits = waiting + LARGEST_ANNOUNCEMENT <= self.config.hard_queue_limit or not waiting
        return fits and waiting <= self.config.soft_queue_limit

    def _outbox_changed(self) -> None:
        super()._outbox_changed()
        self._announce_if_there_is_room()

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come."""
        super().dataReceived(data)
        # what a turn queues goes out at its end, of which the queue tells only if the transport had enough
        if self._waits_for_room:
            self._announce_if_there_is_room()

    def _announce_if_there_is_room(self) -> None:
        if self._waits_for_room and self.state is State.READY and self._has_room():
            self._announce()

    def _announce_block(self, vector: InventoryVector) -> None:
        """Announce a block at once, or as soon as the remote is ready."""
        if self.state is State.READY and self._has_room():
            self._send(Inv([vector]), Encoding.BASE, None)
        elif not self.is_closing:
            self._waits_for_room = self._waits_for_room or self.state is State.READY
            self._early_blocks.append(vector)
            del self._early_blocks[: -self.config.max_trickle_queue]

    # -- the end -------------------------------------------------------------------------------

    def _stop_timers(self) -> None:
        super()._stop_timers()
        if self._trickle_loop is not None:
            self._trickle_loop.stop()

    def _ended(self, reason: CloseReason) -> None:
        self._trickle.clear()
        self._early_blocks.clear()
        super()._ended(reason)


def _checked(vector: InventoryVector) -> InventoryVector:
    """``vector``, if it is one.

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
