"""An address book whose wall clock is set, was wrong, or shows what the wire cannot carry."""

from __future__ import annotations

from collections.abc import Iterator

from txsoter.service.book import AddressBook, read_book
from txsoter.service.book.book_time import EARLIEST, BookTime, loaded, stored
from txsoter.service.book.known import Known, Row
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.cases import BookCase
from txsoter.test.service.book.support import DAY, HOUR, NOW, SOURCE, STEPS, address, at, ip, world
from txsoter.testing import SimulatedClock

YEAR = 365 * DAY
ROW = Row(ip("1.2.3.4"), 5070, 1, ip("1.2.3.4"), NOW - DAY, NOW - HOUR, 0, 1, NOW - 2 * DAY, 1, b"\0\1")
TIMES = ("seen", "attempted", "counted", "succeeded")


def times(row: Row) -> list[int]:
    return [getattr(row, name) for name in TIMES]


class RowTests(TrialCase):
    def test_times_on_the_disk_are_the_wall_clocks(self) -> None:
        self.assertEqual(times(stored(ROW, 400)), [NOW - DAY + 400, NOW - HOUR + 400, 0, NOW - 2 * DAY + 400])
        for shift in (0, 400, -DAY):
            self.assertEqual(loaded(stored(ROW, shift), shift, NOW), ROW)

    def test_never_stays_never_and_a_time_does_not_become_it(self) -> None:
        """However wrong the wall clock: the file takes no time before 1970, and 0 is never."""
        self.assertEqual(times(stored(ROW, -2 * NOW)), [1, 1, 0, 1])
        self.assertEqual(times(loaded(ROW, 2 * NOW, NOW)), [1, 1, 0, 1])

    def test_a_time_a_little_ahead_is_now(self) -> None:
        row = ROW._replace(seen=NOW + 60, attempted=NOW + 60, counted=NOW + 60, succeeded=NOW + 60)
        self.assertEqual(times(loaded(row, 0, NOW)), [NOW] * 4)

    def test_a_time_of_the_future_protects_nothing_and_freezes_nothing(self) -> None:
        """It is taken for five days ago: neither stale nor protected; an attempt was never made."""
        for ahead in (HOUR, YEAR, 1 << 62):
            later = NOW + ahead
            row = ROW._replace(seen=later, attempted=later, counted=later, succeeded=later)
            self.assertEqual(times(loaded(row, 0, NOW)), [NOW - 5 * DAY, 0, 0, NOW - 5 * DAY])


class BookTimeTests(TrialCase):
    def setUp(self) -> None:
        self.clock = SimulatedClock()
        self.clock.advance(NOW)

    def test_it_begins_at_the_wall_clocks_and_is_never_set(self) -> None:
        time = BookTime(self.clock)
        for step in STEPS:
            self.clock.step_wall(step)
            self.clock.advance(1)
        self.assertEqual((time.now(), time.shift), (NOW + len(STEPS), sum(STEPS)))

    def test_a_clock_that_has_not_been_set_yet_is_not_believed(self) -> None:
        """As on a board without a battery, whose clock shows 1970 until there is a network."""
        self.clock.step_wall(-NOW)
        time = BookTime(self.clock)
        self.assertEqual(time.now(), EARLIEST)
        self.clock.step_wall(NOW)
        self.assertEqual((time.now(), time.now() + time.shift), (EARLIEST, NOW))


class StepTests(BookCase):
    """Nothing that is decided changes when somebody sets the wall clock."""

    def steps(self) -> Iterator[int]:
        """Steps, each of a clock of its own, with a folder of its own."""
        above = self.folder
        for step in STEPS:
            self.clock = world()
            self.folder = above / str(step)
            yield step

    def known(self, book: AddressBook, host: str) -> Known:
        known = book.get(at(host))
        assert known is not None
        return known

    def test_a_step_of_the_wall_clock_changes_nothing_that_is_known(self) -> None:
        for step in self.steps():
            book = self.started(folder=None)
            book.succeeded(at("1.2.3.4"), 9)
            book.hear([address("1.3.3.4"), address("1.4.3.4", timestamp=NOW - 29 * DAY)], SOURCE)
            book.attempted(at("1.3.3.4"))
            book.failed(at("1.3.3.4"))
            hosts = ("1.2.3.4", "1.3.3.4", "1.4.3.4")
            self.clock.advance(2 * HOUR)
            before = [(self.known(book, host).chance(book.now()), self.known(book, host).row()) for host in hosts]
            self.clock.step_wall(step)
            self.assertEqual(
                [(self.known(book, host).chance(book.now()), self.known(book, host).row()) for host in hosts], before
            )
            self.assertEqual(book.fresh(), 3)
            # what comes after it counts as at any time
            book.attempted(at("1.3.3.4"))
            self.assertEqual(self.known(book, "1.3.3.4").chance(book.now()), 0.01 * 0.66)
            self.stop(book)

    def test_what_is_told_and_heard_has_the_time_that_the_wall_clock_shows(self) -> None:
        for step in self.steps():
            book = self.started(folder=None)
            book.succeeded(at("1.2.3.4"), 9)
            self.clock.step_wall(step)
            self.assertEqual([each.timestamp for each in book.sample()], [NOW + step])
            self.assertEqual(book.timestamp(), NOW + step)
            book.hear([address("1.3.3.4", timestamp=NOW + step)], at("1.3.3.4").ip)
            self.assertEqual({each.timestamp for each in book.sample()}, {NOW + step})
            self.assertEqual(self.known(book, "1.3.3.4").seen, NOW)
            self.stop(book)

    def test_after_a_step_all_of_the_file_has_the_new_time(self) -> None:
        """Also what has not changed: after a restart nothing is older or younger for it."""
        for step in self.steps():
            book = self.started()
            book.hear([address("1.3.3.4", timestamp=NOW - 29 * DAY)], at("1.3.3.4").ip)
            book.succeeded(at("1.2.3.4"), 9)
            self.clock.advance(10)
            self.clock.step_wall(step)
            book.attempted(at("1.2.3.4"))
            self.stop(book)
            seen = {row.seen - step for row in read_book(self.folder).rows}
            self.assertEqual(seen, {NOW - 29 * DAY, NOW})
            again = self.started()
            self.assertEqual(self.known(again, "1.3.3.4").seen, again.now() - 10 - 29 * DAY)
            self.assertEqual(self.known(again, "1.2.3.4").succeeded, again.now() - 10)
            self.stop(again)

    def test_a_file_from_the_future_is_used(self) -> None:
        """It was written while the clock was a year ahead: nothing is stale for it, nor safe from others."""
        self.clock.step_wall(YEAR)
        book = self.started()
        book.succeeded(at("1.2.3.4"), 9)
        book.hear([address("1.3.3.4", timestamp=NOW + YEAR)], SOURCE)
        book.attempted(at("1.3.3.4"))
        book.failed(at("1.3.3.4"))
        self.stop(book)
        self.clock.step_wall(-YEAR)
        again = self.started()
        self.assertEqual(again.fresh(), 2)
        self.assertEqual({each.timestamp for each in again.sample()}, {NOW - 5 * DAY})
        known = self.known(again, "1.3.3.4")
        again.failed(known.place)
        self.assertEqual(known.attempts, 2)
        self.stop(again)

    def test_a_clock_past_2106_is_told_as_the_latest_that_the_wire_has(self) -> None:
        self.clock.step_wall((1 << 32) - NOW)
        book = self.started(folder=None)
        book.succeeded(at("1.2.3.4"), 9)
        [told] = book.sample()
        self.assertEqual((told.timestamp, book.timestamp()), ((1 << 32) - 1, (1 << 32) - 1))
        self.stop(book)
