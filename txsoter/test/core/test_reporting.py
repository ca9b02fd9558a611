"""The application's share of a connection's events: listeners, log lines, and those who wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import TestCase

import attrs

from txsoter.core.events import READY, Closed, Notice, Observed, RoundTrip, SlowHandler, WriteFailed
from txsoter.core.listeners import Listeners
from txsoter.core.log_text import MessageLog
from txsoter.core.reporting import Reporter
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy, CloseReason, LocalError, MalformedMessage
from txsoter.test.core.ends import End, frame, simnet
from txsoter.wire import Inv, Message, Ping

DONE = CloseReason(ClosedBy.LOCAL, CloseCause.DISCONNECT)


@attrs.frozen
class Settings:
    """What a reporter reads."""

    listeners: Listeners
    log_connections: bool = False
    log_messages: MessageLog = MessageLog.OFF


class FakeHost:
    """Notes what it is told, in order; it is the peer, too."""

    def __init__(self, is_ready: bool = True, log_connections: bool = False, log: int = 0, **hooks: Any) -> None:
        self.steps: list[Any] = []
        self.waits: list[Callable[[Any, BaseException | None], None]] = []
        self.end = End(simnet())
        if is_ready:
            self.end.channel.state = State.READY
        config = Settings(Listeners(**hooks), log_connections, MessageLog(log))
        self.reporter = Reporter(self.end.connection, config, self, self)

    def log(self, level: str, text: str, error: BaseException | None = None, /, **fields: Any) -> None:
        self.steps.append((level, text.format(**fields), type(error).__name__ if error is not None else None))

    def wait_for(self, result: Any, done: Callable[[Any, BaseException | None], None]) -> bool:
        self.waits.append(done)
        return True

    def address_text(self) -> str:
        return "there"

    def ready(self) -> None:
        self.steps.append("waiters are ready")

    def malformed(self, error: MalformedMessage) -> None:
        self.steps.append("malformed")

    def send_failed(self, token: Any, error: Exception) -> None:
        self.steps.append((token, error))

    def request_ended(self, token: Any, answer: Message | None, error: Exception | None) -> None:
        self.steps.append((token, answer, error))

    def ended(self, reason: CloseReason) -> None:
        self.steps.append("cleaned up")

    def closed(self, reason: CloseReason) -> None:
        self.steps.append("waiters are told")


class ReporterTests(TestCase):
    def noting(self, name: str) -> Callable[..., None]:
        """A listener that notes that it was called, and with what behind the peer."""
        return lambda host, *rest: host.steps.append((name, *rest))

    def test_those_who_wait_are_told_of_ready_before_the_listener(self) -> None:
        host = FakeHost(on_ready=self.noting("ready"))
        host.reporter.handle(READY)
        self.assertEqual(host.steps, ["waiters are ready", ("ready",)])

    def test_the_listener_is_not_told_when_they_have_hung_up(self) -> None:
        host = FakeHost(is_ready=False, on_ready=self.noting("ready"))
        host.reporter.handle(READY)
        self.assertEqual(host.steps, ["waiters are ready"])

    def test_the_end_is_cleaned_up_first_and_told_to_those_who_wait_last(self) -> None:
        host = FakeHost(on_closed=self.noting("closed"))
        host.reporter.handle(Closed(DONE))
        self.assertEqual(host.steps, ["cleaned up", ("closed", DONE), "waiters are told"])

    def test_an_end_without_a_fault_is_logged_on_request_and_one_by_a_fault_always(self) -> None:
        for log_connections in (False, True):
            for cause in CloseCause:
                host = FakeHost(log_connections=log_connections)
                host.reporter.handle(Closed(CloseReason(ClosedBy.LOCAL, cause)))
                ordinary = cause in (CloseCause.DISCONNECT, CloseCause.REMOTE_CLOSED, CloseCause.CONNECTION_LOST)
                lines = [step for step in host.steps if isinstance(step, tuple)]
                expected = [("info", f"there (outbound): closed by us: {cause.value}", None)]
                self.assertEqual(lines, [] if ordinary and not log_connections else expected)

    def test_the_end_of_a_connection_that_was_not_let_in_is_no_ones_business(self) -> None:
        host = FakeHost(log_connections=True, on_closed=self.noting("closed"))
        host.reporter.is_unknown = True
        host.reporter.handle(Closed(DONE))
        self.assertEqual(host.steps, ["cleaned up", "waiters are told"])

    def test_observers(self) -> None:
        hooks: dict[str, Any] = {name: self.noting(name) for name in ("on_read", "on_write", "on_round_trip")}
        host = FakeHost(**hooks)
        malformed, local = MalformedMessage("odd"), LocalError("no")
        for event in (
            Observed(24, None, b"", malformed),
            Observed(32, Ping(1), bytes(8), None),
            WriteFailed(Ping(2), local),
            RoundTrip(0.5),
        ):
            host.reporter.handle(event)
        host.reporter.written([(frame(Ping(3)), Ping(3), None)])
        expected = [
            "malformed",
            ("on_read", 24, None, malformed),
            ("on_read", 32, Ping(1), None),
            ("on_write", 0, Ping(2), local),
            ("on_round_trip", 0.5),
            ("on_write", 32, Ping(3), None),
        ]
        self.assertEqual(host.steps, expected)

    def test_messages_are_logged_as_the_config_says(self) -> None:
        host = FakeHost(log=MessageLog.SUMMARY)
        host.reporter.handle(Observed(32, Inv(), b"\0", None))
        host.reporter.written([(frame(Ping(3)), Ping(3), None)])
        lines = [
            ("debug", "Received inv (0 vectors) from there (outbound)", None),
            ("debug", "Sending ping (nonce 0x0000000000000003) to there (outbound)", None),
        ]
        self.assertEqual(host.steps, lines)

    def test_lines_about_the_connection(self) -> None:
        host = FakeHost()
        host.reporter.handle(Notice("{odd}"))
        host.reporter.handle(Notice("it failed", ZeroDivisionError()))
        host.reporter.handle(SlowHandler("inv", 60.4, "on_inv_of_mine"))
        host.reporter.note("info", "{braces}")
        lines = [
            ("warn", "there (outbound): {odd}", None),
            ("error", "there (outbound): it failed", "ZeroDivisionError"),
            (
                "warn",
                "there (outbound): the listener on_inv_of_mine for inv has not finished for 60 s; "
                "no message is handled meanwhile",
                None,
            ),
            ("info", "there (outbound): {braces}", None),
        ]
        self.assertEqual(host.steps, lines)

    def test_a_listener_that_fails_now_or_later_is_logged_and_counted(self) -> None:
        class Silent(Exception):
            def __str__(self) -> str:
                raise ZeroDivisionError

        def fail(host: FakeHost, reason: CloseReason) -> None:
            raise Silent

        host = FakeHost(on_closed=fail, on_ready=lambda host: "a result that takes its time")
        host.reporter.handle(READY)
        host.waits[0](None, ZeroDivisionError())
        host.reporter.handle(Closed(DONE))
        lines = [step for step in host.steps if isinstance(step, tuple)]
        self.assertEqual(
            lines,
            [
                ("error", "there (outbound): the handler of verack failed", "ZeroDivisionError"),
                ("error", "there (outbound): the handler of close failed", "Silent"),
            ],
        )
        self.assertEqual(host.end.channel.counters.handler_errors, 2)
        self.assertEqual(host.steps[-1], "waiters are told")
