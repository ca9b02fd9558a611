"""Tests of :mod:`txsoter.wire.views`."""

from __future__ import annotations

import copy
import pickle
import struct
import tracemalloc
from typing import Any
from unittest import TestCase

from txsoter.errors import FieldError, MalformedMessage
from txsoter.test.wire import varint, wrong
from txsoter.wire import ZERO_HASH, BlockHeader, Hash, InventoryVector, NetAddress, Parent
from txsoter.wire.codec import U8, U16, U32, FixedBytes
from txsoter.wire.views import HASHES, RowLayout, Rows, RowView, read_rows, write_rows

PAIRS: RowLayout[Any] = RowLayout((("number", U16), ("name", FixedBytes(2))), build=tuple)
NUMBERS: RowLayout[int] = RowLayout((("", U32),), build=lambda row: row[0], flatten=lambda value: (value,))
PADDED: RowLayout[Any] = RowLayout((("a", U8),), build=tuple, padding=2)


class _Pair(tuple[int, bytes]):
    """A row of a class."""


def numbers(*values: int) -> RowView[int]:
    """A view that stands three bytes into its data."""
    return RowView(NUMBERS, b"---" + struct.pack(f"<{len(values)}I", *values) + b"---", 3, len(values))


class RowViewTests(TestCase):
    """A read-only sequence over a payload."""

    view = numbers(10, 11, 12, 13, 14)

    def test_length_and_iteration(self) -> None:
        self.assertEqual(len(self.view), 5)
        self.assertEqual(list(self.view), [10, 11, 12, 13, 14])
        self.assertEqual(list(reversed(self.view)), [14, 13, 12, 11, 10])

    def test_index(self) -> None:
        self.assertEqual([self.view[at] for at in (0, 4, -1, -5)], [10, 14, 14, 10])

    def test_index_outside(self) -> None:
        for at in (5, -6, 1 << 70):
            with self.assertRaisesRegex(IndexError, f"row {at} of 5"):
                self.view[at]

    def test_index_that_is_no_number(self) -> None:
        with self.assertRaises(TypeError):
            self.view[wrong("1")]

    def test_contains_index_and_count(self) -> None:
        self.assertIn(12, self.view)
        self.assertNotIn(15, self.view)
        self.assertEqual((self.view.index(13), self.view.count(13)), (3, 1))

    def test_slice_is_a_view(self) -> None:
        for at in (slice(1, 3), slice(None), slice(-2, None), slice(3, 1), slice(9, 12), slice(0, 0)):
            part = self.view[at]
            self.assertIsInstance(part, RowView)
            self.assertEqual(list(part), [10, 11, 12, 13, 14][at])

    def test_slice_of_a_slice(self) -> None:
        self.assertEqual(list(self.view[1:][1:-1]), [12, 13])

    def test_slice_with_a_step_is_a_list(self) -> None:
        self.assertEqual(self.view[::2], [10, 12, 14])
        self.assertEqual(self.view[::-1], [14, 13, 12, 11, 10])

    def test_raw_and_tuples(self) -> None:
        self.assertEqual(wrong(self.view[1:3]).raw, struct.pack("<2I", 11, 12))
        self.assertEqual(list(self.view.tuples()), [(10,), (11,), (12,), (13,), (14,)])

    def test_equal_to_any_sequence_of_equal_rows(self) -> None:
        for other in (numbers(10, 11, 12, 13, 14), [10, 11, 12, 13, 14], (10, 11, 12, 13, 14), range(10, 15)):
            self.assertEqual(self.view, other)
            self.assertEqual(other, self.view)

    def test_unequal(self) -> None:
        others: tuple[object, ...] = (numbers(10, 11, 12, 13, 15), [10, 11, 12, 13], [10, 11, 12, 13, 15], "abcde", 10)
        for other in others:
            self.assertNotEqual(self.view, other)

    def test_equal_over_another_layout(self) -> None:
        """Of the same rows, in other bytes."""
        wide: RowLayout[int] = RowLayout((("", U16),), build=lambda row: row[0], flatten=lambda value: (value,))
        self.assertEqual(numbers(10), RowView(wide, struct.pack("<H", 10), 0, 1))

    def test_unhashable(self) -> None:
        """As lists are: it is equal to some."""
        with self.assertRaises(TypeError):
            hash(self.view)

    def test_read_only(self) -> None:
        with self.assertRaises(TypeError):
            wrong(self.view)[0] = 1
        with self.assertRaises(AttributeError):
            wrong(self.view).other = 1

    def test_repr_shows_three_rows(self) -> None:
        self.assertEqual(repr(numbers(1, 2, 3)), "[1, 2, 3]")
        self.assertEqual(repr(numbers(1, 2, 3, 4)), "[1, 2, 3, ... 4 in all]")
        self.assertEqual(repr(numbers()), "[]")


class RowViewCopyTests(TestCase):
    """Copies and pickles hold rows, not the payload."""

    def test_copy_and_pickle(self) -> None:
        raw = varint(2) + bytes(32) + b"\1" * 32
        view, _ = Rows(HASHES, 9, "hashes").read(raw, 0, 0)
        for copied in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
            self.assertEqual(copied, (Hash(bytes(32)), Hash(b"\1" * 32)))


class RowLayoutTests(TestCase):
    """Packing rows, and saying which value kept them from it."""

    def assert_refused(self, layout: RowLayout[Any], rows: object, field: str, limit: str) -> FieldError:
        with self.assertRaises(FieldError) as caught:
            layout.pack(wrong(rows))
        self.assertEqual(caught.exception.field, field)
        self.assertRegex(caught.exception.limit, limit)
        return caught.exception

    def test_pack(self) -> None:
        self.assertEqual(PAIRS.pack([(1, b"ab"), (2, b"cd")]), b"\1\0ab\2\0cd")
        self.assertEqual(PAIRS.pack([]), b"")

    def test_padding_is_written_as_zeros(self) -> None:
        self.assertEqual(PADDED.pack([(7,), (8,)]), b"\7\0\0\10\0\0")

    def test_error_names_row_and_column(self) -> None:
        error = self.assert_refused(PAIRS, [(1, b"ab"), (65536, b"cd")], "[1].number", "from 0 to 65535")
        self.assertEqual(error.value, 65536)

    def test_bytes_are_neither_padded_nor_cut(self) -> None:
        """Which is what ``struct`` does, in silence."""
        self.assert_refused(PAIRS, [(1, b"ab"), (1, b"c")], "[1].name", "2 bytes, not 1")
        self.assert_refused(PAIRS, [(1, b"abc")], "[0].name", "2 bytes, not 3")
        self.assert_refused(PAIRS, [(1, None)], "[0].name", "2 bytes")
        self.assert_refused(PAIRS, [(1, "ab")], "[0].name", "2 bytes")

    def test_bare_values_have_no_column_name(self) -> None:
        self.assert_refused(HASHES, [ZERO_HASH, bytes(31)], "[1]", "32 bytes, not 31")
        self.assert_refused(NUMBERS, [1, -1], "[1]", "from 0 to 4294967295")

    def test_rows_of_another_width(self) -> None:
        self.assert_refused(PAIRS, [(1, b"ab"), (1,)], "[1]", "a row of number, name")
        self.assert_refused(PAIRS, [(1, b"ab", 3)], "[0]", "a row of number, name")

    def test_many_at_once_are_checked_one_by_one(self) -> None:
        """However many are packed by one call, of a class or plain, and although errors make up for each other."""
        name = "a row of number, name"
        faults: list[tuple[list[Any], int, str, str]] = [
            ([(1,), (b"ab", 1, b"ab")], 0, "", name),
            ([(1, b"ab", 1), (b"ab",)], 0, "", name),
            ([(1, b"abc"), (1, b"a")], 0, ".name", "2 bytes, not 3"),
            ([(1, b"ab"), (1, b"a")], 1, ".name", "2 bytes, not 1"),
            ([(1, b"ab"), (b"ab", 1)], 1, ".number", "a whole number"),
        ]
        for kind in (tuple, _Pair):
            good = [kind((1, b"ab"))] * 1100
            self.assertEqual(PAIRS.pack(good), b"\1\0ab" * 1100)
            for rows, at, field, limit in faults:
                for before in (0, 1, 49, 199, 499, 998, 1000, 1049):
                    some = [*good[:before], *map(kind, rows), *good[before:]]
                    self.assert_refused(PAIRS, some, f"[{before + at}]{field}", limit)

    def test_of_any_number(self) -> None:
        for kind in (tuple, _Pair):
            for count in (1, 2, 3, 49, 50, 51, 99, 100, 101, 199, 200, 249, 250, 499, 500, 501, 999, 1000, 1001):
                rows = [kind((at, b"%02d" % (at % 100))) for at in range(count)]
                packed = b"".join(struct.pack("<H2s", *row) for row in rows)
                self.assertEqual(PAIRS.pack(rows), packed)
                self.assertEqual(PAIRS.pack(rows, b"-"), b"-" + packed)

    def test_a_row_is_whatever_can_be_walked_over(self) -> None:
        """Or is none, however many there are."""
        for count in (1, 2, 10, 50, 51):
            self.assertEqual(PAIRS.pack([wrong([1, b"ab"])] * count), b"\1\0ab" * count)
            self.assertEqual(PAIRS.pack([wrong({1: 5, b"ab": 6})] * count), b"\1\0ab" * count)
            for row in ({}, {"number": 1, "name": b"ab"}, 5, None, "ab", b"ab"):
                with self.assertRaisesRegex(FieldError, r"^\[0\]"):
                    PAIRS.pack([wrong(row)] * count)

    def test_rows_of_both_kinds(self) -> None:
        self.assertEqual(PAIRS.pack([(1, b"ab"), _Pair((1, b"ab"))] * 10), b"\1\0ab" * 20)
        self.assertEqual(PAIRS.pack([_Pair((1, b"ab")), (1, b"ab")] * 10), b"\1\0ab" * 20)

    def test_rows_that_are_none(self) -> None:
        self.assert_refused(PAIRS, [(1, b"ab"), 5], "[1]", "a row of number, name")
        self.assert_refused(NUMBERS, [None], "[0]", "from 0 to 4294967295")

    def test_rows_that_can_be_seen_only_once(self) -> None:
        self.assert_refused(PAIRS, iter([(1, b"abc")]), "", "a sequence of rows")

    def test_one_row(self) -> None:
        self.assertEqual(PAIRS.pack_one((1, b"ab")), b"\1\0ab")
        self.assertEqual(PAIRS.read_one(b"-\1\0ab", 1), ((1, b"ab"), 5))
        for row, field in (((1, b"abc"), "name"), (5, "")):
            with self.assertRaises(FieldError) as caught:
                PAIRS.pack_one(row)
            self.assertEqual(caught.exception.field, field)


class RowTupleTests(TestCase):
    """Rows with names are tuples whose constructors take the columns one by one."""

    ROWS = (
        InventoryVector(2, ZERO_HASH, 5),
        NetAddress(1, "1.2.3.4", 2, 3),
        BlockHeader(1, ZERO_HASH, Hash(b"\1" * 32), 2, 3, 4),
        Parent(ZERO_HASH, b"\1" * 32),
    )

    def test_copies(self) -> None:
        """``copy`` and ``pickle`` give the same row again."""
        for row in self.ROWS:
            for twin in (copy.copy(row), copy.deepcopy(row), pickle.loads(pickle.dumps(row))):
                self.assertEqual((twin, type(twin), repr(twin)), (row, type(row), repr(row)))

    def test_immutable(self) -> None:
        for row in self.ROWS:
            with self.assertRaises(AttributeError):
                wrong(row).hash = ZERO_HASH
            with self.assertRaises(TypeError):
                wrong(row)[0] = 1

    def test_hashable_and_equal_to_the_tuple(self) -> None:
        for row in self.ROWS:
            self.assertEqual(row, tuple(row))
            self.assertIn(tuple(row), {row})


class RowsTests(TestCase):
    """A count and that many rows."""

    codec: Rows[int] = Rows(NUMBERS, 300, "numbers", send_limit=299)

    def test_both_ways(self) -> None:
        for count in (0, 1, 0xFC, 0xFD, 299):
            raw = varint(count) + struct.pack(f"<{count}I", *range(count))
            view, end = self.codec.read(b"-" + raw + b"-", 1, 0)
            self.assertEqual((list(view), end), (list(range(count)), 1 + len(raw)))
            self.assertEqual(self.codec.write(range(count), 0), raw)
            self.assertEqual(self.codec.write(view, 0), raw)

    def test_limits(self) -> None:
        view, _ = self.codec.read(varint(300) + bytes(1200), 0, 0)
        self.assertEqual(len(view), 300)
        with self.assertRaisesRegex(MalformedMessage, "too many numbers: 301, at most 300"):
            self.codec.read(varint(301) + bytes(1204), 0, 0)
        with self.assertRaises(FieldError) as caught:
            self.codec.write(view, 0)
        self.assertEqual(caught.exception.limit, "at most 299 numbers in a message, not 300")

    def test_send_limit_is_the_limit_unless_given(self) -> None:
        self.assertEqual(Rows(NUMBERS, 5, "numbers").send_limit, 5)

    def test_count_without_the_rows(self) -> None:
        with self.assertRaisesRegex(MalformedMessage, "ends too early"):
            self.codec.read(b"\3" + bytes(11), 0, 0)

    def test_layout_by_protocol_version(self) -> None:
        by_pver: Rows[Any] = Rows(lambda pver: NUMBERS if pver else HASHES, 5, "things")
        self.assertEqual(list(by_pver.read(b"\1\7\0\0\0", 0, 1)[0]), [7])
        self.assertEqual(by_pver.write([7], 1), b"\1\7\0\0\0")
        self.assertEqual(by_pver.write([bytes(32)], 0), b"\1" + bytes(32))

    def test_padding_must_be_zero(self) -> None:
        self.assertEqual(list(read_rows(PADDED, b"\1\0\0\2\0\0", 0, 2)[0]), [(1,), (2,)])
        for at in (1, 2, 4, 5):
            raw = bytearray(6)
            raw[at] = 1
            with self.assertRaisesRegex(MalformedMessage, "must be zero"):
                read_rows(PADDED, bytes(raw), 0, 2)

    def test_padding_behind_the_rows_is_another_field(self) -> None:
        self.assertEqual(len(read_rows(PADDED, b"\1\0\0\2\2\2", 0, 1)[0]), 1)

    def test_view_of_another_layout_is_packed(self) -> None:
        wide: RowLayout[int] = RowLayout((("", U16),), build=lambda row: row[0], flatten=lambda value: (value,))
        self.assertEqual(write_rows(wide, numbers(1, 2)), b"\1\0\2\0")

    def test_reading_allocates_nothing_for_the_rows(self) -> None:
        data = varint(250_000) + bytes(1_000_000)
        codec: Rows[int] = Rows(NUMBERS, 250_000, "numbers")
        tracemalloc.start()
        try:
            view, _ = codec.read(data, 0, 0)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.assertEqual(len(view), 250_000)
        self.assertLess(peak, 10_000)
