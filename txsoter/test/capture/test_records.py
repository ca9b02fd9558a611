"""The files of a capture: Bitcoin Core's layout, torn ends, damage."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from txsoter.capture import CaptureError, Record, RecordFile
from txsoter.test.capture.support import START, CaptureCase, record
from txsoter.wire.message import command_bytes

RECORDS = st.builds(Record, st.integers(0, 2**64 - 1), st.binary(min_size=12, max_size=12), st.binary(max_size=200))


class RecordTests(CaptureCase):
    def test_layout_is_bitcoin_cores(self) -> None:
        """Time in microseconds u64, command 12 bytes, length u32, payload; all little-endian."""
        packed = Record(0x0102030405060708, b"ping\0\0\0\0\0\0\0\0", b"\xaa\xbb\xcc").pack()
        self.assertEqual(packed.hex(), "0807060504030201" + "70696e670000000000000000" + "03000000" + "aabbcc")

    def test_name_is_any_twelve_bytes(self) -> None:
        self.assertEqual(record("ping").name, "ping")
        self.assertEqual(Record(0, b"\xff\0a\0\0\0\0\0\0\0\0\0", b"").name, "\xff\0a")

    @settings(max_examples=50, deadline=None)
    @given(st.lists(RECORDS, max_size=5))
    def test_what_is_written_is_read(self, records: list[Record]) -> None:
        path = self.folder / "msgs_recv.dat"
        path.write_bytes(b"".join(each.pack() for each in records))
        with RecordFile(path) as file:
            self.assertEqual(list(file), records)
        self.assertEqual((file.torn, file.read), (0, path.stat().st_size))

    def test_a_torn_record_is_left_out_wherever_it_is_torn(self) -> None:
        """A writer that was killed leaves a part of the last record: all before it is read, and the rest counted."""
        path = self.folder / "msgs_recv.dat"
        whole, last = record("ping", b"12345678").pack(), record("pong", b"abcdefgh").pack()
        for size in range(len(last)):
            path.write_bytes(whole + last[:size])
            with RecordFile(path) as file:
                self.assertEqual([each.name for each in file], ["ping"])
            self.assertEqual((file.torn, file.read), (size, len(whole)))

    def test_a_length_that_no_message_has_is_damage(self) -> None:
        """It is neither believed nor allocated: the error names the file and the place."""
        path = self.folder / "msgs_recv.dat"
        whole = record("ping", b"12345678").pack()
        path.write_bytes(whole + struct.pack("<Q12sI", START, command_bytes("block"), 33_554_433) + bytes(100))
        with RecordFile(path) as file:
            records = iter(file)
            self.assertEqual(next(records).name, "ping")
            with self.assertRaises(CaptureError) as caught:
                next(records)
        self.assertEqual(
            str(caught.exception),
            f"{path}: no capture, or damaged: a message of 33554433 bytes at byte 32, none has over 33554432",
        )

    def test_a_file_that_is_not_there(self) -> None:
        path = self.folder / "msgs_sent.dat"
        with self.assertRaises(CaptureError) as caught:
            RecordFile(path)
        self.assertEqual(str(caught.exception), f"{path}: No such file or directory")
