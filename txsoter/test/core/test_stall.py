"""Stall detection: which answers are owed, until when, and connections that are closed for one that does not come."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from txsoter.core.stall import OBSERVED, StallDetector
from txsoter.core.state import State
from txsoter.errors import CloseCause
from txsoter.test.core.ends import ConnectionTestCase, End, filler, simnet
from txsoter.wire import (
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
)

HASH = bytes(range(32))


def get_data(*types: int) -> GetData:
    return GetData([InventoryVector(each, HASH) for each in types])


BLOCK, TX = get_data(InventoryType.BLOCK), get_data(InventoryType.TX)
FILTERED = get_data(InventoryType.FILTERED_BLOCK, InventoryType.WITNESS_FILTERED_BLOCK)
MIXED = get_data(InventoryType.FILTERED_BLOCK, InventoryType.BLOCK)


class StallDetectorTests(TestCase):
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

    def test_which_messages_it_needs_to_be_told_of(self) -> None:
        """So that those of all other classes cost nothing."""
        self.assertEqual(set(OBSERVED), {GetBlocks, GetHeaders, GetData, FilterLoad, FilterClear})
        answers = ("inv", "block", "merkleblock", "tx", "notfound", "headers")
        for command in (*answers, "ping", "getdata", "novel"):
            self.assertIs(StallDetector.answers(command), command in answers)


class CheckTests(TestCase):
    """Checks are ``interval`` seconds apart while an answer is owed."""

    def setUp(self) -> None:
        self.stall = StallDetector(30.0, interval=15.0)

    def test_the_first_is_an_interval_after_the_question(self) -> None:
        self.assertFalse(self.stall.begin(50.0))
        self.assertIsNone(self.stall.due)
        self.stall.sent(BLOCK, 100.0)
        self.assertTrue(self.stall.begin(100.0))
        self.assertEqual(self.stall.due, 115.0)

    def test_beginning_twice_is_beginning_once(self) -> None:
        self.stall.sent(BLOCK, 100.0)
        self.stall.begin(100.0)
        self.assertFalse(self.stall.begin(110.0))
        self.assertEqual(self.stall.due, 115.0)

    def test_none_means_never(self) -> None:
        stall = StallDetector(30.0, interval=None)
        stall.sent(BLOCK, 100.0)
        self.assertFalse(stall.begin(100.0))
        self.assertIsNone(stall.due)

    def test_they_end_when_nothing_is_owed_any_more_and_begin_again(self) -> None:
        self.stall.sent(BLOCK, 100.0)
        self.stall.begin(100.0)
        self.assertIsNone(self.stall.check(115.0, 115.0))
        self.assertEqual(self.stall.due, 130.0)
        self.stall.received("block")
        self.assertIsNone(self.stall.check(130.0, 130.0))
        self.assertIsNone(self.stall.due)
        self.stall.sent(BLOCK, 200.0)
        self.assertTrue(self.stall.begin(200.0))

    def test_deadlines_are_in_the_remotes_time_and_checks_in_ours(self) -> None:
        self.stall.sent(BLOCK, 60.0)
        self.stall.begin(100.0)
        self.assertIsNone(self.stall.check(130.0, 89.9))
        self.assertEqual(self.stall.check(145.0, 90.0), "getdata")

    def test_a_late_one_is_not_made_up_for(self) -> None:
        self.stall.sent(BLOCK, 100.0)
        self.stall.begin(100.0)
        self.stall.check(163.0, 100.0)
        assert self.stall.due is not None
        self.assertTrue(163.0 < self.stall.due <= 178.0)


class StalledConnectionTests(ConnectionTestCase):
    """Checked every 15 s. Expired: closed, as stalled, naming the command."""

    def closed_after(self, end: End) -> float:
        """Return the seconds until the connection is closed; at most 200."""
        start = end.now
        while end.state is State.READY and end.now - start < 200:
            end.advance(0.5)
        return end.now - start

    def assert_stalled(self, end: End, command: str) -> None:
        end.said()
        reason = self.assert_closing(end, CloseCause.STALLED, command=command)
        self.assertIn(command, str(reason))

    def test_closed_between_30_and_45_s_naming_the_command(self) -> None:
        questions: tuple[Message, ...] = (GetBlocks(), BLOCK, MIXED)
        for question in questions:
            end = self.ready()
            end.send(question)
            self.assertEqual(self.closed_after(end), 30.0)
            self.assert_stalled(end, question.command)

    def test_a_question_between_two_checks_waits_for_the_check_after_its_deadline(self) -> None:
        end = self.ready()
        end.send(GetBlocks())
        end.advance(14)
        end.feed(Inv())
        end.send(BLOCK)
        self.assertEqual(self.closed_after(end), 31.0)
        self.assert_stalled(end, "getdata")
        end = self.ready()
        end.send(GetBlocks())
        end.advance(1)
        end.send(BLOCK)
        end.feed(Inv())
        self.assertEqual(self.closed_after(end), 44.0)

    def test_an_answer_in_time_ends_the_watch(self) -> None:
        for question, answer in (
            (GetBlocks(), Inv()),
            (BLOCK, Block()),
            (BLOCK, NotFound(BLOCK.vectors)),
            (BLOCK, MerkleBlock()),
            (TX, Tx()),
        ):
            end = self.ready(simnet(ping_interval=None, idle_timeout=None))
            end.send(question)
            end.advance(29)
            end.feed(answer)
            end.advance(300)
            self.assertIs(end.state, State.READY)
            self.assertIsNone(end.connection.next_timeout())

    def test_getheaders_after_90_s_only_if_config_asks(self) -> None:
        end = self.ready()
        end.send(GetHeaders())
        self.assertEqual(self.closed_after(end), 200.0)
        end = self.ready(simnet(stall_headers=True))
        end.send(GetHeaders())
        self.assertEqual(self.closed_after(end), 90.0)
        self.assert_stalled(end, "getheaders")
        end = self.ready(simnet(stall_headers=True))
        end.send(GetHeaders())
        end.feed(Headers())
        self.assertEqual(self.closed_after(end), 200.0)

    def test_the_numbers_are_config(self) -> None:
        end = self.ready(simnet(stall_interval=1.0, stall_timeout=7.0, stall_headers=True))
        end.send(GetHeaders())
        self.assertEqual(self.closed_after(end), 21.0)

    def test_none_switches_it_off(self) -> None:
        off: tuple[dict[str, Any], ...] = ({"stall_interval": None}, {"stall_timeout": None})
        for fields in off:
            end = self.ready(simnet(**fields))
            end.send(GetBlocks())
            self.assertEqual(self.closed_after(end), 200.0)

    def test_handler_time_extends_the_deadlines(self) -> None:
        end = self.ready(holds={Ping})
        end.send(GetBlocks())
        end.advance(20)
        end.feed(Ping())
        end.advance(100)
        self.assertIs(end.state, State.READY)
        end.finish()
        self.assertEqual(self.closed_after(end), 15.0)
        self.assert_stalled(end, "getblocks")

    def test_an_answer_that_waits_for_its_turn_behind_a_handler_counts(self) -> None:
        end = self.ready(holds={Ping})
        end.send(GetBlocks())
        end.advance(29)
        end.feed(Ping(), Inv())
        end.advance(100)
        end.finish()
        self.assertEqual(self.closed_after(end), 200.0)

    def test_the_watch_begins_when_the_question_is_with_the_transport(self) -> None:
        """Not when it was queued, behind what the remote takes its time for."""
        end = self.ready()
        end.room = 0
        end.send(filler(200 * 1024))
        end.send(GetBlocks())
        end.advance(40)
        self.assertIs(end.state, State.READY)
        end.room = None
        end.take()
        self.assertEqual(end.said()[-1].command, "getblocks")
        self.assertEqual(self.closed_after(end), 30.0)
        self.assert_stalled(end, "getblocks")
