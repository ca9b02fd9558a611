"""Tests of :mod:`txsoter.service.tallies`: sums, round trips, and how long listeners take."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from txsoter import CloseCause, ClosedBy, CloseReason, Listeners
from txsoter.core.traffic import Traffic
from txsoter.service.tallies import BOUNDS, UNTIMED, HandlerTimes, RoundTrips, Tally
from txsoter.test.peer.cases import WholePeerTestCase, config
from txsoter.test.peer.support import TrialCase
from txsoter.wire import GetHeaders, Inv, Reject, SendHeaders


class TallyTests(WholePeerTestCase):
    """Tally."""

    def test_adds_up(self) -> None:
        """Sums are of all peers that were added; what they told stays as it was, and so does a copy."""
        tally, all_stats = Tally(), []
        for number in range(4):
            pair = self.scripted(inbound=number % 2 > 0)
            pair.say(*(Inv() for _ in range(number)))
            pair.peer.send(SendHeaders())
            all_stats.append(pair.peer.stats())
        told = repr(all_stats)
        tally.add(all_stats[0])
        tally.end(all_stats[1], CloseReason(ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED))
        copied = tally.copy()
        for stats in all_stats[2:]:
            tally.add(stats)
        self.assertEqual(repr(all_stats), told)
        self.assertEqual((tally.received["inv"], tally.sent["sendheaders"]), (Traffic(6, 6 * 25), Traffic(4, 4 * 24)))
        self.assertEqual(tally.bytes_read, sum(stats.bytes_received for stats in all_stats))
        self.assertEqual(tally.handshakes, {("outbound", "completed"): 2, ("inbound", "completed"): 2})
        self.assertEqual(tally.closes, {("remote_closed", "remote"): 1})
        self.assertEqual((copied.received["inv"], copied.sent["sendheaders"]), (Traffic(1, 25), Traffic(2, 48)))
        self.assertEqual(copied.handshakes, {("outbound", "completed"): 1, ("inbound", "completed"): 1})


class RoundTripsTests(TrialCase):
    """RoundTrips."""

    def test_bounds(self) -> None:
        """A bound holds what is just as long; what is longer than all of them is counted, too."""
        for index, bound in enumerate(BOUNDS):
            trips = RoundTrips()
            for micros in (bound - 1, bound, bound + 1):
                trips.add(micros / 1_000_000)
            self.assertEqual(trips.counts[index : index + 2], [2, 1])
            self.assertEqual((sum(trips.counts), trips.micros), (3, 3 * bound))
        self.assertEqual(len(trips.counts), len(BOUNDS) + 1)
        self.assertEqual(list(trips.up_to())[-2:], [2, 3])


class HandlerTimesTests(WholePeerTestCase):
    """HandlerTimes."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.handlers = HandlerTimes(self.clock.seconds)

    def seconds(self, name: str) -> float:
        return self.handlers.times[name].seconds

    def test_what_is_not_there_costs_nothing(self) -> None:
        """No listener, no clock; nor for those that are called with every message, for pings and for pongs."""
        self.assertEqual(self.handlers.timed(Listeners()), Listeners())
        cheap: Any = {name: lambda *arguments: None for name in UNTIMED}
        self.assertEqual(self.handlers.timed(Listeners(**cheap)), Listeners(**cheap))
        self.assertEqual(self.handlers.times, {})

    def test_plain(self) -> None:
        """A function's time is that of its calls, all together, each listener's of its own."""

        def slow(peer: Any, message: Any) -> None:
            self.clock.advance(2)

        pair = self.scripted(config(listeners=self.handlers.timed(Listeners(on_inv=slow, on_sendheaders=slow))))
        pair.say(Inv(), Inv(), SendHeaders())
        self.assertEqual((self.seconds("inv"), self.seconds("sendheaders")), (4, 2))

    def test_waits_count(self) -> None:
        """A Deferred's time ends when it fires, a coroutine's when it returns; the next message waits as ever."""
        gates: list[Deferred[None]] = [Deferred(), Deferred()]

        async def coroutine(peer: Any, message: Any) -> None:
            self.clock.advance(1)
            await gates[1]

        listeners = Listeners(on_inv=lambda peer, inv: gates[0], on_getheaders=coroutine)
        pair = self.scripted(config(listeners=self.handlers.timed(listeners)))
        pair.say(Inv(), GetHeaders())
        self.clock.advance(3)
        self.assertNotIn("getheaders", pair.peer.stats().received)
        self.assertEqual(self.seconds("inv"), 0)
        gates[0].callback(None)
        self.assertEqual(pair.peer.stats().received["getheaders"].messages, 1)
        self.clock.advance(4)
        gates[1].callback(None)
        self.assertEqual((self.seconds("inv"), self.seconds("getheaders")), (3, 5))

    def test_failures_count(self) -> None:
        """The time of one that fails counts, and it fails as ever."""
        waiting: Deferred[None] = Deferred()

        def raising(peer: Any, message: Any) -> None:
            self.clock.advance(2)
            raise ZeroDivisionError

        listeners = Listeners(on_inv=raising, on_getheaders=lambda peer, message: waiting)
        pair = self.scripted(config(listeners=self.handlers.timed(listeners)))
        pair.say(Inv(), GetHeaders())
        self.clock.advance(3)
        waiting.errback(ZeroDivisionError())
        self.assertEqual((self.seconds("inv"), self.seconds("getheaders")), (2, 3))
        self.assertEqual(pair.peer.stats().handler_errors, 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_results_are_handed_on(self) -> None:
        """An on_version listener still refuses by what it returns."""

        def refusing(peer: Any, version: Any) -> Reject:
            self.clock.advance(2)
            return Reject(b"version", 0x10, b"not you")

        pair = self.scripted(config(listeners=self.handlers.timed(Listeners(on_version=refusing))))
        self.assert_closed(pair, CloseCause.REFUSED_BY_LISTENER)
        self.assertEqual(self.seconds("version"), 2)
