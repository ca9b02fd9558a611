"""Nodes, edges and changes of a map as what JSON can hold.

Texts of remotes are in here as they came: JSON's escapes keep them harmless, and other formats escape in their own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from txsoter.crawl.map_words import services
from txsoter.crawl.network_map import FROM, TO, MapEdge, MapNode, NetworkMap

__all__ = ["Locate", "changes", "edge_row", "map_rows", "node_row"]

Locate = Callable[[str], Mapping[str, Any]]
"""Return country, AS number and owner of an IP address, by those names of columns."""

_STEADY = ("first_seen", "last_seen", "last_attempt", "last_success", "latency", "reliability", "sources")
"""Fields that each visit changes, and that alone make no change that is told."""


def node_row(node: MapNode, locate: Locate | None = None) -> dict[str, Any]:
    """Return a node as bitnodes lists it, with what there is to believe of it.

    Times are seconds since 1970, None for never. ``reliability`` has the share of visits that succeeded, by window.

    :param locate: adds ``country``, ``asn`` and ``org``.
    """
    return {
        "address": node.host,
        "port": node.port,
        "reachable": node.reachable,
        "kind": node.kind.value,
        "version": node.protocol_version,
        "agent": node.user_agent,
        "connected_since": node.connected_since,
        "services": node.services,
        "service_names": list(services(node.services)),
        "height": node.height,
        **({} if locate is None else locate(node.host)),
        "first_seen": node.first_seen,
        "last_seen": node.last_seen,
        "last_attempt": node.last_attempt,
        "last_success": node.last_success,
        "latency": node.latency,
        "reliability": {each.window: round(each.share, 4) for each in node.reliability},
        "good": node.good,
        "alias_of": node.alias_of,
        "sources": node.sources,
        "reason": node.reason,
    }


def edge_row(edge: MapEdge) -> dict[str, Any]:
    """Return an edge: ``from`` has dialled ``to``, as the ends in ``claimed_by`` say."""
    return {
        "from": edge.source,
        "to": edge.target,
        "claimed_by": [end for end in (FROM, TO) if end in edge.claimed_by],
        "confirmed": edge.confirmed,
        "first_seen": edge.first_seen,
        "last_seen": edge.last_seen,
        "unmatched": edge.unmatched,
    }


def map_rows(network_map: NetworkMap, locate: Locate | None = None) -> dict[str, Any]:
    """Return all of a map: ``{"network", "when", "nodes": […], "edges": […]}``."""
    return {
        "network": network_map.network,
        "when": network_map.when,
        "nodes": [node_row(node, locate) for node in network_map.nodes],
        "edges": [edge_row(edge) for edge in network_map.edges],
    }


def changes(before: NetworkMap | None, after: NetworkMap, locate: Locate | None = None) -> Iterator[dict[str, Any]]:
    """Return what is different in ``after``: nodes first, then edges; everything if there was no map before.

    Each has ``change`` (``added``, ``changed`` or ``removed``), ``what`` (``node`` or ``edge``), ``when`` and the row,
    of what was removed the last one. A node that was only visited again has not changed, nor has an edge that was only
    claimed again.
    """
    was = {} if before is None else before.by_name
    yield from _changes("node", after.when, was, after.by_name, lambda node: node_row(node, locate), _STEADY)
    edges_before = {} if before is None else _edges(before)
    yield from _changes("edge", after.when, edges_before, _edges(after), edge_row, ("first_seen", "last_seen"))


def _edges(network_map: NetworkMap) -> dict[tuple[str, str], MapEdge]:
    return {(edge.source, edge.target): edge for edge in network_map.edges}


def _changes(
    what: str,
    when: float,
    before: Mapping[Any, Any],
    after: Mapping[Any, Any],
    row: Callable[[Any], dict[str, Any]],
    steady: tuple[str, ...],
) -> Iterator[dict[str, Any]]:
    for key, each in after.items():
        old = before.get(key)
        if old is None:
            yield {"change": "added", "what": what, "when": when, **row(each)}
        elif old is not each and _settled(row(old), steady) != _settled(row(each), steady):
            yield {"change": "changed", "what": what, "when": when, **row(each)}
    for key, each in before.items():
        if key not in after:
            yield {"change": "removed", "what": what, "when": when, **row(each)}


def _settled(row: dict[str, Any], steady: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in steady}
