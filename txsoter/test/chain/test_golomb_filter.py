"""Tests of :mod:`txsoter.chain.golomb_filter`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from txsoter.chain import GolombFilter, basic_filter, basic_filter_items, filter_header
from txsoter.errors import InvalidProof
from txsoter.test import vectors
from txsoter.test.chain import ChainTestCase, block_of
from txsoter.test.test_imports import in_fresh_interpreter
from txsoter.test.test_strategies import deterministic
from txsoter.test.wire import HUGE, varint
from txsoter.wire import ZERO_HASH, Block, Hash, Tx, TxOut, double_sha256

KEY = bytes(range(16))
ITEMS = [b"item %d" % number for number in range(100)]

WITHOUT = """
import sys
sys.modules["siphash24"] = None
from txsoter.chain import Dag, GolombFilter, check_proof_of_work, filter_header
from txsoter.errors import LocalError
from txsoter.wire import ZERO_HASH
filter_header(ZERO_HASH, ZERO_HASH)
for make in (lambda: GolombFilter.build(bytes(16), ()), lambda: GolombFilter.from_bytes(b"", bytes(16))):
    try:
        make()
    except LocalError as error:
        print(error)
"""


def packed(bits: str) -> bytes:
    """Bits as a filter has them, the last byte filled up with zeros."""
    size = (len(bits) + 7) // 8
    return int("0" + bits.ljust(size * 8, "0"), 2).to_bytes(size, "big")


class SetTests(ChainTestCase):
    """The coded set."""

    def test_vectors(self) -> None:
        """Built, and read again, for any parameters; of a filter of nothing the reference says that it matches."""
        empty = 0
        for row in vectors.consensus("gcs"):
            if row["kind"] != "raw":
                continue
            key, p, m = bytes.fromhex(row["key"]), row["p"], row["m"]
            items, queries, others = (
                [bytes.fromhex(x) for x in row[name]] for name in ("items", "queries", "nonmembers")
            )
            built = GolombFilter.build(key, items, p, m)
            self.assertEqual(bytes(built).hex(), row["filter"])
            for each in (built, GolombFilter.from_bytes(bytes(built), key, p, m)):
                self.assertEqual([query in each for query in queries], row["match"])
                self.assertIs(each.match_any(queries), row["any_queries"] and bool(items))
                self.assertIs(each.match_any(others), row["any_nonmembers"] and bool(items))
            empty += not items
        self.assertGreater(empty, 0)

    @deterministic(150)
    @given(
        st.lists(st.binary(max_size=40), max_size=60),
        st.binary(min_size=16, max_size=16),
        st.integers(1, 32),
        st.data(),
    )
    def test_no_false_negatives(self, items: list[bytes], key: bytes, p: int, data: st.DataObject) -> None:
        m = data.draw(st.integers(1 << p - 1, 1 << p + 1))
        built = GolombFilter.build(key, items, p, m)
        again = GolombFilter.from_bytes(bytes(built), key, p, m)
        self.assertEqual((bytes(again), again.hash), (bytes(built), double_sha256(bytes(built))))
        for each in (built, again):
            self.assertTrue(all(item in each for item in items))
            self.assertIs(each.match_any([b"other" * 10, *items[-1:]]), bool(items))

    def test_one_in_m_others_matches(self) -> None:
        each = GolombFilter.build(KEY, ITEMS, 6, 64)
        found = sum(b"other %d" % number in each for number in range(6400))
        self.assertLess(abs(found - 100), 40)
        each = GolombFilter.build(KEY, ITEMS)
        self.assertFalse(each.match_any(b"other %d" % number for number in range(1000)))

    def test_nothing_matches_nothing(self) -> None:
        for each in (GolombFilter.build(KEY, ()), GolombFilter.from_bytes(b"\0", KEY)):
            self.assertEqual(bytes(each), b"\0")
            self.assertNotIn(b"", each)
            self.assertFalse(each.match_any(ITEMS))
        self.assertFalse(GolombFilter.build(KEY, ITEMS).match_any(()))

    def test_the_callers_mistakes(self) -> None:
        for make, given_ in ((GolombFilter.build, ITEMS), (GolombFilter.from_bytes, b"\0")):
            first, second = (KEY, given_) if make == GolombFilter.build else (given_, KEY)
            for p in (0, 33, -1, "19", None):
                self.assert_mistake("p", make, first, second, p)
            for m in (0, -1, 1 << 64, 1.5, None):
                self.assert_mistake("m", make, first, second, 19, m)
        for key in (bytes(15), bytes(17), "x" * 16, None):
            self.assert_mistake("key", GolombFilter.build, key, ())
            self.assert_mistake("key", GolombFilter.from_bytes, b"\0", key)
        self.assert_mistake("items", GolombFilter.build, KEY, ["x"])
        self.assert_mistake("items", GolombFilter.build, KEY, ITEMS, 32, 1 << 60)
        self.assert_mistake("data", GolombFilter.from_bytes, "x", KEY)
        self.assert_mistake("item", GolombFilter.build(KEY, ITEMS).__contains__, "x")
        self.assert_mistake("items", GolombFilter.build(KEY, ITEMS).match_any, [None])

    def test_without_siphash24_the_error_says_what_to_install(self) -> None:
        printed = in_fresh_interpreter(WITHOUT)
        self.assertEqual(printed, "Golomb filters need siphash24: pip install 'txsoter[chain]'\n" * 2)


class RefusedTests(ChainTestCase):
    """Bytes that are no filter."""

    def refused(self, rule: str, reason: str, data: bytes, p: int = 19, m: int = 784_931) -> None:
        self.assert_invalid(rule, reason, GolombFilter.from_bytes, data, KEY, p, m)

    def test_cut_at_every_byte(self) -> None:
        whole = bytes(GolombFilter.build(KEY, ITEMS))
        for size in range(len(whole)):
            with self.assertRaises(InvalidProof):
                GolombFilter.from_bytes(whole[:size], KEY)

    def test_a_count_that_is_none(self) -> None:
        self.refused("count of items", "ends inside", b"")
        self.refused("count of items", "ends inside", b"\xfe\1")
        self.refused("count of items", "not in its shortest form", b"\xfd\1\0" + bytes(3))

    def test_more_items_than_there_is_room_for(self) -> None:
        """A count is compared with the bytes before anything is allocated for it."""
        self.refused("count of items", "4294967295 items of 20 bits or more in 80 bits", varint(0xFFFFFFFF) + bytes(10))
        self.refused("count of items", "18446744073709551615 times 784931 is no u64", HUGE + bytes(10))
        self.refused("count of items", "5 items of 20 bits or more in 96 bits", b"\5" + bytes(12))
        self.refused("count of items", "1 items of 33 bits or more in 32 bits", b"\1" + bytes(4), 32)

    def test_a_range_beyond_64_bits(self) -> None:
        self.refused("count of items", "4 times 9223372036854775808 is no u64", b"\4" + bytes(100), 19, 1 << 63)

    def test_an_end_inside_of_an_item(self) -> None:
        self.refused("length of the filter", "ends inside of item 0 of 1", b"\1" + b"\xff" * 3)
        self.refused("length of the filter", "ends inside of item 1 of 2", b"\2" + packed("0" * 20 + "110" + "0" * 17))

    def test_bytes_behind_the_last_item(self) -> None:
        whole = bytes(GolombFilter.build(KEY, ITEMS))
        self.refused("length of the filter", "1 bytes behind its 100 items", whole + b"\0")
        self.refused("length of the filter", "9 bytes behind its 0 items", b"\0" + bytes(9))
        GolombFilter.from_bytes(b"\1\0", KEY, 7, 64)
        self.refused("length of the filter", "1 bytes behind its 1 items", b"\1\0\0", 7, 64)

    def test_bits_that_fill_the_last_byte_may_be_anything(self) -> None:
        """As in Bitcoin Core."""
        one = GolombFilter.from_bytes(b"\1" + packed("0" * 20 + "1111"), KEY)
        self.assertFalse(one.match_any(ITEMS))

    def test_numbers_out_of_range(self) -> None:
        """The numbers of n items are below n times m; one that is not can be no item's."""
        highest = 784_930
        code = "1" * (highest >> 19) + "0" + f"{highest & 0x7FFFF:019b}"
        GolombFilter.from_bytes(b"\1" + packed(code), KEY)
        above = "1" * (highest >> 19) + "0" + f"{(highest & 0x7FFFF) + 1:019b}"
        self.refused("range of the filter", "item 0 is 784931, must be below 784931", b"\1" + packed(above))
        self.refused("range of the filter", "item 0 is", b"\1" + b"\xff" * 10_000 + b"\0" * 3)
        self.refused("range of the filter", "item 1 is 8, must be below 2", b"\2" + packed("00111100"), 1, 1)

    @deterministic(500)
    @given(st.binary(max_size=40), st.integers(1, 6), st.integers(1, 300))
    def test_any_bytes(self, data: bytes, p: int, m: int) -> None:
        """They are refused, or are a filter that can be asked."""
        try:
            each = GolombFilter.from_bytes(data, KEY, p, m)
        except InvalidProof:
            return
        self.assertEqual(bytes(each), data)
        each.match_any(ITEMS[:10])


class BlockTests(ChainTestCase):
    """The filter of a block, and the header of it."""

    def test_vectors(self) -> None:
        """Random blocks, and those of a simnet DAG, as the reference and a running node have them."""
        kinds = set()
        for row in vectors.consensus("gcs"):
            if row["kind"] == "raw":
                continue
            block, spent = block_of(row["block"]), [bytes.fromhex(script) for script in row["prev_scripts"]]
            self.assertEqual(block.hash[:16].hex(), row["key"])
            built = basic_filter(block, spent)
            self.assertEqual(bytes(built).hex(), row["filter"])
            self.assertEqual(len(basic_filter_items(block, spent)), row["n"])
            self.assertEqual(str(built.hash), row["filter_hash"])
            parent = Hash.from_hex(row["prev_header"])
            self.assertEqual(str(filter_header(built, parent)), row["header"])
            self.assertEqual(filter_header(built.hash, parent), filter_header(built, parent))
            kinds.add(row["kind"])
        self.assertEqual(kinds, {"block", "dag"})

    def test_items(self) -> None:
        scripts = [b"one", b"", b"two", b"\x6a\x01x", b"\x6a\xac", b"\x6a", b"one"]
        block = Block(
            transactions=(
                Tx(outputs=[TxOut(1, each) for each in scripts[:3]]),
                Tx(outputs=[TxOut(1, each) for each in scripts[3:]]),
            )
        )
        spent = [b"two", b"", b"\x6a\x01x", b"three"]
        self.assertEqual(basic_filter_items(block, spent), [b"one", b"two", b"\x6a\xac", b"\x6a\x01x", b"three"])
        self.assertEqual(bytes(basic_filter(Block(), ())), b"\0")

    def test_the_callers_mistakes(self) -> None:
        built = GolombFilter.build(KEY, ITEMS)
        # bytes of 32 could be a filter or its hash
        for each in (bytes(built), bytes(32), None):
            self.assert_mistake("filter", filter_header, each, ZERO_HASH)
        for header in (bytes(31), str(ZERO_HASH), None):
            self.assert_mistake("parent_header", filter_header, built, header)
