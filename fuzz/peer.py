"""Fuzz target: a whole peer, and a remote that does anything.

::

    python fuzz/peer.py fuzz/corpus/peer -max_total_time=60

A :class:`~txsoter.SoterPeerProtocol` in memory, on a Clock. The remote sends frames and rubbish in any chunking, stops
reading, closes, resets; the application's listeners raise, wait, send, ask and hang up from inside; time passes.
Whatever happens: nothing escapes ``dataReceived``, no failure is logged but the listeners' own, messages are handled
one after the other and not after the end, what is held stays within what was sent and the limits, what is written are
whole messages, another connection goes on, and after the end nothing is left.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import suppress
from inspect import iscoroutine
from random import Random

from application import Application, ListenerError, fails, matches_nothing
from conversation import FILLERS, SETTINGS, check_written, config_fields, hello, nonces_released, run
from launch import launch
from pieces import RAW, Piece, framed, mutated
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from txsoter import CloseReason, Listeners, PeerConfig, SoterClientFactory, SoterServerFactory
from txsoter.core.config import tick_of
from txsoter.core.log_text import MessageLog
from txsoter.core.memory_budget import GRAIN
from txsoter.core.reader import MESSAGE_OVERHEAD
from txsoter.core.state import State
from txsoter.errors import LocalError
from txsoter.peer.factory import SoterFactory
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.testing import MemoryLink, remote_version
from txsoter.wire import (
    Block,
    GetData,
    Hash,
    InventoryVector,
    Message,
    NetAddress,
    Ping,
    Tx,
    Unknown,
    VerAck,
    write_message,
)
from txsoter.wire.framing import HEADER_SIZE

__all__ = ["KINDS", "SETTINGS", "ListenerError", "mutated", "one_input"]

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 40000)
CHUNKS = (None, 1, 7, 24, 100, 1000)
WAITS = (0.1, 1.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0)
BUDGET = 5000
"""Bytes that all connections may hold, where the settings ask for a budget."""

LAG = GRAIN + GRAIN // HEADER_SIZE * MESSAGE_OVERHEAD
"""Bytes by which a connection's account may be behind: some messages of the smallest kind."""


class Remote(Protocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.raw = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self.raw += data


class Bystander:
    """Another connection of the same factory, which nothing that happens may disturb."""

    def __init__(self, factory: SoterFactory, application: Application) -> None:
        self.config = factory.config
        self.peer = application.bystander = factory.buildProtocol(None)
        self.remote = Remote()
        ends = (self.remote, self.peer) if factory.inbound else (self.peer, self.remote)
        self.link = MemoryLink(*ends)
        self.theirs = self.link.client if factory.inbound else self.link.server
        self.said = 0
        self.say(remote_version(genesis_hash=self.config.network.genesis_hash), VerAck())

    def say(self, *messages: Message) -> None:
        for each in messages:
            self.said += 1
            self.theirs.write(write_message(each, self.config.network.magic, self.config.protocol_version))
        self.link.pump()
        assert self.peer.state is State.READY, "another connection was disturbed"
        assert self.peer.stats().messages_received == self.said

    def end(self) -> None:
        self.say(Ping(1))
        self.peer.disconnect()
        self.link.pump()
        assert self.peer.state is State.CLOSED


class Conversation:
    """One peer, its remote, and what happens to them. The fifth setting: the chunks that the remote's bytes come in."""

    def __init__(self, settings: bytes) -> None:
        flags, more, limits, _, chunk = settings[:5]
        self.chunk = CHUNKS[chunk % len(CHUNKS)]
        self.clock = Clock()
        self.application = Application(settings[5:7])
        config = PeerConfig(
            **config_fields(settings, fails),
            clock=self.clock,
            random=Random(1),
            listeners=Listeners() if flags & 4 else self.application.listeners(),
            log_messages=MessageLog.DUMP if flags & 128 else MessageLog.OFF,
            memory_budget=BUDGET if limits & 4 else None,
        )
        self.network = config.network
        inbound = bool(flags & 1)
        self.factory = (SoterServerFactory if inbound else SoterClientFactory)(config)
        # one without a height cannot begin, one with a limited rate is not answered at once
        beside = more & 64 and not more & 128 and not limits & 3
        self.bystander = Bystander(self.factory, self.application) if beside else None
        self.peer = peer = self.factory.buildProtocol(None)
        self.remote = Remote()
        self.application.keep(peer.when_closed)
        if more & 32:
            peer.disconnect("before it is connected")
        ends = (self.remote, peer) if inbound else (peer, self.remote)
        self.link = MemoryLink(*ends, *((LOOPBACK, LOOPBACK) if more & 16 else ()))
        self.ours, self.theirs = self.link.server, self.link.client
        if not inbound:
            self.ours, self.theirs = self.theirs, self.ours
        self.was_connected = peer.stats().connected_at is not None
        self.said = self.fillers = 0
        said = hello(settings, self.network)
        if said:
            self.say(said)
        self.pump()

    # -- what happens --------------------------------------------------------------------------

    def say(self, raw: bytes) -> None:
        if self.theirs.connected:
            self.said += len(raw)
            self.theirs.write(raw)

    def happens(self, piece: Piece) -> None:
        """One piece of the conversation."""
        kind, body = piece.kind % KINDS, piece.body
        if kind <= RAW:
            self.say(framed(piece._replace(kind=kind), self.network.magic))
        else:
            EVENTS[kind - RAW - 1](self, body.ljust(4, b"\0"))
        self.pump()
        self.check()

    def pump(self) -> None:
        most = max(self.ours.waiting, self.theirs.waiting)
        self.link.pump(None if self.chunk is None else max(self.chunk, most // 256))

    def time_passes(self, body: bytes) -> None:
        left = WAITS[body[0] % len(WAITS)]
        while left > 0:
            # the other connection must not be idle meanwhile
            if self.bystander is not None:
                self.bystander.say(Ping(2))
            self.clock.advance(min(left, 100))
            left -= 100

    def listener_goes_on(self, body: bytes) -> None:
        self.application.goes_on(body[0] % 2 == 0)

    def application_acts(self, body: bytes) -> None:
        with suppress(ListenerError):
            result = self.application.does(self.peer, body[0] % 11)
            if iscoroutine(result):
                self.application.told.append(Deferred.fromCoroutine(result).addErrback(lambda _: None))

    def application_sends_much(self, body: bytes) -> None:
        self.fillers += 1
        size = body[0] << 10 if self.fillers <= FILLERS else 10
        self.application.keep(self.peer.send, Unknown("filler", bytes(size)))

    def application_asks(self, body: bytes) -> None:
        vector = InventoryVector(body[0] % 4, Hash(bytes([body[1]]) * 32), body[2])
        expected: type[Message] = Block if vector.is_block else Tx
        how = body[3] % 4
        if how == 0:
            self.application.keep(self.peer.request, GetData([vector]), expected)
        elif how == 1:
            self.application.keep(self.peer.send, GetData([vector]))
        else:
            matching = bool if how == 2 else matches_nothing
            self.application.keep(self.peer.request, GetData([vector]), expected, 30, matching)

    def application_announces(self, body: bytes) -> None:
        vector = InventoryVector(body[0] % 4, Hash(bytes([body[1]]) * 32), body[2] % 4)
        if body[3] % 4 == 3:
            self.peer.add_known_inventory(vector)
        else:
            self.peer.queue_inventory(vector, force=body[3] % 4 == 2)

    def application_pushes(self, body: bytes) -> None:
        peer, keep = self.peer, self.application.keep
        which = body[0] % 5
        if which == 0:
            keep(peer.push_get_blocks, body[1], Hash(bytes([body[2]]) * 32))
        elif which == 1:
            keep(peer.push_get_headers, body[1])
        elif which == 2:
            keep(peer.push_reject, "tx" if body[1] % 2 else "x", body[2], b"why")
        elif which == 3:
            with suppress(LocalError):
                peer.push_addresses([NetAddress(1, "192.0.2.1", 1)] * body[1])
        else:
            address = NetAddress(1, "192.0.2.1", 1)
            peer.push_address_cache([address] * body[1], [address] * (body[2] % 8), [])

    def remote_stops_reading(self, body: bytes) -> None:
        self.ours.takes = not self.ours.takes

    def remote_closes(self, body: bytes) -> None:
        if body[0] % 2:
            self.theirs.abortConnection()
        else:
            self.theirs.loseConnection()

    def network_fails(self, body: bytes) -> None:
        self.link.reset()

    def application_hangs_up(self, body: bytes) -> None:
        self.application.keep(self.peer.disconnect)

    def somebody_gives_up(self, body: bytes) -> None:
        told = self.application.told
        told[body[0] % len(told)].cancel()

    # -- what must hold ------------------------------------------------------------------------

    def check(self) -> None:
        """At any time."""
        peer = self.peer
        stats = peer.stats()
        assert stats.bytes_received <= self.said, "more was received than said"
        # what the peer says by itself in the handshake comes on top
        assert stats.queue_bytes <= peer.config.hard_queue_limit + 1000, "the send queue passes its limit"
        if self.was_connected:
            assert stats.buffered_bytes <= self.said, "more is held than was said"
            assert stats.held_bytes >= stats.buffered_bytes + stats.queue_bytes, "less is held than waits"
            # the other connection holds less than would be told
            assert abs(peer.config.memory.total - stats.held_bytes) <= LAG, "the budget was told otherwise"
        assert stats.known_inventory <= peer.config.max_known_inventory
        # transactions, and blocks
        assert stats.queued_inventory <= 2 * peer.config.max_trickle_queue
        assert self.application.ready <= 1
        assert len(self.application.closed) <= 1

    def end(self) -> CloseReason:
        """Hang up, and look at what is left."""
        peer, application = self.peer, self.application
        for _ in range(1000):
            if not application.waiting:
                break
            application.goes_on()
        peer.disconnect("the end")
        self.pump()
        # a remote that takes nothing is given up in the end
        self.clock.advance((peer.config.close_timeout or 0) + tick_of(peer.config))
        self.pump()
        while application.waiting:
            application.goes_on()
        self.check()
        if self.bystander is not None:
            self.bystander.end()
        assert peer.state is State.CLOSED, f"still {peer.state.value}"
        assert self.clock.getDelayedCalls() == [], "timers are left"
        assert not peer.config.memory.total, "the budget still counts it"
        assert not len(peer.config.memory), "the budget still knows it"
        assert not self.factory.peers, "the factory still knows it"
        stats = peer.stats()
        assert not stats.queue_bytes, "something still waits to be sent"
        if self.was_connected:
            assert not stats.buffered_bytes, "something is still buffered"
            assert not stats.pending_requests, "something is still asked"
        assert all(each.called for each in application.told), "somebody was not told of the end"
        assert peer.config.listeners.on_closed is None or len(application.closed) == 1
        reasons: list[CloseReason] = []
        peer.when_closed().addCallback(reasons.append)
        assert str(reasons[0])
        check_written(bytes(self.remote.raw), self.network.magic, stats.negotiated_version)
        return reasons[0]


EVENTS: tuple[Callable[[Conversation, bytes], None], ...] = (
    Conversation.time_passes,
    Conversation.listener_goes_on,
    Conversation.application_acts,
    Conversation.application_sends_much,
    Conversation.application_asks,
    Conversation.application_announces,
    Conversation.application_pushes,
    Conversation.remote_stops_reading,
    Conversation.remote_closes,
    Conversation.network_fails,
    Conversation.application_hangs_up,
    Conversation.somebody_gives_up,
)

KINDS = RAW + 1 + len(EVENTS)


def converse(data: bytes) -> weakref.ref[SoterPeerProtocol]:
    """A conversation from its beginning to its end. All that is left of it is a weak reference to the peer."""
    return weakref.ref(run(Conversation, data).peer)


def one_input(data: bytes) -> None:
    """Whatever ``data`` is, nothing is raised: unless txsoter is wrong."""
    failures: list[Failure] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None and failure.check(ListenerError) is None:
            failures.append(failure)

    globalLogPublisher.addObserver(observe)
    # so that all that is made here is young, and what is left of it is found at once
    collecting = gc.isenabled()
    gc.disable()
    try:
        with nonces_released():
            peer = converse(data)
            gc.collect(0)
        assert peer() is None, "the peer is still referred to"
    finally:
        if collecting:
            gc.enable()
        globalLogPublisher.removeObserver(observe)
    assert not failures, f"logged: {failures[0].getTraceback()}"


if __name__ == "__main__":
    launch(__file__)
