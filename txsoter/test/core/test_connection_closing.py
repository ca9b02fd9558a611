"""The end of a connection: from every state, for every cause, and what is still sent."""

from __future__ import annotations

from collections.abc import Callable

from txsoter.core.events import ABORT, Closed, RequestEnded, SendFailed
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy, ConnectionClosed, HandshakeFailed, RequestClosed
from txsoter.test.core.ends import ConnectionTestCase, End, filler, frame, remote_version, simnet, tx_vector
from txsoter.wire import FeeFilter, GetBlocks, Inv, Message, Ping, Pong, Reject, RejectCode, VerAck, Version


class EveryStateTests(ConnectionTestCase):
    def in_state(self, state: State) -> End:
        """Return a connection in that state, with a message and a request that wait, and pings without pong."""
        end = self.end(simnet(), holds={Version})
        if state is State.CONNECTING:
            return end
        end.made()
        if state in (State.VERSION_KNOWN, State.NEGOTIATED, State.READY, State.CLOSING):
            end.feed(remote_version())
        if state in (State.NEGOTIATED, State.READY, State.CLOSING):
            end.finish()
        if state in (State.READY, State.CLOSING):
            end.feed(VerAck())
        if state is State.CLOSING:
            end.connection.pause_writing()
            end.send(filler(100))
            end.feed(bytes(24))
        self.assertIs(end.state, state)
        return end

    def burden(self, end: End) -> list[str]:
        """Give the connection all that can wait in its state; return the tokens."""
        if end.state is not State.CONNECTING:
            end.connection.pause_writing()
        tokens = [end.send(Ping(1)), end.send(filler(100_000))]
        if end.state is not State.CONNECTING:
            tokens.append(end.request(GetBlocks(height=1), Inv, timeout=5.0))
        end.connection.queue_inventory(tx_vector(1), False, end.now)
        if not end.state.is_closing:
            end.connection.receive_data(frame(filler(100))[:50], end.now)
        return tokens

    def test_lost_everything_is_told_and_nothing_is_left(self) -> None:
        """What is not left, the cleanup of each connection checks."""
        for state in (each for each in State if each is not State.CLOSED):
            end = self.in_state(state)
            tokens = self.burden(end)
            end.lose(ClosedBy.NETWORK, CloseCause.CONNECTION_LOST, "reset")
            self.assertIs(end.state, State.CLOSED)
            self.assertTrue(all(len(end.outcomes[token]) == 1 for token in tokens))
            error = HandshakeFailed if state is not State.READY and state is not State.CLOSING else ConnectionClosed
            for failed in end.of(SendFailed):
                self.assertIs(type(failed.error), error, state)
            for ended in end.of(RequestEnded):
                self.assertIs(type(ended.error), RequestClosed)
            reason = end.reason
            assert reason is not None
            expected = CloseCause.MALFORMED if state is State.CLOSING else CloseCause.CONNECTION_LOST
            self.assertIs(reason.cause, expected)
            self.assertIsInstance(end.events[-1], Closed)

    def test_closed_then_lost(self) -> None:
        for state in (each for each in State if each not in (State.CLOSED, State.CLOSING)):
            end = self.in_state(state)
            tokens = self.burden(end)
            end.close(CloseCause.DISCONNECT, "enough")
            self.assertIs(end.state, State.CLOSED if state is State.CONNECTING else State.CLOSING)
            self.assertTrue(all(len(end.outcomes[token]) == 1 for token in tokens), state)
            self.assertEqual(end.connection.may_hang_up, state is not State.CONNECTING)
            end.lose()
            self.assertEqual(
                (end.reason and end.reason.cause, end.reason and end.reason.detail), (CloseCause.DISCONNECT, "enough")
            )

    def test_after_the_end_nothing_changes_any_more(self) -> None:
        for state in (each for each in State if each is not State.CLOSED):
            end = self.in_state(state)
            end.lose()
            reason, events, raw = end.connection.reason, len(end.events), end.raw
            calls: tuple[Callable[[], object], ...] = (
                lambda end=end: end.feed(Ping(1)),  # type: ignore[misc]
                lambda end=end: end.close(CloseCause.IDLE),  # type: ignore[misc]
                lambda end=end: end.lose(ClosedBy.NETWORK, CloseCause.CONNECTION_LOST),  # type: ignore[misc]
                lambda end=end: end.connection.handle_timeout(1e9),  # type: ignore[misc]
                lambda end=end: end.connection.queue_inventory(tx_vector(1), True, 1e9),  # type: ignore[misc]
                lambda end=end: end.connection.pause_writing(),  # type: ignore[misc]
                lambda end=end: end.take(),  # type: ignore[misc]
            )
            for call in calls:
                call()
                end.run()
            self.assertEqual((end.connection.reason, len(end.events), end.raw), (reason, events, raw))


class FinalRejectTests(ConnectionTestCase):
    REJECT = Reject(b"block", RejectCode.INVALID, b"not good")

    def close(self, end: End, reject: Reject) -> None:
        end.connection.close(CloseCause.DISCONNECT, "", end.now, reject)
        end.run()

    def test_it_is_sent_before_the_end_behind_what_waits(self) -> None:
        end = self.ready()
        end.connection.send(Ping(1))
        self.close(end, self.REJECT)
        self.assert_closing(end, CloseCause.DISCONNECT, said=(Ping(1), self.REJECT))

    def test_it_waits_for_a_transport_that_has_had_enough_and_so_does_what_is_before_it(self) -> None:
        end = self.ready()
        end.connection.pause_writing()
        token = end.send(Ping(1))
        self.close(end, self.REJECT)
        self.assertEqual((end.said(), end.connection.may_hang_up, end.outcomes[token]), ([], False, []))
        end.take()
        self.assertEqual((end.said(), end.outcomes[token]), ([Ping(1), self.REJECT], [None]))
        self.assertTrue(end.connection.may_hang_up)

    def test_no_longer_than_10_s(self) -> None:
        end = self.ready()
        end.connection.pause_writing()
        self.close(end, self.REJECT)
        end.advance(9.9)
        self.assertNotIn(ABORT, end.events)
        end.advance(0.1)
        self.assertIn(ABORT, end.events)

    def test_a_version_that_has_no_reject(self) -> None:
        end = self.ready(version=remote_version(protocol_version=70001))
        self.close(end, self.REJECT)
        self.assert_closing(end, CloseCause.DISCONNECT)


class ReadingTests(ConnectionTestCase):
    def test_what_comes_while_closing_is_neither_kept_nor_counted(self) -> None:
        end = self.ready()
        end.close()
        before = end.channel.counters.bytes_received
        end.feed(FeeFilter(1), frame(filler(1000))[:500])
        self.assertEqual((end.turns, end.channel.memory()), ([], 0))
        self.assertEqual(end.channel.counters.bytes_received, before)

    def test_it_is_still_read_to_notice_the_end(self) -> None:
        end = self.ready()
        end.close()
        self.assertTrue(end.connection.wants_data)

    def test_answers_in_the_same_read_go_out_before_the_end(self) -> None:
        end = self.ready()
        messages: list[Message] = [Ping(1), VerAck(), Ping(2)]
        end.feed(*messages)
        self.assert_closing(end, CloseCause.DUPLICATE_VERACK, said=(Pong(1),))


class ReasonTests(ConnectionTestCase):
    def test_none_until_the_end_has_begun(self) -> None:
        end = self.ready()
        self.assertIsNone(end.connection.reason)
        end.close(CloseCause.DISCONNECT, "why")
        self.assertEqual(str(end.connection.reason), "closed by us: disconnect() was called: why")

    def test_the_adapters_words_where_the_transport_was_lost(self) -> None:
        end = self.ready()
        end.lose(ClosedBy.NETWORK, CloseCause.CONNECTION_LOST, "timed out")
        self.assertEqual(str(end.reason), "closed by the network: the connection was lost: timed out")
