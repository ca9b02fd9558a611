"""Hashes: 32 bytes in wire order, shown byte-reversed in hexadecimal."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from hashlib import sha256
from typing import Any

from typing_extensions import Self

from txsoter.errors import FieldError

__all__ = ["ZERO_HASH", "Hash", "as_hash", "check_hashes", "double_sha256", "merkle_root"]

_SHOWN = "64 hexadecimal digits"


class Hash(bytes):
    """A hash: 32 bytes in wire order.

    Text is always the byte-reversed hexadecimal form that block explorers and ``soterctl`` show: ``str()``,
    :meth:`hex`, :meth:`from_hex` and :meth:`fromhex` speak it. Everything else that bytes have (``bytes(hash)``,
    slices, ``==``, order) is in wire order, so ``bytes(hash).hex()`` is the hexadecimal form of the wire.
    A hash never equals a string: compare ``str(hash)`` with text, or the hash with ``Hash.from_hex(text)``.

    :param raw: 32 bytes in wire order.
    :raises FieldError: for anything but 32 bytes.
    """

    __slots__ = ()

    def __new__(cls, raw: bytes) -> Self:
        if not isinstance(raw, (bytes, bytearray, memoryview)):
            raise FieldError("Hash", raw, f"32 bytes in wire order; for {_SHOWN} there is Hash.from_hex()")
        self = super().__new__(cls, raw)
        if len(self) != 32:
            raise FieldError("Hash", raw, f"32 bytes in wire order, not {len(self)}")
        return self

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Return the hash whose shown form is ``text``.

        :raises FieldError: for anything but 64 hexadecimal digits.
        """
        try:
            if isinstance(text, str) and len(text) == 64:
                return cls(bytes.fromhex(text)[::-1])
        except ValueError:
            # not hexadecimal, or fewer digits because of spaces
            pass
        raise FieldError("Hash", text, _SHOWN)

    @classmethod
    def fromhex(cls, text: str, /) -> Self:
        """Return the hash whose shown form is ``text``, as :meth:`from_hex` does; bytes' own would reverse it."""
        return cls.from_hex(text)

    def hex(self, *separator: Any, **separated: Any) -> str:
        """Return the shown form, as ``str()`` does; arguments are those of :meth:`bytes.hex`."""
        return self[::-1].hex(*separator, **separated)

    def __str__(self) -> str:
        return self[::-1].hex()

    def __repr__(self) -> str:
        return f"Hash.from_hex({str(self)!r})"


as_hash: partial[Hash] = partial(bytes.__new__, Hash)
"""Make a hash of 32 bytes that are known to be as many, in half the time."""

ZERO_HASH = Hash(bytes(32))


def double_sha256(data: bytes) -> Hash:
    """Return SHA-256 of SHA-256, the hash of everything on this network.

    :raises FieldError: for what is not bytes.
    """
    try:
        return as_hash(sha256(sha256(data).digest()).digest())
    except TypeError:
        raise FieldError("data", data, "bytes") from None


def check_hashes(name: str, hashes: Iterable[object]) -> None:
    """Check that all of ``hashes`` are 32 bytes.

    :raises FieldError: naming the first that is not, as an entry of ``name``.
    """
    for index, each in enumerate(hashes):
        if not isinstance(each, bytes) or len(each) != 32:
            raise FieldError(f"{name}[{index}]", each, "32 bytes in wire order")


def merkle_root(leaves: Iterable[bytes]) -> tuple[Hash, bool]:
    """Return the root of Bitcoin's merkle tree over ``leaves``, and whether the tree is ambiguous.

    A level of odd length is filled up by its last hash again. So a block that repeats its last
    transactions has the root of the block without them (CVE-2012-2459): two equal hashes side by
    side, other than that filling, make the tree ambiguous. No leaves: the zero hash.

    :raises FieldError: for a leaf that is not 32 bytes.
    """
    level = list(leaves)
    check_hashes("leaves", level)
    if not level:
        return ZERO_HASH, False
    ambiguous = False
    while len(level) > 1:
        pairs = list(zip(level[::2], level[1::2], strict=False))
        ambiguous = ambiguous or any(left == right for left, right in pairs)
        if len(level) % 2:
            pairs.append((level[-1], level[-1]))
        level = [sha256(sha256(left + right).digest()).digest() for left, right in pairs]
    return as_hash(level[0]), ambiguous
