"""``MetricsService``: metrics where Prometheus finds them."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint
from twisted.web.server import Request

from txsoter.clock import monotonic
from txsoter.peer.addressing import address_text
from txsoter.service.peers import ListeningService
from txsoter.service.process_metrics import ProcessMetrics
from txsoter.service.web.access import HostCheck, loopback_endpoint
from txsoter.service.web.guard import Guard
from txsoter.service.web.pages import Pages, send
from txsoter.service.web.site import QuietSite

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector

__all__ = ["FRESH_SECONDS", "MetricsService"]

MAX_CONNECTIONS = 16
"""Connections at a time: a Prometheus or two, and somebody with a browser."""

FRESH_SECONDS = 1.0
"""Seconds for which everybody is told the same: collecting takes milliseconds, in which no peer is served."""

MAX_VARIANTS = 4
"""Formats and selections that are written of the same metrics; who asks for more of them is given plain text."""


class MetricsService(ListeningService):
    """Serves ``/metrics`` while it runs, and what the process takes besides: its CPU time, memory and open files.

    :param metrics: the collector of prometheus-client to serve, such as :class:`~txsoter.service.metrics.Metrics`.
    :param endpoint: where it listens, described or made; a description that names no interface means loopback.
    :param name: of the endpoint, for the log.
    :param reactor: by default the one that is installed.
    :param hosts: names by which it may be asked, besides localhost and the address it listens on.
    :ivar registry: of prometheus-client, this service's own. An application may register collectors of its own: they
        are called in the reactor's thread, once a second at most.
    """

    def __init__(
        self,
        metrics: Collector,
        endpoint: str | IStreamServerEndpoint,
        name: str = "metrics",
        reactor: Any = None,
        hosts: Iterable[str] = (),
    ) -> None:
        from prometheus_client import CollectorRegistry

        if reactor is None:
            # not before: the user may choose which one is installed
            from twisted.internet import reactor
        where = serverFromString(reactor, loopback_endpoint(endpoint)) if isinstance(endpoint, str) else endpoint
        self.registry = CollectorRegistry(auto_describe=True)
        self.registry.register(metrics)
        self.registry.register(ProcessMetrics())
        pages = Pages(HostCheck(hosts), {b"/metrics": _Exposition(self.registry, reactor).answer})
        self._guard = Guard(QuietSite(pages, reactor), reactor, limit=MAX_CONNECTIONS)
        # any, for it takes every factory
        guard: Any = self._guard
        super().__init__(where, name, guard)

    @property
    def url(self) -> str | None:
        """Where the metrics are, for people; None while they are not served."""
        if self.port is None:
            return None
        here = address_text(self.port.getHost())
        return here if here.startswith("unix:") else f"http://{here}/metrics"

    def stopService(self) -> Deferred[None]:
        """Close the port and all connections; fires once they are closed."""
        return gatherResults([super().stopService(), self._guard.abort_all()]).addCallback(lambda _: None)


class _Exposition:
    """The metrics as text, made anew once in :data:`FRESH_SECONDS` at most."""

    def __init__(self, registry: CollectorRegistry, clock: IReactorTime) -> None:
        self._registry = registry
        self._now = monotonic(clock)
        self._collected_at: float | None = None
        self._collected: CollectorRegistry
        self._variants: dict[tuple[str, tuple[str, ...], bool], bytes] = {}

    def answer(self, request: Request) -> int:
        """Answer a request in the format and encoding that its client prefers."""
        from prometheus_client.exposition import choose_encoder, gzip_accepted

        self._collect()
        encode, kind = choose_encoder(request.getHeader("accept") or "")
        # any, for it has more types than it ever returns
        given: Any = request.args
        names = tuple(sorted({name.decode("latin-1") for name in given.get(b"name[]", ())}))
        packed = gzip_accepted(request.getHeader("accept-encoding") or "")
        if (kind, names, packed) not in self._variants and len(self._variants) >= MAX_VARIANTS:
            encode, kind = choose_encoder("")
            names = ()
        variant = kind, names, packed
        if variant not in self._variants:
            registry: Any = self._collected.restricted_registry(names) if names else self._collected
            text = encode(registry)
            self._variants[variant] = gzip.compress(text) if packed else text
        if packed:
            request.setHeader(b"Content-Encoding", b"gzip")
        return send(request, kind.encode(), self._variants[variant])

    def _collect(self) -> None:
        from prometheus_client import CollectorRegistry

        now = self._now()
        if self._collected_at is None or now - self._collected_at >= FRESH_SECONDS:
            self._collected = CollectorRegistry(auto_describe=True)
            self._collected.register(_Collected(list(self._registry.collect())))
            self._collected_at = now
            self._variants.clear()


class _Collected:
    """A collector of what has been collected."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """Return it, as often as it is asked for."""
        return self._families
