"""What metrics are made of: sums over peers, round trips, and the time that listeners take."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from functools import update_wrapper
from inspect import iscoroutine
from itertools import accumulate
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from txsoter.core.listeners import Listeners
from txsoter.core.stats import PeerStats
from txsoter.core.traffic import Traffic
from txsoter.errors import CloseReason

__all__ = ["BOUNDS", "UNTIMED", "HandlerTimes", "RoundTrips", "Tally"]

BOUNDS = tuple(
    round(seconds * 1_000_000)
    for seconds in (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
)
"""The upper bounds of a histogram of round trips, in microseconds: from one machine to the other side of Tor."""

UNTIMED = frozenset({"on_ping", "on_pong", "on_read", "on_write", "on_round_trip"})
"""Listeners that are not timed: what they are called for takes so little that the clock would cost several percent."""

COMPLETED = "completed"
"""The result of a handshake that has not failed."""


class Tally:
    """Sums over any number of peers.

    :ivar sent: messages and bytes handed to transports, by command.
    :ivar received: messages and bytes that came, by command; unknown ones together.
    :ivar handshakes: by direction and result.
    :ivar closes: by cause and by whom.
    """

    def __init__(self) -> None:
        self.sent: dict[str, Traffic] = {}
        self.received: dict[str, Traffic] = {}
        self.handshakes: Counter[tuple[str, str]] = Counter()
        self.closes: Counter[tuple[str, str]] = Counter()
        self.bytes_read = 0
        self.malformed = 0
        self.handler_errors = 0

    def add(self, stats: PeerStats) -> None:
        """A peer that lives, or whose end is given to :meth:`end` as well."""
        for sums, traffics in ((self.sent, stats.sent), (self.received, stats.received)):
            for command, traffic in traffics.items():
                total = sums.get(command)
                if total is None:
                    sums[command] = traffic.copy()
                else:
                    total.messages += traffic.messages
                    total.bytes += traffic.bytes
        self.bytes_read += stats.bytes_received
        self.malformed += stats.malformed
        self.handler_errors += stats.handler_errors
        if _has_shaken_hands(stats):
            self.handshakes[direction(stats), COMPLETED] += 1

    def end(self, stats: PeerStats, reason: CloseReason) -> None:
        """A peer has ended: as :meth:`add`, with how that came."""
        self.add(stats)
        cause = reason.cause.name.lower()
        self.closes[cause, reason.by.name.lower()] += 1
        if not _has_shaken_hands(stats):
            self.handshakes[direction(stats), cause] += 1

    def copy(self) -> Tally:
        """The sums as they are now."""
        copied = Tally()
        copied.sent = {command: traffic.copy() for command, traffic in self.sent.items()}
        copied.received = {command: traffic.copy() for command, traffic in self.received.items()}
        copied.handshakes = self.handshakes.copy()
        copied.closes = self.closes.copy()
        copied.bytes_read = self.bytes_read
        copied.malformed = self.malformed
        copied.handler_errors = self.handler_errors
        return copied


def direction(stats: PeerStats) -> str:
    """Who dialled."""
    return "inbound" if stats.inbound else "outbound"


def _has_shaken_hands(stats: PeerStats) -> bool:
    # a verack alone may have been the first that a stranger said
    return stats.advertised_version is not None and "verack" in stats.received and stats.received["verack"].messages > 0


class RoundTrips:
    """A histogram of round trips.

    :ivar counts: how many, by the first of :data:`BOUNDS` that they do not pass; the last are those that pass all.
    :ivar micros: all of them together, in microseconds.
    """

    __slots__ = ("counts", "micros")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.micros = 0

    def add(self, seconds: float) -> None:
        """Count a round trip."""
        micros = round(seconds * 1_000_000)
        self.counts[bisect_left(BOUNDS, micros)] += 1
        self.micros += micros

    def up_to(self) -> Iterator[int]:
        """How many are within each bound, and how many there are."""
        return accumulate(self.counts)


class HandlerTime:
    """Seconds that one listener has taken so far."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0


class HandlerTimes:
    """How long an application's listeners take, what they wait for included: so long the peer's next message waits.

    :param now: gives the time in seconds.
    :ivar times: by listener, its name without ``on_``.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.times: dict[str, HandlerTime] = {}
        self._now = now

    def timed(self, listeners: Listeners) -> Listeners:
        """The same listeners, timed but for :data:`UNTIMED`."""
        changes: dict[str, Any] = {}
        for name in (each.name for each in attrs.fields(Listeners)):
            listener = getattr(listeners, name)
            if callable(listener) and name not in UNTIMED:
                changes[name] = self._timed(listener, self._time_of(name.removeprefix("on_")))
        by_class = {
            kind: self._timed(listener, self._time_of(kind.command)) for kind, listener in listeners.on_message.items()
        }
        return attrs.evolve(listeners, on_message=by_class, **changes)

    def _time_of(self, name: str) -> HandlerTime:
        return self.times.setdefault(name, HandlerTime())

    def _timed(self, listener: Callable[..., Any], time: HandlerTime) -> Callable[..., Any]:
        now = self._now

        def done(result: Any, began: float) -> Any:
            time.seconds += now() - began
            return result

        def timed(*args: Any) -> Any:
            began = now()
            try:
                result = listener(*args)
            except BaseException:
                time.seconds += now() - began
                raise
            if result is None:
                time.seconds += now() - began
                return None
            if iscoroutine(result):
                result = Deferred.fromCoroutine(result)
            return result.addBoth(done, began) if isinstance(result, Deferred) else done(result, began)

        return update_wrapper(timed, listener, assigned=(), updated=())
