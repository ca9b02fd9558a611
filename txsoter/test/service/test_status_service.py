"""Tests of :mod:`txsoter.service.status.service`: its life, and the whole over real sockets."""

from __future__ import annotations

import json
from typing import Any

from twisted.application.service import IService
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from txsoter import SIMNET, PeerConfig
from txsoter.service import PeerService
from txsoter.service.status import StatusService
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.service.web import Here, PageTestCase, broken


class ServiceTests(PageTestCase):
    def warnings(self) -> list[str]:
        """What is logged as a warning from now on."""
        lines: list[str] = []

        def note(event: Any) -> None:
            if event["log_level"] is LogLevel.warn:
                lines.append(formatEvent(event))

        publisher: Any = globalLogPublisher
        publisher.addObserver(note)
        self.addCleanup(publisher.removeObserver, note)
        return lines

    def test_life(self) -> None:
        """It listens while it runs, and when it stops nothing is left: no port, no connection, no timer."""
        status = self.serve()
        verifyObject(IService, status)
        self.assertEqual(status.url, "http://127.0.0.1:8080/")
        looking, idle = self.visit(), self.visit()
        looking.ask("/events")
        self.successResultOf(status.stopService())
        self.assertEqual((self.here.port.open, looking.connected, idle.connected), (False, False, False))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(status.url)

    def test_started_again(self) -> None:
        """Then it is up for no longer than since that."""
        status = self.serve()
        self.successResultOf(status.stopService())
        self.clock.advance(50)
        status.startService()
        self.assertEqual(self.shown()["node"]["started_at"], 1050.0)

    def test_stopped_before_it_was_started(self) -> None:
        status = StatusService(Here(), lambda: (), PeerConfig(network=SIMNET), clock=self.clock)
        self.successResultOf(status.stopService())

    def test_a_port_that_is_taken(self) -> None:
        """The call that starts it raises that, and nothing was begun."""
        here: Any = Here()
        here.listen = lambda factory: fail(CannotListenError("127.0.0.1", 8080, OSError("taken")))
        status = StatusService(here, lambda: (), PeerConfig(network=SIMNET), clock=self.clock)
        self.assertRaises(CannotListenError, status.startService)

    def test_privileged(self) -> None:
        """The port is opened while there is the right to, and only once."""
        status = StatusService(self.here, lambda: (), PeerConfig(network=SIMNET), clock=self.clock)
        status.privilegedStartService()
        factory = self.here.factory
        self.assertIsNotNone(factory)
        self.here.factory = None
        status.startService()
        self.assertIsNone(self.here.factory)
        self.successResultOf(status.stopService())

    def test_a_page_that_others_can_see_is_warned_of(self) -> None:
        warnings = self.warnings()
        self.serve()
        self.assertEqual(warnings, [])
        other = Here(IPv4Address("TCP", "0.0.0.0", 8080))
        status = StatusService(other, lambda: (), PeerConfig(network=SIMNET), clock=self.clock)
        status.startService()
        self.assertEqual(warnings, ["the status page at http://0.0.0.0:8080/ can be seen by whoever reaches it"])
        self.successResultOf(status.stopService())

    def test_a_socket_in_the_file_system(self) -> None:
        warnings = self.warnings()
        here = Here(UNIXAddress(b"/run/status.sock"))
        status = StatusService(here, lambda: (), PeerConfig(network=SIMNET), clock=self.clock)
        status.startService()
        self.assertEqual((status.url, warnings), ("unix:/run/status.sock", []))
        self.successResultOf(status.stopService())

    def test_sampling_that_fails_is_told_once_and_goes_on(self) -> None:
        status = self.serve()
        self.peer()
        self.clock.advance(5)
        peers = status._picture._peers
        for failures in (1, 0):
            status._picture._peers = broken
            self.clock.advance(5)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), failures)
        status._picture._peers = peers
        for _ in range(2):
            self.clock.advance(5)
        self.assertEqual(len(self.shown()["peers"][0]["history"]["received"]), 2)
        status._picture._peers = broken
        self.clock.advance(5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        status._picture._peers = peers

    def test_within_a_peer_service(self) -> None:
        """It is a part of it: starts and stops with it, and its observer hears of its peers."""
        config = PeerConfig(network=SIMNET, clock=self.clock)
        status = StatusService(self.here, lambda: service.peers, config, clock=self.clock)
        service = PeerService(config, self.clock, observers=[status.observer])
        untyped: Any = status
        untyped.setServiceParent(service)
        service.startService()
        self.assertEqual(status.snapshot()["peers"], [])
        listeners = service.config.listeners
        for name in ("on_inv", "on_headers", "on_ready", "on_closed"):
            self.assertIsNotNone(getattr(listeners, name))
        for name in ("on_read", "on_write", "on_ping", "on_tx", "on_block"):
            self.assertIsNone(getattr(listeners, name))
        self.successResultOf(service.stopService())
        self.assertFalse(status.running)


class Raw(Protocol):
    """Says something, and notes what comes until a condition holds."""

    def __init__(self, said: bytes, enough: bytes) -> None:
        self.said = said
        self.enough = enough
        self.heard = b""
        self.done: Deferred[bytes] = Deferred()
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.said)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        if self.enough in self.heard and not self.done.called:
            self.done.callback(self.heard)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def visit(reactor: Any, status: StatusService, path: str, enough: bytes) -> Raw:
    assert status.url is not None
    port = status.url.rstrip("/").rpartition(":")[2]
    raw = Raw(request(path), enough)
    factory = Factory.forProtocol(lambda: raw)
    await clientFromString(reactor, f"tcp:127.0.0.1:{port}").connect(factory)
    await raw.done
    return raw


@over_sockets()
async def test_over_sockets() -> None:
    """Two services of peers find each other; the page of one shows the other, and events follow one another."""
    reactor = real_reactor()
    config = PeerConfig(network=SIMNET, allow_self_connections=True)
    endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
    status = StatusService(endpoint, lambda: service.peers, config)
    service = PeerService(config, observers=[status.observer])
    untyped: Any = status
    untyped.setServiceParent(service)
    listening = service.listen(serverFromString(reactor, "tcp:0:interface=127.0.0.1"), "here")
    service.startService()
    looking = await visit(reactor, status, "/events", b"}\n\n")
    other = PeerService(config.replace(user_agent_name="visitor"))
    try:
        assert listening.port is not None
        address: Any = listening.port.getHost()
        ready = other.dial(clientFromString(reactor, f"tcp:127.0.0.1:{address.port}"), "there").whenConnected()
        other.startService()
        await ready
        while b"visitor 0.1.0" not in looking.heard:
            looking.enough, looking.done = b"visitor 0.1.0", Deferred()
            await looking.done
        asked = await visit(reactor, status, "/status.json", b'"capture":null}')
        head, _, body = asked.heard.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        shown = json.loads(body)
        assert [(row["agent_name"], row["direction"]) for row in shown["peers"]] == [("visitor 0.1.0", "inbound")]
    finally:
        await other.stopService()
        await service.stopService()
    await looking.ended
    await asked.ended
