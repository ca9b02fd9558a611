"""Steps of the wall clock, below peers that live for hours."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from txsoter import Listeners
from txsoter.core.state import State
from txsoter.test.peer.cases import WholePeerTestCase, config
from txsoter.testing import SimulatedClock
from txsoter.wire import GetBlocks, Inv, Ping, Pong

DAY = 86400.0
STEPS = (400.0, DAY, -3600.0, -DAY)


class ClockStepTests(WholePeerTestCase):
    def test_nothing_is_closed_and_no_ping_is_late(self) -> None:
        for step in STEPS:
            clock = SimulatedClock()
            pinged: list[float] = []

            def on_ping(peer: object, ping: Ping, pinged: list[float] = pinged, clock: SimulatedClock = clock) -> None:
                pinged.append(clock.seconds())

            pair = self.connected_pair(
                config(random=Random(1)), config(listeners=Listeners(on_ping=on_ping)), clock=clock
            )
            for _ in range(60):
                pair.advance(10, 1)
            clock.step_wall(step)
            answer = pair.client.request(GetBlocks(height=0), Inv, timeout=20)
            pair.pump()
            pair.server.send(Inv())
            pair.pump()
            self.assertEqual(self.successResultOf(answer), Inv())
            for _ in range(60):
                pair.advance(10, 1)
            self.assertIs(pair.client.state, State.READY)
            self.assertGreaterEqual(len(pinged), 10)
            gaps = [later - earlier for earlier, later in pairwise(pinged)]
            self.assertTrue(all(107 <= gap <= 120 for gap in gaps), gaps)

    def test_a_request_times_out_in_its_time(self) -> None:
        for step in STEPS:
            clock = SimulatedClock()
            pair = self.scripted(clock=clock)
            answer = pair.peer.request(Ping(1), Pong, timeout=30)
            clock.advance(10)
            clock.step_wall(step)
            clock.advance(19)
            self.assertNoResult(answer)
            clock.advance(1)
            self.failureResultOf(answer)

    def test_stamps_follow_the_wall_clock_and_ages_do_not(self) -> None:
        clock = SimulatedClock()
        pair = self.scripted(clock=clock)
        clock.advance(100)
        clock.step_wall(DAY)
        stats = pair.peer.stats()
        assert stats.connected_at is not None
        self.assertEqual(clock.wall_seconds() - stats.connected_at, 100.0)
