"""What the tests of captures share: folders that go, conversations to record, and what became of them."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import execute
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from txsoter.capture import Capture, Record, RecordFile
from txsoter.capture.recorder import FLUSH_INTERVAL
from txsoter.capture.records import NOTES
from txsoter.capture.store import CaptureStore
from txsoter.core.state import State
from txsoter.test.peer.support import TrialCase
from txsoter.test.vectors import SIMNET_MAGIC, live
from txsoter.testing import PeerPair, ScriptedPair, scripted
from txsoter.wire.framing import frame
from txsoter.wire.message import command_bytes

__all__ = [
    "START",
    "CaptureCase",
    "RecorderCase",
    "chunks",
    "live_bytes",
    "notes_in",
    "record",
    "records_in",
    "wire_bytes",
]

START = 1_780_000_000_000_000
"""When tests take place, in microseconds."""


def record(command: str, payload: bytes = b"", time: int = START) -> Record:
    """A record of a message."""
    return Record(time, command_bytes(command), payload)


def records_in(folder: Path, name: str) -> list[Record]:
    """The records of one file of a capture, which must be whole; none when there is no such file."""
    path = folder / name
    if not path.exists():
        return []
    with RecordFile(path) as file:
        records = list(file)
    assert file.torn == 0
    return records


def notes_in(folder: Path) -> list[dict[str, Any]]:
    """The notes of a capture."""
    return [json.loads(line) for line in (folder / NOTES).read_text().splitlines()]


def wire_bytes(folder: Path, name: str, magic: int = SIMNET_MAGIC) -> bytes:
    """What a file's records were on the wire."""
    return b"".join(frame(magic, each.command, each.payload) for each in records_in(folder, name))


def live_bytes(direction: str) -> bytes:
    """One side of the conversation that was recorded with a running soterd: ``sent`` or ``received``."""
    return b"".join(row["raw"] for row in live() if row["dir"] == direction)


def chunks(data: bytes, seed: int, largest: int) -> list[bytes]:
    """``data`` in pieces of up to ``largest`` bytes."""
    random, cut, offset = Random(seed), [], 0
    while offset < len(data):
        size = random.randint(1, largest)
        cut.append(data[offset : offset + size])
        offset += size
    return cut


class CaptureCase(TrialCase):
    """Captures in folders that are removed, on a ``Clock``, written at once."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.clock = Clock()
        self.clock.advance(START / 1e6)

    def micros(self) -> int:
        """The clock's time."""
        return round(self.clock.seconds() * 1_000_000)

    def capture(
        self, store: CaptureStore | None = None, start: bool = True, directory: str = "", **options: Any
    ) -> Capture:
        """A capture, which is stopped when the test is over."""
        values: dict[str, Any] = {"micros": self.micros, "in_thread": execute, "store": store, **options}
        capture = Capture(self.folder / directory, self.clock, **values)
        if start:
            capture.startService()
        self.addCleanup(self.stop, capture)
        return capture

    def stop(self, capture: Capture) -> None:
        """Stop a capture, which must be over at once and leave no timer."""
        self.successResultOf(capture.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def close(self, pair: PeerPair | ScriptedPair) -> None:
        """End a connection; nothing may be left of it."""
        peers = (pair.client, pair.server) if isinstance(pair, PeerPair) else (pair.peer,)
        for peer in peers:
            peer.disconnect("the test is over")
        pair.pump()
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def folders(self) -> list[Path]:
        """The folders of connections, by name."""
        return sorted(each for each in self.folder.iterdir() if each.is_dir())

    def only_folder(self) -> Path:
        """The one that there is."""
        (folder,) = self.folders()
        return folder


class RecorderCase(CaptureCase):
    """Peers that are recorded, and what is logged of it as a warning or worse: ``lines``."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []

        def note(event: LogEvent) -> None:
            if event["log_level"] >= LogLevel.warn:
                self.lines.append(formatEvent(event))

        observer: Any = note
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def scripted(self, capture: Capture, **options: Any) -> ScriptedPair:
        """A recorded peer and a scripted remote, closed when the test is over."""
        pair = scripted(clock=self.clock, protocol=capture, **options)
        self.addCleanup(self.end, pair)
        return pair

    def end(self, pair: ScriptedPair) -> None:
        pair.transport.takes = True
        pair.peer.disconnect("the test is over")
        pair.pump()
        self.clock.advance(10)
        pair.pump()
        self.assertIs(pair.peer.state, State.CLOSED)

    def written(self, capture: Capture) -> None:
        """Let what waits be written."""
        self.clock.advance(FLUSH_INTERVAL)
        self.assertEqual(capture.waiting, 0)
