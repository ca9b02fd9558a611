"""Tests of :mod:`txsoter.service.status.history`."""

from __future__ import annotations

from typing import Any

import attrs

from txsoter.core.stats import PeerStats
from txsoter.service.status.history import MAX_RATES, MAX_ROUND_TRIPS, Histories, History
from txsoter.test.peer.support import TrialCase
from txsoter.testing import connected_pair


def stats(id: int = 1, **fields: Any) -> PeerStats:
    """A picture with some fields changed."""
    pair = connected_pair(handshake=False)
    real = pair.client.stats()
    pair.link.reset()
    return attrs.evolve(real, **{"id": id, "bytes_received": 0, "bytes_sent": 0, **fields})


class HistoriesTests(TrialCase):
    def setUp(self) -> None:
        self.histories = Histories()
        self.some = stats()

    def sample(self, now: float, **fields: Any) -> History:
        self.histories.sample(now, [attrs.evolve(self.some, **fields)])
        history = self.histories.of(1)
        assert history is not None
        return history

    def test_rates(self) -> None:
        """Bytes a second since the sample before; the first only says where to begin."""
        self.assertEqual(list(self.sample(100.0, bytes_received=5000, bytes_sent=100).received), [])
        self.sample(105.0, bytes_received=6000, bytes_sent=100)
        history = self.sample(107.0, bytes_received=6001, bytes_sent=300)
        self.assertEqual((list(history.received), list(history.sent)), ([200, 0], [0, 100]))

    def test_round_trips(self) -> None:
        """Each is noted once, and a ping in flight changes nothing."""
        for now, micros in ((1.0, None), (2.0, 700), (3.0, 700), (4.0, 900), (5.0, 700)):
            history = self.sample(now, ping_micros=micros, ping_time=now)
        self.assertEqual(list(history.round_trips), [700, 900, 700])

    def test_bounds(self) -> None:
        for now in range(1, 500):
            history = self.sample(now, bytes_received=now, ping_micros=now)
        self.assertEqual(list(history.received), [1] * MAX_RATES)
        self.assertEqual(len(history.sent), MAX_RATES)
        self.assertEqual(list(history.round_trips), list(range(500 - MAX_ROUND_TRIPS, 500)))

    def test_a_clock_that_is_put_back_or_stands_still_gives_no_rate(self) -> None:
        for now, count in ((100.0, 0), (100.0, 50), (40.0, 100), (41.0, 110)):
            history = self.sample(now, bytes_received=count)
        self.assertEqual(list(history.received), [10])

    def test_those_who_have_gone_are_forgotten(self) -> None:
        self.histories.sample(1.0, [self.some, attrs.evolve(self.some, id=2)])
        before = self.histories.of(2)
        self.histories.sample(2.0, [attrs.evolve(self.some, id=2), attrs.evolve(self.some, id=3)])
        self.assertEqual(len(self.histories), 2)
        self.assertIsNone(self.histories.of(1))
        self.assertIs(self.histories.of(2), before)
