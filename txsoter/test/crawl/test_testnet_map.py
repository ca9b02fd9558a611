"""The map of a loopback network, by ``txsoter crawl`` in a process of its own or by the service, beside the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from txsoter import REGTEST, PeerConfig
from txsoter.crawl.crawl_service import CrawlService
from txsoter.crawl.map_formats import map_json
from txsoter.crawl.rules import CrawlRules
from txsoter.test.cli.support import command
from txsoter.test.loopback.visitor import running
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.testing.loopback import LIARS, LoopbackNetwork

QUICK = ("--stay", "0.01", "--dials-per-second", "100000")


@attrs.frozen
class Crawled:
    """A map.

    :ivar reachable: addresses of nodes.
    :ivar edges: connections, with the ends that tell of each.
    """

    reachable: set[str]
    edges: dict[tuple[str, str], set[str]]

    @property
    def confirmed(self) -> set[tuple[str, str]]:
        """Connections of which both ends tell."""
        return {edge for edge, ends in self.edges.items() if ends == {"from", "to"}}

    @classmethod
    def of(cls, json_text: str) -> Crawled:
        """Return the map that is written in JSON."""
        found: dict[str, Any] = json.loads(json_text)
        nodes = {f"{each['address']}:{each['port']}" for each in found["nodes"] if each["reachable"]}
        assert all(each["confirmed"] is (set(each["claimed_by"]) == {"from", "to"}) for each in found["edges"])
        return cls(nodes, {(each["from"], each["to"]): set(each["claimed_by"]) for each in found["edges"]})


async def crawled(network: LoopbackNetwork, folder: Path) -> Crawled:
    """Crawl from the network's entry by the command."""
    file = folder / "map.json"
    target = ("--network", "regtest", "--allow-unroutable", "--peer", network.entry)
    async with command("crawl", "--once", *target, "--json", str(file), *QUICK) as program:
        assert await program.ended() == 0, program.err
    return Crawled.of(file.read_text())


async def crawled_impatiently(network: LoopbackNetwork) -> Crawled:
    """Crawl from the network's entry in this process, and do not wait long for nodes that do not answer."""
    rules = CrawlRules(
        once=True,
        allow_unroutable=True,
        stay=0.01,
        dials_per_second=100_000.0,
        retries=1,
        retry_wait=0.1,
        handshake_timeout=1.2,
        answer_timeout=1.2,
    )
    config = PeerConfig(network=REGTEST, allow_self_connections=True)
    place = network.plan.places[0]
    service = CrawlService(config, rules, named=[(place.host, place.port)], seeds=False, reactor=real_reactor())
    service.startService()
    await service.when_finished()
    found = service.map()
    await service.stopService()
    return Crawled.of(map_json(found))


def confirmed_edges(network: LoopbackNetwork) -> dict[tuple[str, str], set[str]]:
    """The connections of a network as a map has them when both ends tell of each."""
    return {(dialler, dialled): {"from", "to"} for dialler, dialled in network.truth()["edges"]}


def assert_only_honest_nodes_are_confirmed(network: LoopbackNetwork, found: Crawled) -> None:
    """The honest part of the map is the truth, and nothing that liars tell is confirmed."""
    truth = network.truth()
    honest, liars = set(truth["nodes"]), {each["address"]: each["kind"] for each in truth["liars"]}
    assert found.confirmed == {*confirmed_edges(network)}
    # they did lie
    assert {liar for edge in found.edges for liar in liars if liar in edge}
    assert {edge for edge in found.edges if honest.issuperset(edge)} - found.confirmed == set()
    assert honest <= found.reachable
    silent = {address for address, kind in liars.items() if kind in ("tarpit", "other-network")}
    assert found.reachable - honest == set(liars) - silent


@over_sockets()
async def test_map_equals_truth(tmp_path: Path) -> None:
    async with running(60) as network:
        found = await crawled(network, tmp_path)
        assert found.reachable == {*network.truth()["nodes"]}
        assert found.edges == confirmed_edges(network)


@pytest.mark.parametrize("topology", ["star", "ring"])
@over_sockets()
async def test_other_graphs(topology: str, tmp_path: Path) -> None:
    async with running(40, topology=topology) as network:
        found = await crawled(network, tmp_path)
        assert found.reachable == {*network.truth()["nodes"]}
        assert found.edges == confirmed_edges(network)


@over_sockets()
async def test_liars_confirm_nothing() -> None:
    """Claims of connections, other servers' addresses, the crawler's own; slow, silent and foreign nodes."""
    liars = {kind: 2 for kind in LIARS if kind != "flood"}
    async with running(30, degree=4, hidden=5, dead=15, liars=liars, slow_seconds=0.2) as network:
        assert_only_honest_nodes_are_confirmed(network, await crawled_impatiently(network))


@pytest.mark.soak
@over_sockets(300)
async def test_thousand_nodes_among_all_liars(tmp_path: Path) -> None:
    async with running(1000, dead=100, liars=dict.fromkeys(LIARS, 3)) as network:
        assert_only_honest_nodes_are_confirmed(network, await crawled(network, tmp_path))


@pytest.mark.soak
@over_sockets(120)
async def test_map_of_a_thousand_nodes_equals_truth(tmp_path: Path) -> None:
    async with running(1000) as network:
        found = await crawled(network, tmp_path)
        assert found.reachable == {*network.truth()["nodes"]}
        assert found.edges == confirmed_edges(network)
