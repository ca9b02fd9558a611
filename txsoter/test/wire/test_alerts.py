"""Tests of :mod:`txsoter.wire.alerts`: ``alert`` and its inner form."""

from __future__ import annotations

import struct

from txsoter.errors import FieldError, MalformedMessage
from txsoter.test.wire import HUGE, WireTestCase, varbytes, varint, wrong
from txsoter.wire import MAX_PAYLOAD, Alert, AlertDetails

DETAILS = AlertDetails(
    version=-1,
    relay_until=-2,
    expiration=1 << 62,
    id=3,
    cancel=-4,
    cancels=(5, -6),
    min_version=7,
    max_version=-8,
    user_agents=(b"/a/", b"", b"\xff"),
    priority=9,
    comment=b"comment",
    status_bar=b"",
    reserved=b"\x80",
)
INNER = struct.pack("<iqqii", -1, -2, 1 << 62, 3, -4)
INNER += b"\2" + struct.pack("<ii", 5, -6) + struct.pack("<ii", 7, -8)
INNER += b"\3\3/a/\0\1\xff" + struct.pack("<i", 9) + b"\7comment\0\1\x80"


class AlertTests(WireTestCase):
    """varbytes serialized alert, varbytes signature."""

    def test_unparsable_is_kept_raw(self) -> None:
        for serialized in (b"x", b"\xff" * 100, INNER[:-1], INNER[1:]):
            self.assert_wire(Alert(serialized, b"sig"), varbytes(serialized) + b"\3sig")
            self.assertIsNone(Alert(serialized).details)

    def test_inner_alert(self) -> None:
        message = Alert(INNER, b"sig")
        self.assert_wire(message, varbytes(INNER) + b"\3sig")
        self.assertEqual(message.details, DETAILS)

    def test_bytes_left_over_inside_are_dropped(self) -> None:
        """If it parses, the parsed form is what is encoded again."""
        for extra in (b"\0", b"more", bytes(300)):
            message = self.decode(Alert, varbytes(INNER + extra) + b"\3sig")
            self.assertEqual(message, Alert(INNER, b"sig"))
            self.assertEqual(self.encode(message), varbytes(INNER) + b"\3sig")

    def test_cut_inside_at_every_byte(self) -> None:
        """A prefix of an inner alert is none, and kept raw."""
        for size in range(1, len(INNER)):
            message = self.decode(Alert, varbytes(INNER[:size]) + b"\0")
            self.assertEqual((message.serialized, message.details), (INNER[:size], None))

    def test_empty_decodes_but_cannot_be_encoded(self) -> None:
        message = self.decode(Alert, b"\0\3sig")
        self.assertEqual((message, message.details), (Alert(b"", b"sig"), None))
        self.assert_refused(message, "Alert.serialized", "at least one byte")

    def test_empty_signature(self) -> None:
        self.assert_wire(Alert(b"x"), b"\1x\0")

    def test_cut_at_every_byte(self) -> None:
        whole = b"\4data\3sig"
        for size in range(len(whole)):
            self.assert_malformed(Alert, whole[:size])

    def test_huge_lengths(self) -> None:
        """Each <= 32 MiB."""
        over = struct.pack("<BI", 0xFE, MAX_PAYLOAD + 1)
        for length, reason in ((HUGE, "too many bytes"), (over, "too many bytes"), (varint(MAX_PAYLOAD), "too early")):
            self.assert_malformed(Alert, length + bytes(10), reason)
            self.assert_malformed(Alert, b"\1x" + length + bytes(10), reason)

    def test_32_mib(self) -> None:
        """max 32 MiB, and one byte more."""
        serialized = b"\xff" * (MAX_PAYLOAD - 6)
        self.assert_wire(Alert(serialized), varbytes(serialized) + b"\0")
        self.assert_too_large(Alert(serialized, b"s"), MAX_PAYLOAD + 1, MAX_PAYLOAD)

    def test_errors_name_the_field(self) -> None:
        self.assert_refused(Alert(wrong("text")), "Alert.serialized", "bytes")
        self.assert_refused(Alert(b"x", wrong(None)), "Alert.signature", "bytes")


class AlertDetailsTests(WireTestCase):
    """The inner alert."""

    def test_layout(self) -> None:
        self.assertEqual(DETAILS.to_bytes().hex(), INNER.hex())

    def test_counts_of_all_ones_are_no_inner_alert(self) -> None:
        for at in (28, 28 + 9 + 8):
            self.assertEqual(INNER[at : at + 1], {28: b"\2", 45: b"\3"}[at])
            self.assertIsNone(Alert(INNER[:at] + HUGE + INNER[at + 1 :]).details)

    def test_bounds_of_lists(self) -> None:
        """Those of soterd: what fits 32 MiB less a signature of 72 bytes, and the other fields."""
        start, behind = INNER[:28], bytes(8)
        room = MAX_PAYLOAD - 72 - 10 - 45 - 9 + 1
        for count, fits in ((room // 4, True), (room // 4 + 1, False)):
            serialized = start + varint(count) + bytes(4 * count) + behind + b"\0" + bytes(4) + bytes(3)
            self.assertEqual(Alert(serialized).details is not None, fits, count)
        for count, fits in ((room // 256, True), (room // 256 + 1, False)):
            serialized = start + b"\0" + behind + varint(count) + bytes(count) + bytes(4) + bytes(3)
            self.assertEqual(Alert(serialized).details is not None, fits, count)

    def test_errors_name_the_field(self) -> None:
        for details, field in (
            (AlertDetails(id=1 << 31), "id"),
            (AlertDetails(cancels=(1, 1 << 31)), "cancels[1]"),
            (AlertDetails(user_agents=(b"", wrong("x"))), "user_agents[1]"),
            (AlertDetails(comment=wrong("text")), "comment"),
        ):
            with self.assertRaises(FieldError) as caught:
                details.to_bytes()
            self.assertEqual(caught.exception.field, field)

    def test_value(self) -> None:
        self.assertEqual(AlertDetails(), AlertDetails())
        self.assertNotEqual(AlertDetails(), AlertDetails(id=1))
        self.assertEqual(Alert(AlertDetails().to_bytes()).details, AlertDetails())

    def test_an_inner_error_is_no_error_of_the_message(self) -> None:
        """A varint that is too long inside makes it raw bytes, outside it is malformed."""
        inner = INNER[:28] + b"\xfd\2\0" + INNER[29:]
        self.assertIsNone(self.decode(Alert, varbytes(inner) + b"\0").details)
        with self.assertRaisesRegex(MalformedMessage, "shortest form"):
            Alert.from_payload(b"\xfd\1\0x\0")
