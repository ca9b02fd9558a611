"""Bytes on their way to a slow client: handed to the transport piece by piece, each once the one before was taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

__all__ = ["PIECE_BYTES", "Output", "OutputOwner"]

PIECE_BYTES = 16 * 1024
"""The most bytes that are handed to a transport at a time."""


class OutputOwner(Protocol):
    """The connection that an :class:`Output` reports to."""

    def output_begun(self) -> None:
        """There is something to be taken, after there was nothing."""

    def output_progressed(self) -> None:
        """The client has taken a piece; there are more."""

    def output_taken(self) -> None:
        """The client has taken everything."""


@implementer(IPullProducer)
class Output:
    """The send queue of an HTTP connection.

    A transport's own buffer has no bound, and says that it is full only past 64 KiB. This hands over at most
    :data:`PIECE_BYTES` at a time, and knows when the kernel has taken all of it.

    :ivar held: bytes that were not handed to the transport yet.
    :ivar is_busy: whether anything, in here or in the transport, was not taken by the kernel yet.
    """

    def __init__(self, transport: Any, owner: OutputOwner) -> None:
        self.held = 0
        self.is_busy = False
        self._transport = transport
        self._owner = owner
        self._waiting: deque[bytes] = deque()
        # of the first one, how much was handed over
        self._offset = 0
        self._discarded = False

    def write(self, parts: Iterable[bytes]) -> None:
        """Send ``parts`` when it is their turn. After :meth:`discard` they are dropped."""
        if self._discarded:
            return
        for part in filter(None, parts):
            self._waiting.append(part)
            self.held += len(part)
        if self.held and not self.is_busy:
            self.is_busy = True
            self._owner.output_begun()
            # calls resumeProducing() at once, and again whenever its buffer is empty
            self._transport.registerProducer(self, False)

    def discard(self) -> None:
        """Drop what is held, and all that is to come."""
        self._discarded = True
        self._waiting.clear()
        self.held = 0

    def resumeProducing(self) -> None:
        """Hand over the next piece: the transport has nothing left."""
        piece = self._next_piece()
        if piece:
            self._owner.output_progressed()
            self._transport.write(piece)
        elif self.is_busy:
            self.is_busy = False
            self._transport.unregisterProducer()
            if not self._discarded:
                self._owner.output_taken()

    def stopProducing(self) -> None:
        """The connection is lost."""
        self.discard()

    def _next_piece(self) -> bytes:
        parts = []
        room = PIECE_BYTES
        while self._waiting and room:
            part = self._waiting[0][self._offset : self._offset + room]
            parts.append(part)
            room -= len(part)
            self._offset += len(part)
            if self._offset == len(self._waiting[0]):
                self._waiting.popleft()
                self._offset = 0
        piece = b"".join(parts)
        self.held -= len(piece)
        return piece
