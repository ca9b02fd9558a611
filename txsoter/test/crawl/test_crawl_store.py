"""The file of a crawl: what comes back from it, its history, and its limits."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from random import Random
from unittest.mock import patch

from txsoter.crawl.atlas import Atlas
from txsoter.crawl.crawl_store import (
    DAYS_KEPT,
    FILE,
    HOURS_KEPT,
    Batch,
    CrawlDamaged,
    CrawlError,
    CrawlStore,
    Period,
    TallyRow,
    read_crawl,
    read_history,
    read_totals,
)
from txsoter.crawl.rules import CrawlRules
from txsoter.crawl.stored_map import StoredCrawl
from txsoter.crawl.stored_rows import restore, take_changes, totals
from txsoter.crawl.visit_result import Outcome
from txsoter.networks import SIMNET, TESTNET1
from txsoter.service.book.places import Place
from txsoter.test.crawl.visits import World, answered, failed, internet
from txsoter.test.service.book.support import DAY, HOUR, NOW, FolderCase, at

A, B, C, D = (internet(number) for number in range(4))
SHIFT = 1000.0
"""Seconds by which the wall clock is ahead of the atlas's time."""


class StoreCase(FolderCase):
    def store(self) -> CrawlStore:
        store = CrawlStore(self.folder, TESTNET1, lambda: NOW)
        self.addCleanup(store.close)
        return store

    def save(self, store: CrawlStore, world: World, now: float | None = None) -> None:
        """Write all that has changed."""
        while (batch := take_changes(world.atlas, SHIFT, now)) is not None:
            now = None
            store.write(batch)

    def told(self) -> World:
        """A world with everything in it that can be stored."""
        world = World(revisit=600.0)
        six = at("2a00:1::1")
        world.says(A, told=[B, C, D, six], outbound=[B, C], inbound=[Place(B.ip, 50_000)], services=1 << 63)
        world.says(B, told=[C], outbound=[], inbound=[Place(A.ip, port) for port in range(1000, 1100)])
        world.answers[C] = failed(C, Outcome.SILENT, "for ten seconds")
        world.name(A, B)
        world.run(3 * HOUR, 30)
        world.atlas.candidates[B].alias_of = None
        return world


class RoundTripTests(StoreCase):
    def test_everything_comes_back(self) -> None:
        """The map is the same, and so are the answers to why; visits go on where they were."""
        world = self.told()
        store = self.store()
        self.save(store, world, world.now + SHIFT)
        again = World(revisit=600.0)
        again.now = world.now
        restore(again.atlas, store.load(), SHIFT, world.now)
        for one, other in zip(world.map().nodes, again.map().nodes, strict=True):
            self.assertEqual(one, other)
        self.assertEqual(world.map().edges, again.map().edges)
        for place in (A, B, C, D, at("2a00:1::1"), internet(99)):
            self.assertEqual(world.why(place), again.why(place))
        self.assertIn("dropped", again.why(D))
        self.assertEqual(len(world.atlas.schedule), len(again.atlas.schedule))
        again.run(1)
        self.assertEqual(again.visited, [])
        again.answers = world.answers
        again.run(700, 10)
        self.assertEqual(set(again.visited), {A, B})

    def test_a_single_crawl_visits_all_again(self) -> None:
        store = self.store()
        self.save(store, self.told())
        again = World(once=True)
        restore(again.atlas, store.load(), SHIFT, again.now)
        again.finish()
        self.assertLessEqual({A, B, C}, set(again.visited))

    def test_aliases(self) -> None:
        """They come back; one whose node is not there is listed by itself."""
        world = self.told()
        world.atlas.candidates[B].alias_of = A
        world.atlas.changed.add(B)
        store = self.store()
        self.save(store, world)
        again = World()
        restore(again.atlas, store.load(), SHIFT, world.now)
        self.assertEqual(again.atlas.candidates[B].alias_of, A)
        store.write(Batch(gone=[A]))
        again = World()
        restore(again.atlas, store.load(), SHIFT, world.now)
        self.assertIsNone(again.atlas.candidates[B].alias_of)
        self.assertNotIn(A, again.atlas.claims.cached_at)

    def test_what_is_gone_is_gone(self) -> None:
        """And what was dropped once and is known again is not dropped any more."""
        world = self.told()
        store = self.store()
        self.save(store, world)
        self.assertEqual([(row.ip, row.port) for row in store.load().dropped], [D])
        world.says(D)
        world.name(D)
        world.run(HOUR, 10)
        self.save(store, world)
        self.assertEqual(store.load().dropped, [])
        world.atlas.claims.forget(A)
        world.atlas.changed_claims.add(A)
        self.save(store, world)
        self.assertNotIn(A, [(row.ip, row.port) for row in store.load().claims])

    def test_a_clock_that_was_wrong(self) -> None:
        """A time in the future is taken for now: it puts nothing off for years."""
        store = self.store()
        self.save(store, self.told())
        again = World(revisit=600.0)
        again.now = NOW - 1000.0 * DAY
        restore(again.atlas, store.load(), SHIFT, again.now)
        again.run(900, 10)
        self.assertLessEqual({A, B}, set(again.visited))

    def test_rows_that_cannot_be(self) -> None:
        """What another version has written: an outcome that is none, reliability of other windows."""
        store = self.store()
        self.save(store, self.told())
        row = next(row for row in store.load().nodes if (row.ip, row.port) == A)
        row = row._replace(outcome="LOST", reliability=b"123", sources=b"\4abcd")
        store.write(Batch(nodes=[row]))
        atlas = Atlas(CrawlRules(), Random(1))
        restore(atlas, store.load(), 0.0, float(NOW))
        self.assertEqual((atlas.candidates[A].outcome, atlas.candidates[A].reliability), (None, None))
        self.assertEqual(atlas.candidates[A].sources, (b"abcd",))

    def test_for_who_looks_from_outside(self) -> None:
        """While the crawl uses it, and after."""
        world = self.told()
        store = self.store()
        self.save(store, world, world.now + SHIFT)
        for _ in range(2):
            crawl = StoredCrawl(self.folder, world.now + SHIFT)
            self.assertEqual(crawl.network, "testnet1")
            self.assertEqual(crawl.why(A), "it is listed: it answered at its last visit")
            self.assertEqual([node.name for node in crawl.map().reachable], [str(A), str(B)])
            store.close()

    def test_a_folder_of_another_kind(self) -> None:
        with self.assertRaisesRegex(CrawlError, "has no crawl.sqlite3; must be a folder with a store of a crawl"):
            read_crawl(self.folder.parent)
        self.store().close()
        with self.assertRaisesRegex(CrawlError, "is the store of a crawl of testnet1; must be that of simnet"):
            CrawlStore(self.folder, SIMNET, lambda: NOW)

    def test_damage(self) -> None:
        """The file is set aside, and a new one begun."""
        store = self.store()
        self.save(store, self.told())
        store.close()
        (self.folder / FILE).write_bytes(b"no database" * 1000)
        store = self.store()
        assert store.damaged is not None
        self.assertIn("the store of the crawl was damaged", str(store.damaged))
        self.assertEqual(store.load().nodes, [])
        with (
            patch("txsoter.state_file.transaction", side_effect=sqlite3.DatabaseError("malformed")),
            self.assertRaises(sqlite3.DatabaseError),
        ):
            store.write(Batch())


class HistoryTests(StoreCase):
    def tally(self, start: int, visits: int = 6, successes: int = 5, place: Place = A) -> TallyRow:
        return TallyRow(start, *place, visits, successes, 0.25 * successes, 100)

    def test_visits_by_hour_and_day(self) -> None:
        """Each visit is counted once; older hours are added up to days, which are forgotten after a year and more."""
        store = self.store()
        first = NOW // DAY * DAY
        for hour in range(24 * 5):
            start = first + hour * HOUR
            store.write(Batch(tallies=[self.tally(start)], now=float(start)))
            store.write(Batch(tallies=[self.tally(start, 1, 0)]))
        history = read_history(self.folder, A)
        self.assertEqual(sum(period.visits for period in history), 24 * 5 * 7)
        self.assertEqual(history[0], Period(first, DAY, 24 * 7, 24 * 5, 0.25, 100))
        hours = [period for period in history if period.seconds == HOUR]
        self.assertIn(len(hours), range(HOURS_KEPT, HOURS_KEPT + 24 + 1))
        self.assertEqual(hours[-1].start, first + (24 * 5 - 1) * HOUR)
        self.assertEqual(read_history(self.folder, B), [])
        store.write(Batch(now=float(first + (DAYS_KEPT + 6) * DAY)))
        self.assertEqual(read_history(self.folder, A), [])

    def test_an_hour_without_success(self) -> None:
        self.store().write(Batch(tallies=[self.tally(NOW, 3, 0)]))
        self.assertEqual(read_history(self.folder, A), [Period(NOW, HOUR, 3, 0, None, 100)])

    def test_the_oldest_go_when_there_are_too_many(self) -> None:
        store = self.store()
        rows = [self.tally(NOW + number, place=internet(number)) for number in range(20)]
        with patch("txsoter.crawl.crawl_store.MAX_PERIODS", 5):
            store.write(Batch(tallies=rows, now=float(NOW)))
        with closing(sqlite3.connect(self.folder / FILE)) as connection:
            found = connection.execute("SELECT start FROM visit_hour ORDER BY start").fetchall()
        self.assertEqual(found, [(NOW + number,) for number in range(15, 20)])

    def test_totals(self) -> None:
        world = self.told()
        store = self.store()
        wall = world.now + SHIFT
        store.write(Batch(totals=totals(world.atlas, wall), now=wall))
        start = int(wall) // HOUR * HOUR
        kept = {name: count for when, name, count in read_totals(self.folder) if when == start}
        self.assertEqual({name: kept[name] for name in kept if ":" not in name}, {"reachable": 2, "seen": 2})
        self.assertEqual({name.partition(":")[0] for name in kept if ":" in name}, {"versions", "services", "heights"})
        self.assertEqual(sum(count for name, count in kept.items() if name.startswith("versions:")), 2)
        self.assertEqual(read_totals(self.folder, start + 1), [])

    def test_visits_of_nodes_that_answered_are_counted(self) -> None:
        """In the hour of the wall clock; those of addresses at which nobody ever was are not."""
        world = self.told()
        store = self.store()
        self.save(store, world)
        history = read_history(self.folder, A)
        self.assertGreater(len(history), 2)
        self.assertEqual(sum(period.visits for period in history), world.visited.count(A))
        self.assertEqual(read_history(self.folder, C), [])
        self.assertAlmostEqual(history[0].latency or 0, answered(A).latency or 1)

    def test_damaged_while_it_is_written(self) -> None:
        store = self.store()
        malformed = sqlite3.DatabaseError("malformed")
        with patch("txsoter.crawl.crawl_store._roll_up", side_effect=malformed):
            self.assertRaises(CrawlDamaged, store.write, Batch(now=1.0))
        store.write(Batch(tallies=[self.tally(NOW)]))
        self.assertEqual(len(read_history(self.folder, A)), 1)
