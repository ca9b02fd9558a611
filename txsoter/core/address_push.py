"""Messages of the push verbs, and questions that repeat the one before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from txsoter.wire import MAX_ADDRESSES, ZERO_HASH, AddrCache, GetBlocks, GetHeaders, Hash, Message, NetAddress

__all__ = ["AskedBefore", "address_caches", "pick_addresses"]


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


class AskedBefore:
    """The last questions of either class, to drop those that repeat them."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[type[Message], tuple[int | None, Hash]] = {}

    def repeats(self, question: GetBlocks | GetHeaders) -> bool:
        """Tell whether a question repeats the last of its class; if not, it is the last from now on.

        One without a height is never a repeat; nor is a ``getblocks`` without a stop, which asks for more.
        """
        kind, asked = type(question), (question.height, question.stop)
        asks_for_more = kind is GetBlocks and question.stop == ZERO_HASH
        if question.height is not None and not asks_for_more and self._last.get(kind) == asked:
            return True
        self._last[kind] = asked
        return False
