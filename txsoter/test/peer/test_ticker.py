"""Tests of :mod:`txsoter.peer.ticker`."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

from twisted.internet.task import Clock

from txsoter.peer.ticker import Ticker, tick_for, ticker_of
from txsoter.test.peer.support import TrialCase


class Watcher:
    """Notes when it looks, and asks for more as told."""

    def __init__(self, *again: float | None, then: Callable[[], object] = lambda: None) -> None:
        self.again = list(again)
        self.looks: list[float] = []
        self.then = then

    def look(self, now: float) -> float | None:
        self.looks.append(now)
        self.then()
        return self.again.pop(0) if self.again else None


class TickerTests(TrialCase):
    """Watchers look at the first tick from the time on that they asked for."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.25)
        self.ticker = ticker_of(self.clock, 1.0)

    def assert_asleep(self) -> None:
        self.assertEqual((len(self.ticker), self.clock.getDelayedCalls()), (0, []))

    def test_never_early_and_at_most_a_tick_late(self) -> None:
        watchers = {when: Watcher() for when in (1000.25, 1001.25, 1001.26, 1002.0, 1090.5)}
        for when, watcher in watchers.items():
            self.ticker.watch(watcher, when)
        self.clock.pump([0.25] * 400)
        looks = [watcher.looks for watcher in watchers.values()]
        self.assertEqual(looks, [[1001.25], [1001.25], [1002.25], [1002.25], [1091.25]])
        self.assert_asleep()

    def test_one_timer_for_all_and_none_until_something_is_due(self) -> None:
        for number in range(100):
            self.ticker.watch(Watcher(), 1300.0 - number % 3)
        [call] = self.clock.getDelayedCalls()
        self.assertEqual(call.getTime(), 1298.25)

    def test_an_earlier_one_is_not_kept_waiting_by_a_later_one(self) -> None:
        late, early = Watcher(), Watcher()
        self.ticker.watch(late, 1100)
        self.ticker.watch(early, 1010)
        self.clock.pump([1] * 200)
        self.assertEqual((early.looks, late.looks), ([1010.25], [1100.25]))
        self.assert_asleep()

    def test_who_asks_again_looks_again_and_who_moves_looks_once(self) -> None:
        again, moved = Watcher(1005, 1007), Watcher()
        self.ticker.watch(again, 1002)
        self.ticker.watch(moved, 1003)
        self.ticker.watch(moved, 1006)
        self.clock.pump([1] * 20)
        self.assertEqual((again.looks, moved.looks), ([1002.25, 1005.25, 1007.25], [1006.25]))
        self.assert_asleep()

    def test_what_is_over_is_the_next_tick(self) -> None:
        watcher = Watcher(0)
        self.ticker.watch(watcher, 5)
        self.clock.pump([0.5] * 6)
        self.assertEqual(watcher.looks, [1001.25, 1002.25])

    def test_who_forgets_looks_no_more_although_it_is_its_turn(self) -> None:
        second = Watcher()
        first = Watcher(then=lambda: self.ticker.forget(second))
        self.ticker.watch(first, 1001)
        self.ticker.watch(second, 1001)
        self.clock.advance(10)
        self.assertEqual((first.looks, second.looks), ([1010.25], []))
        self.assert_asleep()

    def test_forgetting_the_last_leaves_no_timer(self) -> None:
        watcher = Watcher()
        self.ticker.watch(watcher, 1100)
        self.ticker.forget(watcher)
        self.ticker.forget(watcher)
        self.assert_asleep()

    def test_one_that_fails_is_logged_and_does_not_stop_the_others(self) -> None:
        other = Watcher()
        self.ticker.watch(Watcher(then=lambda: 1 // 0), 1001)
        self.ticker.watch(other, 1001)
        self.clock.advance(1)
        self.assertEqual(len(other.looks), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_asleep()

    def test_who_begins_while_others_look(self) -> None:
        begun = Watcher()
        self.ticker.watch(Watcher(then=lambda: self.ticker.watch(begun, 1001)), 1001)
        self.clock.pump([1] * 5)
        self.assertEqual(begun.looks, [1002.25])
        self.assert_asleep()

    def test_a_clock_that_jumps_lets_everybody_look_once(self) -> None:
        watchers = [Watcher() for _ in range(50)]
        for number, watcher in enumerate(watchers):
            self.ticker.watch(watcher, 1001 + number)
        self.clock.advance(500)
        self.assertEqual({len(watcher.looks) for watcher in watchers}, {1})
        self.assert_asleep()

    def test_floor_is_the_last_tick_that_is_not_late(self) -> None:
        self.assertEqual([self.ticker.floor(when) for when in (1001.25, 1002.24, 1002.25)], [1001.25, 1001.25, 1002.25])

    def test_shared_by_clock_and_tick_and_forgotten_with_its_last_watcher(self) -> None:
        watcher = Watcher()
        self.ticker.watch(watcher, 1100)
        self.assertIs(ticker_of(self.clock, 1.0), self.ticker)
        self.assertIsNot(ticker_of(self.clock, 0.5), self.ticker)
        self.assertIsNot(ticker_of(Clock(), 1.0), self.ticker)
        self.ticker.forget(watcher)
        unused = weakref.ref(self.ticker)
        self.ticker = Ticker(Clock(), 1.0)
        gc.collect()
        self.assertIsNone(unused())


class TickForTests(TrialCase):
    """A second, or less where a thirtieth of the shortest interval is."""

    def test_it(self) -> None:
        for intervals, tick in (
            ((), 1),
            ((30, 120, 300), 1),
            ((29.0,), 0.5),
            ((10,), 0.25),
            ((1, 300), 1 / 32),
            ((0.01,), 2**-12),
        ):
            self.assertEqual(tick_for(*intervals), tick, intervals)
