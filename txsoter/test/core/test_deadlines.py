"""Deadlines: when each row of the table is due, what happens then, and how they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import attrs

from txsoter.core.config import tick_of
from txsoter.core.deadlines import CLOSING_DEADLINES, DEADLINES, Precision
from txsoter.core.events import ABORT, Notice, RequestEnded, SlowHandler
from txsoter.core.state import State
from txsoter.errors import CloseCause
from txsoter.test.core.ends import ConnectionTestCase, End, filler, frame, remote_version, simnet, tx_vector
from txsoter.wire import FeeFilter, GetBlocks, Inv, MemPool, Ping, Unknown

OFF: dict[str, Any] = {
    "trickle_interval": None,
    "ping_interval": None,
    "idle_timeout": None,
    "negotiate_timeout": None,
    "stall_timeout": None,
    "write_timeout": None,
    "close_timeout": None,
    "read_on_after": None,
}
"""Fields of a config with which a connection has no deadlines."""


@attrs.frozen
class Row:
    """A connection on which one deadline alone is set.

    :ivar due: the time of it.
    :ivar has_expired: tells whether what is to happen then has happened.
    """

    end: End
    due: float
    precision: Precision
    has_expired: Callable[[], object]


class TableTests(ConnectionTestCase):
    def handshake(self) -> Row:
        end = self.end(simnet(**{**OFF, "negotiate_timeout": 30.0})).made()
        return Row(end, 30.0, Precision.COARSE, lambda: self.closed_for(end, CloseCause.NEGOTIATION_TIMEOUT))

    def idle(self) -> Row:
        end = self.ready(simnet(**{**OFF, "idle_timeout": 300.0}))
        end.advance(7)
        end.feed(FeeFilter(1))
        return Row(end, 307.0, Precision.COARSE, lambda: self.closed_for(end, CloseCause.IDLE))

    def ping(self) -> Row:
        end = self.ready(simnet(**{**OFF, "ping_interval": 120.0}))
        assert end.channel.pings.due is not None
        return Row(end, end.channel.pings.due, Precision.COARSE, lambda: [type(each) for each in end.said()] == [Ping])

    def stall(self) -> Row:
        end = self.ready(simnet(**{**OFF, "stall_timeout": 30.0, "stall_interval": 30.0}))
        end.send(GetBlocks(height=1))
        return Row(end, 30.0, Precision.COARSE, lambda: self.closed_for(end, CloseCause.STALLED))

    def slow_handler(self) -> Row:
        end = self.ready(simnet(**OFF), holds={FeeFilter})
        end.feed(FeeFilter(1))
        return Row(end, 60.0, Precision.COARSE, lambda: end.of(SlowHandler))

    def request(self) -> Row:
        end = self.ready(simnet(**OFF))
        end.send(Ping(1))
        asked = end.token()
        end.connection.request(MemPool(), Inv, 12.5, None, asked, end.now)
        end.run()
        return Row(end, 12.5, Precision.EXACT, lambda: end.of(RequestEnded))

    def write(self) -> Row:
        end = self.ready(simnet(**{**OFF, "write_timeout": 60.0}))
        end.advance(5)
        end.room = 0
        end.send(filler(100))
        end.send(filler(512 * 1024))
        return Row(end, 67.0, Precision.EXACT, lambda: self.closed_for(end, CloseCause.WRITE_TIMEOUT))

    def read_on(self) -> Row:
        end = self.ready(simnet(**{**OFF, "read_on_after": 5.0, "soft_queue_limit": 100}))
        end.advance(3)
        end.room = 0
        end.send(filler(100))
        end.send(filler(200))
        end.feed(FeeFilter(1))
        return Row(end, 8.0, Precision.EXACT, lambda: end.turns)

    def rate(self) -> Row:
        end = self.end(simnet(**OFF, max_messages_per_second=0.1)).made()
        end.feed(remote_version())
        # the version has taken the first of one in ten seconds
        end.feed(FeeFilter(1))
        return Row(end, 10.0, Precision.EXACT, lambda: FeeFilter(1) in end.turns)

    def trickle(self) -> Row:
        end = self.ready(simnet(**{**OFF, "trickle_interval": 10.0}))
        end.advance(4)
        end.connection.queue_inventory(tx_vector(1), False, end.now)
        end.run()
        return Row(end, 14.0, Precision.TRICKLE, lambda: end.said() == [Inv([tx_vector(1)])])

    def close_(self) -> Row:
        end = self.ready(simnet(**{**OFF, "close_timeout": 10.0}))
        end.connection.pause_writing()
        end.advance(2)
        end.feed(bytes(24))
        return Row(end, 12.0, Precision.COARSE, lambda: ABORT in end.events)

    def closed_for(self, end: End, cause: CloseCause) -> bool:
        return end.state is State.CLOSING and end.connection.reason is not None and end.connection.reason.cause is cause

    def rows(self) -> dict[str, Callable[[], Row]]:
        return {
            "handshake": self.handshake,
            "idle": self.idle,
            "ping": self.ping,
            "stall": self.stall,
            "slow handler": self.slow_handler,
            "request": self.request,
            "write": self.write,
            "read on": self.read_on,
            "rate": self.rate,
            "trickle": self.trickle,
            "close": self.close_,
        }

    def test_here_is_a_scenario_for_every_row(self) -> None:
        self.assertEqual(set(self.rows()), {each.name for each in (*DEADLINES, *CLOSING_DEADLINES)})

    def test_each_is_asked_for_and_nothing_else_is(self) -> None:
        for name, scenario in self.rows().items():
            row = scenario()
            due = row.end.connection.next_timeout()
            assert due is not None, name
            self.assertAlmostEqual(due, row.due, 6, name)
            timeouts = row.end.connection.next_timeouts()
            self.assertEqual([precision for precision in Precision if timeouts[precision] is not None], [row.precision])

    def test_each_expires_at_its_time_and_not_before(self) -> None:
        for name, scenario in self.rows().items():
            row = scenario()
            row.end.said()
            row.end.advance(row.due - row.end.now - 0.001)
            self.assertFalse(row.has_expired(), name)
            row.end.advance(0.001)
            self.assertTrue(row.has_expired(), name)

    def test_each_expires_late_as_well(self) -> None:
        """As timers do."""
        for name, scenario in self.rows().items():
            row = scenario()
            row.end.said()
            row.end.now = row.due + 3.0
            row.end.connection.handle_timeout(row.end.now)
            row.end.run()
            self.assertTrue(row.has_expired(), name)

    def test_one_that_is_asked_too_early_does_nothing(self) -> None:
        for name, scenario in self.rows().items():
            row = scenario()
            row.end.said()
            row.end.connection.handle_timeout(row.end.now)
            row.end.run()
            self.assertFalse(row.has_expired(), name)
            self.assertEqual(row.end.connection.next_timeout(), row.due, name)

    def test_what_rounding_leaves_is_no_wait_of_its_own(self) -> None:
        for name, scenario in self.rows().items():
            row = scenario()
            row.end.said()
            row.end.now = row.due - 1e-7
            row.end.connection.handle_timeout(row.end.now)
            row.end.run()
            self.assertTrue(row.has_expired(), name)

    def test_switched_off_there_are_none(self) -> None:
        end = self.end(simnet(**OFF)).made()
        self.assertEqual(end.connection.next_timeouts(), [None, None, None])
        end.feed(remote_version(), frame(Unknown("verack")))
        self.assertIs(end.state, State.READY)
        end.send(GetBlocks(height=1))
        end.room = 0
        end.send(filler(1_000_000))
        self.assertIsNone(end.connection.next_timeout())
        end.close()
        self.assertIsNone(end.connection.next_timeout())


class RearmTests(ConnectionTestCase):
    """``rearm`` tells an adapter that asks no more often than it must that a deadline may have come nearer."""

    def assert_rearmed(self, end: End, call: Callable[[], object]) -> None:
        before = end.connection.next_timeout()
        end.channel.rearm = False
        call()
        after = end.connection.next_timeout()
        self.assertTrue(after is not None and (before is None or after < before))
        self.assertTrue(end.channel.rearm)

    def test_by_everything_that_brings_one_nearer(self) -> None:
        end = self.end()
        self.assert_rearmed(end, end.made)
        end = self.ready(holds={FeeFilter})
        self.assert_rearmed(end, lambda: end.send(GetBlocks(height=1)))
        self.assert_rearmed(end, lambda: end.connection.queue_inventory(tx_vector(1), False, end.now))
        self.assert_rearmed(end, lambda: end.request(MemPool(), Inv, timeout=9.0))
        self.assert_rearmed(end, lambda: end.request(MemPool(), Inv, timeout=3.0))
        slow = self.ready(simnet(ping_interval=None), holds={FeeFilter})
        self.assert_rearmed(slow, lambda: slow.feed(FeeFilter(1)))
        full = self.ready(simnet(ping_interval=None, soft_queue_limit=1000))
        full.room = 0
        self.assert_rearmed(full, lambda: full.send(filler(200)))
        self.assert_rearmed(full, lambda: full.send(filler(2000)))
        limited = self.end(simnet(max_messages_per_second=1)).made()
        self.assert_rearmed(limited, lambda: limited.feed(remote_version()))
        plain = self.ready()
        self.assert_rearmed(plain, plain.close)

    def test_by_the_handshake_if_pings_are_sooner_than_what_was_set(self) -> None:
        end = self.end(simnet(ping_interval=5.0)).made()
        self.assert_rearmed(end, lambda: end.feed(remote_version(), frame(Unknown("verack"))))

    def test_by_a_request_that_is_over(self) -> None:
        """Its deadline may have been the one that a timer is set for."""
        end = self.ready()
        end.request(MemPool(), Inv, timeout=9.0)
        end.connection.next_timeouts()
        end.channel.rearm = False
        end.feed(Inv())
        self.assertTrue(end.channel.rearm)

    def test_not_by_messages_that_move_deadlines_on(self) -> None:
        end = self.ready()
        end.connection.next_timeouts()
        end.channel.rearm = False
        for _ in range(100):
            end.feed(FeeFilter(1), Ping(1))
            end.send(Ping(2))
        self.assertFalse(end.channel.rearm)


class IdleTests(ConnectionTestCase):
    def idle_after(self, end: End) -> float:
        """Return the seconds until it is closed as idle."""
        before = end.now
        while not end.state.is_closing:
            end.advance(1.0)
            self.assertLess(end.now, before + 2000)
        self.assertIs(end.connection.reason and end.connection.reason.cause, CloseCause.IDLE)
        return end.now - before

    def test_the_time_begins_anew_with_each_whole_message(self) -> None:
        end = self.ready(simnet(ping_interval=None))
        end.advance(200)
        end.feed(FeeFilter(1))
        end.advance(200)
        end.feed(frame(FeeFilter(2))[:-1])
        self.assertEqual(self.idle_after(end), 100.0)

    def test_our_own_messages_are_none(self) -> None:
        end = self.ready()
        end.advance(200)
        end.send(FeeFilter(1))
        self.assertEqual(self.idle_after(end), 100.0)

    def test_the_time_of_a_handler_does_not_count(self) -> None:
        end = self.ready(simnet(ping_interval=None), holds={FeeFilter})
        end.feed(FeeFilter(1))
        end.advance(1000)
        end.finish()
        self.assertEqual(self.idle_after(end), 300.0)

    def test_nor_that_of_one_that_is_long_over(self) -> None:
        end = self.ready(simnet(ping_interval=None), holds={FeeFilter})
        end.feed(FeeFilter(1))
        end.advance(1000)
        end.finish()
        end.advance(100)
        end.feed(Ping(1))
        self.assertEqual(self.idle_after(end), 300.0)

    def test_it_counts_before_the_handshake_too(self) -> None:
        end = self.end(simnet(negotiate_timeout=None)).made()
        self.assertEqual(self.idle_after(end), 300.0)


class PingTests(ConnectionTestCase):
    def test_each_interval_less_up_to_a_tenth(self) -> None:
        for seed in range(20):
            end = self.ready(simnet(ping_interval=100.0, idle_timeout=None), seed=seed)
            tick = tick_of(end.config)
            self.assertTrue(90.0 - tick <= end.channel.pings.due <= 100.0 - tick)  # type: ignore[operator]
            end.lose()

    def test_two_connections_do_not_ping_together(self) -> None:
        ends = [self.ready() for _ in range(5)]
        self.assertEqual(len({each.channel.pings.due for each in ends}), 5)

    def test_they_go_on_and_their_nonces_differ(self) -> None:
        end = self.ready(simnet(idle_timeout=None))
        end.advance(1200)
        pings = [each for each in end.said() if isinstance(each, Ping)]
        self.assertGreaterEqual(len(pings), 10)
        self.assertEqual(len({each.nonce for each in pings}), len(pings))

    def test_none_before_ready(self) -> None:
        end = self.end(simnet(ping_interval=5.0)).made()
        end.feed(remote_version())
        end.advance(29)
        self.assertEqual([each.command for each in end.said()], ["version", "verack"])


class WriteTests(ConnectionTestCase):
    def test_each_piece_that_is_taken_is_progress(self) -> None:
        end = self.ready(simnet(ping_interval=None, idle_timeout=None))
        end.room = 0
        end.send(filler(600_000))
        for _ in range(8):
            end.advance(59)
            end.take()
        self.assertIs(end.state, State.READY)
        end.advance(60)
        self.assertIs(end.state, State.READY)
        end.advance(1)
        self.assertIs(end.connection.reason and end.connection.reason.cause, CloseCause.WRITE_TIMEOUT)

    def test_also_while_nothing_waits_but_what_the_transport_holds(self) -> None:
        end = self.ready(simnet(ping_interval=None))
        end.room = 0
        end.send(filler(100))
        self.assertEqual(end.channel.queue.waiting, 0)
        end.advance(60)
        self.assertIs(end.state, State.CLOSING)

    def test_a_transport_that_takes_everything_has_none(self) -> None:
        end = self.ready(simnet(ping_interval=None, idle_timeout=None))
        end.send(filler(600_000))
        end.advance(1000)
        self.assertIs(end.state, State.READY)


class ClosingTests(ConnectionTestCase):
    def test_the_time_counts_from_the_close_whenever_the_last_call_was(self) -> None:
        end = self.ready()
        end.now = 100.0
        end.close()
        self.assertEqual(end.connection.next_timeout(), 110.0)

    def test_the_transport_is_aborted_once(self) -> None:
        end = self.ready()
        end.close()
        end.advance(1000)
        self.assertEqual(end.events.count(ABORT), 1)
        self.assertIsNone(end.connection.next_timeout())

    def test_no_other_deadline_is_looked_at(self) -> None:
        end = self.ready(simnet(close_timeout=None), holds={FeeFilter})
        end.connection.pause_writing()
        end.send(GetBlocks(height=1))
        end.connection.queue_inventory(tx_vector(1), False, end.now)
        end.feed(FeeFilter(1))
        end.close()
        said = len(end.raw)
        self.assertIsNone(end.connection.next_timeout())
        end.connection.handle_timeout(1e6)
        end.run()
        self.assertEqual((len(end.raw), end.of(SlowHandler)), (said, []))


class FailureTests(ConnectionTestCase):
    def test_a_timer_that_fails_closes_the_connection_and_says_why(self) -> None:
        end = self.ready()
        error = ZeroDivisionError("by zero")
        with mock.patch.object(type(end.channel.pings), "is_due", side_effect=error):
            end.advance(200)
        reason = self.assert_closing(end, CloseCause.LOCAL_FAILURE)
        self.assertEqual(reason.detail, "a timer failed: by zero")
        [notice] = end.of(Notice)
        self.assertIs(notice.error, error)
        self.assertIn("ping", notice.text)
