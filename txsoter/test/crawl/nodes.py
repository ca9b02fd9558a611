"""Nodes of a simulated network that a crawler can visit: honest ones, and liars of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from txsoter.core.listeners import Listeners
from txsoter.crawl.crawl_service import CrawlService
from txsoter.crawl.network_map import NetworkMap
from txsoter.crawl.rules import CrawlRules
from txsoter.networks import REGTEST, Network
from txsoter.peer.config import PeerConfig
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.service.book.places import Place, place_at
from txsoter.test.service.book.support import NOW
from txsoter.testing import ScriptedPeer, SimulatedClientEndpoint, SimulatedNetwork, SimulatedNode, remote_version
from txsoter.wire import NetAddress, VerAck

__all__ = ["Land", "Node", "Silent"]


def addresses(places: Sequence[Place]) -> list[NetAddress]:
    """Addresses as a node tells them."""
    return [NetAddress(9, place.ip, place.port, NOW) for place in places]


class Node:
    """A node that answers. What it says may be set: ``told``, ``outbound``, ``inbound``, ``known``.

    :ivar asked: how often it was asked for addresses and for its addrcache.
    :ivar agents: user agents of who dialled it.
    """

    def __init__(self, land: Land, network: Network = REGTEST, **config: Any) -> None:
        self.told: list[Place] = []
        self.outbound: list[Place] = []
        self.inbound: list[Place] = []
        self.known: list[Place] = []
        self.asked = [0, 0]
        self.agents: list[bytes] = []
        listeners = Listeners(
            on_version=lambda peer, version: self.agents.append(version.user_agent),
            on_getaddr=lambda peer, message: self.on_getaddr(peer),
            on_getaddrcache=lambda peer, message: self.on_getaddrcache(peer),
        )
        given = {"services": 9, "newest_block": lambda: 77, "user_agent_name": "light", **config}
        self.at: SimulatedNode = land.network.node(PeerConfig(network=network, listeners=listeners, **given))
        self.place = place_at(self.at.host, network.default_port)
        self.at.listen()

    def on_getaddr(self, peer: SoterPeerProtocol) -> Any:
        self.asked[0] += 1
        peer.push_addresses(addresses(self.told))

    def on_getaddrcache(self, peer: SoterPeerProtocol) -> Any:
        self.asked[1] += 1
        here = [place_at(each.host or "", each.port or 0) for each in self.at.peers if each.inbound]
        peer.push_address_cache(addresses([*self.inbound, *here]), addresses(self.outbound), addresses(self.known))


class Silent(Protocol):
    """Takes the connection, says what it was told to, and reads."""

    def __init__(self, words: bytes = b"") -> None:
        self.words = words

    def connectionMade(self) -> None:
        assert self.transport is not None
        if self.words:
            self.transport.write(self.words)


class Slow(ScriptedPeer):
    """Shakes hands, and then sends a frame's header and one byte a second."""

    def __init__(self, clock: Any, header: bytes) -> None:
        super().__init__(REGTEST.magic)
        self.clock = clock
        self.header = header

    def connectionMade(self) -> None:
        self.say(remote_version(genesis_hash=REGTEST.genesis_hash), VerAck(), self.header)
        self.drip()

    def drip(self) -> None:
        if self.closed is None:
            self.say(b"\0")
            self.clock.callLater(1.0, self.drip)


class Land:
    """A simulated network, its nodes, and a crawler at a host of its own."""

    def __init__(self, seed: int = 1) -> None:
        self.network = SimulatedNetwork(seed, latency=(0.001, 0.02), chop=0.1)
        self.network.run(NOW)
        self.here = self.network.node(PeerConfig(network=REGTEST))
        self.service: CrawlService | None = None

    def nodes(self, count: int, degree: int = 3, seed: int = 1) -> list[Node]:
        """Honest nodes, each of which has dialled some of the others, and tells of some."""
        random = Random(seed)
        found = [Node(self) for _ in range(count)]
        for number, node in enumerate(found):
            node.told = [found[(number + step) % count].place for step in (1, 2)]
            for other in random.sample([each for each in found if each is not node], degree):
                node.outbound.append(other.place)
                other.inbound.append(Place(node.place.ip, random.randrange(1024, 65_536)))
        return found

    def edges(self, nodes: Sequence[Node]) -> set[tuple[str, str]]:
        """The connections that there are."""
        return {(str(node.place), str(other)) for node in nodes for other in node.outbound}

    def listen(self, protocol: Any) -> Place:
        """Let a protocol of the caller's own listen at a host of its own."""
        node = self.network.node(PeerConfig(network=REGTEST))
        factory = Factory()
        factory.protocol = protocol
        factory.noisy = False
        node.server_endpoint().listen(factory)
        return place_at(node.host, REGTEST.default_port)

    def endpoint_for(self, host: str, port: int) -> Any:
        """The road from the crawler to an address."""
        return SimulatedClientEndpoint(self.network, self.here.host, IPv4Address("TCP", host, port), 5.0)

    def begin(
        self, named: Sequence[Place], once: bool = True, config: PeerConfig | None = None, **more: Any
    ) -> CrawlService:
        """Begin a crawl from nodes that are named."""
        rules = {name: more.pop(name) for name in list(more) if hasattr(CrawlRules(), name)}
        self.service = CrawlService(
            self.here.config if config is None else config,
            CrawlRules(**{"once": once, "allow_unroutable": True, **rules}),
            named=[(place.host, place.port) for place in named],
            seeds=False,
            endpoint_for=more.pop("endpoint_for", self.endpoint_for),
            reactor=self.network.clock,
            random=Random(1),
            **more,
        )
        self.service.startService()
        return self.service

    def crawl(self, named: Sequence[Place], seconds: float = 300.0, **more: Any) -> NetworkMap:
        """Crawl once, stop, and return the map."""
        service = self.begin(named, **more)
        self.network.wait_for(service.when_finished(), seconds)
        found = service.map()
        self.stop()
        return found

    def stop(self) -> None:
        """Stop the crawl."""
        if self.service is not None:
            stopped: Deferred[None] = self.service.stopService()
            self.network.wait_for(stopped)
            self.service = None

    def close(self) -> None:
        """End everything; nothing is left."""
        self.stop()
        self.network.close()
