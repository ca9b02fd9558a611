"""The file of an address book: SQLite, so that it is whole whenever the process or the machine stops.

Nothing here knows Twisted. A store is used by one thread at a time, and may go from one to another.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_bytes
from typing import Any

import attrs

from txsoter.errors import LocalError
from txsoter.networks import Network
from txsoter.service.book.known import Row
from txsoter.service.book.places import Place

__all__ = ["FILE", "BookDamaged", "BookError", "Changes", "Kept", "Store", "read_book"]

FILE = "book.sqlite3"
"""The book's name in its folder."""

LOCK = "book.lock"

APPLICATION = 0x736F7462  # "sotb"
FORMAT = 1

_SCHEMA = f"""
BEGIN;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE address (
    ip BLOB NOT NULL CHECK (typeof(ip) = 'blob' AND length(ip) = 16),
    port INTEGER NOT NULL CHECK (typeof(port) = 'integer' AND port BETWEEN 1 AND 65535),
    services INTEGER NOT NULL CHECK (typeof(services) = 'integer'),
    source BLOB NOT NULL CHECK (typeof(source) = 'blob' AND length(source) = 16),
    seen INTEGER NOT NULL CHECK (typeof(seen) = 'integer' AND seen >= 0),
    attempted INTEGER NOT NULL CHECK (typeof(attempted) = 'integer' AND attempted >= 0),
    counted INTEGER NOT NULL CHECK (typeof(counted) = 'integer' AND counted >= 0),
    attempts INTEGER NOT NULL CHECK (typeof(attempts) = 'integer' AND attempts >= 0),
    succeeded INTEGER NOT NULL CHECK (typeof(succeeded) = 'integer' AND succeeded >= 0),
    tried INTEGER NOT NULL CHECK (tried IN (0, 1)),
    slots BLOB NOT NULL CHECK (typeof(slots) = 'blob' AND length(slots) % 2 = 0),
    PRIMARY KEY (ip, port)
) WITHOUT ROWID;
CREATE TABLE own (
    number INTEGER PRIMARY KEY,
    ip BLOB NOT NULL CHECK (typeof(ip) = 'blob' AND length(ip) = 16),
    port INTEGER NOT NULL CHECK (typeof(port) = 'integer' AND port BETWEEN 1 AND 65535),
    UNIQUE (ip, port)
);
"""

_TABLES = {"meta", "address", "own"}
_COLUMNS = ", ".join(Row._fields)
_UPSERT = f"INSERT OR REPLACE INTO address ({_COLUMNS}) VALUES ({', '.join('?' * len(Row._fields))})"

_A_FOLDER = "a folder that this user may write to"


class BookError(LocalError):
    """An address book, or its folder, that cannot be used.

    :ivar path: of what.
    :ivar problem: what is wrong with it, in words.
    :ivar limit: what is allowed, in words.
    """

    def __init__(self, path: Path, problem: str, limit: str) -> None:
        self.path = path
        self.problem = problem
        self.limit = limit
        super().__init__(path, problem, limit)

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; must be {self.limit}"


class BookDamaged(LocalError):
    """A book whose file is damaged. It has been set aside, and a new one begun.

    :ivar aside: where it is now.
    :ivar problem: what SQLite says.
    """

    def __init__(self, aside: Path, problem: str) -> None:
        self.aside = aside
        self.problem = problem
        super().__init__(aside, problem)

    def __str__(self) -> str:
        return f"the address book was damaged ({self.problem}): it is now {self.aside}, and a new one has been begun"


class _Damage(Exception):
    """What shows that a file is damaged, other than what SQLite raises."""


@attrs.frozen
class Kept:
    """What a book holds.

    :ivar key: secret: which slots addresses may stand in follows from it.
    """

    network: str
    key: bytes = attrs.field(repr=False)
    rows: Sequence[Row] = ()
    own: Sequence[Place] = ()


@attrs.frozen
class Changes:
    """What is written at once: all of it, or nothing.

    :ivar rows: addresses that are new or have changed.
    :ivar gone: those to be forgotten.
    :ivar own: places that are our own.
    :ivar disowned: those that are not any more.
    """

    rows: Sequence[Row] = ()
    gone: Sequence[Place] = ()
    own: Sequence[Place] = ()
    disowned: Sequence[Place] = ()


class Store:
    """A book's file in a folder, which no other process can use meanwhile.

    :param folder: made if it is not there.
    :param network: whose addresses they are.
    :param seconds: tells the time, for the name of what is set aside.
    :param key: of a book that is begun, 32 bytes that nobody can guess; by default new ones.
    :ivar damaged: what was found when it was opened, if it was damaged.
    :raises BookError: when the folder cannot be used, or holds the book of something else.
    """

    def __init__(self, folder: Path, network: Network, seconds: Callable[[], float], key: bytes | None = None) -> None:
        self.path = folder / FILE
        self.damaged: BookDamaged | None = None
        self._folder = folder
        self._network = network
        self._seconds = seconds
        self._key = token_bytes(32) if key is None else key
        # None after damage, when no new file could be begun yet
        self._connection: sqlite3.Connection | None = None
        self._lost: BookDamaged | None = None
        self._lock = _locked(folder)
        try:
            self._connection = self._open()
        except BaseException:
            self._lock.close()
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            try:
                return self._connect()
            except (sqlite3.DatabaseError, _Damage) as error:
                if not _is_damage(error):
                    raise
                self.damaged = BookDamaged(self._set_aside(), str(error))
                return self._connect()
        except (sqlite3.Error, OSError) as error:
            raise BookError(
                self.path, _words(error), "a file that this user may write to, on a disk with room"
            ) from None

    def _connect(self) -> sqlite3.Connection:
        # it names peers, and holds a secret
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # each commit reaches the disk: a power cut takes back nothing either
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_size_limit = 4194304")
            if _is_empty(connection):
                self._begin(connection)
            meta = _checked_meta(connection, self.path)
            if (meta["magic"], meta["genesis"]) != self._identity():
                limit = f"that of {self._network.name}: another network needs another folder"
                raise BookError(self.path, f"is the address book of {_name(meta)}", limit)
            self._key = meta["key"]
            with _transaction(connection):
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('opened', ?)", (str(int(self._seconds())),))
        except BaseException:
            connection.close()
            raise
        return connection

    def _identity(self) -> tuple[bytes, bytes]:
        return self._network.magic.to_bytes(4, "big"), bytes(self._network.genesis_hash)

    def _begin(self, connection: sqlite3.Connection) -> None:
        magic, genesis = self._identity()
        meta = {"network": self._network.name.encode(), "magic": magic, "genesis": genesis, "key": self._key}
        try:
            connection.executescript(_SCHEMA)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _set_aside(self) -> Path:
        """Give the file, and what belongs to it, another name, which is returned."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._seconds()))
        number, aside = 1, self._folder / f"{FILE}.damaged-{stamp}"
        while aside.exists():
            number += 1
            aside = self._folder / f"{FILE}.damaged-{stamp}-{number}"
        self.path.rename(aside)
        with suppress(FileNotFoundError):
            Path(f"{self.path}-wal").rename(f"{aside}-wal")
        with suppress(FileNotFoundError):
            Path(f"{self.path}-shm").unlink()
        return aside

    def _renew(self, error: Exception) -> BookDamaged:
        """Set the file aside, and begin a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        damaged = self._lost = BookDamaged(self._set_aside(), str(error))
        self._connection = self._connect()
        return damaged

    # -- using it ------------------------------------------------------------------------------

    def load(self) -> Kept:
        """All that is kept, after a look at whether the file is whole; see ``damaged`` for what that found."""
        assert self._connection is not None
        try:
            return _read(self._connection, self.path)
        except (sqlite3.DatabaseError, _Damage) as error:
            if not _is_damage(error):
                raise
            self.damaged = self._renew(error)
            return _read(self._connection, self.path)

    def write(self, changes: Changes) -> None:
        """Keep ``changes``; when this returns they are on the disk.

        :raises BookDamaged: when the file turned out to be damaged: the new one has nothing yet, not even what
            was kept before.
        :raises sqlite3.Error: when it cannot be written now; nothing of them is kept then.
        """
        if self._connection is None:
            self._connection = self._connect()
            assert self._lost is not None
            raise self._lost
        try:
            with _transaction(self._connection) as connection:
                connection.executemany(_UPSERT, map(_signed, changes.rows))
                connection.executemany("DELETE FROM address WHERE ip = ? AND port = ?", changes.gone)
                connection.executemany("INSERT OR IGNORE INTO own (ip, port) VALUES (?, ?)", changes.own)
                connection.executemany("DELETE FROM own WHERE ip = ? AND port = ?", changes.disowned)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            raise self._renew(error) from None

    def close(self) -> None:
        """Let go of the file, and of the folder."""
        try:
            if self._connection is not None:
                self._connection.close()
        finally:
            self._lock.close()


def read_book(folder: Path) -> Kept:
    """What a folder's book holds, whether or not a process uses it; nothing is changed.

    :raises BookError: when there is none, or it cannot be read.
    """
    path, limit = folder / FILE, "an address book that this user may read"
    try:
        if not path.exists():
            raise BookError(folder, f"has no {FILE}", "a folder with an address book")
    except PermissionError as error:
        raise BookError(folder, f"cannot be used: {_words(error)}", "a folder that this user may read") from None
    # without a process that uses it there is nothing beside the file, and nothing needs to be put there
    alone = "" if Path(f"{path}-wal").exists() else "&immutable=1"
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{alone}", timeout=5.0, uri=True)
        try:
            return _read(connection, path)
        finally:
            connection.close()
    except _Damage as error:
        raise BookError(path, f"is damaged: {error}", limit) from None
    except sqlite3.Error as error:
        problem = f"is damaged: {error}" if _is_damage(error) else _words(error)
        raise BookError(path, problem, limit) from None


def _locked(folder: Path) -> sqlite3.Connection:
    """Keep other processes out until this is closed, or the process ends, however it does.

    The lock is SQLite's own, on a file that stays empty: where SQLite works this does, too.
    """
    path = folder / LOCK
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # not to one that is there: closing it would give up the lock that this very process may hold
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        problem = "is no folder" if folder.exists() and not folder.is_dir() else f"cannot be used: {_words(error)}"
        raise BookError(folder, problem, _A_FOLDER) from None
    lock = None
    try:
        lock = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        if lock is not None:
            lock.close()
        if "locked" in str(error):
            raise BookError(folder, "another process uses it", "a folder of its own for each process") from None
        raise BookError(folder, f"cannot be used: {_words(error)}", _A_FOLDER) from None
    return lock


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Whether a file is new: nothing is in it, and nobody has called it theirs."""
    marks = (_pragma(connection, "application_id"), _pragma(connection, "user_version"))
    return marks == (0, 0) and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _checked_meta(connection: sqlite3.Connection, path: Path) -> dict[str, bytes]:
    """What the book says of itself."""
    if _pragma(connection, "application_id") != APPLICATION:
        raise BookError(path, "is something else's database", "an address book, or not there yet")
    version = _pragma(connection, "user_version")
    if version != FORMAT:
        raise BookError(path, f"is in format {version}", f"in format {FORMAT}: another version of txsoter wrote it")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables >= _TABLES:
        raise _Damage("it lacks a table")
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    if not meta.keys() >= {"network", "magic", "genesis", "key"} or len(meta["key"]) != 32:
        raise _Damage("it does not say whose it is")
    return meta


def _read(connection: sqlite3.Connection, path: Path) -> Kept:
    meta = _checked_meta(connection, path)
    (problem,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if problem != "ok":
        raise _Damage(" ".join(problem.split()))
    rows = [_unsigned(Row(*row)) for row in connection.execute(f"SELECT {_COLUMNS} FROM address")]
    own = [Place(*row) for row in connection.execute("SELECT ip, port FROM own ORDER BY number")]
    return Kept(_name(meta), meta["key"], rows, own)


def _name(meta: dict[str, bytes]) -> str:
    return meta["network"].decode("utf-8", "replace")


def _signed(row: Row) -> Row:
    # 64 bits in SQLite have a sign
    return row._replace(services=row.services - (1 << 64)) if row.services >> 63 else row


def _unsigned(row: Row) -> Row:
    return row._replace(services=row.services + (1 << 64)) if row.services < 0 else row


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
    return isinstance(error, _Damage) or type(error) is sqlite3.DatabaseError


def _words(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
