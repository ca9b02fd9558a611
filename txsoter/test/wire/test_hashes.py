"""Tests of :mod:`txsoter.wire.hashes`."""

from __future__ import annotations

import pickle
from unittest import TestCase

from txsoter.errors import FieldError
from txsoter.test.wire import digest, wrong
from txsoter.wire import (
    ZERO_HASH,
    CFCheckpt,
    GetBlocks,
    Hash,
    Inv,
    InventoryVector,
    Tx,
    TxIn,
    double_sha256,
    merkle_root,
    parents_commitment,
)

READ = "".join(f"{byte:02x}" for byte in range(31, -1, -1))


class HashTests(TestCase):
    """32 bytes in wire order; shown byte-reversed, in hexadecimal."""

    def test_str_is_what_people_read(self) -> None:
        self.assertEqual(str(Hash(bytes(range(32)))), READ)
        self.assertEqual(f"{Hash(bytes(range(32)))}", READ)

    def test_from_hex_is_the_reverse(self) -> None:
        self.assertEqual(Hash.from_hex(READ), bytes(range(32)))
        self.assertIs(type(Hash.from_hex(READ)), Hash)
        self.assertEqual(Hash.from_hex(READ.upper()), bytes(range(32)))

    def test_repr_can_be_evaluated(self) -> None:
        value = Hash(bytes(range(32)))
        self.assertEqual(repr(value), f"Hash.from_hex('{READ}')")
        self.assertEqual(eval(repr(value)), value)

    def test_is_bytes(self) -> None:
        """It is equal to, and found by, the plain bytes of the wire."""
        value = Hash(b"\7" * 32)
        self.assertEqual(value, b"\7" * 32)
        self.assertIn(b"\7" * 32, {value})
        self.assertEqual(b"" + value, b"\7" * 32)

    def test_pickle(self) -> None:
        copy = pickle.loads(pickle.dumps(Hash(bytes(range(32)))))
        self.assertEqual((type(copy), str(copy)), (Hash, READ))

    def test_hex_forms_of_every_name_are_the_shown_one(self) -> None:
        """bytes' own ``hex`` and ``fromhex`` would speak the reversed form, and nobody would notice."""
        value = Hash(bytes(range(32)))
        self.assertEqual((value.hex(), Hash.fromhex(READ)), (READ, value))
        self.assertIs(type(Hash.fromhex(READ)), Hash)
        self.assertEqual((value.hex(":")[:6], value.hex("-", 16)), ("1f:1e:", f"{READ[:32]}-{READ[32:]}"))
        self.assertEqual(value.hex(sep=" ", bytes_per_sep=-16), f"{READ[:32]} {READ[32:]}")

    def test_bytes_and_slices_are_in_wire_order(self) -> None:
        value = Hash(bytes(range(32)))
        self.assertEqual((bytes(value), value[:3], value[0]), (bytes(range(32)), b"\0\1\2", 0))
        self.assertEqual((type(bytes(value)), type(value[:])), (bytes, bytes))
        self.assertEqual((bytes(value).hex(), value[:].hex()), (bytes(range(32)).hex(),) * 2)

    def test_from_hex_refuses_anything_else(self) -> None:
        texts = ("", READ[:-2], READ[:-1], READ + "00", "zz" + READ[2:], " " + READ[1:], "  " + READ[2:])
        for text in (*texts, None, 7, b"00" * 32):
            for make in (Hash.from_hex, Hash.fromhex):
                with self.assertRaises(FieldError) as caught:
                    make(wrong(text))
                self.assertEqual((caught.exception.value, caught.exception.limit), (text, "64 hexadecimal digits"))

    def test_made_of_32_bytes_alone(self) -> None:
        """A number would become so many zeros, and text is another order of the bytes."""
        for raw in (bytearray(range(32)), memoryview(bytes(range(32)))):
            self.assertEqual(Hash(wrong(raw)), bytes(range(32)))
        for value, words in (
            (b"", "32 bytes in wire order, not 0"),
            (bytes(31), "32 bytes in wire order, not 31"),
            (32, "there is Hash.from_hex()"),
            (READ, "for 64 hexadecimal digits there is Hash.from_hex()"),
            (None, "32 bytes in wire order"),
        ):
            with self.assertRaises(FieldError) as caught:
                Hash(wrong(value))
            self.assertEqual(caught.exception.field, "Hash")
            self.assertIn(words, caught.exception.limit)

    def test_text_where_a_message_wants_a_hash(self) -> None:
        """The error says how to make one."""
        for message, field in (
            (Inv([InventoryVector(1, wrong(READ))]), "Inv.vectors[0].hash"),
            (GetBlocks(stop=wrong(READ)), "GetBlocks.stop"),
            (CFCheckpt(filter_headers=[wrong(READ)]), "CFCheckpt.filter_headers[0]"),
            (Tx(inputs=[TxIn(wrong(READ), 0)]), "Tx.inputs[0].previous_hash"),
        ):
            with self.assertRaises(FieldError) as caught:
                message.to_payload()
            self.assertEqual(caught.exception.field, field)
            self.assertIn("Hash.from_hex()", caught.exception.limit)

    def test_zero(self) -> None:
        self.assertEqual((ZERO_HASH, str(ZERO_HASH)), (bytes(32), "0" * 64))

    def test_double_sha256(self) -> None:
        """SHA-256 of SHA-256; of nothing it begins with the checksum of an empty payload."""
        self.assertEqual(double_sha256(b"")[:4].hex(), "5df6e0e2")
        self.assertEqual(str(double_sha256(b"hello"))[-8:], "dfc99595")
        self.assertIs(type(double_sha256(b"")), Hash)
        with self.assertRaises(FieldError):
            double_sha256(wrong("text"))


def pair(left: bytes, right: bytes) -> bytes:
    return digest(left + right)


class MerkleRootTests(TestCase):
    """Bitcoin's merkle tree."""

    A, B, C, D, E = (digest(bytes((each,))) for each in range(5))

    def test_no_leaves(self) -> None:
        self.assertEqual(merkle_root([]), (ZERO_HASH, False))

    def test_one_leaf_is_the_root(self) -> None:
        self.assertEqual(merkle_root([self.A]), (self.A, False))

    def test_two_and_four(self) -> None:
        self.assertEqual(merkle_root([self.A, self.B]), (pair(self.A, self.B), False))
        four = pair(pair(self.A, self.B), pair(self.C, self.D))
        self.assertEqual(merkle_root(iter([self.A, self.B, self.C, self.D])), (four, False))

    def test_odd_level_repeats_its_last(self) -> None:
        three = pair(pair(self.A, self.B), pair(self.C, self.C))
        self.assertEqual(merkle_root([self.A, self.B, self.C]), (three, False))
        e = pair(self.E, self.E)
        five = pair(pair(pair(self.A, self.B), pair(self.C, self.D)), pair(e, e))
        self.assertEqual(merkle_root([self.A, self.B, self.C, self.D, self.E]), (five, False))

    def test_repeated_leaves_are_ambiguous(self) -> None:
        """CVE-2012-2459: the root of a, b, c is that of a, b, c, c."""
        root, _ = merkle_root([self.A, self.B, self.C])
        self.assertEqual(merkle_root([self.A, self.B, self.C, self.C]), (root, True))

    def test_repetition_higher_in_the_tree_is_ambiguous(self) -> None:
        six = [self.A, self.B, self.C, self.D, self.E, self.A]
        root, ambiguous = merkle_root(six)
        self.assertFalse(ambiguous)
        self.assertEqual(merkle_root([*six, self.E, self.A]), (root, True))

    def test_equal_leaves_that_are_no_pair_are_fine(self) -> None:
        self.assertFalse(merkle_root([self.A, self.B, self.B, self.C])[1])

    def test_leaves_that_are_no_hashes(self) -> None:
        for tree in (merkle_root, parents_commitment):
            for leaf in (READ, None, b"short"):
                with self.assertRaises(FieldError) as caught:
                    tree([self.A, wrong(leaf)])
                self.assertTrue(caught.exception.field.endswith("s[1]"))
                self.assertEqual(caught.exception.limit, "32 bytes in wire order")

    def test_type(self) -> None:
        self.assertIs(type(merkle_root([self.A, self.B])[0]), Hash)
        self.assertIs(type(merkle_root([self.A])[0]), Hash)
