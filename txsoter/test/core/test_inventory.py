"""Known inventory, and the queue of the next trickled announcement."""

from __future__ import annotations

from unittest import TestCase

from txsoter.core.inventory import TRICKLE_BATCH, KnownInventory, TrickleQueue
from txsoter.wire import InventoryType, InventoryVector


def vector(number: int, type: int = InventoryType.TX, height: int = -1) -> InventoryVector:
    """A vector unlike those of other numbers."""
    return InventoryVector(type, number.to_bytes(32, "little"), height)


def vectors(*numbers: int) -> list[InventoryVector]:
    return [vector(number) for number in numbers]


class KnownInventoryTests(TestCase):
    """A most-recently-used set keyed by (type, hash, height)."""

    def test_type_hash_and_height_all_count(self) -> None:
        known = KnownInventory(10)
        known.add(vector(1, InventoryType.BLOCK, 5))
        self.assertIn(vector(1, InventoryType.BLOCK, 5), known)
        for other in (
            vector(1, InventoryType.BLOCK, 6),
            vector(1, InventoryType.WITNESS_BLOCK, 5),
            vector(2, InventoryType.BLOCK, 5),
        ):
            self.assertNotIn(other, known)

    def test_past_the_limit_the_least_recently_used_go(self) -> None:
        known = KnownInventory(3)
        for number in (1, 2, 3, 4):
            known.add(vector(number))
        self.assertEqual([number for number in range(6) if vector(number) in known], [2, 3, 4])
        self.assertEqual(len(known), 3)

    def test_adding_again_refreshes(self) -> None:
        """And does not push another out."""
        known = KnownInventory(3)
        for number in (1, 2, 3, 1, 4):
            known.add(vector(number))
        self.assertEqual([number for number in range(6) if vector(number) in known], [1, 3, 4])

    def test_asking_does_not_refresh(self) -> None:
        known = KnownInventory(2)
        for number in (1, 2):
            known.add(vector(number))
        self.assertIn(vector(1), known)
        known.add(vector(3))
        self.assertNotIn(vector(1), known)

    def test_a_limit_of_none_at_all_remembers_nothing(self) -> None:
        known = KnownInventory(0)
        known.add(vector(1))
        self.assertEqual((len(known), vector(1) in known), (0, False))


class TrickleQueueTests(TestCase):
    def setUp(self) -> None:
        self.known = KnownInventory(50_000)
        self.queue = TrickleQueue(50_000)

    def batches(self, queue: TrickleQueue | None = None) -> list[list[InventoryVector]]:
        """Return what waits, a trickled announcement each."""
        queue, batches = self.queue if queue is None else queue, []
        while batch := queue.next_batch(self.known, 1000):
            batches.append(batch)
        return batches

    def test_vectors_go_in_arrival_order_and_become_known(self) -> None:
        for each in vectors(3, 1, 2):
            self.queue.append(each)
        self.assertEqual(len(self.queue), 3)
        self.assertEqual(self.batches(), [vectors(3, 1, 2)])
        self.assertEqual(len(self.queue), 0)
        self.assertTrue(all(each in self.known for each in vectors(1, 2, 3)))
        self.assertEqual(self.batches(), [])

    def test_at_most_a_thousand_in_one(self) -> None:
        self.assertEqual(TRICKLE_BATCH, 1000)
        for count, sizes in ((1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])):
            self.setUp()
            queue = TrickleQueue(50_000)
            for number in range(count):
                queue.append(vector(number))
            batches = self.batches(queue)
            self.assertEqual([len(batch) for batch in batches], sizes)
            self.assertEqual([each for batch in batches for each in batch], vectors(*range(count)))

    def test_what_became_known_meanwhile_is_left_out(self) -> None:
        """Also a second one of the same, which the first makes known."""
        for each in vectors(1, 2, 1, 3):
            self.queue.append(each)
        self.known.add(vector(2))
        self.assertEqual(self.batches(), [vectors(1, 3)])

    def test_nothing_is_sent_when_all_became_known(self) -> None:
        self.queue.append(vector(1))
        self.known.add(vector(1))
        self.assertEqual(self.batches(), [])
        self.assertEqual(len(self.queue), 0)

    def test_force_announces_although_known(self) -> None:
        self.known.add(vector(1))
        self.queue.append(vector(1))
        self.queue.append(vector(1), force=True)
        self.assertEqual(self.batches(), [vectors(1)])

    def test_the_list_is_bounded_and_the_oldest_go(self) -> None:
        queue = TrickleQueue(3)
        for each in vectors(1, 2, 3, 4, 5):
            queue.append(each)
        self.assertEqual(self.batches(queue), [vectors(3, 4, 5)])

    def test_clear(self) -> None:
        self.queue.append(vector(1))
        self.queue.clear()
        self.assertEqual((len(self.queue), self.batches()), (0, []))
        self.assertNotIn(vector(1), self.known)
