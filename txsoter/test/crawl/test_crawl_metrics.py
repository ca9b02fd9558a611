"""Tests of :mod:`txsoter.crawl.crawl_metrics`."""

from __future__ import annotations

import sys
from typing import Any
from unittest import TestCase
from unittest.mock import patch

import prometheus_client
from twisted.internet.task import Clock

from txsoter.crawl.crawl_metrics import MAX_VERSIONS, CrawlMetrics, VisitCounts
from txsoter.crawl.map_feed import MapFeed
from txsoter.crawl.network_map import FROM, NodeKind
from txsoter.crawl.visit_result import Outcome, VisitResult
from txsoter.errors import LocalError
from txsoter.service.book.places import place_at
from txsoter.test.crawl.maps import HOSTILE, NOW, edge, node, the_map
from txsoter.test.service.scraping import Scrape


class MetricsTests(TestCase):
    def setUp(self) -> None:
        self.feed = MapFeed(lambda: the_map([]), Clock())
        self.visits = VisitCounts()
        self.metrics = CrawlMetrics(self.feed, self.visits, waiting=lambda: 7)

    def scrape(self) -> Scrape:
        registry: Any = prometheus_client.CollectorRegistry()
        registry.register(self.metrics)
        return Scrape(prometheus_client.generate_latest(registry).decode())

    def test_before_there_is_a_map(self) -> None:
        seen = self.scrape()
        self.assertEqual(seen.value("txsoter_crawl_waiting"), 7)
        self.assertEqual(seen.value("txsoter_crawl_visits_total", outcome="refused"), 0)
        self.assertEqual(seen["txsoter_crawl_nodes"], {})

    def test_the_map(self) -> None:
        self.feed.current = the_map(
            [node(1), node(2), node(3, kind=NodeKind.DOWN, good=False), node(4, user_agent="/a:1.0.0/")],
            [edge("a:1", "b:1"), edge("b:1", "c:1", frozenset({FROM}))],
        )
        seen = self.scrape()
        self.assertEqual(seen.value("txsoter_crawl_nodes", kind="reachable"), 3)
        self.assertEqual(seen.value("txsoter_crawl_nodes", kind="down"), 1)
        self.assertEqual(seen.value("txsoter_crawl_nodes", kind="fake"), 0)
        self.assertEqual(seen.by("txsoter_crawl_versions", "version"), {"soterd 4.2.0": 2, "a 1.0.0": 1})
        self.assertEqual(seen.by("txsoter_crawl_edges", "claimed_by"), {"both": 1, "one": 1})
        self.assertEqual(seen.value("txsoter_crawl_good_nodes"), 3)
        self.assertEqual(seen.value("txsoter_crawl_height"), 412_861)
        self.assertEqual(seen.value("txsoter_crawl_map_timestamp_seconds"), NOW)

    def test_visits(self) -> None:
        for outcome in (Outcome.REFUSED, Outcome.ANSWERED, Outcome.REFUSED):
            self.visits.add(VisitResult(place=place_at("203.0.113.1", 5069), outcome=outcome))
        visits = self.scrape().by("txsoter_crawl_visits_total", "outcome")
        self.assertEqual((visits["refused"], visits["answered"], sum(visits.values())), (2, 1, 3))

    def test_remotes_make_no_series_without_end(self) -> None:
        """Not by odd names, and not by ever new ones."""
        self.feed.current = the_map([node(number, user_agent=agent) for number, agent in enumerate(HOSTILE)])
        self.assertEqual(set(self.scrape().by("txsoter_crawl_versions", "version")), {"other"})
        for number in range(40):
            agents = [f"/soterd:{number}.{minor}.0/" for minor in range(5)]
            self.feed.current = the_map([node(minor, user_agent=agent) for minor, agent in enumerate(agents)])
            seen = self.scrape()["txsoter_crawl_versions"]
            self.assertEqual(sum(seen.values()), 5)
        self.assertEqual(len(seen), MAX_VERSIONS + 1)

    def test_the_seeder(self) -> None:
        class Dns:
            answered, limited = 5, 3

        dns: Any = Dns()
        self.metrics = CrawlMetrics(self.feed, self.visits, dns=dns)
        seen = self.scrape()
        self.assertEqual((seen.value("txsoter_dns_answers_total"), seen.value("txsoter_dns_limited_total")), (5, 3))

    def test_without_prometheus_client(self) -> None:
        with patch.dict(sys.modules, {"prometheus_client": None}):
            self.assertRaisesRegex(LocalError, r"txsoter\[metrics\]", CrawlMetrics, self.feed, self.visits)
