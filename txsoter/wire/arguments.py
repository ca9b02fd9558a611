"""Checks of what callers pass to the codec: FieldErrors that say what to pass instead."""

from __future__ import annotations

from txsoter.errors import FieldError

__all__ = ["as_bytes", "check_magic", "check_pver"]


def check_magic(magic: object) -> None:
    """Check a network's magic.

    :raises FieldError: for anything but a u32.
    """
    if isinstance(magic, int) and 0 <= magic < 1 << 32:
        return
    limit = "a whole number from 0 to 4294967295 (u32)"
    if isinstance(magic, (bytes, bytearray)):
        limit += "; its bytes on the wire are the number's, lowest first: int.from_bytes(magic, 'little')"
    elif isinstance(getattr(magic, "magic", None), int):
        limit += f"; a {type(magic).__name__} has it as its attribute magic"
    raise FieldError("magic", magic, limit)


def check_pver(pver: object) -> None:
    """Check a protocol version.

    :raises FieldError: for anything but a whole number.
    """
    if not isinstance(pver, int):
        raise FieldError("pver", pver, "a protocol version, which is a whole number")


def as_bytes(name: str, data: object) -> bytes:
    """Return ``data``, which may be any bytes-like object, as bytes.

    :raises FieldError: for what is none.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise FieldError(name, data, "bytes")
    return bytes(data)
