"""Messages of the push verbs, and questions that repeat the one before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from txsoter.wire import MAX_ADDRESSES, ZERO_HASH, AddrCache, NetAddress

__all__ = ["LastAsked", "address_caches", "pick_addresses"]


class Sampler(Protocol):
    """A source of random samples, such as :class:`random.SystemRandom`."""

    def sample(self, population: Sequence[NetAddress], k: int) -> list[NetAddress]:
        """Return ``k`` different elements."""
        ...


def pick_addresses(addresses: Sequence[NetAddress], random: Sampler) -> list[NetAddress]:
    """Return all of ``addresses``, or a random 1000 if there are more, each at most once."""
    if len(addresses) <= MAX_ADDRESSES:
        return list(addresses)
    return random.sample(addresses, MAX_ADDRESSES)


def address_caches(
    inbound: Iterable[NetAddress], outbound: Iterable[NetAddress], known: Iterable[NetAddress]
) -> list[AddrCache]:
    """Return as many ``addrcache`` as it takes, each as full as can be: outbound first, then inbound, then known.

    (Outbound ones matter most to whoever wants to connect.)
    """
    tagged = [
        *(("outbound", each) for each in outbound),
        *(("inbound", each) for each in inbound),
        *(("known", each) for each in known),
    ]
    caches = []
    for start in range(0, len(tagged), MAX_ADDRESSES):
        lists: dict[str, list[NetAddress]] = {"inbound": [], "outbound": [], "known": []}
        for name, address in tagged[start : start + MAX_ADDRESSES]:
            lists[name].append(address)
        caches.append(AddrCache(**lists))
    return caches


class LastAsked:
    """The last question of a kind, to drop one that repeats it. One without a height is never a repeat.

    :param zero_repeats: a repeat without a stop hash counts as one.
    """

    __slots__ = ("_last", "_zero_repeats")

    def __init__(self, zero_repeats: bool) -> None:
        self._zero_repeats = zero_repeats
        self._last: tuple[int | None, bytes] | None = None

    def repeats(self, height: int | None, stop: bytes) -> bool:
        """Tell whether a question repeats the last; if not, it is the last from now on."""
        question = (height, stop)
        if height is not None and question == self._last and (self._zero_repeats or stop != ZERO_HASH):
            return True
        self._last = question
        return False
