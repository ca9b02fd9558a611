"""Dialling and listening in a simulated network."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import CannotListenError, ConnectingCancelledError, NoProtocol
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TimedOut
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from txsoter.testing import interfaces
from txsoter.testing.pipes import Packet, cancel
from txsoter.testing.transports import SimulatedTransport

__all__ = ["SimulatedClientEndpoint", "SimulatedPort", "SimulatedServerEndpoint"]


class Network(interfaces.Network, Protocol):
    """A network, as its ports and those who dial them see it."""

    ports: dict[tuple[str, int], SimulatedPort]

    def dial(self, host: str, to: IPv4Address) -> SimulatedTransport:
        """Return the end that dials of a new link."""
        ...


class Attempt:
    """Somebody dials, and does not know yet what comes of it."""

    def __init__(self, client: SimulatedTransport, factory: IProtocolFactory, timeout: float) -> None:
        self._client = client
        self._factory = factory
        self._timer = client.reactor.callLater(timeout, self.fail, TimedOut())
        self.connected: Deferred[IProtocol] = Deferred(self._given_up)
        client.attempt = self
        factory.doStart()
        client.put(Packet.KNOCK)

    def _given_up(self, _: Deferred[IProtocol]) -> None:
        self.fail(ConnectingCancelledError(self._client.getPeer()))

    def _decided(self) -> None:
        self._client.attempt = None
        cancel(self._timer)

    def fail(self, error: Exception | Failure) -> None:
        """There will be no connection."""
        self._decided()
        self._client.link.closed()
        self._factory.doStop()
        self.connected.errback(error)

    def refused(self) -> None:
        """Nobody listens there."""
        self.fail(Refused())

    def accepted(self) -> None:
        """The other end is open."""
        client = self._client
        try:
            protocol = self._factory.buildProtocol(client.getPeer())
            if protocol is None:
                raise NoProtocol()
        except Exception:
            client.put(Packet.RESET)
            self.fail(Failure())
            return
        self._decided()
        client.when_lost = self._factory.doStop
        client.begin(protocol)
        self.connected.callback(protocol)


@implementer(IStreamClientEndpoint)
class SimulatedClientEndpoint:
    """The road from one node of a simulated network to a port of another.

    :param timeout: seconds until an attempt is given up.
    """

    def __init__(self, network: Network, from_host: str, to: IPv4Address, timeout: float = 30.0) -> None:
        self._network = network
        self._from_host = from_host
        self._to = to
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"<from {self._from_host} to {self._to.host}:{self._to.port}>"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Dial.

        :return: fires with the protocol; fails as Twisted's TCP does: refused, timed out, cancelled.
        """
        return Attempt(self._network.dial(self._from_host, self._to), protocolFactory, self._timeout).connected


@implementer(IListeningPort)
class SimulatedPort:
    """A port of a node at which somebody listens."""

    def __init__(self, network: Network, address: IPv4Address, factory: IProtocolFactory) -> None:
        self._network = network
        self._address = address
        self.factory = factory

    def startListening(self) -> None:
        """Open the port.

        :raises twisted.internet.error.CannotListenError: when it is open already.
        """
        ports, place = self._network.ports, (self._address.host, self._address.port)
        if place in ports:
            raise CannotListenError(self._address.host, self._address.port, OSError("Address already in use"))
        ports[place] = self
        self.factory.doStart()

    def stopListening(self) -> Deferred[None] | None:
        """Close the port; connections that were made there stay."""
        ports, place = self._network.ports, (self._address.host, self._address.port)
        if ports.get(place) is self:
            del ports[place]
            self.factory.doStop()
        return None

    def getHost(self) -> IPv4Address:
        """Where it is."""
        return self._address


@implementer(IStreamServerEndpoint)
class SimulatedServerEndpoint:
    """A port of a node of a simulated network."""

    def __init__(self, network: Network, address: IPv4Address) -> None:
        self._network = network
        self._address = address

    def __repr__(self) -> str:
        return f"<port {self._address.port} of {self._address.host}>"

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Listen; fires at once with the :class:`SimulatedPort`, or fails with CannotListenError."""
        port = SimulatedPort(self._network, self._address, protocolFactory)
        return execute(port.startListening).addCallback(lambda _: port)
