"""The deadlines of a connection: one table of when each is due, and what happens then."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from math import inf

import attrs

from txsoter.core.announcements import trickle
from txsoter.core.channel import ROUNDING, Channel
from txsoter.core.dispatch_table import handler_name
from txsoter.core.events import ABORT, Notice, SlowHandler
from txsoter.core.state import State
from txsoter.errors import CloseCause
from txsoter.wire import Ping

__all__ = ["DEADLINES", "Deadline", "Precision", "handle_timeout", "next_timeouts"]

WRITE_RATE = 256 * 1024
"""Bytes in the send queue that give the remote one more second to take some."""

SLOW_HANDLER = 60.0
"""Seconds after which a handler that has not finished is reported, and again each time."""


class Precision(enum.IntEnum):
    """The timer that serves a deadline, for adapters with several.

    COARSE: up to a tick late, one timer for all connections. EXACT: in time, a timer of the connection's own. TRICKLE:
    in time, repeated while vectors wait.
    """

    COARSE = 0
    EXACT = 1
    TRICKLE = 2


@attrs.frozen
class Deadline:
    """A row of the table.

    :ivar due: gives the time at which it has expired, or None.
    :ivar expire: called then; None where asking for the next event is all, which an adapter does anyway.
    """

    name: str
    precision: Precision
    due: Callable[[Channel], float | None]
    expire: Callable[[Channel], None] | None


# -- handshake ---------------------------------------------------------------------------------


def _handshake_due(channel: Channel) -> float | None:
    timeout = channel.config.negotiate_timeout
    if timeout is None or channel.connected_at is None or channel.state is State.READY:
        return None
    return channel.remote_clock.due(channel.connected_at + timeout, channel.now)


def _handshake_expired(channel: Channel) -> None:
    detail = f"still {channel.state.value} after {channel.config.negotiate_timeout} s"
    channel.close(CloseCause.NEGOTIATION_TIMEOUT, detail)


# -- idle --------------------------------------------------------------------------------------


def _idle_due(channel: Channel) -> float | None:
    timeout = channel.config.idle_timeout
    return None if timeout is None else channel.remote_clock.due(channel.heard_at + timeout, channel.now)


def _idle_expired(channel: Channel) -> None:
    channel.close(CloseCause.IDLE)


# -- ping --------------------------------------------------------------------------------------


def _ping_due(channel: Channel) -> float | None:
    return channel.pings.due


def _ping_expired(channel: Channel) -> None:
    if channel.pings.is_due(channel.now + ROUNDING):
        channel.send_own(Ping(channel.random.getrandbits(64)))


# -- answers -----------------------------------------------------------------------------------


def _stall_due(channel: Channel) -> float | None:
    return None if channel.stall is None else channel.stall.due


def _stall_expired(channel: Channel) -> None:
    assert channel.stall is not None
    command = channel.stall.check(channel.now, channel.remote_clock.seconds(channel.now) + ROUNDING)
    if command is not None:
        channel.close(CloseCause.STALLED, command=command)


def _request_due(channel: Channel) -> float | None:
    return channel.requests.due


def _request_expired(channel: Channel) -> None:
    channel.end_requests(channel.requests.expired(channel.now + ROUNDING))


# -- handlers ----------------------------------------------------------------------------------


def _slow_handler_due(channel: Channel) -> float | None:
    return None if channel.in_hand is None else channel.slow_handler_due


def _slow_handler_expired(channel: Channel) -> None:
    assert channel.in_hand is not None
    channel.slow_handler_due = channel.now + SLOW_HANDLER
    command = channel.in_hand[0].shared.command
    listener = "" if channel.handler is None else handler_name(channel.handler)
    channel.events.append(SlowHandler(command, channel.now - channel.handled_since, listener))


# -- writing and reading -----------------------------------------------------------------------


def _write_due(channel: Channel) -> float | None:
    timeout, queue = channel.config.write_timeout, channel.queue
    return None if timeout is None or not queue.paused else queue.last_progress + timeout + queue.waiting / WRITE_RATE


def _write_expired(channel: Channel) -> None:
    channel.close(CloseCause.WRITE_TIMEOUT)


def _read_on_due(channel: Channel) -> float | None:
    when = channel.read_on_due()
    # once it has expired, there is nothing to wait for until the remote takes something
    return None if when is None or when <= channel.now + ROUNDING else when


def _rate_due(channel: Channel) -> float | None:
    if channel.rate_limit is None:
        return None
    when = channel.rate_limit.due()
    return when if when > channel.now + ROUNDING else None


# -- closing -----------------------------------------------------------------------------------


def _close_due(channel: Channel) -> float | None:
    timeout, since = channel.config.close_timeout, channel.closing_since
    return None if timeout is None or since is None else since + timeout


def _close_expired(channel: Channel) -> None:
    channel.closing_since = None
    channel.events.append(ABORT)


# -- announcements -----------------------------------------------------------------------------


def _trickle_due(channel: Channel) -> float | None:
    return channel.announcer.due


DEADLINES: tuple[Deadline, ...] = (
    Deadline("handshake", Precision.COARSE, _handshake_due, _handshake_expired),
    Deadline("idle", Precision.COARSE, _idle_due, _idle_expired),
    Deadline("ping", Precision.COARSE, _ping_due, _ping_expired),
    # before the stall that closes: who has asked is told that nothing came in time
    Deadline("request", Precision.EXACT, _request_due, _request_expired),
    Deadline("stall", Precision.COARSE, _stall_due, _stall_expired),
    Deadline("slow handler", Precision.COARSE, _slow_handler_due, _slow_handler_expired),
    Deadline("write", Precision.EXACT, _write_due, _write_expired),
    Deadline("read on", Precision.EXACT, _read_on_due, None),
    Deadline("rate", Precision.EXACT, _rate_due, None),
    Deadline("trickle", Precision.TRICKLE, _trickle_due, trickle),
)
"""Every deadline of a connection that is open, in the order in which they are looked at."""

CLOSING_DEADLINES = (Deadline("close", Precision.COARSE, _close_due, _close_expired),)
"""Those of a connection that is closing."""


def _deadlines(channel: Channel) -> Iterable[Deadline]:
    if channel.state is State.CLOSING:
        return CLOSING_DEADLINES
    return () if channel.connected_at is None or channel.state is State.CLOSED else DEADLINES


def next_timeouts(channel: Channel) -> list[float | None]:
    """Return the time of the earliest deadline, or None, of each :class:`Precision`."""
    earliest: list[float | None] = [None, None, None]
    for deadline in _deadlines(channel):
        due = deadline.due(channel)
        if due is not None:
            before = earliest[deadline.precision]
            if before is None or due < before:
                earliest[deadline.precision] = due
    coarse = earliest[Precision.COARSE]
    channel.coarse_due = inf if coarse is None else coarse
    return earliest


def handle_timeout(channel: Channel) -> None:
    """Do what is due."""
    for deadline in _deadlines(channel):
        due = deadline.due(channel)
        if deadline.expire is None or due is None or due > channel.now + ROUNDING:
            continue
        try:
            deadline.expire(channel)
        except Exception as error:
            channel.events.append(Notice(f"the {deadline.name} timer failed", error))
            channel.close(CloseCause.LOCAL_FAILURE, f"a timer failed: {error}")
        if channel.state.is_closing:
            return
