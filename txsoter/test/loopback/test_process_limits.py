"""Processes of a loopback network, and their limits."""

from __future__ import annotations

import gc
import resource
from unittest import TestCase, mock

from txsoter.testing.loopback.plan import LoopbackOptions, make_plan
from txsoter.testing.loopback.process_limits import TooManyFiles, file_limit, own_process, processes_for


class ProcessLimitsTests(TestCase):
    # 100 ports, and two files for each of 800 connections
    plan = make_plan(LoopbackOptions(nodes=100, degree=8, dead=50))

    def test_one_process_if_it_may_open_as_many_files(self) -> None:
        self.assertEqual(processes_for(self.plan, None, 2700), 1)
        self.assertEqual(processes_for(self.plan, 3, 2700), 3)

    def test_the_least_number_of_processes_that_the_limit_allows(self) -> None:
        # a quarter is left to visitors: 1,700 files in processes of 1,200
        self.assertEqual(processes_for(self.plan, None, 1600), 2)
        self.assertGreaterEqual(processes_for(self.plan, None, 300), 8)

    def test_too_many_files_says_what_to_do(self) -> None:
        star = make_plan(LoopbackOptions(nodes=500, topology="star"))
        wrong = (
            (
                self.plan,
                1,
                1024,
                "100 nodes with 800 connections need 1700 open files in a process, which may have 768",
            ),
            (self.plan, 1, 1024, "raise the limit (ulimit -Hn, now 1024), or use more processes"),
            (self.plan, 2, 1024, "in each of 2 processes"),
            # the node in the middle is in one process
            (star, None, 400, "raise the limit (ulimit -Hn, now 400)"),
        )
        for plan, processes, limit, words in wrong:
            with self.assertRaises(TooManyFiles) as caught:
                processes_for(plan, processes, limit)
            self.assertIn(words, str(caught.exception))
        self.assertNotIn("more processes", str(caught.exception))

    def test_the_soft_limit_is_raised_to_the_hard_one(self) -> None:
        before = gc.get_threshold()
        self.addCleanup(gc.set_threshold, *before)
        with (
            mock.patch("resource.getrlimit", return_value=(1024, 20_000)),
            mock.patch("resource.setrlimit") as setrlimit,
        ):
            own_process()
            self.assertEqual(file_limit(), 20_000)
        setrlimit.assert_called_once_with(resource.RLIMIT_NOFILE, (20_000, 20_000))
        self.assertGreater(gc.get_threshold(), before)
