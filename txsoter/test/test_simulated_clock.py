"""``txsoter.testing.SimulatedClock``: what Twisted's ``Clock`` does, for many calls, each at its own time."""

from __future__ import annotations

from random import Random
from time import process_time
from unittest.mock import patch

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock, LoopingCall
from zope.interface.verify import verifyObject

import txsoter.testing.clock
from txsoter.test.peer.support import TrialCase
from txsoter.testing import Livelock, SimulatedClock


class ClockTests(TrialCase):
    def setUp(self) -> None:
        self.clock = SimulatedClock()
        self.made: list[tuple[str, float]] = []

    def call(self, seconds: float, name: str) -> IDelayedCall:
        return self.clock.callLater(seconds, lambda: self.made.append((name, self.clock.seconds())))

    def test_it_is_a_clock(self) -> None:
        verifyObject(IReactorTime, self.clock)
        self.assertIsInstance(self.clock, Clock)
        verifyObject(IDelayedCall, self.call(1, "one"))
        self.assertEqual(self.clock.calls, self.clock.getDelayedCalls())

    def test_each_call_is_made_at_its_own_time(self) -> None:
        self.call(2, "two")
        self.call(1, "one")
        self.clock.callLater(1.5, lambda: self.call(0.25, "nested"))
        self.call(3, "three")
        self.clock.advance(2.5)
        self.assertEqual(self.made, [("one", 1), ("nested", 1.75), ("two", 2)])
        self.assertEqual(self.clock.seconds(), 2.5)
        self.clock.pump([0.25, 0.25])
        self.assertEqual(self.made[3:], [("three", 3)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_calls_of_one_time_are_made_in_the_order_in_which_they_were_set(self) -> None:
        for number in range(20):
            self.call(1, str(number))
        self.clock.advance(1)
        self.assertEqual([int(name) for name, _ in self.made], [*range(20)])

    def test_what_is_due_now_waits_until_time_goes_on(self) -> None:
        self.call(0, "now")
        self.assertEqual(self.made, [])
        self.clock.advance(0)
        self.assertEqual(self.made, [("now", 0)])

    def test_calls_are_cancelled_reset_and_delayed(self) -> None:
        calls = {name: self.call(5, name) for name in ("cancelled", "sooner", "later", "delayed", "both", "called")}
        calls["cancelled"].cancel()
        calls["sooner"].reset(2)
        calls["later"].reset(8)
        calls["delayed"].delay(1)
        calls["both"].reset(1)
        calls["both"].reset(7)
        waiting = [calls[name] for name in ("sooner", "called", "delayed", "both", "later")]
        self.assertEqual(self.clock.getDelayedCalls(), waiting)
        self.assertEqual(self.clock.next_time, 2)
        self.clock.advance(10)
        expected = [("sooner", 2), ("called", 5), ("delayed", 6), ("both", 7), ("later", 8)]
        self.assertEqual((self.made, self.clock.next_time), (expected, None))
        with self.assertRaises(AlreadyCalled):
            calls["called"].cancel()
        with self.assertRaises(AlreadyCancelled):
            calls["cancelled"].reset(1)

    def test_as_twisteds_clock_whatever_is_done(self) -> None:
        """Random calls, cancelled, reset and delayed: the same are made, second by second."""
        for seed in range(50):
            self.assertEqual(self.life(seed, SimulatedClock()), self.life(seed, Clock()))

    def life(self, seed: int, clock: Clock) -> list[list[int]]:
        """What a clock makes of many calls: those of each second, whose order among them Twisted does not promise."""
        random = Random(seed)
        made: list[list[int]] = [[]]
        calls: list[IDelayedCall] = []

        def make(number: int) -> None:
            made[-1].append(number)

        for number in range(500):
            action = random.random()
            call = random.choice(calls) if calls else None
            seconds = random.randrange(1, 50)
            if action < 0.5 or call is None:
                calls.append(clock.callLater(seconds, make, number))
            elif action > 0.8:
                clock.advance(1)
                made[-1].sort()
                made.append([])
            elif call.active() and action < 0.55:
                call.cancel()
            elif call.active() and action < 0.7:
                call.reset(seconds)
            elif call.active():
                call.delay(seconds)
        clock.advance(2000)
        made[-1].sort()
        return made

    def test_what_is_raised_stops_the_time_there_and_loses_nothing(self) -> None:
        self.clock.callLater(1, lambda: 1 // 0)
        self.call(2, "two")
        with self.assertRaises(ZeroDivisionError):
            self.clock.advance(5)
        self.assertEqual((self.clock.seconds(), self.made), (1, []))
        self.clock.advance(1)
        self.assertEqual(self.made, [("two", 2)])

    def test_a_circle_of_calls_is_found(self) -> None:
        def again() -> None:
            self.clock.callLater(0, again)

        again()
        with patch.object(txsoter.testing.clock, "MAX_CALLS_AT_ONCE", 1000), self.assertRaisesRegex(Livelock, "again"):
            self.clock.advance(1)

    def test_a_looping_call(self) -> None:
        loop = LoopingCall(lambda: self.made.append(("loop", self.clock.seconds())))
        loop.clock = self.clock
        loop.start(2, now=False)
        self.clock.advance(7)
        loop.stop()
        self.assertEqual(self.made, [("loop", 2), ("loop", 4), ("loop", 6)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled_calls_do_not_pile_up(self) -> None:
        for _ in range(10_000):
            self.call(1000, "never").cancel()
        self.assertLess(len(self.clock._heap), 1000)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_call_costs_little_however_many_wait(self) -> None:
        """With Twisted's clock it costs ten times as much for ten times as many."""
        for number in range(20_000):
            self.call(1000 + number, "waits")
        start = process_time()
        for _ in range(2000):
            self.call(0, "now")
        self.clock.advance(0)
        # Twisted's takes five seconds
        self.assertLess(process_time() - start, 1)
