"""Rate limits: past them reading pauses, nothing is dropped, and the wait is not held against the remote."""

from __future__ import annotations

from txsoter.core.state import State
from txsoter.test.core.ends import ConnectionTestCase, End, filler, remote_version, simnet
from txsoter.wire import FeeFilter, GetBlocks, GetHeaders, Headers, Inv, SendHeaders, Unknown, VerAck


class RateTests(ConnectionTestCase):
    def test_messages_a_second(self) -> None:
        end = self.ready(simnet(max_messages_per_second=10))
        end.feed(*[FeeFilter(number) for number in range(100)])
        counts = []
        for _ in range(5):
            counts.append(len(end.turns))
            self.assertEqual((end.connection.wants_data, end.connection.turns.withholds), (False, True))
            end.advance(1)
        # of the second's worth that may come at once, version and verack were two
        self.assertEqual(counts, [8, 18, 28, 38, 48])
        end.advance(10)
        self.assertEqual(end.turns, [FeeFilter(number) for number in range(100)])
        self.assertEqual((end.connection.wants_data, end.connection.turns.withholds), (True, False))

    def test_bytes_a_second(self) -> None:
        end = self.ready(simnet(max_bytes_per_second=100_000))
        end.feed(*[filler(50_000) for _ in range(10)])
        self.assertEqual(len(end.turns), 2)
        end.advance(4)
        self.assertEqual(len(end.turns), 10)

    def test_bytes_are_those_of_whole_frames(self) -> None:
        end = self.ready(simnet(max_bytes_per_second=1000))
        end.advance(10)
        end.feed(*[SendHeaders()] * 100)
        self.assertEqual(len(end.turns), 1000 // 24 + 1)
        end.advance(2)
        self.assertEqual(len(end.turns), 100)

    def test_the_wait_is_not_held_against_the_remote(self) -> None:
        end = self.end(simnet(max_messages_per_second=0.01, ping_interval=None)).made()
        end.feed(remote_version(), VerAck(), FeeFilter(1), FeeFilter(2))
        self.assertIs(end.state, State.NEGOTIATED)
        end.advance(310)
        self.assertEqual((end.state, end.turns[-2:]), (State.READY, [FeeFilter(1), FeeFilter(2)]))

    def test_reading_ahead_for_an_answer_is_no_way_around_it(self) -> None:
        end = self.ready(simnet(max_messages_per_second=10), holds={Inv})
        end.advance(10)
        end.feed(Inv())
        asked = end.request(GetHeaders(), Headers)
        end.feed(*[FeeFilter(number) for number in range(30)], Headers())
        self.assertEqual(end.outcomes[asked], [])
        end.advance(1.5)
        self.assertEqual(end.outcomes[asked], [])
        end.advance(2)
        self.assertEqual(end.outcomes[asked], [Headers()])
        end.finish()
        end.advance(5)
        self.assertEqual(end.turns[-1], Headers())
        self.assertEqual(len(end.turns), 32)

    def test_a_message_counts_once_though_it_is_read_ahead(self) -> None:
        end = self.ready(simnet(max_messages_per_second=10), holds={Inv})
        end.advance(10)
        end.feed(Inv())
        end.request(GetHeaders(), Headers)
        end.feed(*[FeeFilter(number) for number in range(8)])
        self.assertTrue(end.connection.wants_data)
        end.finish()
        end.feed(Unknown("tenth"))
        self.assertEqual(end.turns[-1], Unknown("tenth"))
        self.assertFalse(end.connection.wants_data)

    def test_an_answer_has_its_turn_although_it_was_the_last_that_may_come(self) -> None:
        """It has been counted when it was read."""
        end = self.ready(simnet(max_messages_per_second=3))
        asked = end.request(GetBlocks(height=1), Inv)
        end.feed(Inv(), FeeFilter(1))
        self.assertEqual((end.outcomes[asked], end.turns), ([Inv()], [Inv()]))

    def test_without_limits_nothing_is_measured(self) -> None:
        end: End = self.ready()
        self.assertIsNone(end.channel.rate_limit)
