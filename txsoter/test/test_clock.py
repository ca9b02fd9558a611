"""Monotonic and wall-clock time."""

from __future__ import annotations

import time

from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txsoter.clock import TimeStamps, monotonic, use_monotonic_time, wall
from txsoter.errors import LocalError
from txsoter.testing import SimulatedClock


class MonotonicAndWallTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = SelectReactor()
        self.addCleanup(self.reactor.removeAll)

    def test_durations_of_a_reactor_are_monotonic_and_its_stamps_wall_clock(self) -> None:
        self.assertIs(monotonic(self.reactor), time.monotonic)
        self.assertIs(wall(self.reactor), time.time)

    def test_a_test_clock_gives_both(self) -> None:
        clock = Clock()
        clock.advance(5)
        self.assertEqual((monotonic(clock)(), wall(clock)()), (5.0, 5.0))

    def test_a_step_of_a_simulated_wall_clock_changes_stamps_alone(self) -> None:
        clock = SimulatedClock()
        clock.advance(5)
        clock.step_wall(-3600)
        self.assertEqual((monotonic(clock)(), wall(clock)()), (5.0, -3595.0))


class TimeStampsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = SimulatedClock()
        self.clock.advance(1000)
        self.clock.step_wall(1_700_000_000)
        self.stamps = TimeStamps(self.clock)

    def test_a_moment_has_the_stamp_that_the_wall_clock_showed(self) -> None:
        self.assertEqual((self.stamps.of(900), self.stamps.now()), (1_700_000_900, 1_700_001_000))

    def test_ages_do_not_change_when_the_wall_clock_is_set(self) -> None:
        """The stamps move with it, those of the past as well."""
        for step in (400, 86400, -3600, -86400):
            now = self.stamps.now()
            self.clock.step_wall(step)
            self.assertEqual(self.stamps.now() - now, step)
            self.assertEqual(self.stamps.now() - self.stamps.of(900), 100)

    def test_a_moment_keeps_its_stamp_while_the_clocks_differ_by_a_trifle(self) -> None:
        for _ in range(3):
            self.clock.step_wall(0.125)
            self.assertEqual(self.stamps.of(900), 1_700_000_900)
        self.clock.step_wall(0.125)
        self.assertEqual(self.stamps.of(900), 1_700_000_900.5)


class UseMonotonicTimeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = SelectReactor()
        self.addCleanup(self.reactor.removeAll)

    def test_calls_are_scheduled_by_monotonic_time(self) -> None:
        use_monotonic_time(self.reactor)
        use_monotonic_time(self.reactor)
        call = self.reactor.callLater(60, lambda: None)
        self.assertApproximates(call.getTime() - time.monotonic(), 60, 5)
        self.assertApproximates(self.reactor.timeout() or 0, 60, 5)

    def test_a_reactor_with_scheduled_calls_is_refused(self) -> None:
        call = self.reactor.callLater(60, lambda: None)
        self.addCleanup(call.cancel)
        with self.assertRaisesRegex(LocalError, "before anything is scheduled"):
            use_monotonic_time(self.reactor)
