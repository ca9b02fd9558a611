"""The two ends of many idle connections, each a process of its own.

Their clock can be put forward, which is how timers get as far out of step within seconds as they are after minutes.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from twisted.internet import stdio
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater, react
from twisted.python.runtime import seconds

from benchmarks import inputs
from benchmarks.floor import FloorFactory
from benchmarks.pace import LIMIT
from benchmarks.peer_ends import Commands, log_warnings, peer_config
from txsoter import Listeners, SoterPeerProtocol, SoterServerFactory, connect
from txsoter.wire import Inv, InventoryVector, write_message

__all__ = ["hold", "raise_file_limit"]

_AT_ONCE = 16
_INV = Inv([InventoryVector(2, bytes(32), 7)])
_FRAME = write_message(_INV, inputs.MAGIC)


class SkippingReactor(EPollReactor):
    """Twisted's reactor, with a clock that can be put forward."""

    skipped = 0.0

    def seconds(self) -> float:
        """The time, as all timers see it."""
        return seconds() + self.skipped


def raise_file_limit() -> int:
    """Let this process open as many files as it may; how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class _Bare(Protocol):
    """A connection with nothing on it."""

    transport: Any

    def __init__(self, end: _End) -> None:
        self._end = end

    def connectionMade(self) -> None:
        self._end.peers.append(self)

    def dataReceived(self, data: bytes) -> None:
        self._end.heard(self)

    def relay(self) -> None:
        self.transport.write(_FRAME)


class _End:
    """What both ends hold, and the commands they know."""

    def __init__(self, reactor: SkippingReactor, endpoint: str, ours: bool) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self.ours = ours
        self.peers: list[Any] = []
        self.config = peer_config(listeners=Listeners(on_ready=self.peers.append, on_inv=self._on_inv))
        self._before = (0, 0, 0)
        self._heard = 0
        self._all_heard: Deferred[None] | None = None

    async def do(self, words: list[str]) -> dict[str, Any]:
        """Carry out a command."""
        command, *arguments = words
        result: dict[str, Any] = await getattr(self, f"do_{command}")(*arguments)
        return result

    async def do_begin(self) -> dict[str, Any]:
        """Note what the process is without connections."""
        self._before = self._measure()
        return {}

    async def do_connect(self, count: str) -> dict[str, Any]:
        """Dial that many more."""
        left = int(count)
        endpoint = clientFromString(self._reactor, self._endpoint)

        async def one_after_the_other() -> None:
            nonlocal left
            while left:
                left -= 1
                if self.ours:
                    await connect(endpoint, self.config)
                else:
                    await endpoint.connect(FloorFactory(lambda: _Bare(self)))

        started = perf_counter()
        workers = [Deferred.fromCoroutine(one_after_the_other()) for _ in range(_AT_ONCE)]
        await gatherResults(workers, consumeErrors=True)
        return {"seconds": perf_counter() - started}

    async def do_skip(self, seconds: str) -> dict[str, Any]:
        """Put the clock forward, and give what became due the time to be done."""
        self._reactor.skipped += float(seconds)
        self._reactor.callLater(0, lambda: None)
        await deferLater(self._reactor, 0.01)
        return {"peers": len(self.peers)}

    async def do_memory(self) -> dict[str, Any]:
        """What the connections have added."""
        names = ("bytes", "objects", "blocks")
        return {name: now - before for name, now, before in zip(names, self._measure(), self._before, strict=True)}

    async def do_idle(self, seconds: str) -> dict[str, Any]:
        """Do nothing, and say what that took."""
        cpu, started = process_time(), perf_counter()
        await deferLater(self._reactor, float(seconds))
        return {"percent": 100 * (process_time() - cpu) / (perf_counter() - started)}

    async def do_relay(self) -> dict[str, Any]:
        """Send one inv to the accepting end, which relays it to all others: how long until all have it."""
        self._heard = 0
        self._all_heard = Deferred()
        self._all_heard.addTimeout(LIMIT, self._reactor)
        started = perf_counter()
        if self.ours:
            self.peers[0].send(_INV)
        else:
            self.peers[0].relay()
        await self._all_heard
        return {"seconds": perf_counter() - started, "peers": len(self.peers)}

    async def do_close(self) -> dict[str, Any]:
        """End all connections."""
        for peer in self.peers:
            peer.transport.abortConnection()
        return {}

    def _measure(self) -> tuple[int, int, int]:
        gc.collect()
        return _resident(), len(gc.get_objects()), sys.getallocatedblocks()

    def _on_inv(self, peer: SoterPeerProtocol, inv: Inv) -> None:
        if not peer.inbound:
            self.heard(peer)
            return
        for other in self.peers:
            if other is not peer:
                other.send(inv)

    def heard(self, peer: Any) -> None:
        """The inv has come, to the accepting end or to one of those it was relayed to."""
        if self._all_heard is None:
            for other in self.peers:
                if other is not peer:
                    other.relay()
            return
        self._heard += 1
        if self._heard == len(self.peers) - 1:
            self._all_heard.callback(None)


def hold(role: str, endpoint: str, ours: bool) -> None:
    """Be one end, until standard input ends."""
    raise_file_limit()
    reactor = SkippingReactor()  # type: ignore[no-untyped-call]
    installReactor(reactor)
    log_warnings()

    async def main(_: Any) -> None:
        end = _End(reactor, endpoint, ours)
        if role == "accept":
            factory = SoterServerFactory(end.config) if ours else FloorFactory(lambda: _Bare(end))
            port = await serverFromString(reactor, endpoint).listen(factory)
            print(json.dumps({"port": port.getHost().port}), flush=True)
        commands = Commands(end.do)
        stdio.StandardIO(commands)
        await commands.over

    react(main, _reactor=reactor)
