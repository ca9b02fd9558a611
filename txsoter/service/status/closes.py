"""Connections that have ended, and why."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator

import attrs

from txsoter.core.stats import PeerStats
from txsoter.errors import CloseCause, CloseReason
from txsoter.service.status.sightings import Announcer

__all__ = ["Close", "Closes"]


@attrs.define
class Close:
    """The end of a connection.

    :ivar remote: of whom.
    :ivar inbound: whether the remote had dialled us.
    :ivar reason: why.
    :ivar at: when, in seconds of a clock that is never set.
    :ivar seconds: how long it had lasted.
    :ivar times: how many there were like it: with the same host, for the same cause.
    """

    remote: Announcer
    inbound: bool
    reason: CloseReason
    at: float
    seconds: float
    times: int = 1


class Closes:
    """The last ends of connections. Those of one host for one cause are one: a remote that comes again and again must
    not drive out all others.

    :ivar causes: how many there were of each cause.
    :ivar bytes_received: by the connections that have ended.
    :ivar bytes_sent: likewise.
    :ivar messages_received: likewise.
    :ivar messages_sent: likewise.
    """

    def __init__(self, limit: int = 50) -> None:
        self._limit = limit
        self._last: OrderedDict[tuple[str, bool, CloseCause], Close] = OrderedDict()
        self.causes: Counter[CloseCause] = Counter()
        self.bytes_received = self.bytes_sent = self.messages_received = self.messages_sent = 0

    def __len__(self) -> int:
        return len(self._last)

    def add(
        self, remote: Announcer, stats: PeerStats, reason: CloseReason, now: float, connected_at: float | None
    ) -> None:
        """A connection has ended.

        :param connected_at: when it had begun, in the seconds of ``now``; None for one that never did.
        """
        self.causes[reason.cause] += 1
        self.bytes_received += stats.bytes_received
        self.bytes_sent += stats.bytes_sent
        self.messages_received += stats.messages_received
        self.messages_sent += stats.messages_sent
        host, colon, _ = stats.address.rpartition(":")
        key = (host if colon and stats.inbound else stats.address, stats.inbound, reason.cause)
        before = self._last.pop(key, None)
        seconds = 0.0 if connected_at is None else now - connected_at
        times = 1 if before is None else before.times + 1
        self._last[key] = Close(remote, stats.inbound, reason, now, seconds, times)
        if len(self._last) > self._limit:
            self._last.popitem(last=False)

    def latest(self) -> Iterator[Close]:
        """The last ones, the newest first."""
        return reversed(self._last.values())
