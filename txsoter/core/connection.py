"""A connection to a remote peer, without I/O: driven by bytes, time and calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from txsoter.core import announcements, deadlines
from txsoter.core.answers import AnswerQueue
from txsoter.core.channel import Channel, RandomSource, close_reason
from txsoter.core.config import ConnectionConfig
from txsoter.core.deadlines import SLOW_HANDLER
from txsoter.core.dispatch_table import DispatchTable, Handler
from txsoter.core.events import FLUSH, Event, Observed, Received, WriteFailed
from txsoter.core.rate_limit import RateLimit
from txsoter.core.reader import MESSAGE_OVERHEAD
from txsoter.core.requests import Ended, Request, check_request, check_request_all
from txsoter.core.rules import (
    AFTER_HANDLERS,
    AFTER_WRITING,
    BUILT_IN,
    first_is_no_version,
    malformed_received,
    say_version,
)
from txsoter.core.sanitize import sanitize
from txsoter.core.send_queue import BATCH, PIECE, Entry
from txsoter.core.state import State, Trigger, transition
from txsoter.core.traffic import Traffic
from txsoter.errors import (
    CloseCause,
    ClosedBy,
    CloseReason,
    ConnectionClosed,
    IllegalTransition,
    LocalError,
    MalformedMessage,
    RequestClosed,
)
from txsoter.wire import Encoding, InventoryVector, Message, Reject, Version
from txsoter.wire.framing import HEADER_SIZE

__all__ = ["Connection", "make_dispatch_table"]

_NEGOTIATING = State.NEGOTIATING


def make_dispatch_table(find: Callable[[type[Message]], tuple[Handler, ...]], **observes: bool) -> DispatchTable:
    """Return a dispatch table with our own rules.

    :param find: gives the application's handlers of a message class.
    :param observes: see :class:`~txsoter.core.dispatch_table.DispatchTable`.
    """
    return DispatchTable(find, BUILT_IN, AFTER_HANDLERS, AFTER_WRITING, **observes)


class Connection:
    """One connection, from before it is made until it has ended.

    An adapter calls :meth:`connection_made`; then :meth:`receive_data` for what it reads, :meth:`handle_timeout` when
    :meth:`next_timeout` has come, the verbs when its application does. After each of these it asks for
    :meth:`next_event` until there is none, and writes what :meth:`data_to_send` gives.
    :class:`~txsoter.core.driver.Driver` is that loop.

    All times are seconds of one clock that nobody can set.

    :ivar channel: its parts.
    :ivar withholds: our full send queue, or the rate limit, keeps us from reading.
    :param table: of :func:`make_dispatch_table`; may serve any number of connections of that config.
    :param random: source of nonces and jitter.
    """

    __slots__ = ("_answer", "_heard", "_offered", "_watermark", "channel", "withholds")

    def __init__(self, config: ConnectionConfig, inbound: bool, table: DispatchTable, random: RandomSource) -> None:
        self.channel = Channel(config, inbound, table, random)
        # bytes in the send queue from which reading has to stop, or a batch is due
        self._watermark = min(PIECE, config.soft_queue_limit + 1)
        self._heard = False
        # a message that answers a request, and whose turn is next
        self._answer: Received | MalformedMessage | None = None
        # requests that a message still has to be offered to, until their callers have been told of it
        self._offered: Iterator[Ended] | None = None
        self.withholds = False

    # -- beginning and ending ------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Progress of the connection."""
        return self.channel.state

    @property
    def reason(self) -> CloseReason | None:
        """The reason of its end, once that has begun."""
        return self.channel.reason

    def connection_made(self, now: float, wall: float, host: str | None, port: int) -> None:
        """Begin: the transport is connected.

        :param wall: seconds since 1970, for time stamps.
        :param host: the remote's IP or host name, or None if it has neither.
        """
        channel, config = self.channel, self.channel.config
        channel.state = transition(channel.state, Trigger.CONNECTED)
        channel.now = channel.connected_at = channel.heard_at = now
        channel.wall_offset = wall - now
        channel.host, channel.port = host, port
        channel.rearm = True
        channel.queue.last_progress = now
        messages, size = config.max_messages_per_second, config.max_bytes_per_second
        if messages is not None or size is not None:
            channel.rate_limit = RateLimit(messages, size, now)
        if not channel.inbound:
            say_version(channel)

    def remote_is(self, host: str | None, port: int) -> None:
        """Set the remote's address, where it becomes known only after the connection was made."""
        self.channel.host, self.channel.port = host, port

    def close(self, cause: CloseCause, detail: str, now: float, final_reject: Reject | None = None) -> None:
        """Begin to close, unless that has begun. What the transport does not take at once is not sent.

        :param final_reject: is sent before, behind everything that waits already.
        """
        self.channel.now = now
        self.channel.close(cause, detail, final_reject=final_reject)

    @property
    def may_hang_up(self) -> bool:
        """Whether everything that is still to be sent before closing has been sent."""
        channel = self.channel
        return channel.state is State.CLOSING and not len(channel.queue)

    def connection_lost(self, by: ClosedBy, cause: CloseCause, detail: str, now: float) -> None:
        """End: the transport is gone.

        :param by: and cause, detail: the reason, unless there is one already.
        """
        channel = self.channel
        if channel.state is State.CLOSED:
            return
        channel.now = now
        if channel.reason is None:
            reject = channel.last_reject
            command = None
            if reject is not None:
                command = sanitize(reject.rejected, 12)
                if channel.state is not State.READY:
                    by, cause = ClosedBy.REMOTE, CloseCause.REJECTED
            channel.reason = close_reason(by, cause, detail, command, reject)
        channel.state = transition(channel.state, Trigger.LOST)
        channel.finish()

    # -- reading -------------------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes that were read, in any chunking."""
        channel = self.channel
        channel.now = now
        if channel.state.is_closing:
            return
        counters = channel.counters
        counters.bytes_received += len(data)
        counters.last_receive = now
        channel.reader.feed(data)

    def next_event(self) -> Event | None:
        """Return the next event; None until something more happens.

        A message, which is a tuple, is in hand from now on: call :meth:`handled` when its handlers are done, be it at
        once or later. Messages behind it have to wait; they are read ahead only for an answer that a handler waits for.
        """
        channel = self.channel
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
        channel = self.channel
        event = channel.events.pop(0)
        if isinstance(event, tuple):
            channel.in_hand = event
            channel.handled_since = channel.now
            # while we handle it, the remote waits for us
            channel.remote_clock.stop(channel.now)
        return event

    def _is_answer(self, item: Received | MalformedMessage) -> bool:
        """Count a message that was read, and offer it to requests; tell whether one of them has ended."""
        channel = self.channel
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
            self.channel.end_requests((ended,))
            if self.channel.events:
                return True
        self._offered = None
        return False

    def _take_turn(self, item: Received | MalformedMessage) -> bool:
        """Do our own part for a message, and emit it if the application has handlers; tell whether there are events."""
        channel, counters = self.channel, self.channel.counters
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
        channel = self.channel
        if channel.slow_handler_due is None:
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
        channel = self.channel
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
        channel = self.channel
        channel.now = now
        message, channel.in_hand = channel.in_hand, None
        channel.slow_handler_due = None
        channel.remote_clock.go_on(now)
        assert message is not None
        after_handlers = message[0].shared.after_handlers
        if after_handlers is not None and not channel.state.is_closing:
            after_handlers(channel, results)

    def handler_failed(self, error: BaseException, detail: str, command: str) -> bool:
        """Count a handler that failed: its own fault, not the remote's.

        :param detail: the error in words.
        :return: False if it was only told of the end of this connection.
        """
        channel = self.channel
        if channel.state.is_closing and isinstance(error, ConnectionClosed):
            return False
        channel.counters.handler_errors += 1
        if channel.config.close_on_handler_error:
            channel.close(CloseCause.HANDLER_FAILED, detail, command=sanitize(command, 12))
        return True

    @property
    def wants_data(self) -> bool:
        """Whether reading on could lead to anything now."""
        channel = self.channel
        if channel.state.is_closing:
            return True
        return channel.may_read() if channel.in_hand is None else channel.may_read_ahead()

    # -- writing -------------------------------------------------------------------------------

    def encode(self, message: Message, encoding: Encoding = Encoding.BASE) -> tuple[bytes, int]:
        """Return the frame of ``message``, and the protocol version that it is encoded for. Any thread may call this.

        :raises LocalError: if it cannot be encoded.
        """
        pver = self.channel.handshake.pver
        return self.channel.encode(message, encoding), pver

    def send(
        self,
        message: Message,
        encoding: Encoding = Encoding.BASE,
        token: Any = None,
        encoded: tuple[bytes, int] | None = None,
    ) -> None:
        """Queue a message; before the handshake is over it waits for that.

        :param token: comes back from :meth:`next_written`, or in a
            :class:`~txsoter.core.events.SendFailed` event; None if nobody wants to know.
        :param encoded: what :meth:`encode` gave for it, if it was called before.
        :raises LocalError: if the message cannot be encoded; nothing is sent then.
        """
        channel = self.channel
        if encoded is not None and encoded[1] == channel.handshake.pver:
            frame = encoded[0]
        else:
            try:
                frame = channel.encode(message, encoding)
            except LocalError as error:
                self.encoding_failed(message, error)
                raise
        queue = channel.queue
        if channel.state.may_send and queue.waiting + len(frame) <= channel.config.hard_queue_limit:
            queue.put(frame, message, token)
        else:
            channel.send(frame, message, encoding, token)

    def encoding_failed(self, message: Message, error: LocalError) -> None:
        """Let an observer of writes know of a message that cannot be encoded."""
        if self.channel.table.observes_writes:
            self.channel.events.append(WriteFailed(message, error))

    def data_to_send(self, now: float) -> tuple[bytes, list[Entry]] | None:
        """Return bytes for the transport, and the entries that are complete with them; None when there is nothing."""
        return self.channel.queue.take(now)

    def written(self, batch: list[Entry]) -> None:
        """Note that the transport has what :meth:`data_to_send` gave; then ask for :meth:`next_written`."""
        channel = self.channel
        channel.queue.written()
        sent, rules = channel.counters.sent, channel.table.after_writing
        for frame, message, _ in batch:
            command, rule = rules.get(message.__class__) or channel.table.learn(message.__class__)
            traffic = sent.get(command)
            if traffic is None:
                traffic = sent[command] = Traffic()
            traffic.messages += 1
            traffic.bytes += len(frame)
            if rule is not None:
                rule(channel, message)
        if channel.announcer.waits_for_room:
            announcements.announce_if_room(channel)

    def next_written(self) -> Any:
        """Return the next token whose message is with the transport, while that would take more; else None."""
        queue = self.channel.queue
        while queue.untold and not queue.paused:
            token = queue.untold.pop(0)
            # the caller of a request waits for the answer, not for the write
            if not isinstance(token, Request):
                return token
        return None

    def pause_writing(self) -> None:
        """Note that the transport has had enough."""
        channel = self.channel
        channel.queue.paused = True
        channel.rearm = True
        if channel.queue.is_ending and channel.state is State.CLOSING:
            channel.drop_queue()

    def resume_writing(self, now: float) -> None:
        """Note that the transport would take more."""
        channel = self.channel
        channel.now = now
        channel.queue.resume(now)
        announcements.announce_if_room(channel)

    # -- time ----------------------------------------------------------------------------------

    def next_timeout(self) -> float | None:
        """Return the time of the earliest deadline, or None. Ask again after each call that sets ``rearm``."""
        return min((due for due in self.next_timeouts() if due is not None), default=None)

    def next_timeouts(self) -> list[float | None]:
        """Return the times of the earliest deadlines by :class:`Precision`, for adapters that have several timers."""
        return deadlines.next_timeouts(self.channel)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self.channel.now = now
        deadlines.handle_timeout(self.channel)

    # -- requests ------------------------------------------------------------------------------

    def request(
        self,
        message: Message,
        expected: type[Message],
        timeout: float | None,
        matching: Callable[[Any], object] | None,
        token: Any,
        now: float,
        encoding: Encoding = Encoding.BASE,
        encoded: tuple[bytes, int] | None = None,
    ) -> None:
        """Send a message and wait for its answer, which comes in a :class:`~txsoter.core.events.RequestEnded` event.

        The answer to ``getdata`` is known by its hash, a pong by its nonce, any other by its class alone: the first
        such message goes to the request that has waited longest.

        :param timeout: seconds; None to wait as long as the connection lasts.
        :param matching: tells of a message of that class whether it is the answer.
        :raises LocalError: if the message cannot be encoded, there is no connection yet, or another argument cannot be.
        """
        channel = self.channel
        self._check_askable()
        check_request(message, expected, timeout, matching)
        request = Request(message, expected, timeout, matching, token, now)
        if channel.state.is_closing:
            assert channel.reason is not None
            self.encode(message, encoding)
            channel.end_requests([(token, None, RequestClosed(message.command, channel.reason))])
            return
        # known before it is sent: sending it may fail it
        channel.requests.add(request)
        channel.rearm = True
        try:
            self.send(message, encoding, request, encoded)
        except LocalError:
            channel.requests.give_up(token)
            raise

    def give_up(self, token: Any) -> None:
        """Forget a request: its caller does not want the answer any more."""
        self.channel.requests.give_up(token)

    def _check_askable(self) -> None:
        if self.channel.state is State.CONNECTING:
            raise IllegalTransition("a peer that is not connected yet cannot be asked: wait for when_ready()")

    def make_request_all(
        self,
        message: Message,
        expected: type[Message] | tuple[type[Message], ...],
        timeout: float | None,
        matching: Callable[[Any], object] | None,
        count: int | None,
        until: Callable[[Any], object] | None,
        then: Callable[[Any], Message | None] | None,
        encoding: Encoding = Encoding.BASE,
    ) -> Request:
        """Return a request with many answers, for :meth:`ask`, :meth:`next_answer` and :meth:`forget`.

        :param timeout: seconds for each answer, from when it is waited for.
        :param count: answers after which it is over.
        :param until: tells of an answer whether it is the last.
        :raises LocalError: if the message cannot be encoded, or another argument cannot be.
        """
        classes = check_request_all(message, expected, timeout, matching, count, until, then)
        self.encode(message, encoding)
        return Request(message, classes, timeout, matching, None, 0.0, AnswerQueue(count, until))

    def ask(self, request: Request, message: Message, encoding: Encoding = Encoding.BASE) -> None:
        """Send the first question of a request with many answers, or one that follows it.

        :raises LocalError: if the message cannot be encoded, or there is no connection yet.
        """
        channel = self.channel
        self._check_askable()
        assert request.queue is not None
        if channel.state.is_closing:
            assert channel.reason is not None
            if not request.queue.is_over:
                request.queue.finish(RequestClosed(message.command, channel.reason))
        elif not request.queue.is_over:
            request.ask(message)
            channel.requests.add(request)
            self.send(message, encoding, request)

    def next_answer(self, request: Request, token: Any, now: float) -> None:
        """Ask for the next of many answers: a :class:`~txsoter.core.events.RequestEnded` event has it.

        It has neither an answer nor an error behind the last one.
        """
        channel = self.channel
        told = channel.requests.take(request, token, now)
        channel.rearm = True
        if told is not None:
            channel.end_requests((told,))

    def forget(self, request: Request) -> None:
        """Want no further answer of a request with many."""
        self.channel.requests.forget(request)

    # -- inventory -----------------------------------------------------------------------------

    def queue_inventory(self, vector: InventoryVector, force: bool, now: float) -> None:
        """Announce something, unless the remote is known to have it: a block at once, all else with the next trickle.

        Before the remote is ready it waits; when not connected it is dropped.

        :param force: announce it although known.
        """
        self.channel.now = now
        announcements.queue_inventory(self.channel, vector, force)

    def add_known_inventory(self, vector: InventoryVector) -> None:
        """Note that the remote has something, so that it is not announced to it."""
        self.channel.announcer.add_known(vector)
