"""The send queue: frames in order, and the tokens of those whose frames the transport has taken."""

from __future__ import annotations

from typing import Any

from txsoter.wire import Message

__all__ = ["BATCH", "PIECE", "Entry", "SendQueue"]

PIECE = 64 * 1024
"""The most bytes handed to the transport at a time. Each piece that it takes is progress."""

BATCH = 64
"""The most frames that wait for the end of a turn. More objects at a time start the garbage collector, which makes
small messages 4 % slower."""

Entry = tuple[bytes, Message, Any]
"""A frame, its message, and the caller's token or None."""


class SendQueue:
    """Frames on their way to the transport.

    :ivar entries: frames that are not with the transport yet.
    :ivar untold: tokens of frames that are, and whose callers are to be told while the transport would take more.
    :ivar waiting: bytes that are not with the transport yet.
    :ivar writing: entries that :meth:`take` gave, until they are with the transport.
    :ivar paused: the transport has asked for a pause.
    :ivar is_ending: nothing follows, and what the transport does not take at once is not sent.
    :ivar last_progress: time at which the transport last took something, or began to have something to take.
    :ivar last_write: time of the last write, or None.
    """

    __slots__ = (
        "_offset",
        "entries",
        "is_ending",
        "last_progress",
        "last_write",
        "paused",
        "untold",
        "waiting",
        "writing",
    )

    def __init__(self, now: float) -> None:
        # lists, although taken from at the front: an empty deque costs an idle connection 700 bytes
        self.entries: list[Entry] = []
        self._offset = 0
        self.writing: list[Entry] | None = None
        self.untold: list[Any] = []
        self.waiting = 0
        self.paused = False
        self.is_ending = False
        self.last_progress = now
        self.last_write: float | None = None

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def batch_is_due(self) -> bool:
        """True if enough waits to be written before the turn is over."""
        return (self.waiting >= PIECE or len(self.entries) >= BATCH) and not self.paused

    def put(self, frame: bytes, message: Message, token: Any) -> None:
        """Append a frame. ``token`` is among :attr:`untold` once the transport has it, unless it is None."""
        self.entries.append((frame, message, token))
        self.waiting += len(frame)

    def take(self, now: float) -> tuple[bytes, list[Entry]] | None:
        """Return bytes for the transport, and the entries that are complete with them; None when there is nothing.

        At most :data:`PIECE` bytes: as many whole frames as fit, or a part of one that does not.
        """
        entries = self.entries
        if not entries or self.paused:
            return None
        self.last_progress = self.last_write = now
        if self.waiting > PIECE or self._offset:
            return self._take_piece()
        self.entries = []
        self.waiting = 0
        # remembered until it is written: the connection may be lost in the middle of that
        self.writing = entries
        return (entries[0][0] if len(entries) == 1 else b"".join([entry[0] for entry in entries])), entries

    def _take_piece(self) -> tuple[bytes, list[Entry]]:
        first = self.entries[0][0]
        if self._offset or len(first) > PIECE:
            piece = first[self._offset : self._offset + PIECE]
            self._offset += len(piece)
            whole = 1 if self._offset == len(first) else 0
        else:
            parts, room = [], PIECE
            for frame, _, _ in self.entries:
                room -= len(frame)
                if room < 0:
                    break
                parts.append(frame)
            piece = b"".join(parts)
            whole = len(parts)
        batch = self.entries[:whole]
        if batch:
            del self.entries[:whole]
            self._offset = 0
        self.waiting -= len(piece)
        self.writing = batch
        return piece, batch

    def resume(self, now: float) -> None:
        """Note that the transport would take more."""
        self.paused = False
        self.last_progress = now

    def drop(self) -> list[Any]:
        """Forget everything; return the tokens of those that were not told, in order."""
        entries = [*(self.writing or ()), *self.entries]
        tokens = [*self.untold, *(token for _, _, token in entries if token is not None)]
        self.untold.clear()
        self.entries.clear()
        self.writing = None
        self.waiting = self._offset = 0
        return tokens
