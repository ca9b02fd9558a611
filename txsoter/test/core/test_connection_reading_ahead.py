"""Reading ahead, while a handler runs: for the answer to a request, or for room to send. Turns still come in order."""

from __future__ import annotations

from txsoter.core.reader import MESSAGE_OVERHEAD
from txsoter.core.state import State
from txsoter.errors import CloseCause
from txsoter.networks import REGTEST
from txsoter.test.core.ends import ConnectionTestCase, End, filler, frame, malformed_header, remote_version, simnet
from txsoter.wire import (
    FeeFilter,
    GetBlocks,
    Inv,
    Ping,
    Pong,
    Reject,
    SendHeaders,
    Unknown,
    VerAck,
    Version,
    write_message,
)

BAD_CHECKSUM = frame(Ping(0))[:20] + bytes(12)
TOO_SHORT = frame(Unknown("ping", b"\0\0\0"))


def fees(*numbers: int) -> list[FeeFilter]:
    return [FeeFilter(number) for number in numbers]


class AnswerTests(ConnectionTestCase):
    def busy(self, config: object = None) -> End:
        """Return a connection with a handler that runs, and the first message in its hand."""
        end = self.ready(config, holds={FeeFilter})  # type: ignore[arg-type]
        end.feed(FeeFilter(1))
        return end

    def finish_all(self, end: End) -> list[object]:
        """Let handlers finish until none runs; return the turns."""
        while end.channel.in_hand is not None:
            end.finish()
        return list(end.turns)

    def test_without_a_request_nothing_is_read_ahead(self) -> None:
        end = self.busy()
        end.feed(*fees(2, 3))
        self.assertEqual((end.channel.reader.ahead_memory, end.connection.wants_data), (0, False))

    def test_a_request_makes_it_read_what_has_come_and_what_comes(self) -> None:
        end = self.busy()
        end.feed(*fees(2, 3))
        asked = end.request(GetBlocks(height=1), Inv)
        self.assertEqual(end.channel.reader.ahead_memory, 2 * (32 + MESSAGE_OVERHEAD))
        self.assertTrue(end.connection.wants_data)
        end.feed(FeeFilter(4), Inv(), FeeFilter(5))
        self.assertEqual((end.outcomes[asked], end.turns), ([Inv()], fees(1)))
        self.assertFalse(end.connection.wants_data)
        self.assertEqual(self.finish_all(end), [*fees(1, 2, 3, 4), Inv(), FeeFilter(5)])

    def test_no_more_is_read_ahead_than_it_takes(self) -> None:
        end = self.busy()
        end.request(GetBlocks(height=1), Inv)
        end.feed(Inv(), *fees(2, 3, 4))
        self.assertEqual(end.channel.reader.ahead_memory, frame_memory(Inv()))
        end.feed(FeeFilter(5))
        self.assertEqual(end.channel.reader.ahead_memory, frame_memory(Inv()))
        self.assertEqual(self.finish_all(end), [FeeFilter(1), Inv(), *fees(2, 3, 4, 5)])

    def test_a_message_answers_once_although_it_is_seen_twice(self) -> None:
        """Not again in its turn."""
        end = self.busy()
        first = end.request(GetBlocks(height=1), Inv)
        end.feed(Inv())
        second = end.request(GetBlocks(height=2), Inv)
        self.finish_all(end)
        self.assertEqual((end.outcomes[first], end.outcomes[second]), ([Inv()], []))

    def test_a_message_counts_in_its_turn_and_once(self) -> None:
        end = self.busy()
        end.request(GetBlocks(height=1), Inv)
        end.feed(Ping(5), SendHeaders(), Inv())
        self.assertEqual((end.said()[-1].command, end.channel.wants_headers), ("getblocks", False))
        self.assertEqual(end.channel.counters.received["ping"].messages, 0)
        self.finish_all(end)
        self.assertEqual((end.said(), end.channel.wants_headers), ([Pong(5)], True))
        self.assertEqual(end.channel.counters.received["ping"].messages, 1)

    def test_no_more_than_the_limit(self) -> None:
        """Whole frames count, and what a message takes beyond, so that empty ones do too; one may go past it."""
        for message in (FeeFilter(2), SendHeaders()):
            end = self.busy(simnet(lookahead_limit=1000))
            end.request(GetBlocks(height=1), Inv)
            end.feed(*[message] * 100)
            count = 1000 // frame_memory(message) + 1
            self.assertEqual(end.channel.reader.ahead_memory, count * frame_memory(message))
            self.assertFalse(end.connection.wants_data)
            self.assertEqual(len(self.finish_all(end)), 101)
            self.assertEqual(end.channel.memory(), 0)

    def test_none_while_the_version_is_in_hand(self) -> None:
        """A request waits for the handshake, and until then it is not known how messages are to be read."""
        end = self.end(holds={Version}).made()
        end.feed(remote_version())
        asked = end.request(GetBlocks(height=1), Inv)
        end.feed(Inv(), VerAck())
        self.assertEqual((end.outcomes[asked], end.channel.reader.ahead_memory), ([], 0))
        self.assertFalse(end.connection.wants_data)
        end.finish()
        self.assertEqual(end.outcomes[asked], [Inv()])

    def test_a_malformed_one_blocks_and_gets_its_turn(self) -> None:
        for bad in (BAD_CHECKSUM, TOO_SHORT, malformed_header()):
            end = self.busy()
            end.request(GetBlocks(height=1), Inv)
            end.feed(FeeFilter(2), bad, Inv())
            self.assertEqual((end.state, end.channel.counters.malformed), (State.READY, 0))
            self.assertFalse(end.connection.wants_data)
            end.feed(Inv())
            self.assertEqual(self.finish_all(end), fees(1, 2))
            self.assertEqual((end.state, end.channel.counters.malformed), (State.CLOSING, 1))
            self.assertIs(end.connection.reason and end.connection.reason.cause, CloseCause.MALFORMED)

    def test_one_that_is_forgiven_in_its_turn_blocks_no_longer(self) -> None:
        for bad in (BAD_CHECKSUM, TOO_SHORT, malformed_header(9) + bytes(9)):
            end = self.end(simnet(network=REGTEST), holds={FeeFilter})
            end.connection.connection_made(0.0, 0.0, "localhost", 1)
            for message in (remote_version(genesis_hash=REGTEST.genesis_hash), VerAck()):
                end.feed(write_message(message, REGTEST.magic))
            end.turns.clear()

            def on_regtest(*messages: FeeFilter | Inv) -> bytes:
                return b"".join(write_message(each, REGTEST.magic) for each in messages)

            on_this_network = REGTEST.magic.to_bytes(4, "little") + bad[4:]
            end.feed(on_regtest(FeeFilter(1)))
            asked = end.request(GetBlocks(height=1), Inv)
            end.feed(on_regtest(FeeFilter(2)) + on_this_network + on_regtest(FeeFilter(3), Inv()))
            self.assertEqual(end.outcomes[asked], [])
            end.finish()
            self.assertEqual((end.turns, end.outcomes[asked]), (fees(1, 2), []))
            end.finish()
            # the malformed one has had its turn, and the third is in hand
            self.assertEqual((end.turns, end.channel.counters.malformed), (fees(1, 2, 3), 1))
            self.assertEqual(end.outcomes[asked], [Inv()])
            self.assertEqual(self.finish_all(end), [*fees(1, 2, 3), Inv()])

    def test_what_was_read_ahead_is_forgotten_with_the_connection(self) -> None:
        end = self.busy()
        end.request(GetBlocks(height=1), Inv)
        end.feed(*fees(2, 3))
        end.close()
        self.assertEqual(end.channel.reader.memory, 0)
        end.finish()
        self.assertEqual(end.turns, fees(1))

    def test_a_refusal_is_found_as_well(self) -> None:
        end = self.busy()
        asked = end.request(GetBlocks(height=1), Inv)
        end.feed(FeeFilter(2), Reject(b"getblocks", 0x10, b"no"))
        self.assertEqual(len(end.outcomes[asked]), 1)


def frame_memory(message: FeeFilter | SendHeaders | Inv) -> int:
    """Return the memory of a message that is read ahead."""
    return len(frame(message)) + MESSAGE_OVERHEAD


class RoomTests(ConnectionTestCase):
    """A handler may wait until its messages are sent, and the remote too: so both would wait for each other."""

    def stuck(self, **fields: object) -> End:
        """Return a connection whose handler waits for a message that the transport does not take."""
        end = self.ready(simnet(**fields), holds={FeeFilter})
        end.room = 0
        end.feed(FeeFilter(1))
        end.send(filler(100))
        end.send(filler(100))
        end.feed(*fees(2, 3))
        return end

    def test_after_5_s_without_progress_it_reads_on(self) -> None:
        end = self.stuck()
        end.advance(4.9)
        self.assertEqual((end.channel.reader.ahead_memory, end.connection.wants_data), (0, False))
        end.advance(0.1)
        self.assertEqual(end.channel.reader.ahead_memory, 2 * frame_memory(FeeFilter(2)))
        self.assertTrue(end.connection.wants_data)
        self.assertEqual(end.turns, fees(1))

    def test_progress_begins_the_wait_anew(self) -> None:
        end = self.stuck()
        end.advance(4)
        end.take()
        end.advance(4.9)
        self.assertEqual(end.channel.reader.ahead_memory, 0)
        end.advance(0.1)
        self.assertEqual(end.channel.reader.ahead_memory, 2 * frame_memory(FeeFilter(2)))

    def test_it_stops_once_there_is_room(self) -> None:
        end = self.stuck()
        end.advance(5)
        end.room = None
        end.take()
        self.assertFalse(end.connection.wants_data)
        memory = end.channel.reader.ahead_memory
        end.feed(FeeFilter(4))
        self.assertEqual(end.channel.reader.ahead_memory, memory)

    def test_none_switches_it_off(self) -> None:
        end = self.stuck(read_on_after=None, write_timeout=None, ping_interval=None)
        end.advance(1000)
        self.assertEqual((end.channel.reader.ahead_memory, end.connection.wants_data), (0, False))

    def test_a_handler_that_waits_for_something_else_is_not_read_past(self) -> None:
        end = self.ready(holds={FeeFilter})
        end.feed(*fees(1, 2))
        end.advance(100)
        self.assertEqual((end.channel.reader.ahead_memory, end.connection.wants_data), (0, False))
