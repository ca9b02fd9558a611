"""``HeaderFile``: the headers of a network in an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from txsoter.chain.light.header_index import HeaderIndex
from txsoter.chain.light.header_record import HeaderRecord
from txsoter.errors import FieldError, MalformedMessage
from txsoter.networks import Network
from txsoter.state_file import Damage, FileKind, StateDamaged, StateError, StateFile
from txsoter.wire.hashes import as_hash

__all__ = ["KIND", "HeaderFile"]


class HeadersDamaged(StateDamaged):
    """A header store whose file is damaged. It has been set aside, and a new one begun."""

    what = "header store"


def _check(meta: Mapping[str, bytes]) -> None:
    if "proofs" not in meta:
        raise Damage("it does not say whether proofs were checked")


KIND = FileKind(
    what="a header store",
    file="headers.sqlite3",
    lock="headers.lock",
    application=0x736F7468,  # "soth"
    format=1,
    # in the order in which they were added, so that parents come first
    schema="""
    CREATE TABLE header (
        number INTEGER PRIMARY KEY,
        height INTEGER NOT NULL CHECK (typeof(height) = 'integer'),
        raw BLOB NOT NULL CHECK (typeof(raw) = 'blob' AND length(raw) >= 84),
        filter_header BLOB CHECK (filter_header IS NULL OR length(filter_header) = 32)
    );
    """,
    tables=frozenset({"header"}),
    check=_check,
    damaged=HeadersDamaged,
)


class HeaderFile:
    """The headers of a network in a folder, which no other process can use meanwhile.

    :param folder: made if it is not there, for this user alone.
    :param network: whose headers they are.
    :param check_proofs: whether the proofs of those that are kept have been checked.
    :param seconds: tells the time, since 1970.
    :ivar file: the file itself.
    :ivar rows: the number of headers that :meth:`load` found.
    :raises StateError: if the folder cannot be used, or holds the headers of another network, or those whose proofs
        have not been checked and should be, or the other way round.
    """

    def __init__(self, folder: Path, network: Network, check_proofs: bool, seconds: Callable[[], float]) -> None:
        self._network = network
        self._check_proofs = check_proofs
        self.rows = 0
        wanted = b"checked" if check_proofs else b"not checked"
        self.file = StateFile(folder, KIND, network, seconds, {"proofs": wanted})
        found = self.file.meta["proofs"]
        if found != wanted:
            self.file.close()
            limit = f"one of proofs that are {wanted.decode()}: that needs another folder"
            problem = f"has headers whose proofs are {found.decode('utf-8', 'replace')}"
            raise StateError(self.file.path, problem, limit)

    def load(self) -> HeaderIndex:
        """Return the index of all headers that are kept; a damaged file is set aside: see ``file.damaged``."""
        return self.file.read(self._read)

    def _read(self, connection: sqlite3.Connection) -> HeaderIndex:
        self.rows = 0
        index = HeaderIndex(self._network, self._check_proofs)
        make, add = HeaderRecord.from_bytes, index.add
        try:
            rows = connection.execute("SELECT number, height, raw, filter_header FROM header ORDER BY number")
            for expected, (number, height, raw, filter_header) in enumerate(rows):
                if number != expected:
                    raise Damage(f"header {expected} is missing")
                record = make(raw, height, None if filter_header is None else as_hash(filter_header))
                if not add(record):
                    if number:
                        raise Damage(f"header {number} is there twice")
                    # the genesis, which the index begins with
                    index.set_filter_header(record.hash, record.filter_header)
                self.rows += 1
        except (FieldError, MalformedMessage) as error:
            raise Damage(str(error)) from None
        return index

    def write(
        self, first: int, records: Sequence[HeaderRecord], filter_headers: Iterable[tuple[int, bytes | None]] = ()
    ) -> None:
        """Keep records behind those that are kept, and filter headers of any, all or none of them.

        :param first: the number of the first: as many are kept.
        :param filter_headers: numbers of records, and what is to be kept.
        :raises StateDamaged: and ``sqlite3.Error``: see :meth:`StateFile.write`.
        """
        rows = [
            (number, record.height, record.raw, record.filter_header) for number, record in enumerate(records, first)
        ]
        changes = [(filter_header, number) for number, filter_header in filter_headers]

        def change(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT INTO header VALUES (?, ?, ?, ?)", rows)
            connection.executemany("UPDATE header SET filter_header = ? WHERE number = ?", changes)

        self.file.write(change)

    def close(self) -> None:
        """Close the file, and let others use the folder."""
        self.file.close()
