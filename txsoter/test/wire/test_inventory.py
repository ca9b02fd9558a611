"""Tests of :mod:`txsoter.wire.inventory`: inventory lists, locators, ``mempool``."""

from __future__ import annotations

import struct

from txsoter.errors import MalformedMessage
from txsoter.test.wire import HUGE, MAGIC, WireTestCase, header, varint, wrong
from txsoter.wire import (
    MAX_INVENTORY,
    MAX_INVENTORY_SENT,
    ZERO_HASH,
    GetBlocks,
    GetData,
    GetHeaders,
    Hash,
    Inv,
    InventoryType,
    InventoryVector,
    MemPool,
    NotFound,
    read_message,
)

H = bytes(range(32))
LISTS: tuple[type[Inv] | type[GetData] | type[NotFound], ...] = (Inv, GetData, NotFound)
LOCATORS: tuple[type[GetBlocks] | type[GetHeaders], ...] = (GetBlocks, GetHeaders)


def row(type: int, hash: bytes, height: int) -> bytes:
    return struct.pack("<I32si", type, hash, height)


class InventoryVectorTests(WireTestCase):
    """u32 type, hash, i32 height: 40 bytes."""

    def test_layout(self) -> None:
        self.assertEqual(row(1, H, -1).hex(), "01000000" + H.hex() + "ffffffff")
        for cls in LISTS:
            self.assert_wire(cls((InventoryVector(1, H),)), b"\1" + row(1, H, -1))
            two = (InventoryVector(InventoryType.BLOCK, H, 77), InventoryVector(1, ZERO_HASH, -1))
            self.assert_wire(cls(two), b"\2" + row(2, H, 77) + row(1, bytes(32), -1))

    def test_types(self) -> None:
        """0 ERROR, 1 TX, 2 BLOCK, 3 FILTERED_BLOCK; with bit 30 the witness kind of 1, 2, 3."""
        self.assertEqual(
            {each.name: int(each) for each in InventoryType},
            {
                "ERROR": 0, "TX": 1, "BLOCK": 2, "FILTERED_BLOCK": 3,
                "WITNESS_TX": 0x40000001, "WITNESS_BLOCK": 0x40000002, "WITNESS_FILTERED_BLOCK": 0x40000003,
            },
        )  # fmt: skip

    def test_unknown_types_and_negative_heights_survive(self) -> None:
        for type, height in ((4, -2), (0xFFFFFFFF, -(1 << 31)), (0x40000000, (1 << 31) - 1)):
            self.assert_wire(Inv((InventoryVector(type, H, height),)), b"\1" + row(type, H, height))

    def test_height_is_unknown_unless_given(self) -> None:
        self.assertEqual(InventoryVector(1, H).height, -1)

    def test_fields(self) -> None:
        vector = self.decode(Inv, b"\1" + row(7, H, 9)).vectors[0]
        self.assertEqual((vector.type, vector.hash, vector.height), (7, H, 9))
        self.assertIs(type(vector.hash), Hash)
        self.assertEqual(vector, InventoryVector(7, H, 9))

    def test_is_block(self) -> None:
        blocks = {each for each in InventoryType if InventoryVector(each, H).is_block}
        self.assertEqual(blocks, {InventoryType.BLOCK, InventoryType.WITNESS_BLOCK})

    def test_repr(self) -> None:
        self.assertEqual(
            repr(InventoryVector(2, ZERO_HASH, 5)), f"InventoryVector(type=2, hash='{'00' * 32}', height=5)"
        )


class InventoryListTests(WireTestCase):
    """count <= 50,000 of inventory vector; 45,000 sent."""

    def test_empty(self) -> None:
        for cls in LISTS:
            self.assert_wire(cls(), b"\0")

    def test_50_000_are_taken(self) -> None:
        payload = varint(50_000) + row(1, H, -1) * 50_000
        for cls in LISTS:
            self.assertEqual(len(self.decode(cls, payload).vectors), 50_000)

    def test_50_001_are_not(self) -> None:
        payload = varint(50_001) + row(1, H, -1) * 50_001
        for cls in LISTS:
            with self.assertRaisesRegex(MalformedMessage, "too many inventory vectors: 50001, at most 50000"):
                cls.from_payload(payload)
            with self.assertRaisesRegex(MalformedMessage, "at most 2000009"):
                read_message(header(cls.command, len(payload)), MAGIC)

    def test_45_000_may_be_sent(self) -> None:
        """soterd sizes its limit at 36 bytes an entry: 1,800,009 bytes."""
        vectors = (InventoryVector(1, H),) * 45_000
        for cls in LISTS:
            self.assertEqual(len(self.encode(cls(vectors))), 3 + 45_000 * 40)
            self.assertEqual(cls.max_send(), 1_800_009)

    def test_45_001_may_not(self) -> None:
        vectors = (InventoryVector(1, H),) * 45_001
        for cls in LISTS:
            self.assert_refused(cls(vectors), f"{cls.__name__}.vectors", "at most 45000 .* not 45001")

    def test_more_than_45_000_decoded_may_not_be_sent_on(self) -> None:
        message = self.decode(Inv, varint(45_001) + row(1, H, -1) * 45_001)
        self.assert_refused(message, "Inv.vectors", "at most 45000 .* not 45001")

    def test_published_limits(self) -> None:
        self.assertEqual((MAX_INVENTORY, MAX_INVENTORY_SENT), (50_000, 45_000))

    def test_errors_name_the_vector(self) -> None:
        good = InventoryVector(1, H)
        for bad, name in (
            (InventoryVector(1, bytes(31)), ".hash"),
            (InventoryVector(-1, H), ".type"),
            (InventoryVector(1, H, 1 << 31), ".height"),
            (wrong((1, H)), ""),
        ):
            error = self.assert_refused(Inv((good, good, good, bad)), f"Inv.vectors[3]{name}")
            self.assertTrue(str(error).startswith(f"Inv.vectors[3]{name} = "), error)

    def test_plain_tuples_are_vectors(self) -> None:
        self.assertEqual(self.encode(Inv(wrong([(1, H, 3)]))), b"\1" + row(1, H, 3))

    def test_cut_short(self) -> None:
        for cls in LISTS:
            self.assert_malformed(cls, b"")
            self.assert_malformed(cls, b"\2" + (row(1, H, -1) * 2)[:-1])


class LocatorTests(WireTestCase):
    """u32 protocol version, count (0 or 1) of i32 height, hash stop."""

    def test_with_a_height(self) -> None:
        """The locator is a height, at most one."""
        for cls in LOCATORS:
            for height in (0, 1, -1, (1 << 31) - 1, -(1 << 31)):
                payload = struct.pack("<IBi", 70013, 1, height) + H
                self.assert_wire(cls(height=height, stop=Hash(H)), payload)

    def test_the_height_comes_first(self) -> None:
        """A lone number is a height, not a protocol version, which only its name can set."""
        for cls in LOCATORS:
            question = cls(0, Hash(H))
            self.assertEqual((question.height, question.stop, question.protocol_version), (0, H, 70013))
            with self.assertRaises(TypeError):
                wrong(cls)(70013, 0, Hash(H))

    def test_without_a_height(self) -> None:
        for cls in LOCATORS:
            self.assert_wire(cls(protocol_version=1), b"\1\0\0\0\0" + bytes(32))

    def test_two_heights(self) -> None:
        for cls in LOCATORS:
            payload = struct.pack("<IBii", 70013, 2, 1, 2) + H
            self.assert_malformed(cls, payload, "too many heights in a locator: 2, at most 1")
            self.assert_malformed(cls, payload[:4] + HUGE + H, "too many heights in a locator: 18446744073709551615")

    def test_cut_short(self) -> None:
        whole = struct.pack("<IBi", 70013, 1, 5) + H
        for cls in LOCATORS:
            for size in range(len(whole)):
                self.assert_malformed(cls, whole[:size])

    def test_largest_payload(self) -> None:
        """49 bytes; those behind the message are ignored, and not written again."""
        whole = struct.pack("<IBi", 70013, 1, 5) + H
        for cls in LOCATORS:
            self.assertEqual(self.encode(self.decode(cls, whole + bytes(8))), whole)
            self.assert_malformed(cls, whole + bytes(9), "announces 50 bytes, at most 49")

    def test_errors_name_the_field(self) -> None:
        for cls in LOCATORS:
            name = cls.__name__
            self.assert_refused(cls(height=1 << 31), f"{name}.height", "i32")
            self.assert_refused(cls(height=wrong("1")), f"{name}.height", "i32")
            self.assert_refused(cls(protocol_version=-1), f"{name}.protocol_version", "u32")
            self.assert_refused(cls(stop=wrong(b"")), f"{name}.stop", "32 bytes, not 0")


class MemPoolTests(WireTestCase):
    """>= 60002, and empty."""

    def test_empty(self) -> None:
        self.assert_wire(MemPool(), b"", 60002)
        self.assert_malformed(MemPool, b"\0", "announces 1 bytes, at most 0")
