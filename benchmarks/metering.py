"""An end whose peers have metrics, and who is scraped."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from txsoter import Listeners, PeerConfig, SoterPeerProtocol
from txsoter.service import Observer, observed
from txsoter.service.exposition import MetricsService
from txsoter.service.metrics import Metrics

__all__ = ["SCRAPE_SECONDS", "Metering"]

log = Logger()

SCRAPE_SECONDS = 5.0
"""Between scrapes: three times as often as Prometheus does by itself."""


class Metering(Observer):
    """Metrics of the peers of an end, as a service has them: served, asked for, listeners timed.

    :param reactor: where it is served and asked for.
    """

    def __init__(self, reactor: Any) -> None:
        self._peers: set[SoterPeerProtocol] = set()
        self._metrics = Metrics(peers=lambda: self._peers)
        self._service = MetricsService(self._metrics, serverFromString(reactor, "tcp:0:interface=127.0.0.1"))
        self._service.startService()
        port: Any = self._service.port
        there = f"tcp:127.0.0.1:{port.getHost().port}"
        self._there = clientFromString(reactor, there)
        scraping = LoopingCall(lambda: Deferred.fromCoroutine(self._scrape()))
        scraping.clock = reactor
        scraping.start(SCRAPE_SECONDS).addErrback(lambda failure: log.failure("not scraped", failure))

    async def _scrape(self) -> None:
        answer = await (await connectProtocol(self._there, _Scrape())).answered
        if b"txsoter_messages_total" not in answer:
            raise RuntimeError(f"no metrics: {answer[:200]!r}")

    def on_ready(self, peer: SoterPeerProtocol) -> None:
        """One more."""
        self._peers.add(peer)

    def on_closed(self, peer: SoterPeerProtocol, reason: object) -> None:
        """One less."""
        self._peers.discard(peer)

    def metered(self, config: PeerConfig, listeners: Listeners) -> PeerConfig:
        """The config with these listeners, timed, and its peers observed."""
        return config.replace(listeners=observed(self._metrics.timed(listeners), [self, self._metrics]))


class _Scrape(Protocol):
    """Asks for metrics, as a Prometheus does that hangs up."""

    def connectionMade(self) -> None:
        self.answered: Deferred[bytes] = Deferred()
        self._parts: list[bytes] = []
        assert self.transport is not None
        self.transport.write(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.answered.callback(b"".join(self._parts))
