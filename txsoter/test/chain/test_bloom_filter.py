"""Tests of :mod:`txsoter.chain.bloom_filter`."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from txsoter.chain import BloomFilter
from txsoter.test import vectors
from txsoter.test.chain import ChainTestCase, tx_of
from txsoter.test.test_imports import in_fresh_interpreter
from txsoter.test.test_strategies import deterministic
from txsoter.test.wire import wrong
from txsoter.wire import BloomUpdate, FilterLoad, Hash, Tx, TxIn, TxOut

TXID = Hash(bytes(range(32)))
KEY = b"\2" * 33
PAY_TO_KEY = b"\x21" + KEY + b"\xac"
PAY_TO_HASH = b"\x76\xa9\x14" + b"h" * 20 + b"\x88\xac"

WITHOUT = """
import sys
sys.modules["mmh3"] = None
from txsoter.chain import BloomFilter, Dag, check_proof_of_work
from txsoter.errors import LocalError
from txsoter.wire import FilterLoad
for make in (lambda: BloomFilter(1, 0.1), lambda: BloomFilter.from_filter_load(FilterLoad(b"x"))):
    try:
        make()
    except LocalError as error:
        print(error)
"""


class FilterTests(ChainTestCase):
    """The set itself."""

    def test_vectors(self) -> None:
        for row in vectors.consensus("bloom"):
            if row["kind"] != "items":
                continue
            bloom = BloomFilter(row["elements"], row["fp"], row["tweak"], row["flags"])
            self.assertEqual(bloom.hash_functions, row["hash_funcs"])
            for item in row["items"]:
                bloom.add(bytes.fromhex(item))
            self.assertEqual(bloom.data.hex(), row["filter"])
            self.assertEqual([bytes.fromhex(query) in bloom for query in row["queries"]], row["match"])

    def test_never_one_of_no_bytes(self) -> None:
        """A filter that the reference makes empty, and then divides by, has a byte here."""
        rows = [row for row in vectors.consensus("bloom") if row["kind"] == "size"]
        self.assertEqual({row["filter"] for row in rows}, {""})
        for row in rows:
            bloom = BloomFilter(row["elements"], row["fp"], row["tweak"], row["flags"])
            self.assertEqual(bloom.data, b"\0")
            bloom.add(b"x")
            self.assertIn(b"x", bloom)

    @deterministic(200)
    @given(
        st.integers(1, 2000),
        st.floats(0, 1.5),
        st.integers(0, 0xFFFFFFFF),
        st.lists(st.binary(max_size=40), max_size=40),
    )
    def test_no_false_negatives(self, elements: int, rate: float, tweak: int, items: list[bytes]) -> None:
        bloom = BloomFilter(elements, rate, tweak=tweak)
        for item in items:
            bloom.add(item)
        loaded = BloomFilter.from_filter_load(FilterLoad.from_payload(bloom.filter_load().to_payload())[0])
        for each in (bloom, loaded):
            self.assertTrue(all(item in each for item in items))
            self.assertGreater(len(each.data), 0)
        self.assertEqual(loaded.filter_load(), bloom.filter_load())

    def test_rates_are_kept_to(self) -> None:
        for rate in (0.1, 0.05, 0.02):
            bloom = BloomFilter(500, rate, tweak=7)
            for number in range(500):
                bloom.add(b"in %d" % number)
            share = sum(b"out %d" % number in bloom for number in range(4000)) / 4000
            self.assertLess(abs(share - rate), rate / 2)

    def test_sizes_are_bounded(self) -> None:
        bloom = BloomFilter(0xFFFFFFFF, 0)
        self.assertEqual((len(bloom.data), bloom.hash_functions), (36_000, 0))
        self.assertEqual(BloomFilter(1, 1e-300).hash_functions, BloomFilter(1, 1e-9).hash_functions)
        self.assertEqual(BloomFilter(100, 5).data, BloomFilter(100, 1).data)
        self.assertEqual(BloomFilter(100, float("inf")).data, BloomFilter(100, 1).data)

    def test_a_filter_without_hash_functions_matches_everything(self) -> None:
        bloom = BloomFilter.from_filter_load(FilterLoad(b"\0", 0))
        self.assertIn(b"anything", bloom)
        self.assertTrue(bloom.matches_tx(Tx()))

    def test_a_message_with_a_filter_of_no_bytes(self) -> None:
        for functions in (0, 3):
            self.assert_invalid(
                "size of the filter",
                "0 bytes, must be 1 to 36000",
                BloomFilter.from_filter_load,
                FilterLoad(b"", functions),
            )

    def test_a_message_with_more_than_a_message_may_have(self) -> None:
        load = BloomFilter.from_filter_load
        self.assert_invalid("size of the filter", "36001 bytes", load, FilterLoad(bytes(36_001), 1))
        self.assert_invalid("count of hash functions", "51, at most 50", load, FilterLoad(b"x", 51))

    def test_the_callers_mistakes(self) -> None:
        for elements in (0, -1, 1 << 32, 1.5, "1", None):
            self.assert_mistake("elements", BloomFilter, elements, 0.1)
        for rate in (float("nan"), "0.1", None):
            self.assert_mistake("false_positive_rate", BloomFilter, 1, rate)
        for tweak in (-1, 1 << 32, None):
            self.assert_mistake("tweak", BloomFilter, 1, 0.1, tweak)
        self.assert_mistake("flags", BloomFilter, 1, 0.1, 0, 256)
        bloom = BloomFilter(1, 0.1)
        for data in ("x", None, bytearray(b"x")):
            self.assert_mistake("data", bloom.add, data)
            self.assert_mistake("data", bloom.__contains__, data)
        for txid in (b"x", str(TXID), None):
            self.assert_mistake("txid", bloom.add_outpoint, txid, 0)
        for index in (-1, 1 << 32, None):
            self.assert_mistake("index", bloom.add_outpoint, TXID, index)

    def test_without_mmh3_the_error_says_what_to_install(self) -> None:
        printed = in_fresh_interpreter(WITHOUT)
        self.assertEqual(printed, "bloom filters need mmh3: pip install 'txsoter[chain]'\n" * 2)


class TransactionTests(ChainTestCase):
    """Parts of a transaction that are matched, and its additions to the filter."""

    def bloom(self, *items: bytes, flags: int = BloomUpdate.NONE) -> BloomFilter:
        bloom = BloomFilter(100, 1e-9, flags=flags)
        for item in items:
            bloom.add(item)
        return bloom

    def test_vectors(self) -> None:
        seen = Counter[tuple[str, bool]]()
        for row in vectors.consensus("bloom"):
            if row["kind"] != "tx":
                continue
            message = FilterLoad(bytes.fromhex(row["filter"]), row["hash_funcs"], row["tweak"], row["flags"])
            bloom, tx = BloomFilter.from_filter_load(message), tx_of(row["tx"])
            self.assertIs(bloom.matches_tx(tx), row["matched"], row["why"])
            self.assertEqual(bloom.data.hex(), row["filter_after"])
            seen[row["why"], row["filter"] != row["filter_after"]] += 1
        self.assertEqual(len(seen), 7)

    def test_each_part(self) -> None:
        spends = TxIn(TXID, 5, b"\4wxyz")
        tx = Tx(1, [spends], [TxOut(1, PAY_TO_HASH), TxOut(2, PAY_TO_KEY)])
        for item in (tx.txid, b"h" * 20, KEY, b"wxyz", TXID + b"\5\0\0\0"):
            self.assertTrue(self.bloom(item).matches_tx(tx), item)
        for item in (TXID, PAY_TO_KEY, b"wxy", TXID + b"\6\0\0\0", tx.txid[::-1]):
            self.assertFalse(self.bloom(item).matches_tx(tx), item)

    def test_outpoints(self) -> None:
        bloom = self.bloom()
        bloom.add_outpoint(TXID, 5)
        self.assertTrue(bloom.matches_tx(Tx(1, [TxIn(TXID, 5)])))
        self.assertFalse(bloom.matches_tx(Tx(1, [TxIn(TXID, 4)])))

    def test_updates(self) -> None:
        """Transactions that spend a matched output are matched: of all of them, of those of public keys, or of none."""
        pays = Tx(1, [TxIn(TXID, 5)], [TxOut(0), TxOut(1, PAY_TO_HASH), TxOut(2, PAY_TO_KEY)])
        for flags, spent in (
            (BloomUpdate.NONE, ()),
            (BloomUpdate.ALL, (1, 2)),
            (BloomUpdate.PUBKEY_ONLY, (2,)),
            (9, ()),
        ):
            bloom = self.bloom(b"h" * 20, KEY, flags=flags)
            self.assertTrue(bloom.matches_tx(pays))
            found = [index for index in range(3) if bloom.matches_tx(Tx(1, [TxIn(pays.txid, index)]))]
            self.assertEqual(found, list(spent), flags)

    def test_a_script_that_ends_early_matches_nothing(self) -> None:
        tx = Tx(1, [TxIn(TXID, 0, b"\4wxyz\x05x")], [TxOut(1, b"\x21" + KEY + b"\x4c")])
        self.assertFalse(self.bloom(b"wxyz", KEY).matches_tx(tx))

    def test_any_filter_that_a_remote_loads_can_be_asked(self) -> None:
        for size in (1, 2, 36_000):
            for functions in (0, 1, 50):
                bloom = BloomFilter.from_filter_load(FilterLoad(b"\xff" * size, functions, 0xFFFFFFFF, 255))
                self.assertTrue(bloom.matches_tx(Tx(1, [TxIn(TXID, 0)], [TxOut(1, wrong(PAY_TO_KEY))])))
