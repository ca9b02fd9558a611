"""Rejects that an application sends."""

from __future__ import annotations

from txsoter.errors import FieldError
from txsoter.wire import ZERO_HASH, Hash, Reject

__all__ = ["lacks_hash", "make_reject"]


def make_reject(command: str | bytes, code: int, reason: str | bytes, hash: Hash | None) -> Reject:
    """Return a ``reject``.

    :param hash: of the block or transaction refused, or None for other commands.
    :raises FieldError: if command or reason is no text.
    """
    return Reject(_bytes("command", command), code, _bytes("reason", reason), ZERO_HASH if hash is None else hash)


def lacks_hash(reject: Reject) -> bool:
    """Tell whether a ``reject`` should name a hash, and does not."""
    return reject.rejected in (b"block", b"tx") and reject.hash == ZERO_HASH


def _bytes(field: str, text: str | bytes) -> bytes:
    try:
        return text if isinstance(text, bytes) else text.encode()
    except (AttributeError, UnicodeEncodeError):
        raise FieldError(field, text, "text") from None
