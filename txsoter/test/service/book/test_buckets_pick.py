"""Buckets: who is picked, and who is told."""

from __future__ import annotations

from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.support import DAY, NOW, at, buckets, places


class PickTests(TrialCase):
    """Buckets.pick and sample."""

    def test_nothing(self) -> None:
        """Of nothing nothing is picked or told."""
        self.assertIsNone(buckets().pick(NOW))
        self.assertEqual(buckets().sample(NOW, 1000, 23, 50), [])

    def test_skipped(self) -> None:
        """What is not wanted is not picked; the one that is left is found, in either table."""
        book = buckets()
        for number, place in enumerate(places(900)):
            (book.succeeded(place, 1, NOW) if number % 2 else book.hear(place, 1, NOW, place.ip, NOW))
        for wanted in list(book.known)[10:14]:
            known = book.pick(NOW, lambda each, wanted=wanted: each.place != wanted)  # type: ignore[misc]
            assert known is not None
            self.assertEqual(known.place, wanted)
        self.assertIsNone(book.pick(NOW, lambda each: True))

    def test_all_are_picked(self) -> None:
        """Everyone's turn comes, also that of one that fails and fails."""
        book = buckets(8)
        for number, place in enumerate(places(40)):
            (book.succeeded(place, 1, NOW - DAY) if number % 2 else book.hear(place, 1, NOW, place.ip, NOW))
        failing = book.known[next(iter(book.known))]
        failing.attempts = 9
        picked = [book.pick(NOW) for _ in range(20_000)]
        self.assertEqual(set(picked), set(book.known.values()))
        self.assertLess(picked.count(failing), 20_000 / 40 / 5)

    def test_sample(self) -> None:
        """Told are 23 % of all, all when there are few, no more than asked for, no stale ones, none twice."""
        book = buckets()
        for place in places(40):
            book.succeeded(place, 1, NOW)
        self.assertEqual(len(book.sample(NOW, 1000, 23, 50)), 40)
        for place in places(2000, 20):
            book.hear(place, 1, NOW, place.ip, NOW)
            if len(book) == 1000:
                break
        told = book.sample(NOW, 1000, 23, 50)
        self.assertEqual((len(told), len(set(told))), (230, 230))
        self.assertEqual(len(book.sample(NOW, 100, 23, 50)), 100)
        self.assertNotEqual(set(told), set(book.sample(NOW, 1000, 23, 50)))
        later = NOW + 31 * DAY
        fresh = at("1.2.3.4")
        book.succeeded(fresh, 1, later)
        self.assertEqual([known.place for known in book.sample(later, 1000, 23, 50)], [fresh])
