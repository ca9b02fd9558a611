"""Edges from claims: who dialled whom, as either end says, without believing anybody about others.

An outbound claim names both ends. An inbound claim names only the host of who dialled, whose port is ephemeral. So
"B was dialled from host H" supports "A, at H, dialled B" as long as B claims at least as many connections from H as
there are nodes at H that claim to have dialled B; when fewer, nobody can tell whose claims are true, and none of them
is supported. What is left over is given to the only node at H, if there is only one, or stays unmatched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from txsoter.crawl.claims import Claims, DialledBy
from txsoter.crawl.network_map import FROM, TO, MapEdge
from txsoter.service.book.places import Place

__all__ = ["find_edges"]


_ENDS = (frozenset[str](), frozenset({FROM}), frozenset({TO}), frozenset({FROM, TO}))
_FROM, _TO = 1, 2
"""Bits of which ``_ENDS`` has the sets."""


class _Edge:
    __slots__ = ("ends", "first", "last", "unmatched")

    def __init__(self, ends: int, first: float, last: float, unmatched: bool = False) -> None:
        self.ends = ends
        self.first = first
        self.last = last
        self.unmatched = unmatched

    def add(self, end: int, first: float, last: float) -> None:
        """Note that an end says so."""
        self.ends |= end
        if first < self.first:
            self.first = first
        if last > self.last:
            self.last = last


_Found = dict[tuple[Place, Place], _Edge]


def find_edges(
    claims: Claims,
    speakers: Iterable[Place],
    node_of: Callable[[Place], Place],
    nodes_at: Mapping[bytes, Iterable[Place]],
    stamp: Callable[[float], float],
    name: Callable[[Place], str],
) -> tuple[MapEdge, ...]:
    """Return the edges that follow from what is claimed.

    :param speakers: the addresses whose claims count.
    :param node_of: gives the node that an address belongs to.
    :param nodes_at: the addresses by packed IP that who dialled may have.
    :param stamp: turns the times of claims into those of edges.
    :param name: gives ``HOST:PORT`` of an address.
    """
    found: _Found = {}
    speakers = sorted(speakers)
    for place in speakers:
        source = node_of(place)
        for other, claim in claims.outbound.get(place, {}).items():
            target = node_of(other)
            if target != source:
                _add(found, source, target, _FROM, claim.first, claim.last)
    nodes = {ip: frozenset(map(node_of, there)) for ip, there in nodes_at.items()}
    for place in speakers:
        target = node_of(place)
        for ip, by in claims.inbound.get(place, {}).items():
            _match(found, target, ip, by, nodes.get(ip, frozenset()))
    return tuple(
        MapEdge(
            source=name(source),
            target=name(target),
            claimed_by=_ENDS[edge.ends],
            first_seen=stamp(edge.first),
            last_seen=stamp(edge.last),
            unmatched=edge.unmatched,
        )
        for (source, target), edge in sorted(found.items(), key=_ends_of)
    )


def _ends_of(item: tuple[tuple[Place, Place], _Edge]) -> tuple[Place, Place]:
    return item[0]


def _add(found: _Found, source: Place, target: Place, end: int, first: float, last: float) -> None:
    edge = found.get((source, target))
    if edge is None:
        found[source, target] = _Edge(end, first, last)
    else:
        edge.add(end, first, last)


def _match(found: _Found, target: Place, ip: bytes, by: DialledBy, there: Iterable[Place]) -> None:
    """Match a node's inbound connections from one host to the nodes there."""
    others, agreeing = [], []
    for node in there:
        edge = found.get((node, target))
        if edge is not None and edge.ends & _FROM:
            agreeing.append(edge)
        elif node != target:
            others.append(node)
    left = by.count - len(agreeing)
    if left < 0:
        return
    for edge in agreeing:
        edge.add(_TO, by.first, by.last)
    if left and len(others) == 1:
        _add(found, others[0], target, _TO, by.first, by.last)
        left -= 1
    for port in by.ports[len(by.ports) - left :] if left else ():
        found[Place(ip, port), target] = _Edge(_TO, by.first, by.last, unmatched=True)
