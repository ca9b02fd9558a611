"""What the tests of the address book share: places, a world's clock, and workers without threads."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from txsoter.networks import TESTNET1
from txsoter.service.book.buckets import Buckets
from txsoter.service.book.places import Place, place_at
from txsoter.test.peer.support import TrialCase
from txsoter.testing import SimulatedClock
from txsoter.wire import NetAddress

__all__ = [
    "DAY",
    "HOUR",
    "NOW",
    "SOURCE",
    "STEPS",
    "AtOnce",
    "FolderCase",
    "Held",
    "LoggingCase",
    "address",
    "at",
    "buckets",
    "ip",
    "world",
]

NOW = 1_760_000_000
HOUR = 3600
DAY = 24 * HOUR

STEPS = (400, DAY, -HOUR, -DAY)
"""Seconds by which somebody sets the wall clock: to correct it, or by mistake."""


def at(host: str, port: int = 5070) -> Place:
    """A place."""
    return place_at(host, port)


def ip(host: str) -> bytes:
    """The 16 bytes of an IP."""
    return place_at(host, 1).ip


def address(host: str, port: int = 5070, timestamp: int = NOW - HOUR, services: int = 1) -> NetAddress:
    """What a peer tells of another."""
    return NetAddress(services, host, port, timestamp)


SOURCE = ip("77.7.7.7")


def buckets(seed: int = 1, **arguments: Any) -> Buckets:
    """Empty ones, whose picks are the same each time."""
    return Buckets(bytes(32), Random(seed), **{"default_port": TESTNET1.default_port, **arguments})


def world() -> SimulatedClock:
    """A clock that shows the world's time."""
    clock = SimulatedClock()
    clock.advance(NOW)
    return clock


def places(count: int, first: int = 11) -> list[Place]:
    """Places of the internet, no two of them in one group: those of ``first``.0, ``first``.1, and so on."""
    return [at(f"{first + number // 256}.{number % 256}.1.2") for number in range(count)]


def neighbours(place: Place) -> Iterator[Place]:
    """Any number of other places of its group."""
    one, two = place.ip[12:14]
    for number in range(1 << 20):
        yield at(f"{one}.{two}.{number >> 8 & 255}.{number & 255}", 2000 + (number >> 16))


def rival(place: Place, slot_of: Callable[[Place], int]) -> Place:
    """Another place that belongs into the same slot."""
    return next(other for other in neighbours(place) if other != place and slot_of(other) == slot_of(place))


class AtOnce:
    """A worker that does everything at once, where it is asked to."""

    def __init__(self) -> None:
        self.stopped = 0

    def run(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        return execute(function, *args)

    def stop(self) -> None:
        self.stopped += 1


class Held(AtOnce):
    """A worker that does nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def run(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, lambda: function(*args)))
        return done

    def work(self) -> None:
        """Do what waits, and what comes of it."""
        while self.waiting:
            done, function = self.waiting.pop(0)
            execute(function).chainDeferred(done)


class FolderCase(TrialCase):
    """Has a folder that is not there yet.

    :ivar folder: below one that goes with the test.
    """

    def setUp(self) -> None:
        above = Path(tempfile.mkdtemp()).absolute()
        self.addCleanup(shutil.rmtree, above)
        self.folder = above / "state"


class LoggingCase(TrialCase):
    """Notes what the service's parts log."""

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def logged(self, *levels: LogLevel) -> list[str]:
        """What they have logged at these levels; by default what an operator should know."""
        wanted = levels or (LogLevel.warn, LogLevel.error, LogLevel.critical)
        own = [each for each in self.events if str(each.get("log_namespace", "")).startswith("txsoter.service")]
        return [formatEvent(each) for each in own if each["log_level"] in wanted]
