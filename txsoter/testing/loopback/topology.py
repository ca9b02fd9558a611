"""Graphs of connections: random, ring, star."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

__all__ = ["TOPOLOGIES", "Edge"]

Edge = tuple[int, int]
"""Numbers of two nodes, of which the first has dialled the second."""


def random_graph(count: int, degree: int, random: Random) -> list[Edge]:
    """Return a graph in which each node dials ``degree`` others, at most one connection between any two."""
    joined: list[set[int]] = [set() for _ in range(count)]
    edges = []
    for node, taken in enumerate(joined):
        # enough that as many are left when itself and its neighbours are not counted
        sample = random.sample(range(count), min(count, degree + len(taken) + 1))
        for other in [each for each in sample if each != node and each not in taken][:degree]:
            edges.append((node, other))
            taken.add(other)
            joined[other].add(node)
    return edges


def ring(count: int, degree: int, random: Random) -> list[Edge]:
    """Return a ring: each node dials the next one."""
    return [(node, (node + 1) % count) for node in range(count if count > 2 else count - 1)]


def star(count: int, degree: int, random: Random) -> list[Edge]:
    """Return a star: all nodes dial the first one."""
    return [(node, 0) for node in range(1, count)]


TOPOLOGIES: dict[str, Callable[[int, int, Random], list[Edge]]] = {
    "random": random_graph,
    "ring": ring,
    "star": star,
}
"""Functions of the number of nodes, the degree (of random graphs alone) and a source of randomness, by name."""
