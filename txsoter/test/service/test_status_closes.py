"""Tests of :mod:`txsoter.service.status.closes`."""

from __future__ import annotations

from typing import Any

import attrs

from txsoter import CloseCause, ClosedBy, CloseReason
from txsoter.service.status.closes import Close, Closes
from txsoter.service.status.sightings import Announcer
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.test_status_history import stats

LOST = CloseReason(ClosedBy.NETWORK, CloseCause.CONNECTION_LOST)
IDLE = CloseReason(ClosedBy.LOCAL, CloseCause.IDLE)


class ClosesTests(TrialCase):
    def setUp(self) -> None:
        self.closes = Closes(limit=5)
        self.some = stats()

    def add(self, address: str, reason: CloseReason = LOST, now: float = 10.0, **fields: Any) -> None:
        ended = attrs.evolve(self.some, **{"address": address, "connected_at": 4.0, "inbound": True, **fields})
        self.closes.add(Announcer(ended.id, address, "agent"), ended, reason, now, ended.connected_at)

    def latest(self) -> list[Close]:
        return list(self.closes.latest())

    def test_the_newest_first(self) -> None:
        self.add("192.0.2.1:5", id=11)
        self.add("192.0.2.2:5", IDLE, 20.0, inbound=False, id=12)
        newest, oldest = self.latest()
        self.assertEqual((newest.remote.id, newest.inbound, newest.reason, newest.at), (12, False, IDLE, 20.0))
        self.assertEqual((newest.seconds, newest.times), (16.0, 1))
        self.assertEqual((oldest.remote.address, oldest.inbound, oldest.reason), ("192.0.2.1:5", True, LOST))

    def test_the_oldest_go(self) -> None:
        for number in range(100):
            self.add(f"192.0.2.{number}:5")
        self.assertEqual([each.remote.address for each in self.latest()][:2], ["192.0.2.99:5", "192.0.2.98:5"])
        self.assertEqual(len(self.closes), 5)
        self.assertEqual(self.closes.causes, {CloseCause.CONNECTION_LOST: 100})

    def test_one_who_comes_again_and_again_is_one(self) -> None:
        """From whichever port, so that it does not drive out all others; another cause is another."""
        self.add("192.0.2.1:5")
        for port in range(100):
            self.add(f"[2001:db8::1]:{port}", IDLE, 10.0 + port)
        self.add("[2001:db8::1]:7", LOST)
        times = [(each.remote.address, each.reason, each.times) for each in self.latest()]
        self.assertEqual(
            times, [("[2001:db8::1]:7", LOST, 1), ("[2001:db8::1]:99", IDLE, 100), ("192.0.2.1:5", LOST, 1)]
        )

    def test_those_we_dial_are_told_apart_by_port(self) -> None:
        for address in ("192.0.2.1:5", "192.0.2.1:6", "unix:/run/a"):
            self.add(address, inbound=False)
        self.assertEqual(len(self.closes), 3)

    def test_what_they_had_said_still_counts(self) -> None:
        for _ in range(2):
            self.add("a:1", bytes_received=7, bytes_sent=5, messages_received=3, messages_sent=2)
        closes = self.closes
        self.assertEqual((closes.bytes_received, closes.bytes_sent), (14, 10))
        self.assertEqual((closes.messages_received, closes.messages_sent), (6, 4))

    def test_one_that_was_never_made_lasted_no_time(self) -> None:
        self.add("a:1", connected_at=None)
        self.assertEqual([each.seconds for each in self.latest()], [0.0])
