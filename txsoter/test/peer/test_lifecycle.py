"""Tests of :mod:`txsoter.peer.lifecycle`: how a connection begins and ends, and who is told."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy, CloseReason, ConnectionClosed, HandshakeFailed
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.test.peer.support import PeerTestCase, simnet
from txsoter.testing import MemoryLink, ScriptedPair, ScriptedPeer, remote_version
from txsoter.wire import GetAddr, GetBlocks, GetHeaders, Headers, Ping, Reject, Unknown, VerAck


class LifecycleTestCase(PeerTestCase):
    def in_each_state(self, **fields: Any) -> Iterator[tuple[State, ScriptedPair]]:
        """A connected peer in each state in which it is not closed."""
        waits: Deferred[None] = Deferred()
        for inbound in (False, True):
            pair = self.scripted(handshake=False, inbound=inbound, **fields)
            yield State.NEGOTIATING, pair
            pair = self.scripted(handshake=False, inbound=inbound, on_version=lambda *_: waits, **fields)
            pair.say(remote_version())
            yield State.VERSION_KNOWN, pair
            pair = self.scripted(handshake=False, inbound=inbound, **fields)
            pair.say(remote_version())
            yield State.NEGOTIATED, pair
            yield State.READY, self.scripted(inbound=inbound, **fields)
            pair = self.scripted(inbound=inbound, **fields)
            pair.peer.disconnect()
            yield State.CLOSING, pair


class DisconnectTests(LifecycleTestCase):
    """``disconnect(reason=None)``: idempotent."""

    def test_in_every_state(self) -> None:
        for state, pair in self.in_each_state():
            self.assertIs(pair.peer.state, state)
            first = pair.peer.disconnect("enough")
            self.assertIs(pair.peer.state, State.CLOSING)
            self.assertNoResult(first)
            second = pair.peer.disconnect("more than enough")
            reason = self.assert_closed(pair, CloseCause.DISCONNECT)
            self.assertEqual(reason.detail, "enough" if state is not State.CLOSING else "")
            third = pair.peer.disconnect("again")
            for told in (first, second, third):
                self.assertIs(self.successResultOf(told), reason)
            self.assertEqual(pair.clock.getDelayedCalls(), [])
            assert pair.remote.closed is not None
            self.assertIs(pair.remote.closed.type, ConnectionDone)

    def test_before_the_connection_is_made(self) -> None:
        closed: list[CloseReason] = []
        peer = SoterPeerProtocol(simnet(clock=Clock(), on_closed=lambda peer, reason: closed.append(reason)))
        ready, told, sent = peer.when_ready(), peer.when_closed(), peer.send(Ping())
        peer.disconnect("never mind")
        self.assertIs(peer.state, State.CLOSED)
        reason = self.successResultOf(told)
        self.assertEqual((reason.cause, reason.detail, closed), (CloseCause.DISCONNECT, "never mind", [reason]))
        self.failureResultOf(ready, HandshakeFailed)
        self.failureResultOf(sent, ConnectionClosed)
        remote = ScriptedPeer()
        link = MemoryLink(peer, remote)
        self.assertTrue(link.client.aborted)
        link.pump()
        self.assertEqual((remote.raw, closed), (b"", [reason]))

    def test_what_is_not_with_the_transport_is_not_sent(self) -> None:
        pair = self.scripted()
        pair.transport.takes = False
        sent = [pair.peer.send(Unknown("x", bytes(150 * 1024))) for _ in range(3)]
        before = pair.transport.waiting
        pair.peer.disconnect()
        for each in sent:
            self.assert_fails_closed(each, CloseCause.DISCONNECT)
        self.assertEqual(pair.transport.waiting, before)
        self.assertTrue(pair.transport.disconnecting)
        pair.transport.takes = True
        self.assert_closed(pair, CloseCause.DISCONNECT)
        self.assertEqual(pair.remote.heard, [])

    def test_from_listeners(self) -> None:
        """From on_write, on_read, a message's own, on_version, on_ready: each of them, and nothing follows."""
        told: list[Deferred[CloseReason]] = []

        def hang_up(peer: SoterPeerProtocol, *_: Any) -> None:
            told.append(peer.disconnect())

        for name in ("on_write", "on_read", "on_ping", "on_version", "on_verack", "on_ready"):
            for inbound in (False, True):
                later: list[object] = []
                hooks: dict[str, Any] = {name: hang_up}
                hooks["on_pong"] = lambda peer, message, later=later: later.append(message)
                pair = self.scripted(handshake=False, inbound=inbound, **hooks)
                pair.remote.say(remote_version(), VerAck(), Ping(), Ping(), GetBlocks())
                self.assert_closed(pair, CloseCause.DISCONNECT)
                self.assertEqual(later, [])
                self.assertEqual(pair.clock.getDelayedCalls(), [])
                if name != "on_write":
                    # what is written goes out behind what one read has brought
                    self.assertLessEqual(pair.peer.stats().messages_received, 3)
                self.assertNotIn("inv", pair.remote.commands)
        for each in told:
            self.successResultOf(each)

    def test_what_waited_for_the_end_of_the_turn_goes_out(self) -> None:
        """Our verack too: who hangs up as soon as a peer is ready must not look like a peer that never was."""
        for inbound in (False, True):
            pair = self.scripted(inbound=inbound, handshake=False)

            def hang_up(peer: SoterPeerProtocol) -> None:
                peer.send(GetAddr())
                peer.disconnect()

            pair.peer.when_ready().addCallback(hang_up)
            pair.handshake()
            self.assertEqual([message.command for message in pair.remote.heard], ["version", "verack", "getaddr"])
            self.assert_closed(pair, CloseCause.DISCONNECT)

    def test_from_a_send_deferred(self) -> None:
        pair = self.scripted()
        pair.peer.send(Ping(1)).addCallback(lambda _: pair.peer.disconnect())
        self.assert_closed(pair, CloseCause.DISCONNECT)
        self.assertEqual(pair.remote.heard, [Ping(1)])

    def test_from_those_who_are_told_of_the_end(self) -> None:
        closed: list[Deferred[CloseReason]] = []
        pair = self.scripted(on_closed=lambda peer, reason: closed.append(peer.disconnect()))
        sent: list[Failure] = []
        pair.peer.when_closed().addCallback(
            lambda _: pair.peer.send(Ping()).addErrback(lambda failure: sent.append(failure))
        )
        pair.peer.disconnect()
        reason = self.assert_closed(pair, CloseCause.DISCONNECT)
        self.assertIs(self.successResultOf(closed[0]), reason)
        self.assertEqual([failure.type for failure in sent], [ConnectionClosed])


class LateWaiterTests(LifecycleTestCase):
    def test_who_asks_while_it_is_cleaned_up_is_told_after_that(self) -> None:
        """From a send's failure too, when_closed() fires only once nothing is left."""
        order: list[str] = []
        pair = self.scripted(on_closed=lambda peer, reason: order.append("cleaned up"))
        pair.transport.takes = False
        for _ in range(3):
            sent = pair.peer.send(Unknown("x", bytes(100_000)))

        def ask(failure: Failure) -> None:
            failure.trap(ConnectionClosed)
            pair.peer.when_closed().addCallback(lambda reason: order.append("told"))

        sent.addErrback(ask)
        pair.link.reset()
        self.assertEqual(order, ["cleaned up", "told"])
        self.assertEqual(pair.clock.getDelayedCalls(), [])


class TransportTests(LifecycleTestCase):
    def test_small_messages_are_not_held_back_by_the_kernel(self) -> None:
        """TCP_NODELAY is set where the transport has it."""
        told: list[bool] = []

        class TcpTransport(StringTransport):
            def setTcpNoDelay(self, enabled: bool) -> None:
                told.append(enabled)

        peer = SoterPeerProtocol(simnet(clock=Clock()), False)
        peer.makeConnection(TcpTransport())
        self.assertEqual(told, [True])
        peer.disconnect()
        peer.connectionLost()


class WaitingTests(LifecycleTestCase):
    """A fresh Deferred for each caller, fired once."""

    def test_when_closed_and_when_ready_are_each_callers_own(self) -> None:
        pair = self.scripted(handshake=False)
        ready = [pair.peer.when_ready() for _ in range(3)]
        closed = [pair.peer.when_closed() for _ in range(3)]
        self.assertEqual(len({id(each) for each in (*ready, *closed)}), 6)
        ready[0].addCallback(lambda _: None)
        pair.say(remote_version())
        self.assertNoResult(ready[1])
        pair.say(VerAck())
        self.assertEqual([self.successResultOf(each) for each in ready], [None, pair.peer, pair.peer])
        self.assertIs(self.successResultOf(pair.peer.when_ready()), pair.peer)
        for each in closed:
            self.assertNoResult(each)
        pair.peer.disconnect()
        reason = self.assert_closed(pair, CloseCause.DISCONNECT)
        self.assertEqual([self.successResultOf(each) for each in closed], [reason] * 3)

    def test_cancelling_one_leaves_the_others(self) -> None:
        pair = self.scripted(handshake=False)
        ready = [pair.peer.when_ready() for _ in range(3)]
        closed = [pair.peer.when_closed() for _ in range(3)]
        for waiter in (ready[1], closed[1]):
            waiter.cancel()
            self.failureResultOf(waiter, CancelledError)
        pair.handshake()
        self.assertEqual([self.successResultOf(each) for each in (ready[0], ready[2])], [pair.peer] * 2)
        # one that is told may cancel another
        closed[0].addCallback(lambda _: closed[2].cancel())
        pair.peer.disconnect()
        self.assert_closed(pair, CloseCause.DISCONNECT)
        self.failureResultOf(closed[2], CancelledError)

    def test_one_that_was_cancelled_is_forgotten(self) -> None:
        """So that waiting with a time limit, again and again, costs nothing."""
        pair = self.scripted(handshake=False)
        for wait in (pair.peer.when_ready, pair.peer.when_closed):
            waiter: Deferred[Any] = wait()
            waiter.addErrback(lambda failure: None)
            waiter.cancel()
            seen = weakref.ref(waiter)
            del waiter
            gc.collect()
            self.assertIsNone(seen())

    def test_when_ready_fails_with_the_close_reason(self) -> None:
        for state, pair in self.in_each_state():
            if state in (State.READY, State.CLOSING):
                continue
            ready = pair.peer.when_ready()
            pair.peer.disconnect("no")
            self.assertIsInstance(
                self.assert_fails_closed(pair.peer.when_ready(), CloseCause.DISCONNECT), ConnectionClosed
            )
            self.assertNoResult(ready)
            pair.pump()
            for each in (ready, pair.peer.when_ready()):
                self.assertIsInstance(self.assert_fails_closed(each, CloseCause.DISCONNECT), HandshakeFailed)
        pair = self.scripted()
        pair.peer.disconnect()
        pair.pump()
        error = self.assert_fails_closed(pair.peer.when_ready(), CloseCause.DISCONNECT)
        self.assertNotIsInstance(error, HandshakeFailed)

    def test_when_closed_fires_after_everything_has_been_cleaned_up(self) -> None:
        pair = self.scripted(on_closed=lambda peer, reason: order.append("on_closed"))
        order: list[str] = []
        pair.transport.takes = False
        request = pair.peer.request(GetHeaders(), Headers)
        request.addErrback(lambda failure: order.append("request"))
        for _ in range(3):
            sent = pair.peer.send(Unknown("x", bytes(100 * 1024)))
        sent.addErrback(lambda failure: order.append("send"))

        def closed(reason: CloseReason) -> None:
            order.append("when_closed")
            self.assertEqual((pair.clock.getDelayedCalls(), pair.peer.state), ([], State.CLOSED))

        pair.peer.when_closed().addCallback(closed)
        pair.link.reset()
        self.assertEqual(order, ["send", "request", "on_closed", "when_closed"])


class ReasonTests(LifecycleTestCase):
    """Who ended it, and why: a typed value, not a string."""

    def test_the_remote_closed(self) -> None:
        for _, pair in self.in_each_state():
            # while it does not read it cannot know
            if pair.peer.state is State.CLOSING or not pair.transport.reading:
                continue
            assert pair.remote.transport is not None
            pair.remote.transport.loseConnection()
            self.assert_closed(pair, CloseCause.REMOTE_CLOSED, ClosedBy.REMOTE)
            self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_the_network_broke(self) -> None:
        for _, pair in self.in_each_state():
            if pair.peer.state is State.CLOSING:
                continue
            pair.link.reset()
            reason = self.assert_closed(pair, CloseCause.CONNECTION_LOST, ClosedBy.NETWORK)
            self.assertTrue(reason.detail)

    def test_our_own_reason_stays_when_the_network_breaks_meanwhile(self) -> None:
        pair = self.scripted()
        pair.transport.takes = False
        pair.peer.send(Ping())
        pair.peer.disconnect("mine")
        pair.link.reset()
        self.assertEqual(self.assert_closed(pair, CloseCause.DISCONNECT).detail, "mine")
        pair.peer.connectionLost(Failure(ConnectionLost()))

    def test_a_reject_that_came_last_is_kept(self) -> None:
        pair = self.scripted()
        pair.say(Reject(b"tx", 0x42, b"too <low>"))
        pair.link.reset()
        reason = self.assert_closed(pair, CloseCause.CONNECTION_LOST, ClosedBy.NETWORK)
        self.assertEqual((reason.code, reason.reject_reason, reason.command), (0x42, "too low", "tx"))
        self.assertIn("0x42: too low", str(reason))

    def test_a_reject_that_did_not_come_last_is_not(self) -> None:
        pair = self.scripted()
        pair.say(Reject(b"tx", 0x42, b"too low"), Ping())
        pair.link.reset()
        self.assertIsNone(self.assert_closed(pair, CloseCause.CONNECTION_LOST, ClosedBy.NETWORK).code)

    def test_rejected_and_closed_during_the_handshake_is_refused(self) -> None:
        pair = self.scripted(handshake=False)
        pair.say(remote_version(), Reject(b"version", 0x10, b"wrong genesis"))
        pair.link.reset()
        reason = self.assert_closed(pair, CloseCause.REJECTED, ClosedBy.REMOTE)
        self.assertEqual((reason.code, reason.reject_reason), (0x10, "wrong genesis"))


class NameTests(LifecycleTestCase):
    def test_for_people(self) -> None:
        pair = self.scripted()
        self.assertEqual(str(pair.peer), "192.0.2.2:18555 (outbound)")
        self.assertEqual(repr(pair.peer), "<SoterPeerProtocol 192.0.2.2:18555 (outbound), ready>")
        self.assertIn("(inbound)", str(self.scripted(inbound=True).peer))
        self.assertEqual(SoterPeerProtocol(simnet()).address, "nowhere")
        self.assertNotEqual(pair.peer.id, SoterPeerProtocol(simnet()).id)
