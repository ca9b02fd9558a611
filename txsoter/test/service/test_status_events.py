"""Tests of :mod:`txsoter.service.status.events`: who looks is told what changes, and no more."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface.verify import verifyObject

from txsoter.service.status.events import HEARTBEAT, MAX_STREAMS, EventStream
from txsoter.service.web.guard import TAKE_SECONDS
from txsoter.test.peer.cases import as_tx
from txsoter.test.service.web import PageTestCase, Visitor, broken
from txsoter.wire import Inv


class EventTests(PageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.serve()
        # what is sampled is a change too; let it come to rest
        self.clock.advance(5)

    def look(self) -> Visitor:
        visitor = self.visit()
        answer = visitor.ask("/events")
        self.assertEqual((answer.code, answer.headers["content-type"]), (200, "text/event-stream"))
        return visitor

    def peers_of(self, events: list[dict[str, Any]]) -> list[int]:
        return [event["totals"]["peers"] for event in events]

    def advance(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)

    def test_the_first_comes_at_once(self) -> None:
        """It is what is at ``/status.json``."""
        self.peer()
        expected = self.shown()
        (event,) = self.look().events()
        self.assertEqual(event, expected)

    def test_a_browser_is_told_when_to_come_again(self) -> None:
        self.assertIn(b"retry: 2000\n\n", self.look().raw)

    def test_nothing_changed(self) -> None:
        """Then nothing is sent, but for a sign of life: a comment, and an event that the page can see."""
        visitor = self.look()
        visitor.events()
        self.advance(int(HEARTBEAT) - 1)
        self.assertEqual(visitor.raw, b"")
        self.advance(1)
        self.assertEqual(visitor.raw.split(b"\r\n")[1], b":\nevent: beat\ndata: 1\n\n")
        visitor.events()
        self.advance(int(HEARTBEAT) - 1)
        self.assertEqual(visitor.raw, b"")

    def test_what_changes_is_told_within_two_seconds(self) -> None:
        visitor = self.look()
        self.advance(3)
        visitor.events()
        self.peer()
        self.advance(2)
        self.assertEqual(self.peers_of(visitor.events()), [1])
        self.close(self.pairs[0])
        self.advance(2)
        self.assertEqual(self.peers_of(visitor.events()), [0])

    def test_one_event_a_second_at_most(self) -> None:
        """However much changes."""
        pair = self.peer()
        self.clock.advance(0.7)
        visitor = self.look()
        for number in range(100):
            pair.say(Inv([as_tx(number)]))
            self.clock.advance(0.1)
        times = [event["now"] for event in visitor.events()]
        self.assertGreater(len(times), 8)
        gaps = [later - earlier for earlier, later in pairwise(times)]
        self.assertGreaterEqual(min(gaps), 0.99)

    def test_a_picture_serves_all(self) -> None:
        """However many look, what there is is looked at once a second; and not at all when nobody does."""
        made: list[int] = []
        picture: Any = self.status._picture
        content = picture.content

        def look() -> Any:
            made.append(1)
            return content()

        picture.content = look
        self.advance(20)
        self.assertEqual(made, [])
        visitors = [self.look() for _ in range(20)]
        for _ in range(20):
            self.ask("/status.json")
        self.assertEqual(len(made), 1)
        self.advance(10)
        self.assertLessEqual(len(made), 11)
        for visitor in visitors:
            visitor.transport.loseConnection()
        del made[:]
        self.advance(20)
        self.assertEqual(made, [])

    def test_when_nobody_looks_no_timer_runs_for_it(self) -> None:
        """There is the one that samples, and that of a connection that may ask again."""
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        first, second = self.look(), self.look()
        self.assertEqual((len(self.clock.getDelayedCalls()), self.status.lookers), (2, 2))
        first.transport.loseConnection()
        self.assertEqual((len(self.clock.getDelayedCalls()), self.status.lookers), (2, 1))
        second.transport.loseConnection()
        self.assertEqual((len(self.clock.getDelayedCalls()), self.status.lookers), (1, 0))
        self.assertEqual(self.look().events()[0]["totals"]["peers"], 0)

    def test_a_full_house_keeps_nobody_out(self) -> None:
        """The one that has been there the longest makes room: a browser reconnects."""
        visitors = [self.look() for _ in range(MAX_STREAMS)]
        self.look()
        self.assertEqual([visitor.connected for visitor in visitors], [False] + [True] * (MAX_STREAMS - 1))
        self.look()
        self.assertEqual([visitor.connected for visitor in visitors[:3]], [False, False, True])
        self.assertEqual(self.status.lookers, MAX_STREAMS)

    def test_one_that_takes_nothing_makes_room_first(self) -> None:
        visitors = [self.look() for _ in range(MAX_STREAMS)]
        visitors[5].stall()
        self.peer()
        self.advance(2)
        self.look()
        self.assertEqual([index for index, each in enumerate(visitors) if not each.connected], [5])

    def test_who_takes_nothing_is_sent_nothing(self) -> None:
        """What waits for it stays as it was; when it takes again it gets that, and then what there is, once."""
        visitor, other = self.look(), self.look()
        visitor.stall()
        pair = self.peer()
        self.advance(1)
        visitor.events()
        for number in range(int(TAKE_SECONDS) - 2):
            pair.say(Inv([as_tx(number)]))
            self.clock.advance(1)
        self.assertEqual(visitor.raw, b"")
        self.assertGreaterEqual(len(other.events()), int(TAKE_SECONDS) - 2)
        visitor.go_on()
        (waited,) = visitor.events()
        self.assertEqual(waited["totals"]["transactions"], 0)
        self.clock.advance(1)
        (event,) = visitor.events()
        self.assertEqual(event["totals"]["transactions"], int(TAKE_SECONDS) - 2)

    def test_who_takes_nothing_is_dropped_in_seconds(self) -> None:
        visitor, other = self.look(), self.look()
        visitor.stall()
        self.peer()
        self.advance(1)
        self.advance(int(TAKE_SECONDS) - 1)
        self.assertTrue(visitor.connected)
        self.advance(2)
        self.assertFalse(visitor.connected)
        self.assertTrue(visitor.transport.disconnected, "without waiting for what it does not take")
        self.assertTrue(other.connected)
        self.assertEqual(self.status.lookers, 1)

    def test_time_begins_anew_when_all_was_taken(self) -> None:
        visitor = self.look()
        pair = self.peer()
        for number in range(4):
            visitor.stall()
            pair.say(Inv([as_tx(number)]))
            self.advance(int(TAKE_SECONDS) - 1)
            self.assertTrue(visitor.connected)
            visitor.go_on()
            self.advance(1)
        self.assertGreater(len(visitor.events()), 4)

    def test_where_looking_takes_long_it_is_done_less_often(self) -> None:
        """So that it takes a twentieth of our time at most."""
        seconds = iter(range(10_000))
        self.status._streams.timer = lambda: next(seconds) * 0.25
        made: list[int] = []
        picture: Any = self.status._picture
        content = picture.content

        def look() -> Any:
            made.append(1)
            return content()

        picture.content = look
        self.look()
        self.advance(60)
        self.assertLessEqual(len(made), 1 + 60 / 5)
        self.assertGreater(len(made), 8)

    def test_a_failure_of_ours_is_told_and_looked_past(self) -> None:
        """Those who look stay, and it is tried again, but not once a second."""
        visitor = self.look()
        self.advance(2)
        visitor.events()
        peers = self.status._picture._peers
        self.status._picture._peers = broken
        self.advance(4)
        logged = [failure.getTraceback() for failure in self.flushLoggedErrors(ZeroDivisionError)]
        self.assertEqual(len([each for each in logged if "in _look" in each]), 1)
        self.status._picture._peers = peers
        self.peer()
        self.advance(12)
        self.assertEqual(self.peers_of(visitor.events())[-1:], [1])

    def test_producer(self) -> None:
        visitor = self.look()
        (stream,) = self.status._streams._streams
        self.assertIsInstance(stream, EventStream)
        verifyObject(IPushProducer, stream)
        visitor.transport.loseConnection()

    def test_what_it_says_meanwhile_is_held_back_and_bounded(self) -> None:
        visitor = self.look()
        for _ in range(40):
            if visitor.connected:
                visitor.say(b"x" * 1024)
        self.assertFalse(visitor.connected)
        self.assertEqual(self.status.lookers, 0)
