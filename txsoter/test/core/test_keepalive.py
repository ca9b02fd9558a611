"""Pings: the time of the next, round trips, and a bound on those in flight."""

from __future__ import annotations

from unittest import TestCase

from txsoter.core.keepalive import MAX_PINGS_IN_FLIGHT, PingTracker, pong_frame
from txsoter.wire import Ping, write_message


class PingTrackerTests(TestCase):
    def setUp(self) -> None:
        self.pings = PingTracker()

    def seen(self) -> tuple[int | None, float | None, int | None]:
        return self.pings.last_nonce, self.pings.last_time, self.pings.last_micros

    def round_trip(self, nonce: int, now: float) -> float:
        seconds = self.pings.received(nonce, now)
        assert seconds is not None
        return seconds

    def test_never_measured_reads_as_none(self) -> None:
        self.assertEqual((*self.seen(), self.pings.in_flight), (None, None, None, 0))

    def test_nonce_time_and_round_trip_in_microseconds_are_kept(self) -> None:
        self.pings.sent(7, 100.0)
        self.assertEqual((*self.seen(), self.pings.in_flight), (7, 100.0, None, 1))
        self.assertAlmostEqual(self.round_trip(7, 100.001234), 0.001234)
        self.assertEqual((*self.seen(), self.pings.in_flight), (7, 100.0, 1234, 0))

    def test_a_pong_with_another_nonce_changes_nothing(self) -> None:
        self.pings.sent(7, 100.0)
        self.assertIsNone(self.pings.received(8, 101.0))
        self.assertEqual((*self.seen(), self.pings.in_flight), (7, 100.0, None, 1))

    def test_a_second_pong_changes_nothing(self) -> None:
        self.pings.sent(7, 100.0)
        self.pings.received(7, 100.5)
        self.assertIsNone(self.pings.received(7, 109.0))
        self.assertEqual(self.pings.last_micros, 500_000)

    def test_several_pings_may_be_in_flight(self) -> None:
        """A second ping makes the reference miss the first pong."""
        self.pings.sent(1, 100.0)
        self.pings.sent(2, 101.0)
        self.assertEqual(self.pings.in_flight, 2)
        self.assertEqual(self.pings.received(1, 102.0), 2.0)
        self.assertEqual(self.pings.received(2, 104.0), 3.0)
        self.assertEqual(self.seen(), (2, 101.0, 3_000_000))

    def test_no_time_at_all_is_a_measurement(self) -> None:
        self.pings.sent(0, 0.0)
        self.assertEqual(self.pings.received(0, 0.0), 0)
        self.assertEqual(self.seen(), (0, 0.0, 0))

    def test_a_remote_that_never_answers_costs_a_bounded_memory(self) -> None:
        """Past the limit the oldest quarter is forgotten, and no more."""
        for nonce in range(MAX_PINGS_IN_FLIGHT):
            self.pings.sent(nonce, float(nonce))
        self.assertEqual(self.pings.in_flight, MAX_PINGS_IN_FLIGHT)
        self.pings.sent(MAX_PINGS_IN_FLIGHT, 0.0)
        quarter = MAX_PINGS_IN_FLIGHT // 4
        self.assertEqual(self.pings.in_flight, MAX_PINGS_IN_FLIGHT - quarter + 1)
        self.assertIsNone(self.pings.received(quarter - 1, 50_000.0))
        self.assertEqual(self.pings.received(quarter, quarter + 1.0), 1.0)


class PingTimeTests(TestCase):
    def setUp(self) -> None:
        self.pings = PingTracker()

    def test_none_is_due_before_the_first_interval_is_over(self) -> None:
        self.assertFalse(self.pings.is_due(1e9))
        self.pings.begin(10.0, 100.0)
        self.assertEqual((self.pings.every, self.pings.due), (10.0, 110.0))
        self.assertFalse(self.pings.is_due(109.9))
        self.assertTrue(self.pings.is_due(110.0))
        self.assertFalse(self.pings.is_due(119.9))
        self.assertTrue(self.pings.is_due(120.0))

    def test_a_late_one_is_not_made_up_for(self) -> None:
        self.pings.begin(10.0, 0.0)
        self.assertTrue(self.pings.is_due(55.0))
        self.assertFalse(self.pings.is_due(55.0))
        assert self.pings.due is not None
        self.assertTrue(55.0 < self.pings.due <= 65.0)


class PongFrameTests(TestCase):
    def test_it_is_the_frame_of_the_pings_response(self) -> None:
        for nonce in (0, 7, (1 << 64) - 1):
            ping = Ping(nonce)
            check = write_message(ping, 0x12141C16)[20:24]
            self.assertEqual(pong_frame(0x12141C16, check, nonce), write_message(ping.response(), 0x12141C16))
