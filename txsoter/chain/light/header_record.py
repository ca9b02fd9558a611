"""``HeaderRecord``: a block without its transactions, in as few bytes as can be."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from txsoter.errors import FieldError, MalformedMessage
from txsoter.wire import BlockHeader, Hash, double_sha256
from txsoter.wire.blocks import BLOCK_HEADER
from txsoter.wire.hashes import as_hash, check_hashes

__all__ = ["HeaderRecord", "join_raw", "pack_header", "pack_nonces"]

HEADER_SIZE = 80
HASH_SIZE = 32
TIME = slice(68, 72)
_PREFIX = HEADER_SIZE + 4
_COUNT = struct.Struct("<I")


class HeaderRecord(NamedTuple):
    """A block's header with its parents and nonces, its height, and the header of its committed filter.

    An immutable row, cheap to make and to keep: parents, nonces and the fields of the header are parsed out of ``raw``
    when they are looked at.

    :param hash: the block's hash.
    :param height: one more than its highest parent's; 0 of the genesis.
    :param raw: the header's 80 bytes, the number of parents as u32, their hashes in the order in which the block lists
        them, then the nonces as u32; little-endian.
    :param filter_header: of the block's committed filter, or None as long as it is not known.
    """

    hash: Hash
    height: int
    raw: bytes
    filter_header: Hash | None = None

    @property
    def header(self) -> BlockHeader:
        """The header."""
        return BLOCK_HEADER.read_one(self.raw, 0)[0]

    @property
    def time(self) -> int:
        """The header's time, seconds since 1970."""
        return int.from_bytes(self.raw[TIME], "little")

    @property
    def parents(self) -> tuple[Hash, ...]:
        """The parents' hashes, in the order in which the block lists them; none of the genesis.

        The header commits to the parents, not to their order.
        """
        raw = self.raw
        (count,) = _COUNT.unpack_from(raw, HEADER_SIZE)
        if count == 1:
            return (as_hash(raw[_PREFIX : _PREFIX + HASH_SIZE]),)
        end = _PREFIX + HASH_SIZE * count
        return tuple(as_hash(raw[start : start + HASH_SIZE]) for start in range(_PREFIX, end, HASH_SIZE))

    @property
    def nonces(self) -> tuple[int, ...]:
        """The nonces of the proof of work: 20 where it was checked; none of the genesis."""
        raw = self.raw
        (count,) = _COUNT.unpack_from(raw, HEADER_SIZE)
        start = _PREFIX + HASH_SIZE * count
        return struct.unpack_from(f"<{(len(raw) - start) // 4}I", raw, start)

    @property
    def is_genesis(self) -> bool:
        """True of the genesis, which has no parents."""
        return not _COUNT.unpack_from(self.raw, HEADER_SIZE)[0]

    @classmethod
    def pack(
        cls, header: bytes, parents: Sequence[bytes], nonces: Sequence[int], height: int, hash: Hash | None = None
    ) -> HeaderRecord:
        """Return the record of a header's 80 bytes and what belongs to it; nothing is checked but types.

        :param hash: the header's, where it is known already.
        :raises FieldError: for parents that are no hashes, or nonces that are no u32.
        """
        check_hashes("parents", parents)
        return cls(
            double_sha256(header) if hash is None else hash, height, join_raw(header, parents, pack_nonces(nonces))
        )

    @classmethod
    def from_bytes(cls, raw: bytes, height: int, filter_header: Hash | None = None) -> HeaderRecord:
        """Return the record of ``raw`` bytes that another has had; the hash is computed from them.

        :raises MalformedMessage: for bytes that are no record's.
        """
        end = _PREFIX + HASH_SIZE * _COUNT.unpack_from(raw, HEADER_SIZE)[0] if len(raw) >= _PREFIX else len(raw) + 1
        if end > len(raw) or (len(raw) - end) % 4:
            raise MalformedMessage(f"{len(raw)} bytes are no header record")
        return cls(double_sha256(raw[:HEADER_SIZE]), height, raw, filter_header)


def pack_nonces(nonces: Sequence[int]) -> bytes:
    """Return nonces as they stand in a record.

    :raises FieldError: for what is no sequence of u32.
    """
    try:
        return struct.pack(f"<{len(nonces)}I", *nonces)
    except (struct.error, TypeError):
        raise FieldError("nonces", nonces, "a sequence of u32") from None


def join_raw(header: bytes, parents: Sequence[bytes], nonces: bytes) -> bytes:
    """Return the bytes of a record, of parts that have the right sizes."""
    return b"".join((header, _COUNT.pack(len(parents)), *parents, nonces))


def pack_header(header: BlockHeader | bytes) -> bytes:
    """Return the 80 bytes of a header, which may be those already.

    :raises FieldError: for what is no header.
    """
    if isinstance(header, BlockHeader):
        return BLOCK_HEADER.pack_one(header)
    if isinstance(header, bytes) and len(header) == HEADER_SIZE:
        return header
    raise FieldError("header", header, f"a BlockHeader or its {HEADER_SIZE} bytes")
