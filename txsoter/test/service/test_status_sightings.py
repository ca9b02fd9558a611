"""Tests of :mod:`txsoter.service.status.sightings`."""

from __future__ import annotations

from txsoter.service.status.sightings import (
    MAX_ANNOUNCED_BLOCKS,
    MAX_FOLLOWERS,
    MAX_LOOKED_AT,
    Announced,
    Announcer,
    Sightings,
)
from txsoter.test.peer.cases import as_block, as_tx, hash_of
from txsoter.test.peer.support import TrialCase
from txsoter.wire import ZERO_HASH, InventoryType, InventoryVector


def who(id: int) -> Announcer:
    return Announcer(id, f"192.0.2.{id % 256}:18555", "soterd 4.2.0")


class SightingsTests(TrialCase):
    def test_the_first_is_remembered_and_how_late_the_others_were(self) -> None:
        seen = Sightings(10)
        for id, now in ((1, 100.0), (2, 100.5), (3, 103.0), (4, 101.0)):
            seen.note(hash_of(7), 12, who(id), now)
        (sighting,) = seen.latest(5)
        self.assertEqual((sighting.hash, sighting.height), (hash_of(7), 12))
        self.assertEqual((sighting.first, sighting.first_at), (who(1), 100.0))
        self.assertEqual(sighting.delays, {2: 0.5, 3: 3.0, 4: 1.0})
        self.assertEqual((sighting.median_delay, sighting.last_delay), (1.0, 3.0))

    def test_nobody_follows_twice_nor_oneself(self) -> None:
        seen = Sightings(10)
        for id, now in ((1, 100.0), (1, 101.0), (2, 102.0), (2, 109.0)):
            seen.note(hash_of(7), -1, who(id), now)
        (sighting,) = seen.latest(5)
        self.assertEqual(sighting.delays, {2: 2.0})
        self.assertEqual(seen.total, 1)

    def test_without_followers_there_are_no_delays(self) -> None:
        seen = Sightings(10)
        seen.note(hash_of(7), -1, who(1), 1.0)
        (sighting,) = seen.latest(5)
        self.assertEqual((sighting.median_delay, sighting.last_delay), (None, None))

    def test_a_height_that_is_named_later_is_taken_and_stays(self) -> None:
        seen = Sightings(10)
        for id, height in ((1, -1), (2, 5), (3, 6), (4, -1)):
            seen.note(hash_of(7), height, who(id), 1.0)
        (sighting,) = seen.latest(5)
        self.assertEqual(sighting.height, 5)

    def test_a_clock_that_is_put_back_makes_no_negative_delay(self) -> None:
        seen = Sightings(10)
        seen.note(hash_of(7), -1, who(1), 100.0)
        seen.note(hash_of(7), -1, who(2), 40.0)
        self.assertEqual(next(seen.latest(1)).delays, {2: 0.0})

    def test_the_oldest_go(self) -> None:
        seen = Sightings(3)
        for number in range(1000):
            seen.note(hash_of(number), -1, who(1), number)
        self.assertEqual([each.hash for each in seen.latest(9)], [hash_of(999), hash_of(998), hash_of(997)])
        self.assertEqual([each.hash for each in seen.latest(1)], [hash_of(999)])
        self.assertEqual((len(seen), seen.total), (3, 1000))

    def test_no_more_than_so_many_followers_are_remembered(self) -> None:
        seen = Sightings(3)
        for id in range(10 * MAX_FOLLOWERS):
            seen.note(hash_of(1), -1, who(id), 1.0)
        self.assertEqual(len(next(seen.latest(1)).delays), MAX_FOLLOWERS)


class AnnouncedTests(TrialCase):
    def setUp(self) -> None:
        self.announced = Announced(blocks=5, transactions=5000)

    def blocks(self) -> list[bytes]:
        return [each.hash for each in self.announced.blocks.latest(99)]

    def test_an_inv(self) -> None:
        """Blocks and transactions are told apart, with witnesses or without; what is neither is not looked at."""
        others = [
            InventoryVector(kind, hash_of(kind % 1000)) for kind in (0, 3, 77, InventoryType.WITNESS_FILTERED_BLOCK)
        ]
        witness_tx = InventoryVector(InventoryType.WITNESS_TX, hash_of(4))
        self.announced.vectors([as_tx(1), as_block(2), as_block(3, witness=True), witness_tx, *others], who(1), 1.0)
        self.assertEqual(self.blocks(), [hash_of(3), hash_of(2)])
        self.assertEqual([each.hash for each in self.announced.transactions.latest(9)], [hash_of(4), hash_of(1)])

    def test_the_answer_to_a_question_is_no_announcement(self) -> None:
        """A list of blocks does not wash away those that were announced, but its peer has them."""
        self.announced.vectors([as_block(400)], who(1), 1.0)
        listed = [as_block(number) for number in range(1, MAX_ANNOUNCED_BLOCKS + 2)]
        self.announced.vectors(listed, who(2), 1.0)
        self.assertEqual(self.blocks(), [hash_of(400)])
        self.assertEqual(self.announced.height_of(2), MAX_ANNOUNCED_BLOCKS + 1)
        self.announced.vectors(listed[1:], who(2), 1.0)
        self.assertEqual(len(self.blocks()), 5)

    def test_a_zero_hash_asks_to_ask_again(self) -> None:
        self.announced.vectors([InventoryVector(InventoryType.BLOCK, ZERO_HASH, -1)], who(1), 1.0)
        self.assertEqual(self.blocks(), [])

    def test_only_the_end_of_a_long_inv_is_looked_at(self) -> None:
        self.announced.vectors([as_tx(number) for number in range(50_000)], who(1), 1.0)
        self.assertEqual(len(self.announced.transactions), MAX_LOOKED_AT)
        self.assertEqual(next(self.announced.transactions.latest(1)).hash, hash_of(49_999))

    def test_the_height_of_who_announces(self) -> None:
        """The highest that it has named, until it goes."""
        self.assertEqual(self.announced.height_of(1), -1)
        for number in (7, 9, 8):
            self.announced.vectors([as_block(number)], who(1), 1.0)
        self.announced.listed([(hash_of(20), -1)], who(1), 1.0)
        self.assertEqual((self.announced.height_of(1), self.announced.height_of(2)), (9, -1))
        self.announced.forget(1)
        self.assertEqual(self.announced.height_of(1), -1)
        self.assertEqual(len(self.blocks()), 4)
