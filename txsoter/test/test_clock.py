"""Monotonic and wall-clock time."""

from __future__ import annotations

import time

from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txsoter.clock import monotonic, use_monotonic_time, wall
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
