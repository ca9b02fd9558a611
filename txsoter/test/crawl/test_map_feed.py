"""Tests of :mod:`txsoter.crawl.map_feed`."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from txsoter.crawl.map_feed import MapFeed
from txsoter.crawl.network_map import NetworkMap
from txsoter.test.crawl.maps import NOW, node, the_map
from txsoter.test.peer.support import TrialCase


class FeedTests(TrialCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.made = 0
        self.breaks = False
        self.feed = MapFeed(self.make, self.clock, interval=5.0)
        self.feed.timer = self.clock.seconds
        self.heard: list[NetworkMap] = []
        self.feed.listen(self.heard.append)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def make(self) -> NetworkMap:
        self.made += 1
        if self.breaks:
            raise ZeroDivisionError
        return the_map([node(1)], when=NOW + self.clock.seconds())

    def test_a_map_every_few_seconds_while_it_runs(self) -> None:
        self.assertIsNone(self.feed.current)
        self.feed.startService()
        for _ in range(120):
            self.clock.advance(1)
        self.feed.stopService()
        self.clock.advance(100)
        self.assertEqual((self.made, len(self.heard)), (25, 25))
        self.assertIs(self.feed.current, self.heard[-1])
        self.assertEqual([each.when - NOW for each in self.feed.growth.samples], [0, 60, 120])

    def test_where_it_takes_long_it_is_done_less_often(self) -> None:
        """So that it takes a twentieth of our time."""
        seconds: Any = iter(range(1000))
        self.feed.timer = lambda: next(seconds) * 2.0
        self.feed.startService()
        for _ in range(400):
            self.clock.advance(1)
        self.feed.stopService()
        self.assertIn(self.made, (9, 10, 11))

    def test_a_failure_is_told_once_and_tried_again(self) -> None:
        self.breaks = True
        self.feed.startService()
        self.clock.pump([5] * 4)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(self.feed.current)
        self.breaks = False
        self.clock.advance(5)
        self.assertIsNotNone(self.feed.current)
        self.feed.stopService()
