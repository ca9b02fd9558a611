"""A reel: records and notes of one connection that are not written yet, in the order in which they were made."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from txsoter.capture.frames import Frame, FrameSplitter
from txsoter.capture.records import pack_header
from txsoter.capture.store import Note
from txsoter.core.sanitize import sanitize
from txsoter.wire.framing import HEADER_SIZE
from txsoter.wire.message import command_text

__all__ = ["MAX_NOTES", "Reel", "Track", "frames_size"]

MAX_NOTES = 100
"""Notes of one connection beside its first and its last; more are counted."""

LARGE = 1024
"""Bytes of a message that are worth an object of their own while they wait."""


class Track:
    """One direction of a reel.

    :ivar direction: ``recv`` or ``sent``.
    :ivar out: whole records, in any pieces.
    :ivar messages: how many were recorded.
    :ivar bytes: of their records.
    """

    __slots__ = ("bytes", "direction", "messages", "out", "skipped", "splitter")

    def __init__(self, direction: str, splitter: FrameSplitter) -> None:
        self.direction = direction
        self.splitter = splitter
        self.out: list[bytes] = []
        self.messages = self.bytes = self.skipped = 0

    def counts(self) -> Note:
        """For the last note."""
        counts = {"messages": self.messages, "bytes": self.bytes}
        return {**counts, "skipped": self.splitter.skipped} if self.splitter.skipped else counts


_PAYLOAD = itemgetter(1)


def frames_size(frames: Sequence[Frame]) -> int:
    """What the records of some frames take."""
    return HEADER_SIZE * len(frames) + sum(map(len, map(_PAYLOAD, frames)))


class Reel:
    """Takes frames and notes; gives what is to be written.

    Time never goes back on it, and differs between what one side says, what the other says next, and what is noted
    next: so three files that are merged by time give the conversation as it was.

    :ivar waiting: bytes of records that were not taken yet.
    """

    __slots__ = ("_last_time", "_last_track", "_notes", "_notes_left", "recv", "sent", "waiting")

    def __init__(self, recv: FrameSplitter, sent: FrameSplitter, now: int) -> None:
        self.recv = Track("recv", recv)
        self.sent = Track("sent", sent)
        self.waiting = 0
        self._last_time = now
        self._last_track: Track | None = None
        self._notes: list[Note] = []
        self._notes_left = MAX_NOTES

    def record(self, track: Track, frames: list[Frame], size: int, now: int) -> None:
        """Frames are whole.

        :param size: what their records take.
        """
        if track is not self._last_track:
            self._last_track = track
            self._last_time += 1
        self._last_time = now = max(self._last_time, now)
        parts: list[bytes] = []
        for command, payload, _ in frames:
            parts.append(pack_header(now, command, len(payload)))
            parts.append(payload)
        if size > LARGE * len(frames):
            track.out += parts
        else:
            # small ones would cost more than their bytes
            track.out.append(b"".join(parts))
        self.waiting += size
        track.messages += len(frames)
        track.bytes += size

    def note(self, now: int, text: str, **details: Any) -> None:
        """Something that is no message."""
        self._notes_left -= 1
        if self._notes_left >= 0:
            self._notes.append(self._noted(now, text, details))

    def note_skipped(self, track: Track, now: int) -> None:
        """Note the first bytes that were no frame; all of them are counted."""
        if track.splitter.skipped != track.skipped:
            if not track.skipped:
                self.note(now, "no frame", direction=track.direction, begins=track.splitter.first_skipped.hex())
            track.skipped = track.splitter.skipped

    def close(self, now: int, reason: str, **details: Any) -> None:
        """The connection has ended."""
        for track in (self.recv, self.sent):
            if track.splitter.held:
                self.note(now, "cut", direction=track.direction, bytes=track.splitter.held, **_of(track.splitter))
        left_out = {"left_out": -self._notes_left} if self._notes_left < 0 else {}
        counts = {track.direction: track.counts() for track in (self.recv, self.sent)}
        self._notes.append(self._noted(now, "closed", {"reason": sanitize(reason), **counts, **details, **left_out}))

    def _noted(self, now: int, text: str, details: dict[str, Any]) -> Note:
        if self._last_track is not None:
            self._last_track = None
            self._last_time += 1
        self._last_time = now = max(self._last_time, now)
        return {"time": now, "note": text, **details}

    def take(self) -> tuple[list[bytes], list[bytes], tuple[Note, ...]]:
        """What came, what went, and the notes: the reel is empty then."""
        recv, self.recv.out = self.recv.out, []
        sent, self.sent.out = self.sent.out, []
        self.waiting = 0
        notes, self._notes = tuple(self._notes), []
        return recv, sent, notes


def _of(splitter: FrameSplitter) -> Note:
    """What the frame that is not whole was to become, as far as its header has come."""
    header = splitter.rest()
    if len(header) < HEADER_SIZE:
        return {}
    return {"command": sanitize(command_text(header[4:16]), 12), "of": int.from_bytes(header[16:20], "little")}
