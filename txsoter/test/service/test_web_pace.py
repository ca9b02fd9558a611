"""Tests of :mod:`txsoter.service.web.pace`."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txsoter.service.web.pace import Pace


class PaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.pace = Pace(self.clock, burst=3, rate=10)
        self.made: list[int] = []

    def wait(self, *numbers: int) -> list[Callable[[], None]]:
        calls: list[Callable[[], None]] = [lambda number=number: self.made.append(number) for number in numbers]  # type: ignore[misc]
        for call in calls:
            self.pace.wait(call)
        return calls

    def test_a_burst_goes_through_at_once_and_the_rest_at_the_rate_in_order(self) -> None:
        self.wait(*range(8))
        self.assertEqual(self.made, [0, 1, 2, 3])
        self.clock.advance(0.11)
        self.assertEqual(self.made, [0, 1, 2, 3, 4])
        self.wait(8)
        self.clock.pump([0.1] * 4)
        self.assertEqual(self.made, list(range(9)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_rest_gives_a_burst_again_and_no_more(self) -> None:
        self.wait(*range(4))
        self.clock.advance(1000)
        self.wait(*range(4, 20))
        self.assertEqual(len(self.made), 8)
        self.clock.pump([0.1] * 13)
        self.assertEqual(len(self.made), 20)

    def test_what_is_forgotten_is_not_called_and_leaves_no_timer(self) -> None:
        calls = self.wait(*range(6))
        self.pace.forget(calls[0])
        self.pace.forget(calls[4])
        self.clock.advance(0.2)
        self.assertEqual(self.made, [0, 1, 2, 3, 5])
        calls = self.wait(6, 7, 8)
        for call in calls:
            self.pace.forget(call)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_call_that_waits_again_comes_last(self) -> None:
        """Two that are always there take turns."""

        def again(number: int) -> None:
            self.made.append(number)
            if len(self.made) < 20:
                self.pace.wait(lambda: again(number))

        self.pace.wait(lambda: again(1))
        self.pace.wait(lambda: again(2))
        self.clock.pump([0.1] * 30)
        self.assertLessEqual(abs(self.made.count(1) - self.made.count(2)), 5)
        self.assertEqual(self.made[8:12], [1, 2, 1, 2])
