"""A connection alone: driven by bytes, time and calls, its tokens counted; and two of them joined by their bytes."""

from __future__ import annotations

from collections.abc import Callable, Container
from random import Random
from typing import Any
from unittest import TestCase

from txsoter.core.config import ConnectionConfig
from txsoter.core.connection import Connection
from txsoter.core.dispatch_table import Handler
from txsoter.core.events import FLUSH, Closed, Event, RequestEnded, SendFailed, WriteFailed
from txsoter.core.handshake import LIVE_NONCES
from txsoter.core.rules import make_dispatch_table
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy, CloseReason, NeedMoreData
from txsoter.networks import SIMNET
from txsoter.wire import (
    PROTOCOL_VERSION,
    Encoding,
    InventoryType,
    InventoryVector,
    Message,
    Unknown,
    VerAck,
    Version,
    read_message,
    write_message,
)

__all__ = [
    "REMOTE_NONCE",
    "ConnectionTestCase",
    "End",
    "block_vector",
    "filler",
    "frame",
    "join",
    "malformed_header",
    "remote_version",
    "simnet",
    "tx_vector",
]

REMOTE_NONCE = 0x1122334455667788

WALL = 1_700_000_000.0
"""The seconds since 1970 at which each connection is made."""

MANY_TIMEOUTS = 10_000

FAILED_CALL = (SendFailed, RequestEnded, WriteFailed)
"""Events that a call may cause although the connection has ended."""


def simnet(**fields: Any) -> ConnectionConfig:
    """Return a config for simnet, with some fields changed."""
    return ConnectionConfig(**{"network": SIMNET, **fields})


def frame(message: Message, pver: int = PROTOCOL_VERSION, encoding: Encoding = Encoding.BASE) -> bytes:
    """Return the frame of a message on simnet."""
    return write_message(message, SIMNET.magic, pver, encoding)


def filler(size: int) -> Unknown:
    """Return a message whose frame has ``size`` bytes."""
    return Unknown("filler", bytes(size - 24))


def malformed_header(length: int = 9) -> bytes:
    """Return the header of a ping that announces more than a ping may have."""
    return frame(Unknown("ping", bytes(8)))[:16] + length.to_bytes(4, "little") + bytes(4)


def remote_version(**fields: Any) -> Version:
    """Return a ``version`` that a simnet peer accepts, with some fields changed."""
    accepted = {
        "protocol_version": PROTOCOL_VERSION,
        "user_agent": b"/soterwire:0.6.0/scripted:1.0.0/",
        "genesis_hash": SIMNET.genesis_hash,
        "nonce": REMOTE_NONCE,
    }
    return Version(**{**accepted, **fields})


def tx_vector(number: int) -> InventoryVector:
    """Return an inventory vector that is trickled."""
    return InventoryVector(InventoryType.TX, number.to_bytes(32, "big"))


def block_vector(number: int) -> InventoryVector:
    """Return an inventory vector that is announced at once."""
    return InventoryVector(InventoryType.BLOCK, number.to_bytes(32, "big"), height=number)


class End:
    """A connection, the loop that an adapter runs around it, and a transport that keeps what is written.

    :param handles: classes of messages that have a handler; all if None.
    :param holds: classes of messages that stay in hand until :meth:`finish`.
    :param observes: see :class:`~txsoter.core.dispatch_table.DispatchTable`.
    :ivar now: the time, in seconds.
    :ivar events: all that the connection gave but messages and FLUSH, in order.
    :ivar turns: messages that came in hand, in order.
    :ivar flushes: the number of FLUSH events.
    :ivar writes: pieces that the transport was given.
    :ivar room: bytes past which the transport asks for a pause; None for any number.
    :ivar held: bytes that the transport holds.
    :ivar carried: bytes that :func:`join` has carried to the other end.
    :ivar outcomes: for each token that was given, all that came back for it.
    """

    def __init__(
        self,
        config: ConnectionConfig | None = None,
        inbound: bool = False,
        *,
        handles: Container[type[Message]] | None = None,
        holds: Container[type[Message]] = (),
        observes: bool = False,
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.config = simnet() if config is None else config
        self.events: list[Event] = []
        self.turns: list[Message] = []
        self.flushes = 0
        self.writes: list[bytes] = []
        self.room: int | None = None
        self.held = 0
        self.carried = 0
        self.outcomes: dict[Any, list[Any]] = {}
        self.on_event: Callable[[Event], None] = lambda event: None
        self._holds = holds
        self._heard = 0
        self._tokens = 0

        def handler(peer: Any, message: Message, payload: bytes) -> None:
            raise AssertionError("a connection calls no handler itself")

        def find(kind: type[Message]) -> tuple[Handler, ...]:
            return (handler,) if handles is None or kind in handles else ()

        table = make_dispatch_table(
            find, observes_reads=observes, observes_writes=observes, observes_round_trips=observes
        )
        self.connection = Connection(self.config, inbound, table, Random(seed))
        self.channel = self.connection.channel

    # -- the transport -------------------------------------------------------------------------

    def made(self, host: str | None = "192.0.2.1", port: int = 18555) -> End:
        """Let the connection be made."""
        self.connection.connection_made(self.now, WALL, host, port)
        self.run()
        return self

    def ready(self, version: Version | None = None) -> End:
        """Let the connection be made, and go through the handshake; forget what was said in it."""
        self.made()
        self.feed(remote_version() if version is None else version, VerAck())
        assert self.connection.state is State.READY, self.connection.reason
        self.events.clear()
        self.turns.clear()
        self.said()
        self.held = 0
        return self

    def feed(self, *data: Message | bytes) -> None:
        """Let messages come, or bytes as they are, in one read."""
        raw = b"".join(each if isinstance(each, bytes) else frame(each, self.channel.handshake.pver) for each in data)
        self.connection.receive_data(raw, self.now)
        self.run()

    def run(self) -> None:
        """Ask for events and write until nothing is left to do."""
        connection = self.connection
        while True:
            event = connection.next_event()
            if event is None:
                if not self._flush():
                    return
            elif event is FLUSH:
                self.flushes += 1
                assert self._flush(), "FLUSH, and nothing to write"
            elif isinstance(event, tuple):
                self.turns.append(event[1])
                if type(event[1]) not in self._holds:
                    connection.handled(self.now)
            else:
                self._note(event)

    def _note(self, event: Event) -> None:
        # behind the end come only failures of calls that are made behind it
        assert self.reason is None or isinstance(event, FAILED_CALL), f"{event} after the end"
        if isinstance(event, Closed):
            assert all(self.outcomes.values()), "the end, and not everybody has been told"
        self.events.append(event)
        if isinstance(event, SendFailed):
            self.outcomes[event.token].append(event.error)
        elif isinstance(event, RequestEnded):
            self.outcomes[event.token].append(event.answer if event.error is None else event.error)
        self.on_event(event)

    def _flush(self) -> bool:
        connection, wrote = self.connection, False
        while True:
            while (token := connection.next_written()) is not None:
                self.outcomes[token].append(None)
            piece = connection.data_to_send(self.now)
            if piece is None:
                return wrote
            wrote = True
            self.writes.append(piece[0])
            self.held += len(piece[0])
            if self.room is not None and self.held > self.room:
                connection.pause_writing()
            connection.written(piece[1])

    def take(self) -> None:
        """Let the remote take all that the transport holds, which then would take more."""
        self.held = 0
        self.connection.resume_writing(self.now)
        self.run()

    def finish(self, *results: Any) -> None:
        """Let the handler of the message in hand be done."""
        self.connection.handled(self.now, results)
        self.run()

    def lose(
        self, by: ClosedBy = ClosedBy.REMOTE, cause: CloseCause = CloseCause.REMOTE_CLOSED, detail: str = ""
    ) -> None:
        """Let the transport be gone."""
        self.connection.connection_lost(by, cause, detail, self.now)
        self.run()

    # -- time ----------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what is due when it is due."""
        until = self.now + seconds
        for _ in range(MANY_TIMEOUTS):
            due = self.connection.next_timeout()
            if due is None or due > until:
                self.now = until
                return
            self.now = max(self.now, due)
            self.connection.handle_timeout(self.now)
            self.run()
        raise AssertionError(f"timeouts again and again at {self.now}")

    # -- the application -----------------------------------------------------------------------

    def token(self) -> str:
        """Return a token that is to come back once."""
        self._tokens += 1
        token = f"token {self._tokens}"
        self.outcomes[token] = []
        return token

    def send(self, message: Message, encoding: Encoding = Encoding.BASE) -> str:
        """Send a message; return its token."""
        token = self.token()
        try:
            self.connection.send(message, encoding, token)
        except BaseException:
            del self.outcomes[token]
            raise
        finally:
            self.run()
        return token

    def request(
        self,
        message: Message,
        expected: type[Message],
        timeout: float | None = None,
        matching: Callable[[Any], object] | None = None,
    ) -> str:
        """Make a request; return its token."""
        token = self.token()
        try:
            self.connection.request(message, expected, timeout, matching, token, self.now)
        except BaseException:
            del self.outcomes[token]
            raise
        finally:
            self.run()
        return token

    def give_up(self, token: str) -> None:
        """Give a request up, of which nothing more is to be heard."""
        self.connection.give_up(token)
        self.outcomes[token].append("given up")
        self.run()

    def close(self, cause: CloseCause = CloseCause.DISCONNECT, detail: str = "") -> None:
        """Begin to close."""
        self.connection.close(cause, detail, self.now)
        self.run()

    # -- looking -------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Progress of the connection."""
        return self.connection.state

    @property
    def raw(self) -> bytes:
        """All bytes that were written."""
        return b"".join(self.writes)

    def said(self, pver: int | None = None) -> list[Message]:
        """Return the messages that were written whole since this was asked last."""
        raw, messages = self.raw, []
        while self._heard < len(raw):
            try:
                message, size = read_message(
                    raw[self._heard :], SIMNET.magic, pver or self.channel.handshake.pver, Encoding.BASE
                )
            except NeedMoreData:
                break
            self._heard += size
            messages.append(message)
        return messages

    @property
    def reason(self) -> CloseReason | None:
        """The reason in the Closed event; None before that has come."""
        return next((each.reason for each in self.events if isinstance(each, Closed)), None)

    def of(self, kind: type) -> list[Any]:
        """Return the events of a class."""
        return [each for each in self.events if isinstance(each, kind)]


def join(one: End, other: End, seconds: float = 0.0) -> None:
    """Carry what either end writes to the other, until neither writes; then again after each second."""

    def carry(source: End, to: End) -> bool:
        data = source.raw[source.carried :]
        source.carried += len(data)
        if data:
            source.take()
            to.connection.receive_data(data, to.now)
            to.run()
        return bool(data)

    while True:
        while carry(one, other) | carry(other, one):
            pass
        if seconds <= 0:
            return
        for each in (one, other):
            each.advance(1.0)
        seconds -= 1.0


class ConnectionTestCase(TestCase):
    """Connections that must leave nothing behind, and give each token back once."""

    ends = 0

    def end(self, config: ConnectionConfig | None = None, inbound: bool = False, **options: Any) -> End:
        """Return a connection that is not made yet; it is lost when the test is over."""
        # each with nonces of its own
        self.ends += 1
        end = End(config, inbound, **{"seed": self.ends, **options})
        self.addCleanup(self.assert_leaves_nothing, end)
        return end

    def ready(self, config: ConnectionConfig | None = None, inbound: bool = False, **options: Any) -> End:
        """Return a connection that has gone through the handshake."""
        version = options.pop("version", None)
        return self.end(config, inbound, **options).ready(version)

    def assert_leaves_nothing(self, end: End) -> None:
        """Lose the connection if it is not yet: all is forgotten then, and each token has come back once."""
        connection, channel = end.connection, end.channel
        nonce = channel.handshake.nonce
        end.lose()
        self.assertIs(connection.state, State.CLOSED)
        self.assertEqual(len(end.of(Closed)), 1)
        self.assertEqual({token: told for token, told in end.outcomes.items() if len(told) != 1}, {})
        left = (len(channel.queue), channel.queue.waiting, len(channel.requests), len(channel.announcer))
        self.assertEqual((left, channel.reader.memory, channel.memory()), ((0, 0, 0, 0), 0, 0))
        self.assertIsNone(connection.next_timeout())
        self.assertIsNone(connection.next_event())
        self.assertIsNone(connection.data_to_send(end.now))
        if nonce is not None:
            self.assertNotIn(nonce, LIVE_NONCES)

    def assert_closing(
        self,
        end: End,
        cause: CloseCause,
        *,
        command: str | None = None,
        by: ClosedBy = ClosedBy.LOCAL,
        said: tuple[Message, ...] = (),
    ) -> CloseReason:
        """The connection is ending for that cause, and has said no more than ``said``."""
        reason = end.connection.reason
        assert reason is not None
        self.assertEqual((end.state, reason.by, reason.cause, reason.command), (State.CLOSING, by, cause, command))
        self.assertEqual(end.said(), list(said))
        self.assertTrue(end.connection.may_hang_up)
        return reason
