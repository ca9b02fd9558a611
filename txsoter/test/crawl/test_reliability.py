"""Reliability: decayed shares, and who is good."""

from __future__ import annotations

from unittest import TestCase

from txsoter.crawl.network_map import WINDOWS
from txsoter.crawl.reliability import count_visit, is_good, reliability_rows


def after(visits: str, gap: float = 600.0) -> list[float] | None:
    """The values after visits that succeeded (+) or failed (-), so many seconds apart."""
    values = None
    for each in visits:
        values = count_visit(values, each == "+", gap)
    return values


class ReliabilityTests(TestCase):
    def test_of_one_that_was_never_visited(self) -> None:
        self.assertEqual(reliability_rows(None), ())
        self.assertFalse(is_good(None))

    def test_always_up_is_good_from_the_third_visit_on(self) -> None:
        """More than two samples in two hours; the samples decay, too."""
        self.assertEqual([is_good(after("+" * count)) for count in (1, 2, 3, 20)], [False, False, True, True])

    def test_never_up_is_never_good(self) -> None:
        self.assertFalse(is_good(after("-" * 500)))
        self.assertEqual({row.share for row in reliability_rows(after("--"))}, {0.0})

    def test_mostly_up_is_good_by_a_longer_window_only(self) -> None:
        """Three of four visits: too few for two hours, enough for eight."""
        values = after("+++-" * 40)
        rows = {row.window: row for row in reliability_rows(values)}
        self.assertEqual(list(rows), [name for name, _ in WINDOWS])
        self.assertLess(rows["2h"].share, 0.85)
        self.assertGreater(rows["8h"].share, 0.70)
        self.assertTrue(is_good(values))
        self.assertFalse(is_good(after("-+" * 10)))

    def test_up_again_after_long_is_good_again(self) -> None:
        values = after("-" * 100)
        for _ in range(40):
            values = count_visit(values, True, 600.0)
        self.assertTrue(is_good(values))

    def test_visits_at_the_same_moment_change_no_share(self) -> None:
        values = after("+++")
        assert values is not None
        again = count_visit(values, False, 0.0)
        self.assertEqual(again[::2], values[::2])
