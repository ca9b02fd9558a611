"""Announcing inventory: blocks at once, all else trickled, once the remote is ready and while the queue has room."""

from __future__ import annotations

from txsoter.core.state import State
from txsoter.test.core.ends import ConnectionTestCase, End, block_vector, filler, remote_version, simnet, tx_vector
from txsoter.wire import Inv, InventoryVector, VerAck


class AnnouncingTestCase(ConnectionTestCase):
    def queue(self, end: End, *vectors: InventoryVector, force: bool = False) -> None:
        for vector in vectors:
            end.connection.queue_inventory(vector, force, end.now)
        end.run()


class TimeTests(AnnouncingTestCase):
    def test_blocks_at_once_one_by_one(self) -> None:
        end = self.ready()
        self.queue(end, block_vector(1), block_vector(2))
        self.assertEqual(end.said(), [Inv([block_vector(1)]), Inv([block_vector(2)])])

    def test_blocks_are_not_known_by_that(self) -> None:
        end = self.ready()
        self.queue(end, block_vector(1), block_vector(1))
        self.assertEqual(len(end.said()), 2)

    def test_all_else_together_with_the_next_trickle(self) -> None:
        end = self.ready()
        end.advance(3)
        self.queue(end, tx_vector(2))
        end.advance(4)
        self.queue(end, tx_vector(1), tx_vector(3))
        end.advance(5.9)
        self.assertEqual(end.said(), [])
        end.advance(0.1)
        self.assertEqual(end.said(), [Inv([tx_vector(2), tx_vector(1), tx_vector(3)])])

    def test_while_nothing_waits_there_is_no_trickle(self) -> None:
        end = self.ready(simnet(idle_timeout=None, ping_interval=None))
        self.queue(end, tx_vector(1))
        end.advance(10)
        self.assertIsNone(end.connection.next_timeout())

    def test_none_announces_each_at_once(self) -> None:
        end = self.ready(simnet(trickle_interval=None))
        self.queue(end, tx_vector(1), tx_vector(2))
        self.assertEqual(end.said(), [Inv([tx_vector(1)]), Inv([tx_vector(2)])])

    def test_at_most_a_thousand_in_one(self) -> None:
        end = self.ready()
        self.queue(end, *[tx_vector(number) for number in range(2500)])
        end.advance(10)
        self.assertEqual([len(each.vectors) for each in end.said() if isinstance(each, Inv)], [1000, 1000, 500])


class KnownTests(AnnouncingTestCase):
    def test_what_the_remote_is_known_to_have_is_not_announced_unless_forced(self) -> None:
        for vector in (block_vector(1), tx_vector(1)):
            end = self.ready()
            end.connection.add_known_inventory(vector)
            self.queue(end, vector)
            end.advance(10)
            self.assertEqual(end.said(), [])
            self.queue(end, vector, force=True)
            end.advance(10)
            self.assertEqual(end.said(), [Inv([vector])])

    def test_what_becomes_known_meanwhile_is_left_out(self) -> None:
        end = self.ready()
        self.queue(end, tx_vector(1), tx_vector(2), tx_vector(1))
        end.connection.add_known_inventory(tx_vector(2))
        end.advance(10)
        self.assertEqual(end.said(), [Inv([tx_vector(1)])])

    def test_what_is_announced_is_known(self) -> None:
        end = self.ready()
        self.queue(end, tx_vector(1))
        end.advance(10)
        self.queue(end, tx_vector(1))
        end.advance(10)
        self.assertEqual(end.said(), [Inv([tx_vector(1)])])

    def test_inventory_of_the_remotes_is_not_noted_by_itself(self) -> None:
        end = self.ready()
        end.feed(Inv([tx_vector(1)]))
        self.assertEqual(end.channel.announcer.known_inventory, 0)


class StateTests(AnnouncingTestCase):
    def test_before_ready_it_waits_for_it(self) -> None:
        end = self.end().made()
        self.queue(end, tx_vector(1), block_vector(2))
        end.feed(remote_version())
        self.queue(end, tx_vector(3), block_vector(4))
        self.assertEqual([each.command for each in end.said()], ["version", "verack"])
        end.feed(VerAck())
        expected = [Inv([block_vector(2)]), Inv([block_vector(4)]), Inv([tx_vector(1), tx_vector(3)])]
        self.assertEqual(end.said(), expected)

    def test_without_a_connection_it_is_dropped(self) -> None:
        end = self.end()
        self.queue(end, tx_vector(1), block_vector(2))
        self.assertEqual(len(end.channel.announcer), 0)
        end = self.ready()
        end.close()
        self.queue(end, tx_vector(1), block_vector(2))
        self.assertEqual((len(end.channel.announcer), end.said()), (0, []))


class RoomTests(AnnouncingTestCase):
    """What the send queue has no room for waits, and is not marked as known."""

    def full(self, interval: float | None = 10.0) -> End:
        end = self.ready(simnet(soft_queue_limit=1000, trickle_interval=interval))
        end.room = 0
        end.send(filler(100))
        end.send(filler(2000))
        end.said()
        return end

    def test_trickled(self) -> None:
        for interval in (10.0, None):
            end = self.full(interval)
            self.queue(end, tx_vector(1), tx_vector(2))
            end.advance(10)
            self.assertEqual((end.channel.announcer.known_inventory, len(end.channel.announcer)), (0, 2))
            end.room = None
            end.take()
            self.assertEqual(end.said()[1:], [Inv([tx_vector(1), tx_vector(2)])])

    def test_blocks(self) -> None:
        end = self.full()
        self.queue(end, block_vector(1), block_vector(2))
        self.assertEqual(end.said(), [])
        end.room = None
        end.take()
        self.assertEqual(end.said()[1:], [Inv([block_vector(1)]), Inv([block_vector(2)])])

    def test_room_by_a_write_at_the_end_of_a_turn(self) -> None:
        """Of which no transport tells, as it has not had enough."""
        end = self.ready(simnet(soft_queue_limit=1000))
        end.connection.send(filler(2000))
        end.connection.queue_inventory(block_vector(1), False, end.now)
        end.run()
        self.assertEqual(end.said()[1:], [Inv([block_vector(1)])])

    def test_a_block_never_takes_the_queue_over_the_hard_limit(self) -> None:
        end = self.ready(simnet(soft_queue_limit=40_000, hard_queue_limit=40_000))
        end.room = 0
        end.send(filler(100))
        self.queue(end, *[block_vector(number) for number in range(1000)])
        self.assertLessEqual(end.channel.queue.waiting, 40_000)
        end.room = None
        end.take()
        self.assertEqual(len(end.said()), 1001)

    def test_all_is_forgotten_when_it_ends(self) -> None:
        end = self.full()
        self.queue(end, tx_vector(1), block_vector(2))
        end.lose()
        self.assertEqual((len(end.channel.announcer), end.state), (0, State.CLOSED))
