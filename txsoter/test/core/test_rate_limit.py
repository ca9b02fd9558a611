"""Messages and bytes a second that one remote may send."""

from __future__ import annotations

from unittest import TestCase

from txsoter.core.rate_limit import RateLimit


class RateLimitTests(TestCase):
    def taken(self, limit: RateLimit, size: int, seconds: int) -> int:
        """Return the number of messages that are let in meanwhile, of a remote that sends as soon as it may."""
        now, taken = 0.0, 0
        while now <= seconds:
            taken += 1
            limit.spend(size, now)
            now = max(now, limit.due())
        return taken

    def test_the_first_may_come_at_once(self) -> None:
        self.assertLessEqual(RateLimit(10, None, 5.0).due(), 5.0)
        self.assertLessEqual(RateLimit(None, 10, 5.0).due(), 5.0)
        self.assertLessEqual(RateLimit(None, None, 5.0).due(), 5.0)

    def test_a_seconds_worth_of_messages_at_once_and_then_so_many_a_second(self) -> None:
        self.assertEqual(self.taken(RateLimit(10, None, 0), 1000, 9), 100)
        self.assertEqual(self.taken(RateLimit(0.5, None, 0), 1000, 100), 51)

    def test_bytes(self) -> None:
        self.assertEqual(self.taken(RateLimit(None, 1000, 0), 100, 9), 101)

    def test_a_message_larger_than_a_seconds_worth_is_taken_and_then_waited_for(self) -> None:
        limit = RateLimit(None, 1000, 0)
        limit.spend(31_000, 0)
        self.assertEqual(limit.due(), 30)

    def test_the_slower_of_both(self) -> None:
        self.assertEqual(self.taken(RateLimit(10, 100, 0), 100, 9), self.taken(RateLimit(None, 100, 0), 100, 9))
        self.assertEqual(self.taken(RateLimit(1, 100, 0), 1, 9), self.taken(RateLimit(1, None, 0), 1, 9))

    def test_what_was_not_used_is_not_saved_up(self) -> None:
        for limit in (RateLimit(10, None, 0), RateLimit(None, 10, 0)):
            for _ in range(11):
                limit.spend(1, 1000)
            self.assertGreater(limit.due(), 1000)

    def test_a_time_that_does_not_go_on_gives_nothing(self) -> None:
        limit = RateLimit(1, None, 100)
        limit.spend(1, 100)
        limit.spend(1, 99)
        self.assertEqual(limit.due(), 101)
