"""What strangers may take of us: connections, messages and bytes a second, and memory."""

from __future__ import annotations

import ipaddress
from typing import Protocol

__all__ = ["Admission", "MemoryBudget", "RateLimit", "address_group"]

GRAIN = 4096
"""Bytes by which what a connection holds must have changed to be accounted for."""


def address_group(host: str | None) -> str | None:
    """What counts as one address: an IPv4 one, or the 64 bits of an IPv6 network that one subscriber is given.

    None for what is no IP, such as a path: it cannot be counted.
    """
    if host is None:
        return None
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(ip, "ipv4_mapped", None)
    if isinstance(ip, ipaddress.IPv4Address) or mapped is not None:
        return str(mapped or ip)
    return str(ipaddress.ip_network((ip, 64), strict=False))


class Admission:
    """Counts connections, and says who may still come in.

    :param most: connections in all; None for any number.
    :param most_of_one: connections from one address group; None for any number.
    """

    def __init__(self, most: int | None, most_of_one: int | None) -> None:
        self.most = most
        self.most_of_one = most_of_one
        self._in_all = 0
        self._of_group: dict[str, int] = {}

    def __len__(self) -> int:
        return self._in_all

    def refusal(self, group: str | None) -> str | None:
        """Why a connection from ``group`` may not come in; None when it may."""
        if self.most is not None and self._in_all >= self.most:
            return f"there are {self._in_all} already (max_connections)"
        of_group = 0 if group is None else self._of_group.get(group, 0)
        if self.most_of_one is not None and of_group >= self.most_of_one:
            return f"there are {of_group} from {group} already (max_connections_per_address)"
        return None

    def enter(self, group: str | None) -> None:
        """A connection has come in."""
        self._in_all += 1
        if group is not None:
            self._of_group[group] = self._of_group.get(group, 0) + 1

    def leave(self, group: str | None) -> None:
        """A connection that came in has ended."""
        self._in_all -= 1
        if group is not None:
            left = self._of_group.pop(group) - 1
            if left:
                self._of_group[group] = left


def _burst(messages: float | None) -> float:
    return max(1.0, messages or 0.0)


class RateLimit:
    """What one remote may say in a second. A second's worth may come at once; what is more has to wait.

    :param messages: a second; None for any number.
    :param size: bytes a second; None for any number.
    :param now: seconds.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_messages", "_messages", "_refilled")

    def __init__(self, messages: float | None, size: float | None, now: float) -> None:
        self._max_messages = messages
        self._max_bytes = size
        # what may still be taken; below 0 after a message that was more than there was
        self._messages = _burst(messages)
        self._bytes = size or 0.0
        self._refilled = now

    def spend(self, size: int, now: float) -> None:
        """A message of ``size`` bytes has come."""
        passed, self._refilled = max(0.0, now - self._refilled), now
        if self._max_messages is not None:
            self._messages = min(_burst(self._max_messages), self._messages + passed * self._max_messages) - 1
        if self._max_bytes is not None:
            self._bytes = min(self._max_bytes, self._bytes + passed * self._max_bytes) - size

    def left(self, now: float) -> float:
        """Seconds until the next message may be taken; 0 or less when it may be now."""
        wait = 0.0
        if self._max_messages is not None:
            wait = (1 - self._messages) / self._max_messages
        if self._max_bytes is not None:
            wait = max(wait, -self._bytes / self._max_bytes)
        return self._refilled + wait - now


class Holder(Protocol):
    """Whoever holds memory."""

    def held_too_much(self, held: int, total: int) -> None:
        """Let go of all of it: ``held`` bytes, the most of anybody, of ``total``."""
        ...


class MemoryBudget:
    """What all connections of a config hold together: bytes read and not handled yet, and bytes not sent yet.

    Over the limit, the one that holds the most has to go.

    :param limit: bytes; None for any number.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.total = 0
        self._held: dict[Holder, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    def account(self, holder: Holder, held: int) -> None:
        """``holder`` holds ``held`` bytes now."""
        before = self._held.pop(holder, 0)
        self.total += held - before
        if held:
            self._held[holder] = held
        while self.limit is not None and self.total > self.limit:
            largest = max(self._held, key=self._held.__getitem__)
            most, total = self._held.pop(largest), self.total
            self.total -= most
            largest.held_too_much(most, total)
