"""AddressBook: what is known stands in memory, and what is in the file follows it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from unittest.mock import patch

from twisted.logger import LogLevel

from txsoter.networks import REGTEST
from txsoter.service.book import BookDamaged, BookError, read_book
from txsoter.service.book.places import Place
from txsoter.service.book.store import FILE, Changes, Store
from txsoter.test.service.book.cases import BookCase
from txsoter.test.service.book.support import (
    DAY,
    SOURCE,
    AtOnce,
    Held,
    address,
    at,
)


class WriteTests(BookCase):
    """What has changed is written soon."""

    def test_written_after_a_while(self) -> None:
        """Changes are collected for five seconds and written; nothing runs while nothing changes."""
        book = self.started()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        book.succeeded(at("1.2.3.4"), 1)
        self.clock.advance(3)
        book.hear([address("1.3.3.4")], SOURCE)
        self.clock.advance(1.9)
        self.assertEqual(self.on_disk(), set())
        self.clock.advance(0.2)
        self.assertEqual(self.on_disk(), {at("1.2.3.4"), at("1.3.3.4")})
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.stop(book)

    def test_written_in_the_end(self) -> None:
        """What has changed is written when the service stops; then the thread and the folder are let go."""
        book = self.started()
        book.succeeded(at("1.2.3.4"), 1)
        self.stop(book)
        self.assertEqual(self.on_disk(), {at("1.2.3.4")})
        self.assertEqual(self.worker.stopped, 1)
        again = self.started()
        self.stop(again)

    def test_after_a_restart(self) -> None:
        """What was known is known: what has worked, how often it failed, hearsay, our own addresses."""
        book = self.started()
        book.succeeded(at("1.2.3.4"), 9)
        book.hear([address("1.3.3.4"), address("1.4.3.4"), address("1.5.3.4")], SOURCE)
        book.failed(at("1.3.3.4"))
        book.is_own(at("1.4.3.4"))
        rows = {
            known.place: known.row() for known in map(book.get, map(at, ("1.2.3.4", "1.3.3.4", "1.5.3.4"))) if known
        }
        self.assertEqual(len(rows), 3)
        self.stop(book)
        self.assertEqual((len(book), book.pick()), (0, None))
        for again in (book, self.book()):
            again.startService()
            self.clock.advance(0)
            self.assertEqual((len(again), dict(again.sizes())), (3, {"tried": 1, "new": 2}))
            for place, row in rows.items():
                known = again.get(place)
                assert known is not None
                self.assertEqual(known.row(), row)
            again.hear([address("1.4.3.4")], SOURCE)
            self.assertIsNone(again.get(at("1.4.3.4")))
            self.stop(again)

    def test_all_verbs_are_written(self) -> None:
        """Each thing that is noted changes the file."""
        book = self.started()
        place = at("1.2.3.4")
        book.succeeded(at("99.1.1.1"), 1)
        steps = (
            lambda: book.name("1.2.3.4", 5070),
            lambda: book.attempted(place),
            lambda: book.failed(place),
            lambda: book.succeeded(place, 1),
            lambda: book.parted(place),
            lambda: book.is_own(place),
        )
        seen = []
        for step in steps:
            self.clock.advance(DAY)
            step()
            self.clock.advance(6)
            seen.append([row for row in read_book(self.folder).rows if row.ip == place.ip])
        self.assertEqual([len(rows) for rows in seen], [1] * 5 + [0])
        self.assertEqual(len({rows[0] for rows in seen[:-1]}), 5)
        self.assertEqual(read_book(self.folder).own, [place])
        self.stop(book)

    def test_in_pieces(self) -> None:
        """Many changes are written by a thousand, so that the reactor is not held up."""
        sizes: list[int] = []
        write = Store.write

        def measured(store: Store, changes: Changes) -> None:
            sizes.append(len(changes.rows) + len(changes.gone))
            write(store, changes)

        book = self.started()
        for number in range(2500):
            book.name(f"{11 + number % 80}.{number // 80}.1.1", 5070)
        with patch.object(Store, "write", measured):
            self.successResultOf(book.flush())
        self.assertEqual(sizes, [1000, 1000, 500])
        self.assertEqual(len(self.on_disk()), 2500)
        self.stop(book)

    def test_changes_while_it_writes(self) -> None:
        """What changes while something is written is written after it; flush() waits for its own."""
        self.worker = held = Held()
        book = self.book()
        book.startService()
        self.clock.advance(0)
        held.work()
        book.succeeded(at("1.2.3.4"), 1)
        first = book.flush()
        book.succeeded(at("1.3.3.4"), 1)
        second = book.flush()
        self.assertNoResult(first)
        held.work()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.on_disk(), {at("1.2.3.4"), at("1.3.3.4")})
        stopping = book.stopService()
        held.work()
        self.successResultOf(stopping)
        # what was collected for was written already
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cannot_be_written(self) -> None:
        """A full disk: one warning, tried again each minute, and nothing of it is lost."""
        book = self.started()
        book.succeeded(at("1.2.3.4"), 1)
        with patch.object(Store, "write", side_effect=sqlite3.OperationalError("database or disk is full")):
            self.clock.pump([5, 60, 60])
            self.clock.advance(59)
        warning = f"{self.folder / FILE} cannot be written, for now: database or disk is full"
        self.assertEqual(self.logged(), [warning])
        self.clock.advance(1)
        self.assertEqual(self.on_disk(), {at("1.2.3.4")})
        self.assertIn(f"{self.folder / FILE} can be written again", self.logged(LogLevel.info))
        self.stop(book)

    def test_damaged_while_it_is_used(self) -> None:
        """The new book gets all that is known: nothing is lost but the file."""
        book = self.started()
        for number in range(20):
            book.succeeded(at(f"1.{number}.3.4"), 1)
        book.is_own(at("9.9.9.9"))
        self.successResultOf(book.flush())
        write, damage = Store.write, [BookDamaged(self.folder / "aside", "malformed")]

        def damaging(store: Store, changes: Changes) -> None:
            if damage:
                with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
                    connection.execute("DELETE FROM address")
                    connection.execute("DELETE FROM own")
                raise damage.pop()
            write(store, changes)

        book.succeeded(at("1.30.3.4"), 1)
        with patch.object(Store, "write", damaging):
            self.clock.advance(5)
        self.assertEqual(len(self.on_disk()), 21)
        self.assertEqual(read_book(self.folder).own, [at("9.9.9.9")])
        (warning,) = self.logged()
        self.assertIn("(malformed): it is now ", warning)
        self.stop(book)

    def test_damaged_again_and_again(self) -> None:
        """A disk that damages all it gets does not keep it busy."""
        book = self.started()
        book.succeeded(at("1.2.3.4"), 1)
        with patch.object(Store, "write", side_effect=BookDamaged(self.folder / "aside", "malformed")) as write:
            self.clock.advance(5)
            self.assertEqual(write.call_count, 2)
            self.clock.advance(5)
            self.assertEqual(write.call_count, 4)
            self.successResultOf(book.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_closed(self) -> None:
        """A file that cannot be closed is told of, and the service has stopped."""
        book = self.started()
        close = Store.close

        def failing(store: Store) -> None:
            close(store)
            raise sqlite3.OperationalError("disk I/O error")

        with patch.object(Store, "close", failing):
            self.stop(book)
        self.assertEqual(self.logged(), ["the address book was not closed: disk I/O error"])
        self.assertEqual(self.worker.stopped, 1)


class LoadTests(BookCase):
    """What was kept is read off the reactor's thread, and what happens meanwhile is not lost."""

    def fill(self) -> None:
        book = self.started()
        book.succeeded(at("1.2.3.4"), 1)
        self.stop(book)

    def test_before_it_is_read(self) -> None:
        """Nothing is picked or told; what our own side notes is done when it has been read; hearsay is dropped."""
        self.fill()
        self.worker = held = Held()
        book = self.book()
        book.name("1.7.3.4", 5070)
        waiting = book.when_loaded()
        book.startService()
        self.clock.advance(0)
        book.failed(at("1.2.3.4"))
        book.succeeded(at("1.3.3.4"), 1)
        book.hear([address("1.4.3.4")], SOURCE)
        self.assertEqual((len(book), book.pick(), book.sample(), book.fresh()), (0, None, [], 0))
        self.assertEqual(dict(book.sizes()), {"tried": 0, "new": 0})
        self.assertIsNone(book.get(at("1.2.3.4")))
        self.assertNoResult(waiting)
        held.work()
        self.successResultOf(waiting)
        self.successResultOf(book.when_loaded())
        known = book.get(at("1.2.3.4"))
        assert known is not None
        self.assertEqual((known.tried, known.attempts), (True, 1))
        self.assertEqual(len(book), 3)
        stopping = book.stopService()
        held.work()
        self.successResultOf(stopping)
        self.assertEqual(self.on_disk(), {at("1.2.3.4"), at("1.3.3.4"), at("1.7.3.4")})

    def test_waiting_is_bounded(self) -> None:
        """What is to be done when it has been read is bounded."""
        book = self.book()
        with patch("txsoter.service.book.book.MOST_WAITING", 100):
            for number in range(110):
                book.name(f"11.{number}.1.1", 5070)
        book.startService()
        self.clock.advance(0)
        self.assertEqual(len(book), 100)
        self.stop(book)

    def test_nobody_waits_any_more(self) -> None:
        """One who waits for it may give up."""
        book = self.book()
        waiting = book.when_loaded()
        waiting.cancel()
        self.failureResultOf(waiting)
        book.startService()
        self.clock.advance(0)
        self.stop(book)

    def test_stopped_before_it_is_read(self) -> None:
        """A reactor that never ran: no thread has begun, and the folder is free."""
        self.fill()
        book = self.book()
        with patch.object(self.worker, "run", side_effect=AssertionError):
            book.startService()
            self.stop(book)
        self.assertEqual(len(self.started_and_stopped()), 1)

    def started_and_stopped(self) -> set[Place]:
        book = self.started()
        self.stop(book)
        return self.on_disk()

    def test_stopped_while_it_is_read(self) -> None:
        """It is read to the end, then closed."""
        self.fill()
        self.worker = held = Held()
        book = self.book()
        book.startService()
        self.clock.advance(0)
        stopping = book.stopService()
        self.assertNoResult(stopping)
        held.work()
        self.successResultOf(stopping)
        self.assertEqual(self.started_and_stopped_with(AtOnce()), {at("1.2.3.4")})

    def started_and_stopped_with(self, worker: AtOnce) -> set[Place]:
        self.worker = worker
        return self.started_and_stopped()

    def test_started_twice(self) -> None:
        """A second start changes nothing."""
        book = self.started()
        book.startService()
        self.stop(book)

    def test_folder_that_cannot_be_used(self) -> None:
        """The call that starts the service raises that, and it does not run; another network's book is kept apart."""
        self.fill()
        book = self.book(REGTEST)
        error = self.assertRaises(BookError, book.startService)
        self.assertIn("is the address book of testnet1", str(error))
        self.assertFalse(book.running)
        first = self.started()
        self.assertRaises(BookError, self.book().startService)
        self.stop(first)
        self.assertEqual(self.on_disk(), {at("1.2.3.4")})

    def test_damaged(self) -> None:
        """One that is damaged is set aside, whenever that shows, with a warning; it goes on with a new one."""
        self.fill()
        whole = (self.folder / FILE).read_bytes()
        for damaged in (b"rubbish" * 1000, whole[:-4096] + bytes(range(256)) * 16):
            (self.folder / FILE).write_bytes(damaged)
            book = self.started()
            self.assertEqual(len(book), 0)
            (warning,) = self.logged()
            self.assertIn("the address book was damaged (", warning)
            self.assertIn("and a new one has been begun", warning)
            self.events.clear()
            book.succeeded(at("1.5.3.4"), 1)
            self.stop(book)
            self.assertEqual(self.on_disk(), {at("1.5.3.4")})
            self.assertEqual(self.logged(), [])

    def test_cannot_be_read(self) -> None:
        """A disk that fails: one line, and addresses are kept in memory only; the file stays as it is."""
        self.fill()
        with patch.object(Store, "load", side_effect=sqlite3.OperationalError("disk I/O error")):
            book = self.started()
        line = f"{self.folder / FILE} cannot be read: disk I/O error; addresses are kept in memory only"
        self.assertEqual(self.logged(), [line])
        self.assertEqual(self.worker.stopped, 2)
        book.succeeded(at("1.3.3.4"), 1)
        self.assertEqual(len(book), 1)
        self.clock.advance(100)
        self.stop(book)
        self.assertEqual(self.on_disk(), {at("1.2.3.4")})
