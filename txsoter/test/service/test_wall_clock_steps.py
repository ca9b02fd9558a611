"""Somebody sets the wall clock while a service runs: what it decides, and what its page shows, is as if nobody had."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from txsoter import PeerConfig
from txsoter.networks import REGTEST
from txsoter.service import PeerService
from txsoter.service.book import AddressBook, BookKeeper
from txsoter.service.misbehaviour import ScoreKeeper
from txsoter.service.outbound import OutboundService
from txsoter.service.scores import Scores
from txsoter.service.status import Ban, Dialled, StatusParts, StatusService
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.support import HOUR, NOW, STEPS
from txsoter.test.service.web import Here
from txsoter.testing import SimulatedNetwork, SimulatedNode

HOURS = 26
"""A remote that never answers is given up after 24."""

AGED = ("connected_at", "last_receive", "last_send", "first_at", "at", "until", "retry_at", "started_at")
"""The times that the page shows, by their names."""


@implementer(IStreamClientEndpoint)
class Road:
    """An endpoint that notes when it is dialled."""

    def __init__(self, run: Run, to: SimulatedNode) -> None:
        self._run = run
        self._to = to

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        network = self._run.network
        self._run.dials.append((round(network.clock.seconds() - NOW, 6), self._to.host))
        return self._run.ours.client_endpoint(self._to).connect(protocolFactory)


class Run:
    """A node for a day and two hours, in which the wall clock is set each second hour.

    :ivar dials: when it dialled whom.
    :ivar hours: what there was each hour, all times as ages.
    """

    def __init__(self, steps: Sequence[int]) -> None:
        self.network = SimulatedNetwork(seed=11)
        clock = self.network.clock
        self.network.run(NOW)
        self.dials: list[tuple[float, str]] = []
        self.hours: list[Any] = []
        self.ours = self.network.node(PeerConfig(network=REGTEST))
        self.others = [self.network.node(PeerConfig(network=REGTEST)) for _ in range(4)]
        self.nobody = self.network.node(PeerConfig(network=REGTEST))
        self.book = AddressBook(REGTEST, clock, allow_unroutable=True, random=Random(2))
        keeper = BookKeeper(self.book, random=Random(3))
        self.scores = ScoreKeeper(Scores(refusal=6.0 * HOUR, half_life=HOUR), lambda: self.peers.peers, clock)
        parts = StatusParts(book=self.book.sizes, bans=self._bans, dialled=self._dialled)
        self.status = StatusService(Here(), lambda: self.peers.peers, self.ours.config, parts=parts, clock=clock)
        self.peers = PeerService(
            self.ours.config,
            clock,
            lambda failures: min(30.0 * failures, 900.0),
            observers=[keeper, self.scores, self.status.observer],
        )
        self.outbound = OutboundService(
            self.peers,
            keeper,
            3,
            lambda host, port: Road(self, self._at(host)),
            may_dial=self.scores.may_dial,
            random=Random(4),
        )
        self._run(steps)

    def _at(self, host: str) -> SimulatedNode:
        [node] = [node for node in self.network.nodes if node.host == host]
        return node

    def _bans(self) -> list[Ban]:
        return [Ban(each.address, each.until, each.reason) for each in self.scores.entries()]

    def _dialled(self) -> list[Dialled]:
        return [Dialled(each.name, each.given_up or "", None, str(each.failures)) for each in self.peers.dialled]

    def _run(self, steps: Sequence[int]) -> None:
        for node in self.others:
            node.listen()
        parts: list[Any] = [self.book, self.status, self.peers, self.outbound]
        for part in parts:
            part.startService()
        for node in self.others:
            self.book.name(node.host, REGTEST.default_port)
        self.peers.dial(Road(self, self.nobody), "nobody")
        self.scores.scores.add(self.others[0].host, 100, "a malformed message came", self.network.clock.seconds())
        self.scores.scores.add("10.9.9.9", 90, "stalled", self.network.clock.seconds())
        for hour in range(HOURS):
            self.network.run(HOUR)
            if hour % 5 == 3:
                # somebody breaks our connections: others are dialled
                for link in self.network.links:
                    link.reset()
            if hour % 2 and steps:
                self.network.clock.step_wall(steps[hour // 2 % len(steps)])
            self.hours.append(self._seen())
        for part in reversed(parts):
            self.network.wait_for(maybeDeferred(part.stopService))
        self.network.close()

    def _seen(self) -> dict[str, Any]:
        picture = self.status._picture
        picture.look()
        page = json.loads(picture.json())
        now = self.book.now()
        known = sorted(self.book._buckets.known.values(), key=lambda each: each.place) if self.book._buckets else []
        return {
            "page": _aged(page, page["now"]),
            "book": [(each.row(), each.is_stale(now), each.chance(now)) for each in known],
            "scores": [(each.address, each.score, each.until) for each in self.scores.entries()],
        }


def _aged(value: Any, now: float) -> Any:
    """The page's content with ages instead of times, and with numbers of peers of its own."""
    if isinstance(value, list):
        return [_aged(each, now) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: round(now - each, 2) if name in AGED and each is not None else _aged(each, now)
        for name, each in value.items()
        if name not in ("now", "id", "time_offset")
    }


class WallClockStepTests(TrialCase):
    def test_dials_bans_addresses_and_ages_are_the_same_whatever_is_done_to_the_wall_clock(self) -> None:
        calm, stepped = Run([]), Run(STEPS)
        self.assertEqual(stepped.dials, calm.dials)
        for hour, (one, other) in enumerate(zip(stepped.hours, calm.hours, strict=True)):
            for what in other:
                self.assertEqual(one[what], other[what], f"{what} after {hour + 1} h")
        self.assertEqual(len(calm.hours), HOURS)
        # all of it happened: a ban that ended, a remote that was given up, connections that were made again
        first, last = calm.hours[0]["page"], calm.hours[-1]["page"]
        self.assertEqual([ban["until"] is not None for ban in first["bans"]], [True, False])
        self.assertEqual(last["bans"], [])
        self.assertEqual([each["state"] for each in last["dialled"]], ["it has not answered once in 24 hours"])
        self.assertEqual(calm.hours[-4]["page"]["dialled"][0]["state"], "")
        self.assertEqual((last["totals"]["peers"], last["totals"]["closes"] > 10), (3, True))
        self.assertGreater(max(peer["connected_at"] for peer in last["peers"]), HOUR)
