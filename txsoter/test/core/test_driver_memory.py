"""The memory that a connection accounts for, and its end when all together hold too much."""

from __future__ import annotations

from typing import Any

from txsoter.core.events import SendFailed
from txsoter.core.memory_budget import GRAIN
from txsoter.core.state import State
from txsoter.errors import CloseCause
from txsoter.test.core.ends import filler, frame, remote_version, simnet
from txsoter.test.core.fake_adapter import DriverTestCase, Later
from txsoter.wire import FeeFilter, Message, Unknown


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

        def send(peer: Any, message: Message, payload: bytes) -> None:
            adapter.send(filler(40_000))

        adapter = self.adapter(config, {FeeFilter: send})
        adapter.feed(FeeFilter(1))
        self.assertEqual((config.memory.total, len(config.memory)), (0, 0))

    def test_nothing_stays_accounted_for_when_nothing_is_held(self) -> None:
        """Although the last that was held is little."""
        config, gate = simnet(), Later()
        adapter = self.adapter(config, {Unknown: lambda peer, message, payload: gate})
        rest = frame(FeeFilter(1)) * 40
        adapter.feed(filler(6000), frame(filler(2000))[:1500])
        self.assertEqual(config.memory.total, 7476)
        gate.succeed()
        self.assertEqual(config.memory.total, 1500)
        adapter.feed(frame(filler(2000))[1500:], rest)
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
