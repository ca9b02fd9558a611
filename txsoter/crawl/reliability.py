"""Reliability of a node: the share of visits that succeeded, decayed over windows from two hours to a month.

The windows and their thresholds are those of Bitcoin's DNS seeders.
"""

from __future__ import annotations

from math import exp

from txsoter.crawl.network_map import WINDOWS, Reliability

__all__ = ["THRESHOLDS", "count_visit", "is_good", "reliability_rows"]

THRESHOLDS = ((0.85, 2.0), (0.70, 4.0), (0.55, 8.0), (0.45, 16.0), (0.35, 32.0))
"""Share and number of samples that must be exceeded, one pair for each window; one window is enough."""


def count_visit(values: list[float] | None, succeeded: bool, age: float) -> list[float]:
    """Return the decayed values after another visit.

    :param values: share and samples of each window in turn; None before the first visit.
    :param age: seconds since the visit before.
    """
    if values is None:
        return [float(succeeded), 1.0] * len(WINDOWS)
    counted = []
    for index, (_, seconds) in enumerate(WINDOWS):
        decay = exp(-age / seconds)
        counted.append(values[2 * index] * decay + (1.0 - decay) * succeeded)
        counted.append(values[2 * index + 1] * decay + 1.0)
    return counted


def is_good(values: list[float] | None) -> bool:
    """Return whether a node is reliable enough in one of the windows."""
    if values is None:
        return False
    pairs = zip(values[::2], values[1::2], THRESHOLDS, strict=True)
    return any(share > least and samples > enough for share, samples, (least, enough) in pairs)


def reliability_rows(values: list[float] | None) -> tuple[Reliability, ...]:
    """Return the values as they are shown."""
    if values is None:
        return ()
    return tuple(
        Reliability(window=name, share=values[2 * index], samples=values[2 * index + 1])
        for index, (name, _) in enumerate(WINDOWS)
    )
