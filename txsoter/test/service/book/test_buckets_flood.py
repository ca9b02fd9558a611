"""Who tells most is not picked most."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from txsoter.service.book.buckets import Buckets
from txsoter.service.book.places import Place
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.support import DAY, HOUR, NOW, SOURCE, at, buckets, ip, places


class FloodTests(TrialCase):
    """Who tells most is not picked most."""

    def share(self, good: Callable[[Buckets, Place], object], sources: int, one_network: bool, flood: int) -> float:
        """The part of picks that a flood gets while 100 good ones are known, all of which must stay."""
        book, rng = buckets(3), Random(4)
        for place in places(100, 40):
            good(book, place)
        known = set(book.known)
        self.assertGreater(len(known), 95)
        for number in range(flood):
            host = f"{number >> 8 & 255}.{number & 255}"
            where = f"6.6.{host}" if one_network else f"{rng.randrange(11, 30)}.{rng.randrange(256)}.{host}"
            place = at(where, 5070 + (number >> 16))
            book.hear(place, 1, NOW, ip(f"6.6.6.{rng.randrange(sources)}"), NOW)
        self.assertGreater(len(book), len(known))
        self.assertTrue(known <= set(book.known))
        picks = 4000
        return sum(self.picked(book) not in known for _ in range(picks)) / picks

    def picked(self, book: Buckets) -> Place:
        known = book.pick(NOW)
        assert known is not None
        return known.place

    def tried(self, book: Buckets, place: Place) -> None:
        book.succeeded(place, 1, NOW - DAY)

    def heard(self, book: Buckets, place: Place) -> None:
        book.hear(place, 1, NOW - HOUR, ip(f"130.{place.ip[13] % 50}.7.7"), NOW)

    def heard_of_one(self, book: Buckets, place: Place) -> None:
        book.hear(place, 1, NOW - HOUR, SOURCE, NOW)

    def test_flood_from_one_network(self) -> None:
        """A source that feeds 100,000 addresses of one /16 gets under 5 % of picks while 100 good ones are known."""
        self.assertLess(self.share(self.tried, 1, True, 100_000), 0.05)

    def test_flood_while_all_is_hearsay(self) -> None:
        """Under 5 %, too, when the good ones were only heard of, from many or from one."""
        for good in (self.heard, self.heard_of_one):
            self.assertLess(self.share(good, 1, True, 20_000), 0.05)

    def test_flood_of_all_networks(self) -> None:
        """Under 5 %, too, when 256 sources in one /16 feed addresses of everywhere."""
        for good in (self.tried, self.heard_of_one):
            self.assertLess(self.share(good, 256, False, 40_000), 0.05)

    def test_half_at_most(self) -> None:
        """However many tell, one that has worked gets half of the picks."""
        book = buckets(5)
        book.succeeded(at("1.2.3.4"), 1, NOW - DAY)
        for number, place in enumerate(places(3000)):
            book.hear(place, 1, NOW, ip(f"{11 + number % 80}.{number % 256}.7.7"), NOW)
        share = sum(self.picked(book) == at("1.2.3.4") for _ in range(2000)) / 2000
        self.assertGreater(share, 0.45)
        self.assertLess(share, 0.55)

    def test_hearsay_when_nothing_works(self) -> None:
        """When those that have worked fail, hearsay gets its half, however few tell it: one must find out."""
        book = buckets(6)
        for place in places(50):
            book.succeeded(place, 1, NOW - DAY)
        for place in places(50, 20):
            book.hear(place, 1, NOW, SOURCE, NOW)
        before = sum(not book.known[self.picked(book)].tried for _ in range(2000)) / 2000
        for known in list(book.known.values()):
            if known.tried:
                book.failed(known.place, NOW)
        after = sum(not book.known[self.picked(book)].tried for _ in range(2000)) / 2000
        self.assertLess(before, 0.05)
        self.assertGreater(after, 0.45)
