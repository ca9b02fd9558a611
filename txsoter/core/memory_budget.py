"""The memory that all connections of a config may hold together."""

from __future__ import annotations

from typing import Protocol

__all__ = ["GRAIN", "MemoryBudget"]

GRAIN = 4096
"""Bytes by which a connection's memory must have changed to be accounted for."""


class Holder(Protocol):
    """A connection that holds memory."""

    def over_budget(self, held: int, total: int) -> None:
        """Release all of it: ``held`` bytes, the most of all holders, of ``total``."""
        ...


class MemoryBudget:
    """Bytes that all connections of a config hold: received and not handled yet, or not sent yet.

    Past the limit, the connection that holds the most is closed.

    :param limit: bytes; None for any number.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.total = 0
        self._held: dict[Holder, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    def account(self, holder: Holder, held: int) -> None:
        """Set what ``holder`` holds now, in bytes."""
        before = self._held.pop(holder, 0)
        self.total += held - before
        if held:
            self._held[holder] = held
        while self.limit is not None and self.total > self.limit:
            largest = max(self._held, key=self._held.__getitem__)
            most, total = self._held.pop(largest), self.total
            self.total -= most
            largest.over_budget(most, total)
