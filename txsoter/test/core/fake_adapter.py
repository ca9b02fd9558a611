"""An adapter without a network: a transport in memory, a clock that is set, results that are waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any
from unittest import TestCase

from txsoter.core.config import ConnectionConfig
from txsoter.core.connection import Connection
from txsoter.core.dispatch_table import Handler
from txsoter.core.driver import Driver
from txsoter.core.events import Closed, Event
from txsoter.core.rules import make_dispatch_table
from txsoter.core.send_queue import Entry
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy
from txsoter.networks import SIMNET
from txsoter.test.core.ends import REMOTE_NONCE, WALL, frame, remote_version, simnet
from txsoter.wire import Encoding, Message, VerAck, read_message

__all__ = ["DriverTestCase", "FakeAdapter", "Later"]

Done = Callable[[Any, "BaseException | None"], None]


class Later:
    """A result that a handler's caller has to wait for."""

    def __init__(self) -> None:
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._waiting: list[Done] = []

    def succeed(self, value: Any = None) -> Later:
        """Have a value."""
        self._finish(value, None)
        return self

    def fail(self, error: BaseException) -> Later:
        """Have failed."""
        self._finish(None, error)
        return self

    def add(self, done: Done) -> None:
        """Call ``done`` with the outcome, which may be at once."""
        if self._outcome is not None:
            done(*self._outcome)
        else:
            self._waiting.append(done)

    def _finish(self, value: Any, error: BaseException | None) -> None:
        self._outcome = (value, error)
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(value, error)


class FakeAdapter:
    """A driver, its connection, and all that an adapter brings.

    :param handlers: by message class; each is called with the adapter as peer.
    :ivar time: what ``now`` gives.
    :ivar writes: what the transport was given.
    :ivar room: bytes past which the transport asks for a pause; None for any number.
    :ivar reading: what the transport was told of reading, each time.
    :ivar log: names of what was called, in order: hang_up, abort, timers.
    :ivar told: tokens whose messages were sent.
    :ivar events: those that the driver does not handle itself.
    :ivar failures: of handlers, with their commands.
    :ivar batches: messages that were written, as the observer of writes sees them.
    """

    def __init__(
        self,
        config: ConnectionConfig | None = None,
        handlers: dict[type[Message], Handler | Iterable[Handler]] | None = None,
        *,
        inbound: bool = False,
        observes_writes: bool = False,
        seed: int = 1,
    ) -> None:
        self.time = 0.0
        self.writes: list[bytes] = []
        self.room: int | None = None
        self.held = 0
        self.reading: list[bool] = []
        self.log: list[str] = []
        self.told: list[Any] = []
        self.events: list[Event] = []
        self.failures: list[tuple[BaseException, str]] = []
        self.batches: list[list[Message]] = []
        self.on_write: Callable[[bytes], None] = lambda data: None
        self.on_sent: Callable[[Any], None] = lambda token: None
        self.on_event: Callable[[Event], None] = lambda event: None
        self.on_written: Callable[[list[Entry]], None] = lambda batch: None
        self.on_set_reading: Callable[[bool], None] = lambda wanted: None
        self._heard = 0

        def find(kind: type[Message]) -> tuple[Handler, ...]:
            found = (handlers or {}).get(kind, ())
            return (found,) if callable(found) else tuple(found)

        self.connection = Connection(
            simnet() if config is None else config,
            inbound,
            make_dispatch_table(find, observes_writes=observes_writes),
            Random(seed),
        )
        self.channel = self.connection.channel
        self.driver = Driver(self.connection, self, self)

    # -- a remote's and an application's part --------------------------------------------------

    def made(self) -> FakeAdapter:
        """Let the connection be made."""
        self.driver.connection_made(WALL, "192.0.2.1", 18555)
        return self

    def ready(self) -> FakeAdapter:
        """Let the connection be made, and go through the handshake; forget what was said in it."""
        self.made()
        self.feed(remote_version(nonce=REMOTE_NONCE), VerAck())
        self.said()
        self.events.clear()
        self.log.clear()
        self.batches.clear()
        self.held = 0
        return self

    def feed(self, *data: Message | bytes) -> None:
        """Let messages come, or bytes as they are, in one read."""
        pver = self.channel.handshake.pver
        self.driver.data_received(b"".join(each if isinstance(each, bytes) else frame(each, pver) for each in data))

    def send(self, message: Message, token: Any = None) -> None:
        """Send a message, as an application does from anywhere."""
        self.driver.send(message, Encoding.BASE, token)

    def take(self) -> None:
        """Let the remote take all that the transport holds."""
        self.held = 0
        self.driver.resume_writing()

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what is due when it is due."""
        until = self.time + seconds
        while (due := self.connection.next_timeout()) is not None and due <= until:
            self.time = max(self.time, due)
            self.driver.timeout()
        self.time = until

    def said(self) -> list[Message]:
        """Return the messages that were written whole since this was asked last."""
        raw, messages = b"".join(self.writes), []
        while self._heard < len(raw):
            message, size = read_message(raw[self._heard :], SIMNET.magic, self.channel.handshake.pver, Encoding.BASE)
            self._heard += size
            messages.append(message)
        return messages

    def of(self, kind: type) -> list[Any]:
        """Return the events of a class."""
        return [each for each in self.events if isinstance(each, kind)]

    # -- what the driver calls -----------------------------------------------------------------

    def now(self) -> float:
        return self.time

    @property
    def transport(self) -> FakeAdapter:
        return self

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.held += len(data)
        if self.room is not None and self.held > self.room:
            self.driver.pause_writing()
        self.on_write(data)

    def set_reading(self, wanted: bool) -> None:
        self.reading.append(wanted)
        self.on_set_reading(wanted)

    def hang_up(self) -> None:
        self.log.append("hang_up")

    def abort(self) -> None:
        self.log.append("abort")

    def set_timers(self) -> None:
        self.log.append("timers")

    def wait_for(self, result: Any, done: Done) -> bool:
        if not isinstance(result, Later):
            return False
        result.add(done)
        return True

    def handler_waits(self, result: Any) -> None:
        pass

    def handler_failed(self, error: BaseException, command: str) -> None:
        if isinstance(error, AssertionError):
            # of the test, inside of a handler
            raise error
        self.failures.append((error, command))
        self.connection.handler_failed(error, str(error), command)

    def written(self, batch: list[Entry]) -> None:
        self.batches.append([message for _, message, _ in batch])
        self.on_written(batch)

    def sent(self, token: Any) -> None:
        self.told.append(token)
        self.on_sent(token)

    def handle_event(self, event: Event) -> None:
        self.events.append(event)
        self.on_event(event)


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
