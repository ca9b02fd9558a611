"""Bloom filters (BIP37): loading one, and the blocks filtered by it."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from txsoter.errors import FieldError, InvalidProof, MalformedMessage
from txsoter.wire.blocks import MAX_BLOCK, MAX_BLOCK_TRANSACTIONS, BlockHeader, HeaderCodec
from txsoter.wire.codec import U8, U32, VarBytes
from txsoter.wire.hashes import Hash
from txsoter.wire.message import Message, field, message
from txsoter.wire.partial_merkle import proven
from txsoter.wire.views import HASHES, Rows

__all__ = ["BloomUpdate", "FilterAdd", "FilterClear", "FilterLoad", "MerkleBlock"]

BLOOM = 70001
"""The first protocol version with these messages."""

MAX_FILTER = 36_000
MAX_HASH_FUNCTIONS = 50
MAX_ELEMENT = 520
MAX_FLAGS = 50_000


class BloomUpdate(enum.IntEnum):
    """How a loaded filter grows by what it matches. Messages hold plain ints."""

    NONE = 0
    ALL = 1
    PUBKEY_ONLY = 2


class _HashFunctions:
    """A u32 of at most 50."""

    def read(self, data: bytes, offset: int, pver: int) -> tuple[int, int]:
        count, offset = U32.read(data, offset, pver)
        if count > MAX_HASH_FUNCTIONS:
            raise MalformedMessage(f"too many hash functions: {count}, at most {MAX_HASH_FUNCTIONS}")
        return count, offset

    def write(self, value: int, pver: int) -> bytes:
        written = U32.write(value, pver)
        if value > MAX_HASH_FUNCTIONS:
            raise FieldError("", value, f"at most {MAX_HASH_FUNCTIONS}")
        return written


@message("filterload", max_size=36_012, since=BLOOM)
class FilterLoad(Message):
    """Loads a bloom filter for this connection.

    :ivar filter: its bits, at most 36,000 bytes.
    :ivar hash_functions: how many, at most 50.
    :ivar tweak: what is added to their seeds.
    :ivar flags: see :class:`BloomUpdate`.
    """

    filter: bytes = field(VarBytes(MAX_FILTER), default=b"")
    hash_functions: int = field(_HashFunctions(), default=0)
    tweak: int = field(U32, default=0)
    flags: int = field(U8, default=BloomUpdate.NONE)


@message("filteradd", max_size=523, since=BLOOM)
class FilterAdd(Message):
    """Adds one element to the loaded filter.

    :ivar data: the element, at most 520 bytes.
    """

    data: bytes = field(VarBytes(MAX_ELEMENT), default=b"")


@message("filterclear", max_size=0, since=BLOOM)
class FilterClear(Message):
    """Unloads the filter."""


@message("merkleblock", max_size=MAX_BLOCK, since=BLOOM)
class MerkleBlock(Message):
    """A block's header, and the part of its merkle tree that proves the transactions the filter matches.

    :ivar total: how many transactions the block has.
    :ivar hashes: of the tree, in depth-first order.
    :ivar flags: the tree's bits, at most 50,000 bytes.
    """

    header: BlockHeader = field(HeaderCodec(), default=BlockHeader())
    total: int = field(U32, default=0)
    hashes: Sequence[Hash] = field(Rows(HASHES, MAX_BLOCK_TRANSACTIONS, "hashes"), default=())
    flags: bytes = field(VarBytes(MAX_FLAGS), default=b"")

    @property
    def hash(self) -> Hash:
        """The block's hash."""
        return self.header.hash

    def matched(self) -> list[Hash]:
        """Return the ids of the transactions that it proves to be in the block, in the block's order.

        The header itself is not checked: prove its work (:func:`txsoter.chain.check_proof_of_work`), or know its hash.

        :raises InvalidProof: for a tree that Bitcoin Core refuses, or that has another root than the header.
        """
        root, matches = proven(self.total, self.hashes, self.flags)
        if root != self.header.merkle_root:
            raise InvalidProof("merkle root", f"is {self.header.merkle_root}, that of the proof is {root}")
        return matches
