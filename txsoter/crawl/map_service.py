"""``MapService``: the page of the map, by itself or beside a status page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from txsoter.crawl.layout_process import LayoutProcess
from txsoter.crawl.map_answers import History, MapAnswers
from txsoter.crawl.map_feed import MapFeed
from txsoter.crawl.map_picture import MapPicture
from txsoter.crawl.map_rows import Locate
from txsoter.crawl.network_map import NetworkMap
from txsoter.peer.addressing import address_text
from txsoter.service.peers import ListeningService
from txsoter.service.status.events import MAX_STREAMS, EventStreams
from txsoter.service.web.access import HostCheck
from txsoter.service.web.guard import Guard
from txsoter.service.web.pages import Answer, Pages
from txsoter.service.web.site import QuietSite

__all__ = ["MapService"]

T = TypeVar("T")


class MapService(MultiService):
    """The page of the map, live by server-sent events, at ``/map``, and the same as JSON at ``/map.json``.

    Beside a status page give :meth:`pages` to that, and no endpoint to this.

    :param source: makes the map as of now.
    :param endpoint: where it listens by itself; None where a status page serves it.
    :param locate: says in which country an address is; see :class:`~txsoter.crawl.places.Places`.
    :param history: gives the past of a node.
    :param hosts: names by which it may be asked, besides localhost and the address it listens on.
    :param reactor: by default the one that is installed.
    :param name: of the endpoint, for the log.
    :ivar feed: has the latest map, for others who want it, too.
    """

    log = Logger()

    def __init__(
        self,
        source: Callable[[], NetworkMap],
        endpoint: IStreamServerEndpoint | None = None,
        *,
        locate: Locate | None = None,
        history: History | None = None,
        hosts: Iterable[str] = (),
        reactor: Any = None,
        name: str = "the map",
    ) -> None:
        MultiService.__init__(self)
        if reactor is None:
            # not before: the user may choose which one is installed
            from twisted.internet import reactor
        self._reactor = reactor
        self.feed = MapFeed(source, reactor)
        MultiService.addService(self, self.feed)
        self._layouts = LayoutProcess(reactor)
        picture = MapPicture(self.feed, reactor, self._layouts, self._in_thread, locate)
        self._streams = EventStreams(picture, reactor)
        self._answers = MapAnswers(self.feed, picture, self._streams, locate, history).by_path()
        self._listening: ListeningService | None = None
        self._guard: Guard | None = None
        if endpoint is not None:
            pages = Pages(HostCheck(hosts), {b"/": self._answers[b"/map"], **self._answers})
            self._guard = Guard(QuietSite(pages, reactor), reactor, limit=2 * MAX_STREAMS)
            # any, for it takes every factory
            guard: Any = self._guard
            self._listening = ListeningService(endpoint, name, guard)
            MultiService.addService(self, self._listening)

    def _in_thread(self, call: Callable[..., T], *arguments: Any) -> Deferred[T]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call, *arguments)

    def pages(self) -> Mapping[bytes, Answer]:
        """Return what answers each path, for a status page."""
        return self._answers

    @property
    def url(self) -> str | None:
        """URL of the page; None while it is not served by itself."""
        if self._listening is None or self._listening.port is None:
            return None
        here = address_text(self._listening.port.getHost())
        return here if here.startswith("unix:") else f"http://{here}/"

    @property
    def viewers(self) -> int:
        """Number of viewers."""
        return len(self._streams)

    def stopService(self) -> Deferred[None]:
        """End it, and all who look; fires once the port and all connections are closed."""
        ended: list[Deferred[Any]] = [maybeDeferred(MultiService.stopService, self), self._layouts.stop()]
        if self._guard is not None:
            ended.append(self._guard.abort_all())
        return gatherResults(ended).addCallback(lambda _: None)
