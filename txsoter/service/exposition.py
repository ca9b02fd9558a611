"""``MetricsService``: metrics where Prometheus finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint
from twisted.web.pages import notFound
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from txsoter.peer.addressing import address_text
from txsoter.service.metrics import Metrics
from txsoter.service.peers import ListeningService
from txsoter.service.web.access import loopback_endpoint
from txsoter.service.web.guard import Guard
from txsoter.service.web.site import GuardedRequest, QuietSite

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["MetricsService"]

MAX_CONNECTIONS = 16
"""How many may ask at a time: a Prometheus or two, and somebody with a browser."""


class MetricsService(ListeningService):
    """Serves ``/metrics`` while it runs, and what the process takes besides: its CPU time, memory and open files.

    :param metrics: what is served.
    :param endpoint: where it listens, described or made; a description that names no interface means loopback.
    :param name: of the endpoint, for the log.
    :param reactor: by default the one that is installed.
    :ivar registry: of prometheus-client, this service's own. An application may register collectors of its own: they
        are called in the reactor's thread.
    """

    def __init__(
        self,
        metrics: Metrics,
        endpoint: str | IStreamServerEndpoint,
        name: str = "metrics",
        reactor: Any = None,
    ) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector

        if reactor is None:
            # not before: the user may choose which one is installed
            from twisted.internet import reactor
        where = serverFromString(reactor, loopback_endpoint(endpoint)) if isinstance(endpoint, str) else endpoint
        self.registry = CollectorRegistry(auto_describe=True)
        self.registry.register(metrics)
        ProcessCollector(registry=self.registry)
        root = _Place()
        root.putChild(b"metrics", _Scrapes(self.registry))
        self._site = _ScrapeSite(root, reactor)
        self._guard = Guard(self._site, cast(IReactorTime, reactor), limit=MAX_CONNECTIONS)
        super().__init__(where, name, cast(Any, self._guard))

    @property
    def url(self) -> str | None:
        """Where the metrics are, for people; None while they are not served."""
        if self.port is None:
            return None
        here = address_text(self.port.getHost())
        return here if here.startswith("unix:") else f"http://{here}/metrics"

    def stopService(self) -> Deferred[None]:
        """Close the port, and hang up.

        :return: fires once no thread is at an answer: it would wait for the reactor to take it, and a reactor that
            stops for the thread.
        """
        closing = super().stopService().addCallback(lambda _: self._site.when_idle())
        return closing.addCallback(lambda _: self._guard.abort_all())


class _Place(Resource):
    """Where nothing is but what is put below it."""

    def __init__(self) -> None:
        Resource.__init__(self)

    def getChild(self, path: bytes, request: Any) -> Any:
        """What Twisted puts there by itself is deprecated."""
        return notFound()


class _Scrapes(_Place):
    """What prometheus-client serves, of what there was when it was asked."""

    def __init__(self, registry: Any) -> None:
        super().__init__()
        self._registry = registry

    def render(self, request: Any) -> int:
        """Look here, in the reactor's thread, where nothing changes meanwhile; it is written down in another."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.twisted import MetricsResource

        seen = CollectorRegistry(auto_describe=True)
        seen.register(_Seen(list(self._registry.collect())))
        if request.method != b"OPTIONS":
            # that one's answer is empty: its thread waits for nothing
            request.site.writers.add(request)
        untyped: Any = MetricsResource
        untyped(seen).render(request)
        return NOT_DONE_YET


class _Seen:
    """A collector of what has been collected."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """As often as it is asked for."""
        return self._families


class _ScrapeRequest(GuardedRequest):
    """Knows when the thread that answers it is done, even if the one who asked has gone."""

    site: Any

    def write(self, data: bytes) -> Any:
        """The answer: all that the thread waits for."""
        try:
            return Request.write(self, data)
        finally:
            self.site.written(self)

    def finish(self) -> Any:
        """The end of the answer: of one that failed, before anything of it was written, the only sign."""
        try:
            return Request.finish(self)
        finally:
            self.site.written(self)


class _ScrapeSite(QuietSite):
    """Knows whose answers are being written.

    :ivar writers: the requests whose answers threads are at.
    """

    def __init__(self, root: Resource, reactor: Any) -> None:
        super().__init__(root, reactor, _ScrapeRequest)
        self.writers: set[Any] = set()
        self._waiters: list[Deferred[None]] = []

    def written(self, request: Any) -> None:
        """A thread is done."""
        self.writers.discard(request)
        while self._waiters and not self.writers:
            self._waiters.pop().callback(None)

    def when_idle(self) -> Deferred[None]:
        """Fires once all are."""
        if not self.writers:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter
