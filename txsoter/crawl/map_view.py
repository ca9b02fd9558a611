"""A map as its page gets it: rows by name, and what is different from the rows before. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from txsoter.crawl.layout import Point
from txsoter.crawl.map_graph import GraphReport
from txsoter.crawl.map_rows import Locate
from txsoter.crawl.map_shares import OVER_TIME, GrowthSample, best_height, shares
from txsoter.crawl.map_words import program, services
from txsoter.crawl.network_map import FROM, TO, MapNode, NetworkMap, NodeKind
from txsoter.service.status.text import shown

__all__ = ["MapView", "difference", "view_of", "whole"]

MAX_NODES = 20_000
"""Nodes on the page; those that are reachable come first."""

MAX_EDGES = 200_000
"""Edges on the page."""

MAX_LISTED = 100
"""Rows of a list of nodes that stand out."""

MOST_LINES = 6
"""Lines of one chart of growth, besides that of all nodes."""

SCALE = 10_000
"""Positions are whole numbers: so many are the radius of the picture."""

_SHOWN = (NodeKind.REACHABLE, NodeKind.DOWN, NodeKind.SEEN)


@attrs.frozen(eq=False)
class MapView:
    """The content of the page.

    :ivar nodes: by name: kind, program, height, services, up since, country, good.
    :ivar edges: bits of who claims it, by ends: 1 the one that dialled, 2 the other.
    :ivar positions: by name; nodes without one are not drawn yet.
    :ivar summary: everything else.
    :ivar names: of the nodes, sorted: the order in which they are laid out.
    :ivar pairs: of nodes that are connected, whoever has dialled, as places in ``names``.
    """

    nodes: dict[str, list[Any]]
    edges: dict[tuple[str, str], int]
    positions: dict[str, tuple[int, int]]
    summary: dict[str, Any]
    names: list[str]
    pairs: list[tuple[int, int]]


def view_of(
    network_map: NetworkMap,
    positions: Mapping[str, Point],
    report: GraphReport | None,
    samples: Sequence[GrowthSample],
    locate: Locate | None = None,
) -> MapView:
    """Return what the page shows of a map. Texts in it are bounded, and have nothing that cannot be seen.

    :param samples: of the network's growth.
    :param locate: says in which country an address is.
    """
    listed = sorted((node for node in network_map.nodes if node.kind in _SHOWN), key=lambda node: not node.reachable)
    nodes = {node.name: _row(node, locate) for node in listed[:MAX_NODES]}
    known = ((edge, (edge.source, edge.target)) for edge in network_map.edges if not edge.unmatched)
    drawn = [(ends, edge.claimed_by) for edge, ends in known if ends[0] in nodes and ends[1] in nodes]
    edges = {ends: (FROM in claims) + 2 * (TO in claims) for ends, claims in drawn[:MAX_EDGES]}
    at = {name: point for name, point in positions.items() if name in nodes}
    at |= _beside_neighbours(nodes, edges, at)
    names = sorted(nodes)
    index = {name: number for number, name in enumerate(names)}
    pairs = {(min(ends), max(ends)) for ends in ((index[one], index[other]) for one, other in edges)}
    return MapView(
        nodes,
        edges,
        {name: (round(x * SCALE), round(y * SCALE)) for name, (x, y) in at.items()},
        {
            "network": shown(network_map.network, 40),
            "when": network_map.when,
            "reachable": len(network_map.reachable),
            "known": len(network_map.nodes),
            "not_shown": len(listed) - len(nodes),
            "edges": len(network_map.edges),
            "confirmed": sum(edge.confirmed for edge in network_map.edges),
            "unmatched": sum(edge.unmatched for edge in network_map.edges),
            "height": best_height(network_map.nodes),
            "shares": attrs.asdict(shares(network_map)),
            "report": None if report is None else _report(report),
            "growth": _growth(samples),
        },
        names,
        sorted(pairs),
    )


def _beside_neighbours(
    nodes: Iterable[str], edges: Iterable[tuple[str, str]], at: Mapping[str, Point]
) -> dict[str, Point]:
    """Return provisional positions of nodes that have none until the next layout, in the middle of their neighbours."""
    around: dict[str, list[Point]] = {name: [] for name in nodes if name not in at} if at else {}
    for one, other in edges if around else ():
        for name, neighbour in ((one, other), (other, one)):
            if name in around and neighbour in at:
                around[name].append(at[neighbour])
    return {
        name: (sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points))
        for name, points in around.items()
        if points
    }


def _row(node: MapNode, locate: Locate | None) -> list[Any]:
    return [
        node.kind.value,
        program(node.user_agent),
        node.height,
        ", ".join(services(node.services)),
        None if node.connected_since is None else round(node.connected_since),
        None if locate is None else locate(node.host)["country"],
        int(node.good),
    ]


def _report(report: GraphReport) -> dict[str, Any]:
    points = list(report.articulation_points.items())
    return {
        "nodes": report.nodes,
        "pairs": report.pairs,
        # up to 2000 neighbours each number, which is more than a soterd takes
        "degrees": [[degree, count] for degree, count in list(report.degrees.items())[:2000]],
        "components": list(report.components[:MAX_LISTED]),
        "component_count": len(report.components),
        "articulation_points": [[name, count] for name, count in points[:MAX_LISTED]],
        "articulation_point_count": len(points),
        "eclipse_candidates": [
            [each.name, each.one_group, each.behind, each.neighbours] for each in report.eclipse_candidates[:MAX_LISTED]
        ],
        "eclipse_candidate_count": len(report.eclipse_candidates),
    }


def _growth(samples: Sequence[GrowthSample]) -> dict[str, Any]:
    return {
        "when": [round(each.when) for each in samples],
        "reachable": [each.reachable for each in samples],
        "edges": [each.edges for each in samples],
        **{
            what: _over_time([None if each.shares is None else getattr(each.shares, what) for each in samples])
            for what in OVER_TIME
        },
    }


def _over_time(counts: Sequence[dict[str, int] | None]) -> dict[str, list[int | None]]:
    """Return what is most common now as it was at each moment; None where that was not kept."""
    names = list((counts and counts[-1]) or ())[:MOST_LINES]
    return {name: [None if each is None else each.get(name, 0) for each in counts] for name in names}


def whole(view: MapView, version: int) -> dict[str, Any]:
    """Return all of a view: edges are three numbers each, the places of their ends in ``nodes`` and the claims."""
    index = {name: number for number, name in enumerate(view.nodes)}
    return {
        "version": version,
        **view.summary,
        "nodes": [[name, *row, *view.positions.get(name, (None, None))] for name, row in view.nodes.items()],
        "links": [
            number for (one, other), claims in view.edges.items() for number in (index[one], index[other], claims)
        ],
    }


def difference(before: MapView, after: MapView, base: int) -> dict[str, Any] | None:
    """Return what has to be done to ``before``, which has the version ``base``; None if they are alike."""
    changed = [[name, *row] for name, row in after.nodes.items() if before.nodes.get(name) != row]
    moved: list[list[Any]] = [[name, *at] for name, at in after.positions.items() if before.positions.get(name) != at]
    lost = before.positions.keys() - after.positions.keys()
    moved += [[name, None, None] for name in sorted(lost) if name in after.nodes]
    joined = [[*ends, claims] for ends, claims in after.edges.items() if before.edges.get(ends) != claims]
    gone = [name for name in before.nodes if name not in after.nodes]
    parted = [list(ends) for ends in before.edges if ends not in after.edges]
    summary = {name: value for name, value in after.summary.items() if before.summary[name] != value}
    # a map is made every few seconds: that alone is nothing new
    if not (changed or moved or joined or gone or parted) and summary.keys() <= {"when"}:
        return None
    return {
        "base": base,
        "version": base + 1,
        **summary,
        "changed": changed,
        "moved": moved,
        "joined": joined,
        "gone": gone,
        "parted": parted,
    }
