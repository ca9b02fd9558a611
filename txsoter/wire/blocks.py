"""``block`` and ``headers``: the 80-byte header, the parents that make the chain a DAG, the cycle nonces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import time as wall_clock
from typing import Any, Generic, TypeVar

from typing_extensions import Self

from txsoter.errors import InvalidBlock, InvalidProof, MalformedMessage
from txsoter.wire.codec import HASH, I32, U32, FixedBytes
from txsoter.wire.cuckoo import check_cycle
from txsoter.wire.hashes import ZERO_HASH, Hash, as_hash, check_hashes, double_sha256, merkle_root
from txsoter.wire.message import Encoding, Message, field, message, write_fields
from txsoter.wire.transactions import TransactionView, Tx, write_transactions
from txsoter.wire.views import RowLayout, Rows, RowView, column, read_rows, write_rows

R = TypeVar("R")

__all__ = [
    "MAX_BLOCK",
    "MAX_BLOCK_TRANSACTIONS",
    "MAX_HEADERS",
    "Block",
    "BlockHeader",
    "Headers",
    "Parent",
    "parents_commitment",
]

MAX_BLOCK = 4_000_000
"""The largest block, in bytes."""

MAX_BLOCK_TRANSACTIONS = MAX_BLOCK // 10 + 1
"""The most transactions in a block."""

MAX_HEADERS = 2000
"""The most headers in one message."""

MAX_TIME_AHEAD = 2 * 3600
"""Seconds by which a block's time may be ahead of the clock."""

MERKLE_NODE = 64
"""Bytes that a node of a merkle tree is the hash of."""


class BlockHeader(tuple[int, bytes, bytes, int, int, int]):
    """The 80 bytes that a block's hash covers: ``(version, prev, merkle_root, time, bits, nonce)``.

    :param prev: no block's hash, but the commitment to all parents: see :func:`parents_commitment`.
    :param merkle_root: over the transactions' ids.
    :param time: seconds since 1970, u32.
    :param bits: the target, in Bitcoin's compact form.
    """

    __slots__ = ()

    def __new__(
        cls,
        version: int = 1,
        prev: bytes = ZERO_HASH,
        merkle_root: bytes = ZERO_HASH,
        time: int = 0,
        bits: int = 0,
        nonce: int = 0,
    ) -> Self:
        return tuple.__new__(cls, (version, prev, merkle_root, time, bits, nonce))

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)  # for pickle and copy: tuple's own would give the row as the first field

    version: int = column(0, "The block's version.")
    time: int = column(3, "When it was mined, seconds since 1970.")
    bits: int = column(4, "The target, in Bitcoin's compact form.")
    nonce: int = column(5, "What the miner varied.")

    @property
    def prev(self) -> Hash:
        """The commitment to the parents."""
        return as_hash(self[1])

    @property
    def merkle_root(self) -> Hash:
        """The root over the transactions' ids."""
        return as_hash(self[2])

    @property
    def hash(self) -> Hash:
        """The block's hash: double SHA-256 of the header's 80 bytes.

        :raises FieldError: for a header that cannot be encoded.
        """
        return double_sha256(BLOCK_HEADER.pack_one(self))

    def __repr__(self) -> str:
        return (
            f"BlockHeader(version={self[0]}, prev={str(self.prev)!r}, merkle_root={str(self.merkle_root)!r}, "
            f"time={self[3]}, bits={self[4]:#x}, nonce={self[5]})"
        )


class Parent(tuple[bytes, bytes]):
    """A parent of a block: ``(hash, data)``.

    :param hash: the parent's hash.
    :param data: 32 bytes, zero on mined blocks.
    """

    __slots__ = ()

    def __new__(cls, hash: bytes, data: bytes = bytes(32)) -> Self:
        return tuple.__new__(cls, (hash, data))

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)  # for pickle and copy: tuple's own would give the row as the first field

    data: bytes = column(1, "32 bytes, zero on mined blocks.")

    @property
    def hash(self) -> Hash:
        """The parent's hash."""
        return as_hash(self[0])

    def __repr__(self) -> str:
        return f"Parent(hash={str(self.hash)!r}, data={self[1].hex()!r})"


_HEADER_COLUMNS = (
    ("version", I32),
    ("prev", HASH),
    ("merkle_root", HASH),
    ("time", U32),
    ("bits", U32),
    ("nonce", U32),
)
BLOCK_HEADER: RowLayout[BlockHeader] = RowLayout(_HEADER_COLUMNS, build=BlockHeader)
"""A block header: 80 bytes."""

_LISTED_HEADER: RowLayout[BlockHeader] = RowLayout(_HEADER_COLUMNS, build=BlockHeader, padding=1)
_PARENT: RowLayout[Parent] = RowLayout((("hash", HASH), ("data", FixedBytes(32))), build=Parent)
_NONCE: RowLayout[int] = RowLayout((("", U32),), build=lambda row: row[0], flatten=lambda value: (value,))


class HeaderCodec:
    """One block header."""

    def read(self, data: bytes, offset: int, pver: int) -> tuple[BlockHeader, int]:
        return BLOCK_HEADER.read_one(data, offset)

    def write(self, value: BlockHeader, pver: int) -> bytes:
        return BLOCK_HEADER.pack_one(value)


class _SubHeaderRows(Generic[R]):
    """Rows of a sub-header: their count is an i32, not a varint, and only the payload bounds it."""

    def __init__(self, layout: RowLayout[R]) -> None:
        self._layout = layout

    def read(self, data: bytes, offset: int, pver: int) -> tuple[RowView[R], int]:
        count, offset = I32.read(data, offset, pver)
        if count < 0:
            raise MalformedMessage(f"negative count in a sub-header: {count}")
        return read_rows(self._layout, data, offset, count)

    def write(self, value: Sequence[R], pver: int) -> bytes:
        return I32.write(len(value), pver) + write_rows(self._layout, value)


class _Transactions:
    """A block's transactions, in whichever encoding."""

    def read(self, data: bytes, offset: int, pver: int, encoding: Encoding = Encoding.BASE) -> tuple[Sequence[Tx], int]:
        return TransactionView.read(data, offset, MAX_BLOCK_TRANSACTIONS, encoding)

    def write(self, value: Sequence[Tx], pver: int) -> bytes:
        return write_transactions(value, MAX_BLOCK_TRANSACTIONS, Encoding.BASE)


_TRANSACTIONS = _Transactions()


def parents_commitment(parents: Iterable[bytes]) -> Hash:
    """Return the value of a header's ``prev``: double SHA-256 over the parents' hashes, sorted by their shown form.

    Without parents, on a genesis block, it is zero.

    :raises FieldError: for a parent that is not a hash of 32 bytes.
    """
    parents = list(parents)
    check_hashes("parents", parents)
    ordered = sorted(parents, key=lambda each: each[::-1])
    return double_sha256(b"".join(ordered)) if ordered else ZERO_HASH


@message("block", max_size=MAX_BLOCK)
class Block(Message):
    """A block.

    :ivar header: the 80 bytes that its hash covers.
    :ivar parents_version: of the parents sub-header; 0 on mined blocks.
    :ivar parents: the blocks it builds on; 1 to 8 are usual, none on a genesis block.
    :ivar verification_version: of the verification sub-header.
    :ivar nonces: the cuckoo cycle's nonces, 20 on a mined block. The hash does not cover them.
    :ivar transactions: the first is the coinbase.
    """

    header: BlockHeader = field(HeaderCodec(), default=BlockHeader())
    parents_version: int = field(I32, default=0)
    parents: Sequence[Parent] = field(_SubHeaderRows(_PARENT), default=())
    verification_version: int = field(I32, default=0)
    nonces: Sequence[int] = field(_SubHeaderRows(_NONCE), default=())
    transactions: Sequence[Tx] = field(_TRANSACTIONS, default=())

    @property
    def hash(self) -> Hash:
        """The block's hash."""
        return self.header.hash

    @classmethod
    def read_payload(cls, data: bytes, pver: int, encoding: Encoding) -> tuple[Self, int]:
        offset = 0
        values: list[Any] = []
        for _, codec in cls._codecs[:-1]:
            value, offset = codec.read(data, offset, pver)
            values.append(value)
        transactions, offset = _TRANSACTIONS.read(data, offset, pver, encoding)
        values.append(transactions)
        return cls(*values), offset

    def write_payload(self, pver: int, encoding: Encoding) -> bytes:
        start = write_fields(self, self._codecs[:-1], pver)
        return write_transactions(self.transactions, MAX_BLOCK_TRANSACTIONS, encoding, start)

    def verify(self) -> None:
        """Check that the header commits to the transactions and to the parents, and to no others.

        Neither the proof of work nor the transactions' validity is checked: see :meth:`check`.

        :raises InvalidBlock: when the merkle root or the commitment to the parents is another, when there are no
            transactions, when repeated ones make the merkle tree ambiguous (CVE-2012-2459), or when one that is no
            coinbase has 64 bytes in the base encoding: these could be two hashes, a node of the merkle tree.
        """
        self.verify_transactions()
        commitment = parents_commitment([each.hash for each in self.parents])
        if commitment != self.header.prev:
            words = f"prev is {self.header.prev}, its parents' commitment is {commitment}"
            raise self._invalid("parents", words)

    def verify_transactions(self) -> None:
        """Check that the header commits to the transactions, and to no others.

        :raises InvalidBlock: as :meth:`verify` does.
        """
        encoded = [each.to_payload() for each in self.transactions]
        if not encoded:
            raise self._invalid("transactions", "it has no transactions")
        for position, size in enumerate(map(len, encoded)):
            if size == MERKLE_NODE and not self.transactions[position].is_coinbase:
                raise self._invalid("64 bytes", f"transaction {position} could be a node of the merkle tree: 64 bytes")
        root, ambiguous = merkle_root(map(double_sha256, encoded))
        if root != self.header.merkle_root:
            words = f"merkle root is {self.header.merkle_root}, its transactions' is {root}"
            raise self._invalid("merkle root", words)
        if ambiguous:
            raise self._invalid("siblings differ", "repeated transactions make its merkle tree ambiguous")

    def check(self, now: float | None = None, median_time: int | None = None) -> None:
        """Check all that a mined block must be in itself: :meth:`verify`, its parents, time and proof of work.

        A genesis block, which has neither parents nor a proof, does not pass: know it by its hash.

        :param now: seconds since 1970; None for the system's clock.
        :param median_time: seconds since 1970, which the block's time must exceed: the median of 11 times, those of
            its newest parent and along the parent that each block lists first; None where they are not known.
        :raises InvalidBlock: naming the rule that it breaks.
        """
        if not self.parents:
            raise self._invalid("parents", "it has no parents")
        self.verify()
        mined, latest = self.header.time, (wall_clock() if now is None else now) + MAX_TIME_AHEAD
        if mined > latest:
            raise self._invalid("time too new", f"its time is {mined}, at most {latest:.0f} is taken now")
        if median_time is not None and mined <= median_time:
            words = f"its time is {mined}, not above the median of its ancestors, {median_time}"
            raise self._invalid("time too old", words)
        try:
            check_cycle(self.hash[:16], self.nonces)
        except InvalidProof as error:
            raise self._invalid(error.rule, f"{error.rule}: {error.reason}") from None

    def _invalid(self, rule: str, reason: str) -> InvalidBlock:
        return InvalidBlock(self.hash, reason, rule)


@message("headers", max_size=9 + MAX_HEADERS * 81)
class Headers(Message):
    """Answers ``getheaders``: at most 2000, without their parents."""

    headers: Sequence[BlockHeader] = field(Rows(_LISTED_HEADER, MAX_HEADERS, "headers"), default=())
