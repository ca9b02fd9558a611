"""``CrawlService``: maps a network while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from txsoter.crawl.atlas import Atlas
from txsoter.crawl.crawler import Crawler
from txsoter.crawl.map_of import explain, make_map
from txsoter.crawl.network_map import NetworkMap
from txsoter.crawl.rules import CrawlRules
from txsoter.crawl.store_keeper import StoreKeeper
from txsoter.crawl.visit_result import VisitResult
from txsoter.ip import parse_ip
from txsoter.peer.config import PeerConfig
from txsoter.service.book.book_time import BookTime
from txsoter.service.book.places import Place, place_at
from txsoter.service.book.seeds import resolve
from txsoter.service.book.worker import OwnThread, Worker
from txsoter.service.outbound import EndpointFor, endpoints_like

__all__ = ["CrawlService"]


FIRST_RETRY, LAST_RETRY = 60.0, 3600.0
"""Seconds after which host names that could not be resolved are tried again: at first, and at most."""


class CrawlService(Service):
    """Visits all nodes of a network that it can find, again and again, and draws the map from what they say.

    :param config: of its connections: network, user agent, memory.
    :param rules: intervals and limits.
    :param state: folder of the store; None to keep everything in memory.
    :param named: host and port of nodes to begin with.
    :param seeds: begin with the network's seeds, too.
    :param endpoint_for: makes the endpoint for an IP and a port; by default plain TCP.
    :param resolves: look host names up; not wanted beside a proxy, where that would tell who asks.
    :param reactor: by default the one that is installed.
    :param random: for jitter, and to choose among addresses.
    :param worker: where the store is read and written; by default a thread of its own.
    :param visited: called with each result.
    """

    log = Logger()

    def __init__(
        self,
        config: PeerConfig,
        rules: CrawlRules | None = None,
        *,
        state: Path | None = None,
        named: Iterable[tuple[str, int]] = (),
        seeds: bool = True,
        endpoint_for: EndpointFor | None = None,
        resolves: bool = True,
        reactor: Any = None,
        random: Random | None = None,
        worker: Worker | None = None,
        visited: Callable[[VisitResult], object] | None = None,
    ) -> None:
        if reactor is None:
            # not before: the user may choose which one is installed
            from twisted.internet import reactor
        self.config = config
        self.rules = CrawlRules() if rules is None else rules
        random = SystemRandom() if random is None else random
        self._reactor = reactor
        self._time = BookTime(reactor)
        self.atlas = Atlas(self.rules, random)
        self._crawler = Crawler(
            self.atlas,
            config,
            endpoints_like(reactor, "tcp:{host}:{port}:timeout=5") if endpoint_for is None else endpoint_for,
            reactor,
            self._time.now,
            random,
            visited,
        )
        self._starting: IDelayedCall | None = None
        self._keeper: StoreKeeper | None = None
        network = config.network
        if state is not None:
            worker = OwnThread(reactor, "crawl") if worker is None else worker
            self._keeper = StoreKeeper(self.atlas, state, network, self._time, reactor, worker)
        self._named = [*named, *((host, network.default_port) for host in (network.seeds if seeds else ()))]
        self._resolves = resolves

    # -- its life ------------------------------------------------------------------------------

    def startService(self) -> None:
        """Take possession of the folder, read what was kept there, and begin to visit.

        :raises CrawlError: when the folder cannot be used.
        """
        Service.startService(self)
        if self._keeper is None:
            self._begin()
        else:
            self._keeper.open()
            # by a call, not now: no thread begins before the reactor runs, which it may never do
            self._starting = self._reactor.callLater(0, self._load, self._keeper)

    def _load(self, keeper: StoreKeeper) -> None:
        self._starting = None
        keeper.load().addCallback(lambda _: self._begin())

    def _begin(self) -> None:
        if not self.running:
            return
        names = []
        for host, port in self._named:
            if parse_ip(host) is not None:
                self.atlas.name(place_at(host, port), self._time.now())
            else:
                names.append((host, port))
        if names and not self._resolves:
            self.log.warn("not looked up beside a proxy: {hosts}", hosts=_hosts(names))
            names = []
        # a crawl is not over before the names are known
        self._look_up(names, FIRST_RETRY).addCallback(lambda _: self._crawler.start() if self.running else None)

    def _look_up(self, names: Sequence[tuple[str, int]], wait: float) -> Deferred[None]:
        """Look host names up; those that cannot be resolved are tried again later: at boot there may be no network."""
        # any: a test's clock resolves nothing
        resolver: Any = self._reactor.nameResolver if names else None
        found = gatherResults([resolve(resolver, host, port) for host, port in names])
        return found.addCallback(self._found, names, wait)

    def _found(self, found: list[list[Place]], names: Sequence[tuple[str, int]], wait: float) -> None:
        if not self.running:
            return
        for place in (place for places in found for place in places):
            self.atlas.name(place, self._time.now())
        self._crawler.wake()
        missing = [name for name, places in zip(names, found, strict=True) if not places]
        if missing:
            self.log.warn("cannot be resolved, for now: {hosts}", hosts=_hosts(missing))
        if missing and not self.rules.once:
            self._starting = self._reactor.callLater(wait, self._retry, missing, min(2 * wait, LAST_RETRY))

    def _retry(self, names: Sequence[tuple[str, int]], wait: float) -> None:
        self._starting = None
        self._look_up(names, wait)

    def stopService(self) -> Deferred[None]:
        """Leave all nodes, and write what has changed; fires once nothing is left."""
        Service.stopService(self)
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._crawler.stop()
        if self._keeper is not None:
            await self._keeper.close()

    def when_finished(self) -> Deferred[None]:
        """Fire once no visit is under way or planned; each call gets a Deferred of its own."""
        return self._crawler.when_finished()

    # -- what it knows -------------------------------------------------------------------------

    def map(self) -> NetworkMap:
        """Return the map as of now."""
        shift = self._time.shift
        return make_map(self.atlas, self.config.network.name, self._time.now(), lambda time: time + shift)

    def why(self, host: str, port: int) -> str:
        """Return why an address is listed or not, in words.

        :raises FieldError: for a host that is no IP.
        """
        return explain(self.atlas, place_at(host, port), self._time.now())

    def counts(self) -> dict[str, int]:
        """Return the number of nodes that are reachable, of addresses, and of those that wait for a visit."""
        candidates = self.atlas.candidates.values()
        reachable = sum(each.is_reachable and each.alias_of is None for each in candidates)
        return {"reachable": reachable, "addresses": len(candidates), "waiting": len(self.atlas.schedule)}

    @property
    def visits(self) -> int:
        """The number of visits that have ended."""
        return self._crawler.visits

    def summary(self) -> list[str]:
        """Return the progress as one line for a log."""
        counts = ", ".join(f"{number} {words}" for words, number in self.counts().items())
        return [f"crawl: {self.visits} visits; {counts}"]


def _hosts(names: Iterable[tuple[str, int]]) -> str:
    return ", ".join(host for host, _ in names)
