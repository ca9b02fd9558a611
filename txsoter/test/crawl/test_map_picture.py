"""Tests of :mod:`txsoter.crawl.map_picture` and :mod:`txsoter.crawl.map_view`: what viewers get, and when."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from txsoter.crawl.layout import Point
from txsoter.crawl.map_feed import MapFeed
from txsoter.crawl.map_graph import GraphReport, analyse
from txsoter.crawl.map_picture import ROUNDS, MapPicture
from txsoter.crawl.map_view import difference, view_of, whole
from txsoter.crawl.network_map import FROM, TO, NetworkMap, NodeKind
from txsoter.errors import LocalError
from txsoter.test.crawl.maps import HOSTILE, NOW, edge, node, the_map
from txsoter.test.peer.support import TrialCase

ONE, TWO, THREE, FOUR = (f"203.0.113.{number}:5069" for number in (1, 2, 3, 4))


class Viewer:
    """The map as the page's script has it.

    :ivar version: of that; None before the whole came.
    """

    def __init__(self, text: bytes) -> None:
        self.nodes: dict[str, Any] = {}
        self.links: set[tuple[str, str, int]] = set()
        found = json.loads(text)
        self.version = found["version"]
        names = [row[0] for row in found.get("nodes", [])]
        self.nodes = {row[0]: row[1:] for row in found.get("nodes", [])}
        numbers = found.get("links", [])
        for at in range(0, len(numbers), 3):
            self.links.add((names[numbers[at]], names[numbers[at + 1]], numbers[at + 2]))

    def hear(self, text: bytes) -> None:
        """Take an event."""
        event = json.loads(text)
        assert event["base"] == self.version
        for name in event["gone"]:
            del self.nodes[name]
        for name, *row in event["changed"]:
            self.nodes[name] = row + (self.nodes[name][-2:] if name in self.nodes else [None, None])
        for name, *at in event["moved"]:
            self.nodes[name][-2:] = at
        changed = {tuple(ends) for ends in event["parted"]} | {(one, other) for one, other, _ in event["joined"]}
        self.links = {link for link in self.links if link[:2] not in changed}
        self.links |= {(one, other, claims) for one, other, claims in event["joined"]}
        self.version = event["version"]


class Layouts:
    """Layouts that are done when the test says so.

    :ivar asked: what was asked for, and what fires.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[int, Any, dict[int, Point], float, Deferred[list[Point]]]] = []

    def layout(
        self, count: int, pairs: Sequence[tuple[int, int]], before: Mapping[int, Point], seconds: float
    ) -> Deferred[list[Point]]:
        done: Deferred[list[Point]] = Deferred()
        self.asked.append((count, list(pairs), dict(before), seconds, done))
        return done

    def finish(self, by: float = 0.0) -> None:
        """End the last one, in a row."""
        count, _, _, _, done = self.asked[-1]
        done.callback([(number / 10 + by, 0.5) for number in range(count)])


class PictureTests(TrialCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.layouts = Layouts()
        self.feed = MapFeed(lambda: the_map([]), self.clock)
        self.analysing: list[tuple[NetworkMap, Deferred[GraphReport]]] = []
        # what other threads have not done yet, once that is not at once
        self.threads: list[Any] | None = None
        self.picture = MapPicture(self.feed, self.clock, self.layouts, self.in_thread)

    def in_thread(self, call: Any, *arguments: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        if call is analyse:
            self.analysing.append((arguments[0], done))
        elif self.threads is None:
            done.callback(call(*arguments))
        else:
            self.threads.append((done, call, arguments))
        return done

    def finish_thread(self) -> None:
        """End what another thread was given first."""
        assert self.threads is not None
        done, call, arguments = self.threads.pop(0)
        done.callback(call(*arguments))

    def show(self, *nodes: Any, edges: Any = ()) -> int:
        """Another map, and a look at it."""
        self.feed.current = the_map(nodes, edges, NOW + self.clock.seconds())
        return self.look()

    def look(self) -> int:
        self.clock.advance(2)
        return self.picture.look()

    def whole(self) -> bytes:
        now, rest = self.successResultOf(self.picture.whole())
        return bytes(now + rest)

    def viewer(self) -> Viewer:
        return Viewer(self.whole())

    def test_before_there_is_a_map(self) -> None:
        self.assertEqual(self.look(), 0)
        self.assertEqual(self.viewer().version, 0)
        self.assertEqual(json.loads(self.picture.json()), {"version": 0, "base": -1})

    def test_the_whole(self) -> None:
        self.show(node(1), node(2, kind=NodeKind.DOWN), edges=[edge(ONE, TWO, frozenset({TO}))])
        found = json.loads(self.whole())
        self.assertEqual(found["nodes"], [
            [ONE, "reachable", "soterd 4.2.0", 412861, "network, witness, cf", NOW - 7200, None, 1, None, None],
            [TWO, "down", "soterd 4.2.0", 412861, "network, witness, cf", NOW - 7200, None, 1, None, None],
        ])  # fmt: skip
        self.assertEqual(found["links"], [0, 1, 2])
        self.assertEqual((found["reachable"], found["known"], found["edges"], found["confirmed"]), (1, 2, 1, 0))
        self.assertEqual(found["report"], None)
        self.assertAlmostEqual(found["now"], self.clock.seconds(), 2)

    def test_events_make_the_old_whole_the_new_one(self) -> None:
        self.show(node(1), node(2), edges=[edge(ONE, TWO), edge(TWO, ONE, frozenset({FROM}))])
        viewer = self.viewer()
        self.look()
        self.layouts.finish()
        for nodes, edges in (
            ([node(1), node(2), node(3)], [edge(ONE, TWO), edge(ONE, THREE)]),
            ([node(1), node(3, height=5)], [edge(ONE, THREE, frozenset({TO}))]),
            ([node(3, kind=NodeKind.DOWN), node(1)], []),
            ([], []),
        ):
            self.clock.advance(100)
            self.show(*nodes, edges=edges)
            viewer.hear(self.picture.json())
            now = self.viewer()
            self.assertEqual((viewer.version, viewer.nodes, viewer.links), (now.version, now.nodes, now.links))

    def test_nothing_new_is_no_event(self) -> None:
        version = self.show(node(1))
        self.assertEqual(self.show(node(1, last_seen=NOW + 5, latency=0.3)), version)
        self.assertEqual(self.look(), version)

    def test_looks_are_apart(self) -> None:
        version = self.show(node(1))
        self.feed.current = the_map([node(2)])
        self.clock.advance(1)
        self.assertEqual(self.picture.look(), version)
        self.clock.advance(1)
        self.assertEqual(self.picture.look(), version + 1)

    def test_what_takes_long_is_not_waited_for(self) -> None:
        """The version follows when it is done; meanwhile nothing more is begun."""
        self.threads = []
        self.assertEqual(self.show(node(1)), 0)
        self.assertEqual(self.show(node(2)), 0)
        self.assertEqual(len(self.threads), 1)
        self.finish_thread()
        self.assertEqual(self.picture.version, 1)
        self.look()
        self.finish_thread()
        self.assertEqual(self.picture.version, 2)
        self.assertEqual(json.loads(self.picture.json())["gone"], [ONE])

    def test_who_asks_for_the_whole_shares_it(self) -> None:
        self.show(node(1))
        self.threads = []
        asked = [self.picture.whole() for _ in range(3)]
        self.assertEqual(len(self.threads), 1)
        self.assertNoResult(asked[0])
        self.finish_thread()
        first, *others = [self.successResultOf(each)[1] for each in asked]
        self.assertTrue(all(each is first for each in others))
        self.assertIs(self.successResultOf(self.picture.whole())[1], first)
        self.assertEqual(self.threads, [])

    def test_failures_in_threads_are_told_and_tried_again(self) -> None:
        self.show(node(1))
        self.threads = []
        asked = self.picture.whole()
        self.threads.pop()[0].errback(ZeroDivisionError())
        self.failureResultOf(asked, LocalError)
        self.show(node(2))
        self.threads.pop()[0].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.threads = None
        self.assertEqual(self.show(node(3)), 2)
        self.assertEqual(list(self.viewer().nodes), [THREE])

    def test_a_large_event_is_left_out(self) -> None:
        """Viewers load the whole again."""
        self.show(node(1))
        with patch("txsoter.crawl.map_picture.MAX_CHANGES", 100):
            version = self.show(*map(node, range(50)))
        self.assertEqual(json.loads(self.picture.json()), {"version": version, "base": -1})

    def test_positions_come_and_layouts_follow_each_other(self) -> None:
        """Each starts from the one before, and takes no more than its share of the time."""
        self.show(node(1), node(2), edges=[edge(ONE, TWO)])
        self.look()
        ((count, pairs, before, seconds, _),) = self.layouts.asked
        self.assertEqual((count, pairs, before, seconds), (2, [(0, 1)], {}, 8.0))
        viewer = self.viewer()
        self.clock.advance(3)
        self.layouts.finish()
        self.look()
        viewer.hear(self.picture.json())
        self.assertEqual([row[-2:] for row in viewer.nodes.values()], [[0, 5000], [1000, 5000]])
        self.assertEqual(len(self.layouts.asked), 1)
        self.clock.advance(50)
        self.look()
        self.assertEqual(self.layouts.asked[1][2:4], ({0: (0.0, 0.5), 1: (0.1, 0.5)}, 3.0))

    def test_a_network_that_does_not_change_comes_to_rest(self) -> None:
        self.show(node(1))
        for _ in range(2 * ROUNDS):
            self.look()
            if len(self.layouts.asked) and not self.layouts.asked[-1][4].called:
                self.layouts.finish()
            self.clock.advance(100)
        self.assertEqual(len(self.layouts.asked), ROUNDS)
        self.show(node(1), node(2))
        self.look()
        self.assertEqual(len(self.layouts.asked), ROUNDS + 1)

    def test_order_alone_is_no_change(self) -> None:
        self.show(node(1), node(2))
        for _ in range(ROUNDS):
            self.look()
            self.layouts.finish()
            self.clock.advance(100)
        self.show(node(2), node(1))
        self.look()
        self.assertEqual(len(self.layouts.asked), ROUNDS)

    def test_a_layout_that_fails_is_told_once(self) -> None:
        for number in (1, 2):
            self.show(*map(node, range(number)))
            self.look()
            self.layouts.asked[-1][4].errback(ZeroDivisionError())
            self.clock.advance(100)
        self.assertEqual(len(self.layouts.asked), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_report(self) -> None:
        self.show(node(1), node(2), edges=[edge(ONE, TWO)])
        ((made_of, done),) = self.analysing
        self.show(node(1), node(2))
        self.assertEqual(len(self.analysing), 1, "one at a time")
        done.callback(analyse(made_of))
        self.look()
        event = json.loads(self.picture.json())
        self.assertEqual((event["report"]["components"], event["report"]["degrees"]), ([2], [[1, 2]]))
        self.show(node(1))
        self.analysing[1][1].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ViewTests(TrialCase):
    def view(self, *nodes: Any, edges: Any = ()) -> Any:
        return view_of(the_map(nodes, edges), {}, None, ())

    def test_what_is_not_drawn(self) -> None:
        """Addresses that are no nodes, edges of unknown ends; they are counted."""
        kinds = (NodeKind.FAKE, NodeKind.ALIAS, NodeKind.OURSELVES, NodeKind.SEEN)
        nodes = [node(number, kind=kind) for number, kind in enumerate(kinds, 2)]
        view = self.view(node(1), *nodes, edges=[edge(ONE, TWO), edge("192.0.2.1:50123", ONE, unmatched=True)])
        self.assertEqual(list(view.nodes), [ONE, "203.0.113.5:5069"])
        self.assertEqual(view.edges, {})
        self.assertEqual((view.summary["known"], view.summary["edges"], view.summary["unmatched"]), (5, 2, 1))

    def test_there_is_a_bound(self) -> None:
        """Nodes that are reachable come first."""
        nodes = [node(number, kind=NodeKind.SEEN if number % 2 else NodeKind.REACHABLE) for number in range(10)]
        edges = [edge(f"203.0.113.{a}:5069", f"203.0.113.{b}:5069") for a in range(10) for b in range(10) if a != b]
        with patch("txsoter.crawl.map_view.MAX_NODES", 6), patch("txsoter.crawl.map_view.MAX_EDGES", 7):
            view = self.view(*nodes, edges=edges)
        self.assertEqual([row[0] for row in view.nodes.values()], ["reachable"] * 5 + ["seen"])
        self.assertEqual((len(view.edges), view.summary["not_shown"]), (7, 4))

    def test_newcomers_are_beside_their_neighbours_until_they_are_laid_out(self) -> None:
        edges = [edge(ONE, THREE), edge(THREE, TWO)]
        nodes = map(node, (1, 2, 3, 4))
        view = view_of(the_map(nodes, edges), {ONE: (0.0, 0.2), TWO: (0.5, 0.4)}, None, ())
        self.assertEqual(view.positions, {ONE: (0, 2000), TWO: (5000, 4000), THREE: (2500, 3000)})

    def test_texts_are_bounded_and_visible(self) -> None:
        view = self.view(*[node(number, user_agent=agent) for number, agent in enumerate(HOSTILE)])
        for row in whole(view, 1)["nodes"]:
            self.assertTrue(row[2].isprintable() and len(row[2]) <= 60)

    def test_the_country(self) -> None:
        view = view_of(
            the_map([node(1)]),
            {},
            None,
            (),
            lambda host: {"country": "PT", "asn": None, "org": None},
        )
        self.assertEqual(view.nodes[ONE][5], "PT")

    def test_no_difference(self) -> None:
        self.assertIsNone(difference(self.view(node(1)), self.view(node(1)), 3))
