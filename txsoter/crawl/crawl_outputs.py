"""``CrawlOutputs``: what the map of a crawl is shown and served by: page, DNS, metrics, changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import SystemRandom
from typing import Any

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from txsoter.command_line import split_host_port
from txsoter.crawl.crawl_metrics import CrawlMetrics, VisitCounts
from txsoter.crawl.crawl_service import CrawlService
from txsoter.crawl.crawl_store import read_history, read_totals
from txsoter.crawl.dns_service import DnsService
from txsoter.crawl.dns_zone import Zone, seed_addresses
from txsoter.crawl.map_formats import json_line
from txsoter.crawl.map_rows import Locate, changes
from txsoter.crawl.map_service import MapService
from txsoter.crawl.map_shares import OVER_TIME, GrowthSample, Shares
from txsoter.crawl.network_map import NetworkMap, NodeKind
from txsoter.crawl.places import PlaceError
from txsoter.errors import FieldError
from txsoter.ip import parse_ip
from txsoter.service.book.places import place_at
from txsoter.service.web.pages import Answer

__all__ = ["CrawlOutputs", "DnsSettings", "QuietLocate", "dns_place"]


@attrs.frozen
class DnsSettings:
    """A DNS seeder.

    :ivar host: IP address that it listens on.
    :ivar port: by UDP and TCP.
    :ivar zone: name whose addresses it answers.
    :ivar nameserver: host name of this server; by default the zone's.
    """

    host: str
    port: int
    zone: str
    nameserver: str | None = None

    def make_zone(self) -> Zone:
        """Return the zone, without addresses yet.

        :raises FieldError: when it or the name server has a name that cannot be.
        """
        return Zone(self.zone, SystemRandom(), nameserver=self.nameserver)


def dns_place(text: str) -> tuple[str, int]:
    """Return IP and port of IP:PORT, of a port alone, which means loopback, or of udp:PORT:interface=IP.

    :raises FieldError: for anything else.
    """
    found = re.fullmatch(r"(?:udp:|tcp:)?([0-9]{1,5})(?::interface=(.+))?", text, re.ASCII)
    if found is not None:
        # Twisted's way to write a colon that is part of a value
        place: tuple[str, int] | None = (found[2] or "127.0.0.1").replace("\\:", ":"), int(found[1])
    else:
        place = split_host_port(text, 0) if ":" in text else None
    if place is None or parse_ip(place[0]) is None or not 0 <= place[1] < 1 << 16:
        raise FieldError("dns", text, "IP:PORT such as 0.0.0.0:53, or a port, which means loopback")
    return place


class CrawlOutputs(MultiService):
    """Shows and serves the map of a crawl while it runs.

    :param crawl: whose map it is.
    :param visits: what the crawl tells of each visit.
    :param endpoint: of the page by itself; None where a status page has it, or nobody wants it.
    :param hosts: names by which the page may be asked, besides its own.
    :param locate: says in which country an address is.
    :param dns: the seeder that is wanted, if any.
    :param state: folder of the crawl's store, for the past of nodes.
    :param tell: called with each change of the map, as a line of JSON.
    :param reactor: by default the one that is installed.
    :ivar map: the page.
    :ivar dns: the seeder, or None.
    """

    log = Logger()

    def __init__(
        self,
        crawl: CrawlService,
        visits: VisitCounts,
        *,
        endpoint: IStreamServerEndpoint | None = None,
        hosts: Iterable[str] = (),
        locate: Locate | None = None,
        dns: DnsSettings | None = None,
        state: Path | None = None,
        tell: Callable[[str], object] | None = None,
        reactor: Any = None,
    ) -> None:
        MultiService.__init__(self)
        if reactor is None:
            # not before: the user may choose which one is installed
            from twisted.internet import reactor
        self._crawl = crawl
        self._visits = visits
        self._reactor = reactor
        self._state = state
        self._locate = locate = None if locate is None else QuietLocate(locate)
        history = None if state is None else self._history
        self.map = MapService(
            crawl.map, endpoint, locate=locate, history=history, hosts=hosts, reactor=reactor, name="the map"
        )
        MultiService.addService(self, self.map)
        self.dns: DnsService | None = None
        if dns is not None:
            self.dns = DnsService(dns.make_zone(), dns.host, dns.port, reactor)
            MultiService.addService(self, self.dns)
            self.map.feed.listen(self._seed)
        self._told: NetworkMap | None = None
        if tell is not None:
            self._tell = tell
            self.map.feed.listen(self.tell_changes)

    def startService(self) -> None:
        """Begin, and read how the network has grown.

        :raises twisted.internet.error.CannotListenError: when a port cannot be opened.
        """
        MultiService.startService(self)
        if self._state is not None:
            reading = self._in_thread(_read_growth, self._state)
            reading.addCallback(self.map.feed.growth.begin_with).addErrback(
                lambda failure: self.log.failure("the network's growth cannot be read", failure)
            )

    def metrics(self) -> CrawlMetrics:
        """Return a collector for prometheus-client.

        :raises LocalError: when that is not installed.
        """
        return CrawlMetrics(self.map.feed, self._visits, lambda: self._crawl.counts()["waiting"], self.dns)

    def pages(self) -> Mapping[bytes, Answer]:
        """Return what answers each path, for a status page."""
        return self.map.pages()

    def tell_changes(self, network_map: NetworkMap) -> None:
        """Tell what has changed since the last map."""
        for change in changes(self._told, network_map, self._locate):
            self._tell(json_line(change))
        self._told = network_map

    def _seed(self, network_map: NetworkMap) -> None:
        assert self.dns is not None
        self.dns.zone.addresses = seed_addresses(network_map, self._crawl.config.network.default_port)

    def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call, *arguments)

    def _history(self, host: str, port: int) -> Deferred[list[list[int]]]:
        return self._in_thread(_read_history, self._state, host, port)


class QuietLocate:
    """Says in which country an address is, and goes on without when a file turns out to be damaged.

    :param locate: raises :class:`.PlaceError` then.
    """

    log = Logger()

    def __init__(self, locate: Locate) -> None:
        self._locate: Locate | None = locate

    def __call__(self, host: str) -> Mapping[str, Any]:
        """Return country, AS number and owner; None for each that is not known."""
        # once: it is called in several threads
        locate = self._locate
        try:
            if locate is not None:
                return locate(host)
        except PlaceError as error:
            self._locate = None
            self.log.warn("countries are not shown any more: {error}", error=error)
        return {"country": None, "asn": None, "org": None}


def _read_history(folder: Path, host: str, port: int) -> list[list[int]]:
    return [[each.start, each.visits, each.successes] for each in read_history(folder, place_at(host, port))]


def _read_growth(folder: Path) -> list[GrowthSample]:
    """Return the network's size and its shares by the hour; its edges were not kept."""
    hours: dict[int, dict[str, dict[str, int]]] = {}
    for start, total, count in read_totals(folder):
        what, _, name = total.partition(":") if ":" in total else ("", "", total)
        hours.setdefault(start, {}).setdefault(what, {})[name] = count
    return [
        GrowthSample(start, kinds.get(NodeKind.REACHABLE.value, 0), sum(kinds.values()), None, None, _shares(found))
        for start, found in hours.items()
        for kinds in (found.pop("", {}),)
    ]


def _shares(found: dict[str, dict[str, int]]) -> Shares | None:
    if not found:
        return None
    # the most common first
    ordered = {what: dict(sorted(found.get(what, {}).items(), key=lambda each: -each[1])) for what in OVER_TIME}
    return Shares(**ordered, protocols={})
