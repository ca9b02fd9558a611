"""The next bytes of a file of any size."""

from __future__ import annotations

import gzip
import zlib
from io import BufferedReader

__all__ = ["CHUNK", "ByteWindow"]

CHUNK = 1 << 20
"""Bytes read at a time."""


class ByteWindow:
    """The next bytes of a file.

    :ivar offset: bytes of the file that were passed.
    :ivar error: the error that ended reading before the end of the file, or None.
    """

    def __init__(self, stream: BufferedReader | gzip.GzipFile) -> None:
        self._stream = stream
        self._data = b""
        self._start = 0
        self.offset = 0
        self.error: Exception | None = None

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer at the end of the file, and stay there."""
        have = len(self._data) - self._start
        if have < size:
            pieces = [self._data[self._start :]]
            while have < size and (piece := self._read()):
                pieces.append(piece)
                have += len(piece)
            self._data, self._start = b"".join(pieces), 0
        return self._data[self._start : self._start + size]

    def _read(self) -> bytes:
        if self.error is None:
            try:
                return self._stream.read1(CHUNK)
            except (OSError, EOFError, zlib.error) as error:
                self.error = error
        return b""

    def skip(self, size: int) -> None:
        """Pass ``size`` bytes that were seen."""
        self._start += size
        self.offset += size

    def skip_to(self, mark: bytes) -> tuple[int, bool]:
        """Pass what is before the next ``mark``, or the rest; return its bytes, and whether one of them is not zero."""
        before, has_data = self.offset, False
        while data := self.peek(CHUNK):
            found = passed = data.find(mark)
            if found < 0:
                # the mark may begin in the last bytes
                passed = len(data) - len(mark) + 1 if len(data) == CHUNK else len(data)
            has_data = has_data or bool(data[:passed].strip(b"\0"))
            self.skip(passed)
            if found >= 0:
                break
        return self.offset - before, has_data

    def line(self, limit: int) -> bytes:
        """Return the next line with its end, the first ``limit`` + 1 bytes of a longer one; nothing at the end."""
        size = 4096
        while True:
            data = self.peek(size)
            end = data.find(b"\n") + 1
            if end or len(data) < size or size > limit:
                break
            size = min(size * 8, limit + 1)
        line = data[:end] if end else data
        self.skip(len(line))
        if len(line) > limit and not end:
            while rest := self.peek(CHUNK):
                end = rest.find(b"\n") + 1
                self.skip(end or len(rest))
                if end:
                    break
        return line
