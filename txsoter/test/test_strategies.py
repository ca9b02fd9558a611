"""``txsoter.testing.strategies``: every message, no field forgotten; and what is hostile does what it says."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from unittest import TestCase

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from txsoter.errors import MalformedMessage, NeedMoreData
from txsoter.networks import SIMNET
from txsoter.test.test_imports import in_fresh_interpreter
from txsoter.testing import strategies as soter
from txsoter.testing.declared import PROTOCOL_VERSIONS, Bounds, record
from txsoter.wire import (
    PROTOCOL_VERSION,
    AlertDetails,
    Block,
    Encoding,
    GetData,
    Inv,
    Message,
    Tx,
    Unknown,
    Version,
    messages,
    read_message,
    write_message,
)
from txsoter.wire import message as declarations
from txsoter.wire.codec import U8
from txsoter.wire.message import field_codecs

MAGIC = SIMNET.magic
NAMED = list(messages().values())
NEWEST = PROTOCOL_VERSION
BOUNDS = Bounds(NEWEST, Encoding.WITNESS, 4, 16)

WITHOUT = """
import sys
sys.modules["hypothesis"] = None
import txsoter.testing
try:
    from txsoter.testing import strategies
except ImportError as error:
    print(error)
"""


def deterministic(examples: int) -> settings:
    """The same examples on every run, and no database of them."""
    return settings(
        derandomize=True, database=None, deadline=None, max_examples=examples, suppress_health_check=list(HealthCheck)
    )


def check_all(strategy: st.SearchStrategy[Any], check: Callable[[Any], object], examples: int = 60) -> None:
    """Do ``check`` with some of what a strategy gives."""

    @deterministic(examples)
    @given(strategy)
    def run(each: Any) -> None:
        check(each)

    run()


def gathered(strategy: st.SearchStrategy[Any], examples: int = 60) -> list[Any]:
    """Some of what a strategy gives."""
    found: list[Any] = []
    check_all(strategy, found.append, examples)
    return found


class ValidTests(TestCase):
    """What is valid."""

    def test_each_message_is_among_them(self) -> None:
        """All 31, and Unknown."""
        self.assertEqual(len(NAMED), 31)
        self.assertEqual({type(each) for each in gathered(soter.messages(), 1500)}, {*NAMED, Unknown})

    def test_one_that_does_not_exist_at_a_version_is_refused(self) -> None:
        for cls in (each for each in NAMED if each.since):
            with self.assertRaisesRegex(ValueError, f"{cls.command} does not exist at protocol version"):
                soter.message(cls, pver=cls.since - 1)

    def test_each_survives_a_round_trip_at_every_version_and_in_both_encodings(self) -> None:
        """Written and read again it is the same, and is written to the same bytes; those too young are left out."""
        seen: set[type[Message]] = set()
        for pver in PROTOCOL_VERSIONS:
            for encoding in Encoding:

                def check(message: Message, pver: int = pver, encoding: Encoding = encoding) -> None:
                    raw = write_message(message, MAGIC, pver, encoding)
                    again, consumed = read_message(raw, MAGIC, pver, encoding)
                    self.assertEqual((again, consumed), (message, len(raw)))
                    self.assertEqual(write_message(again, MAGIC, pver, encoding), raw)
                    seen.add(type(message))

                check_all(soter.messages(pver=pver, encoding=encoding), check, 400 if pver == NEWEST else 40)
        self.assertEqual(seen, {*NAMED, Unknown})

    def test_each_field_takes_more_than_one_value(self) -> None:
        """No field of a message has been forgotten, nor of an alert, a transaction, an input or an output."""
        names: dict[type, list[str]] = {cls: [name for name, _ in field_codecs(cls)] for cls in NAMED if cls is not Tx}
        drawn: dict[type, list[Any]] = {cls: gathered(soter.message(cls)) for cls in names}
        names[AlertDetails] = [name for name, _ in field_codecs(AlertDetails)]
        drawn[AlertDetails] = gathered(record(AlertDetails, BOUNDS))
        names[Tx], drawn[Tx] = ["version", "inputs", "outputs", "lock_time"], gathered(soter.transactions())
        for rows in ("inputs", "outputs"):
            found = [row for each in drawn[Tx] for row in getattr(each, rows)]
            names[type(found[0])], drawn[type(found[0])] = list(found[0]._fields), found
        for cls, fields in names.items():
            for name in fields:
                self.assertGreater(len({repr(getattr(each, name)) for each in drawn[cls]}), 1, f"{cls.__name__}.{name}")

    def test_a_kind_of_field_that_has_no_strategy_is_no_silent_gap(self) -> None:
        class Odd:
            """A codec that nobody knows."""

            def read(self, data: bytes, offset: int, pver: int) -> tuple[int, int]:
                return 0, offset

            def write(self, value: int, pver: int) -> bytes:
                return b""

        @declarations.record
        class New:
            usual: int = declarations.field(U8, default=0)
            odd: int = declarations.field(Odd(), default=0)

        with self.assertRaisesRegex(TypeError, "no strategy for odd, of Odd"):
            record(New, BOUNDS)

    def test_bounds_are_kept_and_can_be_moved(self) -> None:
        self.assertEqual({len(each.vectors) for each in gathered(soter.message(Inv, max_entries=2))}, {0, 1, 2})
        self.assertGreater(max(len(each.vectors) for each in gathered(soter.message(GetData, max_entries=40))), 8)
        self.assertLessEqual(max(len(each.payload) for each in gathered(soter.message(Unknown, max_bytes=3))), 3)

    def test_versions_are_no_longer_than_soterd_takes(self) -> None:
        for pver in PROTOCOL_VERSIONS:
            versions = soter.message(Version, pver=pver, max_bytes=1000)
            sizes = {len(each.to_payload(pver)) for each in gathered(versions)}
            self.assertEqual(max(sizes), Version.max_send(pver))

    def test_blocks_commit_to_what_they_hold(self) -> None:
        for encoding in Encoding:
            drawn = gathered(soter.blocks(encoding=encoding))
            for block in drawn:
                block.verify()
                raw = write_message(block, MAGIC, encoding=encoding)
                self.assertEqual(read_message(raw, MAGIC, encoding=encoding)[0], block)
            self.assertGreater(max(len(block.transactions) for block in drawn), 2)
            self.assertGreater(max(len(block.parents) for block in drawn), 2)
            witnesses = any(each.has_witness for block in drawn for each in block.transactions)
            self.assertIs(witnesses, encoding is Encoding.WITNESS)

    def test_addresses_are_of_both_families_with_a_timestamp_or_without(self) -> None:
        self.assertEqual({":" in each.host for each in gathered(soter.net_addresses())}, {True, False})
        self.assertGreater(max(each.timestamp for each in gathered(soter.net_addresses())), 0)
        self.assertEqual({each.timestamp for each in gathered(soter.net_addresses(timestamp=False))}, {0})

    def test_versions_of_the_protocol_are_those_that_change_the_format_and_those_before(self) -> None:
        changes = {209, 31402, 60001, 60002, 70001, 70002, 70012, 70013}
        self.assertEqual(set(PROTOCOL_VERSIONS), changes | {each - 1 for each in changes})


class HostileTests(TestCase):
    """What is hostile."""

    def outcomes(self, strategy: st.SearchStrategy[bytes], pver: int, encoding: Encoding, examples: int) -> set[str]:
        """What becomes of corrupt frames, in a word each: they parse, or are malformed, or go on."""
        seen: set[str] = set()

        def check(raw: bytes) -> None:
            try:
                message, consumed = read_message(raw, MAGIC, pver, encoding)
            except NeedMoreData as error:
                self.assertGreater(error.missing, 0)
                seen.add("goes on")
            except MalformedMessage as error:
                seen.add("header" if error.in_header else error.reason.partition(" ")[0])
            else:
                repr(message)
                self.assertLessEqual(consumed, len(raw))
                seen.add("parses")

        check_all(strategy, check, examples)
        return seen

    def test_corrupt_frames_parse_or_are_malformed_or_go_on(self) -> None:
        """Nothing else is raised, at any version and in both encodings; and each of these does happen."""
        seen: set[str] = set()
        for pver in PROTOCOL_VERSIONS:
            for encoding in Encoding:
                strategy = soter.corrupt_frames(MAGIC, pver=pver, encoding=encoding)
                seen |= self.outcomes(strategy, pver, encoding, 40)
        self.assertLessEqual({"parses", "goes on", "header", "checksum", "payload", "too", "varint"}, seen)

    def test_corrupt_frames_of_one_message(self) -> None:
        """Of a block: a count that is negative, an end inside, a header that lies; in both encodings."""
        for encoding in Encoding:
            strategy = soter.corrupt_frames(MAGIC, encoding=encoding, of=Block, max_entries=2)
            seen = self.outcomes(strategy, NEWEST, encoding, 200)
            self.assertLessEqual({"parses", "goes on", "header", "checksum", "payload", "negative"}, seen)

    def test_a_lie_about_size_costs_no_memory(self) -> None:
        """Reading one corrupt frame takes a small multiple of its bytes, whatever its counts and lengths say."""
        costs = []

        def check(raw: bytes) -> None:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with suppress(MalformedMessage, NeedMoreData):
                repr(read_message(raw, MAGIC))
            costs.append(tracemalloc.get_traced_memory()[1] - before - 20 * len(raw))

        tracemalloc.start()
        try:
            check_all(soter.corrupt_frames(MAGIC), check, 300)
        finally:
            tracemalloc.stop()
        self.assertLess(max(costs), 64 * 1024)

    def test_what_is_damaged_is_another(self) -> None:
        for data in (b"", b"x", bytes(100)):
            drawn = gathered(soter.damaged(data))
            self.assertNotIn(data, drawn)
            self.assertGreater(len({len(each) for each in drawn}), 3)

    def test_chunks_are_the_whole_in_order(self) -> None:
        data = bytes(range(256))
        drawn = gathered(soter.chunked(data), 200)
        for chunks in drawn:
            self.assertEqual(b"".join(chunks), data)
            self.assertNotIn(b"", chunks)
        counts = {len(chunks) for chunks in drawn}
        self.assertLessEqual({1, 2, 256}, counts)
        self.assertEqual(gathered(soter.chunked(b""), 1), [[]])

    def test_streams_hold_frames_and_rubbish(self) -> None:
        """Some begin with a message, some do not; some hold several frames."""
        drawn = gathered(soter.streams(MAGIC), 200)
        self.assertEqual({each.startswith(MAGIC.to_bytes(4, "little")) for each in drawn}, {True, False})
        self.assertGreater(max(each.count(MAGIC.to_bytes(4, "little")) for each in drawn), 2)


class ImportTests(TestCase):
    """Hypothesis is no requirement of txsoter's."""

    def test_without_hypothesis_the_error_says_what_to_install(self) -> None:
        printed = in_fresh_interpreter(WITHOUT)
        self.assertEqual(printed, "txsoter.testing.strategies needs hypothesis: pip install 'txsoter[testing]'\n")
