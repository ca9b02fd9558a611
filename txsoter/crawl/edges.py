"""Edges from claims: who dialled whom, as either end says, without believing anybody about others.

An outbound claim names both ends. An inbound claim names only the host of who dialled, whose port is ephemeral. So
"B was dialled from host H" supports "A, at H, dialled B" as long as B claims at least as many connections from H as
there are nodes at H that claim to have dialled B; when fewer, nobody can tell whose claims are true, and none of them
is supported. What is left over is given to the only node at H, if there is only one, or stays unmatched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from txsoter.crawl.claims import Claims
from txsoter.crawl.network_map import FROM, TO, MapEdge
from txsoter.service.book.places import Place

__all__ = ["find_edges"]


class _Edge:
    __slots__ = ("claimed_by", "first", "last", "unmatched")

    def __init__(self, first: float, last: float, unmatched: bool) -> None:
        self.claimed_by: set[str] = set()
        self.first = first
        self.last = last
        self.unmatched = unmatched


def find_edges(
    claims: Claims,
    speakers: Iterable[Place],
    node_of: Callable[[Place], Place],
    nodes_at: Mapping[bytes, Iterable[Place]],
    stamp: Callable[[float], float],
) -> tuple[MapEdge, ...]:
    """Return the edges that follow from what is claimed.

    :param speakers: the addresses whose claims count.
    :param node_of: gives the node that an address belongs to.
    :param nodes_at: the addresses by packed IP that who dialled may have.
    :param stamp: turns the times of claims into those of edges.
    """
    found: dict[tuple[Place, Place], _Edge] = {}

    def add(source: Place, target: Place, end: str, first: float, last: float, unmatched: bool = False) -> None:
        edge = found.get((source, target))
        if edge is None:
            edge = found[source, target] = _Edge(first, last, unmatched)
        edge.claimed_by.add(end)
        edge.first, edge.last = min(edge.first, first), max(edge.last, last)

    speakers = sorted(speakers)
    diallers: dict[Place, set[Place]] = {}
    for place in speakers:
        source = node_of(place)
        for other, claim in claims.outbound.get(place, {}).items():
            target = node_of(other)
            if target != source:
                add(source, target, FROM, claim.first, claim.last)
                diallers.setdefault(target, set()).add(source)
    for place in speakers:
        target = node_of(place)
        own_diallers = diallers.get(target, set())
        for ip, by in claims.inbound.get(place, {}).items():
            there = {node_of(each) for each in nodes_at.get(ip, ())} - {target}
            agreeing = there & own_diallers
            if len(agreeing) > by.count:
                continue
            for source in agreeing:
                add(source, target, TO, by.first, by.last)
            left = by.count - len(agreeing)
            others = there - agreeing
            if left and len(others) == 1:
                add(others.pop(), target, TO, by.first, by.last)
                left -= 1
            for port in by.ports[len(by.ports) - left :] if left else ():
                add(Place(ip, port), target, TO, by.first, by.last, unmatched=True)
    return tuple(
        MapEdge(
            source=str(source),
            target=str(target),
            claimed_by=frozenset(edge.claimed_by),
            first_seen=stamp(edge.first),
            last_seen=stamp(edge.last),
            unmatched=edge.unmatched,
        )
        for (source, target), edge in sorted(found.items())
    )
