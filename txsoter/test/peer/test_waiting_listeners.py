"""Listeners that wait for what can only come when they are done, or for ever."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from txsoter import Listeners
from txsoter.core.state import State
from txsoter.errors import IllegalTransition
from txsoter.service.metrics import Metrics
from txsoter.service.observers import Observer, observed
from txsoter.service.tallies import HandlerTimes
from txsoter.test.peer.cases import WholePeerTestCase, config
from txsoter.testing import ScriptedPair, remote_version
from txsoter.wire import GetBlocks, Inv, Ping, VerAck, Version


class DeadlockTests(WholePeerTestCase):
    """What is certain to wait for itself fails, and the handshake goes on."""

    def shaken(self, **listeners: Any) -> ScriptedPair:
        """Return a pair whose handshake is over in spite of the listener, which has failed."""
        pair = self.fresh(config(listeners=Listeners(**listeners)))
        pair.say(remote_version(), GetBlocks(height=0), VerAck())
        self.assertIs(pair.peer.state, State.READY)
        self.assertEqual(pair.peer.stats().handler_errors, 1)
        [failure] = self.flushLoggedErrors(IllegalTransition)
        self.assertIn("waits for itself", failure.getErrorMessage())
        return pair

    def test_when_ready_in_a_coroutine(self) -> None:
        async def on_version(peer: Any, version: Version) -> None:
            await peer.when_ready()

        self.shaken(on_version=on_version)

    def test_in_a_coroutine_that_another_awaits(self) -> None:
        async def helper(peer: Any) -> None:
            await peer.when_ready()

        async def on_version(peer: Any, version: Version) -> None:
            await helper(peer)

        self.shaken(on_version=on_version)

    def test_its_own_deferred(self) -> None:
        self.shaken(on_version=lambda peer, version: peer.when_ready())

    def test_before_the_verack_in_any_listener(self) -> None:
        self.shaken(on_getblocks=lambda peer, question: peer.when_ready())

    def test_a_message_that_waits_for_the_handshake_is_sent_all_the_same(self) -> None:
        async def on_version(peer: Any, version: Version) -> None:
            await peer.send(Ping(7))

        for listener in (on_version, lambda peer, version: peer.send(Ping(7))):
            pair = self.shaken(on_version=listener)
            self.assertIn(Ping(7), pair.hear())

    def test_a_coroutine_that_catches_it_goes_on(self) -> None:
        caught: list[Exception] = []

        async def on_version(peer: Any, version: Version) -> None:
            try:
                await peer.when_ready()
            except IllegalTransition as error:
                caught.append(error)

        pair = self.fresh(config(listeners=Listeners(on_version=on_version)))
        pair.handshake()
        self.assert_ready(pair)
        self.assertEqual((len(caught), pair.peer.stats().handler_errors), (1, 0))

    def test_what_does_come_is_waited_for(self) -> None:
        """The end, somebody else's Deferred, a peer that is ready; and whoever is not waited for may wait."""
        ready: list[Any] = []

        async def wait(peer: Any, *arguments: object) -> None:
            ready.append(await peer.when_ready())

        listeners = Listeners(
            on_version=lambda peer, version: peer.when_ready().addCallback(ready.append) and None,
            on_write=wait,
            on_inv=wait,
            on_ready=lambda peer: peer.when_ready(),
        )
        pair = self.fresh(config(listeners=listeners))
        pair.handshake()
        pair.say(Inv())
        self.assertEqual(ready, [pair.peer] * len(ready))
        self.assertGreaterEqual(len(ready), 4)
        later: Deferred[None] = Deferred()
        other = self.fresh(config(listeners=Listeners(on_version=lambda peer, version: later)))
        other.say(remote_version(), VerAck())
        self.assertIs(other.peer.state, State.VERSION_KNOWN)
        later.callback(None)
        other.pump()
        self.assert_ready(other)

    def test_one_that_waits_for_the_end(self) -> None:
        async def on_version(peer: Any, version: Version) -> None:
            await peer.when_closed()

        pair = self.fresh(config(listeners=Listeners(on_version=on_version)))
        pair.say(remote_version(), VerAck())
        pair.peer.disconnect()
        pair.pump()
        self.assertIs(pair.peer.state, State.CLOSED)
        self.assertEqual(pair.peer.stats().handler_errors, 0)


class NeverDoneTests(WholePeerTestCase):
    """A listener that is not done: one warning a minute, which names it; and its age in stats and metrics."""

    def test_the_warning_names_the_listener_and_its_age(self) -> None:
        async def stuck(peer: Any, inv: Inv) -> None:
            await Deferred()

        class Application:
            """Has a method as a listener."""

            def handle(self, how: str, peer: Any, inv: Inv) -> Deferred[None]:
                """Never end."""
                return Deferred()

        class Watching(Observer):
            """Looks on."""

            def on_inv(self, peer: Any, inv: Inv) -> None:
                """Note."""

        name = f"{type(self).__name__}.{self._testMethodName}.<locals>"
        times = HandlerTimes(lambda: 0.0)
        both = observed(times.timed(Listeners(on_inv=stuck)), [Watching()])
        for listeners, expected in (
            (Listeners(on_inv=stuck), f"{name}.stuck"),
            (Listeners(on_message={Inv: stuck}), f"{name}.stuck"),
            (Listeners(on_inv=partial(Application().handle, "so")), f"{name}.Application.handle"),
            (both, f"{name}.stuck"),
        ):
            lines = self.log_lines(LogLevel.warn)
            pair = self.scripted(config(listeners=listeners, idle_timeout=None))
            pair.say(Inv())
            pair.advance(185)
            self.assertEqual(len(lines), 3)
            for line, seconds in zip(lines, (60, 120, 180), strict=True):
                self.assertIn(f"the listener {expected} for inv has not finished for {seconds} s", line)

    def test_metrics_tell_the_age_of_the_oldest(self) -> None:
        pairs = [
            self.scripted(config(listeners=Listeners(on_inv=lambda peer, inv: Deferred()), idle_timeout=None))
            for _ in range(2)
        ]
        metrics = Metrics(lambda: [pair.peer for pair in pairs])

        def oldest() -> float:
            [metric] = [each for each in metrics.collect() if each.name == "txsoter_oldest_handler_seconds"]
            return float(metric.samples[0].value)

        self.assertEqual(oldest(), 0)
        for pair, seconds in zip(pairs, (30, 7), strict=True):
            pair.say(Inv())
            pair.advance(seconds)
        self.assertEqual(oldest(), 30)
        for pair in pairs:
            pair.peer.disconnect()
            pair.pump()
