"""Announcements and a full queue."""

from __future__ import annotations

from txsoter.test.peer.cases import WholePeerTestCase, as_block, as_tx, config
from txsoter.testing import ScriptedPair
from txsoter.wire import Inv, Unknown

KIB = 1024


class FullQueueTests(WholePeerTestCase):
    """What finds no room waits for it, and is neither lost nor marked as known meanwhile."""

    def full(self, **fields: object) -> ScriptedPair:
        pair = self.scripted(
            config(soft_queue_limit=200 * KIB, hard_queue_limit=220 * KIB, ping_interval=None, **fields)
        )
        pair.transport.takes = False
        for _ in range(6):
            pair.peer.send(Unknown("x", bytes(50 * KIB)))
        self.assertGreater(pair.peer.stats().queue_bytes, 180 * KIB)
        return pair

    def announced(self, pair: ScriptedPair) -> list[object]:
        pair.transport.takes = True
        return [vector for each in pair.hear() if isinstance(each, Inv) for vector in each.vectors]

    def test_trickled(self) -> None:
        pair = self.full()
        vectors = [as_tx(number) for number in range(2500)]
        for vector in vectors:
            pair.peer.queue_inventory(vector)
        pair.clock.advance(10)
        self.assertEqual(pair.peer.stats().known_inventory, 0)
        self.assertEqual(self.announced(pair), vectors)
        self.assertEqual(pair.peer.stats().known_inventory, 2500)

    def test_without_a_trickle_timer(self) -> None:
        pair = self.full(trickle_interval=None)
        vectors = [as_tx(number) for number in range(5)]
        for vector in vectors:
            pair.peer.queue_inventory(vector)
        self.assertEqual(self.announced(pair), vectors)

    def test_blocks(self) -> None:
        pair = self.full()
        vectors = [as_block(number) for number in range(5)]
        for vector in vectors:
            pair.peer.queue_inventory(vector)
        self.assertEqual(self.announced(pair), vectors)

    def test_all_is_forgotten_when_it_ends(self) -> None:
        pair = self.full()
        pair.peer.queue_inventory(as_tx(1))
        pair.peer.queue_inventory(as_block(1))
        pair.peer.disconnect()
        self.assertEqual(self.announced(pair), [])
