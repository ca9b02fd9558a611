"""Bloom filters (BIP37): a set of data that says yes to all it has, and to some that it has not."""

from __future__ import annotations

from math import isnan, log

from typing_extensions import Self

from txsoter.chain.script import holds_public_keys, pushed_data
from txsoter.errors import FieldError, InvalidProof, LocalError
from txsoter.wire import BloomUpdate, FilterLoad, Tx
from txsoter.wire.bloom import MAX_FILTER, MAX_HASH_FUNCTIONS
from txsoter.wire.codec import U8, U32, Scalar

try:
    from mmh3 import mmh3_32_uintdigest as murmur3
except ImportError:
    murmur3 = None  # type: ignore[assignment]

__all__ = ["BloomFilter"]

LOWEST_RATE = 1e-9
_SEED_FACTOR = 0xFBA4C795
_LOG_2 = log(2)


class BloomFilter:
    """A bloom filter as nodes take it, and as they match with it.

    It needs mmh3, which the extra ``chain`` installs.

    :param elements: number of pieces of data that it can have at the rate given.
    :param false_positive_rate: the share of other data that it matches; taken as 1e-9 at least, 1 at most.
    :param tweak: u32, added to the seeds; a random one keeps filters of the same data apart.
    :param flags: see :class:`~txsoter.wire.BloomUpdate`.
    :raises FieldError: for values that cannot be.
    :raises LocalError: without mmh3.
    """

    __slots__ = ("_bits", "_seeds", "flags", "tweak")

    def __init__(
        self, elements: int, false_positive_rate: float, tweak: int = 0, flags: int = BloomUpdate.NONE
    ) -> None:
        _check("elements", U32, elements)
        if not elements:
            raise FieldError("elements", elements, "1 or more")
        if not isinstance(false_positive_rate, (int, float)) or isnan(false_positive_rate):
            raise FieldError("false_positive_rate", false_positive_rate, "a number")
        rate = min(max(false_positive_rate, LOWEST_RATE), 1.0)
        # both sizes truncate, as BIP37 has them; never no bytes, over which a node divides by zero
        bits = min(int(-elements * log(rate) / _LOG_2**2), MAX_FILTER * 8)
        size = max(bits // 8, 1)
        functions = min(int(size * 8 / elements * _LOG_2), MAX_HASH_FUNCTIONS)
        self._set(bytearray(size), functions, tweak, flags)

    @classmethod
    def from_filter_load(cls, message: FilterLoad) -> Self:
        """The filter that a remote loads.

        :raises InvalidProof: for one of no bytes, or of more bytes or hash functions than a message may have.
        """
        size = len(message.filter)
        if not 0 < size <= MAX_FILTER:
            raise InvalidProof("size of the filter", f"{size} bytes, must be 1 to {MAX_FILTER}")
        if message.hash_functions > MAX_HASH_FUNCTIONS:
            raise InvalidProof("count of hash functions", f"{message.hash_functions}, at most {MAX_HASH_FUNCTIONS}")
        self = cls.__new__(cls)
        self._set(bytearray(message.filter), message.hash_functions, message.tweak, message.flags)
        return self

    def _set(self, bits: bytearray, functions: int, tweak: int, flags: int) -> None:
        if murmur3 is None:
            raise LocalError("bloom filters need mmh3: pip install 'txsoter[chain]'")
        _check("tweak", U32, tweak)
        _check("flags", U8, flags)
        self._bits = bits
        self._seeds = [(turn * _SEED_FACTOR + tweak) & 0xFFFFFFFF for turn in range(functions)]
        self.tweak = tweak
        self.flags = flags

    @property
    def data(self) -> bytes:
        """The filter's bytes, at least one."""
        return bytes(self._bits)

    @property
    def hash_functions(self) -> int:
        """Bits set for each piece of data; a filter with none matches everything."""
        return len(self._seeds)

    def filter_load(self) -> FilterLoad:
        """The message that loads it."""
        return FilterLoad(self.data, self.hash_functions, self.tweak, self.flags)

    def add(self, data: bytes) -> None:
        """Put ``data`` into the set: a script's push, such as a public key or its hash; a transaction's id."""
        if not isinstance(data, bytes):
            raise FieldError("data", data, "bytes")
        bits = self._bits
        size = len(bits) * 8
        for seed in self._seeds:
            position = murmur3(data, seed) % size
            bits[position >> 3] |= 1 << (position & 7)

    def add_outpoint(self, txid: bytes, index: int) -> None:
        """Put an output into the set, to match the transaction that spends it.

        :param txid: in wire order, as a :class:`~txsoter.wire.Hash` is.
        """
        self.add(_outpoint(txid, index))

    def __contains__(self, data: object) -> bool:
        if not isinstance(data, bytes):
            raise FieldError("data", data, "bytes")
        bits = self._bits
        size = len(bits) * 8
        for seed in self._seeds:
            position = murmur3(data, seed) % size
            if not bits[position >> 3] >> (position & 7) & 1:
                return False
        return True

    def matches_tx(self, tx: Tx) -> bool:
        """Return whether a transaction concerns the set: by its id, what its scripts push, or the outputs it spends.

        An output that matches is added to the set, if :attr:`flags` has it so, to match what will spend it.
        """
        txid = tx.txid
        found = txid in self
        for index, output in enumerate(tx.outputs):
            if any(data in self for data in pushed_data(output.script)):
                found = True
                if self.flags == BloomUpdate.ALL or (
                    self.flags == BloomUpdate.PUBKEY_ONLY and holds_public_keys(output.script)
                ):
                    self.add_outpoint(txid, index)
        return found or any(
            _outpoint(each.previous_hash, each.previous_index) in self
            or any(data in self for data in pushed_data(each.script))
            for each in tx.inputs
        )


def _outpoint(txid: bytes, index: int) -> bytes:
    if not isinstance(txid, bytes) or len(txid) != 32:
        raise FieldError("txid", txid, "32 bytes in wire order")
    _check("index", U32, index)
    return txid + index.to_bytes(4, "little")


def _check(name: str, codec: Scalar, value: int) -> None:
    try:
        codec.check(value)
    except FieldError as error:
        raise error.within(name) from None
