"""Tests of :mod:`txsoter.service.web.guard` and the modules that it needs, by visitors of a status page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import ConnectionAborted
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.server import Request

from txsoter.service.status.events import MAX_STREAMS
from txsoter.service.web.access import HostCheck
from txsoter.service.web.guard import (
    BURST,
    GRACE_SECONDS,
    MAX_HELD_BYTES,
    RATE,
    REQUEST_BYTES,
    REQUEST_SECONDS,
    TAKE_SECONDS,
    Guard,
)
from txsoter.service.web.output import PIECE_BYTES
from txsoter.service.web.pages import Pages, send
from txsoter.service.web.site import QuietSite
from txsoter.test.certificates import make_certificate
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.web import Deaf, PageTestCase, Visitor

LIMIT = 2 * MAX_STREAMS

GET = b"GET / HTTP/1.1\r\nHost:localhost\r\n\r\n"


class RequestTests(PageTestCase):
    """Requests that take too long, or are too long."""

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

    def test_one_who_watches_may_stay(self) -> None:
        visitor = self.visit()
        visitor.ask("/events")
        for _ in range(500):
            self.clock.advance(1)
        self.assertTrue(visitor.connected)

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


class PipelineTests(PageTestCase):
    """Requests that do not wait for answers."""

    def setUp(self) -> None:
        super().setUp()
        self.serve()

    def answers(self, visitor: Visitor) -> int:
        return visitor.raw.count(b"HTTP/1.1 200 OK\r\n")

    def test_a_request_is_parsed_when_the_answer_before_it_was_taken(self) -> None:
        """However many were sent, a client that takes nothing has one answer made, and is closed in seconds."""
        visitors = [self.visit() for _ in range(LIMIT)]
        page = len(self.ask().body)
        for visitor in visitors:
            visitor.stall()
            visitor.say(GET * 941)
        self.assertLessEqual(self.here.factory.held, LIMIT * (page + 1000))
        visitors[0].go_on()
        self.assertGreaterEqual(self.answers(visitors[0]), 1)
        self.clock.advance(TAKE_SECONDS + 0.1)
        self.assertEqual([each.connected for each in visitors[1:]], [False] * (LIMIT - 1))
        self.assertEqual(self.here.factory.held, 0)

    def test_one_who_reads_is_answered_in_order_at_a_bounded_rate(self) -> None:
        visitor = self.visit()
        paths = [b"/status.json", b"/nothing"] * 100
        visitor.say(b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths))
        seconds = 1.0
        self.clock.advance(seconds)
        answered = visitor.raw.count(b"HTTP/1.1 ")
        # the first one is free, and a burst includes the one that uses it up
        self.assertLessEqual(answered, BURST + RATE * seconds + 2)
        self.assertGreater(answered, BURST)
        for _ in range(10):
            self.clock.advance(1)
        codes = re.findall(rb"HTTP/1.1 ([0-9]+) ", visitor.raw)
        self.assertEqual(codes, [b"200", b"404"] * 100)
        self.assertTrue(visitor.connected)

    def test_first_requests_do_not_wait_for_those_of_others(self) -> None:
        others = [self.visit() for _ in range(10)]
        for other in others:
            other.say(GET * 500)
        self.assertEqual(self.ask().code, 200)

    def test_one_who_closes_while_its_next_request_waits(self) -> None:
        """Nothing of it is left."""
        for _ in range(3):
            visitor = self.visit()
            visitor.say(GET * 900)
            visitor.transport.loseConnection()

    def test_the_last_answer_before_a_close_is_complete(self) -> None:
        """It was asked for with ``Connection: close``: the connection ends when it was taken."""
        visitor = self.visit()
        visitor.stall()
        visitor.say(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" + GET)
        self.clock.advance(1)
        self.assertTrue(visitor.connected)
        visitor.go_on()
        self.assertFalse(visitor.connected)
        self.assertEqual(self.answers(visitor), 1)
        self.assertTrue(visitor.raw.endswith(b"</html>\n"))


class SlowReaderTests(PageTestCase):
    """Answers that are taken slowly, or not at all."""

    def setUp(self) -> None:
        super().setUp()
        self.serve()

    def test_an_answer_that_nobody_takes(self) -> None:
        """It is dropped with its connection."""
        visitor = self.visit()
        visitor.stall()
        visitor.say(GET)
        self.clock.advance(TAKE_SECONDS - 0.1)
        self.assertTrue(visitor.connected)
        self.clock.advance(0.2)
        self.assertFalse(visitor.connected)
        self.assertTrue(visitor.transport.disconnected, "without waiting for what it does not take")

    def test_one_who_takes_a_piece_in_time_again_and_again(self) -> None:
        visitor = self.visit()
        visitor.stall()
        visitor.say(GET)
        while len(visitor.raw) + len(visitor.transport.buffered) < len(self.ask().body):
            self.clock.advance(TAKE_SECONDS - 0.1)
            self.assertTrue(visitor.connected)
            self.assertLessEqual(len(visitor.transport.buffered), PIECE_BYTES)
            visitor.take_piece()
        visitor.go_on()
        self.assertTrue(visitor.raw.endswith(b"</html>\n"))


class CrowdTests(PageTestCase):
    """More connections than there may be: an ordinary visitor always gets through."""

    def setUp(self) -> None:
        super().setUp()
        self.serve()

    def assert_served(self, most: int = LIMIT) -> None:
        self.assertEqual(self.ask().code, 200)
        self.assertEqual(self.ask("/status.json").code, 200)
        self.assertEqual(self.ask("/events").code, 200)
        self.assertLessEqual(len(self.here.factory.protocols), most)

    def test_those_who_say_nothing_make_room(self) -> None:
        visitors = [self.visit() for _ in range(LIMIT)]
        self.clock.advance(GRACE_SECONDS)
        self.assert_served()
        self.assertEqual([each.connected for each in visitors[:4]], [False, False, False, True])

    def test_those_who_take_nothing_make_room(self) -> None:
        visitors = [self.visit() for _ in range(LIMIT)]
        for visitor in visitors:
            visitor.stall()
            visitor.say(GET * 900)
        self.clock.advance(GRACE_SECONDS)
        self.assert_served()

    def test_one_who_asked_just_now_is_not_pushed_out(self) -> None:
        """A burst of connections is accepted before any of them was read."""
        visitor = self.visit()
        for _ in range(3 * LIMIT):
            self.visit()
        self.assertEqual(visitor.ask().code, 200)
        self.clock.advance(GRACE_SECONDS)
        self.assert_served(4 * LIMIT)

    def test_there_is_a_limit_that_nothing_passes(self) -> None:
        for _ in range(10 * LIMIT):
            self.visit()
        self.assertEqual(len(self.here.factory.protocols), 4 * LIMIT)

    def test_viewers_stay(self) -> None:
        viewers = [self.visit() for _ in range(MAX_STREAMS - 1)]
        for viewer in viewers:
            viewer.ask("/events")
        for _ in range(3):
            for _ in range(LIMIT):
                self.visit()
            self.clock.advance(GRACE_SECONDS)
        self.assert_served(4 * LIMIT)
        self.assertTrue(all(viewer.connected for viewer in viewers))

    def test_viewers_that_take_nothing_do_not_fill_the_slots(self) -> None:
        deaf = [self.visit() for _ in range(LIMIT)]
        for each in deaf:
            each.stall()
            each.say(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assert_served()
        self.clock.advance(TAKE_SECONDS + 1)
        self.assertFalse(any(each.connected for each in deaf))


class MemoryTests(TrialCase):
    """The answers of all connections together."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.answer = bytes(MAX_HELD_BYTES // 16)
        pages = Pages(HostCheck(), {b"/": self.send})
        self.guard = Guard(QuietSite(pages, self.clock), self.clock, LIMIT)

    def send(self, request: Request) -> int:
        return send(request, b"text/plain", self.answer)

    def deaf(self) -> Visitor:
        visitor = Visitor(self.guard)
        visitor.stall()
        visitor.say(GET * 3)
        self.clock.advance(0.01)
        return visitor

    def test_all_together_hold_a_bounded_number_of_bytes(self) -> None:
        """Past it, the one that has taken nothing for the longest time is closed."""
        visitors = [self.deaf() for _ in range(40)]
        self.assertLessEqual(self.guard.held, MAX_HELD_BYTES)
        self.assertGreater(self.guard.held, MAX_HELD_BYTES * 0.9)
        open_ones = [visitor.connected for visitor in visitors]
        self.assertEqual(open_ones, sorted(open_ones))
        visitor = Visitor(self.guard)
        visitor.say(GET)
        self.assertGreater(len(visitor.raw), len(self.answer))
        for visitor in visitors:
            visitor.transport.loseConnection()

    def test_an_answer_that_is_larger_than_all_may_hold(self) -> None:
        self.answer = bytes(MAX_HELD_BYTES + PIECE_BYTES + 1)
        visitor, aborted = Visitor(self.guard), list[bool]()
        # as of TCP, whose connection is lost a turn later
        visitor.transport.abortConnection = lambda: aborted.append(True)
        visitor.stall()
        visitor.say(GET * 3)
        self.assertEqual((aborted, self.guard.held), ([True], 0))
        visitor.transport.loseConnection()


class AbortTests(TrialCase):
    def test_all_end_before_it_is_told(self) -> None:
        """A real transport loses its connection only later."""
        clock = Clock()
        lost: list[Protocol] = []

        class Served(Protocol):
            def connectionLost(self, reason: Failure = connectionDone) -> None:
                lost.append(self)

        guard = Guard(Factory.forProtocol(Served), clock, 5)
        self.assertIsNone(self.successResultOf(guard.abort_all()))
        ends = []
        for _ in range(2):
            end = guard.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
            assert end is not None
            end.makeConnection(StringTransport())
            ends.append(end)
        told: list[Deferred[None]] = [guard.abort_all(), guard.abort_all()]
        # what is served knows of it then
        for each in told:
            each.addCallback(lambda _: self.assertEqual(len(lost), 2))
        for end in ends:
            for each in told:
                self.assertNoResult(each)
            end.connectionLost(Failure(ConnectionAborted()))
        for each in told:
            self.successResultOf(each)
        self.assertEqual(clock.getDelayedCalls(), [])


# Twisted's own endpoint hands pyOpenSSL what it does not want any more
@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
@pytest.mark.parametrize("tls", [False, True])
@over_sockets()
async def test_clients_on_sockets_that_read_nothing(tls: bool, tmp_path: Path) -> None:
    """The kernel holds little for them, we hold one answer, and they can all be closed at once."""
    reactor = real_reactor()
    here, there = "tcp:0:interface=127.0.0.1", "tcp:127.0.0.1:{port}"
    if tls:
        key, certificate = make_certificate(tmp_path)
        here = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        there = f"tls:localhost:{{port}}:trustRoots={certificate.parent}:endpoint=tcp\\:127.0.0.1\\:{{port}}"
    made: list[Request] = []

    def answer(request: Request) -> int:
        made.append(request)
        return send(request, b"text/plain", bytes(1_000_000))

    guard: Any = Guard(QuietSite(Pages(HostCheck(), {b"/": answer}), reactor), reactor, LIMIT)
    port: Any = await serverFromString(reactor, here).listen(guard)
    clients = []
    for _ in range(12):
        client = Deaf(GET * 900)
        clients.append(client)
        factory = Factory.forProtocol(lambda client=client: client)  # type: ignore[misc]
        await clientFromString(reactor, there.format(port=port.getHost().port)).connect(factory)
    await deferLater(reactor, 0.5, lambda: None)
    assert len(made) == 12
    # the kernels of both ends take some 160 KB of each, not megabytes
    assert 12 * 700_000 < guard.held <= 12_000_000
    await guard.abort_all()
    assert guard.held == 0
    await port.stopListening()
    for client in clients:
        await client.hear()
