"""A week of a network whose nodes come and go, with liars: nothing grows."""

from __future__ import annotations

import gc
import resource
from pathlib import Path
from random import Random
from unittest import TestCase

import pytest

from txsoter.crawl.stored_rows import take_changes
from txsoter.crawl.visit_result import VisitResult
from txsoter.service.book.places import Place
from txsoter.test.crawl.visits import World, answered, failed, internet
from txsoter.test.service.book.support import HOUR, at

NODES = 60
"""Nodes that are up at a time; one is replaced in each quarter of an hour."""


class Network:
    """Nodes with connections among each other, and one that tells addresses at which nobody is."""

    def __init__(self, world: World, seed: int, nodes: int = NODES) -> None:
        self.random = Random(seed)
        self.nodes = nodes
        self.world = world
        self.made = 0
        self.port = 1024
        self.up: list[Place] = []
        self.dialled: dict[Place, dict[Place, int]] = {}
        self.diallers: dict[Place, list[Place]] = {}
        self.liar = at("200.1.1.1")
        for _ in range(nodes):
            self.replace_one()
        world.answers[self.liar] = self.lie

    def replace_one(self) -> None:
        """Let the oldest node go, and another come that has dialled four."""
        if len(self.up) >= self.nodes:
            gone = self.up.pop(0)
            del self.world.answers[gone], self.dialled[gone], self.diallers[gone]
        self.made += 1
        place = internet(self.made % 20_000)
        self.dialled[place], self.diallers[place] = {}, []
        for other in self.random.sample(self.up, min(4, len(self.up))):
            self.port = 1024 + (self.port - 1023) % 60_000
            self.dialled[place][other] = self.port
            self.diallers[other].append(place)
        self.up.append(place)
        self.world.answers[place] = lambda: self.answer(place)

    def answer(self, place: Place) -> VisitResult:
        own = at("192.0.2.1", self.random.randrange(1024, 65_000))
        inbound = [Place(each.ip, self.dialled[each][place]) for each in self.diallers[place] if each in self.dialled]
        outbound = [each for each in self.dialled[place] if each in self.dialled]
        told = [*outbound, *self.random.sample(self.up, 5), self.liar]
        nonce = self.random.getrandbits(64)
        return answered(
            place, told=told, outbound=outbound, inbound=[*inbound, own], own_end=own, seen_as=own, nonce=nonce
        )

    def lie(self) -> VisitResult:
        told = [at(f"{self.random.randrange(100, 190)}.{self.random.randrange(250)}.3.3") for _ in range(20)]
        ends = [Place(each.ip, self.random.randrange(1024, 65_000)) for each in self.up]
        return answered(self.liar, told=told, outbound=told, inbound=ends, nonce=self.random.getrandbits(64))


class WeekTests(TestCase):
    def test_nothing_grows(self) -> None:
        world = World(revisit=float(HOUR), max_dropped=500, forget_proven=24.0 * HOUR)
        network = Network(world, 1)
        world.name(network.up[-1])
        sizes = []
        for _ in range(7):
            for _ in range(24 * 4):
                network.replace_one()
                # a visit of what is up now may find a node that has just gone
                world.run(HOUR / 4, 30)
                while take_changes(world.atlas, 0.0) is not None:
                    pass
                world.visited.clear()
            atlas = world.atlas
            reachable = {each.name for each in world.map().reachable}
            self.assertGreater(len(reachable & set(map(str, network.up))), NODES * 0.8)
            self.assertEqual(len(atlas.changed) + len(atlas.changed_claims) + len(atlas.tallies), 0)
            # what nobody is at any more claims nothing: forgotten with its node
            self.assertLessEqual(set(atlas.claims.cached_at), set(atlas.candidates))
            sizes.append((len(atlas.candidates), len(atlas.claims), len(atlas.schedule), len(atlas.claims.ends)))
        self.assertLessEqual(len(world.atlas.dropped), 500)
        for first, last in zip(sizes[1], sizes[-1], strict=True):
            self.assertLess(last, 1.5 * first + 20, sizes)
        edges = [edge for edge in world.map().edges if edge.confirmed]
        self.assertFalse([edge for edge in edges if str(network.liar) in (edge.source, edge.target)])
        self.assertGreater(len(edges), NODES)

    def test_after_the_network_is_gone_all_is_forgotten(self) -> None:
        """But for the address that our own side named."""
        world = World(revisit=float(HOUR), forget_proven=24.0 * HOUR, forget_unproven=24.0 * HOUR)
        network = Network(world, 2)
        world.name(network.up[-1])
        world.run(3 * HOUR, 30)
        self.assertGreater(len(world.atlas.candidates), NODES)
        world.answers.clear()
        world.run(8 * 24 * HOUR, 300)
        self.assertEqual(set(world.atlas.candidates), {network.up[-1]})
        self.assertLessEqual(set(world.atlas.claims.cached_at), {network.up[-1]})
        self.assertEqual(world.visit(network.up[0]), failed(network.up[0]))


@pytest.mark.soak
def test_a_thousand_nodes() -> None:
    """The memory of the process at the end of the week is that of its third day, from when on as many gone nodes are
    forgotten as come."""
    world = World(revisit=float(HOUR), forget_proven=48.0 * HOUR)
    network = Network(world, 3, nodes=1000)
    world.name(network.up[-1])
    used = []
    for _ in range(7):
        for _ in range(24 * 4):
            for _ in range(3):
                network.replace_one()
            world.run(HOUR / 4, 60)
            while take_changes(world.atlas, 0.0) is not None:
                pass
            world.visited.clear()
        used.append(memory_now())
        print(f"{used[-1] / 1e6:.1f} MB, {len(world.atlas.candidates)} addresses", flush=True)
    assert used[-1] < 1.1 * used[2], used


def memory_now() -> int:
    """Bytes of memory that the process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
