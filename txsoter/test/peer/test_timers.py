"""Tests of :mod:`txsoter.peer.timers`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.python.failure import Failure

from txsoter.peer.timers import Deadline, RemoteClock, Repeating
from txsoter.test.peer.support import TrialCase


class RepeatingTests(TrialCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.times: list[float] = []
        self.failures: list[Failure] = []
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def repeating(self, interval: float | None) -> Repeating:
        loop = Repeating(self.clock, interval, lambda: self.times.append(self.clock.seconds()), self.failures.append)
        self.addCleanup(loop.stop)
        return loop

    def test_the_first_time_is_one_interval_from_now(self) -> None:
        """``now=False``."""
        self.repeating(10.0).start()
        self.clock.pump([5.0] * 7)
        self.assertEqual(self.times, [10.0, 20.0, 30.0])

    def test_starting_twice_is_starting_once(self) -> None:
        loop = self.repeating(10.0)
        loop.start()
        self.clock.advance(5)
        loop.start()
        self.clock.advance(5)
        self.assertEqual(self.times, [10.0])

    def test_it_costs_nothing_while_stopped_and_can_start_again(self) -> None:
        loop = self.repeating(10.0)
        loop.stop()
        loop.start()
        loop.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(7)
        loop.start()
        self.clock.advance(10)
        self.assertEqual(self.times, [17.0])

    def test_none_means_never(self) -> None:
        self.repeating(None).start()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_may_be_stopped_from_within(self) -> None:
        def action() -> None:
            self.times.append(self.clock.seconds())
            loop.stop()

        loop = Repeating(self.clock, 1.0, action, self.failures.append)
        loop.start()
        self.clock.pump([1.0] * 3)
        self.assertEqual((len(self.times), self.failures), (1, []))

    def test_a_failure_is_told_and_ends_it(self) -> None:
        """Else a failure stops it in silence."""
        loop = Repeating(self.clock, 1.0, lambda: 1 / 0, self.failures.append)
        loop.start()
        self.clock.pump([1.0] * 3)
        self.assertEqual([failure.type for failure in self.failures], [ZeroDivisionError])
        loop.stop()


class DeadlineTests(TrialCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.until: float | None = 10.0
        self.expired: list[float] = []
        self.deadline = Deadline(self.clock, self.left, lambda: self.expired.append(self.clock.seconds()))

    def left(self) -> float | None:
        return None if self.until is None else self.until - self.clock.seconds()

    def test_it_expires_once_at_its_time(self) -> None:
        self.deadline.arm()
        self.deadline.arm()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(9.999)
        self.assertEqual(self.expired, [])
        self.clock.advance(0.001)
        self.assertEqual(len(self.expired), 1)
        self.clock.advance(100)
        self.assertEqual(len(self.expired), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_time_that_moved_on_costs_no_timer_of_its_own(self) -> None:
        """Note the time … and re-arm on expiry, never ``reset`` per message."""
        self.deadline.arm()
        for second in range(1, 10):
            self.clock.advance(1)
            self.until = second + 10.0
            self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [10.0])
        self.clock.advance(1)
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [19.0])
        self.clock.advance(9)
        self.assertEqual(self.expired, [19.0])

    def test_a_time_that_came_nearer_counts_when_it_is_armed_again(self) -> None:
        self.until = 100.0
        self.deadline.arm()
        self.until = 10.0
        self.deadline.arm()
        self.clock.advance(10)
        self.assertEqual(self.expired, [10.0])

    def test_with_nothing_to_wait_for_it_does_not_watch(self) -> None:
        self.until = None
        self.deadline.arm()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.until = 10.0
        self.deadline.arm()
        self.until = None
        self.clock.advance(10)
        self.assertEqual((self.expired, self.clock.getDelayedCalls()), ([], []))
        self.until = 20.0
        self.deadline.arm()
        self.until = None
        self.deadline.arm()
        self.clock.advance(10)
        self.assertEqual((self.expired, self.clock.getDelayedCalls()), ([], []))

    def test_a_time_that_is_past_expires_at_once_but_not_within_arm(self) -> None:
        self.clock.advance(11)
        self.deadline.arm()
        self.assertEqual(self.expired, [])
        self.clock.advance(0)
        self.assertEqual(self.expired, [11.0])

    def test_disarm(self) -> None:
        self.deadline.disarm()
        self.deadline.arm()
        self.deadline.disarm()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(100)
        self.assertEqual(self.expired, [])

    def test_it_may_be_armed_from_within(self) -> None:
        def again() -> None:
            self.expired.append(self.clock.seconds())
            self.until = self.clock.seconds() + 10.0
            deadline.arm()

        deadline = Deadline(self.clock, self.left, again)
        deadline.arm()
        self.clock.pump([5.0] * 4)
        self.assertEqual(self.expired, [10.0, 20.0])
        deadline.disarm()


class RemoteClockTests(TrialCase):
    """Stands still while a handler runs."""

    def test_it_leaves_out_the_time_of_handlers(self) -> None:
        clock = Clock()
        clock.advance(1000)
        remote = RemoteClock(clock)
        self.assertEqual((remote.seconds(), remote.running), (1000, True))
        clock.advance(5)
        remote.stop()
        clock.advance(50)
        self.assertEqual((remote.seconds(), remote.running), (1005, False))
        remote.go_on()
        self.assertEqual((remote.seconds(), remote.running), (1005, True))
        clock.advance(3)
        remote.stop()
        clock.advance(7)
        remote.go_on()
        remote.go_on()
        clock.advance(1)
        self.assertEqual(remote.seconds(), 1009)
