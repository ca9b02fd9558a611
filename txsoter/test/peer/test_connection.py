"""What a connection sends, and when."""

from __future__ import annotations

import warnings
from typing import Any

from twisted.internet.defer import Deferred

from txsoter.core.send_queue import BATCH, PIECE
from txsoter.core.state import State
from txsoter.errors import (
    CloseCause,
    ConnectionClosed,
    FieldError,
    LocalError,
    PayloadTooLarge,
    SendQueueFull,
    UnsupportedMessage,
)
from txsoter.networks import SIMNET
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.test.peer.support import KIB, PeerTestCase, filler, frame
from txsoter.testing import remote_version
from txsoter.wire import (
    ZERO_HASH,
    Addr,
    FeeFilter,
    GetBlocks,
    GetHeaders,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    Message,
    NetAddress,
    NotFound,
    Ping,
    Pong,
    Reject,
    SendHeaders,
    Services,
    Tx,
    TxIn,
    Unknown,
    VerAck,
    Version,
    write_message,
)


class HeldTests(PeerTestCase):
    """What listeners queued before this moment goes out after the `verack`, never before it."""

    def test_in_order_behind_our_verack(self) -> None:
        for inbound in (False, True):
            pair = self.scripted(handshake=False, inbound=inbound)
            waiting = [pair.peer.send(Ping(nonce)) for nonce in range(60)]
            pair.pump()
            self.assertLessEqual(len(pair.remote.heard), 1)
            for each in waiting:
                self.assertNoResult(each)
            pair.say(remote_version())
            expected = [Version, VerAck, *[Ping] * 60]
            heard = pair.hear()
            self.assertEqual([type(each) for each in heard], expected)
            self.assertEqual(heard[2:], [Ping(nonce) for nonce in range(60)])
            for each in waiting:
                self.successResultOf(each)

    def test_what_they_cause_to_be_sent_comes_behind_them(self) -> None:
        gate: Deferred[None] = Deferred()
        pair = self.scripted(handshake=False, on_version=lambda peer, version: gate)
        pair.peer.send(Ping(1)).addCallback(lambda _: pair.peer.send(Ping(3)))
        pair.peer.send(Ping(2))
        pair.say(remote_version())
        gate.callback(None)
        self.assertEqual(pair.hear()[2:], [Ping(1), Ping(2), Ping(3)])

    def test_one_of_them_may_end_it(self) -> None:
        """Nothing follows but what went out together with it."""
        gate: Deferred[None] = Deferred()
        pair = self.scripted(handshake=False, on_version=lambda peer, version: gate)
        pair.peer.send(Ping(1)).addCallback(lambda _: pair.peer.disconnect())
        second = pair.peer.send(Unknown("x", bytes(PIECE)))
        pair.say(remote_version())
        gate.callback(None)
        self.assert_fails_closed(second, CloseCause.DISCONNECT)
        self.assert_closed(pair, CloseCause.DISCONNECT)
        self.assertEqual(pair.remote.heard[2:], [Ping(1)])

    def test_encoded_at_the_negotiated_version(self) -> None:
        """At 60000 a ping is empty."""
        pair = self.scripted(handshake=False)
        sent = pair.peer.send(Ping(7))
        pair.pump()
        pair.remote.pver = 60000
        pair.say(remote_version(protocol_version=60000))
        self.successResultOf(sent)
        self.assertEqual(pair.remote.heard[-1], Ping(0))
        self.assertTrue(pair.remote.raw.endswith(frame(Unknown("ping"))))

    def test_what_does_not_exist_there_fails(self) -> None:
        pair = self.scripted(handshake=False)
        sent = [pair.peer.send(each) for each in (SendHeaders(), GetBlocks(), FeeFilter(5))]
        pair.pump()
        pair.remote.pver = 70011
        pair.say(remote_version(protocol_version=70011))
        for each, since in ((sent[0], 70012), (sent[2], 70013)):
            error = self.failureResultOf(each, UnsupportedMessage).value
            assert isinstance(error, UnsupportedMessage)
            self.assertEqual((error.pver, error.since), (70011, since))
        self.successResultOf(sent[1])
        self.assertEqual(pair.remote.commands, ["version", "verack", "getblocks"])

    def test_they_fail_when_the_handshake_does(self) -> None:
        pair = self.scripted(handshake=False)
        watched, ignored = pair.peer.send(Ping()), pair.peer.send(Ping())
        pair.advance(30)
        self.assert_fails_closed(watched, CloseCause.NEGOTIATION_TIMEOUT)
        self.assert_fails_closed(ignored, CloseCause.NEGOTIATION_TIMEOUT)

    def test_they_count_as_waiting(self) -> None:
        pair = self.scripted(handshake=False)
        for nonce in range(3):
            pair.peer.send(Ping(nonce))
        self.assertEqual((pair.peer.stats().queue_length, pair.peer.stats().queue_bytes), (3, 96))
        pair.handshake()
        self.assertEqual((pair.peer.stats().queue_length, pair.peer.stats().queue_bytes), (0, 0))

    def test_no_message_is_read_ahead_before_the_versions_are_known(self) -> None:
        """A request that waits does not let messages be read at a version that is not the negotiated one."""
        gate: Deferred[None] = Deferred()
        pair = self.scripted(handshake=False, on_version=lambda peer, version: gate)
        request = pair.peer.request(GetHeaders(), Headers)
        pair.pump()
        empty_ping = frame(Unknown("ping"))
        pair.say(remote_version(protocol_version=60000), VerAck(), empty_ping)
        gate.callback(None)
        self.assertIs(pair.peer.state, State.READY)
        self.assertEqual(pair.peer.stats().received["ping"].messages, 1)
        pair.say(Headers())
        self.assertEqual(self.successResultOf(request), Headers())


class SendTests(PeerTestCase):
    def test_after_the_end_it_fails_and_never_raises(self) -> None:
        pair = self.scripted()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pair.peer.disconnect("done")
            closing = pair.peer.send(Ping())
            pair.pump()
            closed = pair.peer.send(Ping())
        for each in (closing, closed):
            error = self.assert_fails_closed(each, CloseCause.DISCONNECT)
            self.assertEqual(error.reason.detail, "done")
        pair.peer.send(Ping())
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_encoding_errors_raise_at_the_call_and_nothing_is_written(self) -> None:
        errors: list[tuple[int, Message, LocalError]] = []
        pair = self.scripted(
            protocol_version=70011,
            on_write=lambda peer, size, message, error: errors.append((size, message, error)) if error else None,
        )
        vector = InventoryVector(InventoryType.TX, bytes(32))
        cases: tuple[tuple[Message, type[LocalError]], ...] = (
            (Ping(1 << 64), FieldError),
            (Inv([vector] * 45_001), LocalError),
            (SendHeaders(), UnsupportedMessage),
            (Unknown("filler", bytes(1024 * KIB + 1)), PayloadTooLarge),
        )
        for message, kind in cases:
            with self.assertRaises(kind):
                pair.peer.send(message)
        self.assertEqual([(size, message) for size, message, _ in errors], [(0, message) for message, _ in cases])
        self.assertEqual((pair.hear(), pair.peer.stats().queue_length), ([], 0))

    def test_messages_go_whole_and_in_order(self) -> None:
        pair = self.scripted()
        pair.transport.takes = False
        sizes = [24, 100_000, 65_536, 30, 1, 200_000]
        sent = [pair.peer.send(Unknown(f"n{number}", bytes(size))) for number, size in enumerate(sizes)]
        pair.transport.takes = True
        pair.pump(1000)
        heard = [each for each in pair.remote.heard if isinstance(each, Unknown)]
        self.assertEqual(
            [(each.command, len(each.payload)) for each in heard],
            [*zip(map("n{}".format, range(6)), sizes, strict=True)],
        )
        for each in sent:
            self.successResultOf(each)
        self.assertEqual(pair.peer.stats().sent["unknown"].bytes, sum(sizes) + 24 * 6)

    def test_what_one_read_causes_goes_out_in_few_writes(self) -> None:
        for count, writes in ((1, 1), (BATCH - 1, 1), (BATCH, 1), (BATCH + 1, 2), (3 * BATCH, 3)):
            pair = self.scripted()
            pair.transport.takes, before = False, pair.transport.writes
            pair.say(*(Ping(nonce) for nonce in range(count)))
            self.assertEqual(pair.transport.writes - before, writes)
            pair.transport.takes = True
            self.assertEqual(pair.hear(), [Pong(nonce) for nonce in range(count)])

    def test_the_deferred_waits_for_the_transport(self) -> None:
        """Handed to the transport and the transport is willing to take more."""
        pair = self.scripted()
        pair.transport.takes = False
        first, second = pair.peer.send(filler(128 * KIB)), pair.peer.send(Ping())
        self.assertNoResult(first)
        pair.transport.take(100 * KIB)
        self.assertNoResult(first)
        pair.transport.take()
        self.successResultOf(first)
        self.successResultOf(second)


class UnwatchedTests(PeerTestCase):
    """What nobody waits for, as the push helpers' messages, goes the same ways."""

    def setUp(self) -> None:
        super().setUp()
        self.addresses = [NetAddress(1, "192.0.2.7", 18555)]
        self.errors: list[tuple[int, Message, object]] = []

    def on_write(self, peer: object, size: int, message: Message, error: object) -> None:
        if error is not None:
            self.errors.append((size, message, error))

    def test_held_and_then_dropped(self) -> None:
        pair = self.scripted(handshake=False)
        pair.peer.push_addresses(self.addresses)
        self.assertEqual(pair.peer.stats().queue_length, 1)
        pair.peer.disconnect()
        self.assert_closed(pair, CloseCause.DISCONNECT)
        self.assertEqual(pair.peer.stats().queue_length, 0)
        self.assertEqual(pair.remote.commands, ["version"])

    def test_after_the_end(self) -> None:
        pair = self.scripted(on_write=self.on_write)
        pair.peer.disconnect()
        self.assertEqual(pair.peer.push_addresses(self.addresses), self.addresses)
        self.assert_closed(pair, CloseCause.DISCONNECT)
        self.assertEqual((pair.remote.heard, self.errors), ([], []))

    def test_past_the_hard_limit_on_write_is_told(self) -> None:
        pair = self.scripted(soft_queue_limit=50, hard_queue_limit=50, on_write=self.on_write)
        pair.peer.push_addresses(self.addresses)
        [(size, message, error)] = self.errors
        self.assertEqual((size, message), (0, Addr(self.addresses)))
        self.assertIsInstance(error, SendQueueFull)
        self.assertEqual(pair.hear(), [])


class EncodingTests(PeerTestCase):
    """Witness for reading when the remote advertised WITNESS in its `version`, else base."""

    def test_what_the_remote_advertised_decides(self) -> None:
        base = Tx(inputs=(TxIn(ZERO_HASH, 0),))
        transaction = Tx(inputs=(TxIn(ZERO_HASH, 0, witness=(b"w",)),))
        for services, witness in ((Services.WITNESS, True), (0, False)):
            seen: list[Tx] = []
            pair = self.scripted(handshake=False, on_tx=lambda peer, tx, seen=seen: seen.append(tx))
            pair.handshake(remote_version(services=services))
            if witness:
                pair.say(transaction)
                self.assertEqual(seen, [transaction])
            else:
                pair.say(write_message(base, SIMNET.magic))
                self.assertEqual(seen, [base])
                pair.say(transaction)
                self.assertNotIn(transaction, seen)
            self.assertEqual(pair.peer.stats().witness, witness)


class TrickleTests(PeerTestCase):
    def test_what_is_queued_while_the_last_goes_out_goes_with_the_next(self) -> None:
        """It is not forgotten because the timer stops."""
        first, second = (InventoryVector(InventoryType.TX, bytes([number]) * 32) for number in (1, 2))

        def on_write(peer: SoterPeerProtocol, size: int, message: Message, error: object) -> None:
            if isinstance(message, Inv):
                peer.queue_inventory(second)

        pair = self.scripted(on_write=on_write)
        pair.peer.queue_inventory(first)
        pair.advance(10)
        self.assertEqual(pair.hear(), [Inv([first])])
        pair.advance(10)
        self.assertEqual(pair.hear(), [Inv([second])])


class QuietTests(PeerTestCase):
    def test_all_timers_can_be_switched_off(self) -> None:
        off: dict[str, Any] = dict.fromkeys(
            (
                "trickle_interval",
                "ping_interval",
                "idle_timeout",
                "negotiate_timeout",
                "stall_interval",
                "stall_timeout",
                "request_timeout",
                "write_timeout",
                "close_timeout",
                "read_on_after",
            )
        )
        pair = self.scripted(handshake=False, **off)
        self.assertEqual(pair.clock.getDelayedCalls(), [])
        pair.handshake()
        pair.transport.takes = False
        pair.peer.send(GetBlocks())
        for _ in range(15):
            pair.peer.send(filler(100 * KIB))
        request = pair.peer.request(GetHeaders(), Headers)
        pair.peer.queue_inventory(InventoryVector(InventoryType.TX, bytes(32)))
        self.assertEqual((pair.clock.getDelayedCalls(), pair.peer.state), ([], State.READY))
        pair.peer.disconnect()
        self.assertEqual(pair.clock.getDelayedCalls(), [])
        pair.link.reset()
        self.failureResultOf(request, ConnectionClosed)

    def test_a_reject_or_notfound_out_of_the_blue_does_no_harm(self) -> None:
        pair = self.scripted()
        pair.say(Reject(b"tx", 0x42, b"no"), NotFound())
        self.assertIs(pair.peer.state, State.READY)
