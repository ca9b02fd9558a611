"""Tests of :mod:`txsoter.crawl.map_service` and :mod:`txsoter.crawl.map_answers`: who is answered what."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred

from txsoter import SIMNET, PeerConfig
from txsoter.crawl.map_answers import MAX_EDGES
from txsoter.crawl.map_service import MapService
from txsoter.crawl.network_map import NetworkMap
from txsoter.service.status import StatusService
from txsoter.test.crawl.maps import HOSTILE, edge, node, the_map
from txsoter.test.crawl.test_layout import Reactor
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.test_status_resource import Tags
from txsoter.test.service.web import Answer, Here, Visitor, broken

ONE, TWO = "203.0.113.1:5069", "203.0.113.2:5069"


class ServiceTests(TrialCase):
    def setUp(self) -> None:
        self.clock: Any = Reactor()
        self.here = Here()
        self.map: NetworkMap = the_map([node(1, user_agent=HOSTILE[11]), node(2)], [edge(ONE, TWO)])
        self.past: Any = lambda host, port: [[0, 2, 1]]
        self.service = MapService(
            lambda: self.map,
            self.here,
            history=lambda host, port: self.past(host, port),
            hosts=["map.example"],
            reactor=self.clock,
        )
        self.service.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        stopped = self.service.stopService()
        if self.clock.pid is not None and hasattr(self.clock, "process"):
            self.assertNoResult(stopped)
            from twisted.internet.error import ProcessTerminated

            self.clock.end(ProcessTerminated(None, 9))
        self.successResultOf(stopped)
        self.flushLoggedErrors()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def ask(self, path: str, **how: Any) -> Answer:
        return Visitor(self.here.factory).ask(path, **how)

    def test_the_page_is_one_piece_at_both_places(self) -> None:
        answer = self.ask("/map")
        self.assertEqual((answer.code, answer.headers["content-type"]), (200, "text/html; charset=utf-8"))
        self.assertEqual(self.ask("/").body, answer.body)
        html = answer.body.decode()
        for tag, name, value in Tags(html).attributes:
            if name in ("src", "href", "action", "srcset", "data"):
                self.assertTrue(
                    value.startswith(("#", "data:image/svg+xml,")) or value in ("map.json", "./"), (tag, value)
                )
            self.assertFalse(name.startswith("on") or name == "style", (tag, name))
        self.assertNotRegex(html.replace("http://www.w3.org/2000/svg", ""), r"https?://|//cdn|@import|url\(")
        policy = answer.headers["content-security-policy"]
        for tag in ("script", "style"):
            (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
            digest = b64encode(sha256(text.encode()).digest()).decode()
            self.assertIn(f"{tag}-src 'sha256-{digest}'", policy)
        self.assertIn("default-src 'none'", policy)
        self.assertIn("require-trusted-types-for 'script'", policy)

    def test_it_writes_no_markup(self) -> None:
        (script,) = re.findall(r"<script>(.*)</script>", self.ask("/map").body.decode(), re.DOTALL)
        code = re.sub(r"//.*", "", script)
        for way in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "DOMParser",
        ):
            self.assertNotIn(way, code)

    def test_the_guard_of_the_status_page(self) -> None:
        for path in ("/", "/map", "/map.json", "/map/events", "/map/node.json?name=x"):
            self.assertEqual(self.ask(path, host="evil.example").code, 421)
            self.assertEqual(self.ask(path, sec_fetch_site="cross-site").code, 403)
            self.assertEqual(self.ask(path, method="POST").code, 405)
        self.assertEqual(self.ask("/map", host="map.example").code, 200)
        self.assertEqual(self.ask("/map/").code, 404)

    def test_the_map_as_json(self) -> None:
        answer = self.ask("/map.json")
        self.assertEqual((answer.code, answer.headers["content-type"]), (200, "application/json"))
        found = json.loads(answer.body)
        self.assertEqual([row[0] for row in found["nodes"]], [ONE, TWO])
        self.assertEqual(found["links"], [0, 1, 3])
        self.assertNotIn(b"<", answer.body)

    def test_one_node(self) -> None:
        answer = self.ask(f"/map/node.json?name={ONE}")
        self.assertEqual(answer.code, 200)
        found = json.loads(answer.body)
        self.assertEqual((found["address"], found["agent"]), ("203.0.113.1", HOSTILE[11]))
        self.assertEqual([(each["from"], each["to"]) for each in found["edges"]], [(ONE, TWO)])
        self.assertEqual((found["edge_count"], found["history"]), (1, [[0, 2, 1]]))
        self.assertNotIn(b"<", answer.body)

    def test_the_edges_of_a_node_are_bounded(self) -> None:
        self.map = the_map([node(1)], [edge(f"10.0.{n // 256}.{n % 256}:5069", ONE) for n in range(MAX_EDGES + 5)])
        self.clock.advance(5)
        found = json.loads(self.ask(f"/map/node.json?name={ONE}").body)
        self.assertEqual((len(found["edges"]), found["edge_count"]), (MAX_EDGES, MAX_EDGES + 5))

    def test_no_such_node(self) -> None:
        for name in ("", "203.0.113.9:5069", "%ff%00", "<script>"):
            answer = self.ask(f"/map/node.json?name={name}")
            self.assertEqual(answer.code, 404)
            self.assertNotIn(b"script", answer.body)
        self.assertEqual(self.ask("/map/node.json").code, 404)

    def test_a_past_that_takes_time(self) -> None:
        """It is waited for; who leaves meanwhile is not answered."""
        waiting: list[Deferred[Any]] = []

        def past(host: str, port: int) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        self.past = past
        stays, leaves = Visitor(self.here.factory), Visitor(self.here.factory)
        for visitor in (stays, leaves):
            visitor.say(f"GET /map/node.json?name={ONE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            self.assertEqual(visitor.raw, b"")
        leaves.transport.loseConnection()
        for each in waiting:
            each.callback([[5, 1, 1]])
        self.assertEqual(json.loads(Answer.parse(stays.raw).body)["history"], [[5, 1, 1]])
        self.assertEqual(leaves.raw, b"")

    def test_a_past_that_cannot_be_read(self) -> None:
        self.past = lambda host, port: broken()
        found = json.loads(self.ask(f"/map/node.json?name={ONE}").body)
        self.assertIsNone(found["history"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_map_that_cannot_be_told(self) -> None:
        """The client is told so; the next one is answered again."""
        with patch("txsoter.crawl.map_picture._whole_json", lambda view, version: broken()):
            answer = self.ask("/map.json")
        self.assertEqual(answer.code, 500)
        self.assertIn("error", json.loads(answer.body))
        self.assertEqual(len(self.flushLoggedErrors()), 2)
        self.assertEqual(self.ask("/map.json").code, 200)

    def test_events(self) -> None:
        visitor = Visitor(self.here.factory)
        answer = visitor.ask("/map/events")
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        (first,) = visitor.events()
        self.assertEqual(first, {"version": 1, "base": -1})
        self.assertEqual(self.service.viewers, 1)
        self.map = the_map([node(1), node(2), node(3)])
        for _ in range(9):
            self.clock.advance(1)
        events = visitor.events()
        self.assertIn("203.0.113.3:5069", [row[0] for event in events for row in event["changed"]])
        visitor.transport.loseConnection()
        self.assertEqual(self.service.viewers, 0)

    def test_url(self) -> None:
        self.assertEqual(self.service.url, "http://127.0.0.1:8080/")
        self.assertIsNone(MapService(lambda: self.map, reactor=self.clock).url)


class BesideStatusTests(TrialCase):
    def test_a_status_page_serves_it(self) -> None:
        clock: Any = Reactor()
        here = Here()
        page = MapService(lambda: the_map([node(1)]), reactor=clock)
        config = PeerConfig(network=SIMNET)
        for pages, code in (({}, 404), (page.pages(), 200)):
            status = StatusService(here, tuple, config, pages=pages, clock=clock)
            status.startService()
            self.assertEqual(Visitor(here.factory).ask("/map").code, code)
            self.assertEqual(Visitor(here.factory).ask("/").code, 200)
            found = json.loads(Visitor(here.factory).ask("/status.json").body)
            self.assertIs(found["map"], code == 200)
            self.successResultOf(status.stopService())
        self.assertEqual(clock.getDelayedCalls(), [])
