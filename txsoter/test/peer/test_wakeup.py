"""Timers of connections: the ticker that all of a clock share, and those of a connection's own."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from txsoter.core.config import tick_for
from txsoter.core.deadlines import Precision
from txsoter.peer.wakeup import Ticker, Wakeup, ticker_of
from txsoter.test.peer.support import TrialCase


class FakeDriver:
    """A driver whose deadlines are as told, and which notes when it is woken."""

    def __init__(self, clock: Clock, *coarse: float, then: Callable[[], object] = lambda: None) -> None:
        self.due: list[list[float]] = [list(coarse), [], []]
        self.woken: list[float] = []
        self.clock = clock
        self.then = then
        self.channel = self.connection = self
        self.rearm = False
        self.wakeup: Wakeup

    def next_timeouts(self) -> list[float | None]:
        return [min(times, default=None) for times in self.due]

    def timeout(self) -> None:
        self.rearm = True
        now = self.clock.seconds()
        self.woken.append(now)
        self.due = [[time for time in times if time > now] for times in self.due]
        self.then()
        if self.rearm:
            self.rearm = False
            self.wakeup.update()


class WakeupTestCase(TrialCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.25)
        self.ticker = ticker_of(self.clock, 1.0)

    def wakeup(self, *coarse: float, **options: Any) -> tuple[Wakeup, FakeDriver]:
        driver: Any = FakeDriver(self.clock, *coarse, **options)
        driver.wakeup = Wakeup(self.clock, self.clock.seconds, driver, self.ticker, trickle=10)
        driver.wakeup.update()
        return driver.wakeup, driver

    def assert_asleep(self) -> None:
        self.assertEqual((len(self.ticker), self.clock.getDelayedCalls()), (0, []))


class TickerTests(WakeupTestCase):
    """Coarse deadlines are served at the first tick from their time on."""

    def test_never_early_and_at_most_a_tick_late(self) -> None:
        drivers = [self.wakeup(when)[1] for when in (1000.25, 1001.25, 1001.26, 1002.0, 1090.5)]
        self.clock.pump([0.25] * 400)
        self.assertEqual([each.woken for each in drivers], [[1001.25], [1001.25], [1002.25], [1002.25], [1091.25]])
        self.assert_asleep()

    def test_one_timer_for_all(self) -> None:
        for number in range(100):
            self.wakeup(1300.0 - number % 3)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_an_earlier_one_is_not_kept_waiting_by_a_later_one(self) -> None:
        (_, late), (_, early) = self.wakeup(1100), self.wakeup(1010)
        self.clock.pump([1] * 200)
        self.assertEqual((early.woken, late.woken), ([1010.25], [1100.25]))

    def test_a_deadline_that_comes_nearer(self) -> None:
        wakeup, driver = self.wakeup(1100)
        driver.due[Precision.COARSE].append(1010)
        wakeup.update()
        self.clock.pump([1] * 200)
        self.assertEqual(driver.woken, [1010.25, 1100.25])

    def test_a_deadline_that_moves_on_is_looked_at_at_its_old_time(self) -> None:
        wakeup, driver = self.wakeup(1010)
        driver.due[Precision.COARSE] = [1100]
        wakeup.update()
        self.clock.pump([1] * 200)
        self.assertEqual(driver.woken, [1010.25, 1100.25])

    def test_one_that_is_stopped_is_not_woken_and_the_timer_ends_with_the_last(self) -> None:
        (first, one), (second, other) = self.wakeup(1010), self.wakeup(1010)
        first.stop()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        second.stop()
        self.assert_asleep()
        self.clock.advance(100)
        self.assertEqual((one.woken, other.woken), ([], []))

    def test_one_may_stop_another_of_the_same_tick(self) -> None:
        stops: list[Wakeup] = []
        _, first = self.wakeup(1010, then=lambda: stops.pop().stop())
        wakeup, second = self.wakeup(1010)
        stops.append(wakeup)
        self.clock.pump([1] * 20)
        self.assertEqual((first.woken, second.woken), ([1010.25], []))
        self.assert_asleep()

    def test_the_fault_of_one_does_not_stop_the_others(self) -> None:
        _, first = self.wakeup(1010, then=lambda: 1 // 0)
        _, second = self.wakeup(1010, 1020)
        self.clock.pump([1] * 30)
        self.assertEqual((first.woken, second.woken), ([1010.25], [1010.25, 1020.25]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_ticks_that_were_missed_are_made_up_for_at_once(self) -> None:
        _, driver = self.wakeup(1010, 1020)
        self.clock.advance(500)
        self.assertEqual(driver.woken, [1500.25])

    def test_connections_of_a_clock_and_a_tick_share_one(self) -> None:
        self.assertIs(ticker_of(self.clock, 1.0), self.ticker)
        self.assertIsNot(ticker_of(self.clock, 0.5), self.ticker)
        self.assertIsNot(ticker_of(Clock(), 1.0), self.ticker)

    def test_it_keeps_no_clock_that_nobody_uses(self) -> None:
        clock = Clock()
        Ticker(clock, 1.0)
        ticker_of(clock, 1.0)
        seen = weakref.ref(clock)
        del clock
        gc.collect()
        self.assertIsNone(seen())

    def test_a_tick_is_a_second_or_a_thirtieth_of_the_shortest_interval(self) -> None:
        self.assertEqual([tick_for(), tick_for(300, 30), tick_for(15, 120), tick_for(1)], [1.0, 1.0, 0.5, 2.0**-5])


class OwnTimersTests(WakeupTestCase):
    """Exact deadlines have one delayed call for the earliest, trickling a LoopingCall while vectors wait."""

    def test_an_exact_deadline_is_served_in_time(self) -> None:
        wakeup, driver = self.wakeup()
        driver.due[Precision.EXACT] = [1010.5, 1003.125]
        wakeup.update()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([0.125] * 100)
        self.assertEqual(driver.woken, [1003.125, 1010.5])
        self.assert_asleep()

    def test_one_that_is_no_longer_needed_leaves_no_timer(self) -> None:
        wakeup, driver = self.wakeup()
        driver.due[Precision.EXACT] = [1010.5]
        wakeup.update()
        driver.due[Precision.EXACT] = []
        wakeup.update()
        self.assert_asleep()

    def test_trickling_goes_on_by_the_interval_while_something_waits(self) -> None:
        wakeup, driver = self.wakeup()
        driver.due[Precision.TRICKLE] = [1010.25, 1020.25]
        wakeup.update()
        self.clock.pump([1] * 50)
        self.assertEqual(driver.woken, [1010.25, 1020.25])
        self.assert_asleep()

    def test_stopped_none_is_left(self) -> None:
        wakeup, driver = self.wakeup(1100)
        driver.due[Precision.EXACT] = [1010.5]
        driver.due[Precision.TRICKLE] = [1010.25]
        wakeup.update()
        self.assertEqual(len(self.clock.getDelayedCalls()), 3)
        wakeup.stop()
        self.assert_asleep()


class SetBackReactor(Clock):
    """A reactor whose delayed calls follow the wall clock, while connections are measured by ``monotonic``."""

    def __init__(self) -> None:
        super().__init__()
        self.monotonic = 0.0

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.monotonic += 1
            self.advance(1)


class SetBackTests(TrialCase):
    """The wall clock is set back, and an application's reactor schedules by it."""

    def test_the_next_read_notices_overdue_ticks_and_everything_is_armed_again(self) -> None:
        reactor = SetBackReactor()
        self.patch_monotonic(lambda: reactor.monotonic)
        ticker = ticker_of(reactor, 1.0)
        driver: Any = FakeDriver(Clock(), 30.0)
        driver.clock.seconds = lambda: reactor.monotonic
        driver.due[Precision.EXACT] = [25.5]
        driver.wakeup = Wakeup(reactor, ticker.now, driver, ticker, trickle=10)
        driver.wakeup.update()
        reactor.pass_time(5)
        reactor.rightNow -= 3600
        reactor.pass_time(4)
        self.assertEqual(len(reactor.getDelayedCalls()), 2)
        ticker.now()
        self.assertEqual(len(reactor.getDelayedCalls()), 2)
        reactor.pass_time(3)
        # a connection reads
        ticker.now()
        reactor.pass_time(1)
        reactor.pass_time(20)
        self.assertEqual(driver.woken, [26.0, 30.0])
        driver.wakeup.stop()
        self.assertEqual(reactor.getDelayedCalls(), [])

    def patch_monotonic(self, now: Callable[[], float]) -> None:
        patch: Callable[..., object] = self.patch  # type: ignore[attr-defined]
        patch(__import__("txsoter.peer.wakeup").peer.wakeup, "monotonic", lambda clock: now)
