"""Factories, and the two calls that most programs need: ``connect()`` and ``listen()``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from txsoter.core.admission import Admission
from txsoter.errors import CloseReason, FieldError
from txsoter.ip import address_group
from txsoter.peer.addressing import host_and_port, remote_address
from txsoter.peer.config import PeerConfig
from txsoter.peer.endpoints import (
    ClientEndpoint,
    ServerEndpoint,
    check_client_endpoint,
    check_config,
    check_server_endpoint,
)
from txsoter.peer.protocol import SoterPeerProtocol

__all__ = ["SoterClientFactory", "SoterServerFactory", "connect", "listen"]

_log = Logger()

PeerFactory = Callable[[PeerConfig, bool], SoterPeerProtocol]
"""Given a config and whether the remote dialled us: SoterPeerProtocol, a subclass, or a function."""


class SoterFactory(Factory):
    """Makes peers of one config, and knows those that live.

    :param config: of all its peers.
    :param protocol: the class of its peers, or what makes them.
    :ivar peers: those that live, from their being made to their end.
    :raises txsoter.errors.FieldError: for arguments that cannot be.
    """

    inbound = False
    noisy = False

    def __init__(self, config: PeerConfig, protocol: PeerFactory = SoterPeerProtocol) -> None:
        check_config(config)
        if not callable(protocol):
            raise FieldError("protocol", protocol, "SoterPeerProtocol, a subclass, or what makes a peer")
        self.config = config
        self.peers: set[SoterPeerProtocol] = set()
        self._protocol_class = protocol

    def buildProtocol(self, addr: IAddress | None) -> SoterPeerProtocol:
        """A peer for a connection that is about to begin."""
        peer = self._protocol_class(self.config, self.inbound)
        peer.factory = self
        self.peers.add(peer)
        return peer

    def forget(self, peer: Any) -> None:
        """A peer has ended."""
        self.peers.discard(peer)

    def disconnect_all(self, reason: str = "") -> Deferred[list[CloseReason]]:
        """End all connections; fires with their reasons once all are cleaned up."""
        # in the order in which they were made: a set's is another one in each run, which a simulation could not repeat
        return gatherResults([peer.disconnect(reason) for peer in sorted(self.peers, key=lambda peer: peer.id)])


class SoterClientFactory(SoterFactory):
    """Makes the peers that we dial. For connections that persist see :class:`txsoter.service.PeerService`.

    (A ClientService with this factory and ``prepareConnection=lambda peer: peer.when_ready()`` works too, but logs a
    traceback of its own for each connection that ends before it is ready.)
    """


class SoterServerFactory(SoterFactory):
    """Makes the peers that dial us, as many as the config lets in. Listen for them by ``on_ready`` and ``on_closed``.

    :param may_enter: says of an address why it may not come in, or None when it may.
    """

    inbound = True

    def __init__(
        self,
        config: PeerConfig,
        protocol: PeerFactory = SoterPeerProtocol,
        may_enter: Callable[[IAddress | None], str | None] | None = None,
    ) -> None:
        super().__init__(config, protocol)
        if may_enter is not None and not callable(may_enter):
            raise FieldError("may_enter", may_enter, "callable with an address, or None")
        self._may_enter = may_enter
        self._admission = Admission(config.max_connections, config.max_connections_per_address)
        # the groups of those who are inside, and those whose address is not known yet
        self._groups: dict[SoterPeerProtocol, str | None] = {}
        self._unnamed: dict[SoterPeerProtocol, None] = {}

    def buildProtocol(self, addr: IAddress | None) -> SoterPeerProtocol:
        """Return a peer for a connection that is about to begin; one that ends it at once when there are enough.

        Its address is looked at when the connection is made: ``addr`` may be a proxy's of our own.
        """
        for unnamed in list(self._unnamed):
            self.named(unnamed, None if unnamed.transport is None else remote_address(unnamed.transport))
        refusal = self._admission.refusal()
        if refusal:
            self._refused(addr, refusal)
            # any, for what wraps a factory, such as TLS, does not know None
            refused: Any = Refused()
            return cast(SoterPeerProtocol, refused)
        peer = super().buildProtocol(addr)
        self._admission.enter()
        self._unnamed[peer] = None
        return peer

    def named(self, peer: SoterPeerProtocol, address: IAddress | None) -> None:
        """Count a peer where it is from, or refuse it, once its address is known."""
        if address is None or peer not in self._unnamed:
            return
        del self._unnamed[peer]
        group = address_group(host_and_port(address)[0])
        refusal = self._admission.group_refusal(group) or (self._may_enter and self._may_enter(address))
        self._groups[peer] = None if refusal else group
        self._admission.join(self._groups[peer])
        if refusal:
            self._refused(address, refusal)
            # a subclass may have a method of that name
            SoterPeerProtocol.refuse(peer, refusal)

    @property
    def refused(self) -> int:
        """Connections that were refused, because there were enough or by ``may_enter``."""
        return self._admission.refused

    def _refused(self, address: IAddress | None, refusal: str) -> None:
        if self._admission.refuse():
            _log.warn(
                "{address} refused: {refusal}; {refused} in all",
                address=str(address),
                refusal=refusal,
                refused=self.refused,
            )

    def forget(self, peer: Any) -> None:
        """Count a peer no more that has ended."""
        super().forget(peer)
        if peer in self._groups or peer in self._unnamed:
            self._unnamed.pop(peer, None)
            self._admission.leave(self._groups.pop(peer, None))


class Refused(Protocol):
    """A connection that is not let in. It says nothing, and leaves nothing behind in the kernel either."""

    def connectionMade(self) -> None:
        """End it."""
        transport: Any = self.transport
        getattr(transport, "abortConnection", transport.loseConnection)()


def connect(endpoint: ClientEndpoint, config: PeerConfig) -> Deferred[SoterPeerProtocol]:
    """Dial a peer.

    :param endpoint: dials, such as ``clientFromString(reactor, "tcp:127.0.0.1:18555")``.
    :return: fires with the peer once both veracks have crossed. Fails with the endpoint's own failure when
        it cannot connect, with :exc:`~txsoter.errors.HandshakeFailed` when the remote is not acceptable
        or does not accept us. Cancelling it gives up, and closes what was opened.
    :raises txsoter.errors.FieldError: for arguments that cannot be.
    """
    check_client_endpoint(endpoint)
    return Deferred.fromCoroutine(_connect(endpoint, SoterClientFactory(config)))


async def _connect(endpoint: ClientEndpoint, factory: SoterClientFactory) -> SoterPeerProtocol:
    peer = cast(SoterPeerProtocol, await endpoint.connect(factory))
    try:
        return await peer.when_ready()
    except CancelledError:
        peer.disconnect("connect() was cancelled")
        raise


def listen(endpoint: ServerEndpoint, config: PeerConfig) -> Deferred[IListeningPort]:
    """Let peers dial us.

    :param endpoint: listens, such as ``serverFromString(reactor, "tcp:18555:interface=127.0.0.1")``.
    :return: fires with the port, whose ``stopListening()`` ends the listening but not the connections made. For
        those use :class:`SoterServerFactory` itself: ``endpoint.listen(factory)``, ``factory.disconnect_all()``.
    :raises txsoter.errors.FieldError: for arguments that cannot be.
    """
    check_server_endpoint(endpoint)
    return endpoint.listen(SoterServerFactory(config))
