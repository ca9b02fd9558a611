"""Requests: which message answers which, and every other way in which one ends."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from txsoter.core.requests import check_request
from txsoter.core.state import State
from txsoter.errors import (
    CloseCause,
    FieldError,
    RequestClosed,
    RequestNotFound,
    RequestRejected,
)
from txsoter.test.core.ends import (
    ConnectionTestCase,
    End,
    frame,
    remote_version,
    tx_vector,
)
from txsoter.wire import (
    ZERO_HASH,
    Addr,
    Block,
    BlockHeader,
    FeeFilter,
    GetAddr,
    GetBlocks,
    GetData,
    GetHeaders,
    Hash,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    MemPool,
    MerkleBlock,
    Message,
    NotFound,
    Ping,
    Pong,
    Reject,
    Tx,
    TxIn,
    TxOut,
    Unknown,
    VerAck,
)


def block(number: int) -> Block:
    """Return a block like no other number's."""
    return Block(header=BlockHeader(nonce=number))


def tx(number: int, witness: bytes | None = None) -> Tx:
    """Return a transaction like no other number's."""
    proof = () if witness is None else (witness,)
    return Tx(1, [TxIn(Hash(number.to_bytes(32, "big")), 0, b"\x51", witness=proof)], [TxOut(50, b"\x52")])


def wanted(*things: Block | Tx | MerkleBlock, kind: int = InventoryType.BLOCK) -> GetData:
    """Return the question for them."""
    return GetData([InventoryVector(kind, each.txid if isinstance(each, Tx) else each.hash) for each in things])


class ArgumentTests(TestCase):
    def test_what_cannot_be_names_its_field(self) -> None:
        wrong: tuple[tuple[str, Message, Any, Any, Any], ...] = (
            ("expected_type", Ping(), "pong", None, None),
            ("expected_type", Ping(), object, None, None),
            ("timeout", Ping(), Pong, 0, None),
            ("timeout", Ping(), Pong, -1.0, None),
            ("timeout", Ping(), Pong, float("inf"), None),
            ("timeout", Ping(), Pong, float("nan"), None),
            ("timeout", Ping(), Pong, "30", None),
            ("matching", Ping(), Pong, None, 7),
            ("GetData.vectors", GetData(()), Block, None, None),
        )
        for field, *arguments in wrong:
            with self.assertRaises(FieldError) as caught:
                check_request(*arguments)
            self.assertEqual(caught.exception.field, field)

    def test_what_can_be(self) -> None:
        check_request(Ping(), Message, 0.001, lambda message: True)
        check_request(GetData(()), Block, None, lambda message: True)


class RequestTestCase(ConnectionTestCase):
    def assert_waits(self, end: End, *tokens: str) -> None:
        """These requests are the ones that wait."""
        self.assertEqual([token for token, told in end.outcomes.items() if not told], list(tokens))
        self.assertEqual(len(end.channel.requests), len(tokens))

    def assert_answered(self, end: End, token: str, answer: Message) -> None:
        self.assertEqual(end.outcomes[token], [answer])

    def error(self, end: End, token: str, kind: type[Exception]) -> Any:
        """Return the error with which the request has ended."""
        [error] = end.outcomes[token]
        self.assertIsInstance(error, kind)
        return error


class AnswerTests(RequestTestCase):
    def test_the_question_is_sent(self) -> None:
        end = self.ready()
        end.request(GetBlocks(height=1), Inv)
        self.assertEqual([each.command for each in end.said()], ["getblocks"])

    def test_blocks_are_known_by_their_hash(self) -> None:
        end = self.ready()
        one, two = end.request(wanted(block(1)), Block), end.request(wanted(block(2)), Block)
        end.feed(block(3))
        self.assert_waits(end, one, two)
        end.feed(block(2))
        self.assert_answered(end, two, block(2))
        end.feed(block(1))
        self.assert_answered(end, one, block(1))

    def test_transactions_by_either_id_and_merkleblocks_by_their_header(self) -> None:
        plain, spent, merkle = tx(1), tx(2, witness=b"proof"), MerkleBlock(BlockHeader(nonce=5))
        end = self.ready(version=remote_version(services=8))
        by_txid = end.request(wanted(plain, kind=InventoryType.TX), Tx)
        by_wtxid = end.request(GetData([InventoryVector(InventoryType.WITNESS_TX, spent.wtxid)]), Tx)
        by_header = end.request(wanted(merkle, kind=InventoryType.FILTERED_BLOCK), MerkleBlock)
        end.feed(frame(spent, encoding=end.channel.handshake.encoding), tx(9), merkle, plain)
        self.assert_answered(end, by_txid, plain)
        self.assert_answered(end, by_wtxid, spent)
        self.assert_answered(end, by_header, merkle)

    def test_a_pong_by_its_nonce(self) -> None:
        end = self.ready()
        first, second = end.request(Ping(1), Pong), end.request(Ping(2), Pong)
        end.feed(Pong(3), Pong(2))
        self.assert_answered(end, second, Pong(2))
        self.assert_waits(end, first)
        end.feed(Pong(1))
        self.assert_answered(end, first, Pong(1))

    def test_a_nonce_counts_between_ping_and_pong_only(self) -> None:
        end = self.ready()
        inv, pong = end.request(Ping(1), Inv), end.request(GetAddr(), Pong)
        end.feed(Inv(), Pong(2))
        self.assert_answered(end, inv, Inv())
        self.assert_answered(end, pong, Pong(2))

    def test_any_other_by_its_class_in_order_of_asking(self) -> None:
        for question, expected, answer in (
            (GetHeaders(height=1), Headers, Headers()),
            (GetBlocks(height=1), Inv, Inv([tx_vector(1)])),
            (GetAddr(), Addr, Addr()),
        ):
            end = self.ready()
            first, second = end.request(question, expected), end.request(question, expected)
            end.feed(answer)
            self.assert_answered(end, first, answer)
            self.assert_waits(end, second)
            end.feed(Unknown("between"), answer)
            self.assert_answered(end, second, answer)

    def test_in_order_of_asking_also_where_one_would_take_any_message(self) -> None:
        end = self.ready()
        anything, inv = end.request(GetBlocks(height=1), Message), end.request(GetBlocks(height=2), Inv)
        end.feed(Inv())
        self.assert_answered(end, anything, Inv())
        self.assert_waits(end, inv)

    def test_who_asked_is_told_before_the_message_has_its_turn(self) -> None:
        end = self.ready()
        turns: list[int] = []
        end.on_event = lambda event: turns.append(len(end.turns))
        end.request(Ping(1), Pong)
        end.feed(Pong(1))
        self.assertEqual((turns, end.turns), ([0], [Pong(1)]))

    def test_the_answer_has_its_turn_although_who_asked_sends_and_asks_again(self) -> None:
        end = self.ready()
        end.on_event = lambda event: end.connection.send(FeeFilter(1)) if not end.turns else None
        end.request(GetBlocks(height=1), Inv)
        end.feed(Inv(), Pong(5))
        self.assertEqual(end.turns, [Inv(), Pong(5)])

    def test_an_answer_cannot_come_before_its_question(self) -> None:
        """A message that comes before the handshake lets the question go answers nothing."""
        end = self.end().made()
        asked = end.request(GetBlocks(height=0), Inv)
        end.feed(Inv([tx_vector(1)]))
        self.assertIs(self.error(end, asked, RequestClosed).reason.cause, CloseCause.VERSION_EXPECTED)

    def test_it_may_be_made_before_the_handshake_is_over(self) -> None:
        end = self.end().made()
        asked = end.request(GetBlocks(height=0), Inv)
        self.assertEqual([each.command for each in end.said()], ["version"])
        end.feed(remote_version(), VerAck())
        self.assertEqual([each.command for each in end.said()], ["verack", "getblocks"])
        end.feed(Inv())
        self.assert_answered(end, asked, Inv())


class RefusalTests(RequestTestCase):
    def test_not_found_once_all_that_was_asked_for_is_lacking(self) -> None:
        end = self.ready()
        question = wanted(block(1), block(2))
        asked = end.request(question, Block)
        end.feed(NotFound(question.vectors[:1]), NotFound([tx_vector(1)]))
        self.assert_waits(end, asked)
        end.feed(NotFound([tx_vector(1), *question.vectors]))
        self.assertEqual(self.error(end, asked, RequestNotFound).vectors, list(question.vectors))

    def test_rejected_with_the_remotes_reason_sanitised(self) -> None:
        end = self.ready()
        asked = end.request(MemPool(), Inv)
        end.feed(Reject(b"getdata", 0x10, b"no"))
        self.assert_waits(end, asked)
        end.feed(Reject(b"mempool", 0x10, b"no\n<b>"))
        error = self.error(end, asked, RequestRejected)
        self.assertEqual((error.command, error.code, error.reason), ("mempool", 0x10, "nob"))

    def test_rejected_by_the_hash_of_what_was_asked_for(self) -> None:
        end = self.ready()
        asked = end.request(wanted(block(1)), Block)
        end.feed(Reject(b"block", 0x10, b"no", block(2).hash))
        self.assert_waits(end, asked)
        end.feed(Reject(b"block", 0x10, b"no", block(1).hash))
        self.error(end, asked, RequestRejected)

    def test_a_reject_without_a_hash_is_not_about_the_zero_hash(self) -> None:
        end = self.ready()
        asked = end.request(GetData([InventoryVector(InventoryType.BLOCK, ZERO_HASH)]), Block)
        end.feed(Reject(b"mempool", 0x10, b"no"))
        self.assert_waits(end, asked)
        end.feed(Reject(b"block", 0x10, b"no"))
        self.error(end, asked, RequestRejected)

    def test_one_refusal_ends_the_first_in_order_of_asking(self) -> None:
        end = self.ready()
        first, second = end.request(MemPool(), Inv), end.request(MemPool(), Inv)
        end.feed(Reject(b"mempool", 0x10, b"no"))
        self.error(end, first, RequestRejected)
        self.assert_waits(end, second)

    def test_in_order_of_asking_whatever_the_classes_of_their_answers(self) -> None:
        end = self.ready()
        other = end.request(GetBlocks(height=1), Inv)
        first, second = end.request(MemPool(), Tx), end.request(MemPool(), Inv)
        end.feed(Reject(b"mempool", 0x10, b"no"))
        self.error(end, first, RequestRejected)
        self.assert_waits(end, other, second)

    def test_a_reject_that_is_asked_for_is_an_answer(self) -> None:
        end = self.ready()
        asked = end.request(MemPool(), Reject)
        reject = Reject(b"mempool", 0x10, b"no")
        end.feed(reject)
        self.assert_answered(end, asked, reject)


class MatchingTests(RequestTestCase):
    def test_it_says_which_one_it_is(self) -> None:
        end = self.ready()
        large = end.request(GetBlocks(height=1), Inv, matching=lambda inv: len(inv.vectors) > 1)
        small = end.request(GetBlocks(height=2), Inv, matching=lambda inv: len(inv.vectors) == 1)
        end.feed(Inv([tx_vector(1)]))
        self.assert_answered(end, small, Inv([tx_vector(1)]))
        end.feed(Inv())
        self.assert_waits(end, large)
        end.feed(Inv([tx_vector(1), tx_vector(2)]))
        self.assert_answered(end, large, Inv([tx_vector(1), tx_vector(2)]))

    def test_it_is_asked_about_messages_of_its_class_only_and_instead_of_hashes(self) -> None:
        end = self.ready()
        seen: list[Message] = []
        asked = end.request(wanted(block(1)), Block, matching=lambda message: seen.append(message) or True)  # type: ignore[func-returns-value]
        end.feed(Inv(), tx(1), block(2))
        self.assertEqual(seen, [block(2)])
        self.assert_answered(end, asked, block(2))

    def test_one_that_raises_fails_its_own_request_only(self) -> None:
        end = self.ready()
        bad = end.request(GetBlocks(height=1), Inv, matching=lambda inv: 1 // 0)
        good = end.request(GetBlocks(height=2), Inv)
        end.feed(Inv())
        self.error(end, bad, ZeroDivisionError)
        self.assert_answered(end, good, Inv())
        self.assertIs(end.state, State.READY)

    def test_whoever_is_told_of_one_that_raised_may_give_another_up(self) -> None:
        end = self.ready()
        end.on_event = lambda event: end.give_up(other) if not end.outcomes[other] else None
        bad = end.request(GetBlocks(height=1), Inv, matching=lambda inv: 1 // 0)
        other, good = end.request(GetBlocks(height=2), Inv), end.request(GetBlocks(height=3), Inv)
        end.feed(Inv())
        self.error(end, bad, ZeroDivisionError)
        self.assertEqual(end.outcomes[other], ["given up"])
        self.assert_answered(end, good, Inv())

    def test_whoever_is_told_of_one_that_raised_may_ask_again_which_that_message_does_not_answer(self) -> None:
        """It came before the question."""
        end = self.ready()
        again: list[str] = []

        def ask_again(event: object) -> None:
            if not again:
                again.append("")
                again[0] = end.request(GetBlocks(height=2), Inv)

        end.on_event = ask_again
        bad = end.request(GetBlocks(height=1), Inv, matching=lambda inv: 1 // 0)
        end.feed(Inv())
        self.error(end, bad, ZeroDivisionError)
        self.assert_waits(end, again[0])

    def test_nor_is_one_that_is_made_meanwhile_refused_by_it(self) -> None:
        end = self.ready()
        again: list[str] = []

        def ask_again(event: object) -> None:
            if not again:
                again.append("")
                again[0] = end.request(MemPool(), Inv)

        end.on_event = ask_again
        bad = end.request(GetBlocks(height=1), Reject, matching=lambda reject: 1 // 0)
        end.feed(Reject(b"mempool", 0x10, b"no"))
        self.error(end, bad, ZeroDivisionError)
        self.assert_waits(end, again[0])

    def test_one_that_gives_its_own_request_up(self) -> None:
        for after in (lambda: True, lambda: 1 // 0):
            end = self.ready()

            asked: list[str] = []

            def matching(inv: Inv, end: End = end, after: Any = after, asked: list[str] = asked) -> object:
                end.connection.give_up(asked[0])
                end.outcomes[asked[0]].append("given up")
                return after()

            asked.append(end.request(GetBlocks(height=1), Inv, matching=matching))
            other = end.request(GetBlocks(height=2), Inv)
            end.feed(Inv())
            self.assertEqual(end.outcomes[asked[0]], ["given up"])
            self.assert_answered(end, other, Inv())
            self.assertIs(end.state, State.READY)
