"""TCP streams: segments in any order, twice, overlapping, or not at all."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st

from txsoter.capture import streams
from txsoter.capture.streams import Stretch, TcpStream

DATA = Random(1).randbytes(5000)


def put_together(segments: list[tuple[int, bytes]], isn: int, start: bool = True) -> tuple[bytes, int]:
    """The stream of some segments by offset, and how much is missing in it."""
    stream = TcpStream()
    if start:
        stream.syn(isn)
    given: list[Stretch] = []
    for time, (offset, data) in enumerate(segments):
        given += stream.feed(time, (isn + 1 + offset) % 2**32, data)
    given += stream.end()
    assert stream.held == 0
    return b"".join(each.data for each in given), sum(each.lost for each in given)


@st.composite
def covering(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """Segments that cover DATA: cut up, some twice, some overlapping their neighbours, in any order."""
    cuts = sorted(draw(st.sets(st.integers(1, len(DATA) - 1), max_size=20)) | {0, len(DATA)})
    segments = [(start, DATA[start:end]) for start, end in pairwise(cuts)]
    for _ in range(draw(st.integers(0, 10))):
        start = draw(st.integers(0, len(DATA) - 1))
        segments.append((start, DATA[start : start + draw(st.integers(1, 2000))]))
    return draw(st.permutations(segments))


class StreamTests(TestCase):
    @settings(max_examples=300, deadline=None)
    @given(covering(), st.sampled_from([0, 1000, 2**31, 2**32 - 2, 2**32 - 2500]))
    def test_any_order_twice_or_overlapping(self, segments: list[tuple[int, bytes]], isn: int) -> None:
        """What comes out is what was sent, wherever the sequence numbers begin again."""
        self.assertEqual(put_together(segments, isn), (DATA, 0))

    @settings(max_examples=100, deadline=None)
    @given(covering(), st.data())
    def test_what_is_missing_is_left_out_and_counted(
        self, segments: list[tuple[int, bytes]], data: st.DataObject
    ) -> None:
        """No byte is made up: the rest, in order, and the number of those that are missing."""
        segments = [*segments[: data.draw(st.integers(1, len(segments)))]]
        known = {offset + index for offset, piece in segments for index in range(len(piece))}
        stream, lost = put_together(segments, 7)
        self.assertEqual(stream, bytes(DATA[index] for index in sorted(known)))
        self.assertEqual(lost, max(known) + 1 - len(known))

    def test_a_stream_whose_beginning_is_missing(self) -> None:
        """It begins with the first segment that there is."""
        stream = TcpStream()
        self.assertEqual(stream.feed(1, 5000, b"abc"), [Stretch(1, 0, b"abc")])
        self.assertEqual(stream.feed(2, 4990, b"0123456789abcd"), [Stretch(2, 0, b"d")])
        self.assertFalse(stream.started)

    def test_of_what_is_sent_twice_the_first_counts(self) -> None:
        stream = TcpStream()
        stream.syn(0)
        self.assertEqual(stream.feed(1, 1, b"first"), [Stretch(1, 0, b"first")])
        self.assertEqual(stream.feed(2, 1, b"other"), [])
        self.assertEqual(stream.feed(3, 3, b"xxx, and more"), [Stretch(3, 0, b", and more")])
        self.assertEqual(stream.feed(4, 0, b"\0"), [], "a keep-alive probe")

    def test_the_time_is_that_of_the_last_packet_needed(self) -> None:
        stream = TcpStream()
        stream.syn(0)
        stream.feed(10, 4, b"def")
        self.assertEqual(stream.held, 3)
        self.assertEqual(stream.feed(20, 1, b"abc"), [Stretch(20, 0, b"abc"), Stretch(20, 0, b"def")])
        stream.feed(30, 10, b"jkl")
        stream.feed(40, 13, b"mno")
        self.assertEqual(stream.end(), [Stretch(30, 3, b"jkl"), Stretch(40, 0, b"mno")])

    def test_what_was_cut_off_is_missing(self) -> None:
        """A capture of the first bytes of packets: what is behind them is known to have been."""
        stream = TcpStream()
        stream.syn(0)
        self.assertEqual(stream.feed(1, 1, b"ab", cut=8), [Stretch(1, 0, b"ab")])
        self.assertEqual(stream.feed(2, 11, b"k"), [Stretch(2, 8, b"k")])
        self.assertEqual(stream.feed(3, 12, b"l"), [Stretch(3, 0, b"l")])
        self.assertEqual(stream.feed(4, 13, b"", cut=5), [])
        self.assertEqual(stream.feed(5, 18, b"r"), [Stretch(5, 5, b"r")])

    def test_beginnings(self) -> None:
        """A repeated SYN is no news; one with another number begins another stream."""
        stream = TcpStream()
        self.assertTrue(stream.syn(100))
        self.assertTrue(stream.syn(100))
        stream.feed(1, 101, b"abc")
        self.assertTrue(stream.syn(100))
        self.assertFalse(stream.syn(104))
        late = TcpStream()
        late.feed(1, 101, b"abc")
        self.assertTrue(late.syn(100))
        self.assertFalse(late.syn(101))

    def test_reaches(self) -> None:
        """Whether all is there up to a FIN that overtook what was sent before it."""
        stream = TcpStream()
        stream.syn(2**32 - 3)
        stream.feed(1, 1, b"cd")
        self.assertFalse(stream.reaches(3))
        stream.feed(1, 2**32 - 2, b"xab")
        self.assertTrue(stream.reaches(3))
        self.assertFalse(stream.reaches(4))

    def test_what_waits_is_bounded(self) -> None:
        """By bytes and by segments: then what is missing before it is taken for lost."""
        stream = TcpStream()
        stream.syn(0)
        size = 100_000
        for number in range(300):
            stream.feed(number, 1000 + number * size, bytes(size))
            self.assertLessEqual(stream.held, streams.MAX_AHEAD)
        stream = TcpStream()
        stream.syn(0)
        given = [each for number in range(20_000) for each in stream.feed(number, 1000 + 2 * number, b"x")]
        self.assertEqual(given[0].lost, 999)
        self.assertEqual(len(given), 20_000 - streams.MAX_SEGMENTS)
        self.assertLessEqual(stream.held, streams.MAX_SEGMENTS)

    def test_a_sequence_number_from_nowhere_allocates_nothing(self) -> None:
        stream = TcpStream()
        stream.syn(0)
        stream.feed(1, 2_000_000_000, b"far away")
        self.assertEqual(stream.held, 8)
        self.assertEqual(stream.end(), [Stretch(1, 1_999_999_999, b"far away")])
