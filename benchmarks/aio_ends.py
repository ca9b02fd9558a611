"""The two ends of a connection on asyncio, each a process of its own, as those of ``peer_ends`` are on Twisted."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from itertools import cycle
from time import perf_counter, process_time
from typing import Any

from benchmarks import inputs
from benchmarks.pace import LIMIT, WINDOW
from benchmarks.peer_ends import Counts, peer_config
from txsoter import Listeners
from txsoter.aio import Peer, connect, serve
from txsoter.wire import Encoding, Message, Ping, Pong

__all__ = ["LOOPS", "be_end"]

LOOPS = ("asyncio", "uvloop")
"""The loops that an end may have."""

_HOST = "127.0.0.1"

_SEND_AHEAD = 16
"""Messages sent before one of them is waited for."""


def be_end(end: str, port: int, loop: str) -> None:
    """Serve on a port of the kernel's choice, or drive against one, until standard input ends.

    :param end: ``serve`` or ``drive``.
    :param loop: one of :data:`LOOPS`.
    """
    main = _serve() if end == "serve" else _drive(port)
    if loop == "uvloop":
        import uvloop  # type: ignore[import-not-found,unused-ignore]

        uvloop.run(main)
    else:
        asyncio.run(main)


async def _serve() -> None:
    counts = Counts(None)
    async with await serve(_HOST, 0, peer_config(listeners=counts.listeners())) as server:
        print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)

        async def report(words: list[str]) -> dict[str, float]:
            return counts.report()

        await _commands(report)


async def _drive(port: int) -> None:
    driver = _Driver(port)

    async def do(words: list[str]) -> dict[str, float]:
        mode, count, cpu = words[0], int(words[1]), process_time()
        if mode == "ping":
            seconds = await driver.pings(count, WINDOW)
        elif mode.startswith("handshake"):
            seconds = await driver.handshakes(count, 16 if mode == "handshake-16" else 1)
        else:
            seconds = await driver.flow(mode, count)
        return {"seconds": seconds, "rate": count / seconds, "count": count, "cpu": process_time() - cpu}

    await _commands(do)


async def _commands(do: Callable[[list[str]], Awaitable[dict[str, Any]]]) -> None:
    """Take commands from standard input, one a line, and answer each by a line of JSON."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            result = await do(line.split())
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), flush=True)


class _Driver:
    """The dialling end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._config = peer_config()
        self._sources: dict[str, Callable[[], Iterator[Message]]] = {
            "inv": lambda: inputs.sent_on(inputs.inventories()),
            "block": lambda: inputs.sent_on(inputs.blocks()),
        }
        self._made: dict[str, tuple[Message, ...]] = {}

    async def pings(self, count: int, window: int) -> float:
        """Round trips, each pong followed by another ping; the seconds that they took."""
        sent = got = 0
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_pong(peer: Peer, pong: Pong) -> None:
            nonlocal sent, got
            got += 1
            if sent < count:
                peer.send(Ping(sent))
                sent += 1
            elif got == count:
                done.set_result(None)

        config = self._config.replace(listeners=Listeners(on_pong=on_pong))
        async with await connect(_HOST, self._port, config) as peer:
            started = perf_counter()
            for sent in range(1, min(window, count) + 1):
                peer.send(Ping(sent))
            await asyncio.wait_for(done, LIMIT)
            return perf_counter() - started

    async def flow(self, mode: str, count: int) -> float:
        """Messages as fast as they are taken; the pong at the end says that all have been handled."""
        if mode not in self._made:
            self._made[mode] = tuple(self._sources[mode]())
        messages = cycle(self._made[mode])
        ahead: deque[asyncio.Future[None]] = deque()
        async with await connect(_HOST, self._port, self._config) as peer:
            started = perf_counter()
            for _ in range(count):
                ahead.append(peer.send(next(messages), Encoding.BASE))
                if len(ahead) >= _SEND_AHEAD:
                    await ahead.popleft()
            await peer.request(Ping(count), Pong, timeout=LIMIT)
            return perf_counter() - started

    async def handshakes(self, count: int, at_once: int) -> float:
        """Connect, wait for ready, and part."""
        left = count

        async def one_after_the_other() -> None:
            nonlocal left
            while left:
                left -= 1
                async with await connect(_HOST, self._port, self._config):
                    pass

        started = perf_counter()
        runs: list[Coroutine[Any, Any, None]] = [one_after_the_other() for _ in range(at_once)]
        await asyncio.gather(*runs)
        return perf_counter() - started
