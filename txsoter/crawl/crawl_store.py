"""The file of a crawl: addresses, claims, dropped addresses, and the history of visits by hour and day.

Nothing here knows Twisted. A store is used by one thread at a time, and may go from one to another. Times on the disk
are wall-clock seconds since 1970.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import attrs

from txsoter.networks import Network
from txsoter.service.book.places import Place
from txsoter.state_file import FileKind, StateDamaged, StateError, StateFile, network_name, read_state

__all__ = [
    "FILE",
    "Batch",
    "ClaimRow",
    "CrawlDamaged",
    "CrawlError",
    "CrawlStore",
    "DropRow",
    "NodeRow",
    "Period",
    "Stored",
    "TallyRow",
    "read_crawl",
    "read_history",
    "read_totals",
]

T = TypeVar("T")

FILE = "crawl.sqlite3"
"""The crawl's name in its folder."""

HOUR, DAY = 3600, 86400

HOURS_KEPT = 72
"""Hours after which visits are kept by day, not by hour."""

DAYS_KEPT = 400
"""Days after which visits are forgotten."""

MAX_PERIODS = 4_000_000
"""Rows of the history; the oldest go. A node takes one for each hour and one for each day that it is known."""

_PLACE = """
    ip BLOB NOT NULL CHECK (typeof(ip) = 'blob' AND length(ip) = 16),
    port INTEGER NOT NULL CHECK (typeof(port) = 'integer' AND port BETWEEN 0 AND 65535)"""

_PERIOD = f"""
    start INTEGER NOT NULL,
    {_PLACE.strip()},
    visits INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    latency REAL NOT NULL,
    height INTEGER NOT NULL,
    PRIMARY KEY (start, ip, port)"""

_SCHEMA = f"""
CREATE TABLE node ({_PLACE},
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    last_attempt REAL,
    first_success REAL,
    last_success REAL,
    up_since REAL,
    said_at REAL,
    latency REAL,
    services INTEGER NOT NULL,
    protocol_version INTEGER,
    user_agent BLOB NOT NULL,
    height INTEGER,
    visits INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    outcome TEXT,
    detail TEXT NOT NULL,
    reliability BLOB,
    sources BLOB NOT NULL,
    named INTEGER NOT NULL CHECK (named IN (0, 1)),
    ourselves INTEGER NOT NULL CHECK (ourselves IN (0, 1)),
    alias_ip BLOB,
    alias_port INTEGER,
    PRIMARY KEY (ip, port)
) WITHOUT ROWID;
CREATE TABLE claim ({_PLACE},
    inbound INTEGER NOT NULL CHECK (inbound IN (0, 1)),
    other_ip BLOB NOT NULL CHECK (typeof(other_ip) = 'blob' AND length(other_ip) = 16),
    other_port INTEGER NOT NULL,
    first REAL NOT NULL,
    last REAL NOT NULL,
    connections INTEGER NOT NULL,
    ports BLOB NOT NULL,
    PRIMARY KEY (ip, port, inbound, other_ip, other_port)
) WITHOUT ROWID;
CREATE TABLE dropped ({_PLACE}, moment REAL NOT NULL, why TEXT NOT NULL, PRIMARY KEY (ip, port)) WITHOUT ROWID;
CREATE TABLE visit_hour ({_PERIOD}) WITHOUT ROWID;
CREATE TABLE visit_day ({_PERIOD}) WITHOUT ROWID;
CREATE TABLE total (
    start INTEGER NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (start, name)
) WITHOUT ROWID;
"""


class NodeRow(NamedTuple):
    """An address as it is kept; see :class:`txsoter.crawl.candidate.Candidate`."""

    ip: bytes
    port: int
    first_seen: float
    last_seen: float
    last_attempt: float | None
    first_success: float | None
    last_success: float | None
    up_since: float | None
    said_at: float | None
    latency: float | None
    services: int
    protocol_version: int | None
    user_agent: bytes
    height: int | None
    visits: int
    failures: int
    outcome: str | None
    detail: str
    reliability: bytes | None
    sources: bytes
    named: int
    ourselves: int
    alias_ip: bytes | None
    alias_port: int | None


class ClaimRow(NamedTuple):
    """A claim as it is kept; see :mod:`txsoter.crawl.claims`. Of an inbound one the port is 0."""

    ip: bytes
    port: int
    inbound: int
    other_ip: bytes
    other_port: int
    first: float
    last: float
    connections: int
    ports: bytes


class DropRow(NamedTuple):
    """A dropped address as it is kept."""

    ip: bytes
    port: int
    moment: float
    why: str


class TallyRow(NamedTuple):
    """Visits of one node since the hour ``start``, in seconds since 1970, to be added to those that are kept."""

    start: int
    ip: bytes
    port: int
    visits: int
    successes: int
    latency: float
    height: int


class Period(NamedTuple):
    """Visits of one node in an hour or a day.

    :ivar start: seconds since 1970.
    :ivar seconds: length of the period.
    :ivar latency: seconds, the mean of those that succeeded; None without any.
    :ivar height: the highest that it named.
    """

    start: int
    seconds: int
    visits: int
    successes: int
    latency: float | None
    height: int


class CrawlError(StateError):
    """The store of a crawl, or its folder, that cannot be used."""


class CrawlDamaged(StateDamaged):
    """A store whose file is damaged. It has been set aside, and a new one begun."""

    what = "store of the crawl"


_CRAWL = FileKind(
    what="a store of a crawl",
    file=FILE,
    lock="crawl.lock",
    application=0x736F7463,  # "sotc"
    format=1,
    schema=_SCHEMA,
    tables=frozenset({"node", "claim", "dropped", "visit_hour", "visit_day", "total"}),
    error=CrawlError,
    damaged=CrawlDamaged,
)

_NODE = f"INSERT OR REPLACE INTO node VALUES ({', '.join('?' * len(NodeRow._fields))})"
_CLAIM = f"INSERT OR REPLACE INTO claim VALUES ({', '.join('?' * len(ClaimRow._fields))})"
_ADD = """
INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (start, ip, port) DO UPDATE SET
    visits = visits + excluded.visits, successes = successes + excluded.successes,
    latency = latency + excluded.latency, height = max(height, excluded.height)
"""
_ROLL_UP = f"""
INSERT INTO visit_day
SELECT start / {DAY} * {DAY}, ip, port, sum(visits), sum(successes), sum(latency), max(height)
FROM visit_hour WHERE start < ? GROUP BY start / {DAY}, ip, port
ON CONFLICT (start, ip, port) DO UPDATE SET
    visits = visits + excluded.visits, successes = successes + excluded.successes,
    latency = latency + excluded.latency, height = max(height, excluded.height)
"""


@attrs.frozen(kw_only=True)
class Stored:
    """The contents of a store, without its history."""

    network: str
    nodes: Sequence[NodeRow] = ()
    claims: Sequence[ClaimRow] = ()
    dropped: Sequence[DropRow] = ()


@attrs.frozen(kw_only=True)
class Batch:
    """Changes that are written in one transaction.

    :ivar nodes: addresses that are new or have changed.
    :ivar gone: those to be forgotten.
    :ivar speakers: nodes whose claims are replaced by ``claims``.
    :ivar dropped: addresses that were dropped.
    :ivar undropped: those of which that is to be forgotten.
    :ivar tallies: visits to be added to the history.
    :ivar totals: start of the hour, name and count of the network's totals.
    :ivar now: wall-clock seconds since 1970, for rolling up; None leaves that for later.
    """

    nodes: Sequence[NodeRow] = ()
    gone: Sequence[Place] = ()
    speakers: Sequence[Place] = ()
    claims: Sequence[ClaimRow] = ()
    dropped: Sequence[DropRow] = ()
    undropped: Sequence[Place] = ()
    tallies: Sequence[TallyRow] = ()
    totals: Sequence[tuple[int, str, int]] = ()
    now: float | None = None


class CrawlStore:
    """A crawl's file in a folder, which no other process can use meanwhile.

    :param folder: made if it is not there.
    :param network: whose nodes they are.
    :param seconds: tells the time, for the name of what is set aside.
    :raises CrawlError: when the folder cannot be used, or holds the crawl of something else.
    """

    def __init__(self, folder: Path, network: Network, seconds: Callable[[], float]) -> None:
        self._file = StateFile(folder, _CRAWL, network, seconds)
        self.path = self._file.path

    @property
    def damaged(self) -> StateDamaged | None:
        """The damage that was found when it was opened or read; None without any."""
        return self._file.damaged

    def load(self) -> Stored:
        """All that is kept, after a look at whether the file is whole; see ``damaged`` for what that found."""
        return self._file.read(_read)

    def write(self, batch: Batch) -> None:
        """Keep ``batch``; when this returns it is on the disk.

        :raises CrawlDamaged: when the file turned out to be damaged: the new one has nothing yet, not even what was
            kept before.
        :raises sqlite3.Error: when it cannot be written now; nothing of it is kept then.
        """

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(_NODE, map(_signed, batch.nodes))
            for table, places in (
                ("node", batch.gone),
                ("claim", batch.gone),
                ("claim", batch.speakers),
                ("dropped", batch.undropped),
            ):
                connection.executemany(f"DELETE FROM {table} WHERE ip = ? AND port = ?", places)
            connection.executemany(_CLAIM, batch.claims)
            connection.executemany("INSERT OR REPLACE INTO dropped VALUES (?, ?, ?, ?)", batch.dropped)
            connection.executemany(_ADD.format(table="visit_hour"), batch.tallies)
            connection.executemany("INSERT OR REPLACE INTO total VALUES (?, ?, ?)", batch.totals)
            if batch.now is not None:
                _roll_up(connection, batch.now)

        self._file.write(write)

    def close(self) -> None:
        """Let go of the file, and of the folder."""
        self._file.close()


def read_crawl(folder: Path) -> Stored:
    """Return the contents of a folder's store, whether or not a process uses it; nothing is changed.

    :raises CrawlError: when there is none, or it cannot be read.
    """
    return read_state(folder, _CRAWL, _read)


def read_history(folder: Path, place: Place) -> list[Period]:
    """The visits of one node, oldest first: by day, the latest ones by hour.

    :raises CrawlError: when there is no store, or it cannot be read.
    """

    def rows(connection: sqlite3.Connection) -> list[Period]:
        found = []
        for table, seconds in (("visit_day", DAY), ("visit_hour", HOUR)):
            query = f"SELECT start, visits, successes, latency, height FROM {table} WHERE ip = ? AND port = ?"
            for start, visits, successes, latency, height in connection.execute(f"{query} ORDER BY start", place):
                mean = latency / successes if successes else None
                found.append(Period(start, seconds, visits, successes, mean, height))
        return found

    return read_state(folder, _CRAWL, rows, whole=False)


def read_totals(folder: Path, since: int = 0) -> list[tuple[int, str, int]]:
    """The network's totals by hour: start of the hour in seconds since 1970, name, count; oldest first.

    :raises CrawlError: when there is no store, or it cannot be read.
    """
    query = "SELECT start, name, count FROM total WHERE start >= ? ORDER BY start, name"
    return read_state(folder, _CRAWL, lambda connection: connection.execute(query, (since,)).fetchall(), whole=False)


def _read(connection: sqlite3.Connection) -> Stored:
    return Stored(
        network=network_name(dict(connection.execute("SELECT name, value FROM meta"))),
        nodes=[_unsigned(NodeRow(*row)) for row in connection.execute("SELECT * FROM node")],
        claims=[ClaimRow(*row) for row in connection.execute("SELECT * FROM claim")],
        dropped=[DropRow(*row) for row in connection.execute("SELECT * FROM dropped ORDER BY moment")],
    )


def _roll_up(connection: sqlite3.Connection, now: float) -> None:
    oldest_hour = (int(now) // DAY * DAY) - HOURS_KEPT * HOUR
    oldest_day = int(now) - DAYS_KEPT * DAY
    connection.execute(_ROLL_UP, (oldest_hour,))
    connection.execute("DELETE FROM visit_hour WHERE start < ?", (oldest_hour,))
    connection.execute("DELETE FROM visit_day WHERE start < ?", (oldest_day,))
    connection.execute("DELETE FROM total WHERE start < ?", (oldest_day,))
    for table in ("visit_day", "visit_hour"):
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        if count > MAX_PERIODS:
            oldest = f"SELECT start, ip, port FROM {table} ORDER BY start LIMIT ?"
            connection.execute(f"DELETE FROM {table} WHERE (start, ip, port) IN ({oldest})", (count - MAX_PERIODS,))


def _signed(row: NodeRow) -> NodeRow:
    # 64 bits in SQLite have a sign
    return row._replace(services=row.services - (1 << 64)) if row.services >> 63 else row


def _unsigned(row: NodeRow) -> NodeRow:
    return row._replace(services=row.services + (1 << 64)) if row.services < 0 else row
