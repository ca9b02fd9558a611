"""From an atlas to the map at one moment, and to an answer about one address."""

from __future__ import annotations

from collections.abc import Callable

from txsoter.crawl.atlas import NO_IPV6, Atlas
from txsoter.crawl.candidate import Candidate
from txsoter.crawl.edges import find_edges
from txsoter.crawl.network_map import MapNode, NetworkMap, NodeKind
from txsoter.crawl.reliability import is_good, reliability_rows
from txsoter.service.book.places import Place

__all__ = ["agent_text", "explain", "make_map"]


def make_map(atlas: Atlas, network: str, now: float, stamp: Callable[[float], float]) -> NetworkMap:
    """Return the map as of now.

    :param stamp: turns the atlas's times into wall-clock seconds since 1970.
    """
    candidates = sorted(atlas.candidates.values(), key=lambda each: each.place)
    nodes_at: dict[bytes, list[Place]] = {}
    others_at: dict[bytes, list[Place]] = {}
    for each in candidates:
        if each.is_reachable:
            nodes_at.setdefault(each.place.ip, []).append(each.place)
        elif each.kind is not NodeKind.FAKE:
            others_at.setdefault(each.place.ip, []).append(each.place)
    names = {each.place: str(each.place) for each in candidates}
    speakers = [each.place for each in candidates if each.is_reachable and each.place in atlas.claims.cached_at]

    def name(place: Place) -> str:
        # most are in many edges
        found = names.get(place)
        return str(place) if found is None else found

    return NetworkMap(
        network=network,
        when=stamp(now),
        nodes=tuple(_node(atlas, each, now, stamp) for each in candidates),
        edges=find_edges(atlas.claims, speakers, atlas.node_of, {**others_at, **nodes_at}, stamp, name),
    )


def explain(atlas: Atlas, place: Place, now: float) -> str:
    """Return why an address is listed or not, in words."""
    candidate = atlas.candidates.get(place)
    if candidate is not None:
        return _reason(atlas, candidate, now) or "it is listed: it answered at its last visit"
    if place in atlas.dropped:
        return atlas.dropped[place][1]
    return "nobody has told of it"


def _reason(atlas: Atlas, candidate: Candidate, now: float) -> str:
    return candidate.reason(now, "" if atlas.is_dialled(candidate.place) else NO_IPV6)


def agent_text(user_agent: bytes) -> str:
    """Return a user agent as text, whatever bytes it has."""
    return user_agent.decode("utf-8", "backslashreplace")


def _node(atlas: Atlas, candidate: Candidate, now: float, stamp: Callable[[float], float]) -> MapNode:
    def stamped(when: float | None) -> float | None:
        return None if when is None else stamp(when)

    return MapNode(
        host=candidate.place.host,
        port=candidate.place.port,
        kind=candidate.kind,
        services=candidate.services,
        protocol_version=candidate.protocol_version,
        user_agent=agent_text(candidate.user_agent),
        height=candidate.height,
        first_seen=stamp(candidate.first_seen),
        last_seen=stamp(candidate.last_seen),
        last_attempt=stamped(candidate.last_attempt),
        last_success=stamped(candidate.last_success),
        connected_since=stamped(candidate.up_since),
        latency=candidate.latency,
        reliability=reliability_rows(candidate.reliability),
        good=candidate.alias_of is None and not candidate.is_ourselves and is_good(candidate.reliability),
        alias_of=None if candidate.alias_of is None else str(candidate.alias_of),
        sources=len(candidate.sources),
        reason=_reason(atlas, candidate, now),
    )
