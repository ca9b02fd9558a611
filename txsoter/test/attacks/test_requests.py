"""Attacks on a request(): its answer never comes, comes twice, comes unasked, or is another's."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from txsoter import CloseCause
from txsoter.errors import RequestNotFound, RequestTimedOut
from txsoter.test.attacks.pressure import frames, not_to_the_bystander
from txsoter.test.attacks.support import BOTH, MIB, Attack, AttackTestCase
from txsoter.test.peer.cases import AFTER_HANDSHAKE, as_block, blocks, hash_of, noting
from txsoter.wire import (
    Block,
    GetBlocks,
    GetData,
    GetHeaders,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    Message,
    NotFound,
    Ping,
    Pong,
    Reject,
    Services,
)


class RequestTestCase(AttackTestCase):
    """What the attacks have in common."""

    def asked(self, attack: Attack, *questions: tuple[Message, type[Message]]) -> list[Deferred[Any]]:
        """Ask, and let the questions arrive."""
        answers: list[Deferred[Any]] = [attack.peer.request(*each) for each in questions]
        attack.pump()
        self.assertEqual(attack.attacker.commands, [message.command for message, _ in questions])
        attack.attacker.heard.clear()
        return answers

    def assert_none_waits(self, attack: Attack, waits: int = 0) -> None:
        """So many requests wait."""
        self.assertEqual(attack.peer.stats().pending_requests, waits)


def vector(block: Block) -> InventoryVector:
    """What asks for a block."""
    return InventoryVector(InventoryType.BLOCK, block.hash)


class NeverTests(RequestTestCase):
    """The answer never comes."""

    def test_each_is_given_up_in_time_and_a_late_answer_is_nobodys(self) -> None:
        """A thousand pings, and one of each other kind."""
        heard: list[Any] = []
        for inbound in BOTH:
            heard.clear()
            attack = self.attack(
                inbound=inbound,
                stall_timeout=None,
                ping_interval=None,
                on_pong=not_to_the_bystander(noting(heard)),
                on_headers=not_to_the_bystander(noting(heard)),
            )
            pings: list[tuple[Message, type[Message]]] = [(Ping(number), Pong) for number in range(1000)]
            others: list[tuple[Message, type[Message]]] = [
                (GetBlocks(height=1), Inv),
                (GetHeaders(height=1), Headers),
                (GetData([as_block(1)]), Block),
            ]
            answers = self.asked(attack, *pings, *others)
            attack.advance(29)
            for each in answers:
                self.assertNoResult(each)
            attack.advance(1)
            for each in answers:
                self.failureResultOf(each, RequestTimedOut)
            self.assert_none_waits(attack)
            late = [Pong(number) for number in range(1000)]
            attack.say(frames([*late, Headers()]))
            # but it reaches the listeners
            self.assertEqual(heard, [*late, Headers()])
            self.assert_went_on(attack)

    def test_a_getdata_that_is_not_answered_is_a_stall(self) -> None:
        """That closes the remote; who has asked was told before."""
        attack = self.attack()
        answers = self.asked(attack, (GetData([as_block(1)]), Block))
        attack.advance(45)
        self.failureResultOf(answers[0], RequestTimedOut)
        self.assert_refused(attack, CloseCause.STALLED, command="getdata")


class TwiceTests(RequestTestCase):
    """The answer comes twice, or ten thousand times."""

    def test_each_request_gets_its_own_once(self) -> None:
        """What is more is nobody's, and reaches the listeners."""
        heard: list[Any] = []
        first, second = blocks(2)
        attack = self.attack(on_block=not_to_the_bystander(lambda peer, block, payload: heard.append(block)))
        got: list[object] = []
        answers = self.asked(attack, (GetData([vector(first)]), Block), (GetData([vector(second)]), Block))
        for each in answers:
            each.addCallback(got.append)
        attack.say(first, first, first)
        self.assertEqual(got, [first])
        attack.say(second, first, second)
        self.assertEqual(got, [first, second])
        self.assertEqual(heard, [first, first, first, second, first, second])
        self.assert_none_waits(attack)
        self.assert_went_on(attack)

    def test_of_two_asked_alike_each_gets_one(self) -> None:
        """The one that has waited longest first."""
        attack = self.attack()
        answers = self.asked(attack, (GetBlocks(height=1), Inv), (GetBlocks(height=1), Inv))
        for number, each in enumerate(answers):
            self.assertNoResult(each)
            attack.say(Inv([as_block(number)]))
            self.assertEqual(self.successResultOf(each), Inv([as_block(number)]))
        self.assert_went_on(attack)

    def test_by_the_ten_thousand(self) -> None:
        """Nothing of them is kept."""
        attack = self.attack()
        [answer] = self.asked(attack, (Ping(1), Pong))
        pongs = frames([Pong(1)] * 10_000)
        with self.assert_bounded(MIB):
            for start in range(0, len(pongs), 32 * 1000):
                attack.say(pongs[start : start + 32 * 1000])
        self.assertEqual(self.successResultOf(answer), Pong(1))
        self.assertEqual(attack.peer.stats().received["pong"].messages, 10_000)
        self.assert_went_on(attack)

    def test_refused_and_answered(self) -> None:
        """What came first counts."""
        [block] = blocks(1)
        attack = self.attack()
        refused, answered = self.asked(attack, (GetData([vector(block)]), Block), (GetHeaders(height=1), Headers))
        attack.say(NotFound([vector(block)]), block, Headers(), Reject(b"getheaders", 0x10, b"no"))
        self.failureResultOf(refused, RequestNotFound)
        self.assertEqual(self.successResultOf(answered), Headers())
        self.assert_none_waits(attack)
        self.assert_went_on(attack)


class UnaskedTests(RequestTestCase):
    """Answers that nobody has asked for."""

    def test_every_message_there_is(self) -> None:
        """They are counted and handed on, and nothing else comes of it."""
        for inbound in BOTH:
            attack = self.attack(inbound=inbound, services=Services.BLOOM)
            for message in AFTER_HANDSHAKE:
                attack.say(message, message)
                self.assertEqual(attack.peer.stats().received[message.command].messages, 2)
                self.assertEqual(attack.attacker.commands, ["pong", "pong"] if isinstance(message, Ping) else [])
                attack.attacker.heard.clear()
            self.assertEqual(attack.peer.stats().handler_errors, 0)
            self.assert_went_on(attack)

    def test_answers_to_other_questions(self) -> None:
        """Another block, another nonce, a refusal of something else: all wait on, until it comes."""
        wanted, other = blocks(2)
        attack = self.attack()
        answers = self.asked(attack, (GetData([vector(wanted)]), Block), (Ping(1), Pong), (GetBlocks(height=1), Inv))
        attack.say(other, Pong(2), NotFound([vector(other)]), Reject(b"block", 0x10, b"no", other.hash), Headers())
        attack.say(Reject(b"getheaders", 0x10, b"no"), Reject(b"tx", 0x10, b"no", hash_of(9)))
        for each in answers:
            self.assertNoResult(each)
        attack.say(wanted, Pong(1), Inv())
        self.assertEqual([self.successResultOf(each) for each in answers], [wanted, Pong(1), Inv()])
        self.assert_went_on(attack)

    def test_answers_to_another_connections_question(self) -> None:
        """The bystander was asked: the attacker cannot answer in its place."""
        attack = self.attack()
        pong = attack.bystander.peer.request(Ping(99), Pong)
        attack.attacker.say(Pong(99))
        attack.link.pump()
        self.assertEqual(attack.peer.stats().received["pong"].messages, 1)
        self.assertNoResult(pong)
        attack.pump()
        self.assertEqual(self.successResultOf(pong), Pong(99))
        self.assert_went_on(attack)
