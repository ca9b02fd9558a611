"""A whole network that finds itself: address books, keepers and outbound peers on simulated time."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import maybeDeferred

from txsoter import PeerConfig
from txsoter.networks import REGTEST
from txsoter.service import PeerService
from txsoter.service.book import AddressBook, BookKeeper, place_at
from txsoter.service.outbound import OutboundService
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.support import NOW
from txsoter.testing import SimulatedNetwork, SimulatedNode
from txsoter.wire import NetAddress

WANTED = 3


class Node:
    """One of them: it tells those that it dials where it is."""

    def __init__(self, network: SimulatedNetwork, number: int) -> None:
        self.at: SimulatedNode = network.node(PeerConfig(network=REGTEST))
        self.network = network
        rng = Random(number)
        self.book = AddressBook(REGTEST, network.clock, allow_unroutable=True, random=rng)
        own = NetAddress(1, self.at.host, REGTEST.default_port)
        keeper = BookKeeper(self.book, [own], rng)
        self.peers = PeerService(self.at.config, network.clock, lambda failures: 5.0, observers=[keeper])
        self.outbound = OutboundService(
            self.peers, keeper, WANTED, self.endpoint_for, reserved=[place_at(self.at.host, own.port)], random=rng
        )
        self.peers.listen(self.at.server_endpoint(), "here")
        self.parts: list[Any] = [self.book, self.peers, self.outbound]

    def endpoint_for(self, host: str, port: int) -> Any:
        (to,) = (node for node in self.network.nodes if node.host == host)
        return self.at.client_endpoint(to, port)

    def start(self) -> None:
        for part in self.parts:
            part.startService()

    def stop(self) -> None:
        for part in reversed(self.parts):
            self.network.wait_for(maybeDeferred(part.stopService))


class SimulationTests(TrialCase):
    def test_a_network_finds_itself(self) -> None:
        """From one node that all know, everyone finds three; so it does again after half of them were restarted."""
        network = SimulatedNetwork(seed=3)
        network.run(NOW)
        nodes = [Node(network, number) for number in range(10)]
        for node in nodes[1:]:
            node.book.name(nodes[0].at.host, REGTEST.default_port)
        for node in nodes:
            node.start()
            network.run(5)
        for _ in range(3):
            network.run_until(lambda: all(len(node.outbound.ready) == WANTED for node in nodes), timeout=300)
            for node in nodes:
                hosts = [place.host for place in node.outbound.ready.values()]
                self.assertEqual(len(set(hosts)), WANTED)
                self.assertNotIn(node.at.host, hosts)
            for node in nodes[::2]:
                node.stop()
            network.run(60)
            for node in nodes[::2]:
                node.start()
            network.run(1)
        for node in nodes:
            node.stop()
        network.close()
