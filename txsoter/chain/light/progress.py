"""Progress of a light client, for bars and pages."""

from __future__ import annotations

from collections import deque

import attrs

__all__ = ["ProgressMeter", "SyncProgress"]

SPAN = 10.0
"""Seconds over which the rate is measured."""


@attrs.frozen(kw_only=True)
class SyncProgress:
    """Progress of a light client.

    :ivar synced: headers that it has, the genesis included.
    :ivar total: headers that there will be, at least ``synced``: an estimate by the height that a peer told.
    :ivar height: the greatest height that it has; -1 without any header.
    :ivar rate: new headers a second, over the last ten seconds.
    :ivar eta: seconds until ``total`` is reached at this rate; 0 at the end, None while nothing comes.
    :ivar peers: number of those that are followed.
    :ivar in_step: number of those of them that have told nothing more.
    :ivar is_synced: whether the lists of a peer have been followed to its tip.
    """

    synced: int
    total: int
    height: int
    rate: float
    eta: float | None
    peers: int
    in_step: int
    is_synced: bool


class ProgressMeter:
    """Measures the rate of new headers.

    :param synced: the number of headers now.
    :param now: seconds of a monotonic clock.
    """

    def __init__(self, synced: int, now: float) -> None:
        self._samples = deque([(now, synced)])

    def note(self, synced: int, now: float) -> None:
        """Take a sample."""
        samples = self._samples
        samples.append((now, synced))
        while len(samples) > 2 and samples[1][0] <= now - SPAN:
            samples.popleft()

    @property
    def rate(self) -> float:
        """New headers a second."""
        (began, first), (now, last) = self._samples[0], self._samples[-1]
        return (last - first) / (now - began) if now > began else 0.0

    def progress(self, height: int, told: int, is_synced: bool, peers: int, in_step: int) -> SyncProgress:
        """Return the progress.

        :param height: the greatest height that there is.
        :param told: the greatest that a peer told, which may be no more than its word.
        """
        synced, rate = self._samples[-1][1], self.rate
        total = synced
        if not is_synced and told > height >= 0:
            # as many blocks a height as there were until now
            total = max(synced, round(synced / (height + 1) * (told + 1)))
        eta = 0.0 if total == synced else (total - synced) / rate if rate > 0 else None
        return SyncProgress(
            synced=synced,
            total=total,
            height=height,
            rate=rate,
            eta=eta,
            peers=peers,
            in_step=in_step,
            is_synced=is_synced,
        )
