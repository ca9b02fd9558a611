"""The splitter: frames of a stream without looking into them, what is none, and how much is held."""

from __future__ import annotations

import struct
import time
import tracemalloc
from unittest import TestCase

from txsoter.capture.frames import Frame, FrameSplitter, magic_bytes
from txsoter.networks import MAINNET, REGTEST, SIMNET, TESTNET1
from txsoter.test.capture.support import chunks, live_bytes
from txsoter.test.vectors import SIMNET_MAGIC, corrupt, live
from txsoter.wire import Ping, write_message
from txsoter.wire.framing import checksum, frame
from txsoter.wire.message import command_bytes

MAGIC = magic_bytes(SIMNET_MAGIC)
ALL = [magic_bytes(each.magic) for each in (MAINNET, TESTNET1, REGTEST, SIMNET)]


def fed(splitter: FrameSplitter, data: bytes, seed: int = 0, largest: int = 70_000) -> list[Frame]:
    """The frames of ``data``, which comes in pieces."""
    return [each for piece in chunks(data, seed, largest) for each in splitter.feed(piece)]


def as_frame(raw: bytes) -> Frame:
    """The one frame that ``raw`` is."""
    return raw[4:16], raw[24:], raw[20:24]


def header(command: str, length: int, magic: bytes = MAGIC, check: bytes = bytes(4)) -> bytes:
    return magic + command_bytes(command) + struct.pack("<I", length) + check


class SplittingTests(TestCase):
    def test_a_recorded_conversation_in_any_pieces(self) -> None:
        """To the byte: command, payload and checksum of every frame, whatever the pieces they come in."""
        for direction in ("sent", "received"):
            frames = [as_frame(row["raw"]) for row in live() if row["dir"] == direction]
            data = live_bytes(direction)
            for largest in (1, 7, 100, 5000, 70_000):
                for search in (False, True):
                    splitter = FrameSplitter([MAGIC] if not search else ALL, search)
                    self.assertEqual(fed(splitter, data, largest, largest), frames)
                    self.assertEqual((splitter.held, splitter.skipped, splitter.magic), (0, 0, MAGIC))

    def test_malformed_messages_are_frames(self) -> None:
        """As far as a frame can be told: a wrong checksum, an unknown command, bytes that decode to nothing."""
        whole = 0
        for row in corrupt():
            raw = row["raw"]
            length = struct.unpack_from("<I", raw, 16)[0] if len(raw) >= 24 else -99
            if length != len(raw) - 24 or raw[:4] != struct.pack("<I", row["net"]):
                continue
            whole += 1
            self.assertEqual(fed(FrameSplitter([raw[:4]]), raw), [as_frame(raw)])
        self.assertGreater(whole, 1000)

    def test_holds_what_has_come_and_no_more(self) -> None:
        """A frame that announces 32 MiB and sends 100 bytes costs about these 100."""
        splitter = FrameSplitter([MAGIC])
        tracemalloc.start()
        splitter.feed(header("block", 33_554_432) + bytes(76))
        for number in range(5000):
            splitter.feed(number.to_bytes(3, "big"))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertEqual(splitter.held, 15_100)
        self.assertLess(peak, 60_000)
        self.assertEqual(splitter.rest()[4:16], command_bytes("block"))

    def test_a_header_that_cannot_be_is_passed_over_with_its_payload(self) -> None:
        """As a peer does that goes on at all: another magic, or over 32 MiB; counted, and the first bytes kept."""
        good = write_message(Ping(7), SIMNET_MAGIC)
        for bad, passed in (
            (header("ping", 8, ALL[0]) + b"8 bytes.", 32),
            (header("ping", 0, b"\0\0\0\0"), 24),
        ):
            for largest in (1, 10, 1000):
                splitter = FrameSplitter([MAGIC])
                self.assertEqual(fed(splitter, good + bad + good, 1, largest), [as_frame(good)] * 2)
                self.assertEqual((splitter.skipped, splitter.first_skipped), (passed, bad[:32]))
        splitter = FrameSplitter([MAGIC])
        self.assertEqual(splitter.feed(header("block", 33_554_433) + bytes(1000) + good), [])
        self.assertEqual((splitter.skipped, splitter.held), (24 + 1000 + len(good), 0))
        self.assertEqual(splitter.feed(bytes(33_554_433 - 1000 - len(good)) + good), [as_frame(good)])


class SearchingTests(TestCase):
    """Streams whose beginning is missing, or something in the middle."""

    def test_finds_the_next_frame_behind_any_beginning(self) -> None:
        data = live_bytes("received")
        frames = [as_frame(row["raw"]) for row in live() if row["dir"] == "received"]
        second = len(frames[0][1]) + 24
        for start in (*range(1, 60), second - 1):
            for largest in (1, 50, 70_000):
                splitter = FrameSplitter(ALL, search=True, begins=False)
                self.assertEqual(fed(splitter, data[start:], start, largest), frames[1:])
                self.assertEqual((splitter.skipped, splitter.magic), (second - start, MAGIC))

    def test_goes_on_behind_a_gap(self) -> None:
        """What had come of the frame with the gap is forgotten, and counted."""
        one, two, three = (write_message(Ping(each), SIMNET_MAGIC) for each in (1, 2, 3))
        splitter = FrameSplitter(ALL, search=True)
        self.assertEqual(splitter.feed(one + two[:20]), [as_frame(one)])
        self.assertEqual(splitter.gap(), 20)
        self.assertEqual(splitter.feed(two[25:] + three), [as_frame(three)])
        self.assertEqual(splitter.skipped, 20 + len(two) - 25)
        splitter.gap()
        self.assertEqual(splitter.feed(header("block", 4_000_000) + one), [], "what is behind a gap may be anything")
        self.assertEqual(splitter.feed(bytes(4_000_000) + two), [as_frame(one), as_frame(two)])

    def test_what_only_looks_like_a_frame_is_not_taken_for_one(self) -> None:
        """While it searches, a frame has a likely command, a length that it may have, and the right checksum."""
        good = write_message(Ping(9), SIMNET_MAGIC)
        for decoy in (
            MAGIC,
            header("Un heard", 0, check=checksum(b"")),
            header("unheardof", 1 << 21, check=checksum(b"")),
            header("ping", 9, check=checksum(bytes(9))) + bytes(9),
            header("ping", 8, check=b"nope") + bytes(8),
            header("version", 200, check=b"nope"),
        ):
            splitter = FrameSplitter(ALL, search=True, begins=False)
            self.assertEqual(fed(splitter, decoy + good + bytes(300), 2, 40), [as_frame(good)])
            self.assertEqual(splitter.skipped + splitter.held, len(decoy) + 300)

    def test_a_frame_at_the_beginning_may_be_malformed(self) -> None:
        """Where the beginning is known, the first frame needs no right checksum."""
        bad = header("version", 5, ALL[2], b"nope") + b"wrong"
        self.assertEqual(fed(FrameSplitter(ALL, search=True), bad), [as_frame(bad)])
        self.assertEqual(fed(FrameSplitter(ALL, search=True, begins=False), bad), [])

    def test_crafted_headers_cost_no_more_than_their_bytes(self) -> None:
        """Each a frame with all others in it: looking at all of them would take minutes."""
        splitter = FrameSplitter(ALL, search=True, begins=False)
        count = 200_000
        data = b"".join(header("block", min(4_000_000, 24 * (count - each - 1))) for each in range(count))
        started = time.process_time()
        self.assertEqual(splitter.feed(data), [])
        self.assertLess(time.process_time() - started, 5)
        good = frame(SIMNET_MAGIC, command_bytes("ping"), bytes(8))
        self.assertIn(as_frame(good), splitter.feed(bytes(4_000_024) + good))
