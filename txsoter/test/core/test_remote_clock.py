"""The time that a remote is accountable for: it stands still while we keep the remote waiting."""

from __future__ import annotations

from unittest import TestCase

from txsoter.core.remote_clock import RemoteClock


class RemoteClockTests(TestCase):
    def test_it_leaves_out_the_time_in_which_it_stood_still(self) -> None:
        clock = RemoteClock()
        self.assertEqual(clock.seconds(1000.0), 1000.0)
        clock.stop(1005.0)
        self.assertEqual([clock.seconds(now) for now in (1005.0, 1055.0)], [1005.0, 1005.0])
        clock.go_on(1055.0)
        self.assertEqual([clock.seconds(now) for now in (1055.0, 1058.0)], [1005.0, 1008.0])
        clock.stop(1058.0)
        clock.go_on(1065.0)
        self.assertEqual(clock.seconds(1066.0), 1009.0)

    def test_it_goes_on_when_the_last_of_several_reasons_is_gone(self) -> None:
        clock = RemoteClock()
        clock.stop(10.0)
        clock.stop(20.0)
        clock.go_on(30.0)
        self.assertEqual(clock.seconds(40.0), 10.0)
        clock.go_on(50.0)
        self.assertEqual(clock.seconds(60.0), 20.0)

    def test_a_time_of_the_remotes_is_later_by_what_it_stood_still(self) -> None:
        clock = RemoteClock()
        self.assertEqual(clock.due(100.0, 0.0), 100.0)
        clock.stop(10.0)
        clock.go_on(25.0)
        self.assertEqual(clock.due(100.0, 30.0), 115.0)

    def test_while_it_stands_still_a_time_moves_on_and_is_at_least_a_second_away(self) -> None:
        clock = RemoteClock()
        clock.stop(10.0)
        self.assertEqual([clock.due(100.0, now) for now in (10.0, 40.0, 1000.0)], [100.0, 130.0, 1090.0])
        self.assertEqual([clock.due(10.0, now) for now in (10.0, 11.0)], [11.0, 12.0])
        self.assertEqual(clock.due(5.0, 50.0), 51.0)
