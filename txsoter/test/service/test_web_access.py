"""Tests of :mod:`txsoter.service.web.access`."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactor

from txsoter.service.status import loopback_endpoint
from txsoter.service.web.access import HostCheck
from txsoter.test.peer.support import TrialCase

LOCAL = IPv4Address("TCP", "127.0.0.1", 8080)


class HostCheckTests(TrialCase):
    def assert_allowed(self, allowed: bool, check: HostCheck, here: Any, *headers: str) -> None:
        for header in headers:
            self.assertIs(check.allows(header.encode("latin-1"), here), allowed, header)

    def test_names_of_ourselves(self) -> None:
        own = ("localhost", "localhost:8080", "LocalHost:1", "localhost.", "127.0.0.1:8080", "[::1]", "[::1]:8080")
        self.assert_allowed(True, HostCheck(), LOCAL, *own)

    def test_names_of_others(self) -> None:
        """Also those that begin or end like ours, and what is no host at all."""
        others = ("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1")
        broken = ("", ":8080", "localhost:", "localhost:x", "localhost:123456", "user@localhost", "localhost/", "a b")
        odd = ("[::1", "::1", "[::1]x", "[localhost]", "127.1", "0", "localhost\n", "\xff", "localhost:8080, evil")
        self.assert_allowed(False, HostCheck(), LOCAL, *others, *broken, *odd)

    def test_the_address_at_which_the_request_came_in(self) -> None:
        here = IPv4Address("TCP", "192.0.2.9", 8080)
        self.assert_allowed(True, HostCheck(), here, "192.0.2.9:8080", "192.0.2.9", "localhost")
        self.assert_allowed(False, HostCheck(), here, "192.0.2.8:8080")
        six = IPv6Address("TCP", "2001:db8::9", 8080)
        self.assert_allowed(True, HostCheck(), six, "[2001:db8::9]:8080", "[2001:DB8:0::9]")
        mapped = IPv6Address("TCP", "::ffff:192.0.2.9", 8080)
        self.assert_allowed(True, HostCheck(), mapped, "192.0.2.9:8080", "[::ffff:192.0.2.9]:8080")

    def test_configured_names(self) -> None:
        check = HostCheck(["Status.Example.org", "192.0.2.44", "[2001:db8::5]"])
        names = ("status.example.org", "status.example.org:443", "192.0.2.44", "[2001:db8::5]:80", "localhost")
        self.assert_allowed(True, check, LOCAL, *names)
        self.assert_allowed(False, check, LOCAL, "example.org", "status.example.org.evil.example")

    def test_behind_a_socket_without_an_address(self) -> None:
        self.assert_allowed(True, HostCheck(["a.example"]), UNIXAddress(b"/run/x"), "localhost", "a.example")
        self.assert_allowed(False, HostCheck(["a.example"]), UNIXAddress(b"/run/x"), "b.example")


class LoopbackEndpointTests(TrialCase):
    def assert_listens(self, description: str, host: str) -> None:
        reactor = MemoryReactor()
        untyped: Any = reactor
        self.successResultOf(serverFromString(untyped, loopback_endpoint(description)).listen(untyped))
        self.assertEqual(reactor.tcpServers[0][3], host)

    def test_loopback_where_nothing_is_said(self) -> None:
        self.assert_listens("8080", "127.0.0.1")
        self.assert_listens("tcp:8080", "127.0.0.1")
        self.assert_listens("tcp:port=8080", "127.0.0.1")
        self.assert_listens("tcp:8080:backlog=5", "127.0.0.1")
        self.assert_listens("tcp6:8080", "::1")

    def test_what_was_said_is_done(self) -> None:
        self.assert_listens("tcp:8080:interface=0.0.0.0", "0.0.0.0")
        self.assert_listens("tcp:8080:192.0.2.1", "192.0.2.1")
        self.assert_listens(r"tcp6:8080:interface=\:\:", "::")
        for description in ("unix:/run/status.sock", "systemd:domain=INET:index=0", "onion:80"):
            self.assertEqual(loopback_endpoint(description), description)

    def test_tls(self) -> None:
        self.assertEqual(loopback_endpoint("ssl:443:certKey=a.pem"), "ssl:443:certKey=a.pem:interface=127.0.0.1")
