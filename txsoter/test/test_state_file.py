"""The files of a service's state; more of them is tested where they are used: the address book's, the headers'."""

from __future__ import annotations

import sqlite3
from typing import Any

from txsoter import SIMNET
from txsoter.errors import LocalError
from txsoter.state_file import Damage, FileKind, StateDamaged, StateError, StateFile, read_state
from txsoter.test.service.book.support import NOW, FolderCase


class DiaryDamaged(StateDamaged):
    what = "diary"


KIND = FileKind(
    what="a diary",
    file="diary.sqlite3",
    lock="diary.lock",
    application=0x64696172,
    format=3,
    schema="CREATE TABLE entry (words TEXT);",
    tables=frozenset({"entry"}),
    damaged=DiaryDamaged,
)


class StateFileTests(FolderCase):
    def open(self, **meta: bytes) -> StateFile:
        file = StateFile(self.folder, KIND, SIMNET, lambda: NOW, meta)
        self.addCleanup(file.close)
        return file

    def entries(self, connection: sqlite3.Connection) -> list[str]:
        return [words for (words,) in connection.execute("SELECT words FROM entry")]

    def test_each_commit_reaches_the_disk(self) -> None:
        """A write-ahead log, synced at each commit."""
        connection = self.open()._connection
        assert connection is not None
        self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone(), ("wal",))
        self.assertEqual(connection.execute("PRAGMA synchronous").fetchone(), (2,))

    def test_what_it_says_of_itself_stays_when_it_is_opened_again_and_when_it_is_begun_anew(self) -> None:
        self.open(secret=b"first").close()
        file = self.open(secret=b"second")
        self.assertEqual(file.meta, {"secret": b"first"})

        def damaged(connection: sqlite3.Connection) -> None:
            if not found:
                found.append(1)
                raise Damage("it makes no sense")

        found: list[int] = []
        file.read(damaged)
        assert file.damaged is not None
        self.assertIn("the diary was damaged (it makes no sense): it is now ", str(file.damaged))
        file.close()
        self.assertEqual(self.open(secret=b"third").meta, {"secret": b"first"})

    def test_read_while_it_is_used(self) -> None:
        file = self.open()
        file.write(lambda connection: connection.execute("INSERT INTO entry VALUES ('dear diary')"))
        self.assertEqual(read_state(self.folder, KIND, self.entries), ["dear diary"])
        file.write(lambda connection: connection.execute("DELETE FROM meta WHERE name = 'magic'"))
        error: Any = self.assertRaises(StateError, read_state, self.folder, KIND, self.entries)
        self.assertIn("is damaged: it does not say whose it is; must be a diary that this user may read", str(error))

    def test_errors_are_the_callers_and_can_be_copied(self) -> None:
        for error in (StateError(self.folder, "is bad", "good"), DiaryDamaged(self.folder, "malformed")):
            self.assertIsInstance(error, LocalError)
            self.assertEqual(str(type(error)(*error.args)), str(error))
