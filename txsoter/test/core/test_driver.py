"""The driver: writing, reading, timers and the end, as its adapter is told of them."""

from __future__ import annotations

from typing import Any

from txsoter.core.events import Closed, RequestEnded, SendFailed
from txsoter.core.send_queue import BATCH, PIECE
from txsoter.core.state import State
from txsoter.errors import CloseCause
from txsoter.test.core.ends import filler, remote_version, simnet
from txsoter.test.core.fake_adapter import DriverTestCase, Later
from txsoter.wire import FeeFilter, GetBlocks, Inv, Message, Ping, VerAck


class WritingTests(DriverTestCase):
    def test_a_send_outside_of_a_turn_is_written_at_once(self) -> None:
        adapter = self.adapter()
        adapter.send(Ping(1), "token")
        self.assertEqual((adapter.said(), adapter.told), ([Ping(1)], ["token"]))

    def test_a_send_inside_of_a_turn_at_its_end(self) -> None:
        seen: list[int] = []

        def handle(peer: Any, message: Message, payload: bytes) -> None:
            adapter.send(Ping(1), "token")
            seen.append(len(adapter.said()))

        adapter = self.adapter(handlers={FeeFilter: handle})
        writes = len(adapter.writes)
        adapter.feed(*[FeeFilter(number) for number in range(10)])
        self.assertEqual((seen, len(adapter.writes) - writes), ([0] * 10, 1))
        self.assertEqual((adapter.said(), adapter.told), ([Ping(1)] * 10, ["token"] * 10))

    def test_unless_it_is_much(self) -> None:
        def handle(peer: Any, message: Message, payload: bytes) -> None:
            for number in range(2 * BATCH + 1):
                adapter.send(Ping(number), number)
            self.assertEqual(len(adapter.said()), 2 * BATCH)

        adapter = self.adapter(handlers={FeeFilter: handle})
        adapter.feed(FeeFilter(1))
        self.assertEqual(adapter.told, list(range(2 * BATCH + 1)))

    def test_pieces_are_at_most_64_kib(self) -> None:
        adapter = self.adapter()
        writes = len(adapter.writes)
        adapter.send(filler(3 * PIECE + 5), "token")
        self.assertEqual([len(each) for each in adapter.writes[writes:]], [PIECE, PIECE, PIECE, 5])
        self.assertEqual(adapter.told, ["token"])

    def test_who_observes_writes_is_shown_each_message_after_its_last_byte(self) -> None:
        adapter = self.adapter(observes_writes=True)
        writes = len(adapter.writes)
        seen: list[tuple[int, int]] = []
        adapter.on_written = lambda batch: seen.extend(
            (len(frame), len(adapter.writes) - writes) for frame, _, _ in batch
        )
        adapter.send(filler(PIECE + 5))
        adapter.send(Ping(1))
        self.assertEqual(seen, [(PIECE + 5, 2), (32, 3)])
        self.assertEqual([message for batch in adapter.batches for message in batch], [filler(PIECE + 5), Ping(1)])

    def test_nobody_else_is_told_of_them(self) -> None:
        adapter = self.adapter()
        adapter.send(Ping(1))
        self.assertEqual(adapter.batches, [])

    def test_a_request_is_not_told_of_its_write(self) -> None:
        adapter = self.adapter()
        adapter.connection.request(GetBlocks(height=1), Inv, None, None, "asked", 0.0)
        adapter.driver.run()
        self.assertEqual((len(adapter.said()), adapter.told, adapter.events), (1, [], []))
        adapter.feed(Inv())
        self.assertEqual([each.token for each in adapter.of(RequestEnded)], ["asked"])


class BackPressureTests(DriverTestCase):
    def test_while_the_transport_has_had_enough_nothing_is_written(self) -> None:
        adapter = self.adapter()
        adapter.room = 0
        for number in range(3):
            adapter.send(Ping(number), number)
        self.assertEqual((adapter.said(), adapter.told), ([Ping(0)], []))
        adapter.room = None
        adapter.take()
        self.assertEqual((adapter.said(), adapter.told), ([Ping(1), Ping(2)], [0, 1, 2]))

    def test_reading_pauses_past_the_soft_limit_and_goes_on_below_it(self) -> None:
        adapter = self.adapter(simnet(soft_queue_limit=1000))
        adapter.room = 0
        adapter.send(filler(100))
        adapter.send(filler(900))
        self.assertEqual(adapter.reading, [])
        adapter.send(filler(200))
        self.assertEqual(adapter.reading, [False])
        adapter.take()
        self.assertEqual(adapter.reading, [False, True])

    def test_messages_that_had_come_meanwhile_are_handled_then(self) -> None:
        handled: list[Message] = []
        handlers = {FeeFilter: lambda peer, message, payload: handled.append(message)}
        adapter = self.adapter(simnet(soft_queue_limit=1000), handlers)
        adapter.room = 0
        adapter.send(filler(100))
        adapter.send(filler(2000))
        adapter.feed(FeeFilter(1))
        self.assertEqual(handled, [])
        adapter.take()
        self.assertEqual(handled, [FeeFilter(1)])

    def test_the_wait_for_our_own_full_queue_is_not_held_against_the_remote(self) -> None:
        config = simnet(
            soft_queue_limit=1000, read_on_after=None, write_timeout=None, ping_interval=None, idle_timeout=50
        )
        adapter = self.adapter(config)
        adapter.room = 0
        adapter.send(filler(100))
        adapter.send(filler(900))
        adapter.send(filler(900))
        adapter.advance(1000)
        self.assertIs(adapter.connection.state, State.READY)

    def test_a_turn_that_fills_the_queue_and_empties_it_goes_on(self) -> None:
        """What kept it from reading has just gone out, and nothing else will wake it."""
        handled: list[int] = []

        def handle(peer: Any, message: Message, payload: bytes) -> None:
            handled.append(1)
            adapter.send(filler(2000))

        adapter = self.adapter(simnet(soft_queue_limit=1000), {FeeFilter: handle})
        adapter.feed(*[FeeFilter(number) for number in range(10)])
        self.assertEqual((len(handled), len(adapter.said())), (10, 10))
        self.assertTrue(not adapter.reading or adapter.reading[-1])


class TimerTests(DriverTestCase):
    def test_they_are_set_when_there_are_new_ones(self) -> None:
        adapter = self.fresh()
        adapter.made()
        self.assertEqual(adapter.log, ["timers"])
        adapter.feed(remote_version(), VerAck())
        adapter.log.clear()
        adapter.feed(*[FeeFilter(number) for number in range(10)])
        for number in range(10):
            adapter.send(Ping(number))
        self.assertEqual(adapter.log, [])
        adapter.send(GetBlocks(height=1))
        self.assertEqual(adapter.log, ["timers"])

    def test_what_is_due_is_done(self) -> None:
        adapter = self.adapter()
        adapter.advance(125)
        self.assertEqual([type(each) for each in adapter.said()], [Ping])


class EndTests(DriverTestCase):
    def test_it_hangs_up_once(self) -> None:
        adapter = self.adapter()
        for _ in range(3):
            adapter.driver.close(CloseCause.DISCONNECT)
            adapter.driver.run()
            adapter.feed(Ping(1))
            adapter.take()
        self.assertEqual(adapter.log.count("hang_up"), 1)
        self.assertEqual(adapter.events, [])

    def test_after_what_the_transport_takes_at_once(self) -> None:
        adapter = self.adapter()
        adapter.connection.send(Ping(1), token="token")
        adapter.driver.close(CloseCause.DISCONNECT)
        self.assertEqual((adapter.said(), adapter.told, adapter.log.count("hang_up")), ([Ping(1)], ["token"], 1))

    def test_a_final_reject_is_waited_for(self) -> None:
        adapter = self.adapter()
        adapter.driver.pause_writing()
        adapter.send(Ping(1), "token")
        adapter.feed(bytes(24))
        self.assertEqual((adapter.log.count("hang_up"), adapter.told), (0, []))
        adapter.take()
        self.assertEqual([each.command for each in adapter.said()], ["ping", "reject"])
        self.assertEqual((adapter.log.count("hang_up"), adapter.told), (1, ["token"]))

    def test_for_10_s_then_it_aborts_once(self) -> None:
        adapter = self.adapter()
        adapter.driver.pause_writing()
        adapter.advance(30)
        adapter.feed(bytes(24))
        adapter.advance(9.9)
        self.assertNotIn("abort", adapter.log)
        adapter.advance(1000)
        self.assertEqual((adapter.log.count("abort"), adapter.log.count("hang_up")), (1, 0))

    def test_the_10_s_count_from_the_close(self) -> None:
        adapter = self.adapter()
        adapter.time = 100.0
        adapter.driver.close(CloseCause.DISCONNECT)
        self.assertEqual(adapter.connection.next_timeout(), 110.0)
        self.assertEqual(adapter.log, ["hang_up", "timers"])

    def test_one_that_was_lost_is_not_hung_up(self) -> None:
        adapter = self.adapter()
        self.lose(adapter)
        adapter.driver.close(CloseCause.DISCONNECT)
        adapter.advance(100)
        self.assertEqual((adapter.log.count("hang_up"), adapter.log.count("abort")), (0, 0))

    def test_lost_while_a_handler_runs_everybody_is_told_at_once(self) -> None:
        gate = Later()
        adapter = self.adapter(handlers={FeeFilter: lambda peer, message, payload: gate})
        adapter.feed(FeeFilter(1))
        self.lose(adapter)
        self.assertEqual(len(adapter.of(Closed)), 1)
        gate.succeed()
        self.assertEqual(len(adapter.of(Closed)), 1)

    def test_closed_before_it_was_made(self) -> None:
        adapter = self.fresh()
        adapter.send(Ping(1), "token")
        adapter.driver.close(CloseCause.DISCONNECT)
        self.assertEqual([each.token for each in adapter.of(SendFailed)], ["token"])
        self.assertEqual((len(adapter.of(Closed)), adapter.log.count("hang_up")), (1, 0))
