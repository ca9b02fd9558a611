"""The states of a connection: one table of transitions; anything else raises, and changes nothing."""

from __future__ import annotations

from unittest import TestCase

from txsoter.core.state import TRANSITIONS, State, Trigger, transition
from txsoter.errors import CloseCause, ClosedBy, IllegalTransition
from txsoter.test.core.ends import ConnectionTestCase

FORWARD = {
    (State.CONNECTING, Trigger.CONNECTED): State.NEGOTIATING,
    (State.NEGOTIATING, Trigger.VERSION): State.VERSION_KNOWN,
    (State.VERSION_KNOWN, Trigger.ACCEPTED): State.NEGOTIATED,
    (State.NEGOTIATED, Trigger.VERACK): State.READY,
}
OPEN = (State.CONNECTING, State.NEGOTIATING, State.VERSION_KNOWN, State.NEGOTIATED, State.READY)


def expected(state: State, trigger: Trigger) -> State | None:
    """Return the state that follows, or None: ready one step at a time, and the end from anywhere before it."""
    if trigger is Trigger.LOST and state is not State.CLOSED:
        return State.CLOSED
    if trigger is Trigger.CLOSE and state in OPEN:
        return State.CLOSED if state is State.CONNECTING else State.CLOSING
    return FORWARD.get((state, trigger))


class TransitionTests(TestCase):
    def test_the_states(self) -> None:
        names = ["connecting", "negotiating", "version known", "negotiated", "ready", "closing", "closed"]
        self.assertEqual([state.value for state in State], names)
        self.assertEqual(list(TRANSITIONS), list(State))

    def test_every_transition_is_legal_or_raises(self) -> None:
        for state in State:
            for trigger in Trigger:
                following = expected(state, trigger)
                if following is not None:
                    self.assertIs(transition(state, trigger), following)
                    continue
                with self.assertRaises(IllegalTransition) as caught:
                    transition(state, trigger)
                self.assertIn(f"is {state.value} cannot go on when {trigger.value}", str(caught.exception))

    def test_a_connection_is_closing_or_may_send_or_neither(self) -> None:
        self.assertEqual([state for state in State if state.is_closing], [State.CLOSING, State.CLOSED])
        self.assertEqual([state for state in State if state.may_send], [State.NEGOTIATED, State.READY])


class IllegalTransitionTests(ConnectionTestCase):
    def test_a_connection_that_is_made_twice_goes_on_as_it_was(self) -> None:
        end = self.ready()
        with self.assertRaises(IllegalTransition):
            end.connection.connection_made(5.0, 0.0, "198.51.100.1", 1)
        self.assertIs(end.state, State.READY)
        self.assertEqual((end.channel.host, end.channel.connected_at), ("192.0.2.1", 0.0))

    def test_a_connection_that_has_ended_cannot_be_made(self) -> None:
        end = self.end()
        end.close()
        with self.assertRaises(IllegalTransition):
            end.connection.connection_made(0.0, 0.0, None, 0)
        self.assertIs(end.state, State.CLOSED)

    def test_the_first_end_is_the_one_that_counts(self) -> None:
        end = self.ready()
        end.close(CloseCause.DISCONNECT, "first")
        end.close(CloseCause.IDLE, "second")
        for detail in ("third", "fourth"):
            end.lose(ClosedBy.NETWORK, CloseCause.CONNECTION_LOST, detail)
        reason = end.reason
        assert reason is not None
        self.assertEqual((reason.by, reason.cause, reason.detail), (ClosedBy.LOCAL, CloseCause.DISCONNECT, "first"))
