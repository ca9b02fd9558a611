"""Tests of :mod:`txsoter.wire.bloom`: ``filterload``, ``filteradd``, ``filterclear``, ``merkleblock``."""

from __future__ import annotations

import struct

from txsoter.errors import MalformedMessage
from txsoter.test.wire import HUGE, WireTestCase, digest, varbytes, varint, wrong
from txsoter.wire import ZERO_HASH, BlockHeader, BloomUpdate, FilterAdd, FilterClear, FilterLoad, Hash, MerkleBlock

H = bytes(range(32))
HEADER = BlockHeader(-1, H, H, 1, 2, 3)
HEADER_BYTES = struct.pack("<i32s32sIII", -1, H, H, 1, 2, 3)


class FilterLoadTests(WireTestCase):
    """varbytes filter (<= 36,000), u32 hash functions (<= 50), u32 tweak, u8 flags."""

    def test_layout(self) -> None:
        payload = b"\3abc" + struct.pack("<IIB", 11, 0xFFFFFFFF, 1)
        self.assert_wire(FilterLoad(b"abc", 11, 0xFFFFFFFF, BloomUpdate.ALL), payload, 70001)
        self.assert_wire(FilterLoad(), bytes(10))

    def test_36_000_bytes(self) -> None:
        """max 36,012: with its count, hash functions, tweak and flags, exactly a filter of that size."""
        payload = varbytes(b"x" * 36_000) + bytes(9)
        self.assertEqual(len(payload), 36_012)
        self.assert_wire(FilterLoad(b"x" * 36_000), payload)
        self.assert_malformed(FilterLoad, payload + b"\0", "announces 36013 bytes, at most 36012")

    def test_36_001_bytes(self) -> None:
        with self.assertRaisesRegex(MalformedMessage, "too many bytes in a field: 36001, at most 36000"):
            FilterLoad.from_payload(varbytes(b"x" * 36_001) + bytes(9))
        self.assert_refused(FilterLoad(b"x" * 36_001), "FilterLoad.filter", "at most 36000 bytes, not 36001")

    def test_hash_functions(self) -> None:
        """At most 50."""
        self.assert_wire(FilterLoad(b"", 50), b"\0" + struct.pack("<IIB", 50, 0, 0))
        for count in (51, 0xFFFFFFFF):
            reason = f"too many hash functions: {count}, at most 50"
            self.assert_malformed(FilterLoad, b"\0" + struct.pack("<IIB", count, 0, 0), reason)
            self.assert_refused(FilterLoad(b"", count), "FilterLoad.hash_functions", "at most 50")
        self.assert_refused(FilterLoad(b"", -1), "FilterLoad.hash_functions", "u32")
        self.assert_refused(FilterLoad(b"", wrong("1")), "FilterLoad.hash_functions", "u32")

    def test_unknown_flags_survive(self) -> None:
        self.assertEqual({each.name: int(each) for each in BloomUpdate}, {"NONE": 0, "ALL": 1, "PUBKEY_ONLY": 2})
        for flags in (3, 0xFF):
            self.assert_wire(FilterLoad(b"", 0, 0, flags), bytes(9) + bytes((flags,)))

    def test_cut_at_every_byte(self) -> None:
        whole = b"\3abc" + struct.pack("<IIB", 11, 12, 1)
        for size in range(len(whole)):
            self.assert_malformed(FilterLoad, whole[:size])

    def test_errors_name_the_field(self) -> None:
        self.assert_refused(FilterLoad(tweak=-1), "FilterLoad.tweak", "u32")
        self.assert_refused(FilterLoad(flags=256), "FilterLoad.flags", "u8")


class FilterAddTests(WireTestCase):
    """varbytes data (<= 520); max 523."""

    def test_layout(self) -> None:
        for size in (0, 1, 252, 253, 520):
            self.assert_wire(FilterAdd(b"x" * size), varbytes(b"x" * size), 70001)

    def test_521_bytes(self) -> None:
        self.assertEqual(len(varbytes(bytes(520))), 523)
        self.assert_malformed(FilterAdd, varbytes(bytes(521)), "announces 524 bytes, at most 523")
        with self.assertRaisesRegex(MalformedMessage, "too many bytes in a field: 521, at most 520"):
            FilterAdd.from_payload(varbytes(bytes(521)))
        self.assert_refused(FilterAdd(bytes(521)), "FilterAdd.data", "at most 520 bytes, not 521")

    def test_cut_short(self) -> None:
        for payload in (b"", b"\3ab", b"\xfd\5"):
            self.assert_malformed(FilterAdd, payload)


class FilterClearTests(WireTestCase):
    """Empty."""

    def test_empty(self) -> None:
        self.assert_wire(FilterClear(), b"", 70001)
        self.assert_malformed(FilterClear, b"\0", "announces 1 bytes, at most 0")


class MerkleBlockTests(WireTestCase):
    """block header, u32 total txs, count <= 400,001 of hash, varbytes flags (<= 50,000)."""

    def test_layout(self) -> None:
        payload = HEADER_BYTES + struct.pack("<I", 0xFFFFFFFF) + b"\2" + H + bytes(32) + b"\1\x1d"
        message = MerkleBlock(HEADER, 0xFFFFFFFF, (Hash(H), ZERO_HASH), b"\x1d")
        self.assert_wire(message, payload, 70001)
        self.assertEqual(message.hash, digest(HEADER_BYTES))
        self.assertIs(type(self.decode(MerkleBlock, payload).hashes[0]), Hash)

    def test_hashes(self) -> None:
        """400,001 hashes would not fit a payload of 4,000,000 bytes: the codec's bound is for the count."""
        start = HEADER_BYTES + bytes(4)
        payload = start + varint(400_001) + bytes(32) * 400_001 + b"\0"
        message, used = MerkleBlock.from_payload(payload)
        self.assertEqual((len(message.hashes), used), (400_001, len(payload)))
        self.assert_too_large(message, len(payload), 4_000_000)
        reason = "too many hashes: 400002, at most 400001"
        with self.assertRaisesRegex(MalformedMessage, reason):
            MerkleBlock.from_payload(start + varint(400_002) + bytes(32) * 400_002 + b"\0")
        self.assert_malformed(MerkleBlock, start + varint(400_002), reason)
        refused = MerkleBlock(hashes=(ZERO_HASH,) * 400_002)
        self.assert_refused(refused, "MerkleBlock.hashes", "at most 400001 hashes")

    def test_flags(self) -> None:
        start = HEADER_BYTES + bytes(4) + b"\0"
        self.assert_wire(MerkleBlock(HEADER, 0, (), b"f" * 50_000), start + varbytes(b"f" * 50_000))
        reason = "too many bytes in a field: 50001, at most 50000"
        self.assert_malformed(MerkleBlock, start + varbytes(b"f" * 50_001), reason)
        self.assert_refused(MerkleBlock(flags=b"f" * 50_001), "MerkleBlock.flags", "at most 50000 bytes")
        self.assert_malformed(MerkleBlock, start + HUGE, "too many bytes in a field")

    def test_cut_at_every_byte(self) -> None:
        whole = HEADER_BYTES + bytes(4) + b"\1" + H + b"\1f"
        for size in range(len(whole)):
            self.assert_malformed(MerkleBlock, whole[:size])

    def test_largest(self) -> None:
        self.assert_malformed(MerkleBlock, bytes(4_000_001), "announces 4000001 bytes, at most 4000000")

    def test_errors_name_the_field(self) -> None:
        self.assert_refused(MerkleBlock(header=BlockHeader(bits=-1)), "MerkleBlock.header.bits", "u32")
        self.assert_refused(MerkleBlock(total=-1), "MerkleBlock.total", "u32")
        self.assert_refused(MerkleBlock(hashes=(ZERO_HASH, wrong("x"))), "MerkleBlock.hashes[1]", "32 bytes")
        self.assert_refused(MerkleBlock(flags=wrong(None)), "MerkleBlock.flags", "bytes")
