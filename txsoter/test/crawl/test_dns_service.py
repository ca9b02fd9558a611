"""Tests of :mod:`txsoter.crawl.dns_service` and :mod:`txsoter.crawl.dns_limits`."""

from __future__ import annotations

from random import Random
from typing import Any
from unittest import TestCase

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.names import dns
from twisted.python.failure import Failure

from txsoter.crawl.dns_limits import MAX_SOURCES, SOURCE_ANSWERS, TOTAL_BYTES, Limits, Verdict
from txsoter.crawl.dns_service import MAX_CONNECTIONS, MAX_QUESTIONS, TCP_SECONDS, DnsService
from txsoter.crawl.dns_zone import MAX_ADDRESSES, Zone
from txsoter.test.crawl.test_dns_zone import V4, V6, question, zone
from txsoter.test.peer.cases import over_sockets, real_reactor


class LimitsTests(TestCase):
    def verdicts(self, limits: Limits, count: int, host: str = "192.0.2.1", now: float = 0.0) -> list[Verdict]:
        return [limits.check(host, now) for _ in range(count)]

    def test_a_network_has_so_many_answers_a_second(self) -> None:
        limits = Limits()
        found = self.verdicts(limits, int(SOURCE_ANSWERS) + 4)
        self.assertEqual(found[: int(SOURCE_ANSWERS)], [Verdict.ANSWER] * int(SOURCE_ANSWERS))
        self.assertEqual(found[int(SOURCE_ANSWERS) :], [Verdict.TRUNCATE, Verdict.DROP] * 2)
        for second in range(1, 5):
            self.assertEqual(self.verdicts(limits, 100, now=float(second)).count(Verdict.ANSWER), SOURCE_ANSWERS)

    def test_neighbours_share_and_others_do_not(self) -> None:
        limits = Limits()
        self.verdicts(limits, 20)
        self.assertNotEqual(limits.check("192.0.2.254", 0.0), Verdict.ANSWER)
        self.assertEqual(limits.check("192.0.3.1", 0.0), Verdict.ANSWER)
        self.verdicts(limits, 20, "2001:db8:0:1::1")
        self.assertNotEqual(limits.check("2001:db8:0:2::9", 0.0), Verdict.ANSWER)
        self.assertEqual(limits.check("2001:db8:1::", 0.0), Verdict.ANSWER)

    def test_memory_is_bounded(self) -> None:
        limits = Limits()
        for number in range(3 * MAX_SOURCES):
            limits.check(f"10.{number // 256}.{number % 256}.1", 0.0)
        self.assertEqual(len(limits), MAX_SOURCES)

    def test_all_together_have_so_many_bytes_a_second(self) -> None:
        """However many sources are forged."""
        limits = Limits()
        sent = 0
        for number in range(200_000):
            now = number / 50_000
            if limits.check(f"10.{number // 256 % 256}.{number % 256}.1", now) is Verdict.ANSWER:
                limits.sent(500, now)
                sent += 500
        self.assertLessEqual(sent, 5.1 * TOTAL_BYTES)
        self.assertGreater(sent, 3 * TOTAL_BYTES)


class Ports(MemoryReactorClock):
    """A reactor whose UDP ports are in memory."""

    has_no_udp = False

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> Any:
        self.udp = protocol
        if self.has_no_udp:
            raise CannotListenError(interface, port, OSError("in use"))
        return super().listenTCP(port, protocol, interface=interface)


def in_memory() -> tuple[DnsService, Clock]:
    reactor: Any = Ports()
    service = DnsService(zone(), "127.0.0.1", 5353, reactor)
    # no reactor to measure by: a test's clock
    service.now = reactor.seconds
    service.startService()
    return service, reactor


class ServiceTests(TestCase):
    def setUp(self) -> None:
        self.service, self.clock = in_memory()
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def udp(self, data: bytes, host: str = "192.0.2.9", port: int = 4000) -> bytes | None:
        return self.service.answer_udp(data, host)

    def tcp(self) -> Any:
        reactor: Any = self.clock
        factory = reactor.tcpServers[0][1]
        transport: Any = StringTransportWithDisconnection()
        transport.protocol = factory.buildProtocol(None)
        transport.protocol.makeConnection(transport)
        self.addCleanup(lambda: transport.connected and transport.loseConnection())
        return transport

    def test_udp_is_limited_and_counted(self) -> None:
        found = [self.udp(question()) for _ in range(14)]
        self.assertEqual([each is not None and len(each) > 200 for each in found], [True] * 10 + [False] * 4)
        self.assertEqual([None if each is None else len(each) for each in found[10:]], [12, None, 12, None])
        self.assertEqual((self.service.answered, self.service.limited), (10, 4))
        self.clock.advance(1)
        self.assertIsNotNone(self.udp(question()))

    def test_what_deserves_no_answer_costs_nobody_a_limit(self) -> None:
        for _ in range(100):
            self.assertIsNone(self.udp(b"x"))
        self.assertGreater(len(self.udp(question()) or b""), 200)

    def test_datagrams(self) -> None:
        """Answered to where they came from, unless that is nobody's port."""
        reactor: Any = self.clock
        written: list[Any] = []

        class Transport:
            def write(self, data: bytes, addr: Any) -> None:
                written.append((data, addr))

        udp = reactor.udp
        udp.transport = Transport()
        udp.datagramReceived(question(), ("192.0.2.1", 53))
        udp.datagramReceived(question(), ("192.0.2.1", 0))
        udp.datagramReceived(b"junk", ("192.0.2.1", 53))
        self.assertEqual([addr for _, addr in written], [("192.0.2.1", 53)])

    def test_tcp_answers_what_comes_in_pieces_and_together(self) -> None:
        transport = self.tcp()
        data = question()
        framed = len(data).to_bytes(2, "big") + data
        for index in range(len(framed)):
            self.assertEqual(transport.value(), b"")
            transport.protocol.dataReceived(framed[index : index + 1])
        size = int.from_bytes(transport.value()[:2], "big")
        self.assertEqual(len(transport.value()), size + 2)
        transport.clear()
        transport.protocol.dataReceived(framed * 3)
        self.assertEqual(len(transport.value()), 3 * (size + 2))

    def test_tcp_is_bounded(self) -> None:
        transport = self.tcp()
        data = question()
        transport.protocol.dataReceived((len(data).to_bytes(2, "big") + data) * 2 * MAX_QUESTIONS)
        self.assertFalse(transport.connected)
        message = transport.value()
        size = 2 + int.from_bytes(message[:2], "big")
        self.assertEqual(len(message), MAX_QUESTIONS * size)

    def test_tcp_ends_with_what_is_no_question(self) -> None:
        for data in (b"\0\1x", b"\xff\xff", b"\x02\x01"):
            transport = self.tcp()
            transport.protocol.dataReceived(data)
            self.assertFalse(transport.connected, data)
            self.assertEqual(transport.value(), b"")

    def test_tcp_has_so_many_seconds(self) -> None:
        transport = self.tcp()
        transport.protocol.dataReceived(b"\0")
        self.clock.advance(TCP_SECONDS - 0.1)
        self.assertTrue(transport.connected)
        self.clock.advance(0.2)
        self.assertFalse(transport.connected)

    def test_the_newest_of_too_many_connections_is_let_in(self) -> None:
        transports = [self.tcp() for _ in range(MAX_CONNECTIONS + 3)]
        self.assertEqual([each.connected for each in transports[:4]], [False, False, False, True])
        self.assertTrue(transports[-1].connected)

    def test_a_udp_port_that_is_taken(self) -> None:
        reactor: Any = Ports()
        reactor.has_no_udp = True
        service = DnsService(zone(), "127.0.0.1", 5353, reactor)
        self.assertRaises(CannotListenError, service.startService)
        self.assertIsNone(service.address)

    def test_stopping_ends_connections(self) -> None:
        transports = [self.tcp() for _ in range(3)]
        done: list[Any] = []
        self.service.stopService().addCallback(done.append)
        self.assertEqual(done, [None])
        self.assertFalse(any(each.connected for each in transports))
        self.assertIsNone(self.service.address)


class Asking(Protocol):
    """Asks one question over TCP."""

    transport: Any

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.read = b""
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(len(self._data).to_bytes(2, "big") + self._data)

    def dataReceived(self, data: bytes) -> None:
        self.read += data
        if len(self.read) >= 2 + int.from_bytes(self.read[:2], "big"):
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


@over_sockets()
async def test_a_client_asks_over_loopback() -> None:
    """Over UDP, and over TCP at the same port."""
    service = DnsService(zone(), "127.0.0.1", 0, real_reactor())
    service.startService()
    host, _, port = str(service.address).rpartition(":")
    client: Any = dns.DNSDatagramProtocol(None, real_reactor())
    where = (host, int(port))
    message = await client.query(where, [dns.Query(b"x49.seed.example.org", dns.A)])
    assert len(message.answers) == MAX_ADDRESSES
    message = await client.query(where, [dns.Query(b"seed.example.org", dns.AAAA)])
    assert {record.payload.address for record in message.answers} <= {each.ip.packed for each in V6}
    message = await client.query(where, [dns.Query(b"nothing.seed.example.org", dns.A)])
    assert message.rCode == dns.ENAME
    await client.transport.stopListening()
    asking = await connectProtocol(clientFromString(real_reactor(), f"tcp:{host}:{port}"), Asking(question()))
    await asking.ended
    message = dns.Message()
    message.fromStr(asking.read[2:])
    assert len(message.answers) == MAX_ADDRESSES
    assert service.answered == 4
    await service.stopService()


@over_sockets()
async def test_a_port_that_is_taken() -> None:
    """It says so, and leaves nothing open."""
    first = DnsService(zone(V4), "127.0.0.1", 0, real_reactor())
    first.startService()
    port = int(str(first.address).rpartition(":")[2])
    second = DnsService(Zone("a.org", Random(1)), "127.0.0.1", port, real_reactor())
    with pytest.raises(CannotListenError):
        second.startService()
    await second.stopService()
    await first.stopService()
    second.startService()
    await second.stopService()
