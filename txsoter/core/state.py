"""The states of a connection: one table of transitions, and everything that is derived from a state."""

from __future__ import annotations

import enum

from txsoter.errors import IllegalTransition

__all__ = ["TRANSITIONS", "State", "Trigger", "transition"]


class State(enum.Enum):
    """Progress of a connection.

    :ivar is_closing: the connection has ended or is ending.
    :ivar may_send: the application's messages go to the send queue, instead of waiting for the handshake.
    """

    CONNECTING = "connecting"
    NEGOTIATING = "negotiating"
    VERSION_KNOWN = "version known"
    NEGOTIATED = "negotiated"
    READY = "ready"
    CLOSING = "closing"
    CLOSED = "closed"

    is_closing: bool
    may_send: bool


# plain attributes: a property of an enum costs ten times as much to read
for _state in State:
    _state.is_closing = _state in (State.CLOSING, State.CLOSED)
    _state.may_send = _state in (State.NEGOTIATED, State.READY)


class Trigger(enum.Enum):
    """A cause of a transition."""

    CONNECTED = "the transport is connected"
    VERSION = "the remote's version passed the checks"
    ACCEPTED = "the on_version listeners accepted it, and our verack is queued"
    VERACK = "the remote's verack came"
    CLOSE = "one side ends the connection"
    LOST = "the transport is gone"


TRANSITIONS: dict[State, dict[Trigger, State]] = {
    State.CONNECTING: {
        Trigger.CONNECTED: State.NEGOTIATING,
        Trigger.CLOSE: State.CLOSED,
        Trigger.LOST: State.CLOSED,
    },
    State.NEGOTIATING: {
        Trigger.VERSION: State.VERSION_KNOWN,
        Trigger.CLOSE: State.CLOSING,
        Trigger.LOST: State.CLOSED,
    },
    State.VERSION_KNOWN: {
        Trigger.ACCEPTED: State.NEGOTIATED,
        Trigger.CLOSE: State.CLOSING,
        Trigger.LOST: State.CLOSED,
    },
    State.NEGOTIATED: {
        Trigger.VERACK: State.READY,
        Trigger.CLOSE: State.CLOSING,
        Trigger.LOST: State.CLOSED,
    },
    State.READY: {
        Trigger.CLOSE: State.CLOSING,
        Trigger.LOST: State.CLOSED,
    },
    State.CLOSING: {
        Trigger.LOST: State.CLOSED,
    },
    State.CLOSED: {},
}
"""Every legal transition. A connection only goes forward."""


# by values: members of an enum are slow to look up
_NEXT = {
    state.value: {trigger.value: following for trigger, following in row.items()} for state, row in TRANSITIONS.items()
}


def transition(state: State, trigger: Trigger) -> State:
    """Return the state that follows ``state``.

    :raises IllegalTransition: if :data:`TRANSITIONS` has no such transition.
    """
    following = _NEXT[state._value_].get(trigger._value_)
    if following is None:
        raise IllegalTransition(f"a connection that is {state.value} cannot go on when {trigger.value}")
    return following
