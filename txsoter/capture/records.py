"""The files of a capture: those of Bitcoin Core's message capture, one for each direction.

A record is the time in microseconds since 1970 (u64), the command (12 bytes), the payload's length (u32), and the
payload; all little-endian, one record behind the other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from txsoter.capture.errors import CaptureError, reason_of
from txsoter.wire.message import MAX_PAYLOAD, command_text

__all__ = ["DIRECTIONS", "NOTES", "RECEIVED", "SENT", "Record", "RecordFile", "pack_header"]

RECEIVED = "msgs_recv.dat"
"""What the remote said."""

SENT = "msgs_sent.dat"
"""What we said."""

NOTES = "notes.jsonl"
"""What the other two cannot hold: whose connection it is, what was no frame, why it ended. Lines of JSON."""

DIRECTIONS = {"recv": RECEIVED, "sent": SENT}
"""The file of each direction."""

_HEADER = struct.Struct("<Q12sI")

pack_header = _HEADER.pack
"""Time, command and length as they stand before a payload."""

_BUFFER = 1 << 20


class Record(NamedTuple):
    """A message as it came or went.

    :param time: when it was whole, or handed over; microseconds since 1970.
    :param command: its 12 bytes.
    """

    time: int
    command: bytes
    payload: bytes

    @property
    def name(self) -> str:
        """The command as text: Latin-1, of which a remote may have sent any."""
        return command_text(self.command)

    def pack(self) -> bytes:
        """As it stands in a file."""
        return pack_header(self.time, self.command, len(self.payload)) + self.payload


class RecordFile:
    """A file of records, read once from its beginning, one record at a time.

    :ivar read: bytes of the records given so far.
    :ivar torn: bytes behind the last whole record, once that has been given: the file's writer was killed.
    :raises CaptureError: when it cannot be opened; and while reading, for a length that no message has.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = 0
        self.torn = 0
        try:
            self._file: BinaryIO = path.open("rb", buffering=_BUFFER)
        except OSError as error:
            raise CaptureError(path, reason_of(error)) from None

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    def __iter__(self) -> Iterator[Record]:
        try:
            while True:
                header = self._file.read(_HEADER.size)
                if len(header) < _HEADER.size:
                    self.torn = len(header)
                    return
                time, command, length = _HEADER.unpack(header)
                if length > MAX_PAYLOAD:
                    raise CaptureError(
                        self.path,
                        f"no capture, or damaged: a message of {length} bytes at byte {self.read}, "
                        f"none has over {MAX_PAYLOAD}",
                    )
                payload = self._file.read(length)
                if len(payload) < length:
                    self.torn = len(header) + len(payload)
                    return
                self.read += _HEADER.size + length
                yield Record(time, command, payload)
        except OSError as error:
            raise CaptureError(self.path, reason_of(error)) from None
