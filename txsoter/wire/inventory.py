"""What a node has: the inventory vector and the messages made of it, and the questions that ask for them."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from typing_extensions import Self

from txsoter.wire.codec import HASH, I32, U32, read_count
from txsoter.wire.hashes import ZERO_HASH, Hash, as_hash
from txsoter.wire.message import PROTOCOL_VERSION, Message, field, message
from txsoter.wire.views import RowLayout, Rows, column

__all__ = [
    "MAX_INVENTORY",
    "MAX_INVENTORY_SENT",
    "GetBlocks",
    "GetData",
    "GetHeaders",
    "Inv",
    "InventoryType",
    "InventoryVector",
    "MemPool",
    "NotFound",
]

MAX_INVENTORY = 50_000
"""The most inventory vectors taken in one message."""

MAX_INVENTORY_SENT = 45_000
"""The most that soterd takes: it sizes its limit at 36 bytes an entry, Bitcoin's."""


class InventoryType(enum.IntEnum):
    """What an inventory vector points at. Vectors hold plain ints: unknown types are no error."""

    ERROR = 0
    TX = 1
    BLOCK = 2
    FILTERED_BLOCK = 3
    WITNESS_TX = 1 | 1 << 30
    WITNESS_BLOCK = 2 | 1 << 30
    WITNESS_FILTERED_BLOCK = 3 | 1 << 30


class InventoryVector(tuple[int, bytes, int]):
    """Something a node has or wants: ``(type, hash, height)``.

    :param type: see :class:`InventoryType`.
    :param hash: 32 bytes in wire order.
    :param height: of a block; -1 where it is unknown, and for transactions.
    """

    __slots__ = ()

    def __new__(cls, type: int, hash: bytes, height: int = -1) -> Self:
        return tuple.__new__(cls, (type, hash, height))

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)  # for pickle and copy: tuple's own would give the row as the first field

    type: int = column(0, "What it points at.")
    height: int = column(2, "The block's height, or -1.")

    @property
    def hash(self) -> Hash:
        """The hash of what it points at."""
        return as_hash(self[1])

    @property
    def is_block(self) -> bool:
        """Whether it is a whole block, plain or with witnesses."""
        return self[0] in (InventoryType.BLOCK, InventoryType.WITNESS_BLOCK)

    def __repr__(self) -> str:
        return f"InventoryVector(type={self[0]}, hash={str(self.hash)!r}, height={self[2]})"


INVENTORY_VECTOR: RowLayout[InventoryVector] = RowLayout(
    (("type", U32), ("hash", HASH), ("height", I32)), build=InventoryVector
)
"""40 bytes (Bitcoin's has no height)."""

_VECTORS = Rows(INVENTORY_VECTOR, MAX_INVENTORY, "inventory vectors", send_limit=MAX_INVENTORY_SENT)
_MAX_SIZE = 9 + MAX_INVENTORY * 40
_MAX_SEND = 9 + MAX_INVENTORY * 36


@message("inv", max_size=_MAX_SIZE, max_send=_MAX_SEND)
class Inv(Message):
    """Announces blocks and transactions: at most 50,000 taken, 45,000 sent."""

    vectors: Sequence[InventoryVector] = field(_VECTORS, default=())


@message("getdata", max_size=_MAX_SIZE, max_send=_MAX_SEND)
class GetData(Message):
    """Asks for blocks and transactions. Never send an unknown type: it hangs soterd's handler for good."""

    vectors: Sequence[InventoryVector] = field(_VECTORS, default=())


@message("notfound", max_size=_MAX_SIZE, max_send=_MAX_SEND)
class NotFound(Message):
    """Answers ``getdata`` with what the node does not have."""

    vectors: Sequence[InventoryVector] = field(_VECTORS, default=())


class _LocatorCodec:
    """A block locator: a count of 0 or 1, and that height."""

    def read(self, data: bytes, offset: int, pver: int) -> tuple[int | None, int]:
        count, offset = read_count(data, offset, 1, "heights in a locator")
        return I32.read(data, offset, pver) if count else (None, offset)

    def write(self, value: int | None, pver: int) -> bytes:
        return b"\0" if value is None else b"\1" + I32.write(value, pver)


@message("getblocks", max_size=49)
class GetBlocks(Message):
    """Asks for an ``inv`` of the blocks above a height.

    Never send 2147483647 or a very negative height: a soterd spins on it for 23 seconds.

    :ivar protocol_version: the sender's; given by its name alone, so that ``GetBlocks(0)`` asks from height 0.
    :ivar height: the highest that the sender has; None for a locator without a height.
    :ivar stop: hash of the last block wanted; zero for as many as the remote sends (500).
    """

    protocol_version: int = field(U32, default=PROTOCOL_VERSION, kw_only=True)
    height: int | None = field(_LocatorCodec(), default=None)
    stop: Hash = field(HASH, default=ZERO_HASH)


@message("getheaders", max_size=49)
class GetHeaders(Message):
    """Asks for ``headers`` above a height; fields as in :class:`GetBlocks`.

    A soterd that is not current does not answer at all.
    """

    protocol_version: int = field(U32, default=PROTOCOL_VERSION, kw_only=True)
    height: int | None = field(_LocatorCodec(), default=None)
    stop: Hash = field(HASH, default=ZERO_HASH)


@message("mempool", max_size=0, since=60002)
class MemPool(Message):
    """Asks for an ``inv`` of unconfirmed transactions; silence when there are none.

    The fourth within a minute gets one banned by soterd.
    """
