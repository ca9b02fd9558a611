"""One direction of a connection in a simulated network: bytes and packets on their way, and their arrival."""

from __future__ import annotations

import enum
from collections import deque
from contextlib import suppress
from math import ceil, inf, nextafter

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall

from txsoter.testing.interfaces import End, Link

__all__ = ["READ_SIZE", "Packet", "Pipe", "cancel"]

READ_SIZE = 64 * 1024
"""The most bytes that an end is given at once, as by Twisted's TCP."""


class Packet(enum.Enum):
    """Something that is on its way besides bytes."""

    KNOCK = "a connection is wanted"
    ACCEPTED = "there is a connection"
    END = "no more bytes will come"
    RESET = "there is no connection"


class Pipe:
    """What is on its way from one end of a link to the other, in order.

    :ivar size: bytes on their way, unread ones included.
    :ivar delivered: bytes that the other end has been given.
    """

    __slots__ = (
        "_clock",
        "_delivery",
        "_items",
        "_last_due",
        "_last_sent",
        "_link",
        "_receiver",
        "_sender",
        "delivered",
        "size",
    )

    def __init__(self, link: Link, sender: End, receiver: End) -> None:
        self._link = link
        self._clock = link.network.clock
        self._sender = sender
        self._receiver = receiver
        # with the times of their arrival
        self._items: deque[tuple[float, bytes | Packet]] = deque()
        self._last_due = 0.0
        self._last_sent = -1.0
        self._delivery: IDelayedCall | None = None
        self.size = 0
        self.delivered = 0

    @property
    def has_unread(self) -> bool:
        """Whether bytes have arrived that were not read."""
        return bool(self._items) and isinstance(self._items[0][1], bytes) and self._items[0][0] <= self._clock.seconds()

    def send(self, data: bytes) -> None:
        """Send bytes on their way, in the pieces in which they will arrive."""
        self.size += len(data)
        items = self._items
        if self._last_sent == self._clock.seconds() and items:
            # what is sent at once arrives together, as if it had been one write
            due, item = items[-1]
            if isinstance(item, bytes) and len(item) + len(data) <= READ_SIZE:
                items[-1] = due, item + data
                return
        for piece in self._link.pieces(data):
            self.put(piece)

    def put(self, item: bytes | Packet) -> None:
        """Send something on its way, behind all that is on its way already."""
        self._last_sent = now = self._clock.seconds()
        due, beat = max(self._last_due, now + self._link.delay()), self._link.network.beat
        if beat:
            due = max(ceil(due / beat) * beat, self._last_due)
        self._last_due = due
        self._items.append((due, item))
        if len(self._items) == 1 or item is Packet.RESET:
            self.expect()

    def expect(self) -> None:
        """Look at what is on its way once something of it is due."""
        due = self._arrival()
        if due == inf:
            return
        left = max(0.0, due - self._clock.seconds())
        if self._delivery is None:
            self._delivery = self._clock.callLater(left, self._deliver)
        elif self._delivery.getTime() > self._clock.seconds() + left:
            self._delivery.reset(left)

    def retransmit(self) -> None:
        """Send again what a partition has kept: it arrives a little later, in order."""
        earliest = self._clock.seconds() + self._link.delay()
        self._items = deque((max(due, earliest), item) for due, item in self._items)
        self._last_due = max(self._last_due, earliest)
        self.expect()

    def discard(self) -> None:
        """Lose what is on its way."""
        self._items.clear()
        self.size = 0
        cancel(self._delivery)
        self._delivery = None

    def _arrival(self) -> float:
        """Return the time at which something happens to what is on its way; infinity when that is up to others."""
        if not self._items or not self._link.passable:
            return inf
        due, item = self._items[0]
        receiver = self._receiver
        if not receiver.connected or not (isinstance(item, bytes) or item is Packet.END):
            return due
        # a reset need not be read to be noticed
        reset = self._items[-1][0] if self._items[-1][1] is Packet.RESET else inf
        return min(max(due, receiver.held_until), reset) if receiver.reading else reset

    def _deliver(self) -> None:
        self._delivery = None
        try:
            while self._arrival() <= self._clock.seconds():
                self._deliver_next()
        finally:
            # a program that raises does not stop the network
            self.expect()

    def _deliver_next(self) -> None:
        """Let what is due arrive."""
        link, receiver, now = self._link, self._receiver, self._clock.seconds()
        item = self._items[0][1]
        if not isinstance(item, bytes) and item is not Packet.END:
            self._items.popleft()
            link.arrived(receiver, item)
        elif not receiver.connected:
            self._items.popleft()
            link.arrived(receiver, Packet.END if item is Packet.END else None)
        elif not receiver.reading or receiver.held_until > now:
            # what was not read is lost by the reset behind it
            self.discard()
            link.arrived(receiver, Packet.RESET)
        elif item is Packet.END:
            self._items.popleft()
            receiver.other_ended()
        else:
            self._give(self._read(now))
            while link.overruns and self.has_unread and receiver.connected and not receiver.disconnecting:
                self._give(self._read(now))

    def _read(self, now: float) -> bytes:
        """Remove what has just arrived, or as many of the bytes that have waited as are read at once."""
        items = self._items
        first = items.popleft()[1]
        assert isinstance(first, bytes)
        if self._link.network.beat:
            # what arrives in one beat is read at once
            now = nextafter(now, inf)
        if not items or items[0][0] >= now:
            return first
        parts, size = [first], len(first)
        while items:
            due, item = items[0]
            if due >= now or not isinstance(item, bytes) or size + len(item) > READ_SIZE:
                break
            items.popleft()
            parts.append(item)
            size += len(item)
        return b"".join(parts)

    def _give(self, data: bytes) -> None:
        self.delivered += len(data)
        self.size -= len(data)
        self._link.network.note(self._link, self._sender is self._link.client, data)
        self._sender.has_room()
        self._receiver.receive(data)


def cancel(call: IDelayedCall | None) -> None:
    """Cancel a call that may have been made."""
    if call is not None:
        with suppress(AlreadyCalled, AlreadyCancelled):
            call.cancel()
