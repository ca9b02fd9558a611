"""The two ends of a connection, each a process of its own: ``serve`` and ``drive``.

Either can stand opposite another implementation: they say nothing to each other but the protocol's messages.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import cycle
from time import perf_counter, process_time
from typing import Any, cast

from twisted.internet import stdio
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import react
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.protocols.basic import LineOnlyReceiver

from benchmarks import inputs
from benchmarks.floor import FloorDriver, floor_factory
from benchmarks.pace import LIMIT, WINDOW, Latencies, pace
from txsoter import SIMNET, CloseReason, Listeners, PeerConfig, SoterPeerProtocol, SoterServerFactory, connect
from txsoter.wire import Encoding, Inv, InventoryVector, Message, Ping, Pong, RowView

__all__ = ["KINDS", "MODES", "Commands", "Counts", "drive", "log_warnings", "peer_config", "serve"]

KINDS = ("txsoter", "bare", "checksum")
"""What an end is made of: this library, or one of the floors."""

MODES = ("ping", "inv", "inv-tuples", "block", "block-mixed", "tx", "handshake", "handshake-16")

_SEND_AHEAD = 16
"""Messages sent before one of them is waited for."""


def peer_config(**changes: Any) -> PeerConfig:
    """Defaults, but for what must be said, and how many may come from the one address that there is."""
    counts: dict[str, Any] = {"max_connections": None, "max_connections_per_address": None}
    return PeerConfig(network=SIMNET, user_agent_name="benchmark", services=inputs.SERVICES, **{**counts, **changes})


def log_warnings() -> None:
    """What a program that logs does: info is dropped, warnings go to standard error."""
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(LogLevel.warn)])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


class Commands(LineOnlyReceiver):
    """Takes commands from standard input, one a line, and answers each by a line of JSON.

    :param do: does one, given its words.
    :ivar over: fires when standard input ends.
    """

    delimiter = b"\n"
    transport: Any

    def __init__(self, do: Callable[[list[str]], Any]) -> None:
        self._do = do
        self._turn: Deferred[None] = Deferred()
        self._turn.callback(None)
        self.over: Deferred[None] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        self._turn.addCallback(lambda _: Deferred.fromCoroutine(self._answer(line.decode().split())))

    async def _answer(self, words: list[str]) -> None:
        try:
            result = await self._do(words)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        self.transport.write(json.dumps(result).encode() + self.delimiter)

    def connectionLost(self, reason: Any = None) -> None:
        if not self.over.called:
            self.over.callback(None)


class Counts:
    """The accepting end's listeners: they count, and read all vectors if told to (as ``rows`` or ``tuples``)."""

    def __init__(self, read_vectors: str | None) -> None:
        self.counts: Counter[str] = Counter()
        self._read_vectors = read_vectors
        self._cpu = process_time()

    def listeners(self) -> Listeners:
        """As a config takes them."""
        return Listeners(
            on_ready=lambda peer: self._count("ready"),
            on_inv=self._read_inv if self._read_vectors else lambda peer, inv: self._count("inv"),
            on_block=lambda peer, block, payload: self._count("block"),
            on_tx=lambda peer, tx: self._count("tx"),
            on_ping=lambda peer, ping: self._count("ping"),
        )

    def _count(self, name: str) -> None:
        self.counts[name] += 1

    def _read_inv(self, peer: SoterPeerProtocol, inv: Inv) -> None:
        vectors = 0
        rows = cast("RowView[InventoryVector]", inv.vectors)
        for _kind, _hash, _height in rows.tuples() if self._read_vectors == "tuples" else rows:
            vectors += 1
        self.counts["vectors"] += vectors
        self.counts["inv"] += 1

    def report(self) -> dict[str, float]:
        """Since the last report; with the seconds of CPU that this process took."""
        cpu, now = self._cpu, process_time()
        self._cpu = now
        found, self.counts = self.counts, Counter()
        return {**found, "cpu": now - cpu}


def metering(reactor: Any, metrics: bool) -> Callable[[PeerConfig, Listeners], PeerConfig]:
    """How an end gives a config its listeners: just so, or with metrics."""
    if not metrics:
        return lambda config, listeners: config.replace(listeners=listeners)
    # what only this needs is not imported elsewhere
    from benchmarks.metering import Metering

    return Metering(reactor).metered


def serve(endpoint: str, kind: str, read_vectors: str | None, report: bool, metrics: bool = False) -> None:
    """Accept connections until interrupted; with ``report`` until standard input ends, answering each of its lines."""
    log_warnings()

    async def main(reactor: Any) -> None:
        counts = Counts(read_vectors)
        ours = kind == "txsoter"
        config = metering(reactor, metrics)(peer_config(), counts.listeners())
        factory = SoterServerFactory(config) if ours else floor_factory(kind == "checksum")
        port = await serverFromString(reactor, endpoint).listen(factory)
        host = port.getHost()
        print(json.dumps({"listening": endpoint, "port": getattr(host, "port", None)}), flush=True)

        async def do(words: list[str]) -> dict[str, float]:
            return counts.report()

        forever: Deferred[None] = Deferred()
        if report:
            commands = Commands(do)
            stdio.StandardIO(commands)
            forever = commands.over
        await forever

    react(main)


def drive(endpoint: str, kind: str, mode: str, count: float, metrics: bool = False) -> None:
    """Dial, do what ``mode`` says ``count`` times (``tx``: seconds), and print what it took, as JSON.

    With mode ``-``, modes and counts are read from standard input, a line each.
    """
    log_warnings()

    async def main(reactor: Any) -> None:
        dialled = clientFromString(reactor, endpoint)
        ours = kind == "txsoter"
        driver = Driver(reactor, dialled, metrics) if ours else FloorDriver(reactor, dialled, kind == "checksum")

        async def do(words: list[str]) -> dict[str, float]:
            return await _run(driver, words[0], float(words[1]))

        if mode != "-":
            print(json.dumps(await _run(driver, mode, count)), flush=True)
            return
        commands = Commands(do)
        stdio.StandardIO(commands)
        await commands.over

    react(main)


async def _run(driver: Driver | FloorDriver, mode: str, amount: float) -> dict[str, float]:
    cpu, count = process_time(), int(amount)
    if mode == "ping":
        result = await driver.pings(count, WINDOW)
    elif mode == "tx":
        result = await driver.transactions(amount)
    elif mode.startswith("handshake"):
        result = await _handshakes(driver, count, 16 if mode == "handshake-16" else 1)
    else:
        result = await driver.flow(mode, count)
    if "seconds" in result:
        result["rate"] = count / result["seconds"]
    return {**result, "count": amount, "cpu": process_time() - cpu}


async def _handshakes(driver: Driver | FloorDriver, count: int, at_once: int) -> dict[str, float]:
    left = count

    async def one_after_the_other() -> None:
        nonlocal left
        while left:
            left -= 1
            await driver.handshake()

    started = perf_counter()
    await gatherResults([Deferred.fromCoroutine(one_after_the_other()) for _ in range(at_once)], consumeErrors=True)
    return {"seconds": perf_counter() - started}


class Driver:
    """The dialling end, of this library.

    :param metrics: whether its peers have some.
    """

    def __init__(self, reactor: Any, endpoint: IStreamClientEndpoint, metrics: bool) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._metered = metering(reactor, metrics)
        self._config = self._metered(peer_config(), Listeners())
        self._sources: dict[str, Callable[[], Iterator[Message]]] = {
            "inv": lambda: inputs.sent_on(inputs.inventories()),
            "inv-tuples": lambda: iter(inputs.inventories()),
            "block": lambda: inputs.sent_on(inputs.blocks()),
            "block-mixed": lambda: inputs.sent_on(inputs.mixed_blocks(), Encoding.WITNESS),
        }
        self._made: dict[str, tuple[Message, ...]] = {}

    def _done(self, peer: SoterPeerProtocol) -> Deferred[None]:
        """A Deferred that fails when it takes too long, or the connection ends."""
        done: Deferred[None] = Deferred()

        def closed(reason: CloseReason) -> None:
            if not done.called:
                done.errback(ConnectionError(str(reason)))

        peer.when_closed().addCallback(closed)
        return done.addTimeout(LIMIT, self._reactor)

    async def pings(self, count: int, window: int) -> dict[str, float]:
        """Round trips, each pong followed by another ping."""
        sent = got = 0

        def on_pong(peer: SoterPeerProtocol, pong: Pong) -> None:
            nonlocal sent, got
            got += 1
            if sent < count:
                peer.send(Ping(sent))
                sent += 1
            elif got == count:
                done.callback(None)

        peer = await connect(self._endpoint, self._metered(self._config, Listeners(on_pong=on_pong)))
        done = self._done(peer)
        started = perf_counter()
        for sent in range(1, min(window, count) + 1):
            peer.send(Ping(sent))
        await done
        seconds = perf_counter() - started
        await peer.disconnect()
        return {"seconds": seconds}

    async def flow(self, mode: str, count: int) -> dict[str, float]:
        """Messages as fast as they are taken; the pong at the end says that all have been handled."""
        if mode not in self._made:
            self._made[mode] = tuple(self._sources[mode]())
        messages = cycle(self._made[mode])
        encoding = Encoding.WITNESS if mode == "block-mixed" else Encoding.BASE
        # rows as an application has them that never made objects of them
        tuples = [[tuple(row) for row in message.vectors] for message in self._made[mode] if isinstance(message, Inv)]
        peer = await connect(self._endpoint, self._config)
        ahead: deque[Deferred[None]] = deque()
        started = perf_counter()
        for sent in range(count):
            message = next(messages)
            if mode == "inv-tuples":
                message = Inv(cast("list[InventoryVector]", tuples[sent % len(tuples)]))
            ahead.append(peer.send(message, encoding))
            if len(ahead) >= _SEND_AHEAD:
                await ahead.popleft()
        await peer.request(Ping(count), Pong, timeout=LIMIT)
        seconds = perf_counter() - started
        stats = peer.stats()
        await peer.disconnect()
        return {"seconds": seconds, "bytes": stats.bytes_sent}

    async def transactions(self, seconds: float) -> dict[str, float]:
        """Transactions at a steady rate, and how long pings beside them take."""
        latencies = Latencies()
        listeners = Listeners(on_pong=lambda peer, pong: latencies.answered(pong.nonce))
        peer = await connect(self._endpoint, self._metered(self._config, listeners))
        txs = tuple(inputs.sent_on(inputs.transactions()))
        await pace(
            self._reactor,
            seconds,
            lambda index: peer.send(txs[index % len(txs)]),
            lambda nonce: peer.send(Ping(nonce)),
            latencies,
        )
        await peer.disconnect()
        return latencies.result()

    async def handshake(self) -> None:
        """Connect, wait for ready, and part."""
        peer = await connect(self._endpoint, self._config)
        await peer.disconnect()
