"""Anything at all either parses or raises :exc:`MalformedMessage`; what parses survives a round trip."""

from __future__ import annotations

import struct
from unittest import TestCase

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from txsoter.errors import LocalError, MalformedMessage, NeedMoreData
from txsoter.test import vectors
from txsoter.test.wire import MAGIC, NEWEST, changed, command_limit, frame
from txsoter.testing import strategies as soter
from txsoter.wire import (
    Encoding,
    FrameDecoder,
    Message,
    Version,
    messages,
    read_message,
    write_message,
)

COMMANDS = set(messages())

commands, pvers, encodings = soter.commands(), soter.protocol_versions(), soter.encodings()


def deterministic(examples: int) -> settings:
    """The same examples on every run, and no database of them."""
    return settings(
        derandomize=True, database=None, deadline=None, max_examples=examples, suppress_health_check=list(HealthCheck)
    )


def after_round_trip(message: Message, pver: int) -> Message:
    """``message`` as it is read from its own bytes: below 70001 the relay flag is not written."""
    if isinstance(message, Version) and pver < 70001:
        return changed(message, relay=True)
    return message


class PayloadTests(TestCase):
    """Payloads in frames that are right."""

    def check(self, command: str, payload: bytes, pver: int, encoding: Encoding) -> bool:
        """Whether it parses; whatever parses is encoded, or refused by a LocalError, and decodes to an equal."""
        raw = frame(command, payload)
        try:
            message, consumed = read_message(raw, MAGIC, pver, encoding)
        except MalformedMessage as error:
            self.assertEqual(error.command, command)
            return False
        self.assertEqual((message.command, consumed), (command, len(raw)))
        repr(message)
        try:
            written = write_message(message, MAGIC, pver, encoding)
        except LocalError:
            return True
        if not isinstance(message, Version):  # whose fields may be absent, and are written all the same
            self.assertLessEqual(len(written), len(raw))
        again, _ = read_message(written, MAGIC, pver, encoding)
        self.assertEqual(again, after_round_trip(message, pver))
        self.assertEqual(write_message(again, MAGIC, pver, encoding), written)
        return True

    @deterministic(2500)
    @given(command=commands, payload=st.binary(max_size=300), pver=pvers, encoding=encodings)
    @example(command="tx", payload=bytes(4) + b"\0\1\0\0" + bytes(4), pver=NEWEST, encoding=Encoding.WITNESS)
    def test_random_bytes(self, command: str, payload: bytes, pver: int, encoding: Encoding) -> None:
        self.check(command, payload, pver, encoding)

    @deterministic(1000)
    @given(command=commands, payload=st.binary(max_size=60), pver=pvers, encoding=encodings)
    def test_mostly_zeros(self, command: str, payload: bytes, pver: int, encoding: Encoding) -> None:
        """Zeros are empty lists and empty strings: behind them the parsers get far."""
        self.check(command, bytes(100) + payload + bytes(100), pver, encoding)

    @deterministic(2500)
    @given(data=st.data())
    def test_mutated_vectors(self, data: st.DataObject) -> None:
        """Bytes changed, cut out, doubled and put in, behind a checksum that is right."""
        row = data.draw(st.sampled_from(vectors.valid()))
        payload = data.draw(soter.damaged(row["raw"][24:]))
        pver = data.draw(st.just(row["pver"]) | pvers)
        self.check(row["cmd"], payload, pver, data.draw(encodings))

    @deterministic(500)
    @given(data=st.data())
    def test_vectors_of_other_commands(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(vectors.valid()))
        self.check(data.draw(commands), row["raw"][24:], row["pver"], row["enc"])

    def test_check_sees_both_sides(self) -> None:
        """A whole payload of each command parses, and one cut short does not, unless the message is empty."""
        parsed, refused = set(), set()
        for row in vectors.valid():
            payload = row["raw"][24:]
            if self.check(row["cmd"], payload, row["pver"], row["enc"]):
                parsed.add(row["cmd"])
            if payload and not self.check(row["cmd"], payload[:-1], row["pver"], row["enc"]):
                refused.add(row["cmd"])
        self.assertEqual(parsed, COMMANDS)
        empty = {command for command, cls in messages().items() if cls.max_size() == 0}
        self.assertEqual(refused, COMMANDS - empty)


class Limit:
    """A route that knows its command's limit."""

    def __init__(self, command: bytes) -> None:
        self.command = command
        self.limit = command_limit(command, NEWEST)


Events = list[tuple[bytes, bytes]]


def until_malformed(chunks: list[bytes]) -> tuple[Events, bool]:
    """All frames up to the first that is malformed, and whether there is one."""
    decoder, found = FrameDecoder(MAGIC, Limit), Events()
    for chunk in chunks:
        decoder.feed(chunk)
        try:
            while (taken := decoder.next_frame()) is not None:
                found.append((taken[0].command, taken[1]))
        except MalformedMessage:
            return found, True
    return found, False


def going_on(chunks: list[bytes]) -> tuple[Events, int]:
    """All frames but the malformed ones, and how many of those there are."""
    decoder, found, bad = FrameDecoder(MAGIC, Limit), Events(), 0
    for chunk in chunks:
        decoder.feed(chunk)
        more = True
        while more:
            try:
                taken = decoder.next_frame()
            except MalformedMessage as error:
                bad += 1
                if error.in_header:
                    decoder.skip()
            else:
                more = taken is not None
                if taken is not None:
                    found.append((taken[0].command, taken[1]))
    return found, bad


class StreamTests(TestCase):
    """The incremental decoder."""

    @deterministic(600)
    @given(chunks=soter.streams(MAGIC).flatmap(soter.chunked))
    def test_any_stream_split_anywhere_gives_the_same(self, chunks: list[bytes]) -> None:
        """Frames or MalformedMessage, nothing else; also for a caller who goes on behind what is malformed."""
        stream = b"".join(chunks)
        self.assertEqual(until_malformed(chunks), until_malformed([stream]))
        self.assertEqual(going_on(chunks), going_on([stream]))

    @deterministic(300)
    @given(data=st.data())
    def test_malformed_frames_cost_no_others(self, data: st.DataObject) -> None:
        """The frames around them come out, wherever the stream is cut."""
        bad = {
            b"bad length": struct.pack("<I12sI4s", MAGIC, b"ping", 700, b"sum!") + bytes(700),
            b"bad checksum": struct.pack("<I12sI4s", MAGIC, b"ping", 8, b"sum!") + bytes(8),
        }
        raws = data.draw(st.lists(soter.frames(MAGIC) | st.sampled_from(sorted(bad)), max_size=8))
        chunks = data.draw(soter.chunked(b"".join(bad.get(raw, raw) for raw in raws)))
        expected = [(raw[4:16], raw[24:]) for raw in raws if raw not in bad]
        self.assertEqual(going_on(chunks), (expected, len(raws) - len(expected)))

    @deterministic(300)
    @given(chunks=soter.streams(MAGIC).flatmap(soter.chunked))
    def test_agrees_with_read_message(self, chunks: list[bytes]) -> None:
        """Frame by frame, in any chunking, until one is malformed or not whole."""
        stream, found, at = b"".join(chunks), Events(), 0
        try:
            while True:
                _, consumed = read_message(stream[at:], MAGIC)
                found.append((stream[at + 4 : at + 16], stream[at + 24 : at + consumed]))
                at += consumed
        except NeedMoreData:
            self.assertEqual(until_malformed(chunks), (found, False))
        except MalformedMessage:
            self.assertEqual(until_malformed(chunks)[0][: len(found)], found)
