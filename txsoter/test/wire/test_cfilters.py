"""Tests of :mod:`txsoter.wire.cfilters`: the six messages about committed filters."""

from __future__ import annotations

import struct

from txsoter.errors import MalformedMessage
from txsoter.test.wire import HUGE, WireTestCase, varbytes, varint, wrong
from txsoter.wire import (
    REGULAR_FILTER,
    CFCheckpt,
    CFHeaders,
    CFilter,
    GetCFCheckpt,
    GetCFHeaders,
    GetCFilters,
    Hash,
)

H = bytes(range(32))
G = bytes(range(32, 64))
RANGES: tuple[type[GetCFilters] | type[GetCFHeaders], ...] = (GetCFilters, GetCFHeaders)


class QuestionTests(WireTestCase):
    """getcfilters, getcfheaders: u8 filter type, u32 start height, hash stop; getcfcheckpt without the height."""

    def test_ranges(self) -> None:
        for cls in RANGES:
            for filter_type, height in ((REGULAR_FILTER, 0), (1, 7), (0xFF, 0xFFFFFFFF)):
                payload = struct.pack("<BI", filter_type, height) + H
                self.assert_wire(cls(height, Hash(H), filter_type=filter_type), payload)
            self.assert_malformed(cls, payload + b"\0", "announces 38 bytes, at most 37")

    def test_the_filter_type_is_given_by_its_name_alone(self) -> None:
        """A lone number is a height."""
        for cls in RANGES:
            self.assertEqual((cls(5).start_height, cls(5).filter_type), (5, REGULAR_FILTER))
            with self.assertRaises(TypeError):
                wrong(cls)(REGULAR_FILTER, 5, Hash(H))

    def test_checkpoint(self) -> None:
        for filter_type in (REGULAR_FILTER, 0xFF):
            self.assert_wire(GetCFCheckpt(Hash(H), filter_type=filter_type), bytes((filter_type,)) + H)
        self.assert_malformed(GetCFCheckpt, bytes(34), "announces 34 bytes, at most 33")

    def test_regular_filter_is_0(self) -> None:
        self.assertEqual((REGULAR_FILTER, GetCFCheckpt().filter_type), (0, 0))

    def test_cut_at_every_byte(self) -> None:
        for cls, whole in ((GetCFilters, 37), (GetCFHeaders, 37), (GetCFCheckpt, 33)):
            for size in range(whole):
                self.assert_malformed(cls, bytes(size))

    def test_errors_name_the_field(self) -> None:
        for cls in RANGES:
            self.assert_refused(cls(filter_type=256), f"{cls.__name__}.filter_type", "u8")
            self.assert_refused(cls(start_height=-1), f"{cls.__name__}.start_height", "u32")
            self.assert_refused(cls(stop=wrong(None)), f"{cls.__name__}.stop", "32 bytes")
        self.assert_refused(GetCFCheckpt(stop=wrong(G + b"x")), "GetCFCheckpt.stop", "32 bytes, not 33")


class CFilterTests(WireTestCase):
    """u8 filter type, hash block, varbytes (<= 262,144)."""

    def test_layout(self) -> None:
        self.assert_wire(CFilter(Hash(H), b"data", filter_type=9), b"\x09" + H + b"\4data")
        self.assert_wire(CFilter(), bytes(34))

    def test_262_144_bytes(self) -> None:
        """max 262,182: with type, hash and count, exactly a filter of that size."""
        payload = bytes(33) + varbytes(b"f" * 262_144)
        self.assertEqual(len(payload), 262_182)
        self.assert_wire(CFilter(data=b"f" * 262_144), payload)

    def test_262_145_bytes(self) -> None:
        payload = bytes(33) + varbytes(b"f" * 262_145)
        with self.assertRaisesRegex(MalformedMessage, "too many bytes in a field: 262145, at most 262144"):
            CFilter.from_payload(payload)
        self.assert_malformed(CFilter, payload, "announces 262183 bytes, at most 262182")
        self.assert_refused(CFilter(data=b"f" * 262_145), "CFilter.data", "at most 262144 bytes")

    def test_cut_at_every_byte(self) -> None:
        whole = b"\x09" + H + b"\4data"
        for size in range(len(whole)):
            self.assert_malformed(CFilter, whole[:size])
        self.assert_malformed(CFilter, whole[:33] + HUGE, "too many bytes in a field")


class CFHeadersTests(WireTestCase):
    """u8 filter type, hash stop, hash previous header, count <= 2000 of hash."""

    def test_layout(self) -> None:
        message = CFHeaders(Hash(H), Hash(G), (Hash(G), Hash(H)), filter_type=9)
        self.assert_wire(message, b"\x09" + H + G + b"\2" + G + H)
        self.assertIs(type(self.decode(CFHeaders, bytes(65) + b"\1" + H).filter_hashes[0]), Hash)

    def test_2000(self) -> None:
        payload = bytes(65) + varint(2000) + H * 2000
        self.assert_wire(CFHeaders(filter_hashes=(Hash(H),) * 2000), payload)

    def test_2001(self) -> None:
        reason = "too many filter hashes: 2001, at most 2000"
        with self.assertRaisesRegex(MalformedMessage, reason):
            CFHeaders.from_payload(bytes(65) + varint(2001) + H * 2001)
        self.assert_malformed(CFHeaders, bytes(65) + varint(2001) + H * 2000, reason)
        self.assert_refused(CFHeaders(filter_hashes=(Hash(H),) * 2001), "CFHeaders.filter_hashes", "at most 2000")

    def test_largest(self) -> None:
        self.assert_malformed(CFHeaders, bytes(64_075), "announces 64075 bytes, at most 64074")

    def test_cut_at_every_byte(self) -> None:
        whole = b"\x09" + H + G + b"\1" + G
        for size in range(len(whole)):
            self.assert_malformed(CFHeaders, whole[:size])

    def test_errors_name_the_field(self) -> None:
        bad = CFHeaders(filter_hashes=(Hash(H), wrong(b"x")))
        self.assert_refused(bad, "CFHeaders.filter_hashes[1]", "32 bytes, not 1")
        self.assert_refused(CFHeaders(previous_header=wrong(b"x")), "CFHeaders.previous_header", "32 bytes, not 1")


class CFCheckptTests(WireTestCase):
    """u8 filter type, hash stop, count <= 100,000 of hash."""

    def test_layout(self) -> None:
        self.assert_wire(CFCheckpt(Hash(H), (Hash(G), Hash(H)), filter_type=9), b"\x09" + H + b"\2" + G + H)

    def test_100_000(self) -> None:
        payload = bytes(33) + varint(100_000) + H * 100_000
        self.assert_wire(CFCheckpt(filter_headers=(Hash(H),) * 100_000), payload)

    def test_100_001(self) -> None:
        reason = "too many filter headers: 100001, at most 100000"
        with self.assertRaisesRegex(MalformedMessage, reason):
            CFCheckpt.from_payload(bytes(33) + varint(100_001) + H * 100_001)
        self.assert_malformed(CFCheckpt, bytes(33) + varint(100_001), reason)
        self.assert_refused(
            CFCheckpt(filter_headers=(Hash(H),) * 100_001), "CFCheckpt.filter_headers", "at most 100000"
        )

    def test_largest(self) -> None:
        """Receive max 3,200,042 follows from the fields."""
        self.assert_malformed(CFCheckpt, bytes(3_200_043), "announces 3200043 bytes, at most 3200042")

    def test_cut_at_every_byte(self) -> None:
        whole = b"\x09" + H + b"\1" + G
        for size in range(len(whole)):
            self.assert_malformed(CFCheckpt, whole[:size])
