"""Golomb-coded sets: the committed filter of a block (BIP158), which a client matches its scripts with."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from typing_extensions import Self

from txsoter.chain.golomb_coding import decode, encode
from txsoter.chain.script import is_unspendable_data
from txsoter.errors import FieldError, InvalidProof, LocalError, MalformedMessage
from txsoter.wire import Block, Hash, double_sha256
from txsoter.wire.codec import read_varint, write_varint

try:
    from siphash24 import siphash24
except ImportError:
    siphash24 = None

__all__ = ["GolombFilter", "basic_filter", "basic_filter_items", "filter_header"]

P = 19
M = 784_931
KEY_SIZE = 16

_MAX_P = 32
_WORD = 0xFFFFFFFFFFFFFFFF


class GolombFilter:
    """A set of byte strings that says yes to all it has, and to one of ``m`` others; immutable.

    Each string is hashed to a number below ``m`` times the count; the numbers' differences, in order, are Golomb-Rice
    coded. It needs siphash24, which the extra ``chain`` installs.
    """

    __slots__ = ("_data", "_key", "_span", "_values")

    def __init__(self, data: bytes, key: bytes, span: int, values: Iterable[int]) -> None:
        # not checked: build() and from_bytes() make filters
        self._data = data
        self._key = key
        self._span = span
        self._values = frozenset(values)

    @classmethod
    def build(cls, key: bytes, items: Iterable[bytes], p: int = P, m: int = M) -> Self:
        """Return the filter of ``items``, in which one that is repeated counts each time.

        :param key: 16 bytes, the first of the block's hash in wire order.
        :param p: bits of a difference's remainder, 1 to 32.
        :param m: the inverse of the false positive rate.
        :raises FieldError: for values that cannot be.
        :raises LocalError: without siphash24.
        """
        _check_parameters(key, p, m)
        listed = list(items)
        if len(listed) * m > _WORD:
            raise FieldError("items", listed, f"so few that m, {m}, times their number is a u64")
        span = len(listed) * m
        values = sorted(_hashed(key, listed, span))
        return cls(write_varint(len(listed)) + encode(values, p), key, span, values)

    @classmethod
    def from_bytes(cls, data: bytes, key: bytes, p: int = P, m: int = M) -> Self:
        """Return the filter that ``data``, such as a ``cfilter``'s, holds.

        :raises InvalidProof: for data that ends early, goes on behind the last item, or has a number out of range.
        :raises FieldError: for a key, ``p`` or ``m`` that cannot be.
        :raises LocalError: without siphash24.
        """
        _check_parameters(key, p, m)
        if not isinstance(data, bytes):
            raise FieldError("data", data, "bytes")
        try:
            count, offset = read_varint(data, 0)
        except (IndexError, struct.error):
            raise InvalidProof("count of items", "the filter ends inside of it") from None
        except MalformedMessage as error:
            raise InvalidProof("count of items", error.reason) from None
        span = count * m
        if span > _WORD:
            raise InvalidProof("count of items", f"{count} times {m} is no u64")
        return cls(data, key, span, decode(data[offset:], count, p, span))

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, bytes):
            raise FieldError("item", item, "bytes")
        return self.match_any((item,))

    def match_any(self, items: Iterable[bytes]) -> bool:
        """Return whether any of ``items`` is in the filter; False for a filter of nothing."""
        values = self._values
        return bool(values) and any(value in values for value in _hashed(self._key, items, self._span))

    @property
    def hash(self) -> Hash:
        """The filter's hash, of which ``cfheaders`` consists: double SHA-256 of its bytes."""
        return double_sha256(self._data)

    def __bytes__(self) -> bytes:
        return self._data

    def __repr__(self) -> str:
        return f"<GolombFilter {self.hash} of {len(self._data)} bytes>"


def _check_parameters(key: bytes, p: int, m: int) -> None:
    if siphash24 is None:
        raise LocalError("Golomb filters need siphash24: pip install 'txsoter[chain]'")
    if not isinstance(key, bytes) or len(key) != KEY_SIZE:
        raise FieldError("key", key, f"{KEY_SIZE} bytes")
    if not isinstance(p, int) or not 1 <= p <= _MAX_P:
        raise FieldError("p", p, f"a whole number from 1 to {_MAX_P}")
    if not isinstance(m, int) or not 1 <= m <= _WORD:
        raise FieldError("m", m, "a whole number from 1 to 2^64-1")


def _hashed(key: bytes, items: Iterable[bytes], span: int) -> Iterable[int]:
    """The number of each of ``items``, spread evenly over ``span``."""
    for item in items:
        try:
            hashed = siphash24(item, key=key).intdigest() & _WORD
        except TypeError:
            raise FieldError("items", item, "bytes each") from None
        yield hashed * span >> 64


def basic_filter_items(block: Block, spent_scripts: Iterable[bytes]) -> list[bytes]:
    """Return what a block's filter has: the scripts of all its outputs, and those that it spends, each once.

    Empty scripts are left out, and outputs whose script is OP_RETURN with nothing but pushes.

    :param spent_scripts: of the outputs that the block's inputs name, which other blocks hold.
    """
    scripts = [output.script for each in block.transactions for output in each.outputs]
    items = [script for script in scripts if not is_unspendable_data(script)]
    return [script for script in dict.fromkeys([*items, *spent_scripts]) if script]


def basic_filter(block: Block, spent_scripts: Iterable[bytes]) -> GolombFilter:
    """Return the committed filter of a block; parameters as in :func:`basic_filter_items`."""
    return GolombFilter.build(block.hash[:KEY_SIZE], basic_filter_items(block, spent_scripts))


def filter_header(filter: GolombFilter | Hash, parent_header: bytes) -> Hash:
    """Return the filter header of a block: double SHA-256 over its filter's hash and the header of its last parent.

    :param filter: the filter, or its hash.
    :param parent_header: the filter header of the parent that the block lists last; zero for a genesis block.
    :raises FieldError: for anything else.
    """
    if isinstance(filter, GolombFilter):
        filter = filter.hash
    if not isinstance(filter, Hash) or len(filter) != 32:
        raise FieldError("filter", filter, "a GolombFilter, or its Hash")
    if not isinstance(parent_header, bytes) or len(parent_header) != 32:
        raise FieldError("parent_header", parent_header, "32 bytes")
    return double_sha256(filter + parent_header)
