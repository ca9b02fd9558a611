"""Tests of :mod:`txsoter.wire.framing`."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Iterable
from unittest import TestCase

from txsoter.errors import MalformedMessage, NeedMoreData
from txsoter.test import vectors
from txsoter.test.wire import MAGIC, NEWEST, WITNESS, command_limit, decode, digest, frame, header
from txsoter.wire import MAX_PAYLOAD, FrameDecoder, Ping, Unknown, read_message
from txsoter.wire.framing import HEADER_SIZE, checksum
from txsoter.wire.framing import frame as make_frame

PING = frame("ping", bytes(8))
OTHER_MAGIC = 0xD9B4BEF9
TOO_LONG = MAX_PAYLOAD + 1

Frames = list[tuple[bytes, bytes]]


class CommandRoute:
    """What the decoder is given for a command."""

    def __init__(self, command: bytes, pver: int) -> None:
        self.command = command
        self.limit = command_limit(command, pver)


class RecordingDecoder(FrameDecoder[CommandRoute]):
    """A decoder that remembers which commands it asked for."""

    __slots__ = ("asked",)

    def __init__(self, magic: int = MAGIC, pver: int = NEWEST) -> None:
        self.asked: list[bytes] = []

        def find(command: bytes) -> CommandRoute:
            self.asked.append(command)
            return CommandRoute(command, pver)

        super().__init__(magic, find)

    def frames(self) -> Frames:
        """Command and payload of all frames that are whole."""
        found = []
        while (taken := self.next_frame()) is not None:
            found.append((taken[0].command, taken[1]))
        return found

    def feed_all(self, chunks: Iterable[bytes]) -> Frames:
        """The frames that come out as ``chunks`` go in."""
        found = []
        for chunk in chunks:
            self.feed(chunk)
            found += self.frames()
        return found


def each_byte(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def in_chunks(data: bytes, size: int) -> Iterable[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def content(raw: bytes) -> tuple[bytes, bytes]:
    """Command and payload of a frame."""
    return raw[4:16], raw[HEADER_SIZE:]


LIVE = [row["raw"] for row in vectors.live()]
EXPECTED = [content(raw) for raw in LIVE]


class ReadMessageTests(TestCase):
    """One message at the beginning of some bytes."""

    def assert_malformed(self, data: bytes, reason: str, in_header: bool, command: str | None) -> None:
        with self.assertRaisesRegex(MalformedMessage, reason) as caught:
            read_message(data, MAGIC)
        self.assertEqual((caught.exception.in_header, caught.exception.command), (in_header, command))

    def test_next_message_is_left_alone(self) -> None:
        for raw in LIVE:
            alone = read_message(raw, MAGIC, encoding=WITNESS)
            self.assertEqual(alone[1], len(raw))
            self.assertEqual(read_message(raw + PING, MAGIC, encoding=WITNESS), alone)

    def test_every_proper_prefix_needs_more(self) -> None:
        """At least how many bytes are missing: feeding that many never overshoots, and gets there."""
        for raw in LIVE:
            sizes = range(len(raw)) if len(raw) < 300 else [*range(60), len(raw) // 2, len(raw) - 1]
            for size in sizes:
                with self.assertRaises(NeedMoreData) as caught:
                    read_message(raw[:size], MAGIC, encoding=WITNESS)
                self.assertEqual(caught.exception.missing, (HEADER_SIZE if size < HEADER_SIZE else len(raw)) - size)

    def test_reading_just_what_is_missing(self) -> None:
        for raw in LIVE:
            stream, data = raw + PING, b""
            for _ in range(3):
                try:
                    self.assertEqual(read_message(data, MAGIC, encoding=WITNESS)[1], len(raw))
                    break
                except NeedMoreData as error:
                    data = stream[: len(data) + error.missing]
            else:
                self.fail("not whole after its header and its payload")
            self.assertEqual(data, raw)

    def test_length_comes_before_magic(self) -> None:
        for magic in (MAGIC, OTHER_MAGIC):
            self.assert_malformed(header("alert", TOO_LONG, magic), "announces 33554433 bytes, no message", True, None)

    def test_magic_comes_before_limit(self) -> None:
        for length in (8, 9, MAX_PAYLOAD):
            reason = "another network: begins with f9beb4d9, not 161c1412"
            self.assert_malformed(header("ping", length, OTHER_MAGIC), reason, True, None)

    def test_limit_comes_before_payload(self) -> None:
        self.assert_malformed(header("ping", 9), "announces 9 bytes, at most 8", True, "ping")
        self.assert_malformed(header("nobody", (1 << 20) + 1), "at most 1048576", True, "nobody")

    def test_payload_comes_before_checksum(self) -> None:
        with self.assertRaises(NeedMoreData):
            read_message(header("ping", 8) + bytes(7), MAGIC)

    def test_checksum_comes_before_decoding(self) -> None:
        self.assert_malformed(header("ping", 7) + bytes(7), "checksum is .*, the header says deadbeef", False, "ping")
        self.assert_malformed(frame("ping", bytes(7)), "ends too early", False, "ping")

    def test_32_mib_is_allowed_overall(self) -> None:
        with self.assertRaises(NeedMoreData) as caught:
            read_message(header("alert", MAX_PAYLOAD), MAGIC)
        self.assertEqual(caught.exception.missing, MAX_PAYLOAD)

    def test_first_wrong_byte_of_the_magic_is_enough(self) -> None:
        for size in range(1, HEADER_SIZE):
            for at in range(min(size, 4)):
                start = bytearray(PING[:size])
                start[at] ^= 1
                self.assert_malformed(bytes(start), "another network", True, None)

    def test_checksum(self) -> None:
        """First 4 bytes of double SHA-256 of the payload."""
        for payload in (b"", b"x", bytes(100)):
            self.assertEqual(checksum(payload), digest(payload)[:4])

    def test_frame(self) -> None:
        self.assertEqual(make_frame(MAGIC, b"ping".ljust(12, b"\0"), bytes(8)), PING)
        self.assertEqual(PING[:4].hex(), "161c1412")

    def test_decode(self) -> None:
        """The payload alone, for those who have the frame already, and how much of it was used."""
        self.assertEqual(decode(content(PING)[0], bytes(8) + b"more", NEWEST, WITNESS), (Ping(0), 8))
        self.assertEqual(decode(b"nobody".ljust(12, b"\0"), b"abc", NEWEST, WITNESS), (Unknown("nobody", b"abc"), 3))


class FrameDecoderTests(TestCase):
    """Bytes in any chunking, whole payloads out."""

    def setUp(self) -> None:
        self.decoder = RecordingDecoder()

    def assert_drained(self) -> None:
        self.assertEqual(self.decoder.buffered, 0)
        self.assertIsNone(self.decoder.next_frame())

    def test_whole(self) -> None:
        for raw, expected in zip(LIVE, EXPECTED, strict=True):
            self.assertEqual(self.decoder.feed_all([raw]), [expected])
            self.assert_drained()

    def test_byte_by_byte(self) -> None:
        for raw, expected in zip(LIVE, EXPECTED, strict=True):
            self.assertEqual(self.decoder.feed_all(each_byte(raw)), [expected])
            self.assert_drained()

    def test_not_before_the_last_byte(self) -> None:
        for raw in LIVE[:20]:
            self.assertEqual(self.decoder.feed_all(each_byte(raw[:-1])), [])
            self.assertEqual(self.decoder.buffered, len(raw) - 1)
            self.assertEqual(self.decoder.feed_all([raw[-1:]]), [content(raw)])

    def test_with_the_next_message_behind(self) -> None:
        for raw, expected in zip(LIVE, EXPECTED, strict=True):
            self.assertEqual(self.decoder.feed_all([raw + PING]), [expected, content(PING)])
            self.assertEqual(self.decoder.feed_all([raw + PING[:5], PING[5:]]), [expected, content(PING)])
            self.assert_drained()

    def test_all_in_one_feed(self) -> None:
        self.assertEqual(len(LIVE), 145)
        self.assertEqual(self.decoder.feed_all([b"".join(LIVE)]), EXPECTED)
        self.assert_drained()

    def test_random_chunks(self) -> None:
        stream = b"".join(LIVE)
        for seed in range(20):
            dice = random.Random(seed)
            at, chunks = 0, []
            while at < len(stream):
                size = dice.choice((0, 1, 3, 24, 25, 500, 5000))
                chunks.append(stream[at : at + size])
                at += size
            self.assertEqual(self.decoder.feed_all(chunks), EXPECTED, seed)
            self.assert_drained()

    def test_fed_before_the_last_frames_were_taken(self) -> None:
        """Nothing is lost when the caller falls behind, in the middle of a frame too."""
        stream = b"".join(LIVE)
        taken: Frames = []
        for chunk in in_chunks(stream, 700):
            self.decoder.feed(chunk)
            frame_taken = self.decoder.next_frame()
            if frame_taken is not None:
                taken.append((frame_taken[0].command, frame_taken[1]))
        self.assertGreater(self.decoder.buffered, 0)
        self.assertEqual(taken + self.decoder.frames(), EXPECTED)

    def test_buffered_counts_whole_frames_and_parts(self) -> None:
        self.decoder.feed(PING * 3 + PING[:10])
        self.assertEqual(self.decoder.buffered, 106)
        self.decoder.next_frame()
        self.assertEqual(self.decoder.buffered, 74)
        self.assertEqual(len(self.decoder.frames()), 2)
        self.assertEqual(self.decoder.buffered, 10)
        self.decoder.feed(b"")
        self.assertEqual(self.decoder.buffered, 10)

    def test_routes_of_the_31_are_asked_for_once(self) -> None:
        self.assertEqual(len(self.decoder.feed_all([PING * 3, *each_byte(PING)])), 4)
        self.assertEqual(self.decoder.asked, [content(PING)[0]])
        self.assertEqual(list(self.decoder.routes), [PING[:16]])

    def test_unknown_commands_are_not_remembered(self) -> None:
        """A remote can make up as many as it likes."""
        for number in range(100):
            raw = frame(f"made up {number}", b"x")
            self.assertEqual(self.decoder.feed_all([raw]), [content(raw)])
        self.assertEqual(self.decoder.routes, {})
        self.assertEqual(len(self.decoder.asked), 100)

    def test_empty_payloads(self) -> None:
        verack = frame("verack")
        self.assertEqual(self.decoder.feed_all([verack * 2]), [content(verack)] * 2)

    def test_clear(self) -> None:
        """Forgets what waits, whatever it is, and goes on with a new stream."""
        for waiting in (PING[:10], PING[:30], PING + PING[:30], header("alert", MAX_PAYLOAD) + bytes(3000)):
            for take_first in (False, True):
                self.decoder.feed(waiting)
                if take_first:
                    self.decoder.frames()
                self.decoder.clear()
                self.assert_drained()
                self.assertEqual(self.decoder.feed_all([PING[:7], PING[7:]]), [content(PING)])

    def test_clear_forgets_what_was_to_be_skipped(self) -> None:
        self.decoder.feed(header("ping", 1000))
        with self.assertRaises(MalformedMessage):
            self.decoder.next_frame()
        self.decoder.skip()
        self.decoder.clear()
        self.assertEqual(self.decoder.feed_all([PING]), [content(PING)])


class MalformedFrameTests(TestCase):
    """The checks, each before the next byte is buffered; and going on behind a bad frame."""

    def setUp(self) -> None:
        self.decoder = RecordingDecoder()

    def assert_malformed(self, reason: str, in_header: bool = True) -> None:
        with self.assertRaisesRegex(MalformedMessage, reason) as caught:
            self.decoder.next_frame()
        self.assertEqual(caught.exception.in_header, in_header)

    def test_order_of_header_checks(self) -> None:
        """Length, then magic, then limit; whether or not the command has been seen before."""
        cases = (
            (header("ping", TOO_LONG, OTHER_MAGIC), "announces 33554433 bytes, no message"),
            (header("ping", TOO_LONG), "announces 33554433 bytes, no message"),
            (header("ping", 9, OTHER_MAGIC), "another network"),
            (header("ping", 9), "ping: announces 9 bytes, at most 8"),
            (header("nobody", (1 << 20) + 1), "nobody: announces 1048577 bytes, at most 1048576"),
        )
        for seen in (b"", PING):
            for raw, reason in cases:
                self.decoder = RecordingDecoder()
                self.assertEqual(len(self.decoder.feed_all([seen])), len(seen) // 32)
                self.decoder.feed(raw)
                self.assert_malformed(reason)

    def test_no_route_is_asked_for_before_the_magic_is_right(self) -> None:
        self.decoder.feed(header("ping", 8, OTHER_MAGIC))
        self.assert_malformed("another network")
        self.assertEqual(self.decoder.asked, [])

    def test_wrong_magic_at_the_first_wrong_byte(self) -> None:
        """However the header comes in: whole, in part, or byte by byte."""
        for at in range(4):
            for size in range(at + 1, HEADER_SIZE):
                start = bytearray(PING[:size])
                start[at] ^= 0x80
                self.decoder = RecordingDecoder()
                self.decoder.feed(bytes(start))
                self.assert_malformed("another network")
            self.decoder = RecordingDecoder()
            for byte in each_byte(bytes(start[:at])):
                self.assertEqual(self.decoder.feed_all([byte]), [])
            self.decoder.feed(bytes(start[at : at + 1]))
            self.assert_malformed("another network")

    def test_limit_is_that_of_the_route(self) -> None:
        old = RecordingDecoder(pver=60000)
        old.feed(PING)
        with self.assertRaisesRegex(MalformedMessage, "announces 8 bytes, at most 0"):
            old.next_frame()

    def test_stays_at_a_malformed_header(self) -> None:
        self.decoder.feed(header("ping", 9) + bytes(9) + PING)
        for _ in range(3):
            self.assert_malformed("announces 9 bytes")
            self.decoder.feed(PING)

    def test_skip_wherever_the_payload_is(self) -> None:
        """Already there, partly there, not there; skipped in one piece and byte by byte."""
        raw = header("ping", 3000) + b"\xee" * 3000
        for here in (HEADER_SIZE, HEADER_SIZE + 1, HEADER_SIZE + 2999, len(raw)):
            for size in (1, 700, 10_000):
                self.decoder = RecordingDecoder()
                self.assertEqual(self.decoder.feed_all([PING]), [content(PING)])
                self.decoder.feed(raw[:here])
                self.assert_malformed("announces 3000 bytes")
                self.decoder.skip()
                self.assertEqual(self.decoder.buffered, 0)
                found = self.decoder.feed_all(in_chunks(raw[here:] + PING * 2, size))
                self.assertEqual(found, [content(PING)] * 2, (here, size))

    def test_skip_with_frames_before_and_behind(self) -> None:
        self.decoder.feed(PING + header("ping", 9) + bytes(9) + PING + PING[:5])
        self.assertIsNotNone(self.decoder.next_frame())
        self.assert_malformed("announces 9 bytes")
        self.decoder.skip()
        self.assertEqual(self.decoder.frames(), [content(PING)])
        self.assertEqual(self.decoder.feed_all([PING[5:]]), [content(PING)])

    def test_skip_holds_nothing_of_what_it_skips(self) -> None:
        self.decoder.feed(header("ping", MAX_PAYLOAD))
        self.assert_malformed("announces")
        self.decoder.skip()
        for _ in range(50):
            self.decoder.feed(bytes(10_000))
            self.assertIsNone(self.decoder.next_frame())
            self.assertEqual(self.decoder.buffered, 0)

    def test_skip_of_a_header_that_came_in_part(self) -> None:
        """Of a wrong magic's frame the length may not be known yet: it counts once its header is whole."""
        for length in (0, 9):
            for again in (False, True):
                wrong_magic = bytes(16) + length.to_bytes(4, "little") + bytes(4 + length)
                self.setUp()
                self.decoder.feed(wrong_magic[:5])
                self.assert_malformed("another network")
                self.decoder.skip()
                if again:
                    self.assertIsNone(self.decoder.next_frame())
                    self.assertEqual(self.decoder.feed_all([wrong_magic[5:7]]), [])
                else:
                    self.decoder.feed(wrong_magic[5:7])
                self.assertEqual(self.decoder.feed_all([wrong_magic[7:] + PING]), [content(PING)])

    def test_clear_forgets_a_header_that_was_to_be_skipped(self) -> None:
        self.decoder.feed(b"\0" * 5)
        self.assert_malformed("another network")
        self.decoder.skip()
        self.decoder.clear()
        self.assertEqual(self.decoder.feed_all([PING]), [content(PING)])

    def test_bad_checksum_is_done_with(self) -> None:
        """The next frame still decodes."""
        bad = header("ping", 8) + bytes(8)
        self.decoder.feed(bad + PING)
        self.assert_malformed("checksum is .*, the header says deadbeef", in_header=False)
        self.assertEqual(self.decoder.frames(), [content(PING)])
        for byte in each_byte(bad):
            self.decoder.feed(byte)
            if self.decoder.buffered < len(bad):
                self.assertIsNone(self.decoder.next_frame())
        self.assert_malformed("checksum", in_header=False)
        self.assertEqual(self.decoder.feed_all([PING]), [content(PING)])

    def test_bytes_after_a_nul_in_the_command(self) -> None:
        self.decoder.feed(struct.pack("<I12sI4s", MAGIC, b"ping\0x", 0, digest(b"")[:4]))
        self.assertEqual(self.decoder.frames(), [(b"ping\0x".ljust(12, b"\0"), b"")])
        self.assertEqual(self.decoder.routes, {})


class MemoryTests(TestCase):
    """A peer that announces 32 MiB must not make us hold 32 MiB it has not sent."""

    def peak(self, chunks: list[bytes]) -> tuple[int, Frames]:
        """Most bytes held while ``chunks`` were fed, beside the chunks themselves."""
        decoder = RecordingDecoder()
        tracemalloc.start()
        try:
            found = decoder.feed_all(chunks)
            return tracemalloc.get_traced_memory()[1], found
        finally:
            tracemalloc.stop()

    def test_32_mib_announced(self) -> None:
        decoder = RecordingDecoder()
        tracemalloc.start()
        try:
            decoder.feed(header("alert", MAX_PAYLOAD) + bytes(10))
            self.assertIsNone(decoder.next_frame())
            for fed in range(35, 135):
                decoder.feed(b"x")
                self.assertIsNone(decoder.next_frame())
                self.assertEqual(decoder.buffered, fed)
            self.assertLess(tracemalloc.get_traced_memory()[1], 10_000)
        finally:
            tracemalloc.stop()

    def test_small_chunks_cost_a_small_multiple_of_their_bytes(self) -> None:
        """100 KB in pieces of 1 and of 3 bytes: at most four times that, joining and the payload's copy included."""
        payload = varied(100_000)
        raw = frame("alert", payload)
        for size in (1, 3):
            peak, found = self.peak(list(in_chunks(raw, size)))
            self.assertEqual(found, [(b"alert".ljust(12, b"\0"), payload)])
            self.assertLess(peak, 4 * len(raw), size)

    def test_large_chunks_are_joined_once(self) -> None:
        """10 MB in reads of 64 KB: joined once, and copied once for the payload."""
        payload = bytes(10_000_000)
        peak, found = self.peak(list(in_chunks(frame("alert", payload), 65_536)))
        self.assertEqual(len(found), 1)
        self.assertLess(peak, 2.1 * len(payload))


def varied(size: int) -> bytes:
    """Bytes that show when some are lost or swapped."""
    return random.Random(size).randbytes(size)
