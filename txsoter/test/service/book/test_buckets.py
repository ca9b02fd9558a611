"""The policy: what an address manager like Bitcoin's guarantees."""

from __future__ import annotations

from itertools import islice
from random import Random
from unittest.mock import patch

from txsoter.service.book.buckets import Buckets
from txsoter.service.book.known import Known
from txsoter.service.book.places import Place, group_of, source_group
from txsoter.service.book.tables import BUCKET, NEW_BUCKETS, TRIED_BUCKETS, Slots
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.support import DAY, HOUR, NOW, SOURCE, at, buckets, ip, neighbours, places, rival

MINUTE = 60


SLOTS = Slots(bytes(32))


def new_slot(place: Place) -> int:
    return SLOTS.of_new(place, group_of(place), source_group(SOURCE))


def tried_slot(place: Place) -> int:
    return SLOTS.of_tried(place, group_of(place))


class HearTests(TrialCase):
    """Buckets.hear."""

    def test_known(self) -> None:
        """What is told is kept as hearsay, two hours older than it is said to be."""
        book = buckets()
        self.assertTrue(book.hear(at("1.2.3.4"), 9, NOW - HOUR, SOURCE, NOW))
        (known,) = book.known.values()
        self.assertEqual((known.place, known.services, known.source), (at("1.2.3.4"), 9, SOURCE))
        self.assertEqual(known.seen, NOW - 3 * HOUR)
        self.assertFalse(known.tried)
        self.assertEqual((len(book), book.tried), (1, 0))

    def test_of_itself(self) -> None:
        """Who tells of itself is believed the time."""
        book = buckets()
        book.hear(at("77.7.7.7"), 1, NOW - HOUR, SOURCE, NOW)
        self.assertEqual(book.known[at("77.7.7.7")].seen, NOW - HOUR)

    def test_times_that_cannot_be(self) -> None:
        """A time of the future or of before 1973 says nothing: then it was five days ago."""
        for seen in (0, 1, 100_000_000, NOW + 10 * MINUTE + 1, (1 << 32) - 1):
            book = buckets()
            book.hear(at("1.2.3.4"), 1, seen, SOURCE, NOW)
            self.assertEqual(book.known[at("1.2.3.4")].seen, NOW - 5 * DAY - 2 * HOUR, seen)
        for seen in (100_000_001, NOW + 10 * MINUTE):
            book = buckets()
            book.hear(at("1.2.3.4"), 1, seen, SOURCE, NOW)
            self.assertEqual(book.known[at("1.2.3.4")].seen, seen - 2 * HOUR, seen)

    def test_heard_again(self) -> None:
        """A later time is taken: within a day when it is an hour later, else when it is a day later."""
        book = buckets()
        for told, kept in (
            (NOW - 10 * DAY, NOW - 10 * DAY),
            (NOW - 10 * DAY + 23 * HOUR, NOW - 10 * DAY),
            (NOW - 8 * DAY, NOW - 8 * DAY),
            (NOW - 9 * DAY, NOW - 8 * DAY),
            (NOW - 5 * HOUR, NOW - 5 * HOUR),
            (NOW - 4 * HOUR - 1, NOW - 5 * HOUR),
            (NOW - 3 * HOUR, NOW - 3 * HOUR),
        ):
            book.hear(at("1.2.3.4"), 1, told + 2 * HOUR, SOURCE, NOW)
            self.assertEqual(book.known[at("1.2.3.4")].seen, kept)

    def test_services(self) -> None:
        """Services that hearsay adds are added; of one that has worked we know them from itself."""
        book = buckets()
        book.hear(at("1.2.3.4"), 1, NOW - DAY, SOURCE, NOW)
        book.hear(at("1.2.3.4"), 8, NOW - HOUR, SOURCE, NOW)
        self.assertEqual(book.known[at("1.2.3.4")].services, 9)
        book.succeeded(at("1.2.3.4"), 5, NOW)
        book.hear(at("1.2.3.4"), 64, NOW + MINUTE, SOURCE, NOW)
        self.assertEqual(book.known[at("1.2.3.4")].services, 5)

    def test_refused(self) -> None:
        """What cannot be reached from the internet is not kept; nor a port of 0 or below 1024, which is others'."""
        book = buckets()
        for place in (
            at("127.0.0.1"),
            at("10.1.2.3"),
            at("fe80::1"),
            at("2001:db8::1"),
            Place(ip("1.2.3.4"), 0),
            at("1.2.3.4", 22),
            at("1.2.3.4", 1023),
        ):
            self.assertFalse(book.hear(place, 1, NOW, SOURCE, NOW), place)
        self.assertEqual((book.known, book.changed), ({}, set()))
        self.assertTrue(book.hear(at("1.2.3.4", 1024), 1, NOW, SOURCE, NOW))
        self.assertTrue(buckets(default_port=443).hear(at("1.2.3.4", 443), 1, NOW, SOURCE, NOW))

    def test_unroutable_if_allowed(self) -> None:
        """Where the config says so, loopback and private addresses are kept: many of one host, by port."""
        book = buckets(allow_unroutable=True)
        for port in range(2000, 2100):
            book.hear(at("127.0.0.1", port), 1, NOW, ip("127.0.0.1"), NOW)
        self.assertGreater(len(book), 90)
        self.assertTrue(book.hear(at("10.0.0.1"), 1, NOW, SOURCE, NOW))

    def test_room_of_a_source(self) -> None:
        """All sources of one network reach 64 of the 1024 buckets; with the addresses of one network, one."""
        rng = Random(2)
        reached = set()
        for place in places(9999):
            source = ip(f"77.7.{rng.randrange(256)}.{rng.randrange(256)}")
            reached.add(SLOTS.of_new(place, group_of(place), source_group(source)) // BUCKET)
        self.assertLessEqual(len(reached), 64)
        self.assertGreater(len(reached), 48)
        self.assertLess(max(reached), NEW_BUCKETS)
        self.assertEqual(len({new_slot(place) // BUCKET for place in islice(neighbours(at("1.2.3.4")), 999)}), 1)

    def test_room_of_a_group(self) -> None:
        """The addresses of one network that have worked reach 8 of the 256 buckets."""
        reached = {tried_slot(place) // BUCKET for place in islice(neighbours(at("1.2.3.4")), 9999)}
        self.assertLessEqual(len(reached), 8)
        self.assertGreater(len(reached), 5)
        self.assertLess(max(tried_slot(place) // BUCKET for place in places(9999)), TRIED_BUCKETS)

    def test_places_are_secret(self) -> None:
        """Where an address stands follows from the key: nobody can find out which push each other out."""
        other = Slots(bytes(31) + b"\1")
        some = places(200)
        same = sum(other.of_new(place, group_of(place), source_group(SOURCE)) == new_slot(place) for place in some)
        self.assertLess(same, 5)
        self.assertLess(sum(other.of_tried(place, group_of(place)) == tried_slot(place) for place in some), 5)

    def test_what_is_fresh_stays(self) -> None:
        """Hearsay whose slot is taken by what is not stale is not kept; by what is stale it is."""
        book = buckets()
        (first,) = places(1)
        book.hear(first, 1, NOW, SOURCE, NOW)
        other = rival(first, new_slot)
        self.assertFalse(book.hear(other, 1, NOW, SOURCE, NOW))
        self.assertEqual(list(book.known), [first])
        later = NOW + 31 * DAY
        self.assertTrue(book.hear(other, 1, later, SOURCE, later))
        self.assertEqual(list(book.known), [other])

    def test_told_by_several(self) -> None:
        """What several sources tell stands in up to four slots, and the first that is wanted for another is free."""
        book = buckets()
        (place,) = places(1)
        for number in range(200):
            book.hear(place, 1, NOW - 200 + number, ip(f"{20 + number % 50}.7.7.7"), NOW)
        known = book.known[place]
        self.assertEqual(len(known.slots), 4)
        source = next(
            source
            for source in (ip(f"{number}.7.7.7") for number in range(20, 70))
            if SLOTS.of_new(place, known.group, source_group(source)) == known.slots[0]
        )
        other = rival(place, lambda each: SLOTS.of_new(each, group_of(each), source_group(source)))
        self.assertTrue(book.hear(other, 1, NOW, source, NOW))
        self.assertEqual((len(known.slots), len(book)), (3, 2))

    def test_further_slots_are_hard_to_get(self) -> None:
        """Another telling gives a second slot with one chance in two, a third in four, a fourth in eight."""
        slots = 0
        for seed, place in enumerate(places(400)):
            book = buckets(seed)
            for number in range(4):
                book.hear(place, 1, NOW - 200 + number, ip(f"{20 + number}.7.7.7"), NOW)
            slots += len(book.known[place].slots)
        # after four tellings: 1/8 have one, 38/64 two, 17/64 three, 1/64 four
        self.assertLess(abs(slots / 400 - 2.17), 0.15)


class OutcomeTests(TrialCase):
    """How dialling went."""

    def heard(self, book: Buckets, host: str = "1.2.3.4", seen: int = NOW) -> Known:
        book.hear(at(host), 1, NOW, SOURCE, NOW)
        known = book.known[at(host)]
        known.seen = seen
        return known

    def test_worked(self) -> None:
        """What has worked stands among the tried ones, and only there; its failures are forgotten."""
        book = buckets()
        known = self.heard(book)
        book.failed(known.place, NOW)
        book.succeeded(known.place, 13, NOW)
        self.assertTrue(known.tried)
        self.assertEqual((known.services, known.succeeded, known.attempts), (13, NOW, 0))
        self.assertEqual((len(book), book.tried, known.slots), (1, 1, [tried_slot(known.place)]))

    def test_worked_unheard_of(self) -> None:
        """One that nobody has told of is known when it has worked; but not one that cannot be reached by others."""
        book = buckets()
        book.succeeded(at("1.2.3.4"), 1, NOW)
        book.succeeded(at("127.0.0.1"), 1, NOW)
        self.assertEqual([known.place for known in book.known.values() if known.tried], [at("1.2.3.4")])
        self.assertEqual(len(book), 1)

    def test_failures_count_once(self) -> None:
        """A failure counts only once until anything has worked again: being offline does not spoil the book."""
        book = buckets()
        known = self.heard(book)
        for second in range(5):
            book.failed(known.place, NOW + second)
        self.assertEqual(known.attempts, 1)
        book.succeeded(at("1.3.3.4"), 1, NOW + 10)
        book.failed(known.place, NOW + 20)
        book.failed(known.place, NOW + 30)
        self.assertEqual(known.attempts, 2)

    def test_a_success_over_ipv4_does_not_let_failures_over_ipv6_count_again(self) -> None:
        """Where IPv6 does not work, IPv4 does all the same, and day after day: no IPv6 address is forgotten for it."""
        for works, fails in (("1.3.3.4", "2a00:1450::1"), ("2a00:1450::1", "1.3.3.4")):
            book = buckets()
            known = self.heard(book, fails)
            for day in range(14):
                book.failed(known.place, NOW + day * DAY)
                book.succeeded(at(works), 1, NOW + day * DAY + HOUR)
            self.assertEqual((known.attempts, known.is_stale(NOW + 14 * DAY)), (1, False))
            # once one of its own family has worked, it is the address that does not
            book.succeeded(at("2a00:1451::1" if ":" in fails else "1.4.3.4"), 1, NOW + 14 * DAY)
            book.failed(known.place, NOW + 14 * DAY + 1)
            self.assertEqual(known.attempts, 2)

    def test_a_family_that_has_worked_is_known_after_a_restart(self) -> None:
        book = buckets()
        book.succeeded(at("2a00:1450::1"), 1, NOW)
        again = buckets()
        again.load([known.row() for known in book.known.values()], [])
        for host, counts in (("2a00:1451::1", 2), ("1.2.3.4", 1)):
            known = self.heard(again, host)
            known.counted, known.attempts = NOW - 1, 1
            again.failed(known.place, NOW)
            self.assertEqual(known.attempts, counts)

    def test_a_time_in_the_future_protects_no_place_among_the_tried_ones(self) -> None:
        book = buckets()
        place = at("1.2.3.4")
        book.succeeded(place, 1, NOW)
        book.known[place].succeeded = NOW + DAY
        other = rival(place, tried_slot)
        book.succeeded(other, 1, NOW + HOUR)
        self.assertTrue(book.known[other].tried)

    def fail_often(self, book: Buckets, known: Known, times: int, now: int = NOW) -> None:
        for second in range(times):
            book.succeeded(at("99.9.9.9"), 1, now + 2 * second + 1)
            book.failed(known.place, now + 2 * second + 2)

    def test_chance(self) -> None:
        """Each failure takes a third of the chance, up to eight; a dial within ten minutes nearly all of it."""
        book = buckets()
        book.succeeded(at("1.2.3.4"), 1, NOW)
        known = book.known[at("1.2.3.4")]
        later = NOW + HOUR
        self.assertEqual(known.chance(later), 1.0)
        for failures in (1, 2, 8):
            known.attempts = failures
            self.assertAlmostEqual(known.chance(later), 0.66**failures)
        known.attempts = 9
        self.assertAlmostEqual(known.chance(later), 0.66**8)
        book.attempted(known.place, later)
        self.assertAlmostEqual(known.chance(later + 599), 0.01 * 0.66**8)
        self.assertAlmostEqual(known.chance(later + 600), 0.66**8)

    def test_stale(self) -> None:
        """Stale: not seen for 30 days; three failures and never a success; ten, and none for a week."""
        book = buckets()
        known = self.heard(book)
        self.assertFalse(known.is_stale(NOW + 30 * DAY))
        self.assertTrue(known.is_stale(NOW + 30 * DAY + 1))
        # a clock that was wrong
        self.assertTrue(known.is_stale(NOW - 10 * MINUTE - 1))
        known.attempts = 3
        self.assertTrue(known.is_stale(NOW))
        known.succeeded = NOW
        self.assertFalse(known.is_stale(NOW + 8 * DAY))
        known.attempts = 10
        self.assertFalse(known.is_stale(NOW + 7 * DAY))
        self.assertTrue(known.is_stale(NOW + 7 * DAY + 1))
        known.attempts, known.seen = 0, 0
        self.assertFalse(known.is_stale(NOW + 30 * DAY))
        # what is being dialled may just be about to work
        known.attempts, known.attempted = 10, NOW + 60 * DAY
        self.assertFalse(known.is_stale(NOW + 60 * DAY))

    def test_stale_ones_fade(self) -> None:
        """A stale one is picked a twentieth as often as one that is not."""
        book = buckets(7)
        stale, fresh = self.heard(book), self.heard(book, "1.3.3.4", NOW + 20 * DAY)
        self.assertNotEqual(stale.slots[0] // BUCKET, fresh.slots[0] // BUCKET)
        picks = [book.pick(NOW + 31 * DAY) for _ in range(5000)]
        self.assertGreater(picks.count(stale), 50)
        self.assertLess(picks.count(stale), 500)

    def test_forgotten(self) -> None:
        """After ten failures and a week without success it is forgotten; one that our own side named is not."""
        book = buckets()
        known = self.heard(book)
        book.name(at("1.3.3.4"), 1, NOW)
        self.fail_often(book, known, 9)
        self.assertIn(known.place, book.known)
        self.fail_often(book, known, 1, NOW + HOUR)
        self.assertNotIn(known.place, book.known)
        named = book.known[at("1.3.3.4")]
        self.fail_often(book, named, 20, NOW + 2 * HOUR)
        self.assertIn(named.place, book.known)
        worked = self.heard(book, "1.4.3.4")
        book.succeeded(worked.place, 1, NOW)
        self.fail_often(book, worked, 15, NOW + DAY)
        self.assertIn(worked.place, book.known)
        self.fail_often(book, worked, 1, NOW + 8 * DAY)
        self.assertNotIn(worked.place, book.known)
        self.assertEqual(book.tried, 1)

    def test_slot_that_works(self) -> None:
        """One that has worked within four hours keeps its place against another that works."""
        book = buckets()
        (first,) = places(1)
        book.succeeded(first, 1, NOW)
        other = rival(first, tried_slot)
        book.succeeded(other, 1, NOW + 4 * HOUR - 1)
        self.assertTrue(book.known[first].tried)
        self.assertFalse(book.known[other].tried)
        book.succeeded(other, 1, NOW + 4 * HOUR)
        self.assertTrue(book.known[other].tried)
        # it has worked once: it is not lost
        self.assertFalse(book.known[first].tried)
        self.assertEqual((len(book), book.tried), (2, 1))

    def test_slot_of_one_that_worked_once(self) -> None:
        """One that loses its place to another that works takes one among the hearsay, unless a named one is there."""
        for is_named in (False, True):
            book = buckets()
            (first,) = places(1)
            book.succeeded(first, 1, NOW)
            slot = SLOTS.of_new(first, group_of(first), source_group(first.ip))
            occupant = next(
                place
                for place in neighbours(first)
                if SLOTS.of_new(place, group_of(place), source_group(first.ip)) == slot
            )
            book.hear(occupant, 1, NOW, first.ip, NOW)
            if is_named:
                book.name(occupant, 1, NOW)
            book.succeeded(rival(first, tried_slot), 1, NOW + DAY)
            self.assertEqual((first in book.known, occupant in book.known), (not is_named, is_named))
            self.assertEqual(len(book), 2)

    def test_parted(self) -> None:
        """A connection's end is when it last worked; others learn no more than every 20 minutes that it was seen."""
        book = buckets()
        book.succeeded(at("1.2.3.4"), 1, NOW)
        known = book.known[at("1.2.3.4")]
        book.parted(known.place, NOW + 20 * MINUTE)
        self.assertEqual((known.succeeded, known.seen), (NOW + 20 * MINUTE, NOW))
        book.parted(known.place, NOW + 20 * MINUTE + 1)
        self.assertEqual(known.seen, NOW + 20 * MINUTE + 1)

    def test_what_is_not_known(self) -> None:
        """Nothing is noted of it."""
        book = buckets()
        for note in (book.attempted, book.failed, book.parted):
            note(at("1.2.3.4"), NOW)
        book.forget(at("1.2.3.4"))
        self.assertEqual((book.known, book.changed), ({}, set()))


class NameTests(TrialCase):
    """Our own side names an address, or finds that it is its own."""

    def test_named(self) -> None:
        """It is kept on any port, and hearsay does not push it out, stale or not."""
        book = buckets()
        self.assertTrue(book.name(at("1.2.3.4", 22), 1, NOW))
        named = book.known[at("1.2.3.4", 22)]
        later = NOW + 40 * DAY
        for place in islice(neighbours(named.place), 2000):
            book.hear(place, 1, later, named.source, later)
        for number, place in enumerate(places(9000)):
            book.hear(place, 1, later, ip(f"{11 + number % 80}.{number % 256}.7.7"), later)
        self.assertIs(book.known[at("1.2.3.4", 22)], named)

    def test_many_named(self) -> None:
        """Those that are named do not push each other out, nor do they make way for those that work."""
        book = buckets(allow_unroutable=True)
        hosts = [at("127.0.0.1", port) for port in range(1, 800)]
        for place in hosts:
            self.assertTrue(book.name(place, 1, NOW))
        self.assertEqual(len(book), len(hosts))
        book.succeeded(hosts[0], 1, NOW)
        others = (at("127.0.0.1", port) for port in range(800, 65000))
        other = next(each for each in others if tried_slot(each) == tried_slot(hosts[0]))
        book.succeeded(other, 1, NOW + DAY)
        self.assertTrue(book.known[hosts[0]].tried)

    def test_too_many_named(self) -> None:
        """Only when more are named than there is room for are they not kept."""
        book = buckets()
        with patch("txsoter.service.book.buckets.TRIES", 1):
            kept = [book.name(place, 1, NOW) for place in places(2000)]
        self.assertTrue(all(kept[:20]))
        self.assertFalse(all(kept))
        self.assertEqual(len(book), sum(kept))

    def test_named_what_was_heard_of(self) -> None:
        """It stays what it is, and is not pushed out from then on."""
        book = buckets()
        (first,) = places(1)
        book.hear(first, 1, NOW, SOURCE, NOW)
        book.name(first, 1, NOW)
        later = NOW + 31 * DAY
        self.assertFalse(book.hear(rival(first, new_slot), 1, later, SOURCE, later))

    def test_not_named(self) -> None:
        """Neither our own address, nor one that cannot be reached."""
        book = buckets()
        book.is_own(at("1.2.3.4"))
        for place in (at("1.2.3.4"), at("127.0.0.1")):
            self.assertFalse(book.name(place, 1, NOW))
        self.assertEqual(book.known, {})

    def test_own(self) -> None:
        """Our own address is forgotten, and never kept again, whoever tells, names or reaches it."""
        for prepare in (
            lambda book: book.hear(at("1.2.3.4"), 1, NOW, SOURCE, NOW),
            lambda book: book.succeeded(at("1.2.3.4"), 1, NOW),
        ):
            book = buckets()
            prepare(book)
            book.is_own(at("1.2.3.4"))
            book.hear(at("1.2.3.4"), 1, NOW, SOURCE, NOW)
            book.succeeded(at("1.2.3.4"), 1, NOW)
            self.assertEqual((book.known, book.tried), ({}, 0))
            self.assertIsNone(book.pick(NOW))
            self.assertEqual(list(book.own), [at("1.2.3.4")])

    def test_own_are_bounded(self) -> None:
        """A thousand of them are remembered, the last."""
        book = buckets()
        own = [at("1.2.3.4", port) for port in range(1, 1003)]
        for place in own:
            book.is_own(place)
        self.assertEqual(list(book.own), own[2:])
        self.assertTrue(set(own[:2]) <= book.changed)
