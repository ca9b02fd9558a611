"""``PeerService``: peers that are dialled again when they are gone, and those that dial us."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from twisted.application.internet import ClientService, backoffPolicy
from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.error import ConnectingCancelledError, ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from txsoter.clock import monotonic
from txsoter.core.listeners import Listeners
from txsoter.core.sanitize import sanitize
from txsoter.errors import CloseCause, ConnectionClosed, FieldError
from txsoter.peer.addressing import address_text
from txsoter.peer.config import PeerConfig
from txsoter.peer.endpoints import (
    ClientEndpoint,
    ServerEndpoint,
    check_client_endpoint,
    check_config,
    check_server_endpoint,
)
from txsoter.peer.factory import PeerFactory, SoterClientFactory, SoterFactory, SoterServerFactory
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.service.observers import Observer, observed
from txsoter.wire import MAX_INVENTORY_SENT, GetBlocks, GetData, GetHeaders, Headers, Inv, NotFound

__all__ = ["Dialling", "ListeningService", "PeerService", "ReadyPeer", "having_nothing"]

STOPPING = "the service stops"
"""Why connections end when the service does."""


def having_nothing() -> Listeners:
    """Listeners of one who has no blocks, and says so: a soterd closes on those who do not answer it."""

    def no_blocks(peer: SoterPeerProtocol, question: GetBlocks) -> None:
        peer.send(Inv())

    def no_headers(peer: SoterPeerProtocol, question: GetHeaders) -> None:
        peer.send(Headers())

    def no_data(peer: SoterPeerProtocol, question: GetData) -> None:
        # a remote may ask for more at once than may be sent at once
        for start in range(0, len(question.vectors), MAX_INVENTORY_SENT):
            peer.send(NotFound(question.vectors[start : start + MAX_INVENTORY_SENT]))

    return Listeners(on_getblocks=no_blocks, on_getheaders=no_headers, on_getdata=no_data)


class PeerService(MultiService):
    """Dials peers and dials them again when they are gone, lets others dial us, and ends all of them when it stops.

    :param config: of all its peers. The service's own copy of it, ``.config``, has the memory budget that they share.
    :param observers: told of connections and messages before the config's listeners.
    :param protocol: the class of its peers, or what makes them.
    :param may_enter: says of the address of one who dials us why it may not come in, or None when it may.
    :param clock: for the waits between attempts; by default the reactor.
    :param retry_policy: gives the seconds to wait after so many failures in a row; by default 1.5 and more, up to a
        minute, with jitter. What does not get through the handshake counts as a failure.
    :param give_up_after: seconds after which a remote that has never been ready is dialled no more; None for never.
    """

    log = Logger()

    def __init__(
        self,
        config: PeerConfig,
        clock: IReactorTime | None = None,
        retry_policy: Callable[[int], float] | None = None,
        give_up_after: float | None = 24 * 3600.0,
        observers: Iterable[Observer] = (),
        protocol: PeerFactory = SoterPeerProtocol,
        may_enter: Callable[[IAddress | None], str | None] | None = None,
    ) -> None:
        MultiService.__init__(self)
        check_config(config)
        self.config = config = config.replace(listeners=observed(config.listeners, observers))
        self._clock = clock
        self._retry_policy = backoffPolicy() if retry_policy is None else retry_policy
        self._give_up_after = give_up_after
        self._dialled: dict[str, Dialling] = {}
        self._outbound = SoterClientFactory(config, protocol)
        self._inbound = SoterServerFactory(config, protocol, may_enter)

    @property
    def peers(self) -> frozenset[SoterPeerProtocol]:
        """Those that live, ready or not."""
        return frozenset(self._outbound.peers | self._inbound.peers)

    @property
    def client_factory(self) -> SoterClientFactory:
        """Makes those that we dial, for whoever dials beside :meth:`dial`."""
        return self._outbound

    @property
    def refused(self) -> int:
        """How many who dialled us were not let in."""
        return self._inbound.refused

    @property
    def listening(self) -> tuple[str, ...]:
        """Where we listen, for people: the addresses of the ports that are open."""
        ports = [each.port for each in self if isinstance(each, ListeningService) and each.port is not None]
        return tuple(address_text(port.getHost()) for port in ports)

    @property
    def dialled(self) -> tuple[Dialling, ...]:
        """What is dialled, and how that goes."""
        return tuple(self._dialled.values())

    def dial(self, endpoint: ClientEndpoint, name: str) -> ClientService:
        """Keep a connection to a peer while the service runs.

        :param name: of the endpoint, for the log; no two have the same.
        :return: whose ``whenConnected()`` waits for a :class:`ReadyPeer`. Give it to ``removeService`` to end it.
        :raises txsoter.errors.FieldError: when it is dialled already: there are never two connections to one remote;
            and for arguments that cannot be.
        """
        check_client_endpoint(endpoint)
        _check_name(name)
        if name in self._dialled:
            raise FieldError("name", name, "one that is not dialled yet")
        if self._clock is None:
            # not at the module's top: importing the reactor installs it
            from twisted.internet import reactor

            self._clock = cast(IReactorTime, reactor)
        dialling = Dialling(endpoint, name, self._outbound, monotonic(self._clock), self._give_up_after)
        client = ClientService(dialling, Factory.forProtocol(ReadyPeer), self._retry_policy, self._clock)
        dialling.client = client
        self._dialled[name] = dialling
        MultiService.addService(self, client)
        return client

    def give_up(self, peer: SoterPeerProtocol, why: str) -> None:
        """Do not dial the remote of a peer again once this connection has ended; nothing if it was not dialled here.

        :param why: for people.
        """
        for dialling in self._dialled.values():
            if dialling.peer is peer:
                dialling.give_up(why)

    def removeService(self, service: IService) -> Any:
        """End one of :meth:`dial` or :meth:`listen`; the Deferred fires once it is gone."""
        removed = MultiService.removeService(self, service)
        self._dialled = {name: each for name, each in self._dialled.items() if each.client is not service}
        return removed

    def listen(self, endpoint: ServerEndpoint, name: str) -> ListeningService:
        """Let peers dial us while the service runs.

        :param name: of the endpoint, for the log.
        :raises txsoter.errors.FieldError: for arguments that cannot be.
        """
        check_server_endpoint(endpoint)
        _check_name(name)
        listening = ListeningService(endpoint, name, self._inbound)
        MultiService.addService(self, listening)
        return listening

    def privilegedStartService(self) -> None:
        """Open the ports.

        :raises twisted.internet.error.CannotListenError: for one that cannot be.
        """
        MultiService.privilegedStartService(self)

    def startService(self) -> None:
        """Open the ports that are not open yet, and dial.

        :raises twisted.internet.error.CannotListenError: for a port that cannot be.
        """
        MultiService.startService(self)

    def stopService(self) -> Deferred[None]:
        """End everything.

        :return: fires once no connection, port or timer is left.
        """
        self.log.info("stopping, connections: {count}", count=len(self.peers))
        ended = [factory.disconnect_all(STOPPING) for factory in (self._outbound, self._inbound)]
        return gatherResults([*ended, maybeDeferred(MultiService.stopService, self)]).addCallback(lambda _: None)


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise FieldError("name", name, "the endpoint's for people, a string")


class ListeningService(Service):
    """A port that is open while the service runs.

    :ivar port: None while it is not.
    """

    log = Logger()

    def __init__(self, endpoint: ServerEndpoint, name: str, factory: SoterFactory) -> None:
        self._endpoint = endpoint
        self._name = name
        self._factory = factory
        self._opening: Deferred[Any] | None = None
        self.port: IListeningPort | None = None

    def privilegedStartService(self) -> None:
        """Open the port.

        :raises twisted.internet.error.CannotListenError: when that is known at once; later it is logged.
        """
        Service.privilegedStartService(self)
        failures: list[Failure] | None = []

        def failed(failure: Failure) -> None:
            if failures is not None:
                failures.append(failure)
            elif failure.check(CancelledError) is None:
                self.log.error("cannot listen on {name}: {error}", name=self._name, error=failure.getErrorMessage())

        self._opening = maybeDeferred(self._endpoint.listen, self._factory).addCallbacks(self._opened, failed)
        now, failures = failures, None
        if now:
            self._opening = None
            now[0].raiseException()

    def _opened(self, port: IListeningPort) -> None:
        self.port = port
        self.log.info("listening on {name}: {address}", name=self._name, address=address_text(port.getHost()))

    def startService(self) -> None:
        """Open the port, unless ``privilegedStartService`` has done that."""
        Service.startService(self)
        if self._opening is None:
            self.privilegedStartService()

    def stopService(self) -> Deferred[None]:
        """Close the port; fires once it is."""
        Service.stopService(self)
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        port, self.port = self.port, None
        closing: Deferred[None] = succeed(None)
        return closing if port is None else closing.addCallback(lambda _: port.stopListening())


class ReadyPeer(Protocol):
    """What a ClientService takes for the connection: a peer, from the end of the handshake on.

    :ivar peer: the peer.
    """

    transport: Any

    @property
    def peer(self) -> SoterPeerProtocol:
        """The peer itself."""
        peer: SoterPeerProtocol = self.transport.peer
        return peer


class _Grip:
    """The little of a transport that a ClientService needs of a peer."""

    def __init__(self, peer: SoterPeerProtocol) -> None:
        self.peer = peer

    def loseConnection(self) -> None:
        self.peer.disconnect(STOPPING)


@implementer(IStreamClientEndpoint)
class Dialling:
    """A remote that is dialled again and again, handshake included.

    (Waiting for that in a ClientService's prepareConnection makes it trip over connections that end meanwhile: it has
    no transition for them, and logs a traceback for each.)

    :ivar name: its endpoint, for people.
    :ivar client: the service that says when to dial.
    :ivar peer: the connection that is ready now, or None.
    :ivar failures: attempts that failed since the last one that did not.
    :ivar given_up: why nobody dials it any more, or None.
    """

    log = Logger()
    client: ClientService

    def __init__(
        self,
        endpoint: ClientEndpoint,
        name: str,
        peers: SoterClientFactory,
        now: Callable[[], float],
        give_up_after: float | None,
    ) -> None:
        self.name = name
        self.peer: SoterPeerProtocol | None = None
        self.failures = 0
        self.given_up: str | None = None
        self._endpoint = endpoint
        self._peers = peers
        self._now = now
        self._give_up_after = give_up_after
        self._began: float | None = None
        self._answered = False

    def __repr__(self) -> str:
        return self.name  # a ClientService logs it

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Dial, and wait until the peer is ready. Once it has been given up this fires only when it is cancelled."""
        return Deferred() if self.given_up else Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        if self._began is None:
            self._began = self._now()
        try:
            peer = await self._dial()
        except (CancelledError, ConnectingCancelledError):
            raise
        except Exception as error:
            self.failures += 1
            self._consider(error)
            raise
        self._answered = True
        self.failures = 0
        self.peer = peer
        ready: Any = factory.buildProtocol(peer.transport.getPeer())
        ready.makeConnection(_Grip(peer))
        peer.when_closed().addCallback(lambda _: self._lost(ready))
        return ready

    async def _dial(self) -> SoterPeerProtocol:
        try:
            peer = cast(SoterPeerProtocol, await self._endpoint.connect(self._peers))
        except (CancelledError, ConnectingCancelledError):
            raise
        except Exception as error:
            self.log.info("cannot connect to {name}: {error}", name=self.name, error=sanitize(str(error)))
            raise
        try:
            return await peer.when_ready()
        except CancelledError:
            peer.disconnect(STOPPING)
            raise

    def _lost(self, ready: Any) -> None:
        self.peer = None
        ready.connectionLost(Failure(ConnectionDone()))

    def _consider(self, error: Exception) -> None:
        """Whether there is any sense in dialling again."""
        assert self._began is not None
        waited = self._now() - self._began
        if isinstance(error, ConnectionClosed) and error.reason.cause is CloseCause.SELF_CONNECTION:
            self.give_up("it is this process itself")
        elif not self._answered and self._give_up_after is not None and waited >= self._give_up_after:
            self.give_up(f"it has not answered once in {self._give_up_after / 3600:g} hours")

    def give_up(self, why: str) -> None:
        """Dial it no more.

        :param why: for people.
        """
        self.given_up = why
        self.log.warn("{name} is dialled no more: {why}", name=self.name, why=why)
