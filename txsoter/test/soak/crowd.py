"""Thousands of connections in one process, most of them busy and some of them rogues; and what is left of them."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
from collections.abc import Callable, Coroutine
from itertools import cycle
from time import perf_counter, process_time
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore, gatherResults
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall

from txsoter import SIMNET, Listeners, PeerConfig, SoterClientFactory, SoterPeerProtocol, SoterServerFactory
from txsoter.test.soak.rogues import Rogue
from txsoter.test.vectors import dag
from txsoter.wire import Block, Inv, InventoryVector, Ping, Pong, read_message

__all__ = ["Crowd", "Traces"]

AT_ONCE = 16
"""Connections that are begun at the same time."""

PING_EVERY, INV_EVERY, BLOCK_EVERY = 2.0, 5.0, 20.0
"""Seconds between what one remote sends of each."""


@attrs.frozen
class Traces:
    """What a process shows of its connections.

    :ivar files: open descriptors.
    :ivar timers: delayed calls of the reactor.
    :ivar peers: protocols and Deferreds that the garbage collector finds.
    :ivar resident: bytes of memory.
    """

    files: int
    timers: int
    peers: int
    resident: int

    @classmethod
    def now(cls, reactor: Any) -> Traces:
        """What there is after everything that can be freed has been."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/statm") as numbers:
            pages = int(numbers.read().split()[1])
        kinds = (SoterPeerProtocol, Rogue, Deferred)
        return cls(
            files=len(os.listdir("/proc/self/fd")),
            timers=len(reactor.getDelayedCalls()),
            peers=sum(isinstance(each, kinds) for each in gc.get_objects()),
            resident=pages * resource.getpagesize(),
        )


class Crowd:
    """A server, and those who are connected to it.

    :ivar closes: how connections to the server ended, by cause.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.closes: dict[str, int] = {}
        self.latencies: list[float] = []
        base = PeerConfig(
            network=SIMNET,
            allow_self_connections=True,
            max_connections=None,
            max_connections_per_address=None,
            listeners=Listeners(on_closed=self._closed),
        )
        self.server = SoterServerFactory(base)
        self.clients = SoterClientFactory(base.replace(listeners=Listeners(on_pong=self._ponged)))
        self.dialled: list[SoterPeerProtocol] = []
        self._sent_at: dict[int, float] = {}
        self._nonce = 0
        self._port: Any = None
        self._raw: Any = None
        self._rogues: set[Rogue] = set()
        self._kinds = cycle(Rogue.KINDS)
        self._misbehaving = False
        self._block: Block = read_message(dag()[1]["raw"], SIMNET.magic)[0]  # type: ignore[assignment]

    def _closed(self, peer: SoterPeerProtocol, reason: Any) -> None:
        self.closes[reason.cause.name] = self.closes.get(reason.cause.name, 0) + 1

    def _ponged(self, peer: SoterPeerProtocol, pong: Pong) -> None:
        sent_at = self._sent_at.pop(pong.nonce, None)
        if sent_at is not None:
            self.latencies.append(perf_counter() - sent_at)

    async def open(self) -> None:
        """Let the server listen."""
        self._port = await serverFromString(self.reactor, "tcp:0:interface=127.0.0.1:backlog=512").listen(self.server)
        self._raw = clientFromString(self.reactor, f"tcp:127.0.0.1:{self._port.getHost().port}")

    async def dial(self) -> SoterPeerProtocol:
        """One more that behaves."""
        peer: SoterPeerProtocol = await self._raw.connect(self.clients)
        return await peer.when_ready()

    async def gather(self, count: int) -> None:
        """So many more that behave."""
        self.dialled += await self.many(count, self.dial)

    async def many(self, count: int, what: Callable[[], Coroutine[Deferred[Any], Any, Any]]) -> list[Any]:
        """Do something so many times, a few at once."""
        semaphore = DeferredSemaphore(AT_ONCE)
        done: list[Any] = await gatherResults([semaphore.run(what) for _ in range(count)])
        return done

    def misbehave(self, count: int, patience: float) -> None:
        """Keep so many rogues busy, each kind in its turn."""
        self._misbehaving = True
        for _ in range(count):
            self._next_rogue(patience)

    def _next_rogue(self, patience: float) -> None:
        rogue = Rogue(next(self._kinds), self.reactor, patience)
        self._rogues.add(rogue)

        def gone(_: object) -> None:
            self._rogues.discard(rogue)
            if self._misbehaving:
                self.reactor.callLater(0.05, self._next_rogue, patience)

        rogue.closed.addCallback(gone)
        self._raw.connect(_Single(rogue))

    async def talk(self, seconds: float) -> dict[str, float]:
        """Let all that behave send pings, invs and now and then a block; the server announces transactions to all.

        :return: figures.
        """
        ticks_a_second = 10
        started, cpu = perf_counter(), process_time()
        state = {"tick": 0}

        def tick() -> None:
            state["tick"] = number = state["tick"] + 1
            for every, send in ((PING_EVERY, self._ping), (INV_EVERY, self._announce), (BLOCK_EVERY, self._send_block)):
                parts = int(every * ticks_a_second)
                for peer in self.dialled[number % parts :: parts]:
                    send(peer)
            if number % ticks_a_second == 0:
                vector = InventoryVector(1, number.to_bytes(32, "little"))
                for peer in list(self.server.peers):
                    peer.queue_inventory(vector)

        loop = LoopingCall(tick)
        done = loop.start(1 / ticks_a_second)
        self.reactor.callLater(seconds, loop.stop)
        await done
        self._misbehaving = False
        # what each has sent has been handled when its last ping is answered
        await gatherResults([peer.request(Ping(self._next_nonce()), Pong, timeout=60) for peer in self.dialled])
        ordered = sorted(self.latencies)
        return {
            "seconds": perf_counter() - started,
            "cpu": process_time() - cpu,
            "pings": len(ordered),
            "median ms": ordered[len(ordered) // 2] * 1000,
            "p99 ms": ordered[len(ordered) * 99 // 100] * 1000,
        }

    def _next_nonce(self) -> int:
        self._nonce += 1
        return self._nonce

    def _ping(self, peer: SoterPeerProtocol) -> None:
        nonce = self._next_nonce()
        self._sent_at[nonce] = perf_counter()
        peer.send(Ping(nonce))

    def _announce(self, peer: SoterPeerProtocol) -> None:
        peer.send(Inv([InventoryVector(1, self._next_nonce().to_bytes(32, "little")) for _ in range(10)]))

    def _send_block(self, peer: SoterPeerProtocol) -> None:
        peer.send(self._block)

    def differences(self) -> list[str]:
        """Where what one end sent is not what the other received."""
        ends = {peer.address: peer for peer in self.server.peers}
        found = []
        for peer in self.dialled:
            host = peer.transport.getHost()
            sent = peer.stats().sent
            other = ends.get(f"{host.host}:{host.port}")
            received = {} if other is None else other.stats().received
            if sent != received:
                found.append(f"{peer}: sent {sent}, received {received}")
        return found

    async def close(self) -> None:
        """End everything."""
        self._misbehaving = False
        await gatherResults([self.clients.disconnect_all(), self._port.stopListening()])
        for rogue in list(self._rogues):
            if rogue.transport is not None:
                rogue.transport.abortConnection()
        await DeferredList([rogue.closed for rogue in self._rogues])
        await self.server.disconnect_all()
        self.dialled.clear()


class _Single(Factory):
    """Makes the one protocol that it was given."""

    noisy = False

    def __init__(self, rogue: Rogue) -> None:
        self._rogue = rogue

    def buildProtocol(self, addr: IAddress | None) -> Rogue:
        return self._rogue
