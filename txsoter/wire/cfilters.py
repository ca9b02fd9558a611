"""Committed filters (after BIP157): the questions and the answers.

Their ``filter_type`` is given by its name alone: there is but one.
"""

from __future__ import annotations

from collections.abc import Sequence

from txsoter.wire.codec import HASH, U8, U32, VarBytes
from txsoter.wire.hashes import ZERO_HASH, Hash
from txsoter.wire.message import Message, field, message
from txsoter.wire.views import HASHES, Rows

__all__ = [
    "MAX_CHECKPOINT_HEADERS",
    "MAX_FILTER_HEADERS",
    "REGULAR_FILTER",
    "CFCheckpt",
    "CFHeaders",
    "CFilter",
    "GetCFCheckpt",
    "GetCFHeaders",
    "GetCFilters",
]

REGULAR_FILTER = 0
"""The only filter type so far."""

MAX_FILTER = 262_144
"""The largest filter, in bytes."""

MAX_FILTER_HEADERS = 2000
"""The most filter hashes in one ``cfheaders``."""

MAX_CHECKPOINT_HEADERS = 100_000
"""The most filter headers in one ``cfcheckpt``."""


@message("getcfilters", max_size=37)
class GetCFilters(Message):
    """Asks for one ``cfilter`` a block, from a height to a stop hash; soterd serves at most 1000."""

    filter_type: int = field(U8, default=REGULAR_FILTER, kw_only=True)
    start_height: int = field(U32, default=0)
    stop: Hash = field(HASH, default=ZERO_HASH)


@message("getcfheaders", max_size=37)
class GetCFHeaders(Message):
    """Asks for one ``cfheaders``, from a height to a stop hash."""

    filter_type: int = field(U8, default=REGULAR_FILTER, kw_only=True)
    start_height: int = field(U32, default=0)
    stop: Hash = field(HASH, default=ZERO_HASH)


@message("getcfcheckpt", max_size=33)
class GetCFCheckpt(Message):
    """Asks for one ``cfcheckpt`` up to a stop hash."""

    filter_type: int = field(U8, default=REGULAR_FILTER, kw_only=True)
    stop: Hash = field(HASH, default=ZERO_HASH)


@message("cfilter", max_size=262_182)
class CFilter(Message):
    """The committed filter of one block.

    :ivar data: the filter, at most 262,144 bytes.
    """

    filter_type: int = field(U8, default=REGULAR_FILTER, kw_only=True)
    block_hash: Hash = field(HASH, default=ZERO_HASH)
    data: bytes = field(VarBytes(MAX_FILTER), default=b"")


@message("cfheaders", max_size=64_074)
class CFHeaders(Message):
    """Hashes of the filters of a run of blocks.

    :ivar stop: hash of the last block.
    :ivar previous_header: the filter header before the first.
    :ivar filter_hashes: at most 2000.
    """

    filter_type: int = field(U8, default=REGULAR_FILTER, kw_only=True)
    stop: Hash = field(HASH, default=ZERO_HASH)
    previous_header: Hash = field(HASH, default=ZERO_HASH)
    filter_hashes: Sequence[Hash] = field(Rows(HASHES, MAX_FILTER_HEADERS, "filter hashes"), default=())


@message("cfcheckpt", max_size=33 + 9 + 32 * MAX_CHECKPOINT_HEADERS)
class CFCheckpt(Message):
    """Filter headers at intervals.

    :ivar stop: hash of the last block.
    :ivar filter_headers: at most 100,000.
    """

    filter_type: int = field(U8, default=REGULAR_FILTER, kw_only=True)
    stop: Hash = field(HASH, default=ZERO_HASH)
    filter_headers: Sequence[Hash] = field(Rows(HASHES, MAX_CHECKPOINT_HEADERS, "filter headers"), default=())
