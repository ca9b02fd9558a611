"""Tests of :mod:`txsoter.service.web.guard`: requests that never end, and too many connections."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from txsoter.service.status.events import MAX_STREAMS
from txsoter.service.web.guard import REQUEST_BYTES, REQUEST_SECONDS, Guard
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.web import PageTestCase


class GuardTests(PageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.serve()

    def test_one_who_says_nothing(self) -> None:
        visitor = self.visit()
        self.clock.advance(REQUEST_SECONDS - 0.1)
        self.assertTrue(visitor.connected)
        self.clock.advance(0.2)
        self.assertFalse(visitor.connected)

    def test_one_who_says_a_little_now_and_then(self) -> None:
        """The time is that of the whole request: a byte does not begin it anew."""
        visitor = self.visit()
        for byte in b"GET / HTTP/1.1\r\nHost: loc":
            if visitor.connected:
                visitor.say(bytes([byte]))
                self.clock.advance(1)
        self.assertFalse(visitor.connected)

    def test_time_begins_anew_with_each_request(self) -> None:
        visitor = self.visit()
        for _ in range(5):
            self.clock.advance(REQUEST_SECONDS - 1)
            self.assertEqual(visitor.ask().code, 200)
        self.clock.advance(REQUEST_SECONDS + 1)
        self.assertFalse(visitor.connected)

    def test_one_who_looks_may_stay(self) -> None:
        visitor = self.visit()
        visitor.ask("/events")
        for _ in range(500):
            self.clock.advance(1)
        self.assertTrue(visitor.connected)

    def test_an_answer_that_nobody_takes(self) -> None:
        """It is dropped with its connection."""
        visitor = self.visit()
        visitor.ask("/")
        visitor.stall()
        self.clock.advance(REQUEST_SECONDS + 1)
        self.assertFalse(visitor.connected)
        self.assertTrue(visitor.transport.disconnected)

    def test_a_request_without_end(self) -> None:
        """Neither its first line, its headers nor its body may be long, announced or not."""
        begin = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
        for start in (b"", b"GET /", begin + b"a: ", begin + b"Content-Length: 1000000000\r\n\r\n"):
            visitor = self.visit()
            visitor.say(start)
            said = 0
            while visitor.connected and said < 10 * REQUEST_BYTES:
                visitor.say(b"x" * 1000)
                said += 1000
            self.assertLessEqual(said, REQUEST_BYTES + 1000)

    def test_bytes_are_those_of_one_request(self) -> None:
        visitor = self.visit()
        for _ in range(3 * REQUEST_BYTES // 8000):
            self.assertEqual(visitor.ask(cookie="x" * 8000).code, 200)

    def test_no_more_than_so_many_connections(self) -> None:
        visitors = [self.visit() for _ in range(2 * MAX_STREAMS)]
        self.assertFalse(self.visit().connected)
        visitors[0].transport.loseConnection()
        self.assertTrue(self.visit().connected)
        self.assertTrue(all(visitor.connected for visitor in visitors[1:]))

    def test_bad_requests(self) -> None:
        for request in (
            b"\r\n\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/1.1\r\nno header\r\n\r\n",
            b"\x16\x03\x01\x00\xff" * 9,
        ):
            visitor = self.visit()
            visitor.say(request)
            self.clock.advance(REQUEST_SECONDS + 1)
            self.assertFalse(visitor.connected)


class AbortTests(TrialCase):
    def test_all_end_before_it_is_told(self) -> None:
        """A real transport loses its connection only later."""
        clock = Clock()
        guard = Guard(Factory.forProtocol(Protocol), clock, 5)
        self.assertIsNone(self.successResultOf(guard.abort_all()))
        ends = []
        for _ in range(2):
            end = guard.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
            assert end is not None
            end.makeConnection(StringTransport())
            ends.append(end)
        told: list[Deferred[None]] = [guard.abort_all(), guard.abort_all()]
        for end in ends:
            for each in told:
                self.assertNoResult(each)
            end.connectionLost(Failure(ConnectionAborted()))
        for each in told:
            self.successResultOf(each)
        self.assertEqual(clock.getDelayedCalls(), [])
