"""Handlers: strictly one after the other, in the order of arrival; the next message waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import TestCase, mock

from txsoter.core.dispatch_table import Handler
from txsoter.core.state import State
from txsoter.core.turns import Turns
from txsoter.errors import CloseCause, ClosedBy
from txsoter.test.core.ends import frame, remote_version, simnet
from txsoter.test.core.fake_adapter import FakeAdapter, Later
from txsoter.wire import FeeFilter, GetBlocks, Inv, Message, Ping, Reject, RejectCode, VerAck, Version


def fees(*numbers: int) -> list[FeeFilter]:
    return [FeeFilter(number) for number in numbers]


class HandlerTestCase(TestCase):
    def adapter(self, *handlers: Callable[[int], Any], **fields: Any) -> FakeAdapter:
        """Return an adapter whose handlers of fee filters are given the fee."""

        def handler_of(each: Callable[[int], Any]) -> Handler:
            def handler(peer: Any, message: Message, payload: bytes) -> Any:
                self.assertIs(peer, adapter)
                assert isinstance(message, FeeFilter)
                self.assertEqual(payload, frame(message)[24:])
                return each(message.fee)

            return handler

        adapter = FakeAdapter(simnet(**fields), {FeeFilter: [handler_of(each) for each in handlers]})
        self.addCleanup(self.lose, adapter)
        return adapter.ready()

    def lose(self, adapter: FakeAdapter) -> None:
        adapter.driver.connection_lost(ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED, "")
        self.assertIs(adapter.connection.state, State.CLOSED)


class WaitingTests(HandlerTestCase):
    def test_the_next_message_waits(self) -> None:
        later: list[Later] = []

        def handle(fee: int) -> Later:
            later.append(Later())
            return later[-1]

        adapter = self.adapter(handle)
        adapter.feed(*fees(1, 2))
        adapter.feed(*fees(3))
        for number in range(3):
            self.assertEqual(len(later), number + 1)
            later[number].succeed()
        self.assertIsNone(adapter.channel.in_hand)

    def test_handlers_of_one_message_run_one_after_the_other(self) -> None:
        gate = Later()
        log: list[tuple[str, int]] = []

        def first(fee: int) -> Later:
            log.append(("first", fee))
            return gate

        adapter = self.adapter(first, lambda fee: log.append(("second", fee)))
        adapter.feed(*fees(1, 2))
        self.assertEqual(log, [("first", 1)])
        gate.succeed()
        self.assertEqual(log, [("first", 1), ("second", 1), ("first", 2), ("second", 2)])

    def test_each_of_several_may_be_waited_for(self) -> None:
        gates = [Later(), Later()]
        log: list[int] = []
        adapter = self.adapter(lambda fee: gates[0], lambda fee: gates[1], log.append)
        adapter.feed(*fees(1))
        gates[0].succeed()
        self.assertEqual(log, [])
        gates[1].succeed()
        self.assertEqual(log, [1])

    def test_one_that_is_done_already_holds_nothing_up(self) -> None:
        """Nor does it eat the stack."""
        done = Later().succeed()
        handled: list[int] = []
        adapter = self.adapter(lambda fee: done, handled.append)
        adapter.feed(*fees(*range(5000)))
        self.assertEqual(handled, list(range(5000)))

    def test_many_that_are_done_one_by_one_do_not_eat_the_stack(self) -> None:
        gates = [Later() for _ in range(3000)]
        adapter = self.adapter(lambda fee: gates[fee])
        adapter.feed(*fees(*range(3000)))
        for gate in gates[1:]:
            gate.succeed()
        gates[0].succeed()
        self.assertIsNone(adapter.channel.in_hand)
        self.assertEqual(adapter.channel.counters.received["feefilter"].messages, 3000)

    def test_reading_is_paused_meanwhile(self) -> None:
        gate = Later()
        adapter = self.adapter(lambda fee: gate)
        adapter.feed(*fees(1))
        self.assertEqual(adapter.reading, [False])
        gate.succeed()
        self.assertEqual(adapter.reading, [False, True])

    def test_a_handler_that_is_done_at_once_pauses_nothing(self) -> None:
        adapter = self.adapter(lambda fee: None)
        adapter.feed(*fees(1, 2, 3))
        self.assertEqual(adapter.reading, [])

    def test_a_plain_result_is_not_waited_for(self) -> None:
        handled: list[int] = []
        adapter = self.adapter(lambda fee: "plain", handled.append)
        adapter.feed(*fees(1, 2))
        self.assertEqual(handled, [1, 2])

    def test_an_answer_that_a_handler_waits_for(self) -> None:
        later = Later()
        answers: list[object] = []

        def answered(event: object) -> None:
            answers.append(event)
            later.succeed()

        def handle(fee: int) -> Later | None:
            if fee != 1:
                return None
            adapter.connection.request(GetBlocks(height=1), Inv, None, None, "asked", adapter.time)
            adapter.driver.run()
            return later

        adapter = self.adapter(handle)
        adapter.on_event = answered
        adapter.feed(*fees(1, 2), Inv(), *fees(3))
        self.assertEqual(len(answers), 1)
        self.assertEqual(adapter.channel.counters.received["feefilter"].messages, 3)

    def test_what_one_sends_behind_one_that_was_waited_for_goes_out_in_one_write(self) -> None:
        gate = Later()

        def send(fee: int) -> None:
            for number in range(5):
                adapter.send(Ping(number))

        adapter = self.adapter(lambda fee: gate, send)
        adapter.feed(*fees(1))
        writes = len(adapter.writes)
        gate.succeed()
        self.assertEqual((len(adapter.writes) - writes, len(adapter.said())), (1, 5))


class FailureTests(HandlerTestCase):
    def test_the_next_one_and_the_next_message_go_on(self) -> None:
        def plain(fee: int) -> None:
            raise KeyError(fee)

        handled: list[int] = []
        adapter = self.adapter(plain, lambda fee: Later().fail(ValueError()), handled.append)
        adapter.feed(*fees(1, 2))
        self.assertEqual([type(error) for error, _ in adapter.failures], [KeyError, ValueError] * 2)
        self.assertEqual({command for _, command in adapter.failures}, {"feefilter"})
        self.assertEqual((handled, adapter.channel.counters.handler_errors), ([1, 2], 4))

    def test_one_that_fails_later(self) -> None:
        gate = Later()
        handled: list[int] = []
        adapter = self.adapter(lambda fee: gate if fee == 1 else None, handled.append)
        adapter.feed(*fees(1, 2))
        gate.fail(ValueError())
        self.assertEqual((len(adapter.failures), handled), (1, [1, 2]))

    def test_it_may_close_the_connection(self) -> None:
        handled: list[int] = []
        adapter = self.adapter(lambda fee: 1 // 0, handled.append, close_on_handler_error=True)
        adapter.feed(*fees(1, 2))
        self.assertEqual((handled, adapter.log.count("hang_up")), ([], 1))
        self.assertIs(adapter.connection.reason and adapter.connection.reason.cause, CloseCause.HANDLER_FAILED)


class ResultsTests(HandlerTestCase):
    def test_those_that_are_not_none_in_order_and_none_of_handlers_that_failed(self) -> None:
        gate = Later()
        adapter = self.adapter(
            lambda fee: "plain",
            lambda fee: None,
            lambda fee: gate,
            lambda fee: 1 // 0,
            lambda fee: Later().succeed("at once"),
            lambda fee: Later().succeed(None),
            lambda fee: Later().fail(ValueError()),
        )
        with mock.patch.object(Turns, "handled", autospec=True, side_effect=Turns.handled) as handled:
            adapter.feed(*fees(1))
            handled.assert_not_called()
            adapter.time = 5.0
            gate.succeed("later")
        handled.assert_called_once_with(adapter.connection.turns, 5.0, ["plain", "later", "at once"])


class VersionResultTests(TestCase):
    """Results of the handlers of ``version``: a reject among them refuses the remote."""

    REFUSAL = Reject(b"version", RejectCode.INVALID, b"not you")

    def state_after(self, *results: Any) -> State:
        def handler_of(result: Any) -> Handler:
            def handler(peer: Any, message: Message, payload: bytes) -> Any:
                if isinstance(result, Exception):
                    raise result
                return result

            return handler

        adapter = FakeAdapter(handlers={Version: [handler_of(each) for each in results]}).made()
        adapter.feed(remote_version())
        for each in results:
            if isinstance(each, Later) and each is not DONE:
                self.assertIs(adapter.connection.state, State.VERSION_KNOWN)
                each.succeed(self.REFUSAL)
        state = adapter.connection.state
        adapter.driver.connection_lost(ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED, "")
        return state

    def test_plain_or_waited_for(self) -> None:
        self.assertIs(self.state_after(self.REFUSAL), State.CLOSING)
        self.assertIs(self.state_after(None, self.REFUSAL, None), State.CLOSING)
        self.assertIs(self.state_after(Later()), State.CLOSING)
        self.assertIs(self.state_after(None, Later(), "plain"), State.CLOSING)

    def test_none_others_and_failures_accept_it(self) -> None:
        self.assertIs(self.state_after(), State.NEGOTIATED)
        self.assertIs(self.state_after(None, "plain", 7), State.NEGOTIATED)
        self.assertIs(self.state_after(ValueError(), DONE), State.NEGOTIATED)


DONE = Later().succeed()


class ClosingTests(HandlerTestCase):
    def test_the_handlers_behind_one_that_closes_are_not_called(self) -> None:
        handled: list[int] = []
        adapter = self.adapter(lambda fee: adapter.driver.close(CloseCause.DISCONNECT), handled.append)
        adapter.feed(*fees(1, 2))
        self.assertEqual((handled, adapter.log.count("hang_up")), ([], 1))

    def test_it_hangs_up_without_waiting_for_the_other_handlers(self) -> None:
        gate = Later()

        def handle(fee: int) -> Later:
            adapter.driver.close(CloseCause.DISCONNECT)
            self.assertEqual(adapter.log.count("hang_up"), 1)
            return gate

        adapter = self.adapter(handle)
        adapter.feed(*fees(1))
        self.assertEqual(adapter.log.count("hang_up"), 1)
        gate.succeed()

    def test_one_that_is_done_after_the_end_does_no_harm(self) -> None:
        for lost in (False, True):
            for error in (None, ValueError()):
                gate = Later()
                handled: list[int] = []
                adapter = self.adapter(lambda fee, gate=gate: gate, handled.append)  # type: ignore[misc]
                adapter.feed(*fees(1, 2), frame(FeeFilter(3))[:-1])
                adapter.driver.close(CloseCause.DISCONNECT)
                if lost:
                    self.lose(adapter)
                if error is None:
                    gate.succeed()
                else:
                    gate.fail(error)
                self.assertEqual((handled, len(adapter.failures)), ([], 0 if error is None else 1))

    def test_the_time_of_a_handler_is_not_the_remotes(self) -> None:
        gate = Later()
        adapter = self.adapter(lambda fee: gate, ping_interval=None)
        adapter.feed(*fees(1))
        adapter.advance(1000)
        self.assertIs(adapter.connection.state, State.READY)
        gate.succeed()
        adapter.advance(299)
        self.assertIs(adapter.connection.state, State.READY)
        adapter.advance(2)
        self.assertIs(adapter.connection.state, State.CLOSING)


class HandshakeTests(TestCase):
    def test_messages_behind_a_version_whose_handler_is_waited_for(self) -> None:
        gate, log = Later(), []
        handlers: dict[Any, Any] = {
            Version: lambda peer, message, payload: gate,
            Ping: lambda peer, message, payload: log.append(message),
        }
        adapter = FakeAdapter(handlers=handlers).made()
        adapter.feed(remote_version(), Ping(1), VerAck())
        self.assertEqual(log, [])
        gate.succeed()
        self.assertEqual((log, adapter.connection.state), ([Ping(1)], State.READY))
        adapter.driver.connection_lost(ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED, "")
