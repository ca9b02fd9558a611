"""Fuzz target: a connection of the core alone, without Twisted, and an adapter that does anything.

::

    python fuzz/connection.py fuzz/corpus/connection -max_total_time=60

A :class:`~txsoter.core.connection.Connection`. Bytes come, the verbs are called, time passes, events are asked for and
bytes are written, in any order, and as late as it pleases; handlers fail, wait, send, ask and hang up.
Whatever happens: nothing but LocalError is raised by a verb, and nothing by anything else; each token comes back once;
messages come one at a time, and none after the end has begun; no deadline is left in the past; what is held stays
within what was received and the limits; what is written are whole messages; after the end nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from conversation import FILLERS, SETTINGS, SMALL, check_written, config_fields, hello, nonces_released, run
from launch import launch
from pieces import RAW, Piece, framed, mutated

from txsoter.core.announcer import checked_vector
from txsoter.core.config import ConnectionConfig
from txsoter.core.connection import Connection
from txsoter.core.events import FLUSH, READY, Closed, Notice, Observed, RequestEnded, RoundTrip, SendFailed, WriteFailed
from txsoter.core.reader import MESSAGE_OVERHEAD
from txsoter.core.rules import make_dispatch_table
from txsoter.core.state import State
from txsoter.core.stats import PeerStats, snapshot
from txsoter.errors import CloseCause, ClosedBy, LocalError, MalformedMessage
from txsoter.wire import (
    Block,
    Encoding,
    GetData,
    GetHeaders,
    Hash,
    Headers,
    InventoryVector,
    Message,
    Ping,
    Pong,
    Reject,
    Tx,
    Unknown,
    VerAck,
)

__all__ = ["EVENTS", "KINDS", "SETTINGS", "Life", "mutated", "one_input"]

WAITS = (0.0, 0.1, 1.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 1e5)
BUFFER = 64 * 1024
"""Bytes past which the transport has had enough."""

GIVEN_UP = "given up"

ORDER = list(State)
"""The states, in the order in which a connection may go through them."""


class HandlerError(Exception):
    """What the application fails with on purpose."""


def fails(*arguments: object) -> Any:
    """A ``newest_block`` or ``matching`` that does not work."""
    raise HandlerError


class Life:
    """One connection, and what is done to it. The fifth setting is its adapter's manners.

    :ivar pending: tokens that have not come back, and what they are of.
    """

    def __init__(self, settings: bytes) -> None:
        flags, more, limits, _, manners = settings[:5]
        self.turns = [turn for each in settings[5:7] for turn in (each & 15, each >> 4)]
        # eager ones ask for events and write after everything that happens
        self.lazy = bool(manners & 1)
        # the transport takes something only when it is told to
        self.takes = not manners & 2
        config = ConnectionConfig(**config_fields(settings, fails), allow_self_connections=bool(limits & 4))
        hears = not flags & 4
        table = make_dispatch_table(
            lambda kind: (fails,) if hears else (),
            observes_reads=bool(manners & 4),
            observes_writes=bool(manners & 8),
            observes_round_trips=bool(manners & 16),
        )
        self.config = config
        self.network = config.network
        self.connection = Connection(config, bool(flags & 1), table, Random(1))
        self.now = 1000.0
        self.received = self.handled = self.tokens = self.fillers = 0
        self.pending: dict[int, str] = {}
        self.in_hand = False
        self.closed: Closed | None = None
        # that went out while there was a connection
        self.last_token = 0
        self.state = State.CONNECTING
        self.raw = bytearray()
        self.with_transport = 0
        if more & 32:
            self.closes(b"\0\0\0\0")
        if self.connection.state is State.CONNECTING:
            self.connection.connection_made(self.now, 1.6e9, "127.0.0.1" if more & 16 else None, 18555)
        said = hello(settings, self.network)
        if said:
            self.receive(said)
        self.after_call()

    # -- the adapter ---------------------------------------------------------------------------

    def receive(self, raw: bytes) -> None:
        self.received += len(raw)
        self.connection.receive_data(raw, self.now)

    def happens(self, piece: Piece) -> None:
        """One piece of its life."""
        kind, body = piece.kind % KINDS, piece.body
        if kind <= RAW:
            self.receive(framed(piece._replace(kind=kind), self.network.magic))
        else:
            EVENTS[kind - RAW - 1](self, body.ljust(4, b"\0"))
        self.after_call()

    def after_call(self) -> None:
        if not self.lazy:
            self.turn()
        self.check()

    def turn(self) -> None:
        """Ask for events and write, until nothing is left to do now."""
        for _ in range(100_000):
            event = self.connection.next_event()
            if event is not None:
                self.take(event)
            elif not self.write():
                return
        raise AssertionError("a turn does not come to an end")

    def take(self, event: object) -> None:
        """Handle an event."""
        # what is asked for after the end is answered still
        late = self.closed is not None and not isinstance(event, (SendFailed, RequestEnded, WriteFailed))
        assert not late, f"{event} came after the connection was closed"
        if isinstance(event, tuple):
            assert not self.in_hand, "two handlers at once"
            assert not self.connection.state.is_closing, "a message came after the end had begun"
            self.in_hand = True
            self.handle(self.turns[self.handled % len(self.turns)])
        elif event is FLUSH:
            self.write()
        elif isinstance(event, (SendFailed, RequestEnded)):
            self.comes_back(event.token)
        elif isinstance(event, Notice):
            assert event.error is None or isinstance(event.error, HandlerError), f"failed: {event.error!r}"
        elif isinstance(event, RoundTrip):
            assert event.seconds >= 0
        elif isinstance(event, Observed):
            assert event.message is not None or isinstance(event.error, MalformedMessage)
        elif isinstance(event, Closed):
            self.closed = event
            waiting = [token for token, what in self.pending.items() if what != GIVEN_UP and token <= self.last_token]
            assert not waiting, f"the end came before tokens {waiting}"
        elif event is READY:
            assert self.connection.channel.handshake.complete

    def write(self) -> bool:
        """Write once, and tell the callers; return whether there was anything."""
        written = self.connection.data_to_send(self.now)
        if written is None:
            return self.tell()
        self.raw += written[0]
        self.with_transport += len(written[0])
        if not self.takes and self.with_transport > BUFFER:
            self.connection.pause_writing()
        self.connection.written(written[1])
        self.tell()
        return True

    def tell(self) -> bool:
        token = self.connection.next_written()
        found = token is not None
        while token is not None:
            self.comes_back(token)
            token = self.connection.next_written()
        return found

    def comes_back(self, token: int) -> None:
        if token is not None:
            assert token in self.pending, f"token {token} came back although it was not out"
            del self.pending[token]

    def handle(self, what: int) -> None:
        """One thing that a handler may do."""
        self.handled += 1
        results: list[object] = []
        if what == 1:
            self.connection.handler_failed(HandlerError(), "why", "a\0command")
        elif what == 2:
            return
        elif what == 3:
            self.send(Ping(self.handled))
        elif what == 4:
            self.ask(Ping(self.handled), Pong, 20.0)
            return
        elif what == 5:
            self.closes(b"\0\0\0\0")
        elif what == 6:
            results = [Reject(b"version", 0x10, b"no")]
        elif what == 7:
            self.send(Unknown("filler", bytes(SMALL)))
        elif what == 8:
            self.ask(Ping(self.handled), Pong, 20.0)
        elif what == 9:
            results = [object()]
        elif what == 10:
            results = [Reject(b"version", 999, b"cannot be written")]
        self.done(results)

    def done(self, results: list[object]) -> None:
        self.in_hand = False
        self.connection.handled(self.now, results)

    # -- what happens --------------------------------------------------------------------------

    def send(self, message: Message, encoding: Encoding = Encoding.BASE, wants_to_know: bool = True) -> None:
        token = self.new_token() if wants_to_know else None
        try:
            self.connection.send(message, encoding, token)
        except LocalError:
            return
        if token is not None:
            self.pending[token] = message.command

    def new_token(self) -> int:
        self.tokens += 1
        if self.connection.state is not State.CLOSED:
            self.last_token = self.tokens
        return self.tokens

    def ask(
        self,
        message: Message,
        expected: type[Message],
        timeout: float | None,
        matching: Callable[..., Any] | None = None,
    ) -> None:
        token = self.new_token()
        try:
            self.connection.request(message, expected, timeout, matching, token, self.now)
        except LocalError:
            return
        self.pending[token] = "?"

    def time_passes(self, body: bytes) -> None:
        self.now += WAITS[body[0] % len(WAITS)]
        if body[1] % 2 == 0:
            self.becomes_due(body)

    def becomes_due(self, body: bytes) -> None:
        """The adapter's timer: it does what is due, and sets itself again."""
        connection = self.connection
        connection.handle_timeout(self.now)
        self.turn()
        due = connection.next_timeout()
        assert due is None or due > self.now - 1e-3, f"due {self.now - due:g} s ago, and not done"

    def turns_come(self, body: bytes) -> None:
        self.turn()

    def an_event_is_taken(self, body: bytes) -> None:
        event = self.connection.next_event()
        if event is not None:
            self.take(event)

    def transport_writes(self, body: bytes) -> None:
        self.write()

    def transport_is_full(self, body: bytes) -> None:
        self.connection.pause_writing()

    def transport_has_room(self, body: bytes) -> None:
        self.with_transport = 0
        self.takes = bool(body[0] % 2)
        self.connection.resume_writing(self.now)

    def handler_is_done(self, body: bytes) -> None:
        if self.in_hand:
            self.done([])

    def application_sends(self, body: bytes) -> None:
        which, encoding = body[0] % 5, Encoding.WITNESS if body[1] & 1 else Encoding.BASE
        if which == 0:
            self.send(Ping(body[2]), encoding, not body[1] & 2)
        elif which == 1:
            self.send(Reject(b"x", 999, b"cannot be written"))
        elif which == 2:
            self.fillers += 1
            self.send(Unknown("filler", bytes(body[2] << 10 if self.fillers <= FILLERS else 10)), encoding)
        elif which == 3:
            self.send(GetData([InventoryVector(1, Hash(bytes([body[2]]) * 32))]))
        else:
            self.send(VerAck() if body[2] % 2 else GetHeaders())

    def application_asks(self, body: bytes) -> None:
        vector = InventoryVector(body[0] % 4, Hash(bytes([body[1]]) * 32), body[2])
        how, timeout = body[3] % 5, (None, 30.0, 0.5, -1.0)[body[2] % 4]
        matching = {2: bool, 3: fails}.get(how)
        if how == 4:
            self.ask(GetHeaders(), Headers if body[1] % 2 else Message, timeout)
        else:
            self.ask(GetData([vector]), Block if vector.is_block else Tx, timeout, matching)

    def application_gives_up(self, body: bytes) -> None:
        asked = [token for token, what in self.pending.items() if what == "?"]
        if asked:
            token = asked[body[0] % len(asked)]
            self.connection.give_up(token)
            if self.lazy:
                # it may have ended before: then it comes back still
                self.pending[token] = GIVEN_UP
            else:
                del self.pending[token]

    def application_announces(self, body: bytes) -> None:
        vector = checked_vector(InventoryVector(body[0] % 4, Hash(bytes([body[1]]) * 32), body[2] % 4))
        if body[3] % 4 == 3:
            self.connection.add_known_inventory(vector)
        else:
            self.connection.queue_inventory(vector, body[3] % 4 == 2, self.now)

    def closes(self, body: bytes) -> None:
        reject = (None, Reject(b"inv", 0x10, b"why"), Reject(b"inv", 999, b"cannot be written"))[body[0] % 3]
        self.connection.close(CloseCause.DISCONNECT, "why", self.now, reject)

    def is_lost(self, body: bytes) -> None:
        by = tuple(ClosedBy)[body[0] % len(ClosedBy)]
        self.connection.connection_lost(by, CloseCause.CONNECTION_LOST, "why", self.now)

    # -- what must hold ------------------------------------------------------------------------

    def stats(self) -> PeerStats:
        return snapshot(self.connection, id=1, address="", now=self.now, wall=1.6e9)

    def check(self) -> None:
        """At any time."""
        stats, config, state = self.stats(), self.config, self.connection.state
        assert ORDER.index(state) >= ORDER.index(self.state), f"from {self.state} back to {state}"
        self.state = state
        assert stats.bytes_received <= self.received, "more was received than there was"
        assert stats.buffered_bytes <= self.received, "more is buffered than was received"
        # what it says by itself in the handshake comes on top
        assert stats.queue_bytes <= config.hard_queue_limit + 1000, "the send queue passes its limit"
        queued = stats.queue_bytes + MESSAGE_OVERHEAD * stats.queue_length
        assert stats.held_bytes <= queued + self.received * (1 + MESSAGE_OVERHEAD // 24), (
            "more is held than was received"
        )
        assert stats.known_inventory <= config.max_known_inventory
        # transactions, and blocks
        assert stats.queued_inventory <= 2 * config.max_trickle_queue

    def end(self) -> None:
        """Lose the connection, and look at what is left of it."""
        connection = self.connection
        connection.connection_lost(ClosedBy.NETWORK, CloseCause.CONNECTION_LOST, "the end", self.now)
        self.turn()
        self.check_nothing_left()
        if self.in_hand:
            self.done([])
        # whatever is called now changes nothing, and everybody is told
        closed, self.closed = self.closed, None
        for late in (
            self.application_sends,
            self.application_asks,
            self.application_announces,
            self.closes,
            self.is_lost,
        ):
            late(b"\0\0\0\0")
        self.receive(framed(Piece(RAW, bytes(24)), self.network.magic))
        connection.handle_timeout(self.now + 1e6)
        self.turn()
        assert self.closed is None, "it was closed twice"
        self.closed = closed
        self.check_nothing_left()
        check_written(bytes(self.raw), self.network.magic, self.stats().negotiated_version)

    def check_nothing_left(self) -> None:
        stats = self.stats()
        assert self.closed is not None and str(self.closed.reason), "nobody was told of the end"
        lost = [token for token, what in self.pending.items() if what != GIVEN_UP]
        assert not lost, f"tokens that did not come back: {lost}"
        assert self.connection.next_timeout() is None, "something is due still"
        left = (stats.queue_bytes, stats.queue_length, stats.buffered_bytes, stats.queued_inventory)
        assert left == (0, 0, 0, 0), f"is left: {left}"
        assert not stats.pending_requests, "something is still asked"
        assert not stats.held_bytes, "memory is still held"


EVENTS: tuple[Callable[[Life, bytes], None], ...] = (
    Life.time_passes,
    Life.becomes_due,
    Life.turns_come,
    Life.an_event_is_taken,
    Life.transport_writes,
    Life.transport_is_full,
    Life.transport_has_room,
    Life.handler_is_done,
    Life.application_sends,
    Life.application_asks,
    Life.application_gives_up,
    Life.application_announces,
    Life.closes,
    Life.is_lost,
)

KINDS = RAW + 1 + len(EVENTS)


def one_input(data: bytes) -> None:
    """Whatever ``data`` is, nothing is raised: unless txsoter is wrong."""
    with nonces_released():
        run(Life, data)


if __name__ == "__main__":
    launch(__file__)
