"""What is said in which order until a peer is ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from txsoter import CloseCause, Listeners, SoterPeerProtocol
from txsoter.core.state import State
from txsoter.test.peer.cases import WholePeerTestCase, as_block, config, framed, hash_of, returning
from txsoter.testing import ScriptedPair, remote_version
from txsoter.wire import (
    Encoding,
    GetAddr,
    GetBlocks,
    Inv,
    Message,
    Ping,
    Pong,
    Reject,
    RejectCode,
    Services,
    Tx,
    TxIn,
    TxOut,
    VerAck,
    Version,
)

BOTH = (False, True)


class OnVersionTests(WholePeerTestCase):
    """ "`on_version` listener runs, and may return a `Reject`, which is sent before closing"."""

    def refuse(
        self, listener: Callable[[Any, Version], Any], inbound: bool, later: Deferred[Reject] | None = None
    ) -> None:
        pair = self.fresh(config(listeners=Listeners(on_version=listener)), inbound=inbound)
        pair.hear()
        pair.handshake()
        if later is not None:
            self.assertEqual(pair.hear(), [])
            later.callback(REFUSAL)
        self.assertEqual(pair.hear(), [REFUSAL])
        reason = self.assert_closed(pair, CloseCause.REFUSED_BY_LISTENER)
        self.assertEqual(reason.detail, "not you")

    def test_it_may_be_returned_plainly_by_a_deferred_or_by_a_coroutine(self) -> None:
        for inbound in BOTH:
            self.refuse(returning(REFUSAL), inbound)
            later: Deferred[Reject] = Deferred()
            self.refuse(returning(later), inbound, later)
            awaited: Deferred[Reject] = Deferred()

            async def refuses(peer: object, version: Version, awaited: Deferred[Reject] = awaited) -> Reject:
                return await awaited

            self.refuse(refuses, inbound, awaited)

    def test_it_is_written_whatever_the_remote_advertises(self) -> None:
        for inbound in BOTH:
            pair = self.fresh(config(listeners=Listeners(on_version=returning(REFUSAL))), inbound=inbound)
            pair.hear()
            pair.say(remote_version(protocol_version=0))
            self.assertEqual(pair.hear(), [REFUSAL])
            self.assert_closed(pair, CloseCause.REFUSED_BY_LISTENER)

    def test_a_subclass_may_refuse_too(self) -> None:
        class Choosy(SoterPeerProtocol):
            def message_received(self, message: Message) -> Any:
                return REFUSAL if isinstance(message, Version) else None

        pair = self.fresh(protocol=Choosy, inbound=True)
        pair.handshake()
        self.assertEqual(pair.hear(), [REFUSAL])
        self.assert_closed(pair, CloseCause.REFUSED_BY_LISTENER)

    def test_a_reject_that_cannot_be_written_still_closes(self) -> None:
        for waits in BOTH:
            later: Deferred[Reject] = Deferred()
            if not waits:
                later.callback(Reject(b"version", 256))
            pair = self.fresh(config(listeners=Listeners(on_version=returning(later))))
            pair.hear()
            pair.handshake()
            if waits:
                later.callback(Reject(b"version", 256))
            self.assertEqual(pair.hear(), [])
            self.assert_closed(pair, CloseCause.REFUSED_BY_LISTENER)

    def test_one_that_fails_refuses_nobody(self) -> None:
        pair = self.fresh(config(listeners=Listeners(on_version=lambda peer, version: 1 / 0)), inbound=True)
        pair.handshake()
        self.assert_ready(pair)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_one_that_disconnects_sends_nothing_more(self) -> None:
        for inbound in BOTH:
            listeners = Listeners(on_version=lambda peer, version: peer.disconnect("no") and None)
            pair = self.fresh(config(listeners=listeners), inbound=inbound)
            pair.hear()
            pair.handshake()
            self.assertEqual(pair.hear(), [])
            self.assert_closed(pair, CloseCause.DISCONNECT)


REFUSAL = Reject(b"version", RejectCode.DUST, b"not you")


class OrderTests(WholePeerTestCase):
    """Both `verack`s, and what is queued or comes before them."""

    def held(self, pair: ScriptedPair, sent: list[Deferred[None]]) -> list[Message]:
        """What the remote hears from its version on; all that was sent before must have been told."""
        pair.hear()
        pair.say(remote_version())
        heard = pair.hear()
        self.assertEqual([self.successResultOf(each) for each in sent], [None] * len(sent))
        return heard

    def test_what_on_version_queues_goes_out_after_the_verack(self) -> None:
        """**better**: in the reference it goes first, and the 51st such message hangs the handshake."""
        pings = [Ping(number) for number in range(120)]
        for inbound in BOTH:
            sent: list[Deferred[None]] = []

            def send(peer: SoterPeerProtocol, version: Version, sent: list[Deferred[None]] = sent) -> None:
                sent.extend(peer.send(each) for each in pings)

            pair = self.fresh(config(listeners=Listeners(on_version=send)), inbound=inbound)
            heard = self.held(pair, sent)
            version = [Version] if inbound else []
            self.assertEqual([type(each) for each in heard[: len(version) + 1]], [*version, VerAck])
            self.assertEqual(heard[len(version) + 1 :], pings)

    def test_so_does_what_was_queued_before_the_remotes_version(self) -> None:
        for inbound in BOTH:
            pair = self.fresh(inbound=inbound)
            sent = [pair.peer.send(GetAddr()), pair.peer.send(Ping(5))]
            for each in sent:
                self.assertNoResult(each)
            heard = self.held(pair, sent)
            self.assertEqual(heard[-3:], [VerAck(), GetAddr(), Ping(5)])

    def test_messages_between_version_and_verack_are_answered_after_our_verack(self) -> None:
        """A real soterd often sends `getblocks`, `getaddr` or `addr` before its `verack`."""
        answer = Inv([as_block(1)])
        for inbound in BOTH:
            asked: Deferred[None] = Deferred()
            listeners = Listeners(
                on_version=returning(asked),
                on_getblocks=lambda peer, message: peer.send(answer) and None,
            )
            pair = self.fresh(config(listeners=listeners), inbound=inbound)
            pair.hear()
            pair.say(framed(remote_version()) + framed(GetBlocks(height=0)) + framed(Ping(3)))
            self.assertEqual(pair.hear(), [])
            asked.callback(None)
            heard = pair.hear()
            self.assertEqual(heard[-3:], [VerAck(), answer, Pong(3)])
            self.assertEqual([type(each) for each in heard[:-3]], [Version] if inbound else [])
            self.assertIs(pair.peer.state, State.NEGOTIATED)
            pair.say(VerAck())
            self.assert_ready(pair)

    def test_a_second_verack_closes(self) -> None:
        pair = self.scripted()
        pair.say(VerAck())
        self.assertEqual(pair.hear(), [])
        self.assert_closed(pair, CloseCause.DUPLICATE_VERACK)

    def test_a_second_version_is_rejected_and_closes(self) -> None:
        for inbound in BOTH:
            for ready in BOTH:
                pair = self.fresh(inbound=inbound)
                pair.say(remote_version(), *([VerAck()] if ready else []))
                pair.hear()
                pair.say(remote_version(nonce=1))
                duplicate = Reject(b"version", RejectCode.DUPLICATE, b"duplicate version message")
                self.assertEqual(pair.hear(), [duplicate])
                self.assert_closed(pair, CloseCause.DUPLICATE_VERSION)

    def test_a_remote_that_never_says_verack_is_closed_after_30_s(self) -> None:
        """**better**: the reference never waits for it."""
        for inbound in BOTH:
            pair = self.fresh(inbound=inbound)
            pair.say(remote_version(), Ping(1))
            pair.advance(29.5, 0.5)
            self.assertIs(pair.peer.state, State.NEGOTIATED)
            pair.advance(0.5)
            self.assert_closed(pair, CloseCause.NEGOTIATION_TIMEOUT)

    def test_when_it_is_over_one_timer_runs_which_all_connections_of_a_clock_share(self) -> None:
        clock = Clock()
        pairs = [self.scripted(clock=clock) for _ in range(3)]
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        for pair in pairs:
            pair.peer.disconnect()
            pair.pump()
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_its_beginning_and_its_end_are_one_log_line_each_the_remotes_words_sanitised(self) -> None:
        lines = self.log_lines(LogLevel.info)
        pair = self.fresh(config(log_connections=True))
        pair.handshake(remote_version(user_agent=b"/<b>\x1b[31mevil:1.0.0/" + b"x" * 220))
        peer = "192.0.2.2:18555 (outbound)"
        shown = "/b[31mevil:1.0.0/" + "x" * 220
        self.assertEqual(lines, [f"{peer}: ready, protocol version 70013, {shown}"])
        pair.say(Reject(b"<tx>", 0x10, b"\x07 go <away>"))
        pair.link.server.loseConnection()
        pair.pump()
        ended = "closed by the remote: the remote closed the connection (tx) [reject 0x10:  go away]"
        self.assertEqual(lines[1:], [f"{peer}: {ended}"])

    def test_by_default_only_faults_are_logged(self) -> None:
        lines = self.log_lines(LogLevel.info)
        for end in (lambda pair: pair.peer.disconnect(), lambda pair: pair.link.server.loseConnection()):
            pair = self.scripted()
            end(pair)
            pair.pump()
            self.assertEqual(lines, [])
        pair = self.scripted()
        pair.say(b"rubbish" * 4)
        self.assertEqual(len(lines), 1)
        self.assertIn("192.0.2.2:18555 (outbound): closed by us: a malformed message came", lines[0])

    def test_a_reject_is_the_reason_of_the_remotes_close_only_if_it_was_its_last_word(self) -> None:
        for last, code in ((Ping(1), None), (Reject(b"tx", 0x41, b"dust"), 0x41)):
            pair = self.scripted()
            pair.say(Reject(b"inv", 0x10, b"first"), last)
            pair.link.server.loseConnection()
            pair.pump()
            reason = self.successResultOf(pair.peer.when_closed())
            self.assertEqual((reason.cause, reason.code), (CloseCause.REMOTE_CLOSED, code))

    def test_what_the_remote_says_of_itself_is_kept(self) -> None:
        """The negotiated version is the lower of both; advertised and negotiated are kept apart."""
        clock = Clock()
        clock.advance(1000)
        pair = self.fresh(config(protocol_version=70012), clock=clock)
        fields = {"services": 0x4D, "user_agent": b"/them:1.0.0/", "last_block": 50, "timestamp": 940, "relay": False}
        pair.handshake(remote_version(protocol_version=80000, **fields))
        stats = pair.peer.stats()
        self.assertEqual((stats.advertised_version, stats.negotiated_version), (80000, 70012))
        self.assertEqual((stats.services, stats.user_agent, stats.relay), (0x4D, b"/them:1.0.0/", False))
        self.assertEqual((stats.starting_height, stats.max_height, stats.time_offset), (50, 50, -60))
        self.assertTrue(stats.witness)

    def test_a_remote_with_the_witness_service_is_read_in_witness_encoding(self) -> None:
        for services, encoding in ((0, Encoding.BASE), (Services.WITNESS, Encoding.WITNESS)):
            pair = self.fresh()
            pair.handshake(remote_version(services=services))
            self.assertIs(pair.peer.stats().witness, encoding is Encoding.WITNESS)
            pair.remote.encoding = encoding
            answer = pair.peer.request(GetAddr(), Tx)
            pair.say(Tx(1, [TxIn(hash_of(1), 0, witness=(b"signed",))], [TxOut(1, b"")]))
            signed = self.successResultOf(answer).inputs[0].witness
            self.assertEqual(tuple(signed), (b"signed",) if encoding is Encoding.WITNESS else ())
