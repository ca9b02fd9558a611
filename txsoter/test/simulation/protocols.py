"""Hosts of a simulation whose peers are protocols, made by factories and services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IStreamClientEndpoint

from txsoter import PeerConfig, SoterClientFactory, SoterPeerProtocol, SoterServerFactory
from txsoter.service import PeerService
from txsoter.test.simulation.hosts import Host
from txsoter.test.simulation.ledger import HookedPeer, WatchedPeer

__all__ = ["ProtocolHost"]


async def connect_watched(endpoint: IStreamClientEndpoint, factory: SoterClientFactory) -> SoterPeerProtocol:
    """Do what ``connect()`` does, with a factory that makes watched peers."""
    peer: Any = await endpoint.connect(factory)
    try:
        ready: SoterPeerProtocol = await peer.when_ready()
    except CancelledError:
        peer.disconnect("cancelled")
        raise
    return ready


class ProtocolHost(Host):
    """A host whose peers are protocols."""

    def open(self, config: PeerConfig) -> None:
        self._kind = self.network.random.choice([WatchedPeer, WatchedPeer, HookedPeer])
        self._services: list[PeerService] = []
        self.node = self.network.node(config)
        self._inbound = SoterServerFactory(self.node.config, self._make)
        self._outbound: list[SoterClientFactory] = []

    @property
    def configs(self) -> list[PeerConfig]:
        # a service has one of its own
        return [self.node.config, *(service.config for service in self._services)]

    def _make(self, config: PeerConfig, inbound: bool) -> WatchedPeer:
        """What the factories make."""
        peer = self._kind(config, inbound)
        self.enlist(peer, inbound)
        return peer

    def listen(self) -> None:
        self.node.server_endpoint().listen(self._inbound)

    def serve(self, hosts: list[Any]) -> None:
        random = self.network.random
        service = PeerService(
            self.node.config,
            self.network.clock,
            lambda failures: 2 + 3 * random.random(),
            # its peers, too, are to be watched
            protocol=self._make,
        )
        for to in random.sample(hosts, min(2, len(hosts))):
            service.dial(self.node.client_endpoint(to.node, timeout=5), f"the road to {to.node}")
        service.startService()
        self._services.append(service)

    def dial(self, to: Any, refused: bool, timeout: float) -> tuple[Any, Callable[[], bool]]:
        endpoint = self.node.client_endpoint(to.node, 1 if refused else None, timeout=timeout)
        factory = SoterClientFactory(self.node.config, self._make)
        self._outbound.append(factory)
        connecting = Deferred.fromCoroutine(connect_watched(endpoint, factory))
        return connecting, lambda: all(peer.is_closing for peer in factory.peers)

    def disrupt(self) -> None:
        random, ends = self.network.random, self.node.transports
        if ends:
            end = random.choice(ends)
            random.choice([end.loseConnection, end.loseWriteConnection, end.abortConnection])()

    def hang_up(self, reason: str, inbound: bool = True, outbound: bool = True) -> None:
        for factory in [*([self._inbound] if inbound else ()), *(self._outbound if outbound else ())]:
            self.ledger.forget(factory.disconnect_all(reason), f"disconnect_all() of {self.node}")

    def stop(self) -> None:
        for service in self._services:
            self.ledger.forget(service.stopService(), "stopService()")
        for port in list(self.network.ports.values()):
            if port.getHost().host == self.node.host:
                port.stopListening()

    def remembers(self, peer: Any) -> bool:
        return any(peer in factory.peers for factory in (self._inbound, *self._outbound))

    def leftovers(self) -> list[str]:
        peers = [*self.live, *(peer for factory in (self._inbound, *self._outbound) for peer in factory.peers)]
        return [*map(repr, peers), *self._look_at_admission()]

    def _look_at_admission(self) -> list[str]:
        """Those who have left are not counted: as many as at the beginning may come."""
        config = self.node.config
        limits = [each for each in (config.max_connections, config.max_connections_per_address) if each is not None]
        room, refused = min(limits, default=1), self._inbound.refused
        guests = [self._inbound.buildProtocol(self.node.address()) for _ in range(min(room, 8))]
        for guest in guests:
            if isinstance(guest, WatchedPeer):
                guest.disconnect("room enough")
        return [] if self._inbound.refused == refused else [f"no room for {room} connections"]
