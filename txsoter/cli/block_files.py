"""Blocks in files: one behind the other, in records, or in lines of hex or JSON; read in pieces, whatever the size."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from io import BufferedReader
from typing import NamedTuple

from txsoter.cli.byte_window import ByteWindow
from txsoter.core.sanitize import sanitize
from txsoter.errors import MalformedMessage, TxsoterError
from txsoter.networks import MAINNET, REGTEST, SIMNET, TESTNET1, Network
from txsoter.wire import Block, Encoding, read_message
from txsoter.wire.blocks import MAX_BLOCK

__all__ = ["BlockFile", "FoundBlock"]

HEAD = 512
"""Bytes that the format is told by."""

RAW_WINDOWS = (1 << 16, 1 << 19, MAX_BLOCK)
"""Bytes in which a block of unknown length is looked for, one after the other."""

MAX_LINE = 64 << 20
"""Bytes of a line: the largest block in hex, and the ids of its transactions."""

FRAME_HEADER = 24
"""Bytes before a message's payload: magic, command, length, checksum."""

CHECKSUM = 4
"""Bytes behind each block in soterd's own files."""

_MAGICS = {each.magic.to_bytes(4, "little"): each.name for each in (MAINNET, TESTNET1, REGTEST, SIMNET)}
_FRAMED = b"block".ljust(12, b"\0")
_TEXT = bytes(range(32, 127)) + b"\t\r\n"
_LINE_STARTS = frozenset(b'{"0123456789abcdefABCDEF')
_HEX_KEYS = ("raw", "payload", "block")


class FoundBlock(NamedTuple):
    """A block in a file, or the reason why there is none at a position.

    :param position: of its first byte, from 0; of a line its number, from 1.
    """

    position: int
    block: Block | None
    problem: str = ""


class BlockFile:
    """The blocks of a file, which gzip may have compressed. The format is told by the first bytes.

    Records are ``magic, length, block``, as in bootstrap.dat and in soterd's own files, or whole frames. A line is a
    block in hex, or a JSON object with one in ``raw``, ``payload`` or ``block``; it may be a record or a frame, too.

    :param stream: the file, opened for reading bytes.
    :param network: the network whose magic records and frames have.
    :raises OSError: when it cannot be read.
    :ivar unit: of positions: ``byte``, in the decompressed file, or ``line``.
    :ivar others: lines of JSON that are about something else than a block.
    """

    def __init__(self, stream: BufferedReader, network: Network) -> None:
        compressed = stream.peek(2)[:2] == b"\x1f\x8b"
        self._window = ByteWindow(gzip.GzipFile(fileobj=stream) if compressed else stream)
        self._magic = network.magic.to_bytes(4, "little")
        self.unit = "byte"
        self.others = 0

    def __iter__(self) -> Iterator[FoundBlock]:
        """Iterate over the blocks, and over the positions at which none can be read.

        :raises OSError: here and below, behind what could be read, when the file cannot be read or decompressed.
        :raises EOFError: when a compressed file ends too early.
        :raises zlib.error: when a compressed file is damaged.
        """
        yield from self._blocks()
        if self._window.error is not None:
            raise self._window.error

    def _blocks(self) -> Iterator[FoundBlock]:
        head = self._window.peek(HEAD)
        if head.lstrip()[:1] and head.lstrip()[0] in _LINE_STARTS and not head.translate(None, _TEXT):
            self.unit = "line"
            return self._lines()
        if head.startswith(self._magic):
            return self._records()
        if head[:4] in _MAGICS:
            return iter([_of_other_network(0, head)])
        return self._raw_blocks()

    def _raw_blocks(self) -> Iterator[FoundBlock]:
        window = self._window
        while window.peek(1):
            for size in RAW_WINDOWS:
                data = window.peek(size)
                try:
                    block, used = Block.from_payload(data, encoding=Encoding.WITNESS)
                    break
                except MalformedMessage as error:
                    # it may go on behind the window
                    if len(data) < size or size == MAX_BLOCK:
                        yield FoundBlock(
                            window.offset, None, f"no block: {error.reason}; the rest of the file is not read"
                        )
                        return
            yield FoundBlock(window.offset, block)
            window.skip(used)

    def _records(self) -> Iterator[FoundBlock]:
        window, after_block = self._window, False
        while True:
            at = window.offset
            gap, has_data = window.skip_to(self._magic)
            head = window.peek(FRAME_HEADER)
            if has_data and not (after_block and gap == CHECKSUM):
                yield FoundBlock(at, None, f"{gap} bytes that are no record")
            if not head:
                return
            at = window.offset
            is_frame = head[4:16] == _FRAMED
            start = FRAME_HEADER if is_frame else 8
            length = int.from_bytes(head[16:20] if is_frame else head[4:8], "little")
            if length > MAX_BLOCK:
                yield FoundBlock(at, None, f"a record of {length} bytes; a block has {MAX_BLOCK} at most")
                window.skip(4)
                after_block = False
                continue
            data = window.peek(start + length)
            if len(head) < start or len(data) < start + length:
                yield FoundBlock(at, None, "the file ends within a record")
                return
            yield _decoded(at, data[start:])
            window.skip(start + length)
            after_block = True

    def _lines(self) -> Iterator[FoundBlock]:
        number = 0
        while line := self._window.line(MAX_LINE):
            number += 1
            if len(line) > MAX_LINE:
                yield FoundBlock(number, None, f"a line of more than {MAX_LINE} bytes")
            elif text := line.strip():
                found = self._read_line(number, text)
                if found is None:
                    self.others += 1
                else:
                    yield found

    def _read_line(self, number: int, line: bytes) -> FoundBlock | None:
        """Return the block in a line, or None for a line about something else."""
        try:
            text = line.decode()
            if not text.startswith(("{", '"')):
                return self._of_hex(number, text)
            row = json.loads(text)
        except (ValueError, RecursionError):
            return FoundBlock(number, None, "a line that is neither hex nor JSON")
        if isinstance(row, str):
            row = {"block": row}
        if "note" in row or row.get("command", row.get("cmd", "block")) != "block":
            return None
        value = next((row[key] for key in _HEX_KEYS if isinstance(row.get(key), str)), None)
        if value is None:
            words = "a line without the block itself, which txsoter fetch and txsoter capture show print with --hex"
            return FoundBlock(number, None, words)
        return self._of_hex(number, value)

    def _of_hex(self, number: int, text: str) -> FoundBlock | None:
        try:
            data = bytes.fromhex(text)
        except ValueError:
            return FoundBlock(number, None, "a block that is not in hex")
        if not data.startswith(self._magic):
            return _of_other_network(number, data) if data[:4] in _MAGICS else _decoded(number, data)
        if int.from_bytes(data[4:8], "little") == len(data) - 8:
            return _decoded(number, data[8:])
        try:
            message, _ = read_message(data, int.from_bytes(self._magic, "little"), encoding=Encoding.WITNESS)
        except TxsoterError as error:
            return FoundBlock(number, None, sanitize(str(error)))
        return FoundBlock(number, message) if isinstance(message, Block) else None


def _of_other_network(position: int, data: bytes) -> FoundBlock:
    name = _MAGICS[data[:4]]
    return FoundBlock(position, None, f"a block of {name}: give --network {name}")


def _decoded(position: int, data: bytes) -> FoundBlock:
    """Return the block that ``data`` is, and no more than it."""
    try:
        block, used = Block.from_payload(data, encoding=Encoding.WITNESS)
    except MalformedMessage as error:
        return FoundBlock(position, None, error.reason)
    if used < len(data):
        return FoundBlock(position, None, f"{len(data) - used} bytes more than the block has")
    return FoundBlock(position, block)
