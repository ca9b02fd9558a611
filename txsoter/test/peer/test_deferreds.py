"""Deferreds of callers who wait for a connection: fired or failed once, and quietly where nobody has asked."""

from __future__ import annotations

import gc
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from txsoter.errors import LocalError
from txsoter.peer.deferreds import Waiters, fail_quietly
from txsoter.test.peer.support import TrialCase


class FailQuietlyTests(TrialCase):
    """Most callers of ``send()`` do not look at what it returns."""

    def test_nobody_asked_is_no_logged_error(self) -> None:
        for _ in range(2):
            fail_quietly(Deferred(), Failure(LocalError()))
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_who_asked_and_does_not_handle_it_is_a_logged_error(self) -> None:
        watched: Deferred[None] = Deferred()
        watched.addCallback(lambda _: None)
        fail_quietly(watched, Failure(LocalError()))
        del watched
        gc.collect()
        self.assertEqual(len(self.flushLoggedErrors(LocalError)), 1)

    def test_who_asks_later_gets_the_failure(self) -> None:
        done: Deferred[None] = Deferred()
        error = LocalError("late")
        fail_quietly(done, Failure(error))
        self.assertIs(self.failureResultOf(done, LocalError).value, error)

    def test_a_cancelled_one_does_not_mind(self) -> None:
        handled: list[Failure] = []
        done: Deferred[None] = Deferred()
        done.addErrback(lambda failure: handled.append(failure))
        done.cancel()
        fail_quietly(done, Failure(LocalError()))
        self.assertEqual([failure.type for failure in handled], [CancelledError])


class WaitersTests(TrialCase):
    def test_each_caller_has_one_of_his_own_and_all_are_fired_in_order(self) -> None:
        waiters = Waiters()
        fired: list[tuple[int, str]] = []

        def note(number: int, result: str) -> None:
            fired.append((number, result))

        for number in range(3):
            waiters.add().addCallback(partial(note, number))
        waiters.succeed("ready")
        waiters.succeed("again")
        self.assertEqual(fired, [(number, "ready") for number in range(3)])

    def test_all_fail(self) -> None:
        waiters = Waiters()
        waiting = [waiters.add() for _ in range(3)]
        waiters.fail(LocalError("the end"))
        for each in waiting:
            self.failureResultOf(each, LocalError)

    def test_a_callback_may_cancel_another(self) -> None:
        waiters = Waiters()
        first, second = waiters.add(), waiters.add()
        first.addCallback(lambda _: second.cancel())
        waiters.succeed("ready")
        self.failureResultOf(second, CancelledError)

    def test_one_that_was_cancelled_is_forgotten(self) -> None:
        waiters = Waiters()
        waiting: Deferred[Any] = waiters.add()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        waiters.succeed("ready")
