"""The deadlines that a remote is held to, and the limits of the send queue."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from txsoter.core.state import State
from txsoter.errors import (
    CloseCause,
    SendQueueFull,
)
from txsoter.test.peer.support import KIB, PeerTestCase, filler, frame
from txsoter.testing import ScriptedPair, remote_version
from txsoter.wire import (
    Inv,
    Ping,
    Unknown,
)


class NegotiationTimeoutTests(PeerTestCase):
    """All of this within 30 s of the connection being made, *the remote's `verack` included*."""

    def assert_times_out(self, pair: ScriptedPair, words: str, seconds: float = 30.0) -> None:
        pair.advance(seconds - pair.clock.seconds() - 0.25, 0.25)
        self.assertNotIn(pair.peer.state, (State.CLOSING, State.CLOSED))
        pair.clock.advance(0.25)
        reason = self.assert_closed(pair, CloseCause.NEGOTIATION_TIMEOUT)
        self.assertIn(words, reason.detail)

    def test_at_30_s_in_each_state(self) -> None:
        for inbound in (False, True):
            self.assert_times_out(self.scripted(handshake=False, inbound=inbound), "negotiating")
            pair = self.scripted(handshake=False, inbound=inbound)
            pair.advance(20)
            pair.say(remote_version())
            self.assert_times_out(pair, "negotiated")

    def test_other_messages_do_not_put_it_off(self) -> None:
        pair = self.scripted(handshake=False)
        pair.say(remote_version())
        for _ in range(29):
            pair.advance(1)
            pair.say(Ping())
        self.assert_times_out(pair, "negotiated")

    def test_a_handler_that_takes_its_time_is_not_the_remotes_fault(self) -> None:
        gate: Deferred[None] = Deferred()
        pair = self.scripted(handshake=False, on_version=lambda peer, version: gate)
        pair.advance(10)
        pair.say(remote_version())
        pair.advance(100)
        self.assertIs(pair.peer.state, State.VERSION_KNOWN)
        gate.callback(None)
        self.assert_times_out(pair, "negotiated", 130.0)

    def test_a_handler_that_begins_just_before_the_end(self) -> None:
        gate: Deferred[None] = Deferred()
        pair = self.scripted(handshake=False, on_version=lambda peer, version: gate)
        pair.clock.advance(30 - 2**-10)
        pair.say(remote_version())
        pair.advance(100)
        self.assertIs(pair.peer.state, State.VERSION_KNOWN)
        gate.callback(None)
        pair.advance(1)
        self.assert_closed(pair, CloseCause.NEGOTIATION_TIMEOUT)

    def test_not_once_it_is_ready(self) -> None:
        pair = self.scripted()
        pair.advance(200, 10)
        self.assertIs(pair.peer.state, State.READY)

    def test_none_switches_it_off(self) -> None:
        pair = self.scripted(handshake=False, negotiate_timeout=None)
        pair.advance(299)
        self.assertIs(pair.peer.state, State.NEGOTIATING)


class IdleTests(PeerTestCase):
    """No message for 5 minutes: close (idle)."""

    def seconds_until_idle(self, pair: ScriptedPair) -> float:
        start = pair.clock.seconds()
        while pair.peer.state is State.READY and pair.clock.seconds() - start < 2000:
            pair.advance(1)
        self.assert_closed(pair, CloseCause.IDLE)
        return pair.clock.seconds() - start

    def test_five_minutes_from_the_last_whole_message(self) -> None:
        pair = self.scripted()
        self.assertEqual(self.seconds_until_idle(pair), 300)
        pair = self.scripted()
        for _ in range(10):
            pair.advance(299, 299)
            pair.say(Inv())
        self.assertEqual(self.seconds_until_idle(pair), 300)

    def test_partial_messages_do_not_restart_it(self) -> None:
        pair = self.scripted()
        raw = frame(filler(1000))
        for number in range(290):
            pair.advance(1)
            pair.say(raw[number : number + 1])
        self.assertEqual(self.seconds_until_idle(pair), 10)

    def test_it_stands_still_while_a_handler_runs(self) -> None:
        gate: Deferred[None] = Deferred()
        pair = self.scripted(on_inv=lambda peer, inv: gate)
        pair.advance(100)
        pair.say(Inv())
        pair.advance(1000, 10)
        self.assertIs(pair.peer.state, State.READY)
        gate.callback(None)
        self.assertEqual(self.seconds_until_idle(pair), 300)

    def test_it_runs_during_the_handshake_too(self) -> None:
        pair = self.scripted(handshake=False, negotiate_timeout=None)
        pair.advance(300)
        self.assert_closed(pair, CloseCause.IDLE)

    def test_none_switches_it_off(self) -> None:
        pair = self.scripted(idle_timeout=None, ping_interval=None)
        # the ticker looks once more after the handshake
        pair.clock.advance(30)
        self.assertEqual(pair.clock.getDelayedCalls(), [])
        pair.advance(5000, 1000)
        self.assertIs(pair.peer.state, State.READY)


class WriteTimeoutTests(PeerTestCase):
    """A remote that takes nothing for 60 s + 1 s per 256 KiB waiting is closed."""

    def stuck(self, waiting: int, **fields: Any) -> ScriptedPair:
        """A peer with a full transport, and ``waiting`` bytes behind that, of a remote that takes nothing."""
        pair = self.scripted(ping_interval=None, idle_timeout=None, **fields)
        pair.transport.takes = False
        pair.peer.send(filler(128 * KIB))
        self.assertEqual((pair.transport.waiting, pair.peer.stats().queue_bytes), (128 * KIB, 0))
        for start in range(0, waiting, 256 * KIB):
            pair.peer.send(filler(min(256 * KIB, waiting - start)))
        self.assertEqual(pair.peer.stats().queue_bytes, waiting)
        return pair

    def seconds_until_closed(self, pair: ScriptedPair) -> float:
        start = pair.clock.seconds()
        while pair.peer.state is State.READY and pair.clock.seconds() - start < 2000:
            pair.clock.advance(0.5)
        self.assertIs(pair.peer.state, State.CLOSING)
        pair.link.reset()
        self.assert_closed(pair, CloseCause.WRITE_TIMEOUT)
        return pair.clock.seconds() - start

    def test_60_s_and_one_more_for_each_256_kib(self) -> None:
        for waiting, seconds in ((0, 60), (256 * KIB, 61), (512 * KIB, 62), (5 * 1024 * KIB, 80)):
            self.assertEqual(self.seconds_until_closed(self.stuck(waiting)), seconds)

    def test_each_piece_taken_is_progress(self) -> None:
        pair = self.stuck(512 * KIB)
        pair.clock.advance(61)
        pair.transport.take(100 * KIB)
        self.assertEqual(self.seconds_until_closed(pair), 1)
        pair = self.stuck(512 * KIB)
        pair.clock.advance(61)
        pair.transport.take()
        self.assertEqual(pair.peer.stats().queue_bytes, 384 * KIB)
        self.assertEqual(self.seconds_until_closed(pair), 61.5)

    def test_with_less_waiting_there_is_less_time(self) -> None:
        """Not the time of the queue as it was when the deadline was first set."""
        pair = self.stuck(20 * 1024 * KIB)
        while pair.peer.stats().queue_bytes:
            pair.transport.take()
        self.assertEqual(self.seconds_until_closed(pair), 60)

    def test_a_transport_that_takes_all_has_no_deadline(self) -> None:
        pair = self.stuck(512 * KIB)
        pair.transport.takes = True
        pair.pump()
        pair.clock.advance(5000)
        self.assertEqual((pair.peer.state, pair.clock.getDelayedCalls()), (State.READY, []))

    def test_none_switches_it_off(self) -> None:
        pair = self.stuck(512 * KIB, write_timeout=None)
        pair.clock.advance(5000)
        self.assertEqual((pair.peer.state, pair.clock.getDelayedCalls()), (State.READY, []))


class SoftLimitTests(PeerTestCase):
    """The queue has a soft limit (default 1 MiB), past which we stop *reading* from that remote."""

    def full(self, **fields: Any) -> ScriptedPair:
        pair = self.scripted(**{"soft_queue_limit": 1000 * KIB, **fields})
        pair.transport.takes = False
        pair.peer.send(filler(128 * KIB))
        pair.peer.send(filler(pair.peer.config.soft_queue_limit))
        self.assertTrue(pair.transport.reading)
        pair.peer.send(Ping(1))
        return pair

    def test_past_it_nothing_is_read_and_below_it_is(self) -> None:
        pair = self.full()
        self.assertFalse(pair.transport.reading)
        pair.say(Ping(2))
        self.assertNotIn("ping", pair.peer.stats().received)
        pair.transport.take()
        self.assertTrue(pair.transport.reading)
        pair.pump()
        self.assertEqual(pair.peer.stats().received["ping"].messages, 1)

    def test_what_was_read_already_waits(self) -> None:
        pair = self.full()
        pair.peer.dataReceived(frame(Ping(2)))
        self.assertNotIn("ping", pair.peer.stats().received)
        pair.transport.take()
        self.assertEqual(pair.peer.stats().received["ping"].messages, 1)

    def test_after_5_s_without_progress_it_reads_on(self) -> None:
        """Two sides that both stop reading would wait for each other."""
        pair = self.full()
        pair.remote.say(Ping(2), Ping(3))
        pair.advance(4.5, 0.5)
        self.assertNotIn("ping", pair.peer.stats().received)
        pair.advance(0.5, 0.5)
        self.assertTrue(pair.transport.reading)
        self.assertEqual(pair.peer.stats().received["ping"].messages, 2)
        self.assertEqual(pair.transport.waiting, 128 * KIB)

    def test_reading_on_costs_no_timers(self) -> None:
        """Once it has begun there is nothing to wait for."""
        pair = self.full(ping_interval=None, idle_timeout=None, write_timeout=None, negotiate_timeout=None)
        self.assertEqual(len(pair.clock.getDelayedCalls()), 1)
        pair.clock.advance(5)
        self.assertTrue(pair.transport.reading)
        pair.say(Ping(2))
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_it_stops_again_once_something_is_taken(self) -> None:
        """And again for 5 s: while the remote takes what waits it may not make us produce more."""
        pair = self.full(soft_queue_limit=600 * KIB)
        pair.peer.send(filler(600 * KIB))
        pair.clock.advance(5)
        pair.say(Ping(2))
        pair.transport.take()
        self.assertFalse(pair.transport.reading)
        pair.remote.say(Ping(3))
        pair.advance(4.5, 0.5)
        self.assertEqual(pair.peer.stats().received["ping"].messages, 1)
        pair.advance(0.5, 0.5)
        self.assertEqual(pair.peer.stats().received["ping"].messages, 2)

    def test_one_message_at_a_time(self) -> None:
        """Progress between two messages of one read keeps the second waiting."""
        pair: ScriptedPair
        pair = self.full(soft_queue_limit=600 * KIB, on_inv=lambda peer, inv: pair.transport.take())
        pair.peer.send(filler(600 * KIB))
        pair.peer.dataReceived(frame(Inv()) + frame(Inv()))
        pair.clock.advance(5)
        self.assertEqual(pair.peer.stats().received["inv"].messages, 1)
        pair.clock.advance(5)
        self.assertEqual(pair.peer.stats().received["inv"].messages, 2)

    def test_none_never_reads_on(self) -> None:
        pair = self.full(read_on_after=None)
        pair.clock.advance(50)
        self.assertFalse(pair.transport.reading)

    def test_two_full_sides_both_go_on(self) -> None:
        """Neither waits for the other: everything arrives both ways, and nobody is closed."""
        pair = self.connected()
        for peer in (pair.client, pair.server):
            for _ in range(30):
                peer.send(filler(100 * KIB))
        for side in (pair.link.client, pair.link.server):
            self.assertFalse(side.reading)
        pair.advance(30)
        for peer in (pair.client, pair.server):
            self.assertEqual((peer.state, peer.stats().unknown_commands), (State.READY, 30))


class HardLimitTests(PeerTestCase):
    """And a hard one (default 32 MiB), past which `send` fails with `SendQueueFull`."""

    def test_from_the_deferred_and_nothing_is_sent(self) -> None:
        errors: list[object] = []
        pair = self.scripted(
            soft_queue_limit=1000,
            hard_queue_limit=200 * KIB,
            on_write=lambda peer, size, message, error: errors.append((size, message, error)) if error else None,
        )
        pair.transport.takes = False
        pair.peer.send(filler(128 * KIB))
        fits = pair.peer.send(filler(200 * KIB))
        error = self.failureResultOf(pair.peer.send(Ping(5)), SendQueueFull).value
        assert isinstance(error, SendQueueFull)
        self.assertEqual((error.queued, error.size, error.limit), (200 * KIB, 32, 200 * KIB))
        self.assertIn("204800", str(error))
        self.assertEqual(errors, [(0, Ping(5), error)])
        self.assertNoResult(fits)
        pair.transport.takes = True
        self.assertEqual([type(each) for each in pair.hear()], [Unknown, Unknown])
        self.successResultOf(fits)
        self.successResultOf(pair.peer.send(Ping(6)))

    def test_before_the_handshake_too(self) -> None:
        pair = self.scripted(handshake=False, soft_queue_limit=100, hard_queue_limit=100)
        waiting = [pair.peer.send(Ping(nonce)) for nonce in range(4)]
        self.failureResultOf(waiting[3], SendQueueFull)
        pair.handshake()
        for each in waiting[:3]:
            self.successResultOf(each)
        self.assertEqual(pair.hear()[2:], [Ping(nonce) for nonce in range(3)])
