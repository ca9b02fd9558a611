"""A few quick tries for addresses whose first attempts have failed: what is dialled may be starting just now."""

from __future__ import annotations

from collections.abc import Callable

from txsoter.service.book.places import Place

__all__ = ["QUICK_TRIES", "QuickRetries"]

QUICK_TRIES = 4
"""Attempts after a first failure that come sooner than others."""

FIRST_WAIT = 1.0
"""Seconds from a first failure to the next attempt; doubled with each."""

MAX_PLACES = 64
"""Addresses that are remembered; the one that failed first is forgotten first."""


class QuickRetries:
    """Says which addresses may be dialled again already.

    :param now: gives monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        # how many attempts have failed, and when the next may be made
        self._places: dict[Place, tuple[int, float]] = {}

    def failed(self, place: Place) -> None:
        """Note a failure."""
        failures = self._places.get(place, (0, 0.0))[0] + 1
        if place not in self._places and len(self._places) >= MAX_PLACES:
            del self._places[next(iter(self._places))]
        self._places[place] = failures, self._now() + FIRST_WAIT * 2 ** (min(failures, QUICK_TRIES) - 1)

    def worked(self, place: Place) -> None:
        """Forget its failures."""
        self._places.pop(place, None)

    def may_dial(self, place: Place) -> bool:
        """Return whether an attempt failed, and the next quick one is due."""
        failures, due = self._places.get(place, (0, 0.0))
        return 0 < failures <= QUICK_TRIES and self._now() >= due

    @property
    def is_waiting(self) -> bool:
        """Whether any is still to come."""
        return any(failures <= QUICK_TRIES for failures, _ in self._places.values())
