"""A connection to a remote peer, without I/O: driven by bytes, time and calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from txsoter.core import announcements, deadlines
from txsoter.core.address_push import AskedBefore
from txsoter.core.channel import Channel, RandomSource, close_reason
from txsoter.core.config import ConnectionConfig
from txsoter.core.dispatch_table import DispatchTable
from txsoter.core.events import Event, WriteFailed
from txsoter.core.rate_limit import RateLimit
from txsoter.core.requests import Request, check_request
from txsoter.core.rules import say_version
from txsoter.core.sanitize import sanitize
from txsoter.core.send_queue import Entry
from txsoter.core.state import State, Trigger, transition
from txsoter.core.traffic import Traffic
from txsoter.core.turns import Turns
from txsoter.errors import (
    CloseCause,
    ClosedBy,
    CloseReason,
    ConnectionClosed,
    IllegalTransition,
    LocalError,
    RequestClosed,
)
from txsoter.wire import Encoding, GetBlocks, GetHeaders, InventoryVector, Message, Reject, write_message

__all__ = ["Connection"]


class Connection:
    """One connection, from before it is made until it has ended.

    An adapter calls :meth:`connection_made`; then :meth:`receive_data` for what it reads, :meth:`handle_timeout` when
    :meth:`next_timeout` has come, the verbs when its application does. After each of these it asks for
    :meth:`next_event` until there is none, and writes what :meth:`data_to_send` gives.
    :class:`~txsoter.core.driver.Driver` is that loop.

    All times are seconds of one clock that nobody can set.

    :ivar channel: its parts.
    :ivar turns: whose turn it is.
    :param table: of :func:`~txsoter.core.rules.make_dispatch_table`; may serve all connections of that config.
    :param random: source of nonces and jitter.
    """

    __slots__ = ("channel", "turns")

    def __init__(self, config: ConnectionConfig, inbound: bool, table: DispatchTable, random: RandomSource) -> None:
        self.channel = Channel(config, inbound, table, random)
        self.turns = Turns(self.channel)

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
        """True once everything that is still to be sent before closing has been sent."""
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
            if by is not ClosedBy.LOCAL and reject is None:
                hint = channel.handshake.end_before_version(channel.config.network)
                detail = "; ".join(each for each in (detail, hint) if each)
            channel.reason = close_reason(by, cause, detail, command, reject)
        was_closing, channel.state = channel.state.is_closing, transition(channel.state, Trigger.LOST)
        self.turns.forget()
        channel.finish(was_closing)

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
        return self.turns.next_event()

    def handled(self, now: float, results: Sequence[Any] = ()) -> None:
        """Note that the handlers of the message in hand are done.

        :param results: those of them that were not None.
        """
        self.turns.handled(now, results)

    @property
    def wants_data(self) -> bool:
        """True if reading on could lead to anything now."""
        return self.turns.wants_data

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

    def use_table(self, table: DispatchTable) -> None:
        """Find the handlers of the messages that are read from now on in ``table``."""
        self.channel.table = table
        self.channel.reader.use_table(table)

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
        config, pver = channel.config, channel.handshake.pver
        if encoded is not None and encoded[1] == pver:
            frame = encoded[0]
        else:
            try:
                frame = write_message(message, config.network.magic, pver, encoding)
            except LocalError as error:
                self.encoding_failed(message, error)
                raise
        queue, size = channel.queue, len(frame)
        if channel.state.may_send and queue.waiting + size <= config.hard_queue_limit:
            queue.entries.append((frame, message, token))
            queue.waiting += size
        else:
            channel.send(frame, message, encoding, token)

    def encoding_failed(self, message: Message, error: LocalError) -> None:
        """Let an observer of writes know of a message that cannot be encoded."""
        if self.channel.table.observes_writes:
            self.channel.events.append(WriteFailed(message, error))

    def forget_early(self, token: Any) -> bool:
        """Tell whether ``token`` is of a message that waits for the handshake; it is told nothing any more then."""
        early = self.channel.handshake.early
        return early is not None and early.forget(token)

    def data_to_send(self, now: float) -> tuple[bytes, list[Entry]] | None:
        """Return bytes for the transport, and the entries that are complete with them; None when there is nothing."""
        return self.channel.queue.take(now)

    def written(self, batch: list[Entry]) -> None:
        """Note that the transport has what :meth:`data_to_send` gave; then ask for :meth:`next_written`."""
        channel, queue = self.channel, self.channel.queue
        # dropped, if the connection was lost in the middle of the write
        is_lost, queue.writing = queue.writing is None, None
        sent, rules = channel.counters.sent, channel.table.after_writing
        for frame, message, token in batch:
            command, rule = rules.get(message.__class__) or channel.table.learn(message.__class__)
            traffic = sent.get(command)
            if traffic is None:
                traffic = sent[command] = Traffic()
            traffic.messages += 1
            traffic.bytes += len(frame)
            if rule is not None:
                rule(channel, message)
            # the caller of a request waits for the answer, not for the write
            if token is not None and token.__class__ is not Request and not is_lost:
                queue.untold.append(token)
        if channel.announcer.waits_for_room:
            announcements.announce_if_room(channel)

    def next_written(self) -> Any:
        """Return the next token whose message is with the transport, while that would take more; else None."""
        queue = self.channel.queue
        return queue.untold.pop(0) if queue.untold and not queue.paused else None

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
        self.check_askable()
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

    def check_askable(self) -> None:
        """Check that a request may be made.

        :raises IllegalTransition: if there is no connection yet.
        """
        if self.channel.state is State.CONNECTING:
            raise IllegalTransition("a peer that is not connected yet cannot be asked: wait for when_ready()")

    def repeats(self, question: GetBlocks | GetHeaders) -> bool:
        """Tell whether a question that is to be sent repeats the last of its class."""
        channel = self.channel
        if channel.asked is None:
            channel.asked = AskedBefore()
        return channel.asked.repeats(question)

    # -- inventory -----------------------------------------------------------------------------

    def update_height(self, height: int) -> None:
        """Note that the remote has a block of that height."""
        self.channel.max_height = max(self.channel.max_height, height)

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
