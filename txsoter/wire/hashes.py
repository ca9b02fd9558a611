"""Hashes: 32 bytes in wire order, which people read byte-reversed."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from txsoter.errors import FieldError

__all__ = ["ZERO_HASH", "Hash", "double_sha256", "merkle_root"]


class Hash(bytes):
    """The 32 bytes of a hash in wire order; ``str()`` gives what people read (hex, byte-reversed)."""

    __slots__ = ()

    @classmethod
    def from_hex(cls, text: str) -> Hash:
        """The hash that people write as ``text``: 64 hex digits.

        :raises FieldError: for anything else.
        """
        try:
            raw = bytes.fromhex(text)
        except (TypeError, ValueError):
            raw = b""
        if len(raw) != 32 or len(text) != 64:
            raise FieldError("Hash", text, "64 hexadecimal digits")
        return cls(raw[::-1])

    def __str__(self) -> str:
        return self[::-1].hex()

    def __repr__(self) -> str:
        return f"Hash.from_hex({str(self)!r})"


ZERO_HASH = Hash(32)


def double_sha256(data: bytes) -> Hash:
    """SHA-256 of SHA-256, the hash of everything on this network."""
    return Hash(sha256(sha256(data).digest()).digest())


def merkle_root(leaves: Iterable[bytes]) -> tuple[Hash, bool]:
    """The root of Bitcoin's merkle tree over ``leaves``, and whether the tree is ambiguous.

    A level of odd length is filled up by its last hash again. So a block that repeats its last
    transactions has the root of the block without them (CVE-2012-2459): two equal hashes side by
    side, other than that filling, make the tree ambiguous. No leaves: the zero hash.
    """
    level = list(leaves)
    if not level:
        return ZERO_HASH, False
    ambiguous = False
    while len(level) > 1:
        pairs = list(zip(level[::2], level[1::2], strict=False))
        ambiguous = ambiguous or any(left == right for left, right in pairs)
        if len(level) % 2:
            pairs.append((level[-1], level[-1]))
        level = [sha256(sha256(left + right).digest()).digest() for left, right in pairs]
    return Hash(level[0]), ambiguous
