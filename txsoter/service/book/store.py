"""The file of an address book.

Nothing here knows Twisted. A store is used by one thread at a time, and may go from one to another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from secrets import token_bytes

import attrs

from txsoter.networks import Network
from txsoter.service.book.known import Row
from txsoter.service.book.places import Place
from txsoter.state_file import (
    Damage,
    FileKind,
    StateDamaged,
    StateError,
    StateFile,
    network_name,
    read_state,
)

__all__ = ["FILE", "BookDamaged", "BookError", "Changes", "Kept", "Store", "read_book"]

FILE = "book.sqlite3"
"""The book's name in its folder."""

_SCHEMA = """
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

_COLUMNS = ", ".join(Row._fields)
_UPSERT = f"INSERT OR REPLACE INTO address ({_COLUMNS}) VALUES ({', '.join('?' * len(Row._fields))})"


class BookError(StateError):
    """An address book, or its folder, that cannot be used."""


class BookDamaged(StateDamaged):
    """A book whose file is damaged. It has been set aside, and a new one begun."""

    what = "address book"


def _check(meta: Mapping[str, bytes]) -> None:
    if len(meta.get("key", b"")) != 32:
        raise Damage("it does not say whose it is")


_BOOK = FileKind(
    what="an address book",
    file=FILE,
    lock="book.lock",
    application=0x736F7462,  # "sotb"
    format=1,
    schema=_SCHEMA,
    tables=frozenset({"address", "own"}),
    check=_check,
    error=BookError,
    damaged=BookDamaged,
)


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
    :raises BookError: when the folder cannot be used, or holds the book of something else.
    """

    def __init__(self, folder: Path, network: Network, seconds: Callable[[], float], key: bytes | None = None) -> None:
        key = token_bytes(32) if key is None else key
        self._file = StateFile(folder, _BOOK, network, seconds, {"key": key})
        self.path = self._file.path

    @property
    def damaged(self) -> StateDamaged | None:
        """What was found when it was opened or read, if it was damaged; may be set to None."""
        return self._file.damaged

    @damaged.setter
    def damaged(self, value: None) -> None:
        self._file.damaged = value

    def load(self) -> Kept:
        """All that is kept, after a look at whether the file is whole; see ``damaged`` for what that found."""
        return self._file.read(_read)

    def write(self, changes: Changes) -> None:
        """Keep ``changes``; when this returns they are on the disk.

        :raises BookDamaged: when the file turned out to be damaged: the new one has nothing yet, not even what
            was kept before.
        :raises sqlite3.Error: when it cannot be written now; nothing of them is kept then.
        """

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(_UPSERT, map(_signed, changes.rows))
            connection.executemany("DELETE FROM address WHERE ip = ? AND port = ?", changes.gone)
            connection.executemany("INSERT OR IGNORE INTO own (ip, port) VALUES (?, ?)", changes.own)
            connection.executemany("DELETE FROM own WHERE ip = ? AND port = ?", changes.disowned)

        self._file.write(write)

    def close(self) -> None:
        """Let go of the file, and of the folder."""
        self._file.close()


def read_book(folder: Path) -> Kept:
    """What a folder's book holds, whether or not a process uses it; nothing is changed.

    :raises BookError: when there is none, or it cannot be read.
    """
    return read_state(folder, _BOOK, _read)


def _read(connection: sqlite3.Connection) -> Kept:
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    rows = [_unsigned(Row(*row)) for row in connection.execute(f"SELECT {_COLUMNS} FROM address")]
    own = [Place(*row) for row in connection.execute("SELECT ip, port FROM own ORDER BY number")]
    return Kept(network_name(meta), meta["key"], rows, own)


def _signed(row: Row) -> Row:
    # 64 bits in SQLite have a sign
    return row._replace(services=row.services - (1 << 64)) if row.services >> 63 else row


def _unsigned(row: Row) -> Row:
    return row._replace(services=row.services + (1 << 64)) if row.services < 0 else row
