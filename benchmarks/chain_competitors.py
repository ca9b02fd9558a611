"""Other Python libraries, at what the chain suite measures.

Each gets the same items, and the parameters that it has: chiabip158's filters have 20 bits a remainder and no key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

__all__ = ["NAMES", "available"]

NAMES = ("python-bitcoinlib", "btclib", "bitcoinx", "chiabip158")

Call = Callable[[], Any]


class Library:
    """The calls of one library; None where it has none.

    Each method gets ready, and returns the call to measure.
    """

    name: str

    def gcs_build(self, items: Sequence[bytes]) -> Call | None:
        return None

    def gcs_match(self, items: Sequence[bytes], queries: Sequence[bytes]) -> Call | None:
        """Read a filter's bytes, and match with it."""
        return None

    def gcs_match_many(self, filters: Sequence[Sequence[bytes]], queries: Sequence[bytes]) -> Call | None:
        """The same with many filters; None as well where that takes half a minute."""
        return None

    def bloom_add(self, items: Sequence[bytes]) -> Call | None:
        """Make a filter for as many at a rate of one in a thousand, and put them in."""
        return None

    def bloom_match(self, items: Sequence[bytes], queries: Sequence[bytes]) -> Call | None:
        return None

    def merkle_build(self, txids: Sequence[bytes], matched: Sequence[bool]) -> Call | None:
        return None

    def merkle_check(self, txids: Sequence[bytes], matched: Sequence[bool]) -> Call | None:
        """Read a proof's bytes, and find what it proves."""
        return None


class _PythonBitcoinlib(Library):
    name = "python-bitcoinlib"

    def __init__(self) -> None:
        self._bloom = import_module("bitcoin.bloom").CBloomFilter

    def bloom_add(self, items: Sequence[bytes]) -> Call:
        def add() -> Any:
            bloom = self._bloom(len(items), 0.001, 0, 0)
            for each in items:
                bloom.insert(each)
            return bloom

        return add

    def bloom_match(self, items: Sequence[bytes], queries: Sequence[bytes]) -> Call:
        bloom = self.bloom_add(items)()
        return lambda: [bloom.contains(each) for each in queries]


class _Btclib(Library):
    name = "btclib"

    def __init__(self) -> None:
        filters = import_module("btclib.block.block_filter")
        self._filter, self._filters = filters.BasicBlockFilter, filters
        self._tree = import_module("btclib.block.partial_merkle_tree").PartialMerkleTree

    def gcs_build(self, items: Sequence[bytes]) -> Call:
        filters, block_hash = self._filters, bytes(32)

        # what its from_block() does with a block's scripts, and no block
        def build() -> Any:
            low, high = filters._key_from_block_hash(block_hash)
            span = len(items) * filters.BASIC_FILTER_M
            writer, last = filters._BitWriter(), 0
            for value in sorted(filters._hash_to_range(low, high, each, span) for each in items):
                filters._golomb_encode(writer, value - last, filters.BASIC_FILTER_P)
                last = value
            return self._filter(block_hash, len(items), writer.flush(), check_validity=False)

        return build

    def gcs_match(self, items: Sequence[bytes], queries: Sequence[bytes]) -> Call:
        raw, block_hash = self.gcs_build(items)().serialize(), bytes(32)
        return lambda: self._filter.parse(raw, block_hash).match_any(queries)

    def merkle_build(self, txids: Sequence[bytes], matched: Sequence[bool]) -> Call:
        shown = [each[::-1] for each in txids]
        return lambda: self._tree.from_txids(shown, matched, check_validity=False)

    def merkle_check(self, txids: Sequence[bytes], matched: Sequence[bool]) -> Call:
        raw = self.merkle_build(txids, matched)().serialize()
        return lambda: self._tree.parse(raw).matches


class _Bitcoinx(Library):
    name = "bitcoinx"

    def __init__(self) -> None:
        self._bump = import_module("bitcoinx.merkle").BUMP

    def merkle_build(self, txids: Sequence[bytes], matched: Sequence[bool]) -> Call:
        wanted = [txid for txid, match in zip(txids, matched, strict=True) if match]
        ids = list(txids)
        return lambda: self._bump.create(ids, wanted)

    def merkle_check(self, txids: Sequence[bytes], matched: Sequence[bool]) -> Call:
        raw = self.merkle_build(txids, matched)().to_bytes(1)
        return lambda: self._bump.from_bytes(raw)[1].tx_hashes()


class _ChiaBip158(Library):
    name = "chiabip158"

    def __init__(self) -> None:
        self._filter = import_module("chiabip158").PyBIP158

    def gcs_build(self, items: Sequence[bytes]) -> Call:
        taken = [bytearray(each) for each in items]
        return lambda: self._filter(taken).GetEncoded()

    def gcs_match(self, items: Sequence[bytes], queries: Sequence[bytes]) -> Call:
        raw, taken = bytearray(self.gcs_build(items)()), [bytearray(each) for each in queries]
        return lambda: self._filter(raw).MatchAny(taken)

    def gcs_match_many(self, filters: Sequence[Sequence[bytes]], queries: Sequence[bytes]) -> Call:
        calls = [self.gcs_match(items, queries) for items in filters]
        return lambda: [call() for call in calls]


def available() -> list[Library]:
    """Those that are installed."""
    found: list[Library] = []
    for make in (_PythonBitcoinlib, _Btclib, _Bitcoinx, _ChiaBip158):
        try:
            found.append(make())
        except ImportError:
            continue
    return found
