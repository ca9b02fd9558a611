"""The headers' file: what it keeps, whose it is, what becomes of a damaged one; and the store that writes it."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import attrs
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent

from txsoter.chain import HeaderIndex, HeaderRecord, HeaderStore
from txsoter.chain.light.header_file import KIND, HeaderFile
from txsoter.errors import LocalError
from txsoter.networks import REGTEST, SIMNET, Network
from txsoter.state_file import StateDamaged, StateError
from txsoter.test.chain.light.dags import GENESIS, START, chain_of, random_dag
from txsoter.test.programs import ROOT
from txsoter.test.service.book.support import AtOnce, FolderCase, Held
from txsoter.wire import Block, Hash

NOW = START + 10_000_000


def records_of(blocks: list[Block]) -> list[HeaderRecord]:
    """Return the records of blocks, the genesis' first."""
    index = HeaderIndex(SIMNET, check_proofs=False)
    for block in blocks:
        index.add(index.check_block(block, NOW))
    return list(index)


class FileCase(FolderCase):
    @property
    def path(self) -> Path:
        return self.folder / KIND.file

    def open(self, network: Network = SIMNET, check_proofs: bool = False) -> HeaderFile:
        file = HeaderFile(self.folder, network, check_proofs, lambda: NOW)
        self.addCleanup(file.close)
        return file

    def fill(self, count: int = 20) -> list[HeaderRecord]:
        """Return what was written."""
        records = records_of(random_dag(Random(count), count))
        file = self.open()
        file.write(0, records)
        file.close()
        return records

    def sql(self, statement: str, *values: Any) -> None:
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute(statement, values)
        connection.close()


class FileTests(FileCase):
    def test_what_was_written_is_there_when_it_is_opened_again(self) -> None:
        records = records_of(random_dag(Random(1), 50))
        file = self.open()
        self.assertEqual(list(file.load()), records[:1])
        self.assertEqual(file.rows, 0)
        found = Hash(b"\7" * 32)
        file.write(0, [*records[:20], records[20]._replace(filter_header=found)])
        file.write(21, records[21:], [(3, found), (20, None), (0, found)])
        file.close()
        again = self.open()
        expected = [
            each._replace(filter_header=found if number in (0, 3) else None) for number, each in enumerate(records)
        ]
        self.assertEqual(list(again.load()), expected)
        self.assertEqual(again.rows, 51)
        self.assertIsInstance(next(iter(again.load())).filter_header, Hash)

    def test_none_but_the_user_may_read_it(self) -> None:
        self.fill()
        self.open()
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)
        self.assertEqual({each.stat().st_mode & 0o077 for each in self.folder.iterdir()}, {0})

    def test_another_network_is_refused_by_its_name(self) -> None:
        self.fill()
        before = self.path.read_bytes()
        for network in (REGTEST, Network("simnet", 7, 18555, SIMNET.genesis_hash)):
            with self.assertRaisesRegex(StateError, "is the header store of simnet; must be that of (regtest|simnet)"):
                self.open(network)
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(len(self.open().load()), 21)

    def test_headers_whose_proofs_were_not_checked_are_not_taken_for_checked(self) -> None:
        self.fill()
        words = "has headers whose proofs are not checked; must be one of proofs that are checked"
        with self.assertRaisesRegex(StateError, words):
            self.open(check_proofs=True)

    def test_another_process_is_refused(self) -> None:
        file = self.open()
        with self.assertRaisesRegex(StateError, "another process uses it"):
            self.open()
        program = (
            "import sys; from pathlib import Path; from txsoter.networks import SIMNET\n"
            "from txsoter.chain.light.header_file import HeaderFile\n"
            "try: HeaderFile(Path(sys.argv[1]), SIMNET, False, lambda: 0.0)\n"
            "except Exception as error: print(error)\n"
        )
        command = [sys.executable, "-c", program, str(self.folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
        self.assertIn("another process uses it", done.stdout)
        file.close()
        self.open()

    def test_something_else_in_its_place_is_left_alone(self) -> None:
        self.folder.mkdir()
        self.sql("CREATE TABLE diary (entry)")
        with self.assertRaisesRegex(StateError, "is something else's database"):
            self.open()
        self.path.unlink()
        self.fill()
        self.sql("PRAGMA user_version = 2")
        with self.assertRaisesRegex(StateError, "is in format 2; must be in format 1"):
            self.open()

    def test_a_damaged_one_is_set_aside(self) -> None:
        """Also where SQLite sees nothing: a header that is missing, altered, twice there, or of another height."""
        statements: tuple[tuple[str, tuple[Any, ...]], ...] = (
            ("DELETE FROM header WHERE number = 5", ()),
            ("UPDATE header SET height = 99 WHERE number = 7", ()),
            ("UPDATE header SET raw = zeroblob(84) WHERE number = 9", ()),
            ("UPDATE header SET raw = zeroblob(90) WHERE number = 0", ()),
            ("UPDATE header SET raw = (SELECT raw FROM header WHERE number = 3) WHERE number = 20", ()),
            ("DELETE FROM meta WHERE name = 'proofs'", ()),
            ("DROP TABLE header", ()),
        )
        for number, (statement, values) in enumerate(statements, 1):
            self.fill()
            self.sql(statement, *values)
            file = self.open()
            self.assertEqual(list(file.load()), records_of([]), statement)
            self.assertEqual(file.rows, 0)
            damaged = file.file.damaged
            assert damaged is not None
            self.assertIn("the header store was damaged", str(damaged))
            names = [each.name for each in self.folder.iterdir() if "damaged" in each.name]
            self.assertEqual(len([each for each in names if not each.endswith("-wal")]), number)
            file.close()
            self.path.unlink()

    def test_rubbish_is_set_aside(self) -> None:
        self.folder.mkdir()
        self.path.write_bytes(b"rubbish" * 1000)
        file = self.open()
        self.assertEqual(len(file.load()), 1)
        assert file.file.damaged is not None
        self.assertEqual(file.file.damaged.aside.read_bytes(), b"rubbish" * 1000)

    def test_all_or_nothing(self) -> None:
        """A change that cannot be kept, such as a number that is there already, leaves all as it was."""
        records = self.fill()
        file = self.open()
        self.assertRaises(sqlite3.IntegrityError, file.write, 20, records[19:], [(1, Hash(bytes(32)))])
        self.assertEqual(list(file.load()), records)

    def test_a_network_without_a_genesis_block_begins_with_nothing(self) -> None:
        network = attrs.evolve(SIMNET, genesis_block=None)
        file = self.open(network)
        self.assertEqual(len(file.load()), 0)
        file.write(0, records_of([]))
        self.assertEqual([record.hash for record in file.load()], [GENESIS.hash])
        self.assertEqual(file.rows, 1)

    def test_five_thousand_headers_are_read_in_less_than_a_second(self) -> None:
        """They take a twentieth of that, where nothing measures coverage."""
        self.fill(5000)
        file = self.open()
        began = time.process_time()
        self.assertEqual(len(file.load()), 5001)
        self.assertLess(time.process_time() - began, 1.0)


class StoreCase(FolderCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.clock.advance(NOW)
        self.worker = AtOnce()

    def store(self, folder: bool = True, worker: Any = None) -> HeaderStore:
        worker = self.worker if worker is None else worker
        return HeaderStore(SIMNET, self.clock, self.folder if folder else None, check_proofs=False, worker=worker)

    def kept(self) -> list[HeaderRecord]:
        """Return what is in the file."""
        file = HeaderFile(self.folder, SIMNET, False, lambda: NOW)
        try:
            return list(file.load())
        finally:
            file.close()


class StoreTests(StoreCase):
    def test_in_memory_only(self) -> None:
        store = self.store(folder=False)
        self.assertRaises(LocalError, lambda: store.index)
        self.assertFalse(store.is_open)
        index = self.successResultOf(store.open())
        self.assertIs(store.index, index)
        self.assertTrue(store.is_open)
        records = records_of(chain_of(3))
        self.assertTrue(store.add(records[1]))
        self.assertFalse(store.add(records[1]))
        store.set_filter_header(records[1].hash, Hash(bytes(32)))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(store.flush())
        self.successResultOf(store.close())
        # it is not forgotten when it is opened again
        self.assertIs(self.successResultOf(store.open()), index)
        self.assertFalse(self.folder.exists())

    def test_written_a_second_later_and_when_it_is_closed(self) -> None:
        store = self.store()
        self.successResultOf(store.open())
        records = records_of(chain_of(5))
        store.add(records[1])
        store.add(records[2])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0.9)
        self.assertEqual(store._written, 0)
        self.clock.advance(0.1)
        self.assertEqual(store._written, 3)
        store.add(records[3])
        self.successResultOf(store.close())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.worker.stopped, 1)
        self.assertEqual(self.kept(), records[:4])
        again = self.store()
        index: HeaderIndex = self.successResultOf(again.open())
        self.assertEqual(list(index), records[:4])
        again.add(records[4])
        self.successResultOf(again.close())
        self.assertEqual(self.kept(), records[:5])

    def test_filter_headers_are_written_of_headers_written_before_and_of_new_ones(self) -> None:
        store = self.store()
        self.successResultOf(store.open())
        records = records_of(chain_of(5))
        first, second = Hash(b"\1" * 32), Hash(b"\2" * 32)
        for each in records[1:4]:
            store.add(each)
        store.set_filter_header(records[2].hash, first)
        self.successResultOf(store.flush())
        self.clock.advance(5)
        store.set_filter_header(records[3].hash, second)
        store.set_filter_header(records[0].hash, second)
        store.set_filter_header(records[2].hash, None)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(1)
        self.successResultOf(store.close())
        self.assertEqual([each.filter_header for each in self.kept()], [second, None, None, second])

    def test_many_are_written_in_parts(self) -> None:
        worker = Held()
        store = self.store(worker=worker)
        opened = store.open()
        self.assertNoResult(opened)
        worker.work()
        self.successResultOf(opened)
        records = records_of(chain_of(4500))
        for each in records[1:]:
            store.add(each)
        flushed = store.flush()
        self.assertEqual(len(worker.waiting), 1)
        self.assertEqual(store._written, 2000)
        # what changes while it is being written is not lost
        store.set_filter_header(records[10].hash, Hash(bytes(32)))
        store.set_filter_header(records[4000].hash, Hash(bytes(32)))
        self.assertNoResult(flushed)
        worker.work()
        self.successResultOf(flushed)
        closed = store.close()
        worker.work()
        self.successResultOf(closed)
        found = [number for number, each in enumerate(self.kept()) if each.filter_header is not None]
        self.assertEqual(found, [10, 4000])
        self.assertEqual(len(self.kept()), 4501)

    def test_closed_before_it_was_read(self) -> None:
        worker = Held()
        store = self.store(worker=worker)
        opened, closed = store.open(), store.close()
        worker.work()
        self.successResultOf(opened)
        self.successResultOf(closed)
        self.assertEqual(worker.stopped, 1)
        self.kept()

    def test_a_disk_that_is_full_is_told_once_and_tried_again(self) -> None:
        store = self.store()
        self.successResultOf(store.open())
        records = records_of(chain_of(3))
        store.add(records[1])
        self.successResultOf(store.flush())
        full = sqlite3.OperationalError("database or disk is full")
        with capturedLogs() as events:
            with patch.object(HeaderFile, "write", side_effect=full):
                store.add(records[2])
                store.set_filter_header(records[1].hash, Hash(bytes(32)))
                self.successResultOf(store.flush())
                self.clock.advance(60)
                self.clock.advance(60)
            self.clock.advance(60)
        told = [formatEvent(event) for event in events if event["log_level"] >= LogLevel.info]
        self.assertEqual(
            told, ["headers cannot be written: database or disk is full; trying again", "headers are written again"]
        )
        self.successResultOf(store.close())
        self.assertEqual([each.filter_header is not None for each in self.kept()], [False, True, False])

    def test_damage_that_shows_when_it_is_written_loses_nothing(self) -> None:
        store = self.store()
        self.successResultOf(store.open())
        records = records_of(chain_of(500))
        for each in records[1:]:
            store.add(each)
        self.successResultOf(store.flush())
        path = self.folder / KIND.file
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        with path.open("r+b") as raw:
            raw.seek(path.stat().st_size - 60_000)
            raw.write(bytes(range(256)) * 200)
        with capturedLogs() as events:
            for each in records:
                store.set_filter_header(each.hash, Hash(bytes(32)))
            self.successResultOf(store.flush())
        self.assertIn("the header store was damaged", "".join(map(formatEvent, events)))
        self.successResultOf(store.close())
        self.assertEqual(self.kept(), [each._replace(filter_header=Hash(bytes(32))) for each in records])

    def test_a_disk_that_damages_all_that_it_gets_is_left_alone_for_a_minute(self) -> None:
        store = self.store()
        self.successResultOf(store.open())
        store.add(records_of(chain_of(1))[1])
        damage = StateDamaged(self.folder / "aside", "malformed")
        with patch.object(HeaderFile, "write", side_effect=damage) as write:
            self.clock.advance(1)
            self.assertEqual(write.call_count, 2)
            self.clock.advance(59)
            self.assertEqual(write.call_count, 2)
            self.clock.advance(1)
            self.assertEqual(write.call_count, 4)
        self.successResultOf(store.close())
        self.assertEqual(self.kept(), records_of(chain_of(1)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_damaged_file_is_told_and_written_anew(self) -> None:
        self.folder.mkdir()
        (self.folder / KIND.file).write_bytes(b"rubbish" * 1000)
        with capturedLogs() as events:
            store = self.store()
            self.successResultOf(store.open())
        (told,) = [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]
        self.assertIn("the header store was damaged", told)
        store.add(records_of(chain_of(1))[1])
        self.successResultOf(store.close())
        self.assertEqual(self.kept(), records_of(chain_of(1)))

    def test_a_file_that_cannot_be_read_is_told_and_headers_are_kept_in_memory(self) -> None:
        with capturedLogs() as events, patch.object(HeaderFile, "load", side_effect=OSError("broken disk")):
            store = self.store()
            self.assertEqual(len(self.successResultOf(store.open())), 1)
        (told,) = [formatEvent(event) for event in events if event["log_level"] is LogLevel.error]
        self.assertIn("cannot be read: broken disk; headers are kept in memory only", told)
        store.add(records_of(chain_of(1))[1])
        self.successResultOf(store.close())
        self.assertEqual(self.kept(), records_of([]))

    def test_a_file_that_cannot_be_closed_is_told(self) -> None:
        store = self.store()
        self.successResultOf(store.open())
        real = HeaderFile.close

        def close(file: HeaderFile) -> None:
            real(file)
            raise OSError("broken disk")

        with capturedLogs() as events, patch.object(HeaderFile, "close", close):
            self.successResultOf(store.close())
        self.assertIn("the header store was not closed: broken disk", [formatEvent(event) for event in events])
        self.assertEqual(self.worker.stopped, 1)

    def test_a_folder_that_cannot_be_used_is_refused_at_once(self) -> None:
        self.folder.write_text("not a folder")
        self.assertRaises(StateError, self.store().open)
