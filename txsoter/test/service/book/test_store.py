"""The book's file: what it keeps, whose it is, and what becomes of one that is damaged."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock, patch

from txsoter.networks import REGTEST, SIMNET, TESTNET1, Network
from txsoter.service.book.known import Row
from txsoter.service.book.places import Place
from txsoter.service.book.store import FILE, BookDamaged, BookError, Changes, Kept, Store, read_book
from txsoter.state_file import StateFile
from txsoter.test.programs import ROOT
from txsoter.test.service.book.support import NOW, SOURCE, FolderCase, at, ip


def row(number: int = 1, **changes: Any) -> Row:
    """An address as it is kept."""
    plain = Row(
        ip(f"1.2.{number // 256}.{number % 256}"), 5070, 9, SOURCE, NOW, NOW - 1, NOW - 2, 3, NOW - 4, 1, b"\0\1"
    )
    return plain._replace(**changes)


class StoreCase(FolderCase):
    @property
    def path(self) -> Path:
        """Of the book's file."""
        return self.folder / FILE

    def open(self, network: Network = TESTNET1) -> Store:
        store = Store(self.folder, network, lambda: NOW)
        self.addCleanup(store.close)
        return store

    def kept(self) -> Kept:
        """What is read when it is opened again."""
        store = self.open()
        kept = store.load()
        store.close()
        return kept

    def fill(self, count: int = 1) -> None:
        store = self.open()
        store.write(Changes([row(number) for number in range(count)], own=[at("9.9.9.9")]))
        store.close()

    def refused(self, *words: str, network: Network = TESTNET1) -> BookError:
        """It cannot be opened, for a reason that has these words in it, and in one line says what is allowed."""
        error: Any = self.assertRaises(BookError, self.open, network)
        for word in (*words, "must be "):
            self.assertIn(word, str(error))
        self.assertNotIn("\n", str(error))
        self.assertEqual(str(error), f"{error.path}: {error.problem}; must be {error.limit}")
        return cast(BookError, error)

    def sql(self, *statements: str) -> None:
        connection = sqlite3.connect(self.path, isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()


class KeepTests(StoreCase):
    """What was written is there when it is opened again."""

    def test_all_fields(self) -> None:
        """Every field, 64 bits of services too; own addresses in the order in which they were found; the key."""
        store = self.open()
        empty = store.load()
        self.assertEqual((empty.network, len(empty.key), list(empty.rows), list(empty.own)), ("testnet1", 32, [], []))
        rows = [row(1), row(2, services=(1 << 64) - 1, tried=0, slots=b""), row(3, ip=ip("2a00::1"), services=1 << 63)]
        own = [at("9.9.9.9"), at("8.8.8.8"), at("2a00::9")]
        store.write(Changes(rows, own=own))
        store.close()
        kept = self.kept()
        self.assertEqual(sorted(kept.rows), sorted(rows))
        self.assertEqual((kept.own, kept.key), (own, empty.key))
        self.assertNotIn(repr(kept.key), repr(kept))

    def test_changes(self) -> None:
        """What has changed replaces what was, what is gone is gone."""
        self.fill(3)
        store = self.open()
        gone = [Place(row(1).ip, 5070), at("7.7.7.7")]
        store.write(Changes([row(0, seen=5)], gone, [at("9.9.9.9"), at("8.8.8.8")], [at("9.9.9.9"), at("7.7.7.7")]))
        self.assertEqual(sorted(store.load().rows), [row(0, seen=5), row(2)])
        self.assertEqual(store.load().own, [at("8.8.8.8")])

    def test_all_or_nothing(self) -> None:
        """Of changes that cannot be kept none is."""
        self.fill()
        store = self.open()
        for broken in (row(2, port=0), row(2, ip=b"short"), row(2, slots=b"odd"), row(2, tried=2), row(2, seen=-1)):
            self.assertRaises(sqlite3.IntegrityError, store.write, Changes([row(1), broken], [Place(row(0).ip, 5070)]))
        self.assertEqual(store.load().rows, [row(0)])

    def test_begun_whole(self) -> None:
        """A book whose beginning could not be written is not begun at all, and is the next time."""
        with patch.object(StateFile, "_identity", return_value=dict.fromkeys(("network", "magic", "genesis"))):
            self.refused("NOT NULL constraint failed: meta.value", FILE)
        self.assertEqual(self.kept().rows, [])

    def test_each_commit_reaches_the_disk(self) -> None:
        """A write-ahead log, synced at each commit."""

        def look(connection: sqlite3.Connection) -> None:
            self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone(), ("wal",))
            self.assertEqual(connection.execute("PRAGMA synchronous").fetchone(), (2,))

        self.open()._file.write(look)

    def test_nobody_else_may_read(self) -> None:
        """It names peers and holds a secret: only its user may read it."""
        self.fill()
        self.open()
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)
        self.assertEqual({each.stat().st_mode & 0o077 for each in self.folder.iterdir()}, {0})

    def test_keys_differ(self) -> None:
        """Each book has a key of its own."""
        key = self.kept().key
        shutil.rmtree(self.folder)
        self.assertNotEqual(self.kept().key, key)


class FolderTests(StoreCase):
    """A folder that cannot be used is refused in one line."""

    def test_a_file(self) -> None:
        self.folder.write_text("not a folder")
        error = self.refused("is no folder", "a folder that this user may write to")
        self.assertEqual(error.path, self.folder)

    def test_below_a_file(self) -> None:
        self.folder.write_text("not a folder")
        self.folder /= "below"
        self.refused("cannot be used: Not a directory")

    def test_not_to_be_written(self) -> None:
        """Permission denied, a read-only disk, a full one: named as the system names it."""
        self.folder.mkdir()
        for number in (errno.EACCES, errno.EROFS, errno.ENOSPC):
            with patch.object(os, "open", side_effect=OSError(number, os.strerror(number))):
                self.refused(os.strerror(number), "this user may write to")

    def test_file_not_to_be_written(self) -> None:
        """A file that is there, but cannot be opened or written."""
        self.fill()
        whole = self.path.read_bytes()
        self.path.unlink()
        self.path.mkdir()
        self.refused("Is a directory", FILE)
        self.path.rmdir()
        self.path.write_bytes(whole)
        self.assertEqual(self.kept().rows, [row(0)])
        with patch("txsoter.state_file.transaction", side_effect=sqlite3.OperationalError("disk I/O error")):
            self.refused("disk I/O error", FILE)
        # it lets go of the folder
        self.assertEqual(self.kept().rows, [row(0)])

    def test_lock_that_cannot_be_used(self) -> None:
        """The lock's own file: something else, or not this user's."""
        self.fill()
        lock = self.folder / "book.lock"
        lock.unlink()
        lock.mkdir()
        self.refused("cannot be used: unable to open database file", "this user may write to")
        lock.rmdir()
        with patch("sqlite3.connect", side_effect=sqlite3.OperationalError("unable to open database file")):
            self.refused("cannot be used: unable to open database file")
        self.assertEqual(self.kept().rows, [row(0)])

    def test_one_process(self) -> None:
        """Two in one folder: the second is refused; from another process, too. It may when the first is gone."""
        first = self.open()
        self.refused("another process uses it", "a folder of its own for each process")
        program = (
            "import sys; from pathlib import Path; from txsoter.networks import TESTNET1\n"
            "from txsoter.service.book.store import BookError, Store\n"
            "try: Store(Path(sys.argv[1]), TESTNET1, lambda: 0.0)\n"
            "except BookError as error: print(error)\n"
            "else: print('opened')"
        )

        def from_another() -> str:
            command = [sys.executable, "-c", program, str(self.folder)]
            return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout

        self.assertIn("another process uses it", from_another())
        first.write(Changes([row()]))
        first.close()
        self.assertEqual(from_another(), "opened\n")
        self.assertEqual(self.kept().rows, [row()])


class WhoseTests(StoreCase):
    """The book of something else is left as it is."""

    def test_another_network(self) -> None:
        """A network's book is no other's, though it have the same name."""
        self.fill()
        before = self.path.read_bytes()
        self.refused("is the address book of testnet1", "that of regtest", network=REGTEST)
        named_the_same = Network("testnet1", 1, 5070, SIMNET.genesis_hash)
        self.refused("is the address book of testnet1", network=named_the_same)
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(self.kept().rows, [row(0)])

    def test_another_format(self) -> None:
        """One that a later version wrote."""
        self.fill()
        self.sql("PRAGMA user_version = 2")
        self.refused("is in format 2", "in format 1")
        self.sql("PRAGMA user_version = 1")
        self.assertEqual(self.kept().rows, [row(0)])

    def test_another_program(self) -> None:
        """A database that is no address book."""
        self.folder.mkdir()
        self.sql("CREATE TABLE diary (entry)", "INSERT INTO diary VALUES ('dear diary')")
        self.refused("is something else's database", FILE)
        with closing(sqlite3.connect(self.path)) as connection:
            self.assertEqual(connection.execute("SELECT * FROM diary").fetchone(), ("dear diary",))


class DamageTests(StoreCase):
    """A damaged book is set aside, and a new one begun."""

    NAME = "book.sqlite3.damaged-20251009T085320Z"

    def assert_new(self, store: Store, contents: bytes | None = None, name: str = NAME) -> None:
        """It is another book, and the old one has another name."""
        kept = store.load()
        self.assertEqual((list(kept.rows), list(kept.own)), ([], []))
        assert store.damaged is not None
        self.assertEqual(store.damaged.aside, self.folder / name)
        self.assertIn(f"it is now {self.folder / name}, and a new one has been begun", str(store.damaged))
        if contents is not None:
            self.assertEqual(store.damaged.aside.read_bytes(), contents)
        store.write(Changes([row()]))
        store.close()
        self.assertEqual(self.kept().rows, [row()])

    def damage(self, offset: int, data: bytes) -> bytes:
        raw = bytearray(self.path.read_bytes())
        raw[offset : offset + len(data)] = data
        self.path.write_bytes(raw)
        return bytes(raw)

    def test_rubbish(self) -> None:
        """A file that is no database at all."""
        self.folder.mkdir()
        self.path.write_bytes(b"rubbish" * 1000)
        self.assert_new(self.open(), b"rubbish" * 1000)

    def test_cut_off(self) -> None:
        """A file that ends too early, wherever."""
        self.fill(500)
        whole = self.path.read_bytes()
        for number, size in enumerate((50, 4096, 5000, len(whole) - 4096), 1):
            self.path.write_bytes(whole[:size])
            name = self.NAME if number == 1 else f"{self.NAME}-{number}"
            self.assert_new(self.open(), whole[:size] if size < 4096 else None, name)
            self.path.unlink()

    def test_pages_that_make_no_sense(self) -> None:
        """Damage in the middle, which only a look at all of it finds."""
        self.fill(500)
        size = len(self.path.read_bytes())
        damaged = self.damage(size - 6000, bytes(range(256)) * 20)
        self.assert_new(self.open(), damaged)

    def test_values_that_cannot_be(self) -> None:
        """Values that their columns must not have."""
        self.fill(3)
        self.sql("PRAGMA ignore_check_constraints = ON", "UPDATE address SET port = 'high'")
        self.assert_new(self.open())

    def test_what_is_missing(self) -> None:
        """A table, a name, the key."""
        for number, statement in enumerate(
            (
                "DROP TABLE own",
                "DELETE FROM meta WHERE name = 'magic'",
                "UPDATE meta SET value = x'00' WHERE name = 'key'",
            ),
            1,
        ):
            self.fill()
            self.sql(statement)
            self.assert_new(self.open(), name=self.NAME if number == 1 else f"{self.NAME}-{number}")
            self.path.unlink()

    def test_with_its_log(self) -> None:
        """Its write-ahead log goes with it: a new book must not read what an old one wrote."""
        self.fill(3)
        store = self.open()
        store.write(Changes([row(4)]))
        log = Path(f"{self.path}-wal").read_bytes()
        store.close()
        for number, (contents, beside) in enumerate(((b"rubbish" * 1000, log), (b"rubbish", b"rubbish" * 1000)), 1):
            self.path.write_bytes(contents)
            Path(f"{self.path}-wal").write_bytes(beside)
            self.assert_new(self.open(), name=self.NAME if number == 1 else f"{self.NAME}-{number}")
            self.path.unlink()

    def test_with_a_log_that_somebody_reads(self) -> None:
        """The log goes with it even while somebody else, such as a listing, has both open."""
        self.fill(3)
        store = self.open()
        store.write(Changes([row(4)]))
        reader = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)
        self.addCleanup(reader.close)
        self.assertEqual(reader.execute("SELECT count(*) FROM address").fetchone(), (4,))
        malformed = sqlite3.DatabaseError("malformed")
        with patch("txsoter.state_file.transaction", side_effect=[malformed, nullcontext(Mock())]):
            self.assertRaises(BookDamaged, store.write, Changes([row(5)]))
        self.assertTrue(Path(f"{self.folder / self.NAME}-wal").exists())
        store.write(Changes([row(6)]))
        self.assertEqual(store.load().rows, [row(6)])

    def test_empty_file(self) -> None:
        """A file without a byte is one that was just begun."""
        self.folder.mkdir()
        self.path.touch()
        store = self.open()
        self.assertIsNone(store.damaged)
        self.assertEqual(store.load().rows, [])

    def test_while_it_is_used(self) -> None:
        """Damage that shows when it is written: it says so, and what is written next goes to the new book."""
        self.fill(500)
        store = self.open()
        size = self.path.stat().st_size
        self.damage(size - 30_000, bytes(range(256)) * 80)
        error = self.assertRaises(BookDamaged, store.write, Changes([row(number) for number in range(500)]))
        self.assertIn("malformed", str(error))
        store.write(Changes([row(2)]))
        self.assertEqual(store.load().rows, [row(2)])
        self.assertTrue((self.folder / self.NAME).exists())

    def test_no_new_one_yet(self) -> None:
        """When no new one can be begun, that is tried again with the next write, and told then."""
        self.fill()
        store = self.open()
        key = store.load().key
        with (
            patch("txsoter.state_file.transaction", side_effect=sqlite3.DatabaseError("malformed")),
            patch.object(os, "open", side_effect=OSError(errno.ENOSPC, "No space left on device")),
        ):
            self.assertRaises(OSError, store.write, Changes([row(1)]))
            self.assertRaises(OSError, store.write, Changes([row(1)]))
        self.assertRaises(BookDamaged, store.write, Changes([row(1)]))
        store.write(Changes([row(2)]))
        kept = store.load()
        # where addresses stand follows from the key
        self.assertEqual((kept.rows, kept.key), ([row(2)], key))


class ReadTests(StoreCase):
    """read_book: to look at, whether or not a process uses it."""

    def assert_unreadable(self, *words: str) -> None:
        error = self.assertRaises(BookError, read_book, self.folder)
        for word in words:
            self.assertIn(word, str(error))
        self.assertNotIn("\n", str(error))

    def test_while_it_is_used(self) -> None:
        """It shows what has been committed, by one that uses it or one that is gone, and changes nothing."""
        store = self.open()
        store.write(Changes([row()], own=[at("9.9.9.9")]))
        kept = read_book(self.folder)
        self.assertEqual((kept.network, kept.rows, kept.own), ("testnet1", [row()], [at("9.9.9.9")]))
        store.write(Changes([row(2)]))
        self.assertEqual(len(read_book(self.folder).rows), 2)
        store.close()
        before = {each.name: each.read_bytes() for each in self.folder.iterdir()}
        self.assertEqual(len(read_book(self.folder).rows), 2)
        self.assertEqual({each.name: each.read_bytes() for each in self.folder.iterdir()}, before)

    def test_damaged(self) -> None:
        """One that is damaged is left as it is."""
        self.fill()
        self.sql("UPDATE meta SET value = x'00' WHERE name = 'key'")
        before = self.path.read_bytes()
        self.assert_unreadable("is damaged: it does not say whose it is")
        self.assertEqual(self.path.read_bytes(), before)

    def test_odd_names(self) -> None:
        """Folders may have names that mean something in a URI."""
        self.folder = self.folder.with_name("100% a?b#c&mode=rw")
        self.fill()
        self.assertEqual(read_book(self.folder).rows, [row(0)])

    def test_none(self) -> None:
        """No folder, no book in it: nothing is made."""
        self.assert_unreadable(f"has no {FILE}", "must be a folder with an address book")
        self.assertFalse(self.folder.exists())
        self.folder.mkdir()
        self.assert_unreadable(f"has no {FILE}")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_cannot_be_read(self) -> None:
        """What it is not allowed, damaged, something else's: one line, and it stays where it is."""
        self.fill(500)
        with patch.object(Path, "exists", side_effect=PermissionError(errno.EACCES, "Permission denied")):
            self.assert_unreadable("Permission denied")
        with patch("sqlite3.connect", side_effect=sqlite3.OperationalError("unable to open database file")):
            self.assert_unreadable("unable to open database file")
        whole = self.path.read_bytes()
        for damaged in (b"rubbish" * 999, whole[:4096], whole[:-5000] + bytes(range(250)) * 20):
            self.path.write_bytes(damaged)
            self.assert_unreadable("is damaged: ")
            self.assertEqual(self.path.read_bytes(), damaged)
        self.path.write_bytes(whole)
        self.sql("PRAGMA application_id = 7")
        self.assert_unreadable("is something else's database")
        self.assertEqual([each.name for each in self.folder.iterdir() if re.search("damaged", each.name)], [])
