"""Tests of :mod:`txsoter.service.status.resource`: what is answered to whom."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

from twisted.internet.address import IPv4Address

from txsoter.service.status.resource import page
from txsoter.test.service.web import Answer, PageTestCase, broken


class Tags(HTMLParser):
    """What a page is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]


class PageTests(PageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.serve()

    def policy(self, answer: Answer) -> dict[str, str]:
        parts = [part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")]
        return {part[0]: part[1] for part in parts}

    def test_the_page(self) -> None:
        answer = self.ask("/")
        self.assertEqual((answer.code, answer.headers["content-type"]), (200, "text/html; charset=utf-8"))
        self.assertTrue(answer.body.startswith(b"<!doctype html>"))
        self.assertEqual(int(answer.headers["content-length"]), len(answer.body))

    def test_it_is_one_piece(self) -> None:
        """It names nothing elsewhere: style, script and icon are in it, and links go to our own pages only."""
        html = self.ask("/").body.decode()
        for tag, name, value in Tags(html).attributes:
            if name in ("src", "href", "action", "srcset", "poster", "data", "formaction"):
                self.assertTrue(
                    value.startswith(("#", "data:image/svg+xml,")) or value in ("status.json", "map"), (tag, value)
                )
            self.assertFalse(name.startswith("on") or name == "style", (tag, name))
        without_names = html.replace("http://www.w3.org/2000/svg", "")
        self.assertNotRegex(without_names, r"https?://|//cdn|@import|url\(")
        self.assertNotIn("/* style */", html)
        self.assertNotIn("/* script */", html)

    def test_it_writes_no_markup(self) -> None:
        """A remote's words can only become text."""
        script = re.findall(r"<script>(.*)</script>", self.ask("/").body.decode(), re.DOTALL)[0]
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
        self.assertIn("textContent", code)

    def test_policy(self) -> None:
        """Only its own script and style run, it asks nobody but us, and nobody may frame it."""
        answer = self.ask("/")
        policy = self.policy(answer)
        html = answer.body.decode()
        for tag, directive in (("script", "script-src"), ("style", "style-src")):
            (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
            digest = b64encode(sha256(text.encode()).digest()).decode()
            self.assertEqual(policy.pop(directive), f"'sha256-{digest}'")
        expected = {
            "default-src": "'none'",
            "img-src": "data:",
            "connect-src": "'self'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
            "require-trusted-types-for": "'script'",
            "trusted-types": "'none'",
        }
        self.assertEqual(policy, expected)
        self.assertEqual(self.policy(self.ask("/status.json"))["default-src"], "'none'")

    def test_headers_of_every_answer(self) -> None:
        """Also of refusals: nothing is kept, guessed, told to others, or says what serves it."""
        asked = [self.ask(path) for path in ("/", "/status.json", "/events", "/nothing")]
        asked += [self.ask(method="POST"), self.ask(host="evil.example"), self.ask(sec_fetch_site="cross-site")]
        self.assertEqual([answer.code for answer in asked], [200, 200, 200, 404, 405, 421, 403])
        for answer in asked:
            self.assertEqual(answer.headers["cache-control"], "no-store")
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.assertEqual(answer.headers["referrer-policy"], "no-referrer")
            self.assertEqual(answer.headers["cross-origin-resource-policy"], "same-origin")
            self.assertEqual(answer.headers["x-frame-options"], "DENY")
            self.assertEqual(answer.headers["server"], "txsoter")
            self.assertIn("frame-ancestors 'none'", answer.headers["content-security-policy"])
            self.assertNotIn("access-control-allow-origin", answer.headers)

    def test_json(self) -> None:
        answer = self.ask("/status.json?x=1")
        self.assertEqual((answer.code, answer.headers["content-type"]), (200, "application/json"))
        self.assertEqual(json.loads(answer.body)["node"]["network"], "simnet")

    def test_head(self) -> None:
        """The headers alone, and no stream is begun."""
        for path, kind in (("/", "text/html; charset=utf-8"), ("/status.json", "application/json")):
            answer = self.ask(path, method="HEAD")
            self.assertEqual((answer.code, answer.headers["content-type"], answer.body), (200, kind, b""))
            self.assertGreater(int(answer.headers["content-length"]), 100)
        answer = self.ask("/events", method="HEAD")
        self.assertEqual((answer.code, answer.headers["content-type"], answer.body), (200, "text/event-stream", b""))
        self.assertEqual(self.status.lookers, 0)

    def test_nothing_can_be_changed(self) -> None:
        for path in ("/", "/status.json", "/events", "/else"):
            for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "FOO"):
                answer = self.ask(path, method=method)
                self.assertEqual((answer.code, answer.headers["allow"]), (405, "GET, HEAD"), (method, path))

    def test_other_paths(self) -> None:
        """There are three; what looks like a file is none."""
        paths = (
            "/index.html",
            "//",
            "/status.json/",
            "/events/x",
            "/%2e%2e/page.html",
            "/../page.js",
            "/style.css",
            "*",
        )
        for path in (*paths, "http://127.0.0.1:8080/", "/favicon.ico"):
            self.assertIn(self.ask(path).code, (404, 405), path)

    def test_hosts(self) -> None:
        """A site that gives its own name our address (DNS rebinding) is refused, whatever it asks for."""
        for host in ("evil.example", "evil.example:8080", "192.0.2.1", None, "localhost, evil.example"):
            for path in ("/", "/status.json", "/events", "/else"):
                answer = self.ask(path, host=host)
                self.assertEqual(answer.code, 421, (host, path))
                self.assertNotIn(b"simnet", answer.body)
        for host in ("localhost:8080", "127.0.0.1", "[::1]:8080"):
            self.assertEqual(self.ask(host=host).code, 200)
        self.assertEqual(self.ask(method="POST", host="evil.example").code, 421)

    def test_two_hosts(self) -> None:
        """One for us and one for whoever is before us."""
        visitor = self.visit()
        visitor.say(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        self.assertIn(b" 421 Misdirected Request\r\n", visitor.raw)

    def test_another_address(self) -> None:
        """Where it listens on more than loopback: the address that was asked is one of its hosts."""
        here = IPv4Address("TCP", "192.0.2.7", 8080)
        self.assertEqual(self.visit(here).ask(host="192.0.2.7:8080").code, 200)
        self.assertEqual(self.visit(here).ask(host="192.0.2.8:8080").code, 421)

    def test_other_sites(self) -> None:
        """They may link to the page, but not ask in the background, not even one at another port of ours."""
        for site in ("cross-site", "same-site", "anything"):
            for path in ("/", "/status.json", "/events"):
                self.assertEqual(self.ask(path, sec_fetch_site=site, sec_fetch_mode="no-cors").code, 403)
                self.assertEqual(self.ask(path, sec_fetch_site=site).code, 403)
            self.assertEqual(self.ask(sec_fetch_site=site, sec_fetch_mode="navigate").code, 200)
        for site in ("same-origin", "none"):
            self.assertEqual(self.ask("/events", sec_fetch_site=site, sec_fetch_mode="cors").code, 200)

    def test_several_requests_on_a_connection(self) -> None:
        visitor = self.visit()
        self.assertEqual([visitor.ask(path).code for path in ("/", "/status.json", "/x", "/")], [200, 200, 404, 200])

    def test_an_old_browser(self) -> None:
        answer = self.ask(version="1.0")
        self.assertEqual(answer.code, 200)

    def test_no_log(self) -> None:
        """A look is no line in the log, and no timer runs for one."""
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.ask()
        self.assertEqual(len(self.flushLoggedErrors()), 0)


class NamedTests(PageTestCase):
    def test_configured_hosts(self) -> None:
        self.serve(hosts=("status.example.org",))
        self.assertEqual(self.ask(host="status.example.org").code, 200)
        self.assertEqual(self.ask(host="Status.Example.Org:443").code, 200)
        self.assertEqual(self.ask(host="example.org").code, 421)


class FailureTests(PageTestCase):
    def test_what_fails_of_ours_tells_nothing(self) -> None:
        status = self.serve()
        self.clock.advance(5)
        status._picture._peers = broken
        answer = self.ask("/status.json")
        self.assertEqual(answer.code, 500)
        self.assertNotIn(b"Zero", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        status._picture._peers = lambda: ()

    def test_the_page_is_made_once(self) -> None:
        self.assertIs(page(), page())
