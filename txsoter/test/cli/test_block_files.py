"""Tests of :mod:`txsoter.cli.block_files`."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import TestCase
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from txsoter import REGTEST, SIMNET
from txsoter.cli import block_files
from txsoter.cli.block_files import BlockFile, FoundBlock
from txsoter.cli.byte_window import CHUNK
from txsoter.test import vectors
from txsoter.test.node import recorded
from txsoter.wire import Block, Encoding, Ping, write_message
from txsoter.wire.blocks import MAX_BLOCK

BLOCKS = [block for _, block in recorded()[:5]]
RAW = [block.to_payload(encoding=Encoding.WITNESS) for block in BLOCKS]
MAGIC = struct.pack("<I", SIMNET.magic)

NO_FURTHER = "the rest of the file is not read"

Pack = Callable[[bytes], bytes]


def record(raw: bytes) -> bytes:
    return MAGIC + struct.pack("<I", len(raw)) + raw


def frame(raw: bytes) -> bytes:
    return write_message(Block.from_payload(raw, encoding=Encoding.WITNESS)[0], SIMNET.magic, encoding=Encoding.WITNESS)


PIECES = [
    MAGIC,
    b"\n",
    bytes(8),
    b'{"raw": "',
    b'"}',
    b"\x1f\x8b\x08",
    *map(record, RAW),
    *(raw.hex().encode() for raw in RAW),
]
"""Those that formats are made of."""


class Pieces(io.RawIOBase):
    """A file that gives as little at a time as it may."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self.read_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = next(self._pieces, b"")
        buffer[: len(piece)] = piece
        self.read_bytes += len(piece)
        return len(piece)


def file_of(data: bytes) -> BlockFile:
    return BlockFile(io.BufferedReader(io.BytesIO(data)), SIMNET)


def found_in(data: bytes) -> list[FoundBlock]:
    """Return the contents of the file, which do not depend on how it is read."""
    found = list(file_of(data))
    in_pieces = Pieces(data[start : start + 7] for start in range(0, len(data), 7))
    assert list(BlockFile(io.BufferedReader(in_pieces), SIMNET)) == found
    return found


def problems(data: bytes) -> list[tuple[int, str]]:
    return [(each.position, each.problem) for each in found_in(data) if each.block is None]


class FormatTests(TestCase):
    def test_formats(self) -> None:
        """The blocks and their positions, in bytes or lines; compressed, the same."""
        packed: dict[str, tuple[str, Pack]] = {
            "blocks": ("byte", lambda raw: raw),
            "records": ("byte", record),
            "records with checksums": ("byte", lambda raw: record(raw) + struct.pack(">I", zlib.crc32(raw))),
            "frames": ("byte", frame),
            "hex": ("line", lambda raw: raw.hex().encode() + b"\n"),
            "upper hex, CRLF": ("line", lambda raw: raw.hex().upper().encode() + b"\r\n"),
            "frames in hex": ("line", lambda raw: frame(raw).hex().encode() + b"\n"),
            "records in hex": ("line", lambda raw: record(raw).hex().encode() + b"\n"),
            "vectors": ("line", lambda raw: json.dumps({"height": 3, "raw": frame(raw).hex()}).encode() + b"\n"),
            "captures": (
                "line",
                lambda raw: json.dumps({"command": "block", "summary": "", "payload": raw.hex()}).encode() + b"\n",
            ),
            "JSON strings": ("line", lambda raw: json.dumps(raw.hex()).encode() + b"\n"),
        }
        for name, (unit, pack) in packed.items():
            parts = [pack(raw) for raw in RAW]
            positions = [sum(map(len, parts[:number])) if unit == "byte" else number + 1 for number in range(5)]
            for data in (b"".join(parts), gzip.compress(b"".join(parts))):
                with self.subTest(name):
                    self.assertEqual(
                        found_in(data), [FoundBlock(*each) for each in zip(positions, BLOCKS, strict=True)]
                    )
                    blocks = file_of(data)
                    self.assertEqual(next(iter(blocks)).position, positions[0])
                    self.assertEqual(blocks.unit, unit)

    def test_blocks_in_the_base_encoding(self) -> None:
        """They are read as well: witnesses are optional."""
        rows = [row for row in vectors.valid() if row["cmd"] == "block" and row["enc"] is Encoding.BASE]
        found = [file_of(row["raw"][24:]) for row in rows]
        self.assertEqual(
            [[block.block.to_payload() for block in each if block.block] for each in found],
            [[row["raw"][24:]] for row in rows],
        )
        self.assertGreater(len(rows), 5)

    def test_a_file_of_another_network(self) -> None:
        data = struct.pack("<I", REGTEST.magic) + bytes(100)
        for file, position in ((data, 0), (data.hex().encode(), 1)):
            self.assertEqual(problems(file), [(position, "a block of regtest: give --network regtest")])

    def test_an_empty_file(self) -> None:
        self.assertEqual(found_in(b""), [])
        self.assertEqual(
            found_in(b"\n"), [FoundBlock(0, None, "no block: payload ends too early; the rest of the file is not read")]
        )


class RawBlockTests(TestCase):
    def test_large_blocks(self) -> None:
        """Of more bytes than are looked at in the beginning."""
        large = Block(header=BLOCKS[0].header, nonces=range(200_000))
        huge = Block(header=BLOCKS[0].header, nonces=range((MAX_BLOCK - 100) // 4))
        raw = [RAW[0], large.to_payload(), RAW[1], huge.to_payload(), RAW[2]]
        found = list(file_of(b"".join(raw)))
        self.assertEqual([len(each.block.to_payload()) for each in found if each.block], list(map(len, raw)))
        self.assertEqual([each.position for each in found], [sum(map(len, raw[:number])) for number in range(5)])

    def test_the_end_is_missing(self) -> None:
        at = len(RAW[0])
        expected = [(at, f"no block: payload ends too early; {NO_FURTHER}")]
        for cut in (1, 79, len(RAW[1]) - 1):
            self.assertEqual(problems(RAW[0] + RAW[1][:cut]), expected)

    def test_no_block(self) -> None:
        """Nothing behind it is read, for no length says where the next one begins."""
        counted = RAW[1][:84] + b"\xff" * 4 + RAW[1][88:]
        found = found_in(RAW[0] + counted + RAW[2])
        self.assertEqual([each.block for each in found], [BLOCKS[0], None])
        self.assertIn("negative count", found[1].problem)

    def test_no_more_is_read_than_is_needed(self) -> None:
        """Of a file without end a megabyte is read ahead."""

        def endless() -> Iterator[bytes]:
            while True:
                yield b"".join(RAW)

        stream = Pieces(endless())
        blocks = iter(BlockFile(io.BufferedReader(stream), SIMNET))
        for _ in range(20_000):
            position = next(blocks).position
            self.assertLess(stream.read_bytes, position + 2 * CHUNK)
        self.assertGreater(position, 5 * CHUNK)


class RecordTests(TestCase):
    def test_padding(self) -> None:
        """Zeros between records, and behind the last, are no fault."""
        data = record(RAW[0]) + bytes(3) + record(RAW[1]) + bytes(2 * CHUNK)
        self.assertEqual([each.block for each in file_of(data)], BLOCKS[:2])

    def test_bytes_between_records(self) -> None:
        """They are told, and the next record is found: whatever separates them, and wherever reading stops."""
        first = record(RAW[0])
        for gap in (1, 3, 4, 5, CHUNK - 3, CHUNK - 1, CHUNK + 1):
            data = first + b"\x01" * gap + record(RAW[1])
            found = list(file_of(data))
            expected = [] if gap == 4 else [(len(first), f"{gap} bytes that are no record")]
            self.assertEqual([(each.position, each.problem) for each in found if not each.block], expected)
            self.assertEqual([each.block for each in found if each.block], BLOCKS[:2])

    def test_a_length_that_no_block_has(self) -> None:
        """It is not believed, nor waited for; the next record is found."""
        for length in (MAX_BLOCK + 1, 0xFFFFFFFF):
            data = record(RAW[0]) + MAGIC + struct.pack("<I", length) + record(RAW[1])
            at = len(record(RAW[0]))
            words = f"a record of {length} bytes; a block has {MAX_BLOCK} at most"
            # the length itself is a gap
            expected = [(at, words), (at + 4, "4 bytes that are no record")]
            self.assertEqual(problems(data), expected)
            self.assertEqual([each.block for each in found_in(data) if each.block], BLOCKS[:2])

    def test_records_that_hold_no_block(self) -> None:
        """The next is read."""
        data = record(RAW[0][:-1]) + record(RAW[0] + b"12345") + record(b"") + record(RAW[1])
        at = [0, len(record(RAW[0])) - 1, 2 * len(record(RAW[0])) + 4]
        self.assertEqual(
            problems(data),
            [
                (at[0], "payload ends too early"),
                (at[1], "5 bytes more than the block has"),
                (at[2], "payload ends too early"),
            ],
        )
        self.assertEqual([each.block for each in found_in(data) if each.block], [BLOCKS[1]])

    def test_the_end_is_missing(self) -> None:
        for pack, cuts in ((record, (4, 7, 8, 100, len(RAW[1]) + 7)), (frame, (23, 24, 100, len(RAW[1]) + 23))):
            for cut in cuts:
                data = record(RAW[0]) + pack(RAW[1])[:cut]
                self.assertEqual(problems(data), [(len(record(RAW[0])), "the file ends within a record")])

    def test_all_magic(self) -> None:
        """A file of nothing but beginnings of records takes no longer than another."""
        found = list(file_of(MAGIC * 10_000))
        self.assertEqual({each.block for each in found}, {None})


class LineTests(TestCase):
    def test_lines_about_something_else(self) -> None:
        """Other commands and notes are counted; empty lines are nothing."""
        ping = write_message(Ping(1), SIMNET.magic).hex()
        lines = [
            json.dumps({"cmd": "ping", "raw": ping}),
            json.dumps({"command": "inv", "payload": ""}),
            json.dumps({"note": "opened", "time": 3}),
            "",
            ping,
            json.dumps({"raw": RAW[0].hex()}),
        ]
        blocks = file_of("\n".join(lines).encode())
        self.assertEqual(list(blocks), [FoundBlock(6, BLOCKS[0])])
        self.assertEqual(blocks.others, 4)

    def test_lines_that_hold_no_block(self) -> None:
        """Each is told; those behind it are read."""
        lacks = "a line without the block itself, which txsoter fetch and txsoter capture show print with --hex"
        changed = bytearray(frame(RAW[0]))
        changed[20] ^= 1
        lines = {
            "{": "a line that is neither hex nor JSON",
            '{"a":' * 100_000: "a line that is neither hex nor JSON",
            '"\\ud800"': "a block that is not in hex",
            "xyz": "a block that is not in hex",
            "ä": "a block that is not in hex",
            '{"hash": "00", "height": 3}': lacks,
            '{"raw": 5, "payload": null}': lacks,
            RAW[0].hex() + "00": "1 bytes more than the block has",
            RAW[0].hex()[:-2]: "payload ends too early",
            MAGIC.hex(): "the frame goes on: at least 20 bytes are missing",
            changed.hex(): "block: checksum is",
        }
        data = "\n".join([RAW[1].hex(), *lines, RAW[2].hex()]).encode() + b"\n\xff\xff\n"
        found = list(file_of(data))
        self.assertEqual(
            [each.position for each in found if each.block is None], [*range(2, len(lines) + 2), len(lines) + 3]
        )
        for each, words in zip(found[1:], lines.values(), strict=False):
            self.assertIn(words, each.problem)
        self.assertEqual([each.block for each in found if each.block], BLOCKS[1:3])

    def test_a_line_without_end(self) -> None:
        """It is told once, not kept; the lines behind it are read."""
        with patch.object(block_files, "MAX_LINE", 1000):
            for size in (1001, 5000, 3 * CHUNK):
                data = RAW[0].hex().encode() + b"\n" + b"0" * size + b"\n" + RAW[1].hex().encode() + b"\n" + b"0" * size
                found = list(file_of(data))
                self.assertEqual([each.position for each in found], [1, 2, 3, 4])
                self.assertEqual([each.block for each in found], [BLOCKS[0], None, BLOCKS[1], None])
                self.assertEqual({each.problem for each in found}, {"", "a line of more than 1000 bytes"})

    def test_the_longest_line(self) -> None:
        line = RAW[0].hex().encode()
        with patch.object(block_files, "MAX_LINE", len(line) + 1):
            self.assertEqual(found_in(line + b"\n" + line), [FoundBlock(1, BLOCKS[0]), FoundBlock(2, BLOCKS[0])])


class DamagedFileTests(TestCase):
    @given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=90)), max_size=12), st.integers(0, 200))
    def test_any_bytes(self, pieces: list[bytes], cut: int) -> None:
        """It comes to an end, position by position, whatever the file holds; or says why it cannot be read."""
        data = b"".join(pieces)
        data = data[: max(len(data) - cut, 0)]
        positions = []
        try:
            for each in file_of(data):
                self.assertNotEqual(each.block is None, not each.problem)
                positions.append(each.position)
        except (OSError, EOFError, zlib.error):
            self.assertEqual(data[:2], b"\x1f\x8b")
        self.assertEqual(positions, sorted(set(positions)))

    def test_compressed_files(self) -> None:
        """Blocks that could be read come first; then the error."""
        whole = gzip.compress(b"".join(map(record, RAW * 1000)), 1)
        for damaged, error, least in (
            (whole[:-10], EOFError, 4990),
            (whole[:-8] + bytes(8), gzip.BadGzipFile, 5000),
            (whole[:10] + b"\xff" + whole[11:], zlib.error, 0),
            (b"\x1f\x8b" + bytes(30), gzip.BadGzipFile, 0),
        ):
            found = []
            with self.assertRaises(error):
                for each in file_of(damaged):
                    found.append(each)
            self.assertGreaterEqual(sum(each.block is not None for each in found), least)
