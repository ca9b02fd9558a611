"""Metrics of a crawl for Prometheus, read when they are asked for.

::

    visits = VisitCounts()
    crawl = CrawlService(config, visited=visits.add)
    metrics_service.registry.register(CrawlMetrics(MapFeed(crawl.map), visits))
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from txsoter.crawl.map_feed import MapFeed
from txsoter.crawl.map_shares import OTHER, best_height, shares
from txsoter.crawl.network_map import NodeKind
from txsoter.crawl.visit_result import Outcome, VisitResult
from txsoter.errors import LocalError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from txsoter.crawl.dns_service import DnsService

__all__ = ["CrawlMetrics", "VisitCounts"]

MAX_VERSIONS = 64
"""Versions that ever have a series of their own: remotes choose them, and a series is kept for months."""

_VERSION = re.compile(r"[a-z][a-z0-9_-]{0,19} [0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}")


class VisitCounts:
    """Counts visits by how they ended.

    :ivar outcomes: numbers by outcome.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()

    def add(self, result: VisitResult) -> None:
        """Count a visit."""
        self.outcomes[result.outcome] += 1


class CrawlMetrics:
    """A collector of prometheus-client.

    :param feed: has the map.
    :param visits: counts what was visited.
    :param waiting: gives the number of addresses that wait for a visit.
    :param dns: the seeder, if there is one.
    :raises LocalError: when prometheus-client is not installed.
    """

    def __init__(
        self,
        feed: MapFeed,
        visits: VisitCounts,
        waiting: Callable[[], float] | None = None,
        dns: DnsService | None = None,
    ) -> None:
        try:
            from prometheus_client import core
        except ImportError:
            raise LocalError("metrics need prometheus-client: pip install 'txsoter[metrics]'") from None
        self._core = core
        self._feed = feed
        self._waiting = waiting
        self._dns = dns
        self._visits = visits
        self._versions: set[str] = set()

    def collect(self) -> Iterator[Metric]:
        """Return all metrics as they are now; only in the reactor's thread."""
        core = self._core
        visits = core.CounterMetricFamily(
            "txsoter_crawl_visits", "Addresses that were dialled, by how that ended.", labels=("outcome",)
        )
        for outcome in Outcome:
            visits.add_metric((outcome.name.lower(),), self._visits.outcomes[outcome])
        yield visits
        if self._waiting is not None:
            what = "Addresses that wait for a visit."
            yield core.GaugeMetricFamily("txsoter_crawl_waiting", what, self._waiting())
        yield from self._map()
        if self._dns is not None:
            counter = core.CounterMetricFamily
            yield counter("txsoter_dns_answers", "Whole answers of the DNS seeder.", self._dns.answered)
            what = "Questions that were dropped or answered with 'ask by TCP', for there were too many."
            yield counter("txsoter_dns_limited", what, self._dns.limited)

    def _map(self) -> Iterator[Metric]:
        current = self._feed.current
        if current is None:
            return
        gauge = self._core.GaugeMetricFamily
        nodes = gauge("txsoter_crawl_nodes", "Addresses on the map, by what they are.", labels=("kind",))
        kinds = Counter(node.kind for node in current.nodes)
        for kind in NodeKind:
            nodes.add_metric((kind.value,), kinds[kind])
        yield nodes
        versions = gauge("txsoter_crawl_versions", "Reachable nodes by the program they run.", labels=("version",))
        for version, count in self._known(shares(current).versions).items():
            versions.add_metric((version,), count)
        yield versions
        edges = gauge("txsoter_crawl_edges", "Connections on the map, by who says so.", labels=("claimed_by",))
        confirmed = sum(edge.confirmed for edge in current.edges)
        for claimed_by, count in (("both", confirmed), ("one", len(current.edges) - confirmed)):
            edges.add_metric((claimed_by,), count)
        yield edges
        yield gauge("txsoter_crawl_good_nodes", "Nodes that are recommended.", sum(node.good for node in current.nodes))
        height = best_height(current.nodes)
        if height is not None:
            yield gauge("txsoter_crawl_height", "Height that several nodes have.", height)
        yield gauge("txsoter_crawl_map_timestamp_seconds", "When the map was made.", current.when)

    def _known(self, versions: dict[str, int]) -> dict[str, int]:
        """The versions that may be labels, all others counted together."""
        counted = {OTHER: 0, **dict.fromkeys(sorted(self._versions), 0)}
        for version, count in versions.items():
            if version not in self._versions and len(self._versions) < MAX_VERSIONS and _VERSION.fullmatch(version):
                self._versions.add(version)
            label = version if version in self._versions else OTHER
            counted[label] = counted.get(label, 0) + count
        return counted
