"""Addresses that are pushed, and questions that repeat the last."""

from __future__ import annotations

from random import Random
from unittest import TestCase

from txsoter.core.address_push import AskedBefore, address_caches, pick_addresses
from txsoter.wire import ZERO_HASH, GetBlocks, GetHeaders, Hash, NetAddress

HASH = Hash(bytes(range(32)))


def addresses(count: int, first: int = 0) -> list[NetAddress]:
    """So many addresses that all differ."""
    return [NetAddress(1, (first + number).to_bytes(16, "big"), 18555) for number in range(count)]


class PickAddressesTests(TestCase):
    def test_up_to_a_thousand_are_all_taken_in_order(self) -> None:
        for count in (0, 1, 1000):
            self.assertEqual(pick_addresses(addresses(count), Random(1)), addresses(count))

    def test_of_more_a_random_thousand_each_at_most_once(self) -> None:
        given = addresses(1001)
        picked = pick_addresses(given, Random(1))
        self.assertEqual((len(picked), len(set(picked))), (1000, 1000))
        self.assertLess(set(picked), set(given))
        self.assertNotEqual(picked, given[:1000])
        self.assertNotEqual(picked, pick_addresses(given, Random(2)))

    def test_the_caller_keeps_its_list(self) -> None:
        given = addresses(1500)
        pick_addresses(given, Random(1))
        self.assertEqual(given, addresses(1500))


class AddressCachesTests(TestCase):
    """Outbound first, then inbound, then known, as many of at most 1000 as it takes."""

    def sizes(self, inbound: int, outbound: int, known: int) -> list[tuple[int, int, int]]:
        given = addresses(inbound), addresses(outbound, 10_000), addresses(known, 20_000)
        caches = address_caches(*given)
        for name, expected in zip(("inbound", "outbound", "known"), given, strict=True):
            self.assertEqual([each for cache in caches for each in getattr(cache, name)], expected)
        return [(len(cache.outbound), len(cache.inbound), len(cache.known)) for cache in caches]

    def test_none_when_all_are_empty(self) -> None:
        self.assertEqual(self.sizes(0, 0, 0), [])

    def test_all_in_one_when_they_fit(self) -> None:
        self.assertEqual(self.sizes(1, 2, 3), [(2, 1, 3)])
        self.assertEqual(self.sizes(500, 400, 100), [(400, 500, 100)])
        self.assertEqual(self.sizes(0, 0, 1), [(0, 0, 1)])

    def test_each_is_as_full_as_can_be(self) -> None:
        self.assertEqual(self.sizes(1000, 1, 1), [(1, 999, 0), (0, 1, 1)])
        self.assertEqual(self.sizes(1, 2500, 600), [(1000, 0, 0), (1000, 0, 0), (500, 1, 499), (0, 0, 101)])


class AskedBeforeTests(TestCase):
    def setUp(self) -> None:
        self.asked = AskedBefore()

    def repeats(self, kind: type[GetBlocks] | type[GetHeaders], *questions: tuple[int | None, Hash]) -> list[bool]:
        return [self.asked.repeats(kind(height=height, stop=stop)) for height, stop in questions]

    def test_getblocks_repeats_are_dropped_except_when_stop_is_zero(self) -> None:
        self.assertEqual(self.repeats(GetBlocks, *[(5, HASH)] * 3), [False, True, True])
        self.assertEqual(self.repeats(GetBlocks, *[(5, ZERO_HASH)] * 3), [False, False, False])

    def test_getheaders_repeats_are_dropped(self) -> None:
        self.assertEqual(self.repeats(GetHeaders, *[(5, HASH)] * 2), [False, True])
        self.assertEqual(self.repeats(GetHeaders, *[(5, ZERO_HASH)] * 2), [False, True])

    def test_each_class_is_looked_at_alone(self) -> None:
        self.assertEqual(self.repeats(GetBlocks, (5, HASH)), [False])
        self.assertEqual(self.repeats(GetHeaders, (5, HASH)), [False])
        self.assertEqual(self.repeats(GetBlocks, (5, HASH)), [True])

    def test_only_the_previous_call_counts(self) -> None:
        calls = [(5, HASH), (6, HASH), (5, HASH), (5, ZERO_HASH), (5, HASH)]
        self.assertEqual(self.repeats(GetHeaders, *calls), [False] * 5)

    def test_a_call_without_a_height_is_never_a_repeat(self) -> None:
        for kind in (GetBlocks, GetHeaders):
            self.assertEqual(self.repeats(kind, *[(None, HASH)] * 3), [False] * 3)
            self.assertEqual(self.repeats(kind, *[(None, ZERO_HASH)] * 3), [False] * 3)

    def test_height_zero_is_a_height(self) -> None:
        self.assertEqual(self.repeats(GetHeaders, *[(0, HASH)] * 2), [False, True])
