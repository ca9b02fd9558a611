"""Nodes that lie, and servers that are no nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from txsoter.ip import pack_ip, parse_ip
from txsoter.networks import SIMNET
from txsoter.peer.config import PeerConfig
from txsoter.testing.loopback.node import HONEST_ANSWERS, Answers, LightNode, LightPeer, Port
from txsoter.testing.loopback.plan import BYSTANDER, HIDDEN, HONEST, Place, Plan, made_up
from txsoter.wire import NetAddress, Services

__all__ = ["BANNER", "FAKES", "FLOOD", "StrangerPort", "make_port"]

FLOOD = 50_000
"""Addresses that a flood tells."""

FAKES = 100
"""Nodes that a liar claims to have been dialled by."""

FIRST_EPHEMERAL, LAST_EPHEMERAL = 32768, 60999
"""Ports that Linux dials from."""

BANNER = b"220 mail.example ESMTP\r\n"
"""Greeting of a server of another protocol."""


# -- claims ------------------------------------------------------------------------------------


def _listed(node: LightNode, *kinds: str) -> list[NetAddress]:
    """Return the addresses of the network's other places of some kinds."""
    now = node.now()
    return [node.plan.address(place.number, now) for place in node.plan.of_kind(*kinds) if place is not node.place]


def _as_diallers(node: LightNode, addresses: Sequence[NetAddress]) -> list[NetAddress]:
    """Return ``addresses`` with ports that they might have dialled from."""
    random = Random(node.place.number)
    return [
        NetAddress(each.services, each.ip, random.randint(FIRST_EPHEMERAL, LAST_EPHEMERAL), each.timestamp)
        for each in addresses
    ]


def _fakes(node: LightNode) -> list[NetAddress]:
    return _as_diallers(node, list(islice(_listed(node, HONEST), FAKES)))


def _flood(node: LightNode) -> list[NetAddress]:
    return list(made_up(FLOOD, node.plan.options.port, Random(node.place.number)))


def _of_ipv6(node: LightNode, peer: LightPeer) -> list[NetAddress]:
    """Return addresses of the prefix for documentation, which nobody has."""
    port, now = node.plan.options.port, node.now()
    return [NetAddress(int(Services.NETWORK), f"2001:db8::{host:x}", port, now) for host in range(1, FAKES + 1)]


def _of_remote(node: LightNode, peer: LightPeer) -> list[NetAddress]:
    """Return the remote's own address, at the port that it dialled from and at that of the network's nodes."""
    ip = parse_ip(peer.host)
    packed = bytes(16) if ip is None else pack_ip(ip)
    services = node.plan.options.profiles[node.place.profile].services
    return [NetAddress(services, packed, port, node.now()) for port in (peer.port or 0, node.plan.options.port)]


def _claiming(
    inbound: Callable[[LightNode, LightPeer], list[NetAddress]] = lambda node, peer: [],
    outbound: Callable[[LightNode, LightPeer], list[NetAddress]] = lambda node, peer: [],
    known: Callable[[LightNode, LightPeer], list[NetAddress]] = lambda node, peer: [],
) -> Answers:
    """Return answers that add to a node's own addresses; ``addr`` has what outbound and known add."""
    honest = HONEST_ANSWERS

    def addresses(node: LightNode, peer: LightPeer) -> list[NetAddress]:
        return [*honest.addresses(node, peer), *outbound(node, peer), *known(node, peer)]

    def cache(
        node: LightNode, peer: LightPeer
    ) -> tuple[Sequence[NetAddress], Sequence[NetAddress], Sequence[NetAddress]]:
        own = honest.cache(node, peer)
        return [*own[0], *inbound(node, peer)], [*own[1], *outbound(node, peer)], [*own[2], *known(node, peer)]

    return Answers(addresses, cache)


CLAIMS = {
    "claims-all": _claiming(
        inbound=lambda node, peer: _as_diallers(node, _listed(node, HONEST)),
        outbound=lambda node, peer: _listed(node, HONEST),
    ),
    "echo": _claiming(inbound=_of_remote, outbound=_of_remote, known=_of_remote),
    "fake-inbound": _claiming(inbound=lambda node, peer: _fakes(node)),
    "flood": _claiming(known=lambda node, peer: _flood(node)),
    "ipv6": _claiming(inbound=_of_ipv6, outbound=_of_ipv6, known=_of_ipv6),
    "other-services": _claiming(known=lambda node, peer: _listed(node, BYSTANDER)),
}
"""Answers of those liars that only differ in them."""


# -- at a place --------------------------------------------------------------------------------


class _Stranger(Protocol):
    """A connection that speaks no protocol of soter.

    With a banner it sends that and closes at the first bytes that come; without one it never sends anything.
    """

    transport: Any

    def __init__(self, banner: bytes, connections: set[_Stranger]) -> None:
        self._banner = banner
        self._connections = connections
        self.closed: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self._connections.add(self)
        self.transport.write(self._banner)

    def dataReceived(self, data: bytes) -> None:
        if self._banner:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._connections.discard(self)
        self.closed.callback(None)


class StrangerPort(Port):
    """A listening port whose connections speak no protocol of soter.

    :param banner: greeting; empty for a tarpit.
    """

    def __init__(self, reactor: Any, place: Place, banner: bytes) -> None:
        connections: set[_Stranger] = set()
        factory = Factory.forProtocol(lambda: _Stranger(banner, connections))
        factory.noisy = False
        super().__init__(reactor, place, factory)
        self._connections = connections

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        await super().stop()
        open_now = list(self._connections)
        for each in open_now:
            each.transport.abortConnection()
        await gatherResults([each.closed for each in open_now])


def make_port(reactor: Any, plan: Plan, place: Place, configs: Mapping[int, PeerConfig]) -> Port:
    """Return the node or server that is to listen at ``place``.

    :param configs: of honest nodes, by profile.
    """
    if place.kind == BYSTANDER:
        return StrangerPort(reactor, place, BANNER)
    if place.kind == "tarpit":
        return StrangerPort(reactor, place, b"")
    config, answers = configs[place.profile], HONEST_ANSWERS
    if place.kind == "other-network":
        config = config.replace(network=SIMNET)
    elif place.kind == "slow":
        answers = attrs.evolve(answers, delay=plan.options.slow_seconds)
    elif place.kind not in (HONEST, HIDDEN):
        answers = CLAIMS[place.kind]
    return LightNode(reactor, plan, place, config, answers)
