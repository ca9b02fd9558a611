"""Bytes that wait to be taken, in a time that does not depend on how many they are."""

from __future__ import annotations

from collections import deque

__all__ = ["ByteQueue"]


class ByteQueue:
    """A queue of bytes; its length is how many wait."""

    __slots__ = ("_gone", "_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        # bytes of the first piece that were taken
        self._gone = 0

    def __len__(self) -> int:
        return self._size

    def add(self, data: bytes) -> None:
        """Queue ``data``."""
        if data:
            self._pieces.append(data)
            self._size += len(data)

    def take(self, size: int | None = None) -> bytes:
        """Remove and return up to ``size`` bytes; all, by default."""
        left = self._size if size is None else min(size, self._size)
        self._size -= left
        parts = []
        while left:
            piece = self._pieces[0]
            part = piece[self._gone : self._gone + left]
            parts.append(part)
            left -= len(part)
            self._gone += len(part)
            if self._gone == len(piece):
                self._pieces.popleft()
                self._gone = 0
        return b"".join(parts)

    def clear(self) -> None:
        """Forget what waits."""
        self._pieces.clear()
        self._size = self._gone = 0
