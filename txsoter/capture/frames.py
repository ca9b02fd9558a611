"""The frames in a stream of bytes, without looking into them: what comes of a connection that is recorded."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from hashlib import sha256

from txsoter.wire.framing import HEADER_SIZE
from txsoter.wire.message import MAX_PAYLOAD, MAX_UNKNOWN_PAYLOAD, message_class

__all__ = ["Frame", "FrameSplitter", "magic_bytes"]

_HEADER = struct.Struct("<4s12sI4s")
_unpack = _HEADER.unpack_from

_SMALL_READ = 2048

VAIN = 1 << 20
"""Bytes of frames that were none which may be looked at, beyond four for each byte that came."""


def magic_bytes(magic: int) -> bytes:
    """The four bytes with which the frames of a network begin."""
    return magic.to_bytes(4, "little")


# no NamedTuple: one is made for each message
Frame = tuple[bytes, bytes, bytes]
"""A frame, whatever is in it: the command's 12 bytes, the payload, and the checksum of its header, right or wrong."""


_UNKNOWN = re.compile(rb"[a-z0-9]+\0*\Z").match


def _largest(command: bytes) -> int:
    """The largest payload that a frame with a command may have, for one that is looked for; -1 for no command."""
    known = message_class(command)
    if known is not None:
        return known.newest_max_size
    return MAX_UNKNOWN_PAYLOAD if _UNKNOWN(command) else -1


class FrameSplitter:
    """Takes one direction of a connection in any chunking, gives its frames.

    It holds no more than has come of one frame. A header that cannot be one (another magic, over 32 MiB) is passed
    over with the payload it announces, as a peer does that goes on at all. With ``search`` the next frame is
    looked for instead, byte by byte: one with a likely command whose checksum is right.

    :param magics: first four bytes of a frame; with several, the first frame found decides.
    :param search: whether to look for the next frame where there is none.
    :param begins: whether the first byte is a frame's; False when it may be any.
    :ivar magic: the four bytes with which frames begin, once known.
    :ivar skipped: bytes that belong to no frame.
    :ivar first_skipped: up to 32 bytes of the beginning of those.
    """

    __slots__ = (
        "_fed",
        "_find",
        "_held",
        "_lost",
        "_magics",
        "_need",
        "_parts",
        "_pass",
        "_search",
        "_vain",
        "first_skipped",
        "magic",
        "skipped",
    )

    def __init__(self, magics: Iterable[bytes], search: bool = False, begins: bool = True) -> None:
        self._magics = known = tuple(magics)
        self.magic = known[0] if len(known) == 1 else None
        self._find = re.compile(b"|".join(map(re.escape, known))).search if search else None
        self._search = search
        self._lost = not begins
        self.skipped = 0
        self.first_skipped = b""
        # a frame that is not whole yet: its parts, their size, and the size that is worth a look
        self._parts: list[bytes | bytearray] = []
        self._held = 0
        self._need = 0
        self._pass = 0
        self._fed = 0
        self._vain = 0

    @property
    def held(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return self._held

    def rest(self) -> bytes:
        """The first bytes of the frame that is not whole yet, its header if they go that far; for the end."""
        return b"".join(self._parts)[:HEADER_SIZE] if self._parts else b""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole with ``data``."""
        if self._search:
            self._fed += len(data)
        if self._pass:
            passed = data[: self._pass]
            self._pass -= len(passed)
            self._skip(passed)
            data = data[len(passed) :]
        if self._parts:
            self._hold(data)
            if self._held < self._need:
                return []
            data = b"".join(self._parts)
            self._parts.clear()
            self._held = 0
        frames: list[Frame] = []
        append = frames.append
        offset, size, magic = 0, len(data), self.magic
        self._need = HEADER_SIZE
        while size - offset >= HEADER_SIZE:
            if self._lost:
                offset = self._sought(data, offset, frames)
                magic = self.magic
                if self._lost:
                    break
                continue
            found, command, length, checksum = _unpack(data, offset)
            if found != magic or length > MAX_PAYLOAD:
                if magic is None and found in self._magics:
                    magic = self.magic = found
                    continue
                offset = self._misfit(data, offset, length)
                continue
            end = offset + HEADER_SIZE + length
            if end > size:
                self._need = end - offset
                break
            append((command, data[offset + HEADER_SIZE : end], checksum))
            offset = end
        if offset < size:
            self._hold(data[offset:] if offset else data)
        return frames

    def gap(self) -> int:
        """Bytes are missing behind what came: forget the frame that they belong to, and look for the next.

        :return: how many bytes of it had come.
        """
        held = self._held
        self._skip(b"".join(self._parts))
        self._parts.clear()
        self._held = self._pass = 0
        self._lost = self._search
        return held

    def _hold(self, data: bytes) -> None:
        if not data:
            return
        self._held += len(data)
        parts = self._parts
        # a remote that sends byte by byte must not cost an object a byte
        if len(data) > _SMALL_READ or not parts:
            parts.append(data)
        elif isinstance(parts[-1], bytearray):
            parts[-1] += data
        else:
            parts.append(bytearray(data))

    def _skip(self, data: bytes) -> None:
        self.skipped += len(data)
        if len(self.first_skipped) < 32:
            self.first_skipped += bytes(data[: 32 - len(self.first_skipped)])

    def _misfit(self, data: bytes, offset: int, length: int) -> int:
        """Pass over what is no frame; the offset at which to go on."""
        if self._search:
            self._lost = True
            return offset
        end = offset + HEADER_SIZE + length
        self._skip(data[offset:end])
        self._pass = max(0, end - len(data))
        return min(end, len(data))

    def _sought(self, data: bytes, offset: int, frames: list[Frame]) -> int:
        """Look for the next frame from ``offset`` on; the offset behind it, or of what has to wait for more bytes."""
        assert self._find is not None
        start, size = offset, len(data)
        while True:
            hit = self._find(data, offset)
            if hit is None:
                # a magic may have begun
                offset = max(offset, size - 3)
                break
            offset = hit.start()
            if size - offset < HEADER_SIZE:
                break
            length: int
            found, command, length, checksum = _unpack(data, offset)
            if length <= _largest(command) and self.magic in (None, found):
                end = offset + HEADER_SIZE + length
                if end > size:
                    self._need = end - offset
                    break
                # what is made to look like one frame after the other, each with the next inside, must not cost a
                # look at all of them
                if self._vain <= 4 * self._fed + VAIN:
                    payload = data[offset + HEADER_SIZE : end]
                    if sha256(sha256(payload).digest()).digest()[:4] == checksum:
                        self.magic = found
                        self._lost = False
                        frames.append((command, payload, checksum))
                        self._skip(data[start:offset])
                        return end
                    self._vain += length
            offset += 1
        self._skip(data[start:offset])
        return offset
