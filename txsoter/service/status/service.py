"""``StatusService``: a page that shows what goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from txsoter.ip import parse_ip
from txsoter.peer.addressing import address_text, host_and_port
from txsoter.peer.config import PeerConfig
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.service.peers import ListeningService
from txsoter.service.status.ages import PageClock
from txsoter.service.status.events import MAX_STREAMS, EventStreams
from txsoter.service.status.parts import Parts, StatusParts
from txsoter.service.status.resource import StatusAnswers
from txsoter.service.status.watching import Picture, StatusObserver
from txsoter.service.web.access import HostCheck
from txsoter.service.web.guard import Guard
from txsoter.service.web.pages import Answer, Pages
from txsoter.service.web.site import QuietSite

__all__ = ["SAMPLE_SECONDS", "StatusService"]

SAMPLE_SECONDS = 5.0
"""Between samples of each peer's past."""


class StatusService(MultiService):
    """A status page, live by server-sent events, and the same as JSON at ``/status.json``.

    ::

        status = StatusService(endpoint, lambda: service.peers, config)
        service = PeerService(config, observers=[status.observer])
        status.setServiceParent(service)

    :param endpoint: where it listens. Anybody who reaches it may look, so this is loopback unless you know better:
        see :func:`~txsoter.service.status.loopback_endpoint`.
    :param peers: gives the peers that live.
    :param config: theirs, of which it shows who we are.
    :param parts: what else there is to show.
    :param pages: other pages at the same place: what answers each path.
    :param hosts: names by which others may ask for the page, besides localhost and the address it listens on: those of
        a proxy before it.
    :param clock: by default the reactor.
    :param name: of the endpoint, for the log.
    :ivar observer: give it to the peers' service, or nothing is known of what they announce and why they end.
    """

    log = Logger()

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        peers: Callable[[], Iterable[SoterPeerProtocol]],
        config: PeerConfig,
        *,
        parts: StatusParts | None = None,
        pages: Mapping[bytes, Answer] | None = None,
        hosts: Iterable[str] = (),
        clock: IReactorTime | None = None,
        name: str = "the status page",
    ) -> None:
        MultiService.__init__(self)
        if clock is None:
            # not before: the user may choose which one is installed
            from twisted.internet import reactor

            global_clock: Any = reactor
            clock = global_clock
        self._page_clock = PageClock(clock)
        self.observer = StatusObserver(self._page_clock)
        shown = Parts(parts or StatusParts(), self._page_clock)
        self._picture = Picture(config, self._page_clock, peers, self.observer, shown, has_map=b"/map" in (pages or {}))
        self._streams = EventStreams(self._picture, clock)
        answers = {**StatusAnswers(self._picture, self._streams).by_path(), **(pages or {})}
        # besides viewers that stay, some that only ask
        limit = 2 * MAX_STREAMS * (2 if pages else 1)
        self._guard = Guard(QuietSite(Pages(HostCheck(hosts), answers), clock), clock, limit=limit)
        # any, for it takes every factory
        guard: Any = self._guard
        self._listening = ListeningService(endpoint, name, guard)
        MultiService.addService(self, self._listening)
        self._sampling = LoopingCall(self._sample)
        self._sampling.clock = clock
        self._fails = False

    @property
    def url(self) -> str | None:
        """Where the page is, for people; None while it is not served."""
        port = self._listening.port
        if port is None:
            return None
        here = address_text(port.getHost())
        return here if here.startswith("unix:") else f"http://{here}/"

    @property
    def lookers(self) -> int:
        """How many look at the page now."""
        return len(self._streams)

    def snapshot(self) -> dict[str, Any]:
        """What the page shows, as ``/status.json`` has it but for ``now``."""
        return self._picture.content()

    def startService(self) -> None:
        """Serve it.

        :raises twisted.internet.error.CannotListenError: when the port cannot be opened.
        """
        MultiService.startService(self)
        self._picture.started_at = self._page_clock.now()
        self._sampling.start(SAMPLE_SECONDS)
        port = self._listening.port
        ip = None if port is None else parse_ip(host_and_port(port.getHost())[0])
        if ip is not None and not ip.is_loopback:
            self.log.warn("the status page at {url} can be seen by whoever reaches it", url=self.url)

    def _sample(self) -> None:
        try:
            self._picture.sample()
            self._fails = False
        except Exception:
            # told once, not every few seconds for months
            if not self._fails:
                self.log.failure("the status page cannot look at the peers")
            self._fails = True

    def stopService(self) -> Deferred[None]:
        """End it, and all who look; fires once the port and all connections are closed."""
        if self._sampling.running:
            self._sampling.stop()
        stopping = maybeDeferred(MultiService.stopService, self)
        return gatherResults([stopping, self._guard.abort_all()]).addCallback(lambda _: None)
