"""Vectors that wait to be announced, and when: blocks one by one, all else trickled."""

from __future__ import annotations

from unittest import TestCase

from txsoter.core.announcer import SMALLEST_ANNOUNCEMENT, Announcer, checked_vector, vectors_within
from txsoter.errors import FieldError
from txsoter.networks import SIMNET
from txsoter.test.core.ends import block_vector, tx_vector
from txsoter.wire import Inv, InventoryVector, write_message


class WaitingTests(TestCase):
    def setUp(self) -> None:
        self.announcer = Announcer(100, 3, 10.0)

    def test_blocks_go_one_by_one_in_order_and_are_not_known_by_that(self) -> None:
        for number in (2, 1):
            self.announcer.add(block_vector(number), force=False)
        self.assertEqual(
            (self.announcer.has_blocks, self.announcer.has_trickled, len(self.announcer)), (True, False, 2)
        )
        self.assertEqual(self.announcer.next_block(), Inv([block_vector(2)]))
        self.assertEqual(self.announcer.next_block(), Inv([block_vector(1)]))
        self.assertIsNone(self.announcer.next_block())
        self.assertEqual((len(self.announcer), self.announcer.known_inventory), (0, 0))

    def test_all_else_goes_together_and_is_known_by_that(self) -> None:
        for number in (2, 1):
            self.announcer.add(tx_vector(number), force=False)
        self.assertEqual(
            (self.announcer.has_blocks, self.announcer.has_trickled, len(self.announcer)), (False, True, 2)
        )
        self.assertEqual(self.announcer.next_trickled(), Inv([tx_vector(2), tx_vector(1)]))
        self.assertIsNone(self.announcer.next_trickled())
        self.assertEqual((len(self.announcer), self.announcer.known_inventory), (0, 2))

    def test_what_the_remote_is_known_to_have_is_dropped_unless_forced(self) -> None:
        for vector in (tx_vector(1), block_vector(1)):
            before = len(self.announcer)
            self.announcer.add_known(vector)
            self.announcer.add(vector, force=False)
            self.assertEqual(len(self.announcer), before)
            self.announcer.add(vector, force=True)
        self.assertEqual(self.announcer.next_block(), Inv([block_vector(1)]))
        self.assertEqual(self.announcer.next_trickled(), Inv([tx_vector(1)]))

    def test_both_lists_are_bounded_and_the_oldest_go(self) -> None:
        for number in range(5):
            self.announcer.add(block_vector(number), force=False)
            self.announcer.add(tx_vector(number), force=False)
        self.assertEqual(len(self.announcer), 6)
        self.assertEqual([self.announcer.next_block() for _ in range(3)], [Inv([block_vector(n)]) for n in (2, 3, 4)])
        self.assertEqual(self.announcer.next_trickled(), Inv([tx_vector(number) for number in (2, 3, 4)]))

    def test_clear(self) -> None:
        self.announcer.add(block_vector(1), force=False)
        self.announcer.add(tx_vector(1), force=False)
        self.announcer.begin(0.0)
        self.announcer.waits_for_room = True
        self.announcer.clear()
        self.assertEqual((len(self.announcer), self.announcer.due, self.announcer.waits_for_room), (0, None, False))

    def test_an_announcement_is_as_large_as_there_is_room_for_and_no_more_than_a_thousand_vectors(self) -> None:
        for room, count in ((0, 1), (67, 1), (106, 1), (107, 2), (40_027, 1000), (1 << 20, 1000)):
            announcer = Announcer(10_000, 10_000, 10.0)
            for number in range(1500):
                announcer.add(tx_vector(number), force=False)
            self.assertEqual(vectors_within(room), count)
            announcement = announcer.next_trickled(vectors_within(room))
            assert announcement is not None
            self.assertEqual(len(announcement.vectors), count)
            self.assertLessEqual(len(write_message(announcement, SIMNET.magic)), max(room, SMALLEST_ANNOUNCEMENT))
            self.assertEqual(len(announcer), 1500 - count)


class TrickleTimeTests(TestCase):
    def setUp(self) -> None:
        self.announcer = Announcer(100, 100, 10.0)

    def test_the_first_is_an_interval_from_now(self) -> None:
        self.assertFalse(self.announcer.begin(5.0))
        self.announcer.add(tx_vector(1), force=False)
        self.assertTrue(self.announcer.begin(5.0))
        self.assertEqual(self.announcer.due, 15.0)

    def test_blocks_do_not_wait_for_it(self) -> None:
        self.announcer.add(block_vector(1), force=False)
        self.assertFalse(self.announcer.begin(5.0))

    def test_beginning_twice_is_beginning_once(self) -> None:
        self.announcer.add(tx_vector(1), force=False)
        self.announcer.begin(5.0)
        self.assertFalse(self.announcer.begin(10.0))
        self.assertEqual(self.announcer.due, 15.0)

    def test_none_means_at_once(self) -> None:
        self.assertFalse(self.announcer.trickles_at_once)
        announcer = Announcer(100, 100, None)
        announcer.add(tx_vector(1), force=False)
        self.assertFalse(announcer.begin(5.0))
        self.assertEqual((announcer.due, announcer.trickles_at_once), (None, True))

    def test_it_ends_when_nothing_waits_and_begins_again(self) -> None:
        self.announcer.add(tx_vector(1), force=False)
        self.announcer.begin(0.0)
        self.announcer.next_trickled()
        self.announcer.trickled(10.0)
        self.assertIsNone(self.announcer.due)
        self.announcer.add(tx_vector(2), force=False)
        self.assertTrue(self.announcer.begin(17.0))
        self.assertEqual(self.announcer.due, 27.0)

    def test_while_something_waits_the_next_is_an_interval_later(self) -> None:
        self.announcer.add(tx_vector(1), force=False)
        self.announcer.begin(0.0)
        for now, due in ((10.0, 20.0), (20.5, 30.0)):
            self.announcer.trickled(now)
            self.assertEqual(self.announcer.due, due)

    def test_late_ones_are_not_made_up_for(self) -> None:
        self.announcer.add(tx_vector(1), force=False)
        self.announcer.begin(0.0)
        for now, due in ((35.0, 40.0), (50.0, 60.0), (69.0, 70.0), (1e6, 1e6 + 10)):
            self.announcer.trickled(now)
            self.assertEqual(self.announcer.due, due)


class CheckedVectorTests(TestCase):
    def test_a_vector_is_returned_as_one(self) -> None:
        plain = tuple(block_vector(1))
        self.assertEqual(checked_vector(block_vector(1)), block_vector(1))
        self.assertIs(type(checked_vector(plain)), InventoryVector)  # type: ignore[arg-type]

    def test_anything_else_names_the_field(self) -> None:
        wrong: tuple[tuple[object, str], ...] = (
            ("vector", "vector"),
            (None, "vector"),
            (InventoryVector(1, b"short"), "InventoryVector.hash"),
            (InventoryVector(1 << 40, bytes(32)), "InventoryVector.type"),
        )
        for value, field in wrong:
            with self.assertRaises(FieldError) as caught:
                checked_vector(value)  # type: ignore[arg-type]
            self.assertEqual(caught.exception.field, field)
