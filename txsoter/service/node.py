"""``NodeService``: a peer service with all that an operator wants beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.logger import Logger

from txsoter.capture import Capture
from txsoter.peer.config import PeerConfig
from txsoter.peer.factory import PeerFactory
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.service.book import AddressBook, BookKeeper, SeedService, place_at
from txsoter.service.exposition import MetricsService
from txsoter.service.metrics import Metrics
from txsoter.service.misbehaviour import ScoreKeeper
from txsoter.service.observers import Observer
from txsoter.service.outbound import EndpointFor, OutboundService, endpoint_place, endpoints_like
from txsoter.service.peers import PeerService
from txsoter.service.scores import LOOPBACK, Scores
from txsoter.service.status import Ban, Dialled, StatusParts, StatusService, loopback_endpoint
from txsoter.service.web.pages import Answer
from txsoter.wire import NetAddress

__all__ = ["NodeService", "NodeSettings"]


@attrs.frozen(kw_only=True)
class NodeSettings:
    """What a node has beside its peers; by default nothing.

    :ivar state: folder of the address book; None keeps that in memory.
    :ivar outbound: how many peers to find and keep.
    :ivar outbound_endpoint: makes the endpoint for an IP and a port; by default plain TCP.
    :ivar named: host and port of peers that belong into the address book.
    :ivar seeds: whether the network's seeds are asked when too few addresses are known.
    :ivar advertise: IP and port at which others can reach us, which those that we dial are told.
    :ivar allow_unroutable: let loopback and private addresses into the book, too.
    :ivar whitelist: networks that are never refused, whatever they do.
    :ivar refusal: seconds for which who has misbehaved is refused.
    :ivar metrics: endpoint description of the metrics, on loopback unless it names an interface.
    :ivar status: the same of the status page.
    :ivar status_hosts: names by which page and metrics may be asked, such as those of a proxy before them.
    :ivar capture: folder in which all conversations are recorded.
    :ivar capture_total: bytes that they may take there.
    :ivar capture_connection: bytes of one connection.
    """

    state: Path | None = None
    outbound: int = 0
    outbound_endpoint: EndpointFor | None = None
    named: tuple[tuple[str, int], ...] = ()
    seeds: bool = True
    advertise: tuple[tuple[str, int], ...] = ()
    allow_unroutable: bool = False
    whitelist: tuple[str, ...] = LOOPBACK
    refusal: float = 4 * 3600.0
    metrics: str | None = None
    status: str | None = None
    status_hosts: tuple[str, ...] = ()
    capture: Path | None = None
    capture_total: int = 1 << 30
    capture_connection: int = 64 << 20


class NodeService(MultiService):
    """Peers, an address book, misbehaviour, metrics, a status page and a record, as the settings say.

    :param config: of all its peers.
    :param reactor: by default the one that is installed.
    :param pages: what the status page serves besides, by path.
    :param collectors: of prometheus-client, whose metrics are served besides.
    :ivar peers: the connections; see :class:`~txsoter.service.PeerService`.
    :ivar book: whom it knows.
    :ivar scores: who has misbehaved.
    :ivar outbound: keeps peers from the book, or None.
    :ivar metrics: serves the metrics, or None.
    :ivar status: serves the page, or None.
    :ivar capture: records, or None.
    """

    log = Logger()

    def __init__(
        self,
        config: PeerConfig,
        settings: NodeSettings | None = None,
        reactor: Any = None,
        pages: Mapping[bytes, Answer] | None = None,
        collectors: Iterable[Any] = (),
    ) -> None:
        MultiService.__init__(self)
        if reactor is None:
            # not before: the user may choose which one is installed
            from twisted.internet import reactor
        self.settings = settings = NodeSettings() if settings is None else settings
        self._reactor = reactor
        self._parts: list[Any] = []
        self.book = AddressBook(config.network, reactor, settings.state, settings.allow_unroutable)
        own = [NetAddress(config.services, host, port) for host, port in settings.advertise]
        keeper = BookKeeper(self.book, own)
        scores = Scores(whitelist=settings.whitelist, refusal=settings.refusal)
        self.scores = ScoreKeeper(scores, self._live, reactor)
        observers: list[Observer] = [keeper, self.scores]
        self.metrics: MetricsService | None = None
        self.status: StatusService | None = None
        self.capture: Capture | None = None
        self.outbound: OutboundService | None = None
        protocol: PeerFactory = SoterPeerProtocol
        if settings.capture is not None:
            self.capture = Capture(
                settings.capture,
                reactor,
                max_total=settings.capture_total,
                max_connection=settings.capture_connection,
            )
            protocol = self.capture
        metrics = None if settings.metrics is None else self._make_metrics(config)
        if metrics is not None:
            config = config.replace(listeners=metrics.timed(config.listeners))
            observers.append(metrics)
        if settings.status is not None:
            self.status = self._make_status(config, settings.status, pages)
            observers.append(self.status.observer)
        self.peers = PeerService(config, observers=observers, protocol=protocol, may_enter=self.scores.may_enter)
        self._keeper = keeper
        if metrics is not None and settings.metrics is not None:
            # it asks at once
            self.metrics = MetricsService(metrics, settings.metrics, reactor=reactor, hosts=settings.status_hosts)
            for collector in collectors:
                self.metrics.registry.register(collector)

    def _live(self) -> Iterable[SoterPeerProtocol]:
        return self.peers.peers

    # -- what it consists of -------------------------------------------------------------------

    def _make_metrics(self, config: PeerConfig) -> Metrics:
        return Metrics(
            lambda: self.peers.peers,
            held=lambda: self.peers.config.memory.total,
            refused=lambda: self.peers.refused,
            banned=self.scores.refused,
            book=self.book.sizes,
            capture=None if self.capture is None else self.capture.state,
            network=config.network.name,
        )

    def _make_status(self, config: PeerConfig, description: str, pages: Mapping[bytes, Answer] | None) -> StatusService:
        endpoint = serverFromString(self._reactor, loopback_endpoint(description))
        parts = StatusParts(
            book=self.book.sizes,
            bans=self._bans,
            listening=lambda: self.peers.listening,
            dialled=self._dialled,
            capture=None if self.capture is None else self.capture.state,
        )
        return StatusService(
            endpoint,
            self._live,
            config,
            parts=parts,
            pages=pages,
            hosts=self.settings.status_hosts,
            clock=self._reactor,
        )

    def _bans(self) -> list[Ban]:
        return [Ban(each.address, each.until, each.reason) for each in self.scores.entries() if each.until is not None]

    def _dialled(self) -> list[Dialled]:
        rows = []
        for each in self.peers.dialled:
            state = "connected" if each.peer is not None else "given up" if each.given_up else "waiting"
            detail = each.given_up or (f"{each.failures} failures in a row" if each.failures else "")
            rows.append(Dialled(each.name, state, None, detail))
        if self.outbound is not None:
            rows += [Dialled(str(place), "connected", None, "from the book") for place in self.outbound.ready.values()]
            rows += [Dialled(str(place), "connecting", None, "from the book") for place in self.outbound.attempts]
        return rows

    # -- what an application or its options add ------------------------------------------------

    def dial(self, endpoint: IStreamClientEndpoint, name: str) -> None:
        """Keep a connection while the service runs; see :meth:`PeerService.dial`."""
        self.peers.dial(endpoint, name)

    def listen(self, endpoint: IStreamServerEndpoint, name: str) -> None:
        """Let others dial us while the service runs; see :meth:`PeerService.listen`."""
        self.peers.listen(endpoint, name)

    # -- its life ------------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """Open the ports."""
        self.peers.privilegedStartService()

    def startService(self) -> None:
        """Begin everything, in the order in which one part needs another.

        :raises txsoter.errors.TxsoterError: when a folder cannot be used.
        :raises twisted.internet.error.CannotListenError: for a port that cannot be opened.
        """
        MultiService.startService(self)
        self._parts = []
        for part in (self.book, self.capture, self.metrics, self.status, self.peers, self._make_seeds(), self._find()):
            if part is not None:
                part.startService()
                self._parts.append(part)
        for line in self._beginning():
            self.log.info("{line}", line=line)

    def _make_seeds(self) -> SeedService:
        # beside a proxy, asking for names would tell who asks
        resolver = self._reactor.nameResolver if self.peers.config.proxy is None else None
        return SeedService(self.book, resolver, self.settings.named, self.settings.seeds)

    def _find(self) -> OutboundService | None:
        settings = self.settings
        if not settings.outbound:
            return None
        places = [endpoint_place(dialling.name) for dialling in self.peers.dialled]
        places += [place_at(host, port) for host, port in settings.advertise]
        self.outbound = OutboundService(
            self.peers,
            self._keeper,
            settings.outbound,
            settings.outbound_endpoint or endpoints_like(self._reactor),
            reserved=[place for place in places if place is not None],
            may_dial=self.scores.may_dial,
        )
        return self.outbound

    def stopService(self) -> Deferred[None]:
        """End everything, what others need last: the peers are told, then the book is written.

        Nothing waits for page and metrics, which end beside the rest: their clients are strangers.
        """
        MultiService.stopService(self)
        parts, self._parts = self._parts, []
        served = [each for each in parts if each is self.status or each is self.metrics]
        others = [each for each in reversed(parts) if each not in served]
        ended = [Deferred.fromCoroutine(self._stop(each)) for each in (others, *([part] for part in served))]
        return gatherResults(ended).addCallback(lambda _: None)

    async def _stop(self, parts: Iterable[Any]) -> None:
        for part in parts:
            try:
                await maybeDeferred(part.stopService)
            except Exception:
                # the others are to end all the same
                self.log.failure("{part} has not ended well", part=type(part).__name__)

    # -- what it tells -------------------------------------------------------------------------

    def _beginning(self) -> list[str]:
        """Three lines: where it listens, whom it dials, where to look."""
        listening = ", ".join(self.peers.listening) or "nowhere"
        dialled = ", ".join(each.name for each in self.peers.dialled)
        found = f"{self.settings.outbound} from the address book" if self.settings.outbound else ""
        served = [("status page", self.status), ("metrics", self.metrics)]
        places = [f"{what} at {part.url}" for what, part in served if part is not None and part.url is not None]
        if self.capture is not None:
            places.append(f"conversations recorded in {self.settings.capture}")
        return [
            f"listens: {listening}",
            f"dials: {' and '.join(filter(None, (dialled, found))) or 'nobody'}",
            f"to look at: {', '.join(places) or 'nothing; --status ENDPOINT gives a page'}",
        ]

    def summary(self) -> list[str]:
        """How it goes, in a few lines for a log."""
        stats = [peer.stats() for peer in self.peers.peers]
        states = Counter(f"{'inbound' if each.inbound else 'outbound'} {each.state}" for each in stats)
        counted = ", ".join(f"{number} {words}" for words, number in sorted(states.items()))
        book = ", ".join(f"{number} {words}" for words, number in self.book.sizes().items())
        received, sent = sum(each.bytes_received for each in stats), sum(each.bytes_sent for each in stats)
        return [
            f"peers: {counted or 'none'}; refused: {self.peers.refused}; banned: {self.scores.refused()}",
            f"address book: {book}",
            f"live connections: {received} bytes received, {sent} sent, {self.peers.config.memory.total} held",
        ]
