"""`request()`: the answer, or a typed failure (issue: "For getdata the answer is matched by hash, … by kind")."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from txsoter import CloseCause, Listeners, SoterPeerProtocol
from txsoter.core.state import State
from txsoter.errors import (
    FieldError,
    IllegalTransition,
    LocalError,
    RequestClosed,
    RequestFailed,
    RequestNotFound,
    RequestRejected,
    RequestTimedOut,
    SendQueueFull,
)
from txsoter.test.peer.cases import WholePeerTestCase, as_tx, blocks, config, framed, hash_of, tx, wrong
from txsoter.testing import ScriptedPair, remote_version
from txsoter.wire import (
    ZERO_HASH,
    Addr,
    Block,
    BlockHeader,
    Encoding,
    FeeFilter,
    GetAddr,
    GetBlocks,
    GetData,
    GetHeaders,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    MerkleBlock,
    Message,
    NetAddress,
    NotFound,
    Ping,
    Pong,
    Reject,
    SendHeaders,
    Tx,
    TxIn,
    Unknown,
    VerAck,
)


def wanted(*blocks_: Block, kind: int = InventoryType.BLOCK) -> GetData:
    """Asks for blocks."""
    return GetData([InventoryVector(kind, each.hash) for each in blocks_])


class AnswerTests(WholePeerTestCase):
    """Which message answers which question."""

    def test_getdata_is_answered_by_hash(self) -> None:
        one, two, other = blocks(3)
        pair = self.scripted()
        first = pair.peer.request(wanted(one), Block)
        second = pair.peer.request(wanted(two, kind=InventoryType.WITNESS_BLOCK), Block)
        self.assertEqual(pair.hear(), [wanted(one), wanted(two, kind=InventoryType.WITNESS_BLOCK)])
        pair.say(other)
        self.assertNoResult(first)
        pair.say(two)
        self.assertEqual((self.successResultOf(second), first.called), (two, False))
        pair.say(one)
        self.assertEqual(self.successResultOf(first), one)

    def test_transactions_by_either_id_and_merkleblocks_by_their_header(self) -> None:
        plain, spent = tx(1), Tx(1, [TxIn(hash_of(1), 0, witness=(b"proof",))])
        merkle = MerkleBlock(BlockHeader(nonce=5))
        pair = self.fresh()
        pair.handshake(remote_version(services=8))
        by_txid = pair.peer.request(GetData([InventoryVector(InventoryType.TX, plain.txid)]), Tx)
        by_wtxid = pair.peer.request(GetData([InventoryVector(InventoryType.WITNESS_TX, spent.wtxid)]), Tx)
        filtered = GetData([InventoryVector(InventoryType.FILTERED_BLOCK, merkle.hash)])
        by_header = pair.peer.request(filtered, MerkleBlock)
        pair.say(merkle, spent, tx(9), plain)
        self.assertEqual([self.successResultOf(each) for each in (by_txid, by_wtxid)], [plain, spent])
        self.assertEqual(self.successResultOf(by_header), merkle)

    def test_a_pong_is_known_by_its_nonce(self) -> None:
        pair = self.scripted()
        timers = len(pair.clock.getDelayedCalls())
        first, second = pair.peer.request(Ping(1), Pong), pair.peer.request(Ping(2), Pong)
        pair.say(Pong(3), Pong(2))
        self.assertEqual(self.successResultOf(second), Pong(2))
        self.assertNoResult(first)
        pair.say(Pong(1))
        self.assertEqual(self.successResultOf(first), Pong(1))
        self.assertEqual((pair.peer.stats().pending_requests, len(pair.clock.getDelayedCalls())), (0, timers))

    def test_a_nonce_counts_between_ping_and_pong_only(self) -> None:
        pair = self.scripted()
        inv, pong = pair.peer.request(Ping(1), Inv), pair.peer.request(GetAddr(), Pong)
        pair.say(Inv(), Pong(2))
        self.assertEqual((self.successResultOf(inv), self.successResultOf(pong)), (Inv(), Pong(2)))

    def test_others_by_kind_alone_first_come_first_served(self) -> None:
        answers: list[tuple[Message, type[Message], Message]] = [
            (GetHeaders(height=1), Headers, Headers([BlockHeader(nonce=1)])),
            (GetBlocks(height=1), Inv, Inv([as_tx(1)])),
            (GetAddr(), Addr, Addr([NetAddress(1, "192.0.2.1", 1)])),
        ]
        pair = self.scripted()
        for question, expected, answer in answers:
            first, second = (pair.peer.request(question, expected) for _ in range(2))
            pair.say(answer)
            self.assertEqual((self.successResultOf(first), second.called), (answer, False))
            pair.say(Unknown("between"), answer)
            self.assertEqual(self.successResultOf(second), answer)

    def test_nothing_asked_for_has_no_answer(self) -> None:
        with self.assertRaisesRegex(FieldError, "^GetData.vectors = "):
            self.scripted().peer.request(GetData(()), Block)

    def test_an_answer_cannot_come_before_its_question(self) -> None:
        """What the remote says before the handshake is over answers nothing."""
        pair = self.scripted(handshake=False)
        answer = pair.peer.request(GetBlocks(height=0), Inv)
        pair.say(Inv([as_tx(1)]))
        self.assertIs(self.error_of(answer, RequestClosed).reason.cause, CloseCause.VERSION_EXPECTED)

    def test_a_reject_of_something_else_is_no_answer(self) -> None:
        """A reject without a hash has a zero one, which is not what anybody asked for."""
        pair = self.scripted()
        zero = GetData([InventoryVector(InventoryType.BLOCK, ZERO_HASH)])
        answer = pair.peer.request(zero, Block)
        pair.say(Reject(b"mempool", 0x10, b"no"))
        self.assertNoResult(answer)
        pair.say(Reject(b"block", 0x10, b"no"))
        self.error_of(answer, RequestRejected)

    def test_matching_says_which_one_it_is(self) -> None:
        pair = self.scripted()
        large = pair.peer.request(GetBlocks(height=1), Inv, matching=lambda inv: len(inv.vectors) > 1)
        small = pair.peer.request(GetBlocks(height=2), Inv, matching=lambda inv: len(inv.vectors) == 1)
        pair.say(Inv([as_tx(1)]))
        self.assertEqual(self.successResultOf(small), Inv([as_tx(1)]))
        pair.say(Inv())
        self.assertNoResult(large)
        pair.say(Inv([as_tx(1), as_tx(2)]))
        self.assertEqual(self.successResultOf(large), Inv([as_tx(1), as_tx(2)]))

    def test_a_matching_that_raises_fails_its_own_request_only(self) -> None:
        pair = self.scripted()
        bad = pair.peer.request(GetBlocks(height=1), Inv, matching=lambda inv: 1 // 0)
        given_up = pair.peer.request(GetBlocks(height=2), Inv)
        good = pair.peer.request(GetBlocks(height=3), Inv)

        def give_up(failure: Failure) -> Failure:
            given_up.cancel()
            return failure

        told = bad.addErrback(give_up)
        pair.say(Inv())
        self.failureResultOf(told, ZeroDivisionError)
        self.failureResultOf(given_up, CancelledError)
        self.assertEqual(self.successResultOf(good), Inv())
        self.assertIs(pair.peer.state, State.READY)

    def test_a_matching_that_gives_its_own_request_up(self) -> None:
        pair = self.scripted()
        answers: list[Deferred[Inv]] = []

        def cancels(inv: Inv) -> bool:
            answers[0].cancel()
            return True

        def cancels_and_raises(inv: Inv) -> None:
            answers[1].cancel()
            raise ZeroDivisionError

        answers.append(pair.peer.request(GetBlocks(height=1), Inv, matching=cancels))
        answers.append(pair.peer.request(GetBlocks(height=2), Inv, matching=cancels_and_raises))
        answers.append(pair.peer.request(GetBlocks(height=3), Inv))
        pair.say(Inv())
        for each in answers[:2]:
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.successResultOf(answers[2]), Inv())
        self.assertIs(pair.peer.state, State.READY)

    def test_the_answer_still_reaches_the_listeners(self) -> None:
        heard: list[object] = []
        listeners = Listeners(on_pong=lambda peer, message: heard.append(message))
        pair = self.scripted(config(listeners=listeners))
        pair.peer.request(Ping(1), Pong).addCallback(lambda answer: heard.append("answered"))
        pair.say(Pong(1))
        self.assertEqual(heard, ["answered", Pong(1)])

    def test_a_request_may_be_made_before_the_handshake_is_over(self) -> None:
        pair = self.fresh()
        answer = pair.peer.request(Ping(1), Pong)
        pair.handshake()
        self.assertEqual(pair.hear()[-1], Ping(1))
        pair.say(Pong(1))
        self.assertEqual(self.successResultOf(answer), Pong(1))

    def test_the_questions_encoding_may_be_chosen(self) -> None:
        spent = Tx(1, [TxIn(hash_of(1), 0, witness=(b"proof",))])
        pair = self.scripted()
        answer = pair.peer.request(spent, Reject, encoding=Encoding.WITNESS)
        self.assertEqual(pair.hear(), [spent])
        pair.say(Reject(b"tx", 0x10, b"no", spent.txid))
        self.assertEqual(self.successResultOf(answer).reason, b"no")


class FailureTests(WholePeerTestCase):
    """The typed failures."""

    def test_timed_out(self) -> None:
        pair = self.scripted(config(request_timeout=7, stall_timeout=None))
        by_default, named = pair.peer.request(Ping(1), Pong), pair.peer.request(Ping(2), Pong, timeout=90)
        for_ever = pair.peer.request(Ping(3), Pong, timeout=None)
        pair.advance(6.5, 0.5)
        self.assertNoResult(by_default)
        pair.advance(0.5)
        error = self.error_of(by_default, RequestTimedOut)
        self.assertEqual((error.command, error.timeout), ("ping", 7))
        pair.advance(83)
        self.failureResultOf(named, RequestTimedOut)
        pair.say(Pong(3), Pong(1))
        self.successResultOf(for_ever)
        self.assertIs(pair.peer.state, State.READY)

    def test_not_found_when_the_remote_lacks_all_of_it(self) -> None:
        one, two, other = blocks(3)
        pair = self.scripted()
        answer = pair.peer.request(wanted(one, two), Block)
        bystander = pair.peer.request(wanted(other), Block)
        pair.say(NotFound(wanted(two).vectors), NotFound(wanted(two, two).vectors), NotFound())
        self.assertNoResult(answer)
        pair.say(NotFound(wanted(two, one).vectors))
        error = self.error_of(answer, RequestNotFound)
        self.assertEqual((error.command, error.vectors), ("getdata", list(wanted(two, one).vectors)))
        self.assertNoResult(bystander)
        pair.say(other)
        self.successResultOf(bystander)
        partial = pair.peer.request(wanted(one, two), Block)
        pair.say(NotFound(wanted(one).vectors), two)
        self.assertEqual(self.successResultOf(partial), two)

    def test_a_notfound_may_itself_be_what_is_asked_for(self) -> None:
        pair = self.scripted()
        answer = pair.peer.request(wanted(blocks(1)[0]), NotFound)
        pair.say(NotFound(wanted(blocks(1)[0]).vectors))
        self.assertEqual(len(self.successResultOf(answer).vectors), 1)

    def test_rejected_by_hash_or_by_command_with_code_and_reason(self) -> None:
        one, two = blocks(2)
        pair = self.scripted()
        first, second = pair.peer.request(wanted(one), Block), pair.peer.request(wanted(two), Block)
        headers = pair.peer.request(GetHeaders(height=1), Headers)
        pair.say(Reject(b"block", 0x10, b"not <this>", two.hash))
        error = self.error_of(second, RequestRejected)
        self.assertEqual((error.command, error.code, error.reason), ("getdata", 0x10, "not this"))
        pair.say(Reject(b"other", 0x10, b"what"))
        self.assertNoResult(first)
        pair.say(Reject(b"getheaders", 0x40, b"no headers"))
        error = self.error_of(headers, RequestRejected)
        self.assertEqual((error.command, error.code, error.reason), ("getheaders", 0x40, "no headers"))
        self.assertNoResult(first)
        pair.say(one)
        self.successResultOf(first)

    def test_closed_with_why(self) -> None:
        pair = self.scripted()
        answers: list[Deferred[Any]] = [pair.peer.request(Ping(1), Pong), pair.peer.request(GetAddr(), Addr)]
        pair.peer.disconnect("enough")
        answers.append(pair.peer.request(Ping(2), Pong))
        pair.pump()
        answers.append(pair.peer.request(Ping(3), Pong))
        for each in answers:
            error = self.error_of(each, RequestClosed)
            self.assertEqual((error.reason.cause, error.reason.detail), (CloseCause.DISCONNECT, "enough"))
            self.assertIsInstance(error, RequestFailed)

    def test_one_that_was_held_or_queued_is_told_so_once(self) -> None:
        pair = self.fresh()
        held = pair.peer.request(Ping(1), Pong)
        pair.peer.disconnect("enough")
        pair.pump()
        self.assertEqual(self.error_of(held, RequestClosed).reason.detail, "enough")
        pair = self.scripted()
        pair.transport.pause_producer()
        queued = pair.peer.request(Ping(1), Pong)
        pair.peer.disconnect("enough")
        self.assertEqual(self.error_of(queued, RequestClosed).command, "ping")

    def test_one_that_timed_out_before_it_was_sent_is_not_told_again(self) -> None:
        pair = self.scripted()
        pair.transport.pause_producer()
        late = pair.peer.request(Ping(1), Pong, timeout=5)
        others = [pair.peer.request(Ping(2), Pong), pair.peer.request(Ping(3), Pong)]
        pair.clock.advance(5)
        self.failureResultOf(late, RequestTimedOut)
        pair.peer.disconnect()
        for each in others:
            self.failureResultOf(each, RequestClosed)

    def test_cancelled(self) -> None:
        pair = self.scripted()
        answer, other = pair.peer.request(Ping(1), Pong), pair.peer.request(Ping(1), Pong)
        timers = len(pair.clock.getDelayedCalls())
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(pair.peer.stats().pending_requests, 1)
        pair.say(Pong(1))
        self.successResultOf(other)
        # one timer served both
        self.assertEqual(len(pair.clock.getDelayedCalls()), timers - 1)

    def test_before_it_is_connected_it_is_an_error_of_the_caller(self) -> None:
        peer = SoterPeerProtocol(config(clock=Clock()))
        with self.assertRaises(IllegalTransition):
            peer.request(Ping(1), Pong)

    def test_when_the_queue_is_full(self) -> None:
        pair = self.scripted(config(soft_queue_limit=30, hard_queue_limit=30))
        answer = pair.peer.request(Ping(1), Pong)
        self.failureResultOf(answer, SendQueueFull)
        self.assertEqual(pair.peer.stats().pending_requests, 0)

    def test_a_message_that_turns_out_not_to_exist(self) -> None:
        pair = self.fresh()
        answer = pair.peer.request(FeeFilter(1), Pong)
        pair.remote.pver = 70012
        pair.handshake(remote_version(protocol_version=70012))
        self.failureResultOf(answer, LocalError)
        with self.assertRaises(LocalError):
            pair.peer.request(FeeFilter(1), Pong)

    def test_wrong_values_are_refused_at_the_call_and_nothing_is_sent(self) -> None:
        pair = self.scripted()
        for field, arguments, named in (
            ("Ping.nonce", (Ping(-1), Pong), {}),
            ("message", ("ping", Pong), {}),
            ("expected_type", (Ping(1), "Pong"), {}),
            ("expected_type", (Ping(1), int), {}),
            ("timeout", (Ping(1), Pong), {"timeout": -1}),
            ("timeout", (Ping(1), Pong), {"timeout": "soon"}),
            ("timeout", (Ping(1), Pong), {"timeout": float("nan")}),
            ("timeout", (Ping(1), Pong), {"timeout": float("inf")}),
            ("matching", (Ping(1), Pong), {"matching": Pong(1)}),
        ):
            with self.assertRaises(FieldError) as caught:
                pair.peer.request(*wrong(arguments), **wrong(named))
            self.assertEqual(caught.exception.field, field)
        self.assertEqual((pair.hear(), pair.peer.stats().pending_requests), ([], 0))

    def test_two_of_one_kind_of_which_the_first_gives_up(self) -> None:
        """Then the answer is the second's, although it may be the first's that came late."""
        pair = self.scripted(config(stall_timeout=None))
        first = pair.peer.request(GetBlocks(height=1), Inv, timeout=5)
        second = pair.peer.request(GetBlocks(height=1), Inv)
        pair.advance(5)
        self.failureResultOf(first, RequestTimedOut)
        pair.say(Inv())
        self.successResultOf(second)

    def test_a_callback_may_ask_and_cancel_others(self) -> None:
        pair = self.scripted()
        answers: list[Deferred[Any]] = [pair.peer.request(GetBlocks(height=each), Inv) for each in range(3)]

        def ask_again(inv: Inv) -> Deferred[Pong]:
            answers[1].cancel()
            return pair.peer.request(Ping(9), Pong)

        answers[0].addCallback(ask_again)
        pair.say(Inv())
        self.failureResultOf(answers[1], CancelledError)
        pair.say(Pong(9), Inv())
        self.assertEqual([self.successResultOf(answers[each]) for each in (0, 2)], [Pong(9), Inv()])


class InsideListenerTests(WholePeerTestCase):
    """A request in a listener of the same peer: its answer arrives although the handler runs."""

    def asking(self, order: list[object], **fields: Any) -> ScriptedPair:
        async def on_inv(peer: SoterPeerProtocol, inv: Inv) -> None:
            order.append(inv)
            order.append(await peer.request(Ping(5), Pong))

        def note(peer: SoterPeerProtocol, message: Message) -> None:
            order.append((message.command, message))

        listeners = Listeners(on_inv=on_inv, on_ping=note, on_pong=note, on_sendheaders=note, on_closed=None)
        return self.scripted(config(listeners=listeners, **fields))

    turns = (Ping(1), SendHeaders(), Pong(5), Ping(2))

    def test_the_order_of_the_other_messages_is_kept(self) -> None:
        order: list[object] = []
        pair = self.asking(order)
        pair.say(Inv(), *self.turns)
        self.assertEqual(order, [Inv(), Pong(5), *((each.command, each) for each in self.turns)])
        self.assertEqual(pair.hear(), [Ping(5), Pong(1), Pong(2)])

    def test_so_it_is_when_they_come_one_by_one_and_in_pieces(self) -> None:
        order: list[object] = []
        pair = self.asking(order)
        for message in (Inv(), *self.turns):
            pair.remote.say(message)
            pair.pump(3)
        self.assertEqual(order, [Inv(), Pong(5), *((each.command, each) for each in self.turns)])

    def test_what_is_malformed_meanwhile_has_its_turn_too(self) -> None:
        order: list[object] = []
        pair = self.asking(order)
        pair.say(Inv(), Ping(1), framed(Ping(2))[:20] + bytes(12), Pong(5))
        self.assertEqual(order, [Inv()])
        self.assertIs(pair.peer.state, State.READY)
        pair.advance(30)
        self.assertEqual(order, [Inv(), ("ping", Ping(1))])
        self.assertEqual(len(self.flushLoggedErrors(RequestTimedOut)), 1)
        self.assert_closed(pair, CloseCause.MALFORMED, "ping")

    def test_if_the_connection_ends_the_handler_is_told(self) -> None:
        order: list[object] = []
        pair = self.asking(order)
        pair.say(Inv(), Ping(1))
        pair.peer.disconnect()
        pair.pump()
        self.assertEqual(order, [Inv()])
        # that is no failure of the handler's own
        self.assertEqual((self.flushLoggedErrors(RequestClosed), pair.peer.stats().handler_errors), ([], 0))

    def test_two_peers_may_ask_each_other_in_their_listeners(self) -> None:
        answers: list[Message] = []

        async def on_getaddr(peer: SoterPeerProtocol, message: GetAddr) -> None:
            answers.append(await peer.request(Ping(peer.id), Pong))

        both = config(listeners=Listeners(on_getaddr=on_getaddr))
        pair = self.connected_pair(both, both)
        pair.client.send(GetAddr())
        pair.server.send(GetAddr())
        pair.pump()
        # each waits in a handler for a pong that the other would have to send: only that handler's end frees it
        pair.advance(31)
        self.assertEqual(len(answers) + len(self.flushLoggedErrors(RequestTimedOut)), 2)
        self.assertEqual((pair.client.state, pair.server.state), (State.READY, State.READY))

    def test_a_request_in_on_version_is_answered_never_and_times_out(self) -> None:
        """It is held until our verack, which waits for the listener: nothing hangs for ever."""
        failed: list[str] = []

        async def on_version(peer: SoterPeerProtocol, version: object) -> None:
            try:
                await peer.request(Ping(1), Pong, timeout=3)
            except RequestTimedOut as error:
                failed.append(error.command)

        pair = self.fresh(config(listeners=Listeners(on_version=on_version)), inbound=True)
        pair.handshake()
        self.assertEqual(pair.hear(), [])
        pair.advance(3)
        self.assertEqual((failed, [type(each) for each in pair.hear()[1:]]), (["ping"], [VerAck, Ping]))
        self.assert_ready(pair)
