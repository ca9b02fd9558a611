"""The driver: writing, reading, timers and the end, as its adapter is told of them; and calls from inside its own."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from txsoter.core.config import ConnectionConfig
from txsoter.core.events import READY, Closed, RequestEnded, SendFailed
from txsoter.core.memory_budget import GRAIN
from txsoter.core.send_queue import BATCH, PIECE
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy, ConnectionClosed, RequestClosed
from txsoter.test.core.ends import filler, frame, remote_version, simnet, tx_vector
from txsoter.test.core.fake_adapter import FakeAdapter, Later
from txsoter.wire import FeeFilter, GetBlocks, Inv, Message, Ping, Pong, Unknown, VerAck


class DriverTestCase(TestCase):
    """Adapters that are lost when a test is over, and must hold nothing then."""

    def setUp(self) -> None:
        self.adapters: list[FakeAdapter] = []

    def tearDown(self) -> None:
        for adapter in self.adapters:
            self.lose(adapter)
        for adapter in self.adapters:
            self.assertIs(adapter.connection.state, State.CLOSED)
            self.assertEqual(len(adapter.of(Closed)), 1)
            self.assertLessEqual(adapter.log.count("hang_up"), 1)
            memory = adapter.channel.config.memory
            self.assertEqual((memory.total, len(memory)), (0, 0))

    def fresh(self, config: ConnectionConfig | None = None, handlers: Any = None, **options: Any) -> FakeAdapter:
        """Return an adapter whose connection is not made yet."""
        adapter = FakeAdapter(config, handlers, seed=len(self.adapters) + 1, **options)
        self.adapters.append(adapter)
        return adapter

    def adapter(self, config: ConnectionConfig | None = None, handlers: Any = None, **options: Any) -> FakeAdapter:
        """Return an adapter that is ready."""
        return self.fresh(config, handlers, **options).ready()

    def lose(self, adapter: FakeAdapter) -> None:
        adapter.driver.connection_lost(ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED, "")


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


class ReentrancyTests(DriverTestCase):
    def test_whoever_is_told_of_a_message_may_send(self) -> None:
        adapter = self.adapter()
        adapter.on_sent = lambda token: adapter.send(Ping(token + 1), token + 1) if token < 5 else None
        adapter.send(Ping(0), 0)
        self.assertEqual((adapter.told, adapter.said()), (list(range(6)), [Ping(number) for number in range(6)]))

    def test_and_what_he_sends_comes_behind_what_is_queued_already(self) -> None:
        adapter = self.adapter()
        adapter.on_sent = lambda token: adapter.send(Ping(3), 3) if token == 1 else None
        adapter.driver.pause_writing()
        adapter.send(Ping(1), 1)
        adapter.send(Ping(2), 2)
        adapter.take()
        self.assertEqual((adapter.said(), adapter.told), ([Ping(1), Ping(2), Ping(3)], [1, 2, 3]))

    def test_he_is_told_once_although_it_is_for_ever(self) -> None:
        """Many messages, each sent because of the one before, do not eat the stack."""
        adapter = self.adapter()
        adapter.on_sent = lambda token: adapter.send(Ping(token), token + 1) if token < 5000 else None
        adapter.send(Ping(0), 0)
        self.assertEqual(adapter.told, list(range(5001)))

    def test_he_may_close(self) -> None:
        """Then the rest is not sent, and everybody is told."""
        adapter = self.adapter()
        adapter.driver.pause_writing()
        for token in range(3):
            adapter.send(filler(PIECE), token)
        adapter.on_sent = lambda token: adapter.driver.close(CloseCause.DISCONNECT) if token == 0 else None
        adapter.room = PIECE + 100
        adapter.take()
        told = [*adapter.told, *[each.token for each in adapter.of(SendFailed)]]
        self.assertEqual(sorted(told), [0, 1, 2])
        self.assertEqual((adapter.told[0], adapter.log.count("hang_up")), (0, 1))

    def test_he_may_let_the_handler_be_done_that_sent_it(self) -> None:
        later, handled = Later(), []

        def handle(peer: Any, message: Message, payload: bytes) -> Later | None:
            handled.append(message)
            if len(handled) > 1:
                return None
            adapter.send(Ping(1), "token")
            return later

        adapter = self.adapter(handlers={FeeFilter: handle})
        adapter.on_sent = lambda token: (later.succeed(), None)[-1]
        adapter.feed(FeeFilter(1), FeeFilter(2))
        self.assertEqual((handled, adapter.told), ([FeeFilter(1), FeeFilter(2)], ["token"]))
        self.assertIsNone(adapter.channel.in_hand)

    def test_one_that_fills_the_transport_holds_up_those_behind_him(self) -> None:
        adapter = self.adapter()
        adapter.on_sent = lambda token: adapter.driver.pause_writing() if token == 1 else None
        adapter.driver.pause_writing()
        adapter.send(Ping(1), 1)
        adapter.send(Ping(2), 2)
        adapter.take()
        self.assertEqual(adapter.told, [1])
        adapter.on_sent = lambda token: None
        adapter.take()
        self.assertEqual(adapter.told, [1, 2])

    def test_a_handler_may_run_the_driver_without_overtaking_itself(self) -> None:
        """As a request does; also the second handler of a message, after the first was waited for."""
        gate, log = Later(), []

        def first(peer: Any, message: FeeFilter, payload: bytes) -> Later | None:
            return gate if message.fee == 1 else None

        def second(peer: Any, message: FeeFilter, payload: bytes) -> None:
            log.append(f"begin {message.fee}")
            adapter.driver.run()
            adapter.connection.request(GetBlocks(height=1), Inv, None, None, message.fee, 0.0)
            adapter.driver.run()
            log.append(f"end {message.fee}")

        adapter = self.adapter(handlers={FeeFilter: (first, second)})
        adapter.feed(FeeFilter(1), FeeFilter(2))
        gate.succeed()
        self.assertEqual(log, ["begin 1", "end 1", "begin 2", "end 2"])

    def test_whoever_is_told_that_it_is_ready_may_send_ask_and_close(self) -> None:
        adapter = self.fresh(handlers={VerAck: lambda peer, message, payload: self.fail("handled after close")})

        def ready(event: object) -> None:
            if event is READY:
                adapter.send(Ping(1), "token")
                adapter.connection.request(GetBlocks(height=1), Inv, None, None, "asked", 0.0)
                adapter.driver.run()
                adapter.driver.close(CloseCause.DISCONNECT)

        adapter.on_event = ready
        adapter.made()
        adapter.feed(remote_version(), VerAck())
        self.assertEqual([each.command for each in adapter.said()], ["version", "verack", "ping", "getblocks"])
        self.assertEqual((adapter.told, adapter.log.count("hang_up")), (["token"], 1))
        self.assertIsInstance(adapter.of(RequestEnded)[0].error, RequestClosed)

    def test_whoever_is_told_of_an_answer_may_ask_again(self) -> None:
        adapter = self.adapter()

        def ask(token: int) -> None:
            adapter.connection.request(GetBlocks(height=token), Inv, None, None, token, 0.0)
            adapter.driver.run()

        adapter.on_event = lambda event: ask(event.token + 1) if isinstance(event, RequestEnded) else None
        ask(0)
        adapter.feed(*[Inv() for _ in range(50)])
        self.assertEqual([each.token for each in adapter.of(RequestEnded)], list(range(50)))
        self.assertEqual(len(adapter.said()), 51)
        adapter.on_event = lambda event: None

    def test_whoever_is_told_of_a_failure_may_send_and_is_told_again(self) -> None:
        adapter = self.adapter()
        adapter.driver.pause_writing()
        adapter.send(Ping(0), 0)
        adapter.on_event = lambda event: (
            adapter.send(Ping(1), event.token + 1) if isinstance(event, SendFailed) and event.token < 3 else None
        )
        self.lose(adapter)
        self.assertEqual([each.token for each in adapter.of(SendFailed)], [0, 1, 2, 3])

    def test_a_transport_may_be_lost_in_the_middle_of_a_write(self) -> None:
        adapter = self.adapter()
        adapter.on_write = lambda data: self.lose(adapter)
        adapter.send(Ping(1), "token")
        adapter.send(Ping(2), "after")
        self.assertEqual(adapter.told, [])
        failed = adapter.of(SendFailed)
        self.assertEqual([each.token for each in failed], ["token", "after"])
        self.assertIsInstance(failed[0].error, ConnectionClosed)

    def test_a_transport_may_bring_data_when_it_is_told_to_read_on(self) -> None:
        gate, handled = Later(), []

        def handle(peer: Any, message: FeeFilter, payload: bytes) -> Later | None:
            handled.append(message.fee)
            return gate if message.fee == 1 else None

        adapter = self.adapter(handlers={FeeFilter: handle})
        adapter.feed(FeeFilter(1))
        adapter.on_set_reading = lambda wanted: adapter.feed(FeeFilter(2)) if wanted else None
        gate.succeed()
        self.assertEqual(handled, [1, 2])

    def test_a_transport_may_take_all_in_the_middle_of_a_write(self) -> None:
        adapter = self.adapter()
        adapter.room = 0
        adapter.on_write = lambda data: adapter.take()
        for token in range(3):
            adapter.send(Ping(token), token)
        self.assertEqual((adapter.said(), adapter.told), ([Ping(0), Ping(1), Ping(2)], [0, 1, 2]))

    def test_an_adapter_that_fails_does_not_leave_it_stuck(self) -> None:
        adapter = self.adapter()

        def fails(event: object) -> None:
            raise ZeroDivisionError

        adapter.on_event = fails
        adapter.connection.request(GetBlocks(height=1), Inv, None, None, "asked", 0.0)
        adapter.driver.run()
        with self.assertRaises(ZeroDivisionError):
            adapter.feed(Inv())
        adapter.on_event = lambda event: None
        adapter.said()
        adapter.feed(Ping(1))
        adapter.send(Ping(2), "token")
        self.assertEqual((adapter.said(), adapter.told), ([Pong(1), Ping(2)], ["token"]))

    def test_whoever_sees_writes_and_announces_more_does_not_announce_for_ever(self) -> None:
        adapter = self.adapter(observes_writes=True)
        count = 0

        def announce(batch: object = None) -> None:
            nonlocal count
            count += 1
            adapter.connection.queue_inventory(tx_vector(count), False, adapter.time)
            adapter.driver.run()

        adapter.on_written = announce
        announce()
        adapter.advance(35)
        self.assertEqual(adapter.said(), [Inv([tx_vector(number)]) for number in (1, 2, 3)])


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


class MemoryBudgetTests(DriverTestCase):
    def test_what_is_received_and_not_handled_is_accounted_for(self) -> None:
        config = simnet()
        adapter = self.adapter(config)
        adapter.feed(frame(filler(100_000))[:60_000])
        self.assertEqual(config.memory.total, 60_000)
        adapter.feed(frame(filler(100_000))[60_000:])
        self.assertEqual((config.memory.total, len(config.memory)), (0, 0))

    def test_and_what_a_handler_has_and_what_is_behind_it(self) -> None:
        config, gate = simnet(), Later()
        adapter = self.adapter(config, {Unknown: lambda peer, message, payload: gate})
        adapter.feed(filler(100_000), FeeFilter(1))
        self.assertEqual(config.memory.total, 99_976 + 32)
        gate.succeed()
        self.assertEqual((config.memory.total, len(config.memory)), (0, 0))

    def test_and_what_is_not_sent(self) -> None:
        config = simnet()
        adapter = self.adapter(config)
        adapter.driver.pause_writing()
        for _ in range(3):
            adapter.send(filler(50_000))
        self.assertEqual(config.memory.total, adapter.channel.memory())
        adapter.take()
        self.assertEqual((config.memory.total, len(config.memory)), (0, 0))

    def test_and_what_waits_for_the_handshake(self) -> None:
        config = simnet()
        adapter = self.fresh(config)
        adapter.made()
        adapter.send(filler(50_000))
        self.assertEqual(config.memory.total, adapter.channel.memory())
        adapter.feed(remote_version())
        self.assertEqual((config.memory.total, len(config.memory)), (0, 0))

    def test_what_a_turn_has_queued_and_the_transport_taken_is_not_held(self) -> None:
        config = simnet()
        handlers = {FeeFilter: lambda peer, message, payload: adapter.send(filler(40_000))}
        adapter = self.adapter(config, handlers)
        adapter.feed(FeeFilter(1))
        self.assertEqual((config.memory.total, len(config.memory)), (0, 0))

    def test_little_changes_are_not_worth_it(self) -> None:
        config = simnet()
        adapter = self.adapter(config)
        adapter.feed(frame(filler(100_000))[: GRAIN - 1])
        self.assertEqual(config.memory.total, 0)

    def test_past_it_the_one_that_holds_the_most_is_closed(self) -> None:
        config = simnet(memory_budget=1_000_000)
        large, small, last = (self.adapter(config) for _ in range(3))
        half = frame(filler(1_000_000))
        for adapter, size in ((large, 600_000), (small, 200_000), (last, 150_000)):
            adapter.feed(half[:size])
        self.assertEqual((config.memory.total, large.connection.state), (950_000, State.READY))
        last.feed(half[150_000:250_000])
        self.assertIs(large.connection.reason and large.connection.reason.cause, CloseCause.OVER_BUDGET)
        self.assertEqual((config.memory.total, large.log.count("hang_up")), (450_000, 1))
        self.assertEqual((small.connection.state, last.connection.state), (State.READY, State.READY))

    def test_the_one_that_goes_past_it_may_be_the_one(self) -> None:
        config = simnet(memory_budget=100_000)
        adapter = self.adapter(config)
        adapter.feed(frame(filler(1_000_000))[:200_000])
        self.assertEqual((adapter.connection.state, config.memory.total), (State.CLOSING, 0))
        self.assertEqual(adapter.connection.reason and adapter.connection.reason.detail, "200000 bytes of 200000")

    def test_from_inside_of_its_own_turn(self) -> None:
        """By what its handler sends, while another message is behind that."""
        config = simnet(memory_budget=100_000)
        handled: list[Message] = []

        def handle(peer: Any, message: Message, payload: bytes) -> None:
            handled.append(message)
            adapter.driver.pause_writing()
            adapter.send(filler(200_000), "token")

        adapter = self.adapter(config, {FeeFilter: handle})
        adapter.feed(FeeFilter(1))
        self.assertEqual((adapter.connection.state, config.memory.total), (State.CLOSING, 0))
        self.assertEqual([each.token for each in adapter.of(SendFailed)], ["token"])

    def test_one_that_is_closing_with_a_full_queue_is_aborted(self) -> None:
        """Nothing else would release what it holds before ``close_timeout``."""
        config = simnet(memory_budget=1_000_000)
        closing, other = self.adapter(config), self.adapter(config)
        closing.driver.pause_writing()
        for token in range(9):
            closing.send(filler(100_000), token)
        closing.feed(bytes(24))
        self.assertGreater(config.memory.total, 900_000)
        other.feed(frame(filler(1_000_000))[:150_000])
        self.assertEqual((config.memory.total, other.connection.state), (150_000, State.READY))
        self.assertEqual((closing.channel.memory(), closing.log.count("abort")), (0, 1))
        self.assertEqual([each.token for each in closing.of(SendFailed)], list(range(9)))

    def test_none_is_no_limit(self) -> None:
        adapter = self.adapter(simnet(memory_budget=None))
        adapter.feed(frame(filler(1_000_000))[:-1])
        self.assertIs(adapter.connection.state, State.READY)
