"""Tests of :mod:`txsoter.peer.inbox` (PEER.md, "Reading")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from txsoter.core.traffic import Traffic
from txsoter.errors import MalformedMessage
from txsoter.peer.inbox import HELD_MESSAGE, Inbox, Received
from txsoter.peer.routes import Handler, Plan, Route
from txsoter.peer.timers import RemoteClock
from txsoter.test.peer.support import TrialCase
from txsoter.wire import Encoding, Message, Ping, Tx, Unknown, VerAck, write_message
from txsoter.wire.message import command_text, message_class

MAGIC = 0x12141C16


def pings(*nonces: int) -> bytes:
    """Their frames."""
    return b"".join(write_message(Ping(nonce), MAGIC) for nonce in nonces)


def bad_header(length: int = 9) -> bytes:
    """The header of a ping that announces more than a ping may have."""
    return pings(0)[:16] + length.to_bytes(4, "little") + bytes(4)


BAD_CHECKSUM = pings(0)[:20] + bytes(12)
TOO_SHORT = write_message(Unknown("ping", b"\0\0\0"), MAGIC)


class FakeReader:
    """Whom an inbox reads for: it notes what it is told."""

    def __init__(self) -> None:
        self.handlers: tuple[Handler, ...] = ()
        self.conclude: Callable[[list[Any]], object] | None = None
        self.open = True
        self.asking = False
        self.forgiving = False
        self.keep = False
        self.turns: list[Message] = []
        self.payloads: list[bytes] = []
        self.ahead: list[Message] = []
        self.errors: list[MalformedMessage] = []
        self.failures: list[tuple[type[BaseException], str]] = []
        self.changes = 0
        self.on_ahead: Callable[[Message], object] = lambda message: None
        self.close: Callable[[], None] = lambda: None

    def may_read(self) -> bool:
        return self.open

    def may_look_ahead(self) -> bool:
        return self.asking

    def find_route(self, command: bytes) -> Route:
        known = message_class(command)
        limit = Unknown.max_size() if known is None else known.max_size()
        conclude = None if self.conclude is None else lambda reader, results: self.concluded(results)
        plan = Plan(command_text(command), known, handlers=self.handlers, conclude=conclude)
        return Route(plan, limit, Traffic())

    def concluded(self, results: list[Any]) -> None:
        assert self.conclude is not None
        self.conclude(results)

    def received(self, received: Received) -> bool:
        _, message, payload, _, _ = received
        self.turns.append(message)
        self.payloads.append(payload)
        return not self.keep

    def has_read(self, received: Received) -> None:
        self.ahead.append(received[1])
        self.on_ahead(received[1])

    def malformed(self, error: MalformedMessage) -> bool:
        self.errors.append(error)
        if not self.forgiving:
            self.close()
        return self.forgiving

    def handler_failed(self, failure: Failure, command: str) -> None:
        assert failure.type is not None
        self.failures.append((failure.type, command))

    def reading_changed(self) -> None:
        self.changes += 1


class InboxTestCase(TrialCase):
    def setUp(self) -> None:
        self.reader = FakeReader()
        self.clock = Clock()
        self.remote_clock = RemoteClock(self.clock)
        self.inbox = Inbox(self.reader, MAGIC, 70013, self.remote_clock, 1000)
        self.reader.close = self.inbox.close

    def handled_by(self, *handlers: Callable[[int], Any]) -> None:
        """Let those handle pings, whose nonce they are given."""

        def handler_of(each: Callable[[int], Any]) -> Handler:
            def handler(reader: object, message: Message, payload: bytes) -> Any:
                assert reader is self.reader
                assert isinstance(message, Ping)
                return each(message.nonce)

            return handler

        self.reader.handlers = tuple(handler_of(each) for each in handlers)

    @property
    def turns(self) -> list[int]:
        """The nonces of the pings whose turn has come."""
        return [each.nonce for each in self.reader.turns if isinstance(each, Ping)]


class ChunkingTests(InboxTestCase):
    """Bytes come in any chunking: one at a time, or a thousand messages in one read."""

    def test_any_chunking_gives_the_same_messages(self) -> None:
        stream = pings(*range(20)) + write_message(VerAck(), MAGIC) + pings(99)
        expected = [*(Ping(nonce) for nonce in range(20)), VerAck(), Ping(99)]
        for size in (1, 2, 23, 24, 25, 31, 32, 33, 100, len(stream)):
            self.setUp()
            for start in range(0, len(stream), size):
                self.inbox.feed(stream[start : start + size])
            self.assertEqual(self.reader.turns, expected, size)
            self.assertEqual(self.inbox.buffered, 0)

    def test_a_thousand_messages_in_one_read(self) -> None:
        self.inbox.feed(pings(*range(1000)) + pings(1000)[:-1])
        self.assertEqual(self.turns, list(range(1000)))
        self.assertEqual(self.inbox.buffered, 31)

    def test_memory_is_bounded_by_what_was_sent(self) -> None:
        """An announcement is not held in advance."""
        header = write_message(Unknown("x", bytes(1000)), MAGIC)[:24]
        self.inbox.feed(header + bytes(10))
        self.assertEqual(self.inbox.buffered, 34)

    def test_a_message_comes_with_its_payload(self) -> None:
        self.inbox.feed(pings(7))
        self.assertEqual(self.reader.payloads, [(7).to_bytes(8, "little")])

    def test_unknown_commands_come_as_unknown(self) -> None:
        self.inbox.feed(write_message(Unknown("novel", b"abc"), MAGIC))
        self.assertEqual(self.reader.turns, [Unknown("novel", b"abc")])

    def test_version_and_encoding_hold_from_the_next_message_on(self) -> None:
        marked = bytes.fromhex("010000000001000000000000")
        frame = write_message(Unknown("tx", marked), MAGIC)
        seen: list[Encoding] = []
        self.reader.handlers = (lambda reader, message, payload: self.inbox.negotiated(60000, Encoding.WITNESS),)
        self.inbox.feed(pings(1) + write_message(Ping(2), MAGIC, 60000) + frame)
        self.assertEqual([type(each) for each in self.reader.turns], [Ping, Ping, Tx])
        self.assertEqual((self.inbox.pver, self.inbox.encoding, seen), (60000, Encoding.WITNESS, []))
        self.assertEqual(self.turns, [1, 0])


class HandlerTests(InboxTestCase):
    """Handlers run strictly one after the other, in arrival order."""

    def test_the_next_message_waits_for_a_deferred(self) -> None:
        waiting: list[Deferred[None]] = []

        def handle(nonce: int) -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        self.handled_by(handle)
        self.inbox.feed(pings(1, 2, 3))
        self.assertEqual((self.turns, len(waiting)), ([1], 1))
        self.inbox.feed(pings(4))
        self.assertEqual(self.turns, [1])
        waiting[0].callback(None)
        self.assertEqual((self.turns, len(waiting)), ([1, 2], 2))
        waiting[1].callback(None)
        waiting[2].callback(None)
        waiting[3].callback(None)
        self.assertEqual(self.turns, [1, 2, 3, 4])

    def test_the_next_message_waits_for_a_coroutine(self) -> None:
        gate: Deferred[None] = Deferred()
        log: list[str] = []

        async def handle(nonce: int) -> None:
            log.append(f"begin {nonce}")
            if nonce == 1:
                await gate
            log.append(f"end {nonce}")

        self.handled_by(handle)
        self.inbox.feed(pings(1, 2))
        self.assertEqual(log, ["begin 1"])
        gate.callback(None)
        self.assertEqual(log, ["begin 1", "end 1", "begin 2", "end 2"])

    def test_handlers_of_one_message_run_one_after_the_other(self) -> None:
        gate: Deferred[None] = Deferred()
        log: list[tuple[str, int]] = []

        def first(nonce: int) -> Deferred[None]:
            log.append(("first", nonce))
            return gate

        self.handled_by(first, lambda nonce: log.append(("second", nonce)))
        self.inbox.feed(pings(1, 2))
        self.assertEqual(log, [("first", 1)])
        gate.callback(None)
        self.assertEqual(log, [("first", 1), ("second", 1), ("first", 2), ("second", 2)])

    def test_a_deferred_that_has_fired_holds_nothing_up(self) -> None:
        """Nor does it eat the stack."""
        fired: Deferred[None] = Deferred()
        fired.callback(None)
        self.handled_by(lambda nonce: fired)
        self.inbox.feed(pings(*range(5000)))
        self.assertEqual(len(self.turns), 5000)

    def test_reading_is_paused_while_a_handler_runs(self) -> None:
        gate: Deferred[None] = Deferred()
        self.handled_by(lambda nonce: gate)
        self.assertTrue(self.inbox.wants_more)
        self.inbox.feed(pings(1))
        self.assertFalse(self.inbox.wants_more)
        changes = self.reader.changes
        gate.callback(None)
        self.assertTrue(self.inbox.wants_more)
        self.assertGreater(self.reader.changes, changes)

    def test_the_remotes_time_stands_still_while_a_handler_runs(self) -> None:
        gate: Deferred[None] = Deferred()
        self.handled_by(lambda nonce: gate)
        self.inbox.feed(pings(1))
        self.clock.advance(50)
        self.assertEqual((self.remote_clock.running, self.remote_clock.seconds()), (False, 0))
        gate.callback(None)
        self.clock.advance(5)
        self.assertEqual((self.remote_clock.running, self.remote_clock.seconds()), (True, 5))

    def test_a_handler_that_fails_is_told_of_and_the_next_goes_on(self) -> None:
        def plain(nonce: int) -> None:
            raise KeyError(nonce)

        def deferred(nonce: int) -> Deferred[None]:
            failed: Deferred[None] = Deferred()
            failed.errback(Failure(ValueError()))
            return failed

        async def coroutine(nonce: int) -> None:
            raise IndexError

        handled: list[int] = []
        self.handled_by(plain, deferred, coroutine, handled.append)
        self.inbox.feed(pings(1, 2))
        types = [KeyError, ValueError, IndexError]
        self.assertEqual(self.reader.failures, [(each, "ping") for each in types * 2])
        self.assertEqual(handled, [1, 2])
        self.assertTrue(self.remote_clock.running)

    def test_a_handler_that_fails_later(self) -> None:
        gate: Deferred[None] = Deferred()
        self.handled_by(lambda nonce: gate)
        self.inbox.feed(pings(1, 2))
        gate.errback(ValueError())
        self.assertEqual(self.reader.failures, [(ValueError, "ping")])
        self.assertEqual(self.turns, [1, 2])

    def test_results_that_are_not_none_are_concluded_from(self) -> None:
        """Of plain handlers, Deferreds and coroutines, in order; not of those that failed."""
        gate: Deferred[str] = Deferred()

        async def coroutine(nonce: int) -> str:
            return "coroutine"

        concluded: list[list[Any]] = []
        self.reader.conclude = concluded.append
        self.handled_by(lambda nonce: "plain", lambda nonce: None, lambda nonce: gate, lambda nonce: 1 / 0, coroutine)
        self.inbox.feed(pings(1))
        self.assertEqual(concluded, [])
        gate.callback("deferred")
        self.assertEqual(concluded, [["plain", "deferred", "coroutine"]])
        failed: Deferred[None] = Deferred()
        failed.errback(ValueError())
        empty: Deferred[None] = Deferred()
        empty.callback(None)
        self.handled_by(lambda nonce: failed, lambda nonce: empty)
        self.inbox.negotiated(70013, Encoding.BASE)
        self.inbox.feed(pings(2))
        self.assertEqual(concluded[1:], [[]])

    def test_conclusions_need_no_handler(self) -> None:
        concluded: list[list[Any]] = []
        self.reader.conclude = concluded.append
        self.inbox.feed(pings(1))
        self.assertEqual(concluded, [[]])

    def test_what_is_kept_from_the_handlers_is_not_handled(self) -> None:
        handled: list[int] = []
        self.handled_by(handled.append)
        self.reader.keep = True
        self.inbox.feed(pings(1))
        self.assertEqual((self.turns, handled), ([1], []))

    def test_while_the_reader_may_not_read_nothing_gets_its_turn(self) -> None:
        self.reader.open = False
        self.inbox.feed(pings(1, 2))
        self.assertEqual((self.turns, self.inbox.wants_more), ([], False))
        self.reader.open = True
        self.inbox.pump()
        self.assertEqual((self.turns, self.inbox.wants_more), ([1, 2], True))

    def test_reading_is_asked_for_again_after_each_message(self) -> None:
        """One message at a time."""
        self.handled_by(lambda nonce: setattr(self.reader, "open", False))
        self.inbox.feed(pings(1, 2))
        self.assertEqual(self.turns, [1])

    def test_a_handler_may_pump_without_overtaking_itself(self) -> None:
        """As request() does; also the second handler of a message, after the first was waited for."""
        gate: Deferred[None] = Deferred()
        log: list[str] = []

        def second(nonce: int) -> None:
            log.append(f"begin {nonce}")
            self.inbox.pump()
            log.append(f"end {nonce}")

        self.handled_by(lambda nonce: gate if nonce == 1 else None, second)
        self.inbox.feed(pings(1, 2))
        gate.callback(None)
        self.assertEqual(log, ["begin 1", "end 1", "begin 2", "end 2"])


class LookAheadTests(InboxTestCase):
    """Only while it waits for the answer to a request of its own are messages read ahead."""

    def setUp(self) -> None:
        super().setUp()
        self.gate: Deferred[None] = Deferred()
        self.handled: list[int] = []

        def handle(nonce: int) -> Deferred[None] | None:
            self.handled.append(nonce)
            return self.gate if nonce == 1 else None

        self.handled_by(handle)

    @property
    def ahead(self) -> list[int]:
        return [each.nonce for each in self.reader.ahead if isinstance(each, Ping)]

    def test_only_while_a_request_waits(self) -> None:
        self.inbox.feed(pings(1, 2, 3))
        self.assertEqual(self.ahead, [1])
        self.reader.asking = True
        self.assertTrue(self.inbox.wants_more)
        self.inbox.pump()
        self.assertEqual((self.ahead, self.turns), ([1, 2, 3], [1]))
        self.reader.asking = False
        self.inbox.feed(pings(4))
        self.assertEqual((self.ahead, self.turns), ([1, 2, 3], [1]))
        self.assertFalse(self.inbox.wants_more)

    def test_turns_come_in_order_and_once(self) -> None:
        self.reader.asking = True
        self.inbox.feed(pings(1, 2, 3))
        self.inbox.feed(pings(4))
        self.reader.asking = False
        self.inbox.feed(pings(5))
        self.assertEqual(self.handled, [1])
        self.gate.callback(None)
        self.assertEqual((self.handled, self.turns), ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]))
        self.assertEqual((self.ahead, self.inbox.buffered), ([1, 2, 3, 4, 5], 0))

    def test_the_answer_that_is_found_ends_the_wait(self) -> None:
        self.reader.asking = True
        self.reader.on_ahead = lambda message: self.gate.callback(None) if message == Ping(3) else None
        self.inbox.feed(pings(1, 2, 3, 4))
        self.assertEqual(self.handled, [1, 2, 3, 4])

    def test_no_more_than_the_limit_is_read_ahead(self) -> None:
        """Whole frames count, and what it costs to hold them, so that empty messages do too; one may go past it."""
        self.reader.asking = True
        self.inbox.feed(pings(*range(1, 101)))
        self.assertEqual(len(self.ahead) - 1, 1000 // (32 + HELD_MESSAGE) + 1)
        self.assertFalse(self.inbox.wants_more)
        self.assertEqual(self.inbox.buffered, 99 * 32)
        self.gate.callback(None)
        self.assertEqual((self.handled, self.inbox.buffered), (list(range(1, 101)), 0))

    def test_empty_messages_are_bounded_too(self) -> None:
        self.reader.asking = True
        self.inbox.feed(pings(1) + write_message(VerAck(), MAGIC) * 1000)
        self.assertEqual(len(self.reader.ahead) - 1, 1000 // (24 + HELD_MESSAGE) + 1)

    def test_a_malformed_header_blocks_and_gets_its_turn(self) -> None:
        self.reader.asking = True
        self.inbox.feed(pings(1, 2) + bad_header() + pings(3))
        self.assertEqual((self.ahead, self.reader.errors), ([1, 2], []))
        self.assertFalse(self.inbox.wants_more)
        self.inbox.feed(pings(4))
        self.assertEqual(self.ahead, [1, 2])
        self.gate.callback(None)
        self.assertEqual(self.handled, [1, 2])
        self.assertEqual([error.in_header for error in self.reader.errors], [True])

    def test_a_malformed_header_that_is_forgiven_in_its_turn(self) -> None:
        self.reader.asking = self.reader.forgiving = True
        self.inbox.feed(pings(1, 2) + bad_header() + bytes(9) + pings(3))
        self.gate.callback(None)
        self.assertEqual((self.handled, len(self.reader.errors)), ([1, 2, 3], 1))

    def test_after_a_malformed_one_that_was_forgiven_it_looks_ahead_again(self) -> None:
        self.reader.asking = self.reader.forgiving = True
        self.inbox.feed(pings(1) + BAD_CHECKSUM)
        gate, self.gate = self.gate, Deferred()
        gate.callback(None)
        self.inbox.feed(pings(1, 2, 3))
        self.assertEqual((self.handled, self.ahead), ([1, 1], [1, 1, 2, 3]))

    def test_a_malformed_payload_blocks_and_gets_its_turn(self) -> None:
        for frame in (BAD_CHECKSUM, TOO_SHORT):
            self.setUp()
            self.reader.asking = self.reader.forgiving = True
            self.inbox.feed(pings(1, 2) + frame + pings(3))
            self.assertEqual((self.ahead, self.reader.errors), ([1, 2], []))
            self.gate.callback(None)
            self.assertEqual((self.handled, len(self.reader.errors)), ([1, 2, 3], 1))


class MalformedTests(InboxTestCase):
    def test_the_size_of_what_was_read(self) -> None:
        self.reader.forgiving = True
        self.inbox.feed(BAD_CHECKSUM + TOO_SHORT + bad_header())
        self.assertEqual([error.size for error in self.reader.errors], [32, 27, 24])
        self.assertEqual([error.in_header for error in self.reader.errors], [False, False, True])
        self.assertEqual([error.command for error in self.reader.errors], ["ping"] * 3)

    def test_a_bad_header_at_once_without_its_payload(self) -> None:
        """Do not first take the payload it announces."""
        self.inbox.feed(bad_header(1000)[:-1])
        self.assertEqual(self.reader.errors, [])
        self.inbox.feed(bad_header(1000)[-1:])
        self.assertEqual(len(self.reader.errors), 1)

    def test_forgiven_it_is_skipped_with_its_payload(self) -> None:
        """In any chunking."""
        other_magic = b"\xf9\xbe\xb4\xd9" + pings(0)[4:]
        for bad in (bad_header(1000) + bytes(1000), bad_header(9) + bytes(9), BAD_CHECKSUM, TOO_SHORT, other_magic):
            stream = pings(1) + bad + pings(2, 3)
            for size in (1, 7, 24, 50, len(stream)):
                self.setUp()
                self.reader.forgiving = True
                for start in range(0, len(stream), size):
                    self.inbox.feed(stream[start : start + size])
                self.assertEqual((self.turns, len(self.reader.errors)), ([1, 2, 3], 1), (bad[:24], size))


class CloseTests(InboxTestCase):
    def test_nothing_is_handled_after_close(self) -> None:
        self.handled_by(lambda nonce: self.inbox.close())
        self.inbox.feed(pings(1, 2))
        self.inbox.feed(pings(3))
        self.assertEqual((self.turns, self.inbox.wants_more), ([1], False))

    def test_the_other_handlers_of_a_message_that_closed_are_not_called(self) -> None:
        handled: list[int] = []
        self.handled_by(lambda nonce: self.inbox.close(), handled.append)
        self.reader.conclude = lambda results: self.fail("concluded")
        self.inbox.feed(pings(1))
        self.assertEqual(handled, [])
        self.assertTrue(self.remote_clock.running)

    def test_a_handler_that_finishes_after_close_does_no_harm(self) -> None:
        for result in (None, ValueError()):
            self.setUp()
            gate: Deferred[None] = Deferred()
            handled: list[int] = []
            self.handled_by(lambda nonce, gate=gate: gate, handled.append)  # type: ignore[misc]
            self.reader.conclude = lambda results: self.fail("concluded")
            self.reader.asking = True
            self.inbox.feed(pings(1, 2) + pings(3)[:-1])
            self.inbox.close()
            self.assertEqual(self.inbox.buffered, 0)
            if result is None:
                gate.callback(None)
            else:
                gate.errback(result)
            self.assertEqual((self.turns, handled), ([1], []))
            self.assertEqual(len(self.reader.failures), 0 if result is None else 1)
            self.assertTrue(self.remote_clock.running)
