"""The forms of ENDPOINT."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.testing import MemoryReactorClock

from txsoter.cli.dialling import endpoint_at
from txsoter.command_line import UsageError
from txsoter.networks import SIMNET, TESTNET1


class EndpointTests(TestCase):
    def at(self, text: str, network: Any = SIMNET) -> Any:
        return endpoint_at(MemoryReactorClock(), text, network, 10.0)

    def test_hosts_with_and_without_a_port(self) -> None:
        for text, shown in (
            ("localhost", "localhost:18555"),
            ("node.example:80", "node.example:80"),
            ("192.0.2.1", "192.0.2.1:18555"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("2001:db8::1", "[2001:db8::1]:18555"),
            ("[2001:db8::1]", "[2001:db8::1]:18555"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ):
            endpoint = self.at(text)
            self.assertIsInstance(endpoint, HostnameEndpoint)
            self.assertEqual(repr(endpoint), f"<HostnameEndpoint {shown}>")
        self.assertEqual(repr(self.at("localhost", TESTNET1)), "<HostnameEndpoint localhost:5070>")

    def test_endpoint_strings(self) -> None:
        self.assertIsInstance(self.at("tcp:192.0.2.1:80"), TCP4ClientEndpoint)
        self.assertIsInstance(self.at("unix:/run/node"), UNIXClientEndpoint)

    def test_what_is_none(self) -> None:
        for text in ("", "tcp:", "tcp:h:x", "pigeon:1:2", "host:0", "host:65536", "[::1", "a b"):
            with self.assertRaisesRegex(UsageError, "must be HOST, HOST:PORT, or a Twisted endpoint"):
                self.at(text)
