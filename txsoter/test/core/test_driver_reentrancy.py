"""Calls from inside of a driver's own: by handlers, by the callers whom it tells, by its transport."""

from __future__ import annotations

from typing import Any

from txsoter.core.events import READY, RequestEnded, SendFailed
from txsoter.core.send_queue import BATCH, PIECE
from txsoter.errors import CloseCause, ConnectionClosed, RequestClosed
from txsoter.test.core.ends import filler, remote_version, tx_vector
from txsoter.test.core.fake_adapter import DriverTestCase, Later
from txsoter.wire import FeeFilter, GetBlocks, Inv, Message, Ping, Pong, VerAck


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

    def test_nobody_is_told_from_inside_of_anothers_being_told(self) -> None:
        """However much he sends."""
        adapter = self.adapter()
        log: list[str] = []

        def told(token: int) -> None:
            log.append(f"begin {token}")
            if token == 0:
                for number in range(1, 3 * BATCH):
                    adapter.send(Ping(number), number)
            log.append(f"end {token}")

        adapter.on_sent = told
        adapter.send(Ping(0), 0)
        self.assertEqual(log, [f"{each} {token}" for token in range(3 * BATCH) for each in ("begin", "end")])

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
