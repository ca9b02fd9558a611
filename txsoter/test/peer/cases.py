"""What the tests of whole peers share: their base class, a message of each kind, and time limits for real sockets."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

import pytest_twisted  # type: ignore[import-untyped]
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from txsoter import SIMNET, CloseCause, ClosedBy, CloseReason, PeerConfig, SoterPeerProtocol
from txsoter.core.handshake import LIVE_NONCES
from txsoter.core.state import State
from txsoter.test.peer.support import TrialCase
from txsoter.testing import MemoryLink, PeerPair, ScriptedPair, connected_pair, scripted
from txsoter.wire import (
    Addr,
    AddrCache,
    Alert,
    Block,
    BlockHeader,
    CFCheckpt,
    CFHeaders,
    CFilter,
    FeeFilter,
    FilterAdd,
    FilterClear,
    FilterLoad,
    GetAddr,
    GetAddrCache,
    GetBlocks,
    GetCFCheckpt,
    GetCFHeaders,
    GetCFilters,
    GetData,
    GetHeaders,
    Hash,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    MemPool,
    MerkleBlock,
    Message,
    NetAddress,
    NotFound,
    Ping,
    Pong,
    Reject,
    SendHeaders,
    Tx,
    TxIn,
    TxOut,
    write_message,
)

__all__ = [
    "AFTER_HANDSHAKE",
    "WholePeerTestCase",
    "as_block",
    "as_tx",
    "blocks",
    "config",
    "framed",
    "hash_of",
    "noting",
    "over_sockets",
    "real_reactor",
    "returning",
    "tx",
    "wrong",
]

E = TypeVar("E", bound=Exception)
F = TypeVar("F", bound=Callable[..., Awaitable[None]])


def wrong(value: object) -> Any:
    """``value`` where its type does not belong."""
    return value


def returning(value: object) -> Callable[..., Any]:
    """A listener that returns ``value``, whatever it is called with."""
    return lambda *arguments: value


def noting(calls: list[Any]) -> Callable[..., None]:
    """A listener that appends what it is called with, the peer left out; alone if that is one value."""
    return lambda peer, *arguments: calls.append(arguments if len(arguments) > 1 else arguments[0])


def config(**fields: Any) -> PeerConfig:
    """A repeatable config on simnet."""
    return PeerConfig(**{"network": SIMNET, "random": Random(1), **fields})


def framed(message: Message, pver: int = 70013) -> bytes:
    """The frame of a message on simnet."""
    return write_message(message, SIMNET.magic, pver)


def hash_of(number: int) -> Hash:
    """A hash like no other number's."""
    return Hash(number.to_bytes(32, "big"))


def as_tx(number: int) -> InventoryVector:
    """An inventory vector that is trickled."""
    return InventoryVector(InventoryType.TX, hash_of(number))


def as_block(number: int, witness: bool = False) -> InventoryVector:
    """An inventory vector that is announced at once."""
    kind = InventoryType.WITNESS_BLOCK if witness else InventoryType.BLOCK
    return InventoryVector(kind, hash_of(number), height=number)


def tx(number: int) -> Tx:
    """A transaction like no other number's."""
    return Tx(1, [TxIn(hash_of(number), 0, b"\x51")], [TxOut(50, b"\x52")], number)


def blocks(count: int) -> list[Block]:
    """Blocks with hashes of their own."""
    return [Block(header=BlockHeader(nonce=number), transactions=[tx(number)]) for number in range(count)]


AFTER_HANDSHAKE: tuple[Message, ...] = (
    GetAddr(),
    GetAddrCache(),
    Addr([NetAddress(1, "192.0.2.7", 18555, 1234)]),
    AddrCache([NetAddress(1, "192.0.2.8", 1, 1)], [], [NetAddress(1, "192.0.2.9", 2, 2)]),
    GetBlocks(height=3, stop=hash_of(4)),
    Inv([as_block(5)]),
    GetData([as_tx(6)]),
    NotFound([as_tx(7)]),
    blocks(1)[0],
    tx(8),
    GetHeaders(height=9),
    Headers([BlockHeader(nonce=10)]),
    Ping(11),
    Pong(12),
    Alert(b"thirteen", b"signature"),
    MemPool(),
    FilterAdd(b"fourteen"),
    FilterClear(),
    FilterLoad(b"\xff", 5, 15, 1),
    MerkleBlock(BlockHeader(nonce=16), 1, [hash_of(17)], b"\x01"),
    Reject(b"tx", 0x40, b"eighteen", hash_of(18)),
    SendHeaders(),
    FeeFilter(19),
    GetCFilters(start_height=20, stop=hash_of(21)),
    GetCFHeaders(start_height=22, stop=hash_of(23)),
    GetCFCheckpt(stop=hash_of(24)),
    CFilter(hash_of(25), b"filter"),
    CFHeaders(hash_of(26), hash_of(27), [hash_of(28)]),
    CFCheckpt(hash_of(29), [hash_of(30)]),
)
"""A message of each command but ``version`` and ``verack``."""


class WholePeerTestCase(TrialCase):
    """Peers in memory. When a test is over they are closed, and must leave no timer, waiter or nonce behind."""

    def setUp(self) -> None:
        self.nonces_before = len(LIVE_NONCES)
        # cleanups run last in, first out: this one when all peers are closed
        self.addCleanup(lambda: self.assertEqual(len(LIVE_NONCES), self.nonces_before))

    def scripted(self, config: PeerConfig | None = None, **options: Any) -> ScriptedPair:
        """As :func:`txsoter.testing.scripted`."""
        pair = scripted(config, **options)
        self.addCleanup(self._nothing_remains, pair.link, pair.clock, pair.peer)
        return pair

    def fresh(self, config: PeerConfig | None = None, **options: Any) -> ScriptedPair:
        """The same, before either side's ``version`` has arrived."""
        return self.scripted(config, handshake=False, **options)

    def connected_pair(self, *configs: PeerConfig, **options: Any) -> PeerPair:
        """As :func:`txsoter.testing.connected_pair`."""
        pair = connected_pair(*configs, **options)
        self.addCleanup(self._nothing_remains, pair.link, pair.clock, pair.client, pair.server)
        return pair

    def _nothing_remains(self, link: MemoryLink, clock: Clock, *peers: SoterPeerProtocol) -> None:
        for side in (link.client, link.server):
            side.takes = True
        for peer in peers:
            peer.disconnect()
        link.pump()
        clock.advance(10)
        link.pump()
        for peer in peers:
            self.assertIs(peer.state, State.CLOSED)
            stats = peer.stats()
            self.assertEqual((stats.pending_requests, stats.queued_inventory), (0, 0))
            self.assertEqual((stats.queue_length, stats.queue_bytes, stats.held_bytes), (0, 0, 0))
        self.assertEqual(clock.getDelayedCalls(), [])

    def log_lines(self, level: Any) -> list[str]:
        """What is logged at ``level`` or above from now on."""
        lines: list[str] = []

        def note(event: LogEvent) -> None:
            if event["log_level"] >= level:
                lines.append(formatEvent(event))

        globalLogPublisher.addObserver(wrong(note))
        self.addCleanup(globalLogPublisher.removeObserver, wrong(note))
        return lines

    def reason_of(self, pair: ScriptedPair) -> CloseReason:
        """Why the connection has ended, which it must have."""
        pair.pump()
        self.assertIsNotNone(pair.remote.closed)
        return self.successResultOf(pair.peer.when_closed())

    def assert_closed(
        self, pair: ScriptedPair, cause: CloseCause, command: str | None = None, by: ClosedBy = ClosedBy.LOCAL
    ) -> CloseReason:
        """The connection has ended for ``cause``."""
        reason = self.reason_of(pair)
        self.assertEqual((reason.by, reason.cause, reason.command), (by, cause, command))
        return reason

    def error_of(self, deferred: Deferred[Any], expected: type[E]) -> E:
        """The error that a Deferred has failed with."""
        error = self.failureResultOf(deferred, expected).value
        assert isinstance(error, expected)
        return error

    def assert_ready(self, pair: ScriptedPair) -> None:
        """The handshake is over."""
        self.assertIs(self.successResultOf(pair.peer.when_ready()), pair.peer)


def over_sockets(seconds: float = 20) -> Callable[[F], Any]:
    """Make a pytest function that runs on the real reactor, is cancelled when late, and must leave no timer."""

    def decorate(test: F) -> Any:
        @functools.wraps(test)
        async def limited(*args: Any, **kwargs: Any) -> None:
            reactor = real_reactor()
            before = set(reactor.getDelayedCalls())
            await Deferred.fromCoroutine(wrong(test(*args, **kwargs))).addTimeout(seconds, reactor)
            assert set(reactor.getDelayedCalls()) - before == set()

        return pytest_twisted.ensureDeferred(limited)

    return decorate


def real_reactor() -> Any:
    """The reactor; only tests over sockets may load it."""
    from twisted.internet import reactor

    return reactor
