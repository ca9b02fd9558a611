"""Turns: one message at a time is in hand, and messages are read ahead only for what its handler waits for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from txsoter.core.channel import Channel
from txsoter.core.deadlines import SLOW_HANDLER
from txsoter.core.events import FLUSH, Event, Observed, Received
from txsoter.core.reader import MESSAGE_OVERHEAD
from txsoter.core.requests import Ended
from txsoter.core.rules import first_is_no_version, malformed_received
from txsoter.core.send_queue import BATCH, PIECE
from txsoter.core.state import State
from txsoter.errors import MalformedMessage
from txsoter.wire import Version
from txsoter.wire.framing import HEADER_SIZE

__all__ = ["Turns"]

_NEGOTIATING = State.NEGOTIATING


class Turns:
    """The messages of one connection, each in its turn.

    :ivar withholds: our full send queue, or the rate limit, keeps us from reading.
    """

    __slots__ = ("_answer", "_channel", "_heard", "_offered", "_watermark", "withholds")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        # bytes in the send queue from which reading has to stop, or a batch is due
        self._watermark = min(PIECE, channel.config.soft_queue_limit + 1)
        self._heard = False
        # a message that answers a request, and whose turn is next
        self._answer: Received | MalformedMessage | None = None
        # requests that a message still has to be offered to, until their callers have been told of it
        self._offered: Iterator[Ended] | None = None
        self.withholds = False

    def forget(self) -> None:
        """Forget a message whose turn is next: the connection is closed."""
        self._answer = None

    def next_event(self) -> Event | None:
        """Return the next event; None until something more happens.

        A message, which is a tuple, is in hand from now on: call :meth:`handled` when its handlers are done, be it at
        once or later. Messages behind it have to wait; they are read ahead only for an answer that a handler waits for.
        """
        channel = self._channel
        if channel.events or (self._offered is not None and self._offer()):
            return self._emit()
        if channel.in_hand is not None:
            return self._read_ahead()
        if self._answer is not None:
            # those who asked have been told; they may have hung up, but it has come
            item, self._answer = self._answer, None
            if self._take_turn(item):
                return self._emit()
        queue, reader, requests = channel.queue, channel.reader, channel.requests
        while not channel.state.is_closing:
            if queue.waiting >= self._watermark or len(queue.entries) >= BATCH:
                if not queue.paused:
                    return FLUSH
                if not channel.may_read():
                    break
            elif (channel.rate_limit is not None or requests.full) and not channel.may_read():
                break
            if reader.ahead:
                item = reader.pop_ahead()
            else:
                found = reader.read()
                if found is None:
                    break
                item = found
                if (requests.waiting or channel.rate_limit is not None) and self._is_answer(item):
                    # those who asked are told before its turn
                    self._answer = item
                    return self._emit()
            if self._take_turn(item):
                return self._emit()
        self._end_turn()
        return None

    def _emit(self) -> Event:
        channel = self._channel
        event = channel.events.pop(0)
        if isinstance(event, tuple):
            channel.in_hand = event
            channel.handled_since = channel.now
        return event

    def _is_answer(self, item: Received | MalformedMessage) -> bool:
        """Count a message that was read, and offer it to requests; tell whether one of them has ended."""
        channel = self._channel
        if not isinstance(item, tuple):
            return False
        if channel.rate_limit is not None:
            channel.rate_limit.spend(HEADER_SIZE + len(item[2]), channel.now)
        # no request is sent before the handshake lets it go
        if not channel.requests.waiting or channel.handshake.early is not None:
            return False
        self._offered = channel.requests.offer(item[1], len(item[2]) + MESSAGE_OVERHEAD)
        return self._offer()

    def _offer(self) -> bool:
        """Go on offering a message to requests; tell whether one of them has ended."""
        assert self._offered is not None
        for ended in self._offered:
            # its caller is told before the next one is offered the message
            self._channel.end_requests((ended,))
            if self._channel.events:
                return True
        self._offered = None
        return False

    def _take_turn(self, item: Received | MalformedMessage) -> bool:
        """Do our own part for a message, and emit it if the application has handlers; tell whether there are events."""
        channel, counters = self._channel, self._channel.counters
        if not isinstance(item, tuple):
            if malformed_received(channel, item) and item.in_header:
                channel.reader.skip()
            return bool(channel.events)
        command, message, payload, used, check = item
        shared, size = command.shared, len(payload)
        self._heard = True
        traffic = command.traffic
        traffic.messages += 1
        traffic.bytes += HEADER_SIZE + size
        if used != size:
            counters.trailing_bytes += size - used
        channel.last_reject = None
        if shared.answers and channel.stall is not None:
            channel.stall.received(shared.command)
        if channel.state is _NEGOTIATING and shared.message_class is not Version:
            first_is_no_version(channel, message)
        elif not channel.state.is_closing:
            accepted = shared.built_in is None or shared.built_in(channel, message, check) is not False
            if accepted and not channel.state.is_closing:
                if shared.handlers:
                    channel.events.append(item)
                    return True
                if shared.after_handlers is not None:
                    shared.after_handlers(channel, ())
                return bool(channel.events)
        if channel.table.observes_reads:
            channel.events.append(Observed(HEADER_SIZE + size, message, payload, None))
        return bool(channel.events)

    def _read_ahead(self) -> Event | None:
        """Look for what the handler in hand may wait for."""
        channel = self._channel
        if channel.slow_handler_due is None:
            # while we handle it, the remote waits for us
            channel.remote_clock.stop(channel.handled_since)
            channel.slow_handler_due = channel.handled_since + SLOW_HANDLER
            channel.rearm = True
        while not channel.state.is_closing and channel.may_read_ahead():
            item = channel.reader.read()
            if item is None:
                break
            channel.reader.push_ahead(item)
            if self._is_answer(item):
                return self._emit()
        self._end_turn()
        return None

    def _end_turn(self) -> None:
        channel = self._channel
        if self._heard:
            # once a turn, not once a message
            self._heard = False
            channel.heard_at = channel.remote_clock.seconds(channel.now)
        withholds = (
            channel.queue.waiting > channel.config.soft_queue_limit
            or channel.rate_limit is not None
            or channel.requests.full > 0
        ) and not channel.may_read()
        if withholds or self.withholds:
            channel.rearm = True
            if withholds is not self.withholds:
                # what the remote has said meanwhile we have not read: that is our doing
                self.withholds = withholds
                (channel.remote_clock.stop if withholds else channel.remote_clock.go_on)(channel.now)

    def handled(self, now: float, results: Sequence[Any] = ()) -> None:
        """Note that the handlers of the message in hand are done.

        :param results: those of them that were not None.
        """
        channel = self._channel
        channel.now = now
        message, channel.in_hand, channel.handler = channel.in_hand, None, None
        assert message is not None
        if channel.slow_handler_due is not None:
            channel.slow_handler_due = None
            channel.remote_clock.go_on(now)
        elif channel.remote_clock.stopped_at is None:
            # done at once, which took some time as well
            channel.remote_clock.stood_still += now - channel.handled_since
        after_handlers = message[0].shared.after_handlers
        if after_handlers is not None and not channel.state.is_closing:
            after_handlers(channel, results)

    @property
    def wants_data(self) -> bool:
        """True if reading on could lead to anything now."""
        channel = self._channel
        if channel.state.is_closing:
            return True
        return channel.may_read() if channel.in_hand is None else channel.may_read_ahead()
