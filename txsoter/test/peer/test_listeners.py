"""What an application hooks in, and when it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from txsoter import CloseCause, ClosedBy, CloseReason, Listeners, SoterPeerProtocol
from txsoter.core.state import State
from txsoter.errors import FieldError, MalformedMessage, SendQueueFull, TxsoterError
from txsoter.test.peer.cases import AFTER_HANDSHAKE, WholePeerTestCase, blocks, config, framed, noting
from txsoter.testing import connected_pair, remote_version
from txsoter.wire import (
    Block,
    FilterAdd,
    GetAddr,
    GetBlocks,
    Inv,
    MemPool,
    Message,
    Ping,
    Pong,
    Services,
    Unknown,
    VerAck,
    Version,
    messages,
)

Event = tuple[Any, ...]


class Recorder(SoterPeerProtocol):
    """A subclass that notes what it is told."""

    events: list[Event]

    def message_received(self, message: Message) -> Any:
        self.events.append(("message_received", message))

    def peer_ready(self) -> None:
        self.events.append(("peer_ready",))

    def peer_closed(self, reason: CloseReason) -> None:
        self.events.append(("peer_closed", reason))


def recorder(events: list[Event]) -> Callable[..., SoterPeerProtocol]:
    """Makes peers that note in ``events``."""

    def make(settings: Any, inbound: bool) -> SoterPeerProtocol:
        peer = Recorder(settings, inbound)
        peer.events = events
        return peer

    return make


def naming(name: str, events: list[Event]) -> Callable[..., None]:
    """A listener that notes its name and what it was called with, the peer included."""
    return lambda *arguments: events.append((name, *arguments))


def every_listener(events: list[Event]) -> Listeners:
    """All of them, each noting its name and what it was called with."""

    def named(name: str) -> Callable[..., None]:
        return lambda peer, *arguments: events.append((name, *arguments))

    names = [each.name for each in attrs.fields(Listeners) if each.name != "on_message"]
    listeners: dict[str, Any] = {name: named(name) for name in names}
    return Listeners(**listeners)


class MessageListenerTests(WholePeerTestCase):
    """ "One per message, for **all** 31"."""

    def test_there_is_one_for_each_command_and_a_few_more(self) -> None:
        names = {each.name for each in attrs.fields(Listeners)}
        self.assertEqual(len(messages()), 31)
        others = {"on_unknown", "on_message", "on_read", "on_write", "on_ready", "on_round_trip", "on_closed"}
        self.assertEqual(names, {f"on_{command}" for command in messages()} | others)
        none: dict[str, object] = {each.name: None for each in attrs.fields(Listeners)} | {"on_message": {}}
        self.assertEqual(attrs.asdict(Listeners()), none)

    def test_each_is_called_with_the_peer_and_the_message_in_the_order_of_arrival(self) -> None:
        """Also cfcheckpt's, which the reference declares and never calls. `on_block` also gets the payload."""
        for inbound in (False, True):
            called: list[Event] = []
            hooks: dict[str, Any] = {f"on_{command}": naming(command, called) for command in messages()}
            pair = self.fresh(config(services=Services.BLOOM, listeners=Listeners(**hooks)), inbound=inbound)
            said = (remote_version(), VerAck(), *AFTER_HANDSHAKE)
            pair.say(b"".join(framed(each) for each in said))
            expected: list[Event] = []
            for each in said:
                payload = (framed(each)[24:],) if isinstance(each, Block) else ()
                expected.append((each.command, pair.peer, each, *payload))
            self.assertEqual(called, expected)
            self.assertEqual(len(called), 31)

    def test_the_peers_own_part_comes_first_then_on_read_the_listener_and_the_subclass(self) -> None:
        events: list[Event] = []
        listeners = every_listener(events)
        pair = self.fresh(config(listeners=listeners), protocol=recorder(events))
        version = remote_version()
        del events[:]
        pair.say(version, VerAck(), Ping(5), Unknown("hello", b"you"))
        ours = [event for event in events if event[0] != "on_write"]
        expected: list[Event] = []
        for message in (version, VerAck(), Ping(5), Unknown("hello", b"you")):
            size = len(framed(message))
            name = "on_unknown" if isinstance(message, Unknown) else f"on_{message.command}"
            if isinstance(message, VerAck):
                expected += [("peer_ready",), ("on_ready",)]
            expected += [("on_read", size, message, None), (name, message), ("message_received", message)]
        self.assertEqual(ours, expected)
        written = [event[2] for event in events if event[0] == "on_write"]
        self.assertEqual(written[-2:], [VerAck(), Pong(5)])

    def test_one_peers_message_does_not_reach_anothers(self) -> None:
        events: list[Event] = []
        pair = self.connected_pair(config(listeners=every_listener(events)), config())
        del events[:]
        pair.client.send(Ping(1))
        pair.pump()
        self.assertEqual([event[0] for event in events], ["on_write", "on_round_trip", "on_read", "on_pong"])

    def test_without_overriding_a_subclass_is_told_nothing(self) -> None:
        pair = connected_pair(protocol=SoterPeerProtocol)
        self.assertIsNone(pair.client.message_received(Ping(1)))
        pair.client.disconnect()
        pair.pump()
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_a_deferred_of_a_subclass_is_waited_for(self) -> None:
        later: Deferred[None] = Deferred()
        order: list[str] = []

        class Slow(SoterPeerProtocol):
            def message_received(self, message: Message) -> Any:
                order.append(message.command)
                return later if isinstance(message, GetAddr) else None

        pair = self.scripted(protocol=Slow)
        pair.say(GetAddr(), MemPool())
        self.assertEqual(order, ["version", "verack", "getaddr"])
        later.callback(None)
        self.assertEqual(order, ["version", "verack", "getaddr", "mempool"])


class ObserverTests(WholePeerTestCase):
    """`on_read` and `on_write`, for every message or failure."""

    def test_on_read_is_told_of_every_failure_with_the_bytes_it_took(self) -> None:
        checksum = framed(Ping(1))[:20] + bytes(4) + bytes(8)
        announced = framed(VerAck())[:16] + (5).to_bytes(4, "little") + bytes(4)
        for raw, size, command in (
            (checksum, 32, "ping"),
            (announced, 24, "verack"),
            (framed(Unknown("inv", b"\x01")), 25, "inv"),
            (bytes(24), 24, None),
        ):
            events: list[tuple[int, Message | None, TxsoterError | None]] = []
            listeners = Listeners(on_read=noting(events))
            pair = self.scripted(config(listeners=listeners))
            del events[:]
            pair.say(raw)
            [(read, message, error)] = events
            assert isinstance(error, MalformedMessage)
            self.assertEqual((read, message, error.command), (size, None, command))

    def test_on_read_is_told_of_messages_that_are_kept_from_the_listeners(self) -> None:
        """Before the version, a second verack, an unserved bloom command, and what a strict peer does not know."""
        cases: list[tuple[bool, dict[str, Any], Message]] = [
            (False, {}, Ping(1)),
            (False, {}, Unknown("first")),
            (True, {}, VerAck()),
            (True, {}, remote_version()),
            (True, {}, FilterAdd(b"x")),
            (True, {"strict": True}, Unknown("next")),
        ]
        for ready, fields, message in cases:
            events: list[Event] = []
            pair = self.scripted(config(listeners=every_listener(events), **fields), handshake=ready)
            del events[:]
            pair.say(message)
            told = [event for event in events if event[0] not in ("on_write", "on_closed")]
            self.assertEqual(told, [("on_read", len(framed(message)), message, None)])

    def test_on_read_is_told_of_the_message_at_which_we_hang_up(self) -> None:
        """Whether it is the answer to a request, or the verack that makes the peer ready."""
        events: list[Event] = []
        listeners = Listeners(on_read=noting(events))
        pair = self.scripted(config(listeners=listeners))
        del events[:]
        pair.peer.request(GetBlocks(height=0), Inv).addCallback(lambda _: pair.peer.disconnect())
        pair.say(Inv(), Ping(2))
        self.assertEqual(events, [(25, Inv(), None)])
        other = self.fresh(config(listeners=listeners))
        other.peer.when_ready().addCallback(lambda peer: peer.disconnect())
        del events[:]
        other.handshake()
        self.assertEqual([event[1] for event in events], [remote_version(), VerAck()])

    def test_on_write_is_told_of_every_message_with_its_bytes(self) -> None:
        written: list[Event] = []
        listeners = Listeners(on_write=lambda peer, *arguments: written.append((peer, *arguments)))
        pair = self.fresh(config(listeners=listeners))
        [version] = pair.hear()
        pair.handshake()
        pair.say(Ping(1))
        for message in AFTER_HANDSHAKE:
            pair.peer.send(message)
        expected = [version, VerAck(), Pong(1), *AFTER_HANDSHAKE]
        self.assertEqual(written, [(pair.peer, len(framed(each)), each, None) for each in expected])

    def test_it_is_told_when_the_last_byte_is_with_the_transport(self) -> None:
        written: list[Message | None] = []
        listeners = Listeners(on_write=lambda peer, size, message, error: written.append(message))
        pair = self.scripted(config(listeners=listeners))
        del written[:]
        pair.transport.takes = False
        large = Unknown("large", bytes(200_000))
        pair.peer.send(large)
        self.assertEqual(written, [])
        pair.transport.takes = True
        pair.pump()
        self.assertEqual(written, [large])

    def test_and_of_every_failure(self) -> None:
        told: list[Event] = []
        listeners = Listeners(on_write=noting(told))
        pair = self.scripted(config(listeners=listeners, soft_queue_limit=50, hard_queue_limit=50))
        del told[:]
        with self.assertRaises(FieldError) as caught:
            pair.peer.send(Ping(-1))
        self.assertEqual(told, [(0, Ping(-1), caught.exception)])
        del told[:]
        error = self.error_of(pair.peer.send(Unknown("much", bytes(100))), SendQueueFull)
        self.assertEqual(told, [(0, Unknown("much", bytes(100)), error)])

    def test_on_ready_and_on_closed_are_told_once(self) -> None:
        events: list[Event] = []
        pair = self.fresh(config(listeners=every_listener(events)), protocol=recorder(events))
        pair.handshake()
        told = [event for event in events if event[0] in ("on_ready", "peer_ready")]
        self.assertEqual(told, [("peer_ready",), ("on_ready",)])
        del events[:]
        states: list[State] = []
        pair.peer.when_closed().addCallback(lambda _: states.append(pair.peer.state))
        pair.peer.disconnect("bye")
        pair.pump()
        reason = CloseReason(ClosedBy.LOCAL, CloseCause.DISCONNECT, "bye")
        self.assertEqual((events, states), ([("peer_closed", reason), ("on_closed", reason)], [State.CLOSED]))

    def test_on_closed_is_told_of_a_connection_that_never_was(self) -> None:
        events: list[Event] = []
        peer = SoterPeerProtocol(config(listeners=every_listener(events)))
        peer.disconnect("never mind")
        peer.disconnect("again")
        self.assertEqual(events, [("on_closed", CloseReason(ClosedBy.LOCAL, CloseCause.DISCONNECT, "never mind"))])


class FailingListenerTests(WholePeerTestCase):
    """ "A handler that fails: logged with its traceback and counted; the connection goes on"."""

    def failing(self) -> list[Callable[..., Any]]:
        def raises(*arguments: object) -> None:
            raise ZeroDivisionError

        def fails(*arguments: object) -> Deferred[None]:
            failed: Deferred[None] = Deferred()
            failed.errback(ZeroDivisionError())
            return failed

        async def awaits(*arguments: object) -> None:
            raise ZeroDivisionError

        return [raises, fails, awaits]

    def test_whatever_it_is_and_however_it_fails(self) -> None:
        for name in ("on_version", "on_verack", "on_ping", "on_read", "on_write", "on_ready", "on_closed"):
            for listener in self.failing():
                hooks: dict[str, Any] = {name: listener}
                pair = self.fresh(config(listeners=Listeners(**hooks)), inbound=True)
                pair.handshake()
                pair.say(Ping(1))
                self.assertEqual(pair.hear()[-1:], [Pong(1)])
                self.assert_ready(pair)
                pair.peer.disconnect()
                pair.pump()
                count = {"on_read": 3, "on_write": 3}.get(name, 1)
                self.assertEqual(pair.peer.stats().handler_errors, count)
                self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), count)

    def test_the_messages_behind_are_still_handled_and_so_are_the_other_handlers(self) -> None:
        events: list[Event] = []
        listeners = Listeners(on_inv=lambda peer, message: 1 // 0)
        pair = self.scripted(config(listeners=listeners), protocol=recorder(events))
        del events[:]
        pair.say(Inv(), Ping(1))
        self.assertEqual(events, [("message_received", Inv()), ("message_received", Ping(1))])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_unless_config_asks_for_close(self) -> None:
        for listener in self.failing():
            pair = self.scripted(config(close_on_handler_error=True, listeners=Listeners(on_inv=listener)))
            pair.say(Inv(), Ping(1))
            self.assertEqual(pair.hear(), [])
            self.assert_closed(pair, CloseCause.HANDLER_FAILED, "inv")
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_handlers_run_strictly_one_after_the_other(self) -> None:
        """A handler may return a Deferred or a coroutine: the next message waits for it."""
        waits: list[Deferred[None]] = []
        order: list[object] = []

        def by_deferred(peer: SoterPeerProtocol, message: Message) -> Deferred[None]:
            order.append(message)
            waits.append(Deferred())
            return waits[-1]

        async def by_coroutine(peer: SoterPeerProtocol, message: Block, payload: bytes) -> None:
            await by_deferred(peer, message)

        listeners = Listeners(on_inv=by_deferred, on_block=by_coroutine, on_ping=lambda peer, ping: order.append(ping))
        pair = self.scripted(config(listeners=listeners))
        [block] = blocks(1)
        pair.say(Inv(), block, Ping(1))
        self.assertEqual(order, [Inv()])
        waits[0].callback(None)
        self.assertEqual(order, [Inv(), block])
        waits[1].errback(ZeroDivisionError())
        self.assertEqual(order, [Inv(), block, Ping(1)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_one_that_is_still_busy_when_the_connection_ends_hears_nothing_more(self) -> None:
        later: Deferred[None] = Deferred()
        events: list[Event] = []
        listeners = Listeners(on_inv=lambda peer, message: later)
        pair = self.scripted(config(listeners=listeners), protocol=recorder(events))
        pair.say(Inv(), Ping(1))
        pair.peer.disconnect()
        pair.pump()
        del events[:]
        later.callback(None)
        self.assertEqual(events, [])

    def test_a_version_may_be_named_by_a_plain_value_that_is_no_reject(self) -> None:
        pair = self.fresh(config(listeners=Listeners(on_version=lambda peer, version: version)))
        pair.handshake()
        self.assertIsInstance(pair.hear()[0], Version)
        self.assert_ready(pair)
