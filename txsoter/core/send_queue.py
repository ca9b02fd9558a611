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

    :ivar waiting: bytes that are not with the transport yet.
    :ivar paused: the transport has asked for a pause.
    :ivar is_ending: nothing follows, and what the transport does not take at once is not sent.
    :ivar last_progress: time at which the transport last took something, or began to have something to take.
    :ivar last_write: time of the last write, or None.
    """

    __slots__ = (
        "_entries",
        "_offset",
        "_writing",
        "_written",
        "is_ending",
        "last_progress",
        "last_write",
        "paused",
        "waiting",
    )

    def __init__(self, now: float) -> None:
        # lists, although taken from at the front: an empty deque costs an idle connection 700 bytes
        self._entries: list[Entry] = []
        self._offset = 0
        self._writing: list[Entry] | None = None
        self._written: list[Any] = []
        self.waiting = 0
        self.paused = False
        self.is_ending = False
        self.last_progress = now
        self.last_write: float | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def batch_is_due(self) -> bool:
        """Whether enough waits to be written before the turn is over."""
        return (self.waiting >= PIECE or len(self._entries) >= BATCH) and not self.paused

    def put(self, frame: bytes, message: Message, token: Any) -> None:
        """Append a frame. ``token`` comes back from :meth:`next_written`, unless it is None."""
        self._entries.append((frame, message, token))
        self.waiting += len(frame)

    def take(self, now: float) -> tuple[bytes, list[Entry]] | None:
        """Return bytes for the transport, and the entries that are complete with them; None when there is nothing.

        At most :data:`PIECE` bytes: as many whole frames as fit, or a part of one that does not. Call :meth:`written`
        once the transport has them.
        """
        entries = self._entries
        if not entries or self.paused:
            return None
        self.last_progress = self.last_write = now
        if self.waiting <= PIECE and not self._offset:
            self._entries = []
            self.waiting = 0
            # remembered until it is written: the connection may be lost in the middle of that
            self._writing = entries
            return (entries[0][0] if len(entries) == 1 else b"".join([entry[0] for entry in entries])), entries
        return self._take_piece()

    def _take_piece(self) -> tuple[bytes, list[Entry]]:
        first = self._entries[0][0]
        if self._offset or len(first) > PIECE:
            piece = first[self._offset : self._offset + PIECE]
            self._offset += len(piece)
            whole = 1 if self._offset == len(first) else 0
        else:
            parts, room = [], PIECE
            for frame, _, _ in self._entries:
                room -= len(frame)
                if room < 0:
                    break
                parts.append(frame)
            piece = b"".join(parts)
            whole = len(parts)
        batch = self._entries[:whole]
        if batch:
            del self._entries[:whole]
            self._offset = 0
        self.waiting -= len(piece)
        self._writing = batch
        return piece, batch

    def written(self) -> None:
        """Note that the transport has what :meth:`take` gave last."""
        batch, self._writing = self._writing, None
        if batch:
            self._written += [token for _, _, token in batch if token is not None]

    def next_written(self) -> Any:
        """Return the next token whose frame is with the transport, while that would take more; else None."""
        return self._written.pop(0) if self._written and not self.paused else None

    def resume(self, now: float) -> None:
        """Note that the transport would take more."""
        self.paused = False
        self.last_progress = now

    def drop(self) -> list[Any]:
        """Forget everything; return the tokens that :meth:`next_written` has not given, in order."""
        entries = [*(self._writing or ()), *self._entries]
        tokens = [*self._written, *(token for _, _, token in entries if token is not None)]
        self._written.clear()
        self._entries.clear()
        self._writing = None
        self.waiting = self._offset = 0
        return tokens
