"""What an application can do with a peer."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel

from txsoter import CloseCause, ConnectionClosed, HandshakeFailed, SoterPeerProtocol
from txsoter.errors import FieldError, LocalError, PayloadTooLarge, SendQueueFull, UnsupportedMessage
from txsoter.test.peer.cases import (
    AFTER_HANDSHAKE,
    WholePeerTestCase,
    as_tx,
    config,
    framed,
    hash_of,
    wrong,
)
from txsoter.testing import CLIENT, SERVER, MemoryLink, ScriptedPair, ScriptedPeer, remote_version
from txsoter.wire import (
    ZERO_HASH,
    Addr,
    AddrCache,
    Encoding,
    FeeFilter,
    FilterAdd,
    FilterClear,
    FilterLoad,
    GetAddr,
    GetBlocks,
    GetHeaders,
    Inv,
    MemPool,
    MerkleBlock,
    Message,
    NetAddress,
    Ping,
    Pong,
    Reject,
    SendHeaders,
    Tx,
    TxIn,
    Unknown,
    VerAck,
)


def addresses(count: int, start: int = 0) -> list[NetAddress]:
    """Addresses of which no two are equal."""
    return [NetAddress(1, "192.0.2.1", number % 65536, number) for number in range(start, start + count)]


class SendTests(WholePeerTestCase):
    """`send(message, encoding=BASE)`"""

    def test_every_message_arrives_as_it_was_in_the_order_of_sending(self) -> None:
        pair = self.scripted()
        sent = [pair.peer.send(message) for message in AFTER_HANDSHAKE]
        self.assertEqual(pair.hear(), list(AFTER_HANDSHAKE))
        self.assertEqual([self.successResultOf(each) for each in sent], [None] * 29)

    def test_the_caller_chooses_the_encoding_and_base_is_the_default(self) -> None:
        spent = Tx(1, [TxIn(hash_of(1), 0, witness=(b"proof",))])
        pair = self.scripted()
        pair.peer.send(spent)
        pair.peer.send(spent, Encoding.WITNESS)
        base, witness = pair.hear()
        self.assertEqual((base == spent, witness == spent), (False, True))
        self.assertNotIn(b"proof", framed(base))

    def test_encoding_errors_surface_at_the_call_and_nothing_is_written(self) -> None:
        wrongs: list[tuple[Message, type[LocalError]]] = [
            (Ping(-1), FieldError),
            (Inv([as_tx(1)] * 45_001), FieldError),
            (Unknown("a", bytes(1_048_577)), PayloadTooLarge),
            (Unknown("thirteen char"), FieldError),
        ]
        for pair in (self.scripted(), self.fresh()):
            before = len(pair.hear())
            for message, error in wrongs:
                with self.assertRaises(error):
                    pair.peer.send(message)
            pair.peer.send(GetAddr())
            if before:
                pair.handshake()
            self.assertEqual(pair.hear()[-1:], [GetAddr()])
            self.assertEqual(pair.peer.stats().messages_sent, 3)

    def test_what_is_no_message_is_refused_at_the_call(self) -> None:
        pair = self.scripted()
        for nonsense in (None, b"ping", "ping", Ping):
            with self.assertRaises(FieldError) as caught:
                pair.peer.send(wrong(nonsense))
            self.assertEqual(caught.exception.field, "message")
        self.assertEqual(pair.hear(), [])

    def test_past_the_hard_limit_it_fails_with_send_queue_full(self) -> None:
        pair = self.scripted(config(soft_queue_limit=100, hard_queue_limit=1000))
        pair.transport.takes = False
        pair.transport.pause_producer()
        taken = pair.peer.send(Unknown("a", bytes(976)))
        error = self.error_of(pair.peer.send(GetAddr()), SendQueueFull)
        self.assertEqual((error.queued, error.size, error.limit), (1000, 24, 1000))
        self.assertNoResult(taken)
        pair.transport.resume_producer()
        self.successResultOf(taken)

    def test_so_it_does_before_the_handshake_is_over(self) -> None:
        pair = self.fresh(config(soft_queue_limit=100, hard_queue_limit=1000))
        held = pair.peer.send(Unknown("a", bytes(976)))
        self.failureResultOf(pair.peer.send(GetAddr()), SendQueueFull)
        pair.handshake()
        self.successResultOf(held)
        self.successResultOf(pair.peer.send(GetAddr()))

    def test_it_always_fires(self) -> None:
        """Held before the handshake, queued, or after the end: with the close reason."""
        pair = self.fresh()
        held = pair.peer.send(GetAddr())
        pair.peer.disconnect("enough")
        pair.pump()
        self.assertEqual(self.error_of(held, HandshakeFailed).reason.detail, "enough")
        pair = self.scripted()
        pair.transport.pause_producer()
        queued = pair.peer.send(GetAddr())
        pair.peer.disconnect("enough")
        self.assertEqual(self.error_of(queued, ConnectionClosed).reason.detail, "enough")
        self.failureResultOf(pair.peer.send(GetAddr()), ConnectionClosed)
        pair.pump()
        self.failureResultOf(pair.peer.send(GetAddr()), ConnectionClosed)

    def test_it_always_fires_without_a_connection_ever_having_been_made(self) -> None:
        peer = SoterPeerProtocol(config(clock=Clock()))
        held = peer.send(GetAddr())
        self.assertNoResult(held)
        peer.disconnect("never mind")
        self.assertEqual(self.error_of(held, HandshakeFailed).reason.detail, "never mind")

    def test_before_it_is_connected_it_waits(self) -> None:
        clock = Clock()
        peer, remote = SoterPeerProtocol(config(clock=clock)), ScriptedPeer()
        sent = peer.send(Ping(1))
        pair = ScriptedPair(peer, remote, MemoryLink(peer, remote, CLIENT, SERVER), clock)
        pair.handshake()
        self.assertEqual(remote.commands, ["version", "verack", "ping"])
        self.successResultOf(sent)
        peer.disconnect()
        pair.pump()
        self.assertEqual(clock.getDelayedCalls(), [])


class VersionTests(WholePeerTestCase):
    """ "A message that does not exist at the negotiated version is malformed, both to encode and to decode"."""

    younger: tuple[tuple[int, Message], ...] = (
        (60001, Pong(1)),
        (60002, MemPool()),
        (70001, FilterAdd(b"x")),
        (70001, FilterClear()),
        (70001, FilterLoad()),
        (70001, MerkleBlock()),
        (70002, Reject(b"x")),
        (70012, SendHeaders()),
        (70013, FeeFilter(1)),
    )

    def ready(self, pver: int, **fields: Any) -> ScriptedPair:
        pair = self.fresh(config(**fields))
        pair.remote.pver = pver
        pair.handshake(remote_version(protocol_version=pver))
        self.assert_ready(pair)
        pair.hear()
        return pair

    def test_messages_that_do_not_exist_are_refused_at_the_call(self) -> None:
        for pver in (209, 60000, 60001, 70001, 70002, 70012, 70013):
            pair = self.ready(pver)
            for since, message in self.younger:
                if since > pver:
                    with self.assertRaises(UnsupportedMessage) as caught:
                        pair.peer.send(message)
                    error = caught.exception
                    self.assertEqual((error.command, error.pver, error.since), (message.command, pver, since))
                    self.assertEqual(pair.hear(), [])
                else:
                    self.successResultOf(pair.peer.send(message))
                    self.assertEqual(pair.hear(), [message])

    def test_and_malformed_when_they_come(self) -> None:
        for pver in (209, 60000, 60001, 70001, 70002, 70012):
            for since, message in self.younger:
                if since > pver:
                    pair = self.ready(pver)
                    pair.say(framed(message))
                    heard = pair.hear()
                    self.assertEqual([type(each) for each in heard], [Reject] if pver >= 70002 else [])
                    self.assert_closed(pair, CloseCause.MALFORMED, message.command)

    def test_those_that_were_held_fail_by_their_deferred_when_the_remote_turns_out_too_old(self) -> None:
        pair = self.fresh()
        early = pair.peer.send(SendHeaders())
        behind = pair.peer.send(Ping(1))
        pair.peer.push_addresses(addresses(1))
        pair.remote.pver = 60001
        pair.handshake(remote_version(protocol_version=60001))
        self.failureResultOf(early, UnsupportedMessage)
        self.successResultOf(behind)
        self.assertEqual(pair.hear()[1:], [VerAck(), Ping(1), Addr(addresses(1))])

    def test_our_own_maximum_counts_too(self) -> None:
        pair = self.fresh(config(protocol_version=60001))
        pair.remote.pver = 60001
        pair.handshake(remote_version(protocol_version=70013))
        self.assert_ready(pair)
        with self.assertRaises(UnsupportedMessage):
            pair.peer.send(MemPool())
        self.assertEqual(pair.peer.stats().negotiated_version, 60001)


class PushTests(WholePeerTestCase):
    """The push verbs."""

    def test_no_addresses_are_not_sent_and_up_to_1000_as_they_are(self) -> None:
        pair = self.scripted()
        self.assertEqual(list(pair.peer.push_addresses([])), [])
        self.assertEqual(pair.hear(), [])
        for count in (1, 1000):
            self.assertEqual(pair.peer.push_addresses(addresses(count)), addresses(count))
            self.assertEqual(pair.hear(), [Addr(addresses(count))])

    def test_of_more_than_1000_a_random_1000_are_sent_each_at_most_once_and_returned(self) -> None:
        pair = self.scripted(config(random=Random(5)))
        sent = pair.peer.push_addresses(addresses(1500))
        [heard] = pair.hear()
        assert isinstance(heard, Addr)
        self.assertEqual(list(heard.addresses), list(sent))
        self.assertEqual((len(sent), len(set(sent)), set(sent) <= set(addresses(1500))), (1000, 1000, True))
        self.assertNotEqual(set(sent), set(pair.peer.push_addresses(addresses(1500))))

    def test_the_address_cache_goes_outbound_first_then_inbound_then_known(self) -> None:
        inbound, outbound, known = addresses(900), addresses(700, 10_000), addresses(500, 20_000)
        pair = self.scripted()
        sent = pair.peer.push_address_cache(inbound, outbound, known)
        expected = [
            AddrCache(inbound[:300], outbound, []),
            AddrCache(inbound[300:], [], known[:400]),
            AddrCache([], [], known[400:]),
        ]
        self.assertEqual((pair.hear(), list(sent)), (expected, expected))
        self.assertEqual(list(pair.peer.push_address_cache([], iter(()), [])), [])
        self.assertEqual(pair.hear(), [])

    def test_a_repeated_getblocks_is_dropped_unless_its_stop_is_zero(self) -> None:
        pair = self.scripted()
        calls = [(3, hash_of(1)), (3, hash_of(1)), (3, hash_of(2)), (3, hash_of(1)), (4, ZERO_HASH), (4, ZERO_HASH)]
        sent = [pair.peer.push_get_blocks(*call) for call in calls]
        without_height = [pair.peer.push_get_blocks(stop=hash_of(9)) for _ in range(2)]
        for each in (*sent, *without_height):
            self.successResultOf(each)
        expected = [GetBlocks(height, stop) for height, stop in (*calls[:1], *calls[2:])]
        self.assertEqual(pair.hear(), [*expected, *[GetBlocks(None, hash_of(9))] * 2])

    def test_a_repeated_getheaders_is_dropped(self) -> None:
        pair = self.scripted(config(protocol_version=70012))
        calls = [(3, ZERO_HASH), (3, ZERO_HASH), (3, hash_of(2)), (3, hash_of(2)), (3, ZERO_HASH)]
        for call in calls:
            self.successResultOf(pair.peer.push_get_headers(*call))
        for _ in range(2):
            self.successResultOf(pair.peer.push_get_headers())
        expected = [GetHeaders(3, stop, protocol_version=70012) for stop in (ZERO_HASH, hash_of(2), ZERO_HASH)]
        self.assertEqual(pair.hear(), [*expected, *[GetHeaders(protocol_version=70012)] * 2])

    def test_a_call_that_could_not_be_sent_does_not_make_the_next_a_repeat(self) -> None:
        pair = self.scripted()
        for push in (pair.peer.push_get_blocks, pair.peer.push_get_headers):
            for _ in range(2):
                with self.assertRaises(FieldError):
                    push(1 << 40, hash_of(1))
        self.assertEqual(pair.hear(), [])

    def test_a_reject_is_nothing_below_70002(self) -> None:
        for pver, count in ((70001, 0), (70002, 1)):
            pair = self.fresh()
            pair.remote.pver = pver
            pair.handshake(remote_version(protocol_version=pver))
            pair.hear()
            self.successResultOf(pair.peer.push_reject("inv", 0x10, "no", hash_of(1)))
            self.assertEqual(pair.hear(), [Reject(b"inv", 0x10, b"no")] * count)

    def test_its_hash_goes_only_with_tx_and_block_and_is_warned_about_when_missing(self) -> None:
        pair = self.scripted()
        warned = self.log_lines(LogLevel.warn)
        for command in ("tx", "block"):
            pair.peer.push_reject(command, 0x12, "twice", hash_of(1))
            self.assertEqual((pair.hear(), warned), ([Reject(command.encode(), 0x12, b"twice", hash_of(1))], []))
            pair.peer.push_reject(command, 0x12, "twice")
            self.assertEqual(pair.hear(), [Reject(command.encode(), 0x12, b"twice", ZERO_HASH)])
            self.assertIn(command, warned.pop())
        pair.peer.push_reject("headers", 0x12, "twice")
        self.assertEqual((len(pair.hear()), warned), (1, []))
