"""Claims of nodes about their connections: the latest of each node, and its time.

A claim belongs to the address at which it was made: whoever says something about somebody else's connections has
claimed nothing about those.
"""

from __future__ import annotations

from collections.abc import Iterable

from txsoter.service.book.places import Place

__all__ = ["Claims", "Dialled", "DialledBy"]

PORTS_SHOWN = 16
"""Ephemeral ports of one host that are remembered for one node; above that only their number."""


class Dialled:
    """The claim of a node that it dialled another. Times are seconds.

    :ivar first: when it was first claimed, without a pause since.
    :ivar last: when it was last claimed.
    """

    __slots__ = ("first", "last")

    def __init__(self, first: float, last: float) -> None:
        self.first = first
        self.last = last


class DialledBy:
    """The claim of a node that somebody at a host dialled it.

    :ivar first: when anybody there was first claimed, without a pause since.
    :ivar last: when it was last claimed.
    :ivar count: number of connections.
    :ivar ports: their ephemeral ports, up to a limit.
    """

    __slots__ = ("count", "first", "last", "ports")

    def __init__(self, first: float, last: float, count: int, ports: tuple[int, ...]) -> None:
        self.first = first
        self.last = last
        self.count = count
        self.ports = ports


class Claims:
    """The latest claims of all nodes.

    :ivar outbound: by the node that claims: whom it dialled.
    :ivar inbound: by the node that claims: the packed IPs of who dialled it.
    :ivar cached_at: when each node last made any.
    :ivar ends: who claims an inbound connection, by its remote end: two addresses that share one may be one node.
    """

    def __init__(self) -> None:
        self.outbound: dict[Place, dict[Place, Dialled]] = {}
        self.inbound: dict[Place, dict[bytes, DialledBy]] = {}
        self.cached_at: dict[Place, float] = {}
        self.ends: dict[Place, Place] = {}

    def __len__(self) -> int:
        """Return the number of claims."""
        return sum(map(len, self.outbound.values())) + sum(map(len, self.inbound.values()))

    def replace(self, place: Place, outbound: Iterable[Place], inbound: Iterable[Place], now: float) -> set[Place]:
        """Put what a node says in the place of what it said before.

        :return: other addresses at which one of the same inbound connections is claimed.
        """
        before_out, before_in = self.outbound.get(place, {}), self.inbound.get(place, {})
        self._forget_ends(place)
        self.cached_at[place] = now
        said = {}
        for other in outbound:
            known = before_out.get(other)
            said[other] = Dialled(now if known is None else known.first, now)
        self.outbound[place] = said
        ports: dict[bytes, list[int]] = {}
        shared = set()
        for end in inbound:
            ports.setdefault(end.ip, []).append(end.port)
            owner = self.ends.setdefault(end, place)
            if owner != place:
                shared.add(owner)
                self.ends[end] = place
        heard = {}
        for ip, each in ports.items():
            known_by = before_in.get(ip)
            first = now if known_by is None else known_by.first
            heard[ip] = DialledBy(first, now, len(each), tuple(sorted(each)[:PORTS_SHOWN]))
        self.inbound[place] = heard
        return shared

    def load(self, place: Place, outbound: dict[Place, Dialled], inbound: dict[bytes, DialledBy], at: float) -> None:
        """Take over what was stored."""
        self.outbound[place], self.inbound[place], self.cached_at[place] = outbound, inbound, at

    def forget(self, place: Place) -> None:
        """Forget what a node said."""
        self._forget_ends(place)
        self.outbound.pop(place, None)
        self.inbound.pop(place, None)
        self.cached_at.pop(place, None)

    def _forget_ends(self, place: Place) -> None:
        for ip, claim in self.inbound.get(place, {}).items():
            for port in claim.ports:
                end = Place(ip, port)
                if self.ends.get(end) == place:
                    del self.ends[end]
