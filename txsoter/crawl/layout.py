"""Positions of nodes in a picture: a force-directed layout by rustworkx that starts from the picture before.

rustworkx holds the interpreter's lock while it computes, seconds for thousands of nodes: this is run in a process of
its own, by :mod:`txsoter.crawl.layout_process`. All positions are within or a little outside of the unit circle.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from random import Random
from time import perf_counter
from typing import Any

from txsoter.crawl.extras import load_rustworkx

__all__ = ["Point", "layout"]

Point = tuple[float, float]

CORE = 1500
"""Nodes of which a first picture is made, those with the most neighbours; the others are put beside these."""

ITERATIONS = 120
"""The most steps of a computation; with more the picture gets no better."""

CALM = 40.0
"""Factor by which steps are smaller than at first when a picture is only updated."""

UPDATE_ITERATIONS = 25
"""The most steps of an update: together they move no node by more than a thirtieth of the picture's radius."""

SAMPLED = 20_000
"""Pairs of nodes from which the force between all of them is estimated."""

OUTSIDE = 1.12
"""Radius from which on nodes are put that are not connected to the main part of the network."""


def layout(
    count: int, pairs: Sequence[tuple[int, int]], before: Mapping[int, Point], seconds: float, seed: int = 1
) -> list[Point]:
    """Return the positions of nodes 0 to ``count``.

    Nodes of the largest component attract each other along edges; the others are put around it. Nodes that had a
    position stay near it. The same arguments give the same picture on a machine of the same speed.

    :param pairs: nodes that are connected, each pair once.
    :param before: positions in the picture before, of the nodes that were in it.
    :param seconds: about how long to compute.
    """
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for one, other in pairs:
        neighbours[one].append(other)
        neighbours[other].append(one)
    inside = _largest_component(neighbours)
    placed = {each: before[each] for each in inside if each in before}
    random = Random(seed)
    is_new = len(placed) < len(inside) / 2
    if is_new:
        core = sorted(inside, key=lambda each: (-len(neighbours[each]), each))[:CORE]
        start = {each: (random.uniform(-1, 1), random.uniform(-1, 1)) for each in core}
        placed = _fitted(_springs(core, neighbours, start, core, 1.0, seconds / 2, ITERATIONS))
    fresh = _put_beside_neighbours(inside, neighbours, placed, random)
    if is_new and fresh:
        placed = _fitted(_springs(inside, neighbours, placed, inside, 3.0, seconds / 2, ITERATIONS))
    elif fresh:
        moving = sorted({*fresh, *(each for node in fresh for each in neighbours[node])})
        placed = _springs(inside, neighbours, placed, moving, CALM / 2, seconds / 2, UPDATE_ITERATIONS)
    if not is_new and inside:
        placed = _springs(inside, neighbours, placed, inside, CALM, seconds / 2, UPDATE_ITERATIONS)
    outside = [each for each in range(count) if each not in placed]
    around = _around(outside, before)
    return [placed[each] if each in placed else around[each] for each in range(count)]


def _largest_component(neighbours: Sequence[Sequence[int]]) -> list[int]:
    """The nodes of the largest component, sorted; none if no two nodes are connected."""
    seen: set[int] = set()
    largest: list[int] = []
    for start in range(len(neighbours)):
        if start in seen or not neighbours[start]:
            continue
        seen.add(start)
        component = [start]
        for node in component:
            for each in neighbours[node]:
                if each not in seen:
                    seen.add(each)
                    component.append(each)
        if len(component) > len(largest):
            largest = component
    return sorted(largest)


def _springs(
    nodes: Sequence[int],
    neighbours: Sequence[Sequence[int]],
    start: Mapping[int, Point],
    moving: Sequence[int],
    calm: float,
    seconds: float,
    most: int,
) -> dict[int, Point]:
    """Return the positions after some steps, of which the first are a tenth, divided by ``calm``, and the last tiny.

    A step costs all pairs of a node that moves and any other: how many there are is found by measuring the first.
    """
    rustworkx = load_rustworkx()
    index = {node: number for number, node in enumerate(nodes)}
    graph: Any = rustworkx.PyGraph(multigraph=False)
    graph.add_nodes_from(range(len(nodes)))
    inner = ((number, index[each]) for number, node in enumerate(nodes) for each in neighbours[node] if each in index)
    pairs = [(one, other) for one, other in inner if one < other]
    graph.add_edges_from_no_data(pairs)
    at = {index[node]: (start[node][0] * calm, start[node][1] * calm) for node in nodes}
    # where nothing is fixed, all is scaled to a square in the end; the node that stays has the most neighbours
    fixed = {index[node] for node in nodes} - {index[node] for node in moving}
    fixed = fixed or {index[max(nodes, key=lambda node: len(neighbours[node]))]}

    k = 1 / math.sqrt(len(nodes)) if calm == 1.0 else _balanced(at, pairs)

    def steps(at: Mapping[int, Point], number: int) -> dict[int, Point]:
        # steps have the same size at any scale, so that at a larger one they are the smaller
        found = rustworkx.spring_layout(
            graph,
            {node: list(point) for node, point in at.items()},
            fixed,
            k=k,
            adaptive_cooling=False,
            num_iter=number,
            seed=1,
        )
        return {node: (float(x), float(y)) for node, (x, y) in found.items()}

    began = perf_counter()
    # one step of which nothing is used: it may be a large one
    steps(at, 1)
    cost = perf_counter() - began
    number = max(1, min(most, int(seconds / max(cost, 1e-6)) - 1))
    at = steps(at, number)
    return {node: (at[index[node]][0] / calm, at[index[node]][1] / calm) for node in nodes}


def _balanced(at: Mapping[int, Point], pairs: Sequence[tuple[int, int]]) -> float:
    """Return the distance ``k`` with which the picture as a whole neither grows nor shrinks.

    rustworkx pulls along an edge of length d with d²/k, and pushes any two nodes apart with 0.2 k³/d². The sums of
    force times length, over edges and over all pairs, are then equal.
    """
    random = Random(1)
    count = len(at)
    drawn = ((random.randrange(count), random.randrange(count)) for _ in range(SAMPLED))
    apart = [max(math.dist(at[one], at[other]), 1e-3) for one, other in drawn if one != other]
    push = sum(1 / each for each in apart) / max(1, len(apart)) * count * (count - 1) / 2
    pull = sum(math.dist(at[one], at[other]) ** 3 for one, other in pairs)
    return (pull / (0.2 * push)) ** 0.25 if push and pull else 1 / math.sqrt(count)


def _fitted(placed: Mapping[int, Point]) -> dict[int, Point]:
    """Positions moved and scaled so that nearly all are in the unit circle; the others are drawn in to its edge."""
    middle = [sum(point[axis] for point in placed.values()) / max(1, len(placed)) for axis in (0, 1)]
    moved = {node: (x - middle[0], y - middle[1]) for node, (x, y) in placed.items()}
    radii = sorted(math.hypot(*point) for point in moved.values())
    scale = radii[int(len(radii) * 0.97)] if radii else 1.0
    fitted = {}
    for node, (x, y) in moved.items():
        radius = math.hypot(x, y) / (scale or 1.0)
        pulled = min(radius, 1.0 + 0.06 * (1 - 1 / max(radius, 1.0)))
        factor = 0.0 if radius == 0 else pulled / radius / (scale or 1.0)
        fitted[node] = (x * factor, y * factor)
    return fitted


def _put_beside_neighbours(
    nodes: Sequence[int], neighbours: Sequence[Sequence[int]], placed: dict[int, Point], random: Random
) -> list[int]:
    """Give those nodes a position that have none, in the middle of neighbours that have; return which they are."""
    fresh = []
    waiting = deque(node for node in nodes if node not in placed)
    # each round places at least one: they are one component, of which some are placed
    while waiting:
        node = waiting.popleft()
        around = [placed[each] for each in neighbours[node] if each in placed]
        if not around:
            waiting.append(node)
            continue
        # a little off, for from one point nothing pushes apart
        angle, radius = random.uniform(0, math.tau), random.uniform(0.02, 0.08)
        x = sum(point[0] for point in around) / len(around) + radius * math.cos(angle)
        y = sum(point[1] for point in around) / len(around) + radius * math.sin(angle)
        placed[node] = (x, y)
        fresh.append(node)
    return fresh


def _around(nodes: Sequence[int], before: Mapping[int, Point]) -> dict[int, Point]:
    """Positions on a spiral around the unit circle; those that were there before keep theirs."""
    kept = {each: before[each] for each in nodes if each in before and math.hypot(*before[each]) >= OUTSIDE - 0.01}
    taken = {(round(x, 3), round(y, 3)) for x, y in kept.values()}
    spots = (_spot(number) for number in range(len(nodes) + len(taken)))
    free = (spot for spot in spots if (round(spot[0], 3), round(spot[1], 3)) not in taken)
    return {**kept, **{node: next(free) for node in nodes if node not in kept}}


def _spot(number: int) -> Point:
    """The positions of a sunflower's seeds, but for its middle: equally dense everywhere."""
    area = 0.004
    radius = math.sqrt(OUTSIDE**2 + number * area / math.pi)
    angle = number * math.pi * (3 - math.sqrt(5))
    return round(radius * math.cos(angle), 4), round(radius * math.sin(angle), 4)
