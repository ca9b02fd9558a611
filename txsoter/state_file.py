"""A file of state: SQLite, so that it is whole whenever the process or the machine stops.

Nothing here knows Twisted. A file is used by one thread at a time, and may go from one to another.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import attrs

from txsoter.errors import LocalError

__all__ = ["Damage", "FileKind", "StateDamaged", "StateError", "StateFile", "read_state"]

T = TypeVar("T")

_A_FOLDER = "a folder that this user may write to"
_A_FILE = "a file that this user may write to, on a disk with room"


class StateError(LocalError):
    """A file of state, or its folder, that cannot be used.

    :ivar path: the file's or the folder's.
    :ivar problem: the fault, in words.
    :ivar limit: what is allowed, in words.
    """

    def __init__(self, path: Path, problem: str, limit: str) -> None:
        self.path = path
        self.problem = problem
        self.limit = limit
        super().__init__(path, problem, limit)

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; must be {self.limit}"


class StateDamaged(LocalError):
    """A file that is damaged. It has been set aside, and a new one begun.

    :ivar aside: its path now.
    :ivar problem: SQLite's words.
    :ivar noun: the kind of the file, in words.
    """

    def __init__(self, aside: Path, problem: str, noun: str = "file") -> None:
        self.aside = aside
        self.problem = problem
        self.noun = noun
        super().__init__(aside, problem, noun)

    def __str__(self) -> str:
        return f"the {self.noun} was damaged ({self.problem}): it is now {self.aside}, and a new one has been begun"


class Damage(Exception):
    """Contents that show that a file is damaged, where SQLite does not see it."""


@attrs.frozen
class FileKind:
    """A kind of files.

    :ivar noun: in words, with an article: "an address book".
    :ivar name: of the file; that of the lock has ``.lock`` for its extension.
    :ivar application: SQLite's application id.
    :ivar format: the version of the schema.
    :ivar tables: statements that create each, by name, without ``meta``, which each file has.
    """

    noun: str
    name: str
    application: int
    format: int
    tables: Mapping[str, str]


class StateFile:
    """An SQLite file in a folder, which no other process can use meanwhile.

    :param folder: made if it is not there, for this user alone.
    :param kind: of the file.
    :param meta: what its table ``meta`` begins with: names and bytes.
    :param check: raises :exc:`StateError` for the ``meta`` of something else.
    :param seconds: tells the time, since 1970, for the name of what is set aside.
    :ivar path: the file's.
    :ivar meta: what its table ``meta`` has of those names.
    :ivar damaged: what was found when it was opened or read, if it was damaged.
    :raises StateError: if the folder cannot be used, or holds the file of something else.
    """

    def __init__(
        self,
        folder: Path,
        kind: FileKind,
        meta: Mapping[str, bytes],
        check: Callable[[dict[str, bytes]], object],
        seconds: Callable[[], float],
    ) -> None:
        self.path = folder / kind.name
        self.meta = dict(meta)
        self.damaged: StateDamaged | None = None
        self._folder = folder
        self._kind = kind
        self._check = check
        self._seconds = seconds
        # None after damage, if no new file could be begun yet
        self._connection: sqlite3.Connection | None = None
        self._lost: StateDamaged | None = None
        self._lock = _locked(folder, self.path.with_suffix(".lock"))
        try:
            self._connection = self._open()
        except BaseException:
            self._lock.close()
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            try:
                return self._connect()
            except (sqlite3.DatabaseError, Damage) as error:
                if not _is_damage(error):
                    raise
                self.damaged = self._set_aside(error)
                return self._connect()
        except (sqlite3.Error, OSError) as error:
            raise StateError(self.path, _words(error), _A_FILE) from None

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # each commit reaches the disk: a power cut takes back nothing either
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_size_limit = 4194304")
            if _is_empty(connection):
                self._begin(connection)
            found = checked_meta(connection, self.path, self._kind, self.meta)
            self._check(found)
            # a file that is begun anew has the same
            self.meta = {name: found[name] for name in self.meta}
            with _transaction(connection):
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('opened', ?)", (b"%d" % self._seconds(),))
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin(self, connection: sqlite3.Connection) -> None:
        kind = self._kind
        try:
            connection.executescript(
                f"""BEGIN;
                PRAGMA application_id = {kind.application};
                PRAGMA user_version = {kind.format};
                CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
                {"".join(kind.tables.values())}"""
            )
            connection.executemany("INSERT INTO meta VALUES (?, ?)", self.meta.items())
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _set_aside(self, error: Exception) -> StateDamaged:
        """Give the file, and what belongs to it, another name."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._seconds()))
        number, aside = 1, self._folder / f"{self._kind.name}.damaged-{stamp}"
        while aside.exists():
            number += 1
            aside = self._folder / f"{self._kind.name}.damaged-{stamp}-{number}"
        self.path.rename(aside)
        with suppress(FileNotFoundError):
            Path(f"{self.path}-wal").rename(f"{aside}-wal")
        with suppress(FileNotFoundError):
            Path(f"{self.path}-shm").unlink()
        return StateDamaged(aside, str(error), self._kind.noun.partition(" ")[2])

    def _renew(self, error: Exception) -> StateDamaged:
        """Set the file aside, and begin a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        damaged = self._lost = self._set_aside(error)
        self._connection = self._connect()
        return damaged

    def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``function`` makes of the file, after a look at whether it is whole.

        If it is damaged, or ``function`` raises :exc:`Damage`, it is of a new file: see ``damaged``.
        """
        assert self._connection is not None
        try:
            check_whole(self._connection)
            return function(self._connection)
        except (sqlite3.DatabaseError, Damage) as error:
            if not _is_damage(error):
                raise
            self.damaged = self._renew(error)
            return function(self._connection)

    def write(self, function: Callable[[sqlite3.Connection], object]) -> None:
        """Let ``function`` change the file in a transaction; when this returns, the changes are on the disk.

        :raises StateDamaged: if the file turned out to be damaged: the new one has nothing yet, not even what was kept
            before.
        :raises sqlite3.Error: if it cannot be written now; nothing has changed then.
        """
        if self._connection is None:
            self._connection = self._connect()
            assert self._lost is not None
            raise self._lost
        try:
            with _transaction(self._connection) as connection:
                function(connection)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            raise self._renew(error) from None

    def close(self) -> None:
        """Close the file, and let others use the folder."""
        try:
            if self._connection is not None:
                self._connection.close()
        finally:
            self._lock.close()


def read_state(folder: Path, kind: FileKind, meta: Iterable[str], read: Callable[[sqlite3.Connection], T]) -> T:
    """Return what ``read`` makes of a folder's file, whether or not a process uses it; nothing is changed.

    :param meta: names that its table ``meta`` must have.
    :raises StateError: if there is none, or it cannot be read.
    """
    path, limit = folder / kind.name, f"{kind.noun} that this user may read"
    try:
        if not path.exists():
            raise StateError(folder, f"has no {kind.name}", f"a folder with {kind.noun}")
    except PermissionError as error:
        raise StateError(folder, f"cannot be used: {_words(error)}", "a folder that this user may read") from None
    # without a process that uses it there is nothing beside the file, and nothing needs to be put there
    alone = "" if Path(f"{path}-wal").exists() else "&immutable=1"
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{alone}", timeout=5.0, uri=True)
        try:
            checked_meta(connection, path, kind, meta)
            check_whole(connection)
            return read(connection)
        finally:
            connection.close()
    except Damage as error:
        raise StateError(path, f"is damaged: {error}", limit) from None
    except sqlite3.Error as error:
        problem = f"is damaged: {error}" if _is_damage(error) else _words(error)
        raise StateError(path, problem, limit) from None


def checked_meta(connection: sqlite3.Connection, path: Path, kind: FileKind, names: Iterable[str]) -> dict[str, bytes]:
    """Return the table ``meta`` of a file.

    :param names: that it must have.
    :raises StateError: for something else's file, or one of another format.
    :raises Damage: for one that lacks a table, or a name.
    """
    if _pragma(connection, "application_id") != kind.application:
        raise StateError(path, "is something else's database", f"{kind.noun}, or not there yet")
    version = _pragma(connection, "user_version")
    if version != kind.format:
        limit = f"in format {kind.format}: another version of txsoter wrote it"
        raise StateError(path, f"is in format {version}", limit)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables >= {"meta", *kind.tables}:
        raise Damage("it lacks a table")
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    if not meta.keys() >= set(names):
        raise Damage("it does not say whose it is")
    return meta


def check_whole(connection: sqlite3.Connection) -> None:
    """Check that a file is whole.

    :raises Damage: and ``sqlite3.DatabaseError``: if it is not.
    """
    (problem,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if problem != "ok":
        raise Damage(" ".join(problem.split()))


def _locked(folder: Path, path: Path) -> sqlite3.Connection:
    """Keep other processes out until this is closed, or the process ends, however it does.

    The lock is SQLite's own, on a file that stays empty: where SQLite works this does, too.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # not to one that is there: closing it would give up the lock that this very process may hold
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        problem = "is no folder" if folder.exists() and not folder.is_dir() else f"cannot be used: {_words(error)}"
        raise StateError(folder, problem, _A_FOLDER) from None
    lock = None
    try:
        lock = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        if lock is not None:
            lock.close()
        if "locked" in str(error):
            raise StateError(folder, "another process uses it", "a folder of its own for each process") from None
        raise StateError(folder, f"cannot be used: {_words(error)}", _A_FOLDER) from None
    return lock


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Tell whether a file is new: nothing is in it, and nobody has called it theirs."""
    marks = (_pragma(connection, "application_id"), _pragma(connection, "user_version"))
    return marks == (0, 0) and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _is_damage(error: Exception) -> bool:
    # a disk that is full or a lock is an OperationalError; what is left is a file that is none, or malformed
    return isinstance(error, Damage) or type(error) is sqlite3.DatabaseError


def _words(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
