"""The times of something that is repeated."""

from __future__ import annotations

__all__ = ["next_beat"]


def next_beat(last: float, interval: float, now: float) -> float:
    """Return the first time after ``now`` that is a whole number of intervals after ``last``."""
    beat = last + interval * (1 + max(0.0, (now - last) // interval))
    # a sum of floats may be rounded down to now
    return beat if beat > now else beat + interval
