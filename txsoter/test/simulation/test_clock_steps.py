"""The wall clock is set in a network: no connection ends of it, and pings go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import TestCase
from unittest.mock import patch

from txsoter import SIMNET, CloseReason, Listeners, PeerConfig
from txsoter.clock import wall
from txsoter.core.state import State
from txsoter.peer import wakeup
from txsoter.test.simulation.scenario import STEPS
from txsoter.testing import CorePeer, SimulatedNetwork
from txsoter.wire import Message, Ping

LATE = 10.0
"""Seconds by which a ping may be late."""

PING_INTERVAL = 30.0


class SteppedNetwork:
    """Protocols and cores that do nothing but ping, while the wall clock is set again and again.

    :ivar pings: times of its pings, by peer.
    :ivar closed: the reasons of those that ended.
    """

    def __init__(self, seed: int) -> None:
        self.network = network = SimulatedNetwork(seed)
        self.pings: dict[Any, list[float]] = {}
        self.closed: list[CloseReason] = []
        listeners = Listeners(
            on_ready=self._ready, on_write=self._wrote, on_closed=lambda peer, reason: self.closed.append(reason)
        )
        config = PeerConfig(network=SIMNET, listeners=listeners, ping_interval=PING_INTERVAL, idle_timeout=60.0)
        nodes = [network.node(config) for _ in range(4)]
        cores = [network.core_node(config) for _ in range(4)]
        for node in nodes:
            node.listen()
        for here, there in zip(nodes, nodes[1:] + nodes[:1], strict=True):
            network.clock.callLater(network.random.uniform(0, 100), self._dial, here, there)
        for core, other in zip(cores, cores[1:] + cores[:1], strict=True):
            network.clock.callLater(network.random.uniform(0, 100), core.connect, other)

    def _dial(self, here: Any, there: Any) -> None:
        here.connect(there).addErrback(lambda failure: None)

    def _ready(self, peer: Any) -> None:
        self.pings[peer] = [self.network.clock.seconds()]

    def _wrote(self, peer: Any, size: int, message: Message | None, error: object) -> None:
        if isinstance(message, Ping):
            self.pings[peer].append(self.network.clock.seconds())

    def live(self, seconds: float) -> None:
        """Let time go on, and set the wall clock at random moments."""
        network = self.network
        end = network.clock.seconds() + seconds
        while network.clock.seconds() < end:
            network.run(network.random.uniform(0, 60))
            network.clock.step_wall(network.random.choice(STEPS))

    def longest_waits(self) -> list[float]:
        """The longest time between two pings, or without one until now, of each peer."""
        now = self.network.clock.seconds()
        return [max(b - a for a, b in zip(times, [*times[1:], now], strict=True)) for times in self.pings.values()]


class ClockStepTests(TestCase):
    """Steps of +400 s, +1 day, -1 h and -1 day."""

    def test_no_connection_ends_and_no_ping_is_late(self) -> None:
        for seed in range(20):
            with self.subTest(seed=seed):
                stepped = SteppedNetwork(seed)
                stepped.live(600)
                self.assertEqual(stepped.closed, [])
                self.assertEqual({peer.state for peer in stepped.pings}, {State.READY})
                # both ends of four connections of protocols, and of four of cores
                self.assertEqual(len(stepped.pings), 16)
                self.assertEqual(sum(isinstance(peer, CorePeer) for peer in stepped.pings), 8)
                self.assertLessEqual(max(stepped.longest_waits()), PING_INTERVAL + LATE)
                stepped.network.close()

    def test_time_stamps_follow_the_wall_clock(self) -> None:
        stepped = SteppedNetwork(1)
        stepped.network.run(200)
        peers = list(stepped.pings)
        before = [peer.stats().connected_at for peer in peers]
        for step in STEPS:
            stepped.network.clock.step_wall(step)
        self.assertEqual(
            [round(peer.stats().connected_at, 3) for peer in peers], [round(when + sum(STEPS), 3) for when in before]
        )
        stepped.network.close()

    def test_peers_that_measure_by_the_wall_clock_are_found(self) -> None:
        by_wall: Callable[..., Any] = wall
        with patch.object(wakeup, "monotonic", by_wall):
            stepped = SteppedNetwork(1)
            stepped.live(600)
        late = max(stepped.longest_waits(), default=0.0) > PING_INTERVAL + LATE
        self.assertTrue(stepped.closed or late)
