"""Frames: the 24-byte header, the checks on it, and an incremental decoder.

The checks are made in this order, each before the next byte is kept: length against 32 MiB, magic, length against the
command's own limit; then the payload, its checksum, its decoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from hashlib import sha256
from typing import Generic, Protocol, TypeVar

from txsoter.errors import FieldError, MalformedMessage, NeedMoreData
from txsoter.wire.arguments import as_bytes, check_magic
from txsoter.wire.message import (
    MAX_PAYLOAD,
    MAX_UNKNOWN_PAYLOAD,
    PROTOCOL_VERSION,
    READER_OF_COMMAND,
    Encoding,
    Message,
    Unknown,
    check_context,
    command_text,
    message_class,
)

__all__ = [
    "HEADER_SIZE",
    "FrameDecoder",
    "Route",
    "checksum",
    "frame",
    "read_message",
    "write_message",
]

HEADER_SIZE = 24
"""Bytes of a frame's header."""

_HEADER = struct.Struct("<I12sI4s")
_read_header = _HEADER.unpack_from
_LENGTH_AND_CHECKSUM = struct.Struct("<I4s")
_read_length_and_checksum = _LENGTH_AND_CHECKSUM.unpack_from
_MAGIC = struct.Struct("<I")
_BASE, _WITNESS = Encoding.BASE, Encoding.WITNESS
_find_reader = READER_OF_COMMAND.get
_UNKNOWN = (Unknown, MAX_UNKNOWN_PAYLOAD, 0, Unknown.read_payload)


class Route(Protocol):
    """What a decoder needs to know of a command."""

    @property
    def limit(self) -> int:
        """The largest payload taken, in bytes."""
        ...


R = TypeVar("R", bound=Route)


def checksum(payload: bytes) -> bytes:
    """The 4 bytes that stand for ``payload`` in its header."""
    return sha256(sha256(payload).digest()).digest()[:4]


def frame(magic: int, command: bytes, payload: bytes) -> bytes:
    """A whole frame.

    :param command: the 12 bytes of :func:`~txsoter.wire.message.command_bytes`.
    """
    check = sha256(sha256(payload).digest()).digest()[:4]
    return _HEADER.pack(magic, command, len(payload), check) + payload


def _check_length(length: int) -> None:
    if length > MAX_PAYLOAD:
        raise MalformedMessage(f"announces {length} bytes, no message has over {MAX_PAYLOAD}", in_header=True)


def _check_start(start: bytes, magic: int) -> None:
    """Compare as many of the first four bytes as there are."""
    ours = _MAGIC.pack(magic)
    if not ours.startswith(start[:4]):
        reason = f"is of another network: begins with {start[:4].hex()}, not {ours.hex()}"
        raise MalformedMessage(reason, in_header=True)


def _check_limit(command: bytes, length: int, limit: int) -> None:
    if length > limit:
        name = command_text(command)
        raise MalformedMessage(f"announces {length} bytes, at most {limit} are taken", name, in_header=True)


def _check_payload(command: bytes, payload: bytes, expected: bytes) -> None:
    actual = checksum(payload)
    if actual != expected:
        reason = f"checksum is {actual.hex()}, the header says {expected.hex()}"
        error = MalformedMessage(reason, command_text(command))
        error.size = HEADER_SIZE + len(payload)
        raise error


def read_message(
    data: bytes, magic: int, pver: int = PROTOCOL_VERSION, encoding: Encoding = Encoding.BASE
) -> tuple[Message, int]:
    """The message that ``data`` begins with.

    :param data: bytes of a stream, from the beginning of a frame.
    :param magic: the network's, a u32.
    :param pver: the protocol version in use.
    :param encoding: how transactions are written.
    :return: the message, and how many bytes its frame takes. Bytes left over inside the frame,
        behind the message, are ignored, as soterd ignores them.
    :raises NeedMoreData: when ``data`` ends before the frame does.
    :raises MalformedMessage: when it can never become a valid message.
    :raises FieldError: for arguments of other types.
    """
    if pver != PROTOCOL_VERSION or (encoding is not _BASE and encoding is not _WITNESS):
        check_context(pver, encoding)
    try:
        found_magic, command, length, expected = _read_header(data)
    except struct.error:
        check_magic(magic)
        _check_start(bytes(data[:4]), magic)
        raise NeedMoreData(HEADER_SIZE - len(data)) from None
    except TypeError:
        raise FieldError("data", data, "bytes") from None
    known, limit, since, read_payload = _find_reader(command, _UNKNOWN)
    if pver != PROTOCOL_VERSION and known is not Unknown:
        limit = known.max_size(pver)
    if length > limit or found_magic != magic:
        check_magic(magic)
        _check_length(length)
        _check_start(bytes(data[:4]), magic)
        _check_limit(command, length, limit)
    end = HEADER_SIZE + length
    if len(data) < end:
        raise NeedMoreData(end - len(data))
    payload = data[HEADER_SIZE:end]
    if payload.__class__ is not bytes:
        payload = bytes(payload)
    if sha256(sha256(payload).digest()).digest()[:4] != expected:
        _check_payload(command, payload, expected)
    if known is Unknown:
        return Unknown(command_text(command), payload), end
    if pver >= since:
        try:
            found, used = read_payload(payload, pver, encoding)
            if used <= length:
                return found, end
        except (IndexError, struct.error, MalformedMessage):
            # the checks once more, slower, for the words that go with them
            pass
    return known.from_payload(payload, pver, encoding)[0], end


def write_message(
    message: Message, magic: int, pver: int = PROTOCOL_VERSION, encoding: Encoding = Encoding.BASE
) -> bytes:
    """The frame of ``message``; parameters as in :func:`read_message`.

    :raises LocalError: as :meth:`Message.to_payload`.
    """
    if not isinstance(message, Message):
        raise FieldError("message", message, "a message, such as Ping(1)")
    payload = message.to_payload(pver, encoding)
    check = sha256(sha256(payload).digest()).digest()[:4]
    try:
        return _HEADER.pack(magic, message.padded_command, len(payload), check) + payload
    except FieldError as error:
        raise error.within(type(message).__name__) from None
    except struct.error:
        check_magic(magic)
        raise


_SMALL_READ = 2048


class FrameDecoder(Generic[R]):
    """Takes bytes in any chunking, gives whole payloads.

    It holds no more than it was fed. What a command means is its user's: a *route* is any object
    with the command's ``limit``.

    :param magic: the network's, a u32.
    :param find: gives the route of a command's 12 bytes. Those of the 31 commands are asked for once,
        others each time.
    :raises FieldError: for a magic that is no u32.
    :ivar routes: the routes found so far, by magic and command: 16 bytes.
    :ivar checksum: of the payload given last.
    """

    __slots__ = (
        "_buffer",
        "_find",
        "_magic",
        "_need",
        "_offset",
        "_parts",
        "_parts_size",
        "_skip",
        "_skips_header",
        "checksum",
        "routes",
    )

    def __init__(self, magic: int, find: Callable[[bytes], R]) -> None:
        check_magic(magic)
        self._magic = magic
        self._find = find
        self.routes: dict[bytes, R] = {}
        self.checksum = b""
        self._buffer = b""
        self._offset = 0
        # a frame that is not whole yet: its parts, their size, and the size that is worth a look
        self._parts: list[bytes | bytearray] = []
        self._parts_size = 0
        self._need = 0
        self._skip = 0
        # a header that is to be skipped, but does not yet say how much
        self._skips_header = False

    @property
    def buffered(self) -> int:
        """Bytes that wait: of whole frames not asked for, and of one that is not whole."""
        return len(self._buffer) - self._offset + self._parts_size

    def feed(self, data: bytes) -> None:
        """Take what was read.

        :raises FieldError: for what is not bytes.
        """
        if data.__class__ is not bytes:
            data = as_bytes("data", data)
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        parts = self._parts
        if parts:
            self._parts_size += len(data)
            # a remote that sends byte by byte must not cost an object a byte
            if len(data) > _SMALL_READ:
                parts.append(data)
            elif isinstance(parts[-1], bytearray):
                parts[-1] += data
            else:
                parts.append(bytearray(data))
            if self._parts_size >= self._need:
                self._buffer = b"".join(parts)
                self._offset = self._parts_size = 0
                parts.clear()
        elif self._offset == len(self._buffer):
            self._buffer = data
            self._offset = 0
        else:
            self._buffer = self._buffer[self._offset :] + data
            self._offset = 0
        if self._skips_header and len(self._buffer) - self._offset >= HEADER_SIZE:
            self._skips_header = False
            self.skip()

    def next_frame(self) -> tuple[R, bytes] | None:
        """The next whole frame's route and payload, its checksum found right; None until there is one.

        :raises MalformedMessage: for a frame that can never become valid. When its payload is to
            blame the frame is done with. When its header is, the decoder stays at it: nothing
            more comes until :meth:`skip`.
        """
        buffer, offset = self._buffer, self._offset
        have = len(buffer) - offset
        need = HEADER_SIZE
        if have >= HEADER_SIZE:
            route = self.routes.get(buffer[offset : offset + 16])
            length, expected = _read_length_and_checksum(buffer, offset + 16)
            if route is None:
                route = self._route(buffer[offset : offset + 16], length)
            if length > route.limit:
                _check_length(length)
                _check_limit(buffer[offset + 4 : offset + 16], length, route.limit)
            need += length
            if have >= need:
                self._offset = offset + need
                payload = buffer[offset + HEADER_SIZE : offset + need]
                if sha256(sha256(payload).digest()).digest()[:4] != expected:
                    _check_payload(buffer[offset + 4 : offset + 16], payload, expected)
                self.checksum = expected
                return route, payload
        elif have and not self._skips_header:
            _check_start(buffer[offset : offset + 4], self._magic)
            # so that each byte of the magic is looked at as it comes
            need = have + 1 if have < _MAGIC.size else HEADER_SIZE
        if have:
            self._parts.append(buffer[offset:])
            self._parts_size = have
            self._need = need
        self._buffer = b""
        self._offset = 0
        return None

    def skip(self) -> None:
        """Leave out the frame whose header was malformed, the payload that it announces included."""
        buffer, offset = self._buffer, self._offset
        if len(buffer) - offset < HEADER_SIZE:
            self._skips_header = True
            return
        end = offset + HEADER_SIZE + _read_length_and_checksum(buffer, offset + 16)[0]
        self._skip = max(0, end - len(buffer))
        self._offset = min(end, len(buffer))

    def clear(self) -> None:
        """Forget what waits."""
        self._buffer = b""
        self._offset = self._parts_size = self._skip = 0
        self._skips_header = False
        self._parts.clear()

    def _route(self, key: bytes, length: int) -> R:
        _check_length(length)
        _check_start(key, self._magic)
        command = key[4:]
        route = self._find(command)
        if message_class(command) is not None:
            self.routes[key] = route
        return route
