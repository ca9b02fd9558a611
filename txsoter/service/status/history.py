"""A little of each peer's past: how fast bytes came and went, and how long round trips took."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from txsoter.core.stats import PeerStats

__all__ = ["MAX_RATES", "MAX_ROUND_TRIPS", "Histories", "History"]

MAX_RATES = 36
"""How many samples of a peer's rates are kept."""

MAX_ROUND_TRIPS = 24
"""How many of a peer's round trips are kept."""


class History:
    """One peer's past, the oldest first.

    :ivar received: bytes a second, between one sample and the next.
    :ivar sent: likewise.
    :ivar round_trips: in microseconds: at each sample the last one, if it is new.
    """

    __slots__ = ("_at", "_micros", "_received", "_sent", "received", "round_trips", "sent")

    def __init__(self, now: float, stats: PeerStats) -> None:
        self.received: deque[int] = deque(maxlen=MAX_RATES)
        self.sent: deque[int] = deque(maxlen=MAX_RATES)
        self.round_trips: deque[int] = deque(maxlen=MAX_ROUND_TRIPS)
        self._micros: int | None = None
        self._begin(now, stats)

    def _begin(self, now: float, stats: PeerStats) -> None:
        self._at = now
        self._received = stats.bytes_received
        self._sent = stats.bytes_sent
        micros = stats.ping_micros
        # the same to the microsecond is the same one: no ping was answered since
        if micros is not None and micros != self._micros:
            self._micros = micros
            self.round_trips.append(micros)

    def sample(self, now: float, stats: PeerStats) -> None:
        """Take a sample.

        :param now: seconds of a clock that is never set.
        """
        seconds = now - self._at
        if seconds > 0:
            self.received.append(round((stats.bytes_received - self._received) / seconds))
            self.sent.append(round((stats.bytes_sent - self._sent) / seconds))
        self._begin(now, stats)


class Histories:
    """The past of all peers that live, as far as they are sampled."""

    def __init__(self) -> None:
        self._of: dict[int, History] = {}

    def __len__(self) -> int:
        return len(self._of)

    def of(self, id: int) -> History | None:
        """The past of a peer; None for one that was never sampled."""
        return self._of.get(id)

    def sample(self, now: float, peers: Iterable[PeerStats]) -> None:
        """Take a sample of each of ``peers``, and forget all others."""
        before, self._of = self._of, {}
        for stats in peers:
            history = before.get(stats.id)
            if history is None:
                history = History(now, stats)
            else:
                history.sample(now, stats)
            self._of[stats.id] = history
