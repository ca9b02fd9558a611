"""The times of something that is repeated."""

from __future__ import annotations

from unittest import TestCase

from txsoter.core.beat import next_beat


class NextBeatTests(TestCase):
    def test_in_time_it_is_an_interval_later(self) -> None:
        self.assertEqual(next_beat(10.0, 5.0, 10.0), 15.0)
        self.assertEqual(next_beat(10.0, 5.0, 14.9), 15.0)

    def test_late_it_keeps_the_beat_and_makes_up_for_none(self) -> None:
        self.assertEqual(next_beat(10.0, 5.0, 15.0), 20.0)
        self.assertEqual(next_beat(10.0, 5.0, 123.0), 125.0)

    def test_early_it_is_the_next_all_the_same(self) -> None:
        """A timer may fire by a rounding too early."""
        self.assertEqual(next_beat(10.0, 5.0, 9.9999999), 15.0)

    def test_it_is_always_later_than_now(self) -> None:
        for step in range(1000):
            now = step * 0.1
            self.assertGreater(next_beat(0.3, 0.1, now), now)
