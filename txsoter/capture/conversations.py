"""Reading captures: the conversations in a path, each in the order of time, and what their messages say.

Any size is read in constant memory: one record at a time.
"""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from txsoter.capture.errors import CaptureError, reason_of
from txsoter.capture.frames import magic_bytes
from txsoter.capture.records import DIRECTIONS, NOTES, Record, RecordFile
from txsoter.errors import MalformedMessage
from txsoter.networks import MAINNET, REGTEST, SIMNET, TESTNET1, Network
from txsoter.wire import PROTOCOL_VERSION, Encoding, Message, Services, Unknown, Version
from txsoter.wire.message import message_class

__all__ = ["Conversation", "Item", "Reader", "conversations"]

MAX_NOTE = 1 << 16
"""The longest line of notes that is read, in bytes."""

_NETWORKS = (MAINNET, TESTNET1, REGTEST, SIMNET)
_ENCODINGS = (Encoding.WITNESS, Encoding.BASE)


class Item(NamedTuple):
    """Something in a conversation: a message, or a note.

    :param time: microseconds since 1970.
    :param direction: ``recv`` or ``sent``; None for a note.
    :param record: the message; None for a note.
    :param note: what it says; empty for a message.
    """

    time: int
    direction: str | None
    record: Record | None
    note: dict[str, Any]


class Conversation:
    """A connection's capture.

    :param path: its folder, or one of its two files.
    :param complain: told of what is wrong with a file but does not keep it from being read.
    """

    def __init__(self, path: Path, complain: Callable[[str], object] = lambda text: None) -> None:
        self.path = path
        self._complain = complain
        if path.is_dir():
            self.files = {direction: path / name for direction, name in DIRECTIONS.items() if (path / name).is_file()}
            self._notes: Path | None = path / NOTES
        else:
            self.files = {direction: path for direction, name in DIRECTIONS.items() if path.name == name}
            self._notes = None

    @property
    def name(self) -> str:
        """Its folder's name."""
        return (self.path if self._notes is not None else self.path.absolute().parent).name

    def opening(self) -> dict[str, Any]:
        """The first of its notes: which network, address and direction; empty when there are none."""
        return next((note for note in self.notes() if note.get("note") == "opened"), {})

    def records(self, direction: str) -> Iterator[Record]:
        """The messages of one direction.

        :raises CaptureError: when its file cannot be read, or has what is no message.
        """
        path = self.files.get(direction)
        if path is None:
            return
        with RecordFile(path) as file:
            yield from file
            if file.torn:
                self._complain(f"{path}: its last message is cut off, {file.torn} bytes of it are left out")

    def notes(self) -> Iterator[dict[str, Any]]:
        """What is noted beside the messages."""
        if self._notes is None or not self._notes.is_file():
            return
        try:
            with self._notes.open("rb") as lines:
                while line := lines.readline(MAX_NOTE):
                    note = _note(line)
                    if note is None:
                        self._complain(f"{self._notes}: a damaged line is left out")
                    else:
                        yield note
        except OSError as error:
            raise CaptureError(self._notes, reason_of(error)) from None

    def items(self) -> Iterator[Item]:
        """All of it, by time.

        :raises CaptureError: as :meth:`records`.
        """

        def messages(direction: str) -> Iterator[Item]:
            for record in self.records(direction):
                yield Item(record.time, direction, record, {})

        notes = (Item(note["time"], None, None, note) for note in self.notes())
        return heapq.merge(notes, *map(messages, self.files), key=lambda item: item.time)


def _note(line: bytes) -> dict[str, Any] | None:
    try:
        note = json.loads(line)
    except (ValueError, RecursionError):
        return None
    fine = isinstance(note, dict) and isinstance(note.get("note"), str) and type(note.get("time")) is int
    return note if fine else None


def conversations(path: Path, complain: Callable[[str], object] = lambda text: None) -> Iterator[Conversation]:
    """Those in ``path``: a connection's folder, a folder of such, or one file.

    :raises CaptureError: when there are none.
    """
    if not path.is_dir():
        if not path.exists():
            raise CaptureError(path, "there is no such file or folder")
        if path.name not in DIRECTIONS.values():
            raise CaptureError(path, f"must be a folder, or a file named {' or '.join(DIRECTIONS.values())}")
        yield Conversation(path, complain)
        return
    found = False
    for folder, below, files in os.walk(path):
        below.sort()
        if not set(files).isdisjoint(DIRECTIONS.values()):
            found = True
            yield Conversation(Path(folder), complain)
    if not found:
        raise CaptureError(path, f"no captures in it: no {' or '.join(DIRECTIONS.values())}")


class Reader:
    """Decodes the messages of a conversation, one after the other, as its two ends did.

    What they negotiated is taken from their own ``version`` messages, or from the note at the beginning.

    :param pver: the protocol version, if that is known better.
    :param encoding: how transactions are written, likewise.
    :ivar network: which one it is, once that is known.
    """

    def __init__(
        self,
        opening: dict[str, Any] | None = None,
        network: Network | None = None,
        pver: int | None = None,
        encoding: Encoding | None = None,
    ) -> None:
        opening = opening or {}
        self.network = network or _network_of(opening)
        self._fixed_pver = pver
        self._fixed_encoding = encoding
        self._advertised: dict[str, int] = {}
        self._witness: dict[str, bool] = {}
        self._noted_pver: int | None = None
        noted = opening.get("witness")
        if opening.get("part", 1) != 1 and isinstance(noted, dict) and isinstance(opening.get("pver"), int):
            # the versions stand in a folder before this one
            self._noted_pver = opening["pver"]
            self._witness = {direction: bool(noted.get(direction)) for direction in DIRECTIONS}

    @property
    def pver(self) -> int:
        """The protocol version in use."""
        if self._fixed_pver is not None:
            return self._fixed_pver
        if self._noted_pver is not None and not self._advertised:
            return self._noted_pver
        return min([PROTOCOL_VERSION, *self._advertised.values()])

    def encodings(self, direction: str) -> tuple[Encoding, ...]:
        """How transactions may be written, the likeliest first."""
        if self._fixed_encoding is not None:
            return (self._fixed_encoding,)
        return _ENCODINGS if self._witness.get(direction, True) else _ENCODINGS[::-1]

    def read(self, direction: str, record: Record) -> Message:
        """The message in ``record``.

        :raises MalformedMessage: when it is none.
        """
        known = message_class(record.command)
        if known is None:
            return Unknown(record.name, record.payload)
        pver, size = self.pver, len(record.payload)
        if size > known.max_size(pver):
            raise MalformedMessage(f"has {size} bytes, at most {known.max_size(pver)} are taken", known.command)
        encodings = self.encodings(direction)
        try:
            message = known.from_payload(record.payload, pver, encodings[0])[0]
        except MalformedMessage:
            # which encoding a message is sent in is its sender's choice
            if len(encodings) < 2 or known.command not in ("tx", "block"):
                raise
            message = known.from_payload(record.payload, pver, encodings[1])[0]
        if isinstance(message, Version):
            self._heard(direction, message)
        return message

    def _heard(self, direction: str, version: Version) -> None:
        if direction in self._advertised:
            return
        self._advertised[direction] = max(0, version.protocol_version)
        self._witness[direction] = bool(version.services & Services.WITNESS)
        if self.network is None:
            self.network = next((each for each in _NETWORKS if each.genesis_hash == version.genesis_hash), None)


def _network_of(opening: dict[str, Any]) -> Network | None:
    magic = opening.get("magic")
    return next((each for each in _NETWORKS if magic_bytes(each.magic).hex() == magic), None)
