"""Tests of :mod:`txsoter.service.observers`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from txsoter import Listeners
from txsoter.service import Observer, observed
from txsoter.test.peer.cases import WholePeerTestCase, config
from txsoter.wire import GetHeaders, Inv, Ping


class Noting(Observer):
    def __init__(self) -> None:
        self.noted: list[Any] = []

    def on_ready(self, peer: Any) -> None:
        self.noted.append("ready")

    def on_inv(self, peer: Any, inv: Inv) -> None:
        self.noted.append(inv)

    def on_read(self, peer: Any, size: int, message: Any, error: Any) -> None:
        self.noted.append((size, message.command))


class Failing(Observer):
    def on_inv(self, peer: Any, inv: Inv) -> None:
        raise ZeroDivisionError


class ObservedTests(WholePeerTestCase):
    def test_what_no_observer_overrides_stays_as_it_is(self) -> None:
        listeners = Listeners(on_ping=lambda peer, ping: None)
        self.assertEqual(observed(listeners, [Observer(), Observer()]), listeners)
        self.assertIsNone(observed(listeners, [Noting()]).on_tx)

    def test_they_are_told_before_the_application(self) -> None:
        noting = Noting()
        listeners = Listeners(on_inv=lambda peer, inv: noting.noted.append("listener"))
        pair = self.scripted(config(listeners=observed(listeners, [noting])))
        noting.noted.remove("ready")
        noting.noted.clear()
        pair.say(Inv(), Ping(1))
        self.assertEqual(noting.noted, [(25, "inv"), Inv(()), "listener", (32, "ping")])

    def test_the_applications_answer_is_still_waited_for(self) -> None:
        gate: Deferred[None] = Deferred()
        listeners = Listeners(on_inv=lambda peer, inv: gate)
        pair = self.scripted(config(listeners=observed(listeners, [Noting()])))
        pair.say(Inv(), GetHeaders())
        self.assertNotIn("getheaders", pair.peer.stats().received)
        gate.callback(None)
        self.assertIn("getheaders", pair.peer.stats().received)

    def test_one_that_fails_stops_neither_the_others_nor_the_application(self) -> None:
        noting, heard = Noting(), []
        listeners = Listeners(on_inv=lambda peer, inv: heard.append(inv))
        pair = self.scripted(config(listeners=observed(listeners, [Failing(), noting])))
        pair.say(Inv())
        self.assertEqual(heard, [Inv()])
        self.assertIn(Inv(), noting.noted)
        self.assertEqual(pair.peer.stats().handler_errors, 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
