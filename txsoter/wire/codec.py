"""Field codecs: one object for each kind of field on the wire.

A codec reads a value at an offset of a payload, and writes a value to bytes. Reading may run into
the payload's end in any way that Python has for it (``IndexError``, ``struct.error``): the message
turns these into :exc:`~txsoter.errors.MalformedMessage`. Writing raises
:exc:`~txsoter.errors.FieldError`, its path empty: the message adds the field's name.

Integers are little-endian. Varints must be in their shortest form; lengths are bounded before anything is allocated.
"""

from __future__ import annotations

import struct
from typing import Any, Generic, Protocol, TypeVar, final

from txsoter.errors import FieldError, MalformedMessage
from txsoter.wire.hashes import Hash, as_hash

T = TypeVar("T")

_U16, _U32, _U64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")


class Codec(Protocol[T]):
    """How one field stands on the wire."""

    def read(self, data: bytes, offset: int, pver: int) -> tuple[T, int]:
        """The value that begins at ``offset``, and the offset behind it."""
        ...

    def write(self, value: T, pver: int) -> bytes:
        """The bytes of ``value``."""
        ...


def ends_early() -> MalformedMessage:
    """The error for a payload that stops inside a field, or before one."""
    return MalformedMessage("payload ends too early")


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """A varint, which must be in its shortest form.

    :raises MalformedMessage: for a longer form.
    """
    first = data[offset]
    if first < 0xFD:
        return first, offset + 1
    if first == 0xFD:
        value, end, least = _U16.unpack_from(data, offset + 1)[0], offset + 3, 0xFD
    elif first == 0xFE:
        value, end, least = _U32.unpack_from(data, offset + 1)[0], offset + 5, 0x10000
    else:
        value, end, least = _U64.unpack_from(data, offset + 1)[0], offset + 9, 0x100000000
    if value < least:
        raise MalformedMessage(f"varint {value} is not in its shortest form")
    return value, end


def write_varint(value: int) -> bytes:
    """The shortest varint of ``value``, which callers keep between 0 and 2^64-1."""
    if value < 0xFD:
        return bytes((value,))
    if value <= 0xFFFF:
        return b"\xfd" + _U16.pack(value)
    if value <= 0xFFFFFFFF:
        return b"\xfe" + _U32.pack(value)
    return b"\xff" + _U64.pack(value)


def read_count(data: bytes, offset: int, limit: int, what: str) -> tuple[int, int]:
    """A count of things, bounded before anything is allocated for them."""
    count, offset = read_varint(data, offset)
    if count > limit:
        raise MalformedMessage(f"too many {what}: {count}, at most {limit}")
    return count, offset


@final
class Scalar:
    """An integer of fixed width.

    :ivar code: its letter in :mod:`struct`.
    """

    __slots__ = ("_struct", "code", "highest", "lowest", "name")

    def __init__(self, name: str, code: str) -> None:
        self.name = name
        self.code = code
        self._struct = struct.Struct("<" + code)
        bits = self._struct.size * 8
        signed = code.islower()
        self.lowest = -(1 << bits - 1) if signed else 0
        self.highest = (1 << bits - signed) - 1

    def read(self, data: bytes, offset: int, pver: int) -> tuple[int, int]:
        return self._struct.unpack_from(data, offset)[0], offset + self._struct.size

    def write(self, value: Any, pver: int) -> bytes:
        try:
            return self._struct.pack(value)
        except struct.error:
            self.check(value)
            raise

    def check(self, value: object) -> None:
        """Refuse what the width cannot hold.

        :raises FieldError: with both bounds.
        """
        if not isinstance(value, int) or not self.lowest <= value <= self.highest:
            raise FieldError("", value, f"a whole number from {self.lowest} to {self.highest} ({self.name})")


U8, U16, U32, U64 = Scalar("u8", "B"), Scalar("u16", "H"), Scalar("u32", "I"), Scalar("u64", "Q")
I32, I64 = Scalar("i32", "i"), Scalar("i64", "q")


@final
class _Bool:
    """One byte: 0 is false, anything else true; written as 0 or 1."""

    __slots__ = ()

    def read(self, data: bytes, offset: int, pver: int) -> tuple[bool, int]:
        return data[offset] != 0, offset + 1

    def write(self, value: Any, pver: int) -> bytes:
        return b"\1" if value else b"\0"


@final
class FixedBytes:
    """A fixed number of bytes.

    :ivar code: its letters in :mod:`struct`.
    """

    __slots__ = ("code", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.code = f"{size}s"

    def read(self, data: bytes, offset: int, pver: int) -> tuple[bytes, int]:
        end = offset + self.size
        if end > len(data):
            raise ends_early()
        return data[offset:end], end

    def write(self, value: Any, pver: int) -> bytes:
        self.check(value)
        return value  # type: ignore[no-any-return]

    def check(self, value: object) -> None:
        """Refuse anything but that many bytes.

        :raises FieldError: saying what was given.
        """
        if not isinstance(value, bytes):
            raise FieldError("", value, f"{self.size} bytes")
        if len(value) != self.size:
            raise FieldError("", value, f"{self.size} bytes, not {len(value)}")


@final
class _HashCodec:
    """32 bytes in wire order."""

    __slots__ = ()
    code = "32s"

    def read(self, data: bytes, offset: int, pver: int) -> tuple[Hash, int]:
        raw, end = _BYTES32.read(data, offset, pver)
        return as_hash(raw), end

    def write(self, value: Any, pver: int) -> bytes:
        self.check(value)
        return value  # type: ignore[no-any-return]

    def check(self, value: object) -> None:
        if isinstance(value, str):
            raise FieldError("", value, "32 bytes in wire order; for hexadecimal digits there is Hash.from_hex()")
        _BYTES32.check(value)


_BYTES32 = FixedBytes(32)


@final
class VarBytes:
    """A varint length, then that many bytes.

    :param limit: the most bytes the field may hold.
    """

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def read(self, data: bytes, offset: int, pver: int) -> tuple[bytes, int]:
        size, offset = read_count(data, offset, self.limit, "bytes in a field")
        end = offset + size
        if end > len(data):
            raise ends_early()
        return data[offset:end], end

    def write(self, value: Any, pver: int) -> bytes:
        if not isinstance(value, bytes):
            raise FieldError("", value, "bytes")
        if len(value) > self.limit:
            raise FieldError("", value, f"at most {self.limit} bytes, not {len(value)}")
        return write_varint(len(value)) + value


@final
class ListOf(Generic[T]):
    """A count, then that many values of another codec. For short lists: rows have views."""

    __slots__ = ("codec", "limit")

    def __init__(self, codec: Codec[T], limit: int) -> None:
        self.codec = codec
        self.limit = limit

    def read(self, data: bytes, offset: int, pver: int) -> tuple[tuple[T, ...], int]:
        count, offset = read_count(data, offset, self.limit, "entries")
        values = []
        for _ in range(count):
            value, offset = self.codec.read(data, offset, pver)
            values.append(value)
        return tuple(values), offset

    def write(self, value: Any, pver: int) -> bytes:
        if len(value) > self.limit:
            raise FieldError("", value, f"at most {self.limit} entries, not {len(value)}")
        parts = [write_varint(len(value))]
        for index, entry in enumerate(value):
            try:
                parts.append(self.codec.write(entry, pver))
            except FieldError as error:
                raise error.within(f"[{index}]") from None
        return b"".join(parts)


BOOL = _Bool()
HASH = _HashCodec()


def scalar_struct(codecs: list[Any]) -> struct.Struct | None:
    """One Struct for all of ``codecs`` when each is an integer of fixed width, else None."""
    if codecs and all(isinstance(codec, Scalar) for codec in codecs):
        return struct.Struct("<" + "".join(codec.code for codec in codecs))
    return None
