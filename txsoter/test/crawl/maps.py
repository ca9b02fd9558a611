"""Maps to test with: small ones by hand, large ones by chance, and texts that try to be more than text."""

from __future__ import annotations

from random import Random
from typing import Any

from txsoter.crawl.network_map import FROM, TO, MapEdge, MapNode, NetworkMap, NodeKind, Reliability
from txsoter.wire import Services

__all__ = ["BOTH", "HOSTILE", "NOW", "chance_map", "edge", "node", "the_map"]

NOW = 1_760_000_000.0
BOTH = frozenset({FROM, TO})
FULL = int(Services.NETWORK | Services.WITNESS | Services.CF)

HOSTILE = (
    '=HYPERLINK("http://192.0.2.1/","click")',
    "+1+1",
    "-2",
    "@SUM(A1)",
    "\t=1+1",
    "\r\n=1",
    " \N{FULLWIDTH EQUALS SIGN}1",
    "|calc",
    '"]; evil [label="x',
    "a\\",
    "\\N\\G\\",
    "</data></node><script>alert(1)</script>",
    "]]><!--&amp;&#0;&lt;",
    "nul\0 bell\a escape\x1b[31m",
    "turned \N{RIGHT-TO-LEFT OVERRIDE} around",
    "\ud800 lone",
    "\ufffe no character",
    "l" * 1000,
    "\N{LINE SEPARATOR}\N{NEXT LINE}",
    "' quote ' and , comma",
)
"""User agents, decoded."""


def node(number: int, **fields: Any) -> MapNode:
    """Node 203.0.113.``number``, which is reachable unless ``fields`` say else."""
    reliability = (Reliability(window="2h", share=0.75, samples=3.0),)
    given = {
        "host": f"203.0.113.{number}",
        "port": 5069,
        "kind": NodeKind.REACHABLE,
        "services": FULL,
        "protocol_version": 70013,
        "user_agent": "/soterwire:0.6.0/soterd:4.2.0/",
        "height": 412_861,
        "first_seen": NOW - 86400,
        "last_seen": NOW - 10,
        "last_attempt": NOW - 10,
        "last_success": NOW - 10,
        "connected_since": NOW - 7200,
        "latency": 0.125,
        "reliability": reliability,
        "good": True,
        "sources": 3,
    }
    return MapNode(**{**given, **fields})


def edge(source: str, target: str, claimed_by: frozenset[str] = BOTH, **fields: Any) -> MapEdge:
    """An edge."""
    return MapEdge(source=source, target=target, claimed_by=claimed_by, first_seen=NOW - 600, last_seen=NOW, **fields)


def the_map(nodes: Any, edges: Any = (), when: float = NOW) -> NetworkMap:
    """A map of simnet."""
    return NetworkMap(network="simnet", when=when, nodes=tuple(nodes), edges=tuple(edges))


AGENTS = ("soterd:4.2.0", "soterd:4.2.0", "soterd:4.2.1", "soterd:4.1.3", "soterd:4.0.0", "soter-relay:1.3.0")


def chance_map(count: int, edges: int, seed: int = 1, when: float = NOW) -> NetworkMap:
    """A network such as there might be: newcomers dial those who are there, some are down, some far behind."""
    random = Random(seed)
    nodes: list[MapNode] = []
    for number in range(count):
        chance = random.random()
        kind = NodeKind.REACHABLE if chance < 0.86 else NodeKind.DOWN if chance < 0.93 else NodeKind.SEEN
        spoke = kind is not NodeKind.SEEN
        agent = AGENTS[int(random.random() ** 1.7 * len(AGENTS))]
        lag = 0 if random.random() < 0.9 else random.randrange(1, 4000)
        up = random.randrange(600, 30 * 86400)
        nodes.append(
            node(
                0,
                host=f"{11 + number % 23}.{random.randrange(256)}.{number // 250 % 250}.{1 + number % 250}",
                kind=kind,
                first_seen=when - up - 3600,
                last_seen=when - 10,
                last_attempt=when - random.randrange(600),
                user_agent=f"/soterwire:0.6.0/{agent}/" if spoke else "",
                height=412_861 - lag if spoke else None,
                services=FULL if spoke else 0,
                protocol_version=70013 if spoke else None,
                connected_since=when - up if kind is NodeKind.REACHABLE else None,
                last_success=when - random.randrange(600) if spoke else None,
                reliability=tuple(
                    Reliability(window=window, share=round(random.uniform(0.6, 1.0), 3), samples=samples)
                    for window, samples in (("2h", 8.0), ("8h", 30.0), ("1d", 90.0), ("1w", 600.0), ("1month", 2500.0))
                )
                if spoke
                else (),
                good=kind is NodeKind.REACHABLE,
                reason="" if kind is NodeKind.REACHABLE else "timed out while dialling, 4 times in a row",
                sources=random.randrange(1, 9),
            )
        )
    dialled: dict[tuple[str, str], MapEdge] = {}
    ends = list(range(min(count, 8)))
    while len(dialled) < edges and count > 1:
        source = random.randrange(count)
        # neighbourhoods, and a few far away
        near = (source + random.choice((-1, 1)) * (1 + int(random.expovariate(1 / 8)))) % count
        target = near if random.random() < 0.85 else random.choice(ends)
        if source == target:
            continue
        ends.append(target)
        one, other = nodes[source].name, nodes[target].name
        claims = frozenset({random.choice((FROM, TO))}) if random.random() < 0.12 else BOTH
        dialled[one, other] = edge(one, other, claims)
    return the_map(sorted(nodes, key=lambda each: each.name), dialled.values(), when)
