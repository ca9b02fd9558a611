"""The send queue: order, pieces, progress, and the tokens of frames that were sent or dropped."""

from __future__ import annotations

from unittest import TestCase

from txsoter.core.send_queue import BATCH, PIECE, SendQueue
from txsoter.wire import Ping


class SendQueueTestCase(TestCase):
    def setUp(self) -> None:
        self.queue = SendQueue(0.0)
        self.now = 0.0
        self.writes: list[bytes] = []
        self.complete: list[int] = []

    def put(self, number: int, size: int = 10) -> None:
        """Queue a frame of ``size`` bytes, all of them ``number``, which is its token too."""
        self.queue.put(bytes([number]) * size, Ping(number), number)

    def take(self) -> bool:
        """Hand the transport a piece, as a connection does; tell whether there was one."""
        piece = self.queue.take(self.now)
        if piece is None:
            return False
        self.writes.append(piece[0])
        self.queue.writing = None
        self.queue.untold += [token for _, _, token in piece[1] if token is not None]
        self.complete += [message.nonce for _, message, _ in piece[1] if isinstance(message, Ping)]
        return True

    def take_all(self) -> None:
        """Hand the transport pieces until there are no more."""
        while self.take():
            pass

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def assert_empty(self) -> None:
        self.assertEqual((len(self.queue), self.queue.waiting, self.queue.take(self.now)), (0, 0, None))


class TakingTests(SendQueueTestCase):
    def test_an_empty_one_gives_nothing(self) -> None:
        self.assert_empty()
        self.assertIsNone(self.queue.last_write)

    def test_a_frame_its_message_and_its_token(self) -> None:
        self.put(1)
        self.assertEqual((len(self.queue), self.queue.waiting, self.queue.untold), (1, 10, []))
        self.assertEqual(self.queue.take(0.0), (b"\1" * 10, [(b"\1" * 10, Ping(1), 1)]))
        self.assertEqual((self.queue.untold, self.queue.writing), ([], [(b"\1" * 10, Ping(1), 1)]))
        self.assert_empty()

    def test_small_frames_go_together(self) -> None:
        for number in range(5):
            self.put(number)
        self.take_all()
        self.assertEqual(self.writes, [b"".join(bytes([number]) * 10 for number in range(5))])
        self.assertEqual((self.complete, self.queue.untold), (list(range(5)), list(range(5))))

    def test_order_is_kept(self) -> None:
        for number in range(20):
            self.put(number, 1 + number * 7919)
        self.take_all()
        self.assertEqual(self.written, b"".join(bytes([number]) * (1 + number * 7919) for number in range(20)))
        self.assertEqual((self.complete, self.queue.untold), (list(range(20)), list(range(20))))
        self.assert_empty()

    def test_pieces_are_at_most_64_kib(self) -> None:
        self.assertEqual(PIECE, 65536)
        self.put(1, 3 * PIECE + 5)
        for left in (2 * PIECE + 5, PIECE + 5, 5):
            self.take()
            self.assertEqual((self.queue.waiting, self.complete, self.queue.untold), (left, [], []))
        self.take()
        self.assertEqual([len(each) for each in self.writes], [PIECE, PIECE, PIECE, 5])
        self.assertEqual((self.complete, self.queue.untold), ([1], [1]))
        self.assert_empty()

    def test_as_many_whole_frames_as_fit_in_a_piece(self) -> None:
        self.put(1, PIECE - 10)
        self.put(2, 10)
        self.put(3, 5)
        self.take_all()
        self.assertEqual([len(each) for each in self.writes], [PIECE, 5])
        self.assertEqual(self.complete, [1, 2, 3])

    def test_frames_and_pieces_need_not_meet(self) -> None:
        self.put(1, PIECE - 10)
        self.put(2, 20)
        self.put(3, PIECE + 7)
        self.put(4, 5)
        self.take_all()
        self.assertEqual(self.written, b"\1" * (PIECE - 10) + b"\2" * 20 + b"\3" * (PIECE + 7) + b"\4" * 5)
        self.assertTrue(all(len(each) <= PIECE for each in self.writes))
        self.assertEqual(self.complete, [1, 2, 3, 4])

    def test_what_is_put_between_two_pieces_of_a_frame_comes_behind_it(self) -> None:
        self.put(1, PIECE + 10)
        self.take()
        self.put(2)
        self.take_all()
        self.assertEqual(self.written, b"\1" * (PIECE + 10) + b"\2" * 10)

    def test_frames_without_a_token_are_sent_too(self) -> None:
        self.queue.put(b"frame", Ping(1), None)
        self.put(2)
        self.take_all()
        self.assertEqual((self.written, self.queue.untold), (b"frame" + b"\2" * 10, [2]))

    def test_a_batch_is_due_at_64_frames_or_64_kib(self) -> None:
        self.assertEqual(BATCH, 64)
        for _ in range(BATCH - 1):
            self.put(1)
        self.assertFalse(self.queue.batch_is_due)
        self.put(1)
        self.assertTrue(self.queue.batch_is_due)
        self.take_all()
        self.put(1, PIECE - 1)
        self.assertFalse(self.queue.batch_is_due)
        self.put(1, 1)
        self.assertTrue(self.queue.batch_is_due)
        self.queue.paused = True
        self.assertFalse(self.queue.batch_is_due)


class BackPressureTests(SendQueueTestCase):
    def test_while_paused_frames_wait(self) -> None:
        self.queue.paused = True
        self.put(1, 30)
        self.assertFalse(self.take())
        self.assertEqual((self.queue.waiting, len(self.queue)), (30, 1))
        self.queue.resume(0.0)
        self.take_all()
        self.assertEqual((self.complete, self.queue.waiting), ([1], 0))

    def test_a_pause_in_the_middle_of_a_frame(self) -> None:
        self.put(1, 2 * PIECE)
        self.take()
        self.queue.paused = True
        self.assertFalse(self.take())
        self.assertEqual((self.queue.waiting, len(self.queue)), (PIECE, 1))
        self.queue.resume(0.0)
        self.take_all()
        self.assertEqual((self.complete, len(self.written)), ([1], 2 * PIECE))

    def test_progress_is_each_piece_taken(self) -> None:
        self.assertEqual((self.queue.last_progress, self.queue.last_write), (0.0, None))
        self.put(1, 2 * PIECE)
        for now in (100.0, 110.0):
            self.now = now
            self.take()
            self.assertEqual((self.queue.last_progress, self.queue.last_write), (now, now))

    def test_room_for_more_is_progress_and_no_write(self) -> None:
        self.now = 100.0
        self.put(1)
        self.take()
        self.queue.paused = True
        self.queue.resume(120.0)
        self.assertEqual((self.queue.last_progress, self.queue.last_write), (120.0, 100.0))

    def test_what_is_queued_for_a_full_transport_is_no_progress(self) -> None:
        """Although nothing else waits: the remote has not taken what the transport holds."""
        self.put(1)
        self.take()
        self.queue.paused = True
        self.now = 50.0
        self.put(2)
        self.take()
        self.assertEqual(self.queue.last_progress, 0.0)

    def test_having_nothing_to_take_is_no_lack_of_progress(self) -> None:
        self.now = 1000.0
        self.put(1)
        self.take()
        self.assertEqual(self.queue.last_progress, 1000.0)


class DropTests(SendQueueTestCase):
    """Every token comes back: by ``untold`` or by ``drop``, and once."""

    def test_of_all_that_was_not_told_in_order(self) -> None:
        for number in (1, 2):
            self.put(number)
        self.take()
        self.put(3, PIECE + 1)
        self.take()
        self.put(4)
        self.assertEqual(self.queue.untold, [1, 2])
        self.assertEqual(self.queue.drop(), [1, 2, 3, 4])
        self.assertEqual((self.queue.untold, self.queue.drop()), ([], []))
        self.assert_empty()

    def test_in_the_middle_of_a_write(self) -> None:
        """The transport may be gone before its ``write`` returns."""
        self.put(1)
        self.queue.take(0.0)
        self.put(2)
        self.assertEqual(self.queue.drop(), [1, 2])
        self.assertEqual((self.queue.untold, self.queue.writing), ([], None))
        self.assert_empty()

    def test_in_the_middle_of_writing_a_part(self) -> None:
        self.put(1, PIECE + 1)
        self.queue.take(0.0)
        self.assertEqual(self.queue.drop(), [1])
        self.assertEqual((self.queue.untold, self.queue.writing), ([], None))

    def test_frames_without_a_token_give_none_back(self) -> None:
        self.queue.put(b"frame", Ping(1), None)
        self.assertEqual(self.queue.drop(), [])

    def test_the_frame_behind_a_drop_begins_at_its_beginning(self) -> None:
        self.put(1, PIECE + 10)
        self.take()
        self.queue.drop()
        self.writes.clear()
        self.put(2, 20)
        self.take_all()
        self.assertEqual(self.written, b"\2" * 20)

    def test_a_drop_while_paused_leaves_it_paused(self) -> None:
        self.queue.paused = True
        self.put(1)
        self.queue.drop()
        self.put(2)
        self.assertFalse(self.take())
