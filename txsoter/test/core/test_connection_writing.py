"""Writing: order, batches, back-pressure, limits of the queue, and the token of each message."""

from __future__ import annotations

from txsoter.core.events import WriteFailed
from txsoter.core.reader import MESSAGE_OVERHEAD
from txsoter.core.send_queue import BATCH, PIECE
from txsoter.core.state import State
from txsoter.core.traffic import Traffic
from txsoter.errors import ConnectionClosed, FieldError, HandshakeFailed, LocalError, SendQueueFull, UnsupportedMessage
from txsoter.test.core.ends import ConnectionTestCase, End, filler, frame, remote_version, simnet
from txsoter.wire import Encoding, FeeFilter, Inv, InventoryVector, Ping, Pong, SendHeaders, Unknown


class SendTests(ConnectionTestCase):
    def test_a_message_is_written_and_its_token_comes_back(self) -> None:
        end = self.ready()
        token = end.send(Ping(1))
        self.assertEqual((end.said(), end.outcomes[token]), ([Ping(1)], [None]))

    def test_order_is_kept(self) -> None:
        end = self.ready()
        order: list[str] = []
        messages = [filler(24 + number * 9973 % 200_000) for number in range(20)]
        for message in messages:
            token = end.token()
            end.connection.send(message, token=token)
            order.append(token)
        end.run()
        self.assertEqual(end.said(), messages)
        self.assertEqual([token for token, told in end.outcomes.items() if told], order)

    def test_the_same_token_twice_comes_back_twice(self) -> None:
        end = self.ready()
        end.outcomes["token"] = []
        for _ in range(2):
            end.connection.send(Ping(1), token="token")
        end.run()
        self.assertEqual(end.outcomes.pop("token"), [None, None])

    def test_no_token_no_answer(self) -> None:
        end = self.ready()
        end.connection.send(Ping(1))
        end.run()
        self.assertEqual((end.said(), end.events), ([Ping(1)], []))

    def test_messages_and_bytes_are_counted_when_they_are_written_whole(self) -> None:
        end = self.ready()
        end.room = 0
        sent = end.channel.counters.sent
        end.send(filler(PIECE + 100))
        self.assertNotIn("unknown", sent)
        end.take()
        end.take()
        self.assertEqual(sent["unknown"], Traffic(1, PIECE + 100))

    def test_an_encoding_error_surfaces_at_the_call_and_nothing_is_written(self) -> None:
        end = self.ready(version=remote_version(protocol_version=60001))
        for bad, error in ((Inv([InventoryVector(1, b"short")]), FieldError), (SendHeaders(), UnsupportedMessage)):
            with self.assertRaises(error):
                end.send(bad)
        for arguments in (("ping", Encoding.BASE), (Ping(1), "base")):
            with self.assertRaises(FieldError):
                end.connection.send(*arguments)
        self.assertEqual((end.said(), end.outcomes, end.of(WriteFailed)), ([], {}, []))

    def test_who_observes_writes_is_told_of_it(self) -> None:
        end = self.ready(observes=True)
        bad = Inv([InventoryVector(1, b"short")])
        with self.assertRaises(FieldError) as caught:
            end.send(bad)
        [failed] = end.of(WriteFailed)
        self.assertIs(failed.message, bad)
        self.assertIs(failed.error, caught.exception)

    def test_a_message_that_was_encoded_before_is_not_encoded_again(self) -> None:
        end = self.ready()
        encoded = end.connection.encode(Ping(1))
        end.connection.send(Ping(2), encoded=encoded)
        end.run()
        self.assertEqual(end.said(), [Ping(1)])

    def test_unless_the_version_has_changed_meanwhile(self) -> None:
        end = self.end().made()
        encoded = end.connection.encode(Ping(1))
        self.assertEqual(encoded[1], 70013)
        end.feed(remote_version(protocol_version=60000))
        end.said(60000)
        end.connection.send(Ping(1), encoded=encoded)
        end.run()
        self.assertEqual(end.said(60000), [Ping(0)])


class BatchTests(ConnectionTestCase):
    def test_what_little_a_turn_queues_goes_out_in_one_write(self) -> None:
        end = self.ready()
        writes = len(end.writes)
        end.feed(*[Ping(number) for number in range(BATCH - 1)])
        self.assertEqual((len(end.writes) - writes, end.flushes), (1, 0))
        self.assertEqual(end.said(), [Pong(number) for number in range(BATCH - 1)])

    def test_no_more_than_64_frames_wait_for_the_end_of_the_turn(self) -> None:
        end = self.ready()
        writes = len(end.writes)
        end.feed(*[Ping(number) for number in range(BATCH * 2 + 1)])
        self.assertEqual((len(end.writes) - writes, end.flushes), (3, 2))
        self.assertEqual([len(each) for each in end.writes[writes:]], [BATCH * 32, BATCH * 32, 32])

    def test_nor_more_than_64_kib(self) -> None:
        end = self.ready(holds={FeeFilter})
        end.feed(FeeFilter(1), Ping(2))
        end.connection.send(filler(PIECE))
        end.connection.handled(end.now)
        end.run()
        self.assertEqual((end.flushes, [len(each) for each in end.writes[-2:]]), (1, [PIECE, 32]))

    def test_none_is_asked_for_while_the_transport_has_had_enough(self) -> None:
        end = self.ready()
        end.connection.pause_writing()
        end.feed(*[Ping(number) for number in range(BATCH * 3)])
        self.assertEqual((end.flushes, len(end.channel.queue), len(end.turns)), (0, BATCH * 3, BATCH * 3))
        end.take()
        self.assertEqual(len(end.said()), BATCH * 3)


class BackPressureTests(ConnectionTestCase):
    def test_while_the_transport_has_had_enough_messages_wait(self) -> None:
        end = self.ready()
        end.room = PIECE
        first, second = end.send(filler(PIECE + 1)), end.send(filler(30))
        self.assertEqual((end.outcomes[first], end.outcomes[second]), ([], []))
        self.assertEqual((end.channel.queue.waiting, len(end.channel.queue)), (30, 1))
        end.take()
        self.assertEqual((end.outcomes[first], end.outcomes[second]), ([None], [None]))
        self.assertEqual((end.channel.queue.waiting, len(end.said())), (0, 2))

    def test_a_token_comes_back_when_the_last_byte_is_taken_and_more_would_be(self) -> None:
        end = self.ready()
        end.room = PIECE
        token = end.send(filler(PIECE + 1))
        self.assertEqual((end.channel.queue.waiting, end.outcomes[token]), (0, []))
        self.assertEqual(len(end.said()), 1)
        end.take()
        self.assertEqual(end.outcomes[token], [None])

    def test_what_one_that_is_told_sends_pauses_those_behind_it(self) -> None:
        end = self.ready()
        connection = end.connection
        connection.pause_writing()
        first, second = end.send(Ping(1)), end.send(Ping(2))
        connection.resume_writing(0.0)
        piece = connection.data_to_send(0.0)
        assert piece is not None
        connection.written(piece[1])
        self.assertEqual(connection.next_written(), first)
        connection.pause_writing()
        self.assertIsNone(connection.next_written())
        connection.resume_writing(0.0)
        self.assertEqual(connection.next_written(), second)
        end.outcomes.clear()

    def test_past_the_soft_limit_no_message_has_its_turn(self) -> None:
        end = self.ready(simnet(soft_queue_limit=1000))
        end.room = 0
        end.send(filler(100))
        end.send(filler(1000))
        self.assertTrue(end.connection.wants_data)
        end.send(filler(100))
        self.assertEqual((end.connection.wants_data, end.connection.turns.withholds), (False, True))
        end.feed(FeeFilter(1))
        self.assertEqual(end.turns, [])
        end.take()
        self.assertEqual((end.turns, end.connection.turns.withholds), ([FeeFilter(1)], False))

    def test_unless_nothing_is_taken_for_5_s(self) -> None:
        end = self.ready(simnet(soft_queue_limit=1000))
        end.room = 0
        end.send(filler(100))
        end.send(filler(2000))
        end.feed(FeeFilter(1))
        end.advance(4.9)
        self.assertEqual((end.turns, end.connection.wants_data), ([], False))
        end.advance(0.1)
        self.assertEqual((end.turns, end.connection.wants_data), ([FeeFilter(1)], True))
        end.feed(FeeFilter(2))
        self.assertEqual(end.turns[-1], FeeFilter(2))

    def test_then_pings_are_read_and_not_answered(self) -> None:
        """It reads on for other messages, not for the remote to make it queue more."""
        end = self.ready(simnet(soft_queue_limit=1000))
        end.room = 0
        end.send(filler(100))
        end.send(filler(2000))
        end.advance(5)
        waiting = end.channel.queue.waiting
        end.feed(Ping(1))
        self.assertEqual((end.turns, end.channel.queue.waiting), ([Ping(1)], waiting))

    def test_one_that_is_read_slowly_is_not_idle_meanwhile(self) -> None:
        """The time in which our own full queue keeps us from reading is not held against the remote."""
        end = self.ready(
            simnet(soft_queue_limit=1000, read_on_after=None, write_timeout=None, ping_interval=None, idle_timeout=50)
        )
        end.room = 0
        end.send(filler(100))
        end.send(filler(2000))
        end.advance(1000)
        self.assertIs(end.state, State.READY)
        end.room = None
        end.take()
        end.advance(49.9)
        self.assertIs(end.state, State.READY)
        end.advance(0.2)
        self.assertIs(end.state, State.CLOSING)


class LimitTests(ConnectionTestCase):
    def full(self) -> End:
        end = self.ready(simnet(hard_queue_limit=2000, soft_queue_limit=1000))
        end.room = 0
        end.send(filler(100))
        end.send(filler(1900))
        return end

    def test_past_the_hard_limit_a_message_fails(self) -> None:
        end = self.full()
        token = end.send(filler(101))
        [error] = end.outcomes[token]
        assert isinstance(error, SendQueueFull)
        self.assertEqual((error.queued, error.size, error.limit), (1900, 101, 2000))
        self.assertIs(end.state, State.READY)

    def test_exactly_as_much_as_fits_does_not(self) -> None:
        end = self.full()
        token = end.send(filler(100))
        self.assertEqual(end.outcomes[token], [])
        end.room = None
        end.take()
        self.assertEqual(end.outcomes[token], [None])

    def test_exactly_as_much_of_our_own_as_well(self) -> None:
        end = self.ready(simnet(hard_queue_limit=1032, soft_queue_limit=1032))
        end.connection.pause_writing()
        end.send(filler(1000))
        end.feed(Ping(1), Ping(2))
        end.take()
        self.assertEqual(end.said(), [filler(1000), Pong(1)])

    def test_who_observes_writes_is_told_of_it_too(self) -> None:
        end = self.full()
        end.connection.send(filler(101))
        end.run()
        [failed] = end.of(WriteFailed)
        self.assertIsInstance(failed.error, SendQueueFull)


class EndTests(ConnectionTestCase):
    def test_what_the_transport_has_not_taken_fails_when_the_connection_closes(self) -> None:
        end = self.ready()
        end.room = 0
        tokens = [end.send(Ping(number)) for number in range(3)]
        end.close()
        for token in tokens:
            [error] = end.outcomes[token]
            self.assertIs(type(error), ConnectionClosed)
        self.assertTrue(end.connection.may_hang_up)

    def test_what_only_waits_for_the_end_of_the_turn_still_goes_out(self) -> None:
        end = self.ready()
        token = end.token()
        end.connection.send(Ping(1), token=token)
        end.close()
        self.assertEqual((end.said(), end.outcomes[token]), ([Ping(1)], [None]))

    def test_but_no_more_than_the_transport_takes_at_once(self) -> None:
        end = self.ready()
        end.room = PIECE - 1
        tokens = [end.token() for _ in range(2)]
        end.connection.send(filler(PIECE), token=tokens[0])
        end.connection.send(filler(100), token=tokens[1])
        end.close()
        self.assertEqual((len(end.said()), end.connection.may_hang_up), (1, True))
        self.assertEqual([type(end.outcomes[token][0]) for token in tokens], [ConnectionClosed] * 2)

    def test_a_send_after_that_fails(self) -> None:
        end = self.ready()
        end.close()
        closing = end.send(Ping(1))
        end.lose()
        closed = end.send(Ping(2))
        self.assertEqual([type(end.outcomes[token][0]) for token in (closing, closed)], [ConnectionClosed] * 2)
        with self.assertRaises(LocalError):
            end.send(Inv([InventoryVector(1, b"short")]))
        self.assertEqual(end.said(), [])

    def test_before_ready_the_failure_is_the_handshakes(self) -> None:
        end = self.end().made()
        end.feed(remote_version())
        end.room = 0
        end.send(Ping(0))
        token = end.send(Ping(1))
        end.lose()
        self.assertIs(type(end.outcomes[token][0]), HandshakeFailed)

    def test_a_transport_that_is_gone_in_the_middle_of_a_write(self) -> None:
        end = self.ready()
        token = end.token()
        end.connection.send(Ping(1), token=token)
        piece = end.connection.data_to_send(0.0)
        assert piece is not None
        end.lose()
        end.connection.written(piece[1])
        end.run()
        self.assertEqual([type(each) for each in end.outcomes[token]], [ConnectionClosed])


class MemoryTests(ConnectionTestCase):
    """The bytes that a connection holds: received and not handled, or not sent."""

    def test_half_a_message(self) -> None:
        end = self.ready()
        self.assertEqual(end.channel.memory(), 0)
        end.feed(frame(filler(1000))[:900])
        self.assertEqual(end.channel.memory(), 900)
        end.feed(frame(filler(1000))[900:])
        self.assertEqual(end.channel.memory(), 0)

    def test_the_payload_in_hand_and_whole_messages_behind_it(self) -> None:
        end = self.ready(holds={Unknown})
        end.feed(filler(1000), Ping(1))
        self.assertEqual(end.channel.memory(), 976 + 32)
        end.finish()
        self.assertEqual(end.channel.memory(), 0)

    def test_once_the_end_has_begun_what_is_in_hand_is_the_applications(self) -> None:
        end = self.ready(holds={Unknown})
        end.feed(filler(1000), Ping(1))
        end.close()
        self.assertEqual(end.channel.memory(), 0)

    def test_the_send_queue_with_what_each_message_takes_beyond_its_frame(self) -> None:
        end = self.ready()
        end.connection.pause_writing()
        end.send(filler(1000))
        end.send(Ping(1))
        self.assertEqual(end.channel.memory(), 1032 + 2 * MESSAGE_OVERHEAD)
        end.take()
        self.assertEqual(end.channel.memory(), 0)

    def test_messages_that_wait_for_the_handshake(self) -> None:
        end = self.end().made()
        end.send(filler(1000))
        self.assertEqual(end.channel.memory(), 1000 + MESSAGE_OVERHEAD)
