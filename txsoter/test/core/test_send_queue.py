"""Tests of :mod:`txsoter.peer.outbox` (PEER.md, "Writing")."""

from __future__ import annotations

import gc
from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from txsoter.errors import LocalError
from txsoter.peer.outbox import BATCH, PIECE, Outbox, fail_quietly
from txsoter.test.peer.support import TrialCase
from txsoter.wire import Message, Ping


class Writer:
    """A transport that has had enough once it holds more than ``room``."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.room: int | None = None
        self.held = 0
        self.outbox: Outbox | None = None

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.held += len(data)
        if self.room is not None and self.held > self.room:
            assert self.outbox is not None
            self.outbox.pauseProducing()

    def take(self) -> None:
        """All is gone: the producer may go on."""
        assert self.outbox is not None
        self.held = 0
        self.outbox.resumeProducing()


class OutboxTestCase(TrialCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.writer = Writer()
        self.handed: list[tuple[int, int]] = []
        self.changes: list[bool] = []
        self.on_handed: Callable[[], object] = lambda: None
        self.outbox = self.writer.outbox = Outbox(self.writer, self.clock.seconds, self.note, self.changed)
        self.fired: list[int] = []

    def note(self, message: Message, size: int) -> None:
        assert isinstance(message, Ping)
        self.handed.append((message.nonce, size))
        self.on_handed()

    def changed(self) -> None:
        self.changes.append(self.outbox.paused)

    def put(self, number: int, size: int = 10) -> Deferred[None]:
        """Queue a frame of ``size`` bytes, all of them ``number``."""
        done: Deferred[None] = Deferred()
        done.addCallback(lambda _: self.fired.append(number))
        self.outbox.put(bytes([number]) * size, Ping(number), done)
        return done

    def send(self, number: int) -> None:
        """As a callback does, which does not wait for what it sends."""
        self.put(number)

    @property
    def written(self) -> bytes:
        return b"".join(self.writer.writes)


class WriteTests(OutboxTestCase):
    def test_it_is_a_push_producer(self) -> None:
        self.assertTrue(verifyObject(IPushProducer, self.outbox))
        self.outbox.stopProducing()

    def test_a_frame_goes_at_once_and_its_deferred_fires(self) -> None:
        self.successResultOf(self.put(1))
        self.assertEqual(self.writer.writes, [b"\1" * 10])
        self.assertEqual((self.handed, self.outbox.waiting, len(self.outbox)), ([(1, 10)], 0, 0))

    def test_order_is_kept(self) -> None:
        for number in range(20):
            self.put(number, 1 + number * 7919)
        self.assertEqual(self.written, b"".join(bytes([number]) * (1 + number * 7919) for number in range(20)))
        self.assertEqual([number for number, _ in self.handed], list(range(20)))
        self.assertEqual(self.fired, list(range(20)))

    def test_pieces_are_at_most_64_kib(self) -> None:
        self.assertEqual(PIECE, 65536)
        done = self.put(1, 3 * PIECE + 5)
        self.assertEqual([len(each) for each in self.writer.writes], [PIECE, PIECE, PIECE, 5])
        self.assertEqual(self.handed, [(1, 3 * PIECE + 5)])
        self.successResultOf(done)

    def test_a_cork_gathers_into_one_write(self) -> None:
        """What little a turn queues goes out in one write."""
        self.outbox.cork()
        waiting = [self.put(number) for number in range(5)]
        self.outbox.cork()
        self.outbox.uncork()
        self.assertEqual((self.writer.writes, self.outbox.waiting, len(self.outbox)), ([], 50, 5))
        for each in waiting:
            self.assertNoResult(each)
        self.outbox.uncork()
        self.assertEqual(len(self.writer.writes), 1)
        self.assertEqual(self.fired, list(range(5)))
        self.outbox.cork()
        self.outbox.uncork()
        self.assertEqual(len(self.writer.writes), 1)

    def test_a_cork_does_not_gather_more_than_a_batch(self) -> None:
        """Also where those who are told send more: in order, and each of them is told."""

        def send_more(_: None, number: int) -> None:
            self.send(200 + number % 50)

        self.outbox.cork()
        for number in range(2 * BATCH + 1):
            self.put(number).addCallback(send_more, number)
        self.assertEqual(len(self.writer.writes[0]), 10 * BATCH)
        self.outbox.uncork()
        self.assertEqual([number for number in self.fired if number < 200], list(range(2 * BATCH + 1)))
        numbers = [write[at] for write in self.writer.writes for at in range(0, len(write), 10)]
        self.assertEqual(numbers, [number for number, _ in self.handed])
        self.assertEqual(numbers, self.fired)
        self.assertEqual(numbers.count(200), sum(number % 50 == 0 for number in range(2 * BATCH + 1)))
        self.assertEqual((len(self.outbox), self.outbox.waiting), (0, 0))

    def test_a_cork_does_not_gather_more_than_a_piece(self) -> None:
        self.outbox.cork()
        self.put(1, PIECE - 1)
        self.assertEqual(self.writer.writes, [])
        self.put(2, 1)
        self.assertEqual([len(each) for each in self.writer.writes], [PIECE])
        self.outbox.uncork()

    def test_frames_and_pieces_need_not_meet(self) -> None:
        self.outbox.cork()
        self.put(1, PIECE - 10)
        self.put(2, 20)
        self.put(3, 5)
        self.outbox.uncork()
        self.assertEqual(self.written, b"\1" * (PIECE - 10) + b"\2" * 20 + b"\3" * 5)
        self.assertTrue(all(len(each) <= PIECE for each in self.writer.writes))
        self.assertEqual(self.handed, [(1, PIECE - 10), (2, 20), (3, 5)])

    def test_frames_without_a_deferred_are_written_too(self) -> None:
        """No Deferred where nobody asked for one."""
        self.outbox.put(b"frame", Ping(1))
        self.writer.room = -1
        self.outbox.put(b"more", Ping(2))
        self.writer.take()
        self.outbox.put(b"lost", Ping(3))
        self.outbox.drop(LocalError())
        self.assertEqual(self.written, b"framemorelost")


class BackPressureTests(OutboxTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.writer.room = PIECE

    def test_while_paused_frames_wait(self) -> None:
        self.put(1, PIECE + 1)
        self.assertTrue(self.outbox.paused)
        self.put(2, 30)
        self.assertEqual(len(self.written), PIECE + 1)
        self.assertEqual((self.outbox.waiting, len(self.outbox)), (30, 1))
        self.writer.take()
        self.assertFalse(self.outbox.paused)
        self.assertEqual((len(self.written), self.outbox.waiting), (PIECE + 31, 0))
        self.assertEqual(self.changes, [True, False])

    def test_a_deferred_fires_when_its_last_byte_is_taken_and_more_would_be(self) -> None:
        """Bytes handed over are not enough while the transport has had enough."""
        first, second = self.put(1, 10), self.put(2, 2 * PIECE)
        self.successResultOf(first)
        self.assertEqual(self.handed, [(1, 10)])
        self.assertNoResult(second)
        self.writer.take()
        self.assertEqual(self.handed, [(1, 10), (2, 2 * PIECE)])
        self.successResultOf(second)
        self.writer.take()
        third = self.put(3, PIECE + 1)
        self.assertEqual((self.outbox.waiting, self.handed[-1]), (0, (3, PIECE + 1)))
        self.assertNoResult(third)
        self.writer.take()
        self.successResultOf(third)

    def test_what_a_callback_sends_pauses_those_behind_it(self) -> None:
        """A Deferred does not fire while the transport has had enough, although another's callback is to blame."""
        self.writer.room = 0
        self.outbox.pauseProducing()
        first, second = self.put(1), self.put(2)
        first.addCallback(lambda _: self.send(3))
        self.writer.take()
        self.assertEqual(self.written, b"\1" * 10 + b"\2" * 10)
        self.assertNoResult(first)
        self.writer.take()
        self.assertTrue(self.outbox.paused)
        self.assertEqual(self.fired, [1])
        self.assertNoResult(second)
        self.writer.take()
        self.assertEqual(self.fired, [1, 2, 3])

    def test_progress_is_each_piece_taken(self) -> None:
        self.assertEqual(self.outbox.last_progress, 0)
        self.clock.advance(100)
        self.put(1, 4 * PIECE)
        self.assertEqual((self.outbox.last_progress, self.outbox.waiting), (100, 2 * PIECE))
        self.clock.advance(10)
        self.put(2)
        self.assertEqual(self.outbox.last_progress, 100)
        self.writer.take()
        self.assertEqual((self.outbox.last_progress, self.outbox.waiting), (110, 10))
        self.clock.advance(10)
        self.writer.take()
        self.assertEqual((self.outbox.last_progress, self.outbox.waiting), (120, 0))

    def test_what_is_queued_for_a_full_transport_is_no_progress(self) -> None:
        """Although nothing else waits: the remote has not taken what the transport holds."""
        self.put(1, 2 * PIECE)
        self.assertEqual((self.outbox.paused, self.outbox.waiting), (True, 0))
        self.clock.advance(50)
        self.put(2)
        self.assertEqual(self.outbox.last_progress, 0)

    def test_having_nothing_to_take_is_no_lack_of_progress(self) -> None:
        self.clock.advance(1000)
        self.outbox.cork()
        self.put(1)
        self.clock.advance(1)
        self.put(2)
        self.assertEqual(self.outbox.last_progress, 1000)
        self.outbox.uncork()

    def test_nothing_is_written_by_a_flush_while_paused(self) -> None:
        self.outbox.pauseProducing()
        self.put(1)
        self.outbox.flush()
        self.assertEqual(self.writer.writes, [])
        self.writer.take()
        self.assertEqual(self.fired, [1])


class ReentrancyTests(OutboxTestCase):
    def test_a_callback_may_send(self) -> None:
        """What it sends comes behind what is queued already."""
        self.outbox.cork()
        first = self.put(1)
        first.addCallback(lambda _: self.send(3))
        self.put(2)
        self.outbox.uncork()
        self.assertEqual(self.written, b"\1" * 10 + b"\2" * 10 + b"\3" * 10)
        self.assertEqual(self.fired, [1, 2, 3])

    def test_whoever_is_told_of_a_frame_may_send(self) -> None:
        self.on_handed = lambda: self.put(len(self.handed) + 1) if len(self.handed) < 4 else None
        self.put(1)
        self.assertEqual([number for number, _ in self.handed], [1, 2, 3, 4])
        self.assertEqual(self.fired, [1, 2, 3, 4])

    def test_a_callback_may_drop_the_rest(self) -> None:
        """As disconnect() does: what is not with the transport is not sent, and everybody is told."""
        self.outbox.pauseProducing()
        first = self.put(1, PIECE - 1)
        first.addCallback(lambda _: self.outbox.drop(LocalError()))
        rest = [self.put(2, 2 * PIECE), self.put(3)]
        self.writer.take()
        self.assertEqual(self.written, b"\1" * (PIECE - 1))
        for each in rest:
            self.failureResultOf(each, LocalError)
        self.assertEqual((self.outbox.waiting, len(self.outbox)), (0, 0))

    def test_whoever_is_told_of_a_frame_may_drop_the_rest(self) -> None:
        self.on_handed = lambda: self.outbox.drop(LocalError())
        done = self.put(1)
        self.failureResultOf(done, LocalError)
        self.assertEqual((self.written, self.outbox.waiting), (b"\1" * 10, 0))

    def test_after_a_drop_in_the_middle_of_a_frame_the_next_begins_at_its_beginning(self) -> None:
        self.writer.room = 0
        lost = self.put(1, PIECE + 10)
        self.outbox.drop(LocalError())
        self.failureResultOf(lost, LocalError)
        self.writer.writes.clear()
        self.writer.take()
        self.put(2, 20)
        self.assertEqual(self.written, b"\2" * 20)

    def test_a_cancelled_deferred_harms_nobody(self) -> None:
        self.writer.room = -1
        self.put(1)
        second, third = self.put(2), self.put(3)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        for _ in range(2):
            self.writer.take()
        self.assertEqual(self.fired, [1, 3])
        self.successResultOf(third)
        self.assertEqual(self.written, b"\1" * 10 + b"\2" * 10 + b"\3" * 10)


class DropTests(OutboxTestCase):
    """It *always* fires, on every path."""

    def setUp(self) -> None:
        super().setUp()
        self.writer.room = -1

    def test_everything_fails_with_the_reason(self) -> None:
        """Also what is with a transport that has not asked for more."""
        waiting = [self.put(number, size) for number, size in ((1, 10), (2, PIECE + 1), (3, 10))]
        error = LocalError("the end")
        self.outbox.drop(error)
        for each in waiting:
            self.assertIs(self.failureResultOf(each, LocalError).value, error)
        self.assertEqual((self.outbox.waiting, len(self.outbox), self.fired), (0, 0, []))
        self.outbox.drop(error)
        self.writer.take()
        self.assertEqual(self.written, b"\1" * 10)

    def test_nobody_asked_is_no_logged_error(self) -> None:
        for number in (1, 2):
            self.outbox.put(b"frame", Ping(number), Deferred())
        self.outbox.drop(LocalError())
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_who_asked_and_does_not_handle_it_is_a_logged_error(self) -> None:
        watched: Deferred[None] = Deferred()
        watched.addCallback(lambda _: None)
        self.outbox.put(b"frame", Ping(1), watched)
        del watched
        self.outbox.drop(LocalError())
        gc.collect()
        self.assertEqual(len(self.flushLoggedErrors(LocalError)), 1)

    def test_who_asks_later_gets_the_failure(self) -> None:
        done: Deferred[None] = Deferred()
        fail_quietly(done, Failure(LocalError("late")))
        self.failureResultOf(done, LocalError)

    def test_a_cancelled_deferred_does_not_mind(self) -> None:
        done = self.put(1)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.outbox.drop(LocalError())
        handled: list[Failure] = []
        other: Deferred[None] = Deferred()
        other.addErrback(lambda failure: handled.append(failure))
        other.cancel()
        fail_quietly(other, Failure(LocalError()))
        self.assertEqual([failure.type for failure in handled], [CancelledError])
