"""A light node: it listens, dials, makes handshakes, and tells the addresses of its connections and those it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import attrs
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from txsoter.clock import wall
from txsoter.core.listeners import Listeners
from txsoter.core.state import State
from txsoter.networks import REGTEST
from txsoter.peer.config import PeerConfig
from txsoter.peer.factory import SoterClientFactory, SoterFactory, SoterServerFactory
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.testing.loopback.plan import Place, Plan, Profile
from txsoter.wire import MAX_ADDRESSES, Addr, GetAddr, GetAddrCache, NetAddress, Version

__all__ = ["HONEST_ANSWERS", "Answers", "LightNode", "LightPeer", "Port", "light_config"]

DIAL_TIMEOUT = 30.0
"""Seconds to connect. The handshake has its own limit."""

BACKLOG = 256
"""Connections of a node that the kernel holds until they are accepted."""


class LightPeer(SoterPeerProtocol):
    """A connection of a light node.

    :ivar node: whose connection it is.
    """

    def __init__(self, node: LightNode, config: PeerConfig, inbound: bool) -> None:
        super().__init__(config, inbound)
        self.node = node


@attrs.frozen
class Answers:
    """Answers of a node: functions of the node and the connection that asks.

    :param addresses: returns those for ``getaddr``.
    :param cache: returns the inbound, the outbound and the known addresses for ``getaddrcache``.
    :param delay: seconds before the handshake goes on, and before each answer.
    """

    addresses: Callable[[LightNode, LightPeer], Sequence[NetAddress]]
    cache: Callable[[LightNode, LightPeer], tuple[Sequence[NetAddress], Sequence[NetAddress], Sequence[NetAddress]]]
    delay: float = 0.0


HONEST_ANSWERS = Answers(
    addresses=lambda node, peer: [*node.outbound(), *node.known()],
    cache=lambda node, peer: (node.inbound(), node.outbound(), node.known()),
)


def light_config(profile: Profile, **changes: Any) -> PeerConfig:
    """Return the config of all nodes of a profile.

    Nothing is pinged and no connection is idle for too long: thousands of connections wait without any traffic.
    """
    settings: dict[str, Any] = {
        "network": REGTEST,
        "user_agent_name": profile.user_agent_name,
        "user_agent_version": profile.user_agent_version,
        "services": profile.services,
        "protocol_version": profile.protocol_version,
        "newest_block": lambda: profile.height,
        "ping_interval": None,
        "idle_timeout": None,
        "max_connections": None,
        "max_connections_per_address": None,
        # all nodes of a process share its nonces
        "allow_self_connections": True,
        "listeners": LISTENERS,
    }
    return PeerConfig(**{**settings, **changes})


class Port:
    """A listening port of the network, and the connections to it.

    :param factory: makes protocols for connections.
    """

    def __init__(self, reactor: Any, place: Place, factory: Factory[Any]) -> None:
        self.reactor = reactor
        self.place = place
        self._factory = factory
        self._port: IListeningPort | None = None

    async def listen(self) -> None:
        """Listen at the node's address.

        :raises twisted.internet.error.CannotListenError: when the address is in use.
        """
        endpoint = TCP4ServerEndpoint(self.reactor, self.place.port, backlog=BACKLOG, interface=self.place.host)
        self._port = await endpoint.listen(self._factory)

    async def stop(self) -> None:
        """Stop listening."""
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)


class LightNode(Port):
    """A node.

    :param plan: of its network.
    :param config: the same for all nodes of its profile; see :func:`light_config`.
    """

    def __init__(
        self, reactor: Any, plan: Plan, place: Place, config: PeerConfig, answers: Answers = HONEST_ANSWERS
    ) -> None:
        make: Callable[..., Any] = partial(LightPeer, self)
        self.plan = plan
        self.answers = answers
        self._server = SoterServerFactory(config, make)
        self._client = SoterClientFactory(config, make)
        self._time = wall(reactor)
        super().__init__(reactor, place, self._server)

    async def dial(self, other: Place) -> None:
        """Connect to another node, from this node's own address.

        :raises Exception: the endpoint's error, or a :exc:`txsoter.errors.HandshakeFailed`.
        """
        endpoint = TCP4ClientEndpoint(
            self.reactor, other.host, other.port, DIAL_TIMEOUT, bindAddress=(self.place.host, 0)
        )
        peer = cast(LightPeer, await endpoint.connect(self._client))
        await peer.when_ready()

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        await super().stop()
        await gatherResults([self._server.disconnect_all(), self._client.disconnect_all()])

    # -- answers -------------------------------------------------------------------------------

    def now(self) -> int:
        """Return the time stamp of an address that is seen now, seconds since 1970."""
        return int(self._time())

    def inbound(self) -> list[NetAddress]:
        """Return the remotes that have dialled it, each with the port that it dialled from."""
        now = self.now()
        return [self.plan.seen(peer.host or "", peer.port or 0, now) for peer in _ready(self._server)]

    def outbound(self) -> list[NetAddress]:
        """Return the remotes that it has dialled."""
        now = self.now()
        return [self.plan.seen(peer.host or "", peer.port or 0, now) for peer in _ready(self._client)]

    def known(self) -> list[NetAddress]:
        """Return the other addresses that it knows: those that dialled it, at the port where they listen, and more."""
        now, number = self.now(), self.place.number
        neighbours = self.plan.dialled_by[number] if number < len(self.plan.dialled_by) else ()
        return [self.plan.address(each, now) for each in dict.fromkeys((*neighbours, *self.place.known))]

    def tell_addresses(self, peer: LightPeer) -> None:
        """Answer ``getaddr`` by as many ``addr`` as it takes."""
        addresses = self.answers.addresses(self, peer)
        for start in range(0, len(addresses), MAX_ADDRESSES):
            peer.send(Addr(addresses[start : start + MAX_ADDRESSES]))

    def tell_cache(self, peer: LightPeer) -> None:
        """Answer ``getaddrcache``."""
        peer.push_address_cache(*self.answers.cache(self, peer))


def _ready(factory: SoterFactory) -> list[SoterPeerProtocol]:
    """Return the peers whose handshake is over, in the order in which they were made."""
    return sorted((peer for peer in factory.peers if peer.state is State.READY), key=lambda peer: peer.id)


def _in_time(peer: LightPeer, answer: Callable[[LightPeer], None]) -> Deferred[None] | None:
    """Call ``answer`` after the node's delay, unless the connection ends before."""
    delay = peer.node.answers.delay
    if not delay:
        answer(peer)
        return None
    done = deferLater(peer.node.reactor, delay, answer, peer)
    peer.when_closed().addCallback(lambda reason: done.cancel())

    def given_up(failure: Failure) -> None:
        failure.trap(CancelledError)

    return done.addErrback(given_up)


def _on_version(peer: LightPeer, version: Version) -> Deferred[None] | None:
    return _in_time(peer, lambda peer: None)


def _on_getaddr(peer: LightPeer, message: GetAddr) -> Deferred[None] | None:
    return _in_time(peer, peer.node.tell_addresses)


def _on_getaddrcache(peer: LightPeer, message: GetAddrCache) -> Deferred[None] | None:
    return _in_time(peer, peer.node.tell_cache)


LISTENERS = Listeners(on_version=_on_version, on_getaddr=_on_getaddr, on_getaddrcache=_on_getaddrcache)
"""The listeners of all nodes."""
