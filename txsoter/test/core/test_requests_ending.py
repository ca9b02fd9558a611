"""Requests that end without an answer: timed out, given up, failed, closed."""

from __future__ import annotations

from txsoter.core.state import State
from txsoter.errors import (
    CloseCause,
    FieldError,
    IllegalTransition,
    LocalError,
    RequestClosed,
    RequestTimedOut,
    SendQueueFull,
    UnsupportedMessage,
)
from txsoter.test.core.ends import End, filler, remote_version, simnet
from txsoter.test.core.test_requests import RequestTestCase
from txsoter.wire import FeeFilter, GetBlocks, Inv, InventoryVector, MemPool, SendHeaders


class TimeoutTests(RequestTestCase):
    def test_it_times_out_in_time_with_what_it_waited(self) -> None:
        end = self.ready()
        asked = end.request(GetBlocks(height=1), Inv, timeout=7.5)
        end.advance(7.4)
        self.assert_waits(end, asked)
        end.advance(0.1)
        error = self.error(end, asked, RequestTimedOut)
        self.assertEqual((error.command, error.timeout), ("getblocks", 7.5))
        self.assertIs(end.state, State.READY)

    def test_each_at_its_own_time(self) -> None:
        end = self.ready()
        tokens = {timeout: end.request(MemPool(), Inv, timeout=timeout) for timeout in (20, 10, 40, 30)}
        for timeout in (10, 20, 30, 40):
            end.advance(9.9)
            self.assertEqual(end.outcomes[tokens[timeout]], [])
            end.advance(0.1)
            self.error(end, tokens[timeout], RequestTimedOut)

    def test_none_waits_as_long_as_the_connection_lasts(self) -> None:
        end = self.ready(simnet(idle_timeout=None, ping_interval=None))
        asked = end.request(MemPool(), Inv)
        self.assertIsNone(end.connection.next_timeout())
        end.advance(1e6)
        self.assert_waits(end, asked)

    def test_a_handler_does_not_extend_it(self) -> None:
        end = self.ready(holds={FeeFilter})
        asked = end.request(MemPool(), Inv, timeout=10)
        end.feed(FeeFilter(1))
        end.advance(10)
        self.error(end, asked, RequestTimedOut)

    def test_one_that_is_answered_sets_no_time_any_more(self) -> None:
        end = self.ready(simnet(idle_timeout=None, ping_interval=None))
        for _ in range(2):
            end.request(MemPool(), Inv, timeout=10)
        end.feed(Inv(), Inv())
        self.assertIsNone(end.connection.next_timeout())

    def test_a_late_answer_answers_nothing(self) -> None:
        end = self.ready()
        asked = end.request(MemPool(), Inv, timeout=10)
        end.advance(10)
        end.feed(Inv())
        self.error(end, asked, RequestTimedOut)
        self.assertEqual(end.turns, [Inv()])


class GivingUpTests(RequestTestCase):
    def test_nothing_more_is_heard_of_it(self) -> None:
        end = self.ready()
        asked = end.request(MemPool(), Inv, timeout=10)
        end.give_up(asked)
        self.assert_waits(end)
        end.feed(Inv())
        end.advance(20)
        self.assertEqual(end.outcomes[asked], ["given up"])

    def test_before_its_question_is_written(self) -> None:
        """The question is sent all the same, and nobody is told of that."""
        end = self.ready()
        end.room = 0
        end.send(filler(100))
        asked = end.request(MemPool(), Inv)
        end.give_up(asked)
        end.take()
        self.assertEqual([each.command for each in end.said()], ["filler", "mempool"])
        self.assertEqual(end.outcomes[asked], ["given up"])

    def test_a_token_that_no_request_has_is_ignored(self) -> None:
        end = self.ready()
        asked = end.request(MemPool(), Inv)
        end.connection.give_up("another")
        self.assert_waits(end, asked)


class FailingTests(RequestTestCase):
    def test_before_there_is_a_connection(self) -> None:
        end = self.end()
        with self.assertRaises(IllegalTransition):
            end.request(MemPool(), Inv)
        self.assert_waits(end)

    def test_a_question_that_cannot_be_encoded_is_no_request(self) -> None:
        end = self.ready(version=remote_version(protocol_version=60001))
        for bad in (SendHeaders(), Inv([InventoryVector(1, b"short")])):
            with self.assertRaises(LocalError):
                end.request(bad, Inv)
        self.assert_waits(end)
        self.assertEqual(end.said(), [])

    def test_arguments_that_cannot_be_make_no_request(self) -> None:
        end = self.ready()
        with self.assertRaises(FieldError):
            end.request(MemPool(), Inv, timeout=-1)
        self.assert_waits(end)
        self.assertEqual(end.said(), [])

    def test_a_full_queue(self) -> None:
        end = self.ready(simnet(hard_queue_limit=1000, soft_queue_limit=1000))
        end.room = 0
        end.send(filler(100))
        end.send(filler(990))
        asked = end.request(MemPool(), Inv)
        self.assertEqual(self.error(end, asked, SendQueueFull).queued, 990)
        self.assert_waits(end, "token 1", "token 2")

    def assert_waits(self, end: End, *tokens: str) -> None:
        self.assertEqual([token for token, told in end.outcomes.items() if not told], list(tokens))
        self.assertEqual(len(end.channel.requests), 0)

    def test_one_that_the_remotes_version_lacks(self) -> None:
        """It could be encoded when it was made, before the handshake."""
        end = self.end().made()
        asked = end.request(SendHeaders(), Inv)
        end.feed(remote_version(protocol_version=60001))
        self.error(end, asked, UnsupportedMessage)
        self.assert_waits(end)

    def test_when_the_connection_begins_to_close(self) -> None:
        end = self.ready()
        asked = end.request(MemPool(), Inv, timeout=10)
        end.close()
        error = self.error(end, asked, RequestClosed)
        self.assertEqual((error.command, error.reason.cause), ("mempool", CloseCause.DISCONNECT))

    def test_when_the_connection_is_lost(self) -> None:
        end = self.ready()
        asked = end.request(MemPool(), Inv)
        end.lose()
        self.assertIs(self.error(end, asked, RequestClosed).reason.cause, CloseCause.REMOTE_CLOSED)

    def test_on_a_connection_that_is_closing_or_closed(self) -> None:
        end = self.ready()
        end.close()
        closing = end.request(MemPool(), Inv)
        end.lose()
        closed = end.request(MemPool(), Inv)
        for token in (closing, closed):
            self.assertIs(self.error(end, token, RequestClosed).reason.cause, CloseCause.DISCONNECT)
        with self.assertRaises(FieldError):
            end.request(Inv([InventoryVector(1, b"short")]), Inv)

    def test_a_question_that_is_still_queued_is_told_once(self) -> None:
        end = self.ready()
        end.room = 0
        end.send(filler(100))
        asked = end.request(MemPool(), Inv)
        end.close()
        self.error(end, asked, RequestClosed)
