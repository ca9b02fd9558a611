"""What drivers of all kinds share: limits, a steady pace, and latencies."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater

__all__ = ["LIMIT", "TX_RATE", "WINDOW", "Latencies", "pace"]

LIMIT = 120
"""Seconds after which any run is given up."""

WINDOW = 10_000
"""Pings in flight."""

TX_RATE = 2000
"""Transactions a second in the latency run."""

_TICK = 0.005


class Latencies:
    """Round trips, by what was sent."""

    def __init__(self) -> None:
        self._sent: list[float] = []
        self._taken: list[float] = []
        self._done: Deferred[None] = Deferred()
        self.last_sent = False
        self.rate = 0.0

    def sent(self) -> int:
        """Another has been sent; its number."""
        self._sent.append(perf_counter())
        return len(self._sent) - 1

    def answered(self, number: int) -> None:
        """Its answer has come."""
        self._taken.append(perf_counter() - self._sent[number])
        if self.last_sent and len(self._taken) == len(self._sent):
            self._done.callback(None)

    async def all_answered(self, reactor: Any) -> None:
        """Wait for the last."""
        self.last_sent = True
        if len(self._taken) < len(self._sent):
            await self._done.addTimeout(LIMIT, reactor)

    def result(self) -> dict[str, float]:
        """Microseconds."""
        cuts = statistics.quantiles(self._taken, n=100)
        return {"p50": cuts[49] * 1e6, "p99": cuts[98] * 1e6, "rate": self.rate}


async def pace(
    reactor: Any, seconds: float, send: Callable[[int], object], ping: Callable[[int], object], latencies: Latencies
) -> None:
    """Send :data:`TX_RATE` things a second for that long, 100 pings a second between them, and wait for all pongs."""
    sent = ticks = 0
    started = perf_counter()

    def tick() -> None:
        nonlocal sent, ticks
        due = int(min(perf_counter() - started, seconds) * TX_RATE)
        while sent < due:
            send(sent)
            sent += 1
        ticks += 1
        if ticks % 2 == 0:
            ping(latencies.sent())

    loop = LoopingCall(tick)
    loop.clock = reactor
    running = loop.start(_TICK, now=False)
    await deferLater(reactor, seconds)
    loop.stop()
    await running
    latencies.rate = sent / (perf_counter() - started)
    await latencies.all_answered(reactor)
