"""A directory of captures: what is written, and what goes when there is too much.

Nothing here knows of Twisted: these are the calls that may wait for the disk.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from txsoter.capture.errors import CaptureError, reason_of
from txsoter.capture.folders import FILES, folder_name, is_ours, size_on_disk
from txsoter.capture.records import NOTES, RECEIVED, SENT

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["CaptureStore", "Folder", "Note", "Piece"]

Note = dict[str, Any]
"""A line of ``notes.jsonl``."""

LOCK = ".lock"
"""Held while somebody writes to a directory."""

MAX_NAMES = 1000
"""Folders of one name that are told apart by a number."""


def open_to_append(path: Path) -> int:
    """Open a file to write to its end; it is made, for its owner alone, if it is not there."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)


@attrs.define(eq=False)
class Folder:
    """A connection's place in a store; made without one, which comes with the first piece.

    :ivar time: when the connection began, microseconds since 1970.
    :ivar path: where its pieces go; None when there is none (yet, or any more).
    :ivar part: how many folders it has begun.
    """

    time: int
    address: str
    inbound: bool
    path: Path | None = None
    part: int = 0
    sizes: dict[str, int] = attrs.field(factory=dict)
    before: Path | None = None


@attrs.frozen
class Piece:
    """What is to be written of a connection.

    :ivar folder: whose it is.
    :ivar opening: what a folder begins with, if this makes it begin a new one.
    :ivar recv: whole records of what came, in any pieces.
    :ivar sent: likewise of what went.
    :ivar notes: anything else.
    :ivar last: whether nothing more will come.
    """

    folder: Folder
    opening: Note
    recv: Sequence[bytes] = ()
    sent: Sequence[bytes] = ()
    notes: tuple[Note, ...] = ()
    last: bool = False


class CaptureStore:
    """Folders of connections in a directory.

    :param directory: made if it is not there.
    :param max_total: bytes that all folders together take on the disk: past it, those go that were written to the
        longest ago. None for no limit.
    :param max_connection: bytes of one connection: at half of it a new folder is begun, and the one before the
        last goes. None for no limit.
    :param open_file: for tests of disks that fail.
    :ivar total: bytes that its folders take on the disk.
    """

    def __init__(
        self,
        directory: Path,
        max_total: int | None = None,
        max_connection: int | None = None,
        open_file: Callable[[Path], int] = open_to_append,
    ) -> None:
        self.directory = directory
        self.total = 0
        self._max_total = max_total
        self._max_part = None if max_connection is None else max(1, max_connection // 2)
        self._open = open_file
        # what each takes, the one written to the longest ago first
        self._folders: OrderedDict[Path, int] = OrderedDict()
        self._live: dict[Path, Folder] = {}
        self._lock: int | None = None

    def prepare(self) -> None:
        """Make the directory, keep others from writing to it, and look at what is in it.

        :raises CaptureError: when it cannot be written, or somebody else does.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._locked(self._open(self.directory / LOCK))
            found = [(each, _sizes(each)) for each in self.directory.iterdir() if is_ours(each)]
            ages = {path: max((path / name).stat().st_mtime for name in sizes) for path, sizes in found if sizes}
        except OSError as error:
            self.release()
            raise CaptureError(self.directory, f"cannot be captured to: {reason_of(error)}") from None
        self._folders.clear()
        self._live.clear()
        self.total = 0
        for path, sizes in sorted(found, key=lambda each: (ages.get(each[0], 0.0), each[0])):
            self._account(path, size_on_disk(sizes))

    def reopen(self) -> None:
        """Prepare the directory anew after a failure. Connections go on in new folders.

        :raises CaptureError: when it cannot be written, or somebody else does.
        """
        self.release()
        for folder in self._live.values():
            folder.path = folder.before = None
        self.prepare()

    def _locked(self, file: int) -> int:
        # two that let go of old folders would remove each other's
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(file)
                raise CaptureError(self.directory, "another process captures to it") from None
        return file

    def release(self) -> None:
        """Let others write to the directory."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def write(self, pieces: Iterable[Piece]) -> None:
        """Write what there is, and let go of what is too much.

        :raises OSError: when the disk does not take it: of that piece, whole records only are on it.
        """
        for piece in pieces:
            folder = piece.folder
            self._write(piece)
            self._let_go()
            if piece.last and folder.path is not None:
                self._live.pop(folder.path, None)

    def _write(self, piece: Piece) -> None:
        folder = piece.folder
        files = ((RECEIVED, b"".join(piece.recv)), (SENT, b"".join(piece.sent)), (NOTES, _lines(piece.notes)))
        size = len(files[0][1]) + len(files[1][1])
        if folder.path is not None and not folder.path.exists():
            # somebody has tidied up
            self._remove(folder.path)
        if self._max_part is not None and folder.path is not None:
            has = folder.sizes.get(RECEIVED, 0) + folder.sizes.get(SENT, 0)
            if has and has + size > self._max_part:
                self._live.pop(folder.path, None)
                if folder.before is not None:
                    self._remove(folder.before)
                folder.before, folder.path = folder.path, None
        if folder.path is None:
            folder.part += 1
            self._begin(folder)
            self._append(folder, NOTES, _lines([{**piece.opening, "part": folder.part}]))
        for name, data in files:
            if data:
                self._append(folder, name, data)
        assert folder.path is not None
        self._account(folder.path, size_on_disk(folder.sizes))

    def _begin(self, folder: Folder) -> None:
        name = folder_name(folder.time, folder.address, folder.inbound, folder.part)
        for number in range(1, MAX_NAMES):
            path = self.directory / (name if number == 1 else f"{name}_{number}")
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            folder.path = path
            folder.sizes = {}
            self._live[path] = folder
            return
        raise FileExistsError(f"{MAX_NAMES} folders named {name}")

    def _append(self, folder: Folder, name: str, data: bytes) -> None:
        """Write all of ``data``, or nothing."""
        assert folder.path is not None
        file = self._open(folder.path / name)
        try:
            done = 0
            view = memoryview(data)
            try:
                while done < len(data):
                    done += os.write(file, view[done:])
            except OSError:
                with suppress(OSError):
                    os.ftruncate(file, folder.sizes.get(name, 0))
                raise
        finally:
            os.close(file)
        folder.sizes[name] = folder.sizes.get(name, 0) + len(data)

    def _account(self, path: Path, takes: int) -> None:
        self.total += takes - self._folders.get(path, 0)
        self._folders[path] = takes
        self._folders.move_to_end(path)

    def _let_go(self) -> None:
        """Remove folders until the limit is kept, but not the last, which was just written to."""
        while self._max_total is not None and self.total > self._max_total and len(self._folders) > 1:
            self._remove(next(iter(self._folders)))

    def _remove(self, path: Path) -> None:
        """Remove a folder: the files that are ours, and itself if there are no others."""
        live = self._live.pop(path, None)
        if live is not None:
            # its connection goes on in a new one
            live.path = None
        self.total -= self._folders.pop(path, 0)
        with suppress(OSError):
            for name in FILES:
                (path / name).unlink(missing_ok=True)
            path.rmdir()


def _sizes(folder: Path) -> dict[str, int]:
    sizes = {}
    for name in FILES:
        with suppress(FileNotFoundError):
            sizes[name] = (folder / name).stat().st_size
    return sizes


def _lines(notes: Iterable[Note]) -> bytes:
    return b"".join(json.dumps(note).encode() + b"\n" for note in notes)
