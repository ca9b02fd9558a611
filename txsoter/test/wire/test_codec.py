"""Tests of :mod:`txsoter.wire.codec`."""

from __future__ import annotations

import struct
from unittest import TestCase

from txsoter.errors import FieldError, MalformedMessage
from txsoter.test.wire import HUGE, varint, wrong
from txsoter.wire import Hash
from txsoter.wire.codec import (
    BOOL,
    HASH,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Codec,
    FixedBytes,
    ListOf,
    Scalar,
    VarBytes,
    read_count,
    read_varint,
    scalar_struct,
    write_varint,
)

# each width's ends, and their shortest forms
VARINTS = (
    (0, "00"),
    (0x7F, "7f"),
    (0x80, "80"),
    (0xFC, "fc"),
    (0xFD, "fdfd00"),
    (0x0102, "fd0201"),
    (0xFFFF, "fdffff"),
    (0x10000, "fe00000100"),
    (0xFFFFFFFF, "feffffffff"),
    (0x100000000, "ff0000000001000000"),
    ((1 << 64) - 1, "ffffffffffffffffff"),
)


class VarintTests(TestCase):
    """``<0xfd``: 1 byte; 0xfd + u16; 0xfe + u32; 0xff + u64."""

    def test_read(self) -> None:
        for value, raw in VARINTS:
            self.assertEqual(read_varint(bytes.fromhex("aa" + raw + "aa"), 1), (value, 1 + len(raw) // 2))

    def test_written_in_the_shortest_form(self) -> None:
        for value, raw in VARINTS:
            self.assertEqual(write_varint(value).hex(), raw)

    def test_longer_forms_are_malformed(self) -> None:
        """Must be the shortest form; at each width, the largest and smallest that belong in fewer bytes."""
        for raw in (
            "fd0000",
            "fdfc00",
            "fe00000000",
            "fefd000000",
            "feffff0000",
            "ff" + "00" * 8,
            "ffffffffff00000000",
        ):
            with self.assertRaisesRegex(MalformedMessage, "shortest form"):
                read_varint(bytes.fromhex(raw), 0)

    def test_cut_short(self) -> None:
        """Whichever byte is the last, the end is noticed."""
        for _, raw in VARINTS:
            whole = bytes.fromhex(raw)
            for size in range(len(whole)):
                with self.assertRaises((IndexError, struct.error)):
                    read_varint(whole[:size], 0)

    def test_count_at_its_limit(self) -> None:
        self.assertEqual(read_count(varint(300), 0, 300, "things"), (300, 3))

    def test_count_past_its_limit(self) -> None:
        for count, raw in ((301, varint(301)), ((1 << 64) - 1, HUGE)):
            with self.assertRaisesRegex(MalformedMessage, f"too many things: {count}, at most 300"):
                read_count(raw, 0, 300, "things")


class ScalarTests(TestCase):
    """Integers of fixed width are little-endian."""

    WIDTHS = (
        (U8, 0, 0xFF, 1),
        (U16, 0, 0xFFFF, 2),
        (U32, 0, 0xFFFFFFFF, 4),
        (U64, 0, (1 << 64) - 1, 8),
        (I32, -(1 << 31), (1 << 31) - 1, 4),
        (I64, -(1 << 63), (1 << 63) - 1, 8),
    )

    def test_ends_of_the_range(self) -> None:
        for codec, lowest, highest, size in self.WIDTHS:
            for value in (lowest, highest, 1):
                raw = value.to_bytes(size, "little", signed=lowest < 0)
                self.assertEqual(codec.write(value, 0), raw)
                self.assertEqual(codec.read(b"\xaa" + raw, 1, 0), (value, 1 + size))

    def test_past_the_range(self) -> None:
        for codec, lowest, highest, _ in self.WIDTHS:
            for value in (lowest - 1, highest + 1):
                with self.assertRaises(FieldError) as caught:
                    codec.write(value, 0)
                self.assertEqual((caught.exception.field, caught.exception.value), ("", value))
                self.assertEqual(caught.exception.limit, f"a whole number from {lowest} to {highest} ({codec.name})")

    def test_not_a_whole_number(self) -> None:
        for value in (1.0, "1", None, b"\1"):
            with self.assertRaises(FieldError):
                U32.write(wrong(value), 0)

    def test_cut_short(self) -> None:
        for codec, _, _, size in self.WIDTHS:
            with self.assertRaises(struct.error):
                codec.read(bytes(size), 1, 0)


class BoolTests(TestCase):
    """A u8: 0 is false, anything else is true; written as 0 or 1."""

    def test_every_byte(self) -> None:
        self.assertEqual([BOOL.read(bytes((byte,)), 0, 0) for byte in range(256)], [(False, 1)] + [(True, 1)] * 255)

    def test_written_as_0_or_1(self) -> None:
        self.assertEqual((BOOL.write(False, 0), BOOL.write(True, 0)), (b"\0", b"\1"))
        self.assertEqual(BOOL.write(wrong(7), 0), b"\1")

    def test_cut_short(self) -> None:
        with self.assertRaises(IndexError):
            BOOL.read(b"", 0, 0)


class BytesTests(TestCase):
    """Byte strings of fixed and of counted length."""

    def assert_refused(self, codec: Codec[bytes], value: object, limit: str) -> None:
        with self.assertRaises(FieldError) as caught:
            codec.write(wrong(value), 0)
        self.assertEqual((caught.exception.value, caught.exception.limit), (value, limit))

    def test_fixed(self) -> None:
        codec = FixedBytes(3)
        self.assertEqual(codec.read(b"-abcd", 1, 0), (b"abc", 4))
        self.assertEqual(codec.write(b"abc", 0), b"abc")

    def test_fixed_of_another_length(self) -> None:
        self.assert_refused(FixedBytes(3), b"ab", "3 bytes, not 2")
        self.assert_refused(FixedBytes(3), b"abcd", "3 bytes, not 4")
        self.assert_refused(FixedBytes(3), "abc", "3 bytes")

    def test_fixed_cut_short(self) -> None:
        with self.assertRaisesRegex(MalformedMessage, "ends too early"):
            FixedBytes(3).read(b"-ab", 1, 0)

    def test_hash(self) -> None:
        """32 bytes in wire order."""
        raw = bytes(range(32))
        value, end = HASH.read(b"-" + raw + b"-", 1, 0)
        self.assertEqual((value, end), (raw, 33))
        self.assertIs(type(value), Hash)
        self.assertEqual(HASH.write(value, 0), raw)
        self.assertEqual(HASH.write(raw, 0), raw)

    def test_hash_of_another_length(self) -> None:
        self.assert_refused(HASH, bytes(31), "32 bytes, not 31")
        self.assert_refused(HASH, "00" * 32, "32 bytes in wire order; for hexadecimal digits there is Hash.from_hex()")
        with self.assertRaises(MalformedMessage):
            HASH.read(bytes(31), 0, 0)

    def test_varbytes(self) -> None:
        for size in (0, 0xFC, 0xFD, 300):
            raw = varint(size) + b"x" * size
            self.assertEqual(VarBytes(300).write(b"x" * size, 0), raw)
            self.assertEqual(VarBytes(300).read(b"-" + raw + b"-", 1, 0), (b"x" * size, 1 + len(raw)))

    def test_varbytes_past_the_limit(self) -> None:
        self.assert_refused(VarBytes(300), b"x" * 301, "at most 300 bytes, not 301")
        with self.assertRaisesRegex(MalformedMessage, "too many bytes in a field: 301, at most 300"):
            VarBytes(300).read(varint(301) + b"x" * 301, 0, 0)

    def test_varbytes_limit_comes_before_the_length(self) -> None:
        """Bounded before anything is allocated: even where the bytes are missing."""
        with self.assertRaisesRegex(MalformedMessage, "too many bytes in a field: 18446744073709551615"):
            VarBytes(300).read(HUGE, 0, 0)

    def test_varbytes_cut_short(self) -> None:
        with self.assertRaisesRegex(MalformedMessage, "ends too early"):
            VarBytes(300).read(b"\5abcd", 0, 0)

    def test_varbytes_of_text(self) -> None:
        self.assert_refused(VarBytes(300), "text", "bytes")


class ListTests(TestCase):
    """A count, then that many values."""

    CODEC: ListOf[bytes] = ListOf(VarBytes(4), 3)

    def test_both_ways(self) -> None:
        for values, raw in (((), b"\0"), ((b"",), b"\1\0"), ((b"a", b"", b"bc"), b"\3\1a\0\2bc")):
            self.assertEqual(self.CODEC.write(values, 0), raw)
            self.assertEqual(self.CODEC.read(b"-" + raw, 1, 0), (values, 1 + len(raw)))

    def test_past_the_limit(self) -> None:
        with self.assertRaisesRegex(MalformedMessage, "too many entries: 4, at most 3"):
            self.CODEC.read(b"\4\0\0\0\0", 0, 0)
        with self.assertRaises(FieldError) as caught:
            self.CODEC.write((b"",) * 4, 0)
        self.assertEqual(caught.exception.limit, "at most 3 entries, not 4")

    def test_error_names_the_entry(self) -> None:
        with self.assertRaises(FieldError) as caught:
            self.CODEC.write((b"a", b"too long"), 0)
        self.assertEqual((caught.exception.field, caught.exception.value), ("[1]", b"too long"))


class ScalarStructTests(TestCase):
    """Rows of integers alone are read at one go."""

    def test_integers_alone(self) -> None:
        joined = scalar_struct([U8, I64])
        assert joined is not None
        self.assertEqual(joined.unpack(b"\1" + b"\xff" * 8), (1, -1))

    def test_anything_else(self) -> None:
        self.assertIsNone(scalar_struct([U8, BOOL]))
        self.assertIsNone(scalar_struct([]))

    def test_names(self) -> None:
        """They stand in messages to people."""
        self.assertEqual(
            [each.name for each in (U8, U16, U32, U64, I32, I64)], ["u8", "u16", "u32", "u64", "i32", "i64"]
        )
        self.assertEqual(Scalar("u16", "H").highest, 0xFFFF)
