"""Factories, and the two calls that most programs need: ``connect()`` and ``listen()``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory

from txsoter.errors import CloseReason
from txsoter.peer.config import PeerConfig
from txsoter.peer.protocol import SoterPeerProtocol

__all__ = ["SoterClientFactory", "SoterServerFactory", "connect", "listen"]


MakesPeer = Callable[[PeerConfig, bool], SoterPeerProtocol]
"""Given a config and whether the remote dialled us: SoterPeerProtocol, a subclass, or a function."""


class SoterFactory(Factory):
    """Makes peers of one config, and knows those that live.

    :param config: of all its peers.
    :param protocol: the class of its peers, or what makes them.
    :ivar peers: those that live, from their being made to their end.
    """

    inbound = False
    noisy = False

    def __init__(self, config: PeerConfig, protocol: MakesPeer = SoterPeerProtocol) -> None:
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
        return gatherResults([peer.disconnect(reason) for peer in list(self.peers)])


class SoterClientFactory(SoterFactory):
    """Makes the peers that we dial. For connections that persist see :class:`txsoter.service.PeerService`.

    (A ClientService with this factory and ``prepareConnection=lambda peer: peer.when_ready()`` works too, but logs a
    traceback of its own for each connection that ends before it is ready.)
    """


class SoterServerFactory(SoterFactory):
    """Makes the peers that dial us. Listen for them by ``on_ready`` and ``on_closed``."""

    inbound = True


def connect(endpoint: IStreamClientEndpoint, config: PeerConfig) -> Deferred[SoterPeerProtocol]:
    """Dial a peer.

    :return: fires with the peer once both veracks have crossed. Fails with the endpoint's own failure when
        it cannot connect, with :exc:`~txsoter.errors.HandshakeFailed` when the remote is not acceptable
        or does not accept us. Cancelling it gives up, and closes what was opened.
    """
    return Deferred.fromCoroutine(_connect(endpoint, SoterClientFactory(config)))


async def _connect(endpoint: IStreamClientEndpoint, factory: SoterClientFactory) -> SoterPeerProtocol:
    peer = cast(SoterPeerProtocol, await endpoint.connect(factory))
    try:
        return await peer.when_ready()
    except CancelledError:
        peer.disconnect("connect() was cancelled")
        raise


def listen(endpoint: IStreamServerEndpoint, config: PeerConfig) -> Deferred[IListeningPort]:
    """Let peers dial us.

    :return: fires with the port, whose ``stopListening()`` ends the listening but not the connections made. For
        those use :class:`SoterServerFactory` itself: ``endpoint.listen(factory)``, ``factory.disconnect_all()``.
    """
    return endpoint.listen(SoterServerFactory(config))
