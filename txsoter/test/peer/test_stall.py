"""Tests of :mod:`txsoter.peer.stall` (PEER.md, "Keeping alive", stall detection)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from txsoter.errors import CloseCause
from txsoter.peer.handshake import State
from txsoter.peer.stall import StallDetector
from txsoter.test.peer.support import PeerTestCase, TrialCase
from txsoter.testing import ScriptedPair
from txsoter.wire import (
    ZERO_HASH,
    Block,
    FilterClear,
    FilterLoad,
    GetAddr,
    GetBlocks,
    GetCFilters,
    GetData,
    GetHeaders,
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
    Tx,
    TxIn,
    Unknown,
)

HASH = bytes(range(32))


def get_data(*types: int) -> GetData:
    return GetData([InventoryVector(each, HASH) for each in types])


BLOCK, TX = get_data(InventoryType.BLOCK), get_data(InventoryType.TX)
FILTERED = get_data(InventoryType.FILTERED_BLOCK, InventoryType.WITNESS_FILTERED_BLOCK)
MIXED = get_data(InventoryType.FILTERED_BLOCK, InventoryType.BLOCK)


class StallDetectorTests(TrialCase):
    def setUp(self) -> None:
        self.stall = StallDetector(30.0)

    def assert_deadline(self, command: str, at: float) -> None:
        """``command`` is overdue from ``at`` on, and not before."""
        self.assertTrue(self.stall.waiting)
        self.assertIsNone(self.stall.expired(at - 0.001))
        self.assertEqual(self.stall.expired(at), command)

    def assert_nothing_owed(self) -> None:
        self.assertFalse(self.stall.waiting)
        self.assertIsNone(self.stall.expired(1e9))

    def test_nothing_is_owed_at_first(self) -> None:
        self.assert_nothing_owed()

    def test_what_is_owed_after_30_s_and_what_answers_it(self) -> None:
        """``getblocks`` -> inv; ``getdata`` -> any of block, merkleblock, tx, notfound; no other message answers."""
        for question, answers in (
            (GetBlocks(), {"inv"}),
            (BLOCK, {"block", "merkleblock", "tx", "notfound"}),
            (TX, {"block", "merkleblock", "tx", "notfound"}),
        ):
            for answer in ("inv", "block", "merkleblock", "tx", "notfound", "headers", "pong", "reject", "getdata"):
                self.stall = StallDetector(30.0)
                self.stall.sent(question, 100.0)
                self.stall.received(answer)
                if answer in answers:
                    self.assert_nothing_owed()
                else:
                    self.assert_deadline(question.command, 130.0)

    def test_getheaders_only_when_asked_for_and_90_s(self) -> None:
        self.stall.sent(GetHeaders(), 100.0)
        self.assert_nothing_owed()
        self.stall = StallDetector(30.0, expect_headers=True)
        self.stall.sent(GetHeaders(), 100.0)
        self.stall.received("inv")
        self.assert_deadline("getheaders", 190.0)
        self.stall.received("headers")
        self.assert_nothing_owed()

    def test_what_a_healthy_node_may_not_answer_starts_none(self) -> None:
        """The reference drops a healthy node for an empty pool; ``ping`` is left out on purpose."""
        messages: tuple[Message, ...] = (MemPool(), Ping(), Pong(), GetAddr(), GetCFilters(), Inv(), GetData())
        for message in messages:
            self.stall.sent(message, 100.0)
            self.assert_nothing_owed()

    def test_filtered_blocks_are_owed_only_while_a_filter_is_loaded(self) -> None:
        self.stall.sent(FILTERED, 100.0)
        self.assert_nothing_owed()
        self.stall.sent(FilterLoad(b"\1", 1), 100.0)
        self.assert_nothing_owed()
        self.stall.sent(FILTERED, 100.0)
        self.assert_deadline("getdata", 130.0)
        self.stall.received("merkleblock")
        self.stall.sent(FilterClear(), 200.0)
        self.stall.sent(FILTERED, 200.0)
        self.assert_nothing_owed()

    def test_filtered_blocks_with_others_are_owed(self) -> None:
        self.stall.sent(MIXED, 100.0)
        self.assert_deadline("getdata", 130.0)

    def test_a_repeat_keeps_the_earliest_deadline(self) -> None:
        self.stall.sent(BLOCK, 100.0)
        self.stall.sent(TX, 120.0)
        self.assert_deadline("getdata", 130.0)
        self.stall.received("tx")
        self.stall.sent(TX, 140.0)
        self.assert_deadline("getdata", 170.0)

    def test_the_earliest_overdue_is_named(self) -> None:
        self.stall.sent(BLOCK, 101.0)
        self.stall.sent(GetBlocks(), 100.0)
        self.assert_deadline("getblocks", 130.0)
        self.assertEqual(self.stall.expired(200.0), "getblocks")
        self.stall.received("inv")
        self.assertEqual(self.stall.expired(200.0), "getdata")


class StalledConnectionTests(PeerTestCase):
    """Checked every 15 s … expired: close (stalled, naming the command)."""

    def closed_after(self, pair: ScriptedPair) -> float:
        """Seconds until the connection is closed; at most 200."""
        start = pair.clock.seconds()
        while pair.peer.state is State.READY and pair.clock.seconds() - start < 200:
            pair.clock.advance(0.5)
        return pair.clock.seconds() - start

    def assert_stalled(self, pair: ScriptedPair, command: str) -> None:
        reason = self.assert_closed(pair, CloseCause.STALLED)
        self.assertEqual(reason.command, command)
        self.assertIn(command, str(reason))

    def test_closed_between_30_and_45_s_naming_the_command(self) -> None:
        questions: tuple[Message, ...] = (GetBlocks(), BLOCK, MIXED)
        for question in questions:
            pair = self.scripted()
            pair.peer.send(question)
            self.assertEqual(self.closed_after(pair), 30.0)
            self.assert_stalled(pair, question.command)

    def test_a_question_between_two_checks_waits_for_the_check_after_its_deadline(self) -> None:
        pair = self.scripted()
        pair.peer.send(GetBlocks())
        pair.clock.advance(14)
        pair.say(Inv())
        pair.peer.send(BLOCK)
        self.assertEqual(self.closed_after(pair), 31.0)
        self.assert_stalled(pair, "getdata")
        pair = self.scripted()
        pair.peer.send(GetBlocks())
        pair.clock.advance(1)
        pair.peer.send(BLOCK)
        pair.say(Inv())
        self.assertEqual(self.closed_after(pair), 44.0)

    def test_an_answer_in_time_ends_the_watch(self) -> None:
        for question, answer in (
            (GetBlocks(), Inv()),
            (BLOCK, Block()),
            (BLOCK, NotFound(BLOCK.vectors)),
            (BLOCK, MerkleBlock()),
            (TX, Tx(inputs=[TxIn(ZERO_HASH, 0)])),
        ):
            pair = self.scripted(ping_interval=None, idle_timeout=None)
            pair.peer.send(question)
            pair.clock.advance(29)
            pair.say(answer)
            pair.clock.advance(300)
            self.assertIs(pair.peer.state, State.READY)
            self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_getheaders_after_90_s_only_if_config_asks(self) -> None:
        pair = self.scripted()
        pair.peer.send(GetHeaders())
        self.assertEqual(self.closed_after(pair), 200.0)
        pair = self.scripted(stall_headers=True)
        pair.peer.send(GetHeaders())
        self.assertEqual(self.closed_after(pair), 90.0)
        self.assert_stalled(pair, "getheaders")
        pair = self.scripted(stall_headers=True)
        pair.peer.send(GetHeaders())
        pair.say(Headers())
        self.assertEqual(self.closed_after(pair), 200.0)

    def test_the_numbers_are_config(self) -> None:
        pair = self.scripted(stall_interval=1.0, stall_timeout=7.0, stall_headers=True)
        pair.peer.send(GetHeaders())
        self.assertEqual(self.closed_after(pair), 21.0)

    def test_none_switches_it_off(self) -> None:
        off: tuple[dict[str, Any], ...] = ({"stall_interval": None}, {"stall_timeout": None})
        for fields in off:
            pair = self.scripted(**fields)
            pair.peer.send(GetBlocks())
            self.assertEqual(self.closed_after(pair), 200.0)

    def test_handler_time_extends_the_deadlines(self) -> None:
        handled: Deferred[None] = Deferred()
        pair = self.scripted(on_ping=lambda peer, ping: handled)
        pair.peer.send(GetBlocks())
        pair.clock.advance(20)
        pair.say(Ping())
        for _ in range(100):
            pair.clock.advance(1)
        self.assertIs(pair.peer.state, State.READY)
        handled.callback(None)
        self.assertEqual(self.closed_after(pair), 15.0)
        self.assert_stalled(pair, "getblocks")

    def test_an_answer_that_waits_for_its_turn_behind_a_handler_counts(self) -> None:
        handled: Deferred[None] = Deferred()
        pair = self.scripted(on_ping=lambda peer, ping: handled)
        pair.peer.send(GetBlocks())
        pair.clock.advance(29)
        pair.say(Ping(), Inv())
        for _ in range(100):
            pair.clock.advance(1)
        handled.callback(None)
        self.assertEqual(self.closed_after(pair), 200.0)

    def test_the_watch_begins_when_the_question_is_with_the_transport(self) -> None:
        """Not when it was queued, behind what the remote takes its time for."""
        pair = self.scripted()
        pair.transport.takes = False
        pair.peer.send(Unknown("filler", bytes(200 * 1024)))
        pair.peer.send(GetBlocks())
        pair.advance(40)
        self.assertIs(pair.peer.state, State.READY)
        pair.transport.takes = True
        pair.pump()
        self.assertIn("getblocks", pair.remote.commands)
        self.assertGreaterEqual(self.closed_after(pair), 30.0)
        self.assert_stalled(pair, "getblocks")
