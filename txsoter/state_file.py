"""A SQLite file in the folder of ``--state``: whole whenever the process or the machine stops, and used by one process.

Nothing here knows Twisted. A file is used by one thread at a time, and may go from one to another.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import attrs

from txsoter.errors import LocalError
from txsoter.networks import Network

__all__ = ["Damage", "FileKind", "StateDamaged", "StateError", "StateFile", "network_name", "read_state", "transaction"]

T = TypeVar("T")

_A_FOLDER = "a folder that this user may write to"

_OWN_META = ("network", "magic", "genesis")


class StateError(LocalError):
    """A file of ``--state``, or its folder, that cannot be used.

    :ivar path: of what.
    :ivar problem: the fault, in words.
    :ivar limit: the allowed values, in words.
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
    :ivar problem: the fault, in SQLite's words or ours.
    :cvar what: the kind of the file, in words.
    """

    what = "file"

    def __init__(self, aside: Path, problem: str) -> None:
        self.aside = aside
        self.problem = problem
        super().__init__(aside, problem)

    def __str__(self) -> str:
        return f"the {self.what} was damaged ({self.problem}): it is now {self.aside}, and a new one has been begun"


class Damage(Exception):
    """A sign that a file is damaged, besides the errors of SQLite."""


@attrs.frozen(kw_only=True)
class FileKind:
    """One kind of file.

    :ivar what: in words, with its article: "an address book".
    :ivar file: its name in the folder.
    :ivar lock: the name of the file that keeps other processes out.
    :ivar application: SQLite's ``application_id``.
    :ivar format: SQLite's ``user_version``.
    :ivar schema: statements that make its tables, besides ``meta``.
    :ivar tables: names of all tables.
    :ivar check: raises :exc:`Damage` for a ``meta`` table that cannot be.
    :ivar error: raised when it cannot be used.
    :ivar damaged: raised when it turned out to be damaged.
    """

    what: str
    file: str
    lock: str
    application: int
    format: int
    schema: str
    tables: frozenset[str]
    check: Callable[[Mapping[str, bytes]], object] = lambda meta: None
    error: type[StateError] = StateError
    damaged: type[StateDamaged] = StateDamaged

    @property
    def noun(self) -> str:
        """The words without their article."""
        return self.what.partition(" ")[2]


class StateFile:
    """A file in a folder, which no other process can use meanwhile.

    :param folder: made if it is not there.
    :param network: whose data it has.
    :param seconds: tells the time, for the name of what is set aside.
    :param meta: other values of the ``meta`` table of a file that is begun.
    :ivar damaged: the damage found when it was opened or read, or None.
    :ivar meta: the ``meta`` table.
    :raises StateError: of the kind's own class, when the folder cannot be used, or holds the file of something else.
    """

    def __init__(
        self,
        folder: Path,
        kind: FileKind,
        network: Network,
        seconds: Callable[[], float],
        meta: Mapping[str, bytes] | None = None,
    ) -> None:
        self.path = folder / kind.file
        self.damaged: StateDamaged | None = None
        self.meta: dict[str, bytes] = dict(meta or {})
        self._folder = folder
        self._kind = kind
        self._network = network
        self._seconds = seconds
        # None after damage, when no new file could be begun yet
        self._connection: sqlite3.Connection | None = None
        self._lost: StateDamaged | None = None
        self._lock = _locked(folder, kind)
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
                self.damaged = self._kind.damaged(self._set_aside(), str(error))
                return self._connect()
        except (sqlite3.Error, OSError) as error:
            limit = "a file that this user may write to, on a disk with room"
            raise self._kind.error(self.path, _words(error), limit) from None

    def _connect(self) -> sqlite3.Connection:
        # it names peers, and may hold a secret
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # each commit reaches the disk: a power cut takes back nothing either
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_size_limit = 4194304")
            if _is_empty(connection):
                self._begin(connection)
            meta = _checked_meta(connection, self.path, self._kind)
            identity = self._identity()
            if (meta["magic"], meta["genesis"]) != (identity["magic"], identity["genesis"]):
                limit = f"that of {self._network.name}: another network needs another folder"
                raise self._kind.error(self.path, f"is the {self._kind.noun} of {network_name(meta)}", limit)
            self.meta = {name: value for name, value in meta.items() if name not in (*_OWN_META, "opened")}
            with transaction(connection):
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('opened', ?)", (str(int(self._seconds())),))
        except BaseException:
            connection.close()
            raise
        return connection

    def _identity(self) -> dict[str, bytes]:
        network = self._network
        values = (network.name.encode(), network.magic.to_bytes(4, "big"), bytes(network.genesis_hash))
        return dict(zip(_OWN_META, values, strict=True))

    def _begin(self, connection: sqlite3.Connection) -> None:
        schema = f"""
            BEGIN;
            PRAGMA application_id = {self._kind.application};
            PRAGMA user_version = {self._kind.format};
            CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
            {self._kind.schema}
        """
        try:
            connection.executescript(schema)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", {**self._identity(), **self.meta}.items())
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _set_aside(self) -> Path:
        """Give the file, and what belongs to it, another name, which is returned."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._seconds()))
        name = f"{self._kind.file}.damaged-{stamp}"
        number, aside = 1, self._folder / name
        while aside.exists():
            number += 1
            aside = self._folder / f"{name}-{number}"
        self.path.rename(aside)
        with suppress(FileNotFoundError):
            Path(f"{self.path}-wal").rename(f"{aside}-wal")
        with suppress(FileNotFoundError):
            Path(f"{self.path}-shm").unlink()
        return aside

    def _renew(self, error: Exception) -> StateDamaged:
        """Set the file aside, and begin a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        damaged = self._lost = self._kind.damaged(self._set_aside(), str(error))
        self._connection = self._connect()
        return damaged

    # -- using it ------------------------------------------------------------------------------

    def read(self, rows: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``rows`` reads, once the file was found whole; see ``damaged`` for what was found."""
        assert self._connection is not None
        try:
            return _read(self._connection, self.path, self._kind, rows)
        except (sqlite3.DatabaseError, Damage) as error:
            if not _is_damage(error):
                raise
            self.damaged = self._renew(error)
            return _read(self._connection, self.path, self._kind, rows)

    def write(self, rows: Callable[[sqlite3.Connection], object]) -> None:
        """Let ``rows`` write all of it or nothing; when this returns it is on the disk.

        :raises StateDamaged: of the kind's own class, when the file turned out to be damaged: the new one has nothing
            yet, not even what was kept before.
        :raises sqlite3.Error: when it cannot be written now; nothing of it is kept then.
        """
        if self._connection is None:
            self._connection = self._connect()
            assert self._lost is not None
            raise self._lost
        try:
            with transaction(self._connection) as connection:
                rows(connection)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            raise self._renew(error) from None

    def close(self) -> None:
        """Close the file, and release the folder."""
        try:
            if self._connection is not None:
                self._connection.close()
        finally:
            self._lock.close()


def read_state(folder: Path, kind: FileKind, rows: Callable[[sqlite3.Connection], T], whole: bool = True) -> T:
    """Return what ``rows`` reads from a folder's file, whether or not a process uses it; nothing is changed.

    :param whole: look first at whether all of the file is in order, which takes as long as reading all of it.
    :raises StateError: of the kind's own class, when there is none, or it cannot be read.
    """
    path, limit = folder / kind.file, f"{kind.what} that this user may read"
    try:
        if not path.exists():
            raise kind.error(folder, f"has no {kind.file}", f"a folder with {kind.what}")
    except PermissionError as error:
        raise kind.error(folder, f"cannot be used: {_words(error)}", "a folder that this user may read") from None
    # without a process that uses it there is nothing beside the file, and nothing needs to be put there
    alone = "" if Path(f"{path}-wal").exists() else "&immutable=1"
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{alone}", timeout=5.0, uri=True)
        try:
            return _read(connection, path, kind, rows, whole)
        finally:
            connection.close()
    except Damage as error:
        raise kind.error(path, f"is damaged: {error}", limit) from None
    except sqlite3.Error as error:
        problem = f"is damaged: {error}" if _is_damage(error) else _words(error)
        raise kind.error(path, problem, limit) from None


def network_name(meta: Mapping[str, bytes]) -> str:
    """Return the name of the network whose data a file has."""
    return meta["network"].decode("utf-8", "replace")


def _locked(folder: Path, kind: FileKind) -> sqlite3.Connection:
    """Keep other processes out until this is closed, or the process ends, however it does.

    The lock is SQLite's own, on a file that stays empty: where SQLite works this does, too.
    """
    path = folder / kind.lock
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # not to one that is there: closing it would give up the lock that this very process may hold
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        problem = "is no folder" if folder.exists() and not folder.is_dir() else f"cannot be used: {_words(error)}"
        raise kind.error(folder, problem, _A_FOLDER) from None
    lock = None
    try:
        lock = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        if lock is not None:
            lock.close()
        if "locked" in str(error):
            raise kind.error(folder, "another process uses it", "a folder of its own for each process") from None
        raise kind.error(folder, f"cannot be used: {_words(error)}", _A_FOLDER) from None
    return lock


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Return whether a file is new: nothing is in it, and no application has marked it."""
    marks = (_pragma(connection, "application_id"), _pragma(connection, "user_version"))
    return marks == (0, 0) and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _checked_meta(connection: sqlite3.Connection, path: Path, kind: FileKind) -> dict[str, bytes]:
    """Return the table ``meta``, once application, format and tables are those of the kind."""
    if _pragma(connection, "application_id") != kind.application:
        raise kind.error(path, "is something else's database", f"{kind.what}, or not there yet")
    version = _pragma(connection, "user_version")
    if version != kind.format:
        limit = f"in format {kind.format}: another version of txsoter wrote it"
        raise kind.error(path, f"is in format {version}", limit)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables >= {"meta", *kind.tables}:
        raise Damage("it lacks a table")
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    if not meta.keys() >= set(_OWN_META):
        raise Damage("it does not say whose it is")
    kind.check(meta)
    return meta


def _read(
    connection: sqlite3.Connection,
    path: Path,
    kind: FileKind,
    rows: Callable[[sqlite3.Connection], T],
    whole: bool = True,
) -> T:
    _checked_meta(connection, path, kind)
    if whole:
        (problem,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if problem != "ok":
            raise Damage(" ".join(problem.split()))
    return rows(connection)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Write all of it, or nothing."""
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
