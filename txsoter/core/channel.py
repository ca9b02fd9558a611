"""The parts of a connection, and the four things that every rule may do with them: encode, queue, emit, close."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, Protocol

from txsoter.core.announcer import Announcer
from txsoter.core.config import ConnectionConfig
from txsoter.core.dispatch_table import DispatchTable
from txsoter.core.events import Closed, Event, Notice, Observed, Received, RequestEnded, SendFailed, WriteFailed
from txsoter.core.handshake import Handshake
from txsoter.core.keepalive import PingTracker
from txsoter.core.rate_limit import RateLimit
from txsoter.core.reader import MESSAGE_OVERHEAD, Reader
from txsoter.core.remote_clock import RemoteClock
from txsoter.core.requests import Ended, Request, Requests
from txsoter.core.sanitize import sanitize
from txsoter.core.send_queue import SendQueue
from txsoter.core.stall import StallDetector
from txsoter.core.state import State, Trigger, transition
from txsoter.core.traffic import Counters
from txsoter.errors import (
    CloseCause,
    ClosedBy,
    CloseReason,
    ConnectionClosed,
    FieldError,
    HandshakeFailed,
    LocalError,
    SendQueueFull,
    UnsupportedMessage,
)
from txsoter.wire import Encoding, Message, Reject, write_message
from txsoter.wire.framing import HEADER_SIZE

__all__ = ["ROUNDING", "Channel", "RandomSource"]

ROUNDING = 1e-6
"""Seconds that do not count: what sums of floats leave."""


class RandomSource(Protocol):
    """A source of nonces and jitter, such as :class:`random.SystemRandom`."""

    def random(self) -> float:
        """Return a number from 0 up to 1."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """Return a number of ``k`` bits."""
        ...


class Channel:
    """State of one connection. Times are seconds of the adapter's clock.

    :ivar now: time of the adapter's last call.
    :ivar wall_offset: seconds since 1970 less ``now``.
    :ivar host: the remote's IP or host name, or None.
    :ivar reason: of the connection's end, once that has begun.
    :ivar events: those that :meth:`Connection.next_event` gives next.
    :ivar in_hand: the message that is being handled, or None.
    :ivar heard_at: the remote's time at which its last message came.
    :ivar connected_at: time at which the connection was made, or None.
    :ivar closing_since: time at which its end began; None again once the transport was to be aborted.
    :ivar last_reject: of the remote, if that is its last message.
    :ivar coarse_due: time of the earliest coarse deadline when the adapter asked last.
    :ivar rearm: a deadline may have come nearer; the adapter clears it when it has asked for the next one.
    """

    __slots__ = (
        "announcer",
        "closing_since",
        "coarse_due",
        "config",
        "connected_at",
        "counters",
        "events",
        "handled_since",
        "handshake",
        "heard_at",
        "host",
        "in_hand",
        "inbound",
        "last_reject",
        "max_height",
        "now",
        "pings",
        "port",
        "queue",
        "random",
        "rate_limit",
        "reader",
        "rearm",
        "reason",
        "remote_clock",
        "requests",
        "slow_handler_due",
        "stall",
        "state",
        "table",
        "wall_offset",
        "wants_headers",
    )

    def __init__(self, config: ConnectionConfig, inbound: bool, table: DispatchTable, random: RandomSource) -> None:
        self.config = config
        self.inbound = inbound
        self.table = table
        self.random = random
        self.state = State.CONNECTING
        self.now = 0.0
        self.wall_offset = 0.0
        self.host: str | None = None
        self.port = 0
        self.reason: CloseReason | None = None
        self.events: list[Event] = []
        self.in_hand: Received | None = None
        self.heard_at = 0.0
        self.handled_since = 0.0
        self.slow_handler_due: float | None = None
        self.connected_at: float | None = None
        self.closing_since: float | None = None
        self.last_reject: Reject | None = None
        self.max_height = 0
        self.wants_headers = False
        self.rearm = False
        self.coarse_due = inf
        self.counters = Counters()
        self.handshake = Handshake(config.protocol_version)
        self.reader = Reader(config.network.magic, config.protocol_version, table, self.counters)
        self.queue = SendQueue(0.0)
        self.requests = Requests()
        self.pings = PingTracker()
        self.remote_clock = RemoteClock()
        timeout = config.stall_timeout
        self.stall = None if timeout is None else StallDetector(timeout, config.stall_headers, config.stall_interval)
        self.announcer = Announcer(config.max_known_inventory, config.max_trickle_queue, config.trickle_interval)
        self.rate_limit: RateLimit | None = None

    # -- sending -------------------------------------------------------------------------------

    def encode(self, message: Message, encoding: Encoding) -> bytes:
        """Return the frame of ``message`` at the version in use.

        :raises LocalError: if it cannot be encoded.
        """
        if not isinstance(message, Message):
            raise FieldError("message", message, "a message of txsoter.wire")
        if not isinstance(encoding, Encoding):
            raise FieldError("encoding", encoding, "an Encoding of txsoter.wire")
        return write_message(message, self.config.network.magic, self.handshake.pver, encoding)

    def send(self, frame: bytes, message: Message, encoding: Encoding, token: Any) -> None:
        """Queue a message of the application's, or let it wait for the handshake."""
        queue = self.queue
        if self.state.may_send and queue.waiting + len(frame) <= self.config.hard_queue_limit:
            queue.put(frame, message, token)
            return
        if self.state.is_closing:
            self.fail_sends((token,), self.closed_error())
            return
        early = self.handshake.early
        waiting = queue.waiting if early is None else early.size
        if waiting + len(frame) > self.config.hard_queue_limit:
            error = SendQueueFull(waiting, len(frame), self.config.hard_queue_limit)
            self.events.append(WriteFailed(message, error))
            self.fail_sends((token,), error)
        elif early is not None:
            early.add(message, encoding, token, len(frame))

    def send_own(self, message: Message) -> None:
        """Send a message of our own rules.

        :raises LocalError: if it cannot be encoded.
        """
        self.send(self.encode(message, Encoding.BASE), message, Encoding.BASE, None)

    def fail_sends(self, tokens: Iterable[Any], error: Exception) -> None:
        """Tell the callers of messages that will not be sent."""
        for token in tokens:
            if isinstance(token, Request):
                self.end_requests(self.requests.fail(token, error))
            elif token is not None:
                self.events.append(SendFailed(token, error))

    def end_requests(self, ended: Iterable[Ended]) -> None:
        """Tell the callers of requests that are over."""
        for token, answer, error in ended:
            if token is not None:
                self.events.append(RequestEnded(token, answer, error))
            # its deadline may have been the one that a timer is set for
            self.rearm = True

    # -- ending --------------------------------------------------------------------------------

    def closed_error(self) -> ConnectionClosed:
        """Return the error of those who waited for something of this connection."""
        assert self.reason is not None
        return ConnectionClosed(self.reason) if self.handshake.complete else HandshakeFailed(self.reason)

    def close(
        self,
        cause: CloseCause,
        detail: str = "",
        *,
        command: str | None = None,
        final_reject: Reject | None = None,
        by: ClosedBy = ClosedBy.LOCAL,
        reject: Reject | None = None,
    ) -> None:
        """Begin to close, unless that has begun.

        :param final_reject: is sent before, behind everything that waits already.
        :param reject: the remote's, if that is the cause.
        """
        if self.state.is_closing:
            return
        self.reason = close_reason(by, cause, detail, command, reject)
        self.state = transition(self.state, Trigger.CLOSE)
        if self.state is State.CLOSED:
            self.finish()
            return
        self.closing_since = self.now
        self.rearm = True
        self.stop_reading()
        self._drop_early()
        frame = self._final_frame(final_reject)
        if frame is not None and final_reject is not None:
            self.queue.put(frame, final_reject, None)
        else:
            # what only waited for the end of this turn, such as our verack, still goes out
            self.queue.is_ending = True
            if self.queue.paused:
                self.drop_queue()
        self.end_requests(self.requests.close(self.reason))

    def _final_frame(self, final_reject: Reject | None) -> bytes | None:
        if final_reject is None:
            return None
        try:
            return self.encode(final_reject, Encoding.BASE)
        except UnsupportedMessage:
            # at this version there is no reject
            return None
        except LocalError as error:
            # an on_version listener made it
            self.events.append(Notice(f"not sent: {error}"))
            return None

    def _drop_early(self) -> None:
        early, self.handshake.early = self.handshake.early, None
        if early:
            self.fail_sends([token for _, _, token in early.take()], self.closed_error())

    def drop_queue(self) -> None:
        """Send nothing more."""
        tokens = self.queue.drop()
        if tokens:
            self.fail_sends(tokens, self.closed_error())

    def stop_reading(self) -> None:
        """Handle no more messages."""
        self.reader.close()
        self.events = [self._unhandled(event) if isinstance(event, tuple) else event for event in self.events]

    def _unhandled(self, message: Received) -> Event:
        return Observed(HEADER_SIZE + len(message[2]), message[1], message[2], None)

    def finish(self) -> None:
        """Forget everything, and tell everybody: the connection is closed."""
        assert self.reason is not None
        self.stop_reading()
        self._drop_early()
        self.drop_queue()
        self.end_requests(self.requests.close(self.reason))
        self.announcer.clear()
        self.handshake.forget_nonce()
        self.events.append(Closed(self.reason))

    # -- reading -------------------------------------------------------------------------------

    def may_read(self) -> bool:
        """Tell whether the next message may be handled: not while more waits to be sent than the soft limit, or answers
        wait to be taken and no request waits for others.

        Unless nothing that is to be sent has been taken for a while: then the remote may be waiting for us to read.
        """
        if self.rate_limit is not None and self.rate_limit.due() > self.now + ROUNDING:
            return False
        requests = self.requests
        if requests.full and requests.untaken > self.config.lookahead_limit:
            return False
        if self.queue.waiting <= self.config.soft_queue_limit and not (requests.full and not requests.wants_more):
            return True
        due = self.read_on_due()
        return due is not None and due <= self.now + ROUNDING

    def may_read_ahead(self) -> bool:
        """Tell whether reading could bring what a handler waits for: a request's answer, or room to send.

        For room the remote may wait as well, in a handler of its own that sends. So if nothing in the queue has been
        taken for a while, its messages are read.
        """
        reader, requests = self.reader, self.requests
        # no request is sent before the handshake lets it go, nor is it known until then how messages are to be read
        if (
            self.handshake.early is not None
            or reader.blocked
            or reader.ahead_memory + requests.untaken > self.config.lookahead_limit
        ):
            return False
        if self.rate_limit is not None and self.rate_limit.due() > self.now + ROUNDING:
            return False
        if requests.wants_more:
            return True
        due = self.read_on_due()
        return due is not None and due <= self.now + ROUNDING

    def read_on_due(self) -> float | None:
        """Return the time from which messages are read although the send queue is full; None if it is not."""
        timeout, queue = self.config.read_on_after, self.queue
        is_waited_for = self.in_hand is not None or self.requests.full > 0
        is_full = queue.waiting > self.config.soft_queue_limit or (queue.paused and is_waited_for)
        return queue.last_progress + timeout if timeout is not None and is_full else None

    # -- memory --------------------------------------------------------------------------------

    def memory(self) -> int:
        """Return the bytes that are held: received and not handled, or not sent."""
        early = self.handshake.early
        held = self.queue.waiting + MESSAGE_OVERHEAD * len(self.queue) + self.reader.memory
        if early is not None:
            held += early.size + MESSAGE_OVERHEAD * len(early)
        if self.state.is_closing:
            # what a handler still has, or waits to be taken, is the application's
            return held
        held += self.requests.untaken
        return held if self.in_hand is None else held + len(self.in_hand[2])


def close_reason(
    by: ClosedBy, cause: CloseCause, detail: str, command: str | None, reject: Reject | None
) -> CloseReason:
    """Return the reason of an end, with the words of the remote's ``reject`` if there was one."""
    if reject is None:
        return CloseReason(by, cause, detail, command)
    return CloseReason(by, cause, detail, command, reject.code, sanitize(reject.reason))
