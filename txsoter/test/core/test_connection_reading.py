"""Reading: messages in order, one in hand at a time, malformed ones, and what is finished without a handler."""

from __future__ import annotations

from txsoter.core.connection import Connection
from txsoter.core.events import Notice, Observed, RoundTrip, SlowHandler
from txsoter.core.state import State
from txsoter.core.traffic import Traffic
from txsoter.errors import CloseCause, ConnectionClosed, MalformedMessage
from txsoter.networks import REGTEST
from txsoter.test.core.ends import ConnectionTestCase, End, frame, malformed_header, remote_version, simnet
from txsoter.wire import (
    Block,
    FeeFilter,
    FilterAdd,
    FilterClear,
    FilterLoad,
    Message,
    Ping,
    Pong,
    Reject,
    RejectCode,
    SendHeaders,
    Services,
    Unknown,
    VerAck,
    write_message,
)

BAD_CHECKSUM = frame(Ping(0))[:20] + bytes(12)
TOO_SHORT = frame(Unknown("ping", b"\0\0\0"))
OTHER_NETWORK = b"\xf9\xbe\xb4\xd9" + frame(Ping(0))[4:]


class OrderTests(ConnectionTestCase):
    def test_messages_come_in_hand_in_the_order_of_their_arrival(self) -> None:
        messages: list[Message] = [FeeFilter(1), Ping(2), Unknown("novel", b"3"), Block(), FeeFilter(4)]
        end = self.ready()
        end.feed(*messages)
        self.assertEqual(end.turns, messages)

    def test_the_event_is_the_message_with_all_that_was_read_of_it(self) -> None:
        end = self.ready(holds={FeeFilter})
        end.feed(FeeFilter(7))
        in_hand = end.channel.in_hand
        assert in_hand is not None
        state, message, payload, used, checksum = in_hand
        self.assertEqual((state.shared.command, message), ("feefilter", FeeFilter(7)))
        self.assertEqual((payload, used, checksum), (frame(FeeFilter(7))[24:], 8, frame(FeeFilter(7))[20:24]))

    def test_one_at_a_time_is_in_hand_and_those_behind_it_wait(self) -> None:
        end = self.ready(holds={FeeFilter})
        end.feed(FeeFilter(1), Ping(2))
        end.feed(FeeFilter(3))
        self.assertEqual((end.turns, end.said()), ([FeeFilter(1)], []))
        end.finish()
        self.assertEqual((end.turns, end.said()), ([FeeFilter(1), Ping(2), FeeFilter(3)], [Pong(2)]))
        end.finish()
        self.assertIsNone(end.channel.in_hand)

    def test_a_command_without_a_handler_is_finished_without_an_event(self) -> None:
        end = self.ready(handles={FeeFilter})
        end.feed(Ping(1), Unknown("novel"), FeeFilter(2), SendHeaders())
        self.assertEqual((end.turns, end.events, end.said()), ([FeeFilter(2)], [], [Pong(1)]))
        self.assertEqual(end.channel.counters.received["ping"], Traffic(1, 32))
        self.assertTrue(end.channel.wants_headers)

    def test_our_own_part_comes_before_the_handlers(self) -> None:
        end = self.ready(holds={Ping, SendHeaders})
        end.feed(Ping(1))
        self.assertEqual(end.said(), [Pong(1)])
        end.finish()
        end.feed(SendHeaders())
        self.assertTrue(end.channel.wants_headers)

    def test_a_thousand_messages_in_one_read(self) -> None:
        end = self.ready()
        end.feed(*[FeeFilter(number) for number in range(1000)], frame(FeeFilter(0))[:-1])
        self.assertEqual(len(end.turns), 1000)
        self.assertEqual(end.channel.memory(), 31)

    def test_what_is_asked_of_the_transport_while_a_message_is_in_hand(self) -> None:
        end = self.ready(holds={FeeFilter})
        self.assertTrue(end.connection.wants_data)
        end.feed(FeeFilter(1))
        self.assertFalse(end.connection.wants_data)
        end.finish()
        self.assertTrue(end.connection.wants_data)

    def test_nothing_has_its_turn_once_the_end_has_begun(self) -> None:
        end = self.ready(holds={FeeFilter})
        end.feed(FeeFilter(1), Ping(2))
        end.close()
        self.assertTrue(end.connection.wants_data)
        end.feed(Ping(3))
        end.finish()
        self.assertEqual((end.turns, end.said(), end.channel.reader.memory), ([FeeFilter(1)], [], 0))

    def test_a_message_that_was_about_to_have_its_turn_does_not_when_somebody_hangs_up(self) -> None:
        """As whoever is told that the peer is ready may do."""
        end = self.end().made()
        end.on_event = lambda event: end.connection.close(CloseCause.DISCONNECT, "", end.now)
        end.feed(remote_version(), VerAck())
        self.assertEqual([each.command for each in end.turns], ["version"])


class CountingTests(ConnectionTestCase):
    def test_messages_and_bytes_by_command(self) -> None:
        end = self.ready()
        counters = end.channel.counters
        before = counters.bytes_received
        end.now = 7.0
        end.feed(Ping(1), Ping(2), Unknown("a", b"xyz"), Unknown("b"), frame(Ping(3))[:10])
        self.assertEqual(counters.received["ping"], Traffic(2, 64))
        self.assertEqual(counters.received["unknown"], Traffic(2, 51))
        self.assertEqual((counters.bytes_received - before, counters.last_receive), (125, 7.0))
        self.assertEqual(counters.unknown_commands, 2)

    def test_bytes_behind_a_message_in_its_payload(self) -> None:
        end = self.ready()
        end.feed(Unknown("getblocks", bytes(45)))
        self.assertEqual(end.channel.counters.trailing_bytes, 8)


class PingTests(ConnectionTestCase):
    def test_each_is_answered_with_its_nonce(self) -> None:
        end = self.ready()
        end.feed(Ping(1), Ping((1 << 64) - 1))
        self.assertEqual(end.said(), [Pong(1), Pong((1 << 64) - 1)])
        self.assertEqual(end.channel.counters.sent["pong"], Traffic(2, 64))

    def test_not_if_config_says_so_nor_at_60000(self) -> None:
        end = self.ready(simnet(answer_pings=False))
        end.feed(Ping(1))
        self.assertEqual(end.said(), [])
        end = self.ready(version=remote_version(protocol_version=60000))
        end.feed(frame(Ping(), 60000))
        self.assertEqual(end.said(), [])
        end = self.ready(version=remote_version(protocol_version=60001))
        end.feed(Ping(1))
        self.assertEqual(end.said(), [Pong(1)])

    def test_who_observes_writes_sees_the_nonce(self) -> None:
        end = self.ready(observes=True)
        end.room = 0
        end.connection.pause_writing()
        end.feed(Ping(5))
        self.assertEqual([message for _, message, _ in end.channel.queue.entries], [Pong(5)])

    def test_a_pong_measures_the_round_trip(self) -> None:
        end = self.ready(observes=True)
        end.send(Ping(7))
        end.advance(0.25)
        end.feed(Pong(8), Pong(7), Pong(7))
        self.assertEqual([each.seconds for each in end.of(RoundTrip)], [0.25])
        self.assertEqual(end.channel.pings.last_micros, 250_000)

    def test_a_round_trip_begins_when_the_ping_is_with_the_transport(self) -> None:
        end = self.ready(observes=True)
        end.connection.pause_writing()
        end.send(Ping(7))
        end.advance(3)
        end.take()
        end.advance(0.5)
        end.feed(Pong(7))
        self.assertEqual([each.seconds for each in end.of(RoundTrip)], [0.5])

    def test_unless_somebody_observes_them_round_trips_are_no_events(self) -> None:
        end = self.ready()
        end.send(Ping(7))
        end.feed(Pong(7))
        self.assertEqual((end.of(RoundTrip), end.channel.pings.last_micros), ([], 0))


class MalformedTests(ConnectionTestCase):
    def test_rejected_and_closed(self) -> None:
        for bad, command, size in (
            (BAD_CHECKSUM, "ping", 32),
            (TOO_SHORT, "ping", 27),
            (malformed_header(), "ping", 24),
            (OTHER_NETWORK, None, 24),
        ):
            end = self.ready()
            end.feed(FeeFilter(1), bad, FeeFilter(2))
            [reject] = end.said()
            assert isinstance(reject, Reject)
            self.assertEqual((reject.rejected, reject.code), (b"malformed", RejectCode.MALFORMED))
            self.assertEqual(reject.reason.startswith(b"ping: "), command is not None)
            reason = self.assert_closing(end, CloseCause.MALFORMED, command=command)
            self.assertIn(reason.detail, reject.reason.decode())
            self.assertEqual((end.turns, end.channel.counters.malformed), ([FeeFilter(1)], 1))
            [observed] = end.of(Observed)
            self.assertEqual((observed.size, observed.message), (size, None))
            self.assertIsInstance(observed.error, MalformedMessage)

    def test_without_a_reject_where_the_version_has_none(self) -> None:
        end = self.ready(version=remote_version(protocol_version=70001))
        end.feed(BAD_CHECKSUM)
        self.assert_closing(end, CloseCause.MALFORMED, command="ping")

    def test_between_version_and_verack(self) -> None:
        end = self.end().made()
        end.feed(remote_version(), BAD_CHECKSUM)
        self.assertEqual([each.command for each in end.said()], ["version", "verack", "reject"])
        self.assert_closing(end, CloseCause.MALFORMED, command="ping")

    def test_a_bad_header_at_once_without_its_payload(self) -> None:
        end = self.ready()
        end.feed(malformed_header(1000)[:-1])
        self.assertIs(end.state, State.READY)
        end.feed(malformed_header(1000)[-1:])
        self.assertIs(end.state, State.CLOSING)

    def test_text_of_the_remotes_is_sanitised(self) -> None:
        end = self.ready()
        end.feed(frame(Unknown("ping"))[:4] + b"<b>\n\x1b\0\0\0\0\0\0\0" + b"\xff\xff\xff\x01" + bytes(4))
        reason = end.connection.reason
        assert reason is not None
        self.assertTrue(str(reason).isprintable())
        self.assertNotIn("<", str(reason))


class RegtestTests(ConnectionTestCase):
    """A test on this machine may send rubbish after the handshake: it is skipped with its payload."""

    def regtest(self, host: str | None = "127.0.0.1") -> End:
        end = self.end(simnet(network=REGTEST))
        end.connection.connection_made(0.0, 0.0, host, 1)
        end.run()
        end.feed(self.framed(remote_version(genesis_hash=REGTEST.genesis_hash)), self.framed(VerAck()))
        self.assertIs(end.state, State.READY)
        end.turns.clear()
        end.events.clear()
        end.writes.clear()
        return end

    def framed(self, message: Message) -> bytes:
        return write_message(message, REGTEST.magic)

    def test_it_goes_on_behind_it(self) -> None:
        ping = self.framed(Ping(0))
        for bad in (
            ping[:20] + bytes(12),
            self.framed(Unknown("ping", b"\0")),
            ping[:16] + (1000).to_bytes(4, "little") + bytes(4 + 1000),
            frame(Ping(0)),
        ):
            for host in ("127.0.0.1", "localhost"):
                for size in (7, 5000):
                    end = self.regtest(host)
                    stream = self.framed(FeeFilter(1)) + bad + self.framed(FeeFilter(2))
                    for start in range(0, len(stream), size):
                        end.feed(stream[start : start + size])
                    self.assertEqual((end.turns, end.writes), ([FeeFilter(1), FeeFilter(2)], []))
                    self.assertEqual((len(end.of(Notice)), end.channel.counters.malformed), (1, 1))
                    self.assertIs(end.state, State.READY)

    def test_not_from_anywhere_else(self) -> None:
        for host in ("127.0.0.2", "::1", "192.0.2.1", None):
            end = self.regtest(host)
            end.feed(bytes(24))
            self.assertIs(end.state, State.CLOSING)

    def test_not_before_the_handshake_is_over(self) -> None:
        end = self.end(simnet(network=REGTEST)).made("127.0.0.1")
        end.feed(self.framed(remote_version(genesis_hash=REGTEST.genesis_hash)), bytes(24))
        self.assertIs(end.state, State.CLOSING)

    def test_an_unknown_command_in_strict_mode_is_skipped_too(self) -> None:
        end = self.end(simnet(network=REGTEST, strict=True))
        end.connection.connection_made(0.0, 0.0, "127.0.0.1", 1)
        end.feed(self.framed(remote_version(genesis_hash=REGTEST.genesis_hash)), self.framed(VerAck()))
        end.turns.clear()
        end.feed(self.framed(Unknown("novel")), self.framed(FeeFilter(1)))
        self.assertEqual((end.turns, len(end.of(Notice))), ([FeeFilter(1)], 1))


class RefusedMessageTests(ConnectionTestCase):
    def test_unknown_commands_are_handed_on_unless_config_is_strict(self) -> None:
        end = self.ready()
        end.feed(Unknown("novel", b"payload"))
        self.assertEqual((end.turns, end.said(), end.state), ([Unknown("novel", b"payload")], [], State.READY))
        end = self.ready(simnet(strict=True))
        end.feed(Unknown("novel", b"payload"))
        self.assertEqual(end.turns, [])
        reject = Reject(b"malformed", RejectCode.MALFORMED, b"novel: unknown command")
        self.assert_closing(end, CloseCause.UNKNOWN_COMMAND, command="novel", said=(reject,))

    def test_bloom_commands_that_we_do_not_serve(self) -> None:
        for message in (FilterAdd(b"x"), FilterClear(), FilterLoad(b"\xff", 5, 1, 1)):
            end = self.ready(observes=True)
            end.feed(message)
            self.assert_closing(end, CloseCause.BLOOM_DISABLED, command=message.command)
            self.assertEqual((end.turns, end.channel.counters.bloom_refused), ([], 1))
            self.assertEqual([each.message for each in end.of(Observed)], [message])

    def test_from_70011_on(self) -> None:
        end = self.ready(version=remote_version(protocol_version=70011))
        end.feed(FilterClear())
        self.assert_closing(end, CloseCause.BLOOM_DISABLED, command="filterclear")

    def test_below_70011_they_are_dropped(self) -> None:
        end = self.ready(version=remote_version(protocol_version=70010), observes=True)
        end.feed(FilterClear(), Ping(1))
        self.assertEqual((end.turns, end.state), ([Ping(1)], State.READY))
        self.assertEqual((end.channel.counters.bloom_refused, len(end.of(Observed))), (1, 1))

    def test_served_they_are_handed_on(self) -> None:
        end = self.ready(simnet(services=Services.BLOOM))
        end.feed(FilterClear())
        self.assertEqual((end.turns, end.channel.counters.bloom_refused), ([FilterClear()], 0))


class HandlerTests(ConnectionTestCase):
    def test_one_that_failed_is_counted_and_the_connection_goes_on(self) -> None:
        end = self.ready(holds={FeeFilter})
        end.feed(FeeFilter(1), Ping(2))
        self.assertTrue(end.connection.handler_failed(KeyError("x"), "'x'", "feefilter"))
        end.finish()
        self.assertEqual((end.channel.counters.handler_errors, end.turns[-1]), (1, Ping(2)))

    def test_unless_config_asks_for_close(self) -> None:
        end = self.ready(simnet(close_on_handler_error=True), holds={FeeFilter})
        end.feed(FeeFilter(1), Ping(2))
        self.assertTrue(end.connection.handler_failed(KeyError("x"), "'x'", "feefilter"))
        end.finish()
        reason = self.assert_closing(end, CloseCause.HANDLER_FAILED, command="feefilter")
        self.assertEqual((reason.detail, end.turns), ("'x'", [FeeFilter(1)]))

    def test_one_that_was_only_told_of_the_end_has_not_failed(self) -> None:
        end = self.ready(holds={FeeFilter})
        end.feed(FeeFilter(1))
        end.close()
        reason = end.connection.reason
        assert reason is not None
        self.assertFalse(end.connection.handler_failed(ConnectionClosed(reason), "", "feefilter"))
        self.assertTrue(end.connection.handler_failed(KeyError("x"), "", "feefilter"))
        self.assertEqual(end.channel.counters.handler_errors, 1)

    def test_one_that_was_told_of_the_end_of_another_connection_has(self) -> None:
        other = self.ready()
        other.close()
        assert other.connection.reason is not None
        end = self.ready()
        self.assertTrue(end.connection.handler_failed(ConnectionClosed(other.connection.reason), "", "feefilter"))
        self.assertEqual(end.channel.counters.handler_errors, 1)

    def test_one_that_takes_a_minute_is_told_of_and_each_minute_after(self) -> None:
        end = self.ready(simnet(ping_interval=None), holds={FeeFilter})
        end.advance(5)
        end.feed(FeeFilter(1))
        end.advance(59.9)
        self.assertEqual(end.of(SlowHandler), [])
        end.advance(120.1)
        self.assertEqual(
            [(each.command, each.seconds) for each in end.of(SlowHandler)],
            [("feefilter", 60.0), ("feefilter", 120.0), ("feefilter", 180.0)],
        )
        end.finish()
        end.advance(200)
        self.assertEqual(len(end.of(SlowHandler)), 3)

    def test_the_minute_begins_anew_with_each_message(self) -> None:
        end = self.ready(holds={FeeFilter})
        for number in range(3):
            end.feed(FeeFilter(number))
            end.advance(40)
            end.finish()
        self.assertEqual(end.of(SlowHandler), [])

    def test_one_that_finishes_after_the_end_does_no_harm(self) -> None:
        for lost in (False, True):
            end = self.ready(holds={FeeFilter})
            end.feed(FeeFilter(1), Ping(2))
            end.close()
            if lost:
                end.lose()
            end.finish("a result")
            self.assertEqual((end.turns, end.channel.memory()), ([FeeFilter(1)], 0))


class RejectTests(ConnectionTestCase):
    def test_the_remotes_last_word_is_part_of_the_reason(self) -> None:
        end = self.ready()
        end.feed(Reject(b"block", 0x10, b"bad\x1bblock"))
        end.lose()
        reason = end.reason
        assert reason is not None
        self.assertEqual((reason.cause, reason.command, reason.code), (CloseCause.REMOTE_CLOSED, "block", 0x10))
        self.assertEqual(reason.reject_reason, "badblock")

    def test_not_if_more_came_behind_it(self) -> None:
        end = self.ready()
        end.feed(Reject(b"block", 0x10, b"bad"), Ping(1))
        end.lose()
        self.assertEqual((end.reason and end.reason.code, end.reason and end.reason.command), (None, None))

    def test_before_ready_it_is_the_cause(self) -> None:
        end = self.end().made()
        end.feed(remote_version(), Reject(b"version", 0x11, b"obsolete"))
        end.lose()
        self.assertEqual((end.reason and end.reason.cause, end.reason and end.reason.code), (CloseCause.REJECTED, 0x11))

    def test_no_more_is_kept_of_it_than_is_shown(self) -> None:
        end = self.ready()
        end.feed(Reject(b"x" * 100_000, 0x10, b"y" * 1_000_000))
        last = end.channel.last_reject
        assert last is not None
        self.assertLess(len(last.reason) + len(last.rejected), 5000)
        end.lose()
        self.assertEqual(len((end.reason and end.reason.reject_reason) or ""), 250)


class BeforeTheConnectionTests(ConnectionTestCase):
    def test_it_has_no_deadlines_and_nothing_to_send(self) -> None:
        connection: Connection = self.end().connection
        self.assertIsNone(connection.next_timeout())
        self.assertIsNone(connection.next_event())
        self.assertIsNone(connection.data_to_send(0.0))
        connection.handle_timeout(1e9)
        self.assertIsNone(connection.next_event())
        self.assertIs(connection.state, State.CONNECTING)
