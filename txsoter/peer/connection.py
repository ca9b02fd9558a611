"""The connection under a peer: its queues, and the deadlines that the remote is held to."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txsoter.errors import (
    CloseCause,
    ConnectionClosed,
    FieldError,
    LocalError,
    MalformedMessage,
    SendQueueFull,
    UnsupportedMessage,
)
from txsoter.peer.handshake import State
from txsoter.peer.inbox import HELD_MESSAGE, Inbox, Received
from txsoter.peer.lifecycle import PeerLifecycle
from txsoter.peer.limits import GRAIN, RateLimit
from txsoter.peer.logs import MAX_DUMP, MessageLog, command_name, hex_dump, sanitize, summary
from txsoter.peer.outbox import Outbox, fail_quietly
from txsoter.peer.requests import Requests
from txsoter.peer.routes import Route
from txsoter.peer.stats import UNKNOWN_COMMANDS, Traffic
from txsoter.peer.ticker import ROUNDING, Ticker, ticker_of
from txsoter.peer.timers import Deadline, RemoteClock
from txsoter.wire import Encoding, Message, Reject, Unknown, write_message
from txsoter.wire.framing import HEADER_SIZE

if TYPE_CHECKING:
    from txsoter.peer.config import PeerConfig

# of the module, not of the class: events that are kept must not keep closed peers
_log = Logger()

__all__ = ["PeerConnection"]

WRITE_RATE = 256 * 1024
"""Bytes waiting that give the remote one second more to take them."""


class PeerConnection(PeerLifecycle):
    """A connection that carries messages. Applications use :class:`~txsoter.SoterPeerProtocol`."""

    __slots__ = (
        "_accounted",
        "_accounted_waiting",
        "_bytes_received",
        "_flows",
        "_heard",
        "_held",
        "_held_bytes",
        "_holds_back",
        "_inbox",
        "_last_receive",
        "_logs_messages",
        "_message_at",
        "_observes_writes",
        "_outbox",
        "_pver",
        "_rate_deadline",
        "_rate_limit",
        "_read_on_deadline",
        "_received",
        "_remote_clock",
        "_requests",
        "_sent",
        "_sent_kinds",
        "_ticker",
        "_transport_reads",
        "_write_deadline",
    )

    def __init__(self, config: PeerConfig, inbound: bool) -> None:
        super().__init__(config, inbound)
        self._pver = config.protocol_version
        self._logs_messages = config.log_messages > MessageLog.OFF
        self._observes_writes = config.listeners.on_write is not None
        # whether messages go straight to the queue: the handshake is over for our side, and the end has not begun
        self._flows = False
        # messages that listeners sent before it was their time, until the handshake lets them go
        self._held: deque[tuple[Message, Encoding, Deferred[None] | None]] | None = deque()
        self._held_bytes = 0
        self._last_receive: float | None = None
        self._bytes_received = 0
        self._received: dict[str, Traffic] = {}
        self._sent: dict[str, Traffic] = {}
        # what a message that was sent means to us, by its class: where it is counted, and what it starts
        self._sent_kinds: dict[type[Message], tuple[Traffic, Callable[[Any, Any], None] | None]] = {}
        self._transport_reads = True
        self._message_at = 0.0
        self._heard = False
        self._holds_back = False
        self._ticker: Ticker | None = None
        self._write_deadline: Deadline | None = None
        self._read_on_deadline: Deadline | None = None
        self._rate_limit: RateLimit | None = None
        self._rate_deadline: Deadline | None = None
        # what the budget was told last that we hold, and how much of that waited to be sent
        self._accounted = 0
        self._accounted_waiting = 0

    # -- a subclass's part ---------------------------------------------------------------------

    @abstractmethod
    def _begin(self) -> None:
        """The connection is set up: what the handshake does first."""

    @abstractmethod
    def find_route(self, command: bytes) -> Route:
        """What is done with a command's 12 bytes."""

    @abstractmethod
    def received(self, received: Received) -> bool:
        """A message's turn has come; False keeps it from its handlers."""

    @abstractmethod
    def malformed(self, error: MalformedMessage) -> bool:
        """A frame was malformed; True to go on behind it."""

    @abstractmethod
    def handler_failed(self, failure: Failure, command: str) -> None:
        """A handler raised, or what it returned failed."""

    @abstractmethod
    def _after_sending(self, kind: type[Message]) -> Callable[[Any, Any], None] | None:
        """What a message of some kind starts once it is with the transport: called with the peer and the message."""

    @abstractmethod
    def _observe_write(self, size: int, message: Message, error: LocalError | None) -> None:
        """Tell the application of a message written, or of the failure to."""

    # -- beginning and ending ------------------------------------------------------------------

    def _set_up(self, clock: IReactorTime) -> None:
        config = self.config
        self._remote_clock = RemoteClock(clock)
        self._message_at = self._remote_clock.seconds()
        self._outbox = Outbox(self.transport, clock.seconds, self._handed, self._outbox_changed)
        self._inbox = Inbox(self, config.network.magic, self._pver, self._remote_clock, config.lookahead_limit)
        self._requests = Requests(clock)
        if config.max_messages_per_second is not None or config.max_bytes_per_second is not None:
            messages, size = config.max_messages_per_second, config.max_bytes_per_second
            self._rate_limit = RateLimit(messages, size, clock.seconds())
        if IConsumer.providedBy(self.transport):
            self.transport.registerProducer(self._outbox, True)
        if config.first_look is not None:
            self._ticker = ticker_of(clock, config.tick)
            self._ticker.watch(self, clock.seconds() + config.first_look)
        self._begin()

    def _stop_timers(self) -> None:
        if self._ticker is not None:
            self._ticker.forget(self)
        for deadline in (self._write_deadline, self._read_on_deadline, self._rate_deadline):
            if deadline is not None:
                deadline.disarm()

    def _shut(self, farewell: Reject | None, error: ConnectionClosed) -> None:
        self._flows = False
        self._inbox.close()
        try:
            frame = None if farewell is None else self._encode(farewell, Encoding.BASE)
        except UnsupportedMessage:
            # at this version there is no reject
            frame = None
        except LocalError as problem:
            # an on_version listener made it
            _log.warn("{peer}: not sent: {error}", peer=str(self), error=str(problem))
            frame = None
        if farewell is None or frame is None:
            # what only waited for the end of this turn, such as our verack, still goes out
            self._outbox.flush()
            self._outbox.drop(error)
        else:
            self._put(frame, farewell)
        self._account()

    def _unsent(self) -> int:
        return len(self._outbox)

    def _tear_down(self, error: ConnectionClosed) -> None:
        self._flows = False
        held, self._held = self._held, None
        self._held_bytes = 0
        while held:
            _, _, done = held.popleft()
            if done is not None:
                fail_quietly(done, Failure(error))
        if self._connected_at is None:
            return
        self._inbox.close()
        self._outbox.drop(error)
        self._requests.close(error.reason)
        self._account()

    # -- reading -------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come."""
        if self.is_closing:
            return
        self._bytes_received += len(data)
        self._last_receive = self._clock.seconds()
        outbox = self._outbox
        outbox.cork()
        try:
            self._inbox.feed(data)
        finally:
            outbox.uncork()
            if self.state is State.CLOSING:
                self._hang_up_when_empty()
            elif not self._transport_reads:
                # what kept us from reading may just have gone out
                self._inbox.pump()
            if self._accounted:
                # what this turn has queued may be gone already
                self._account()

    def may_read(self) -> bool:
        """Whether the next message may be handled: not while more waits to be sent than the soft limit.

        Unless none of it has been taken for a while: then the remote may be waiting for us to read.
        """
        if self._rate_limit is not None and self._rate_left() > ROUNDING:
            return False
        if self._outbox.waiting <= self.config.soft_queue_limit:
            return True
        left = self._read_on_left()
        return left is not None and left <= 0

    def may_look_ahead(self) -> bool:
        """Whether reading on could bring what a handler waits for: a request's answer, or room to send.

        For room the remote may wait as well, in a handler of its own that sends: so when none of what waits has
        been taken for a while, its messages are read.
        """
        # no request is sent before the handshake lets it go, nor is it known until then how messages are to be read
        if self._held is not None or (self._rate_limit is not None and self._rate_left() > ROUNDING):
            return False
        if len(self._requests):
            return True
        left = self._read_on_left()
        return left is not None and left <= 0

    def has_read(self, received: Received) -> None:
        """A message has come: it may answer a request, if that has been sent."""
        if self._rate_limit is not None:
            self._rate_limit.spend(HEADER_SIZE + len(received[2]), self._clock.seconds())
        if self._held is None and len(self._requests):
            self._requests.received(received[1])

    def reading_changed(self) -> None:
        """Pause or resume reading on the transport, as there is reason to."""
        if self.is_closing:
            return
        if self._heard:
            # looked at once a turn, not once a message
            self._heard = False
            self._message_at = self._remote_clock.seconds()
        wanted = self._inbox.wants_more
        if wanted is not self._transport_reads:
            self._transport_reads = wanted
            if wanted:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()
        holds_back = not self.may_read()
        if holds_back is not self._holds_back:
            # what the remote has said meanwhile we have not read: that is our doing
            self._holds_back = holds_back
            if holds_back:
                self._remote_clock.stop()
            else:
                self._remote_clock.go_on()
        # not once it has expired: until something is taken there is nothing more to wait for
        left = self._read_on_left()
        if left is not None and left > 0:
            self._read_on_deadline = self._armed(self._read_on_deadline, self._read_on_left, self._inbox.pump)
        if self._rate_limit is not None and self._rate_left() > ROUNDING:
            self._rate_deadline = self._armed(self._rate_deadline, self._rate_left, self._inbox.pump)
        self._account()

    def _account(self) -> None:
        """Tell the budget what we hold, if that has changed by more than a little."""
        if self._connected_at is None:
            # nothing a remote could have made us hold
            return
        waiting = self._outbox.waiting
        messages = len(self._outbox) + len(self._held or ())
        held = self._inbox.held + waiting + self._held_bytes + HELD_MESSAGE * messages
        change = held - self._accounted
        if change >= GRAIN or -change >= GRAIN or (change and not held):
            self._accounted = held
            self._accounted_waiting = waiting + HELD_MESSAGE * len(self._outbox)
            self.config.memory.account(self, held)

    def held_too_much(self, held: int, total: int) -> None:
        """What the budget calls when we hold the most: let go of it."""
        self._end(CloseCause.OVER_BUDGET, f"{held} bytes of {total}")

    # -- writing -------------------------------------------------------------------------------

    def _encode(self, message: Message, encoding: Encoding) -> bytes:
        """The frame of ``message`` at the version in use; ``on_write`` is told when there is none.

        :raises LocalError: as :func:`~txsoter.wire.write_message`.
        """
        if not isinstance(message, Message):
            raise FieldError("message", message, "a message of txsoter.wire")
        if not isinstance(encoding, Encoding):
            raise FieldError("encoding", encoding, "an Encoding of txsoter.wire")
        try:
            return write_message(message, self.config.network.magic, self._pver, encoding)
        except LocalError as error:
            if get_ident() == self._thread:
                self._observe_write(0, message, error)
            else:
                self._cross(self._observe_write, 0, message, error)
            raise

    def _send(self, message: Message, encoding: Encoding, done: Deferred[None] | None) -> None:
        """Send a message in its turn.

        :raises LocalError: when it cannot be encoded.
        """
        self._queue(self._encode(message, encoding), message, encoding, done)

    def _queue(self, frame: bytes, message: Message, encoding: Encoding, done: Deferred[None] | None) -> None:
        """Queue the frame of a message, or hold the message until the handshake lets it go."""
        outbox = self._outbox if self._flows else None
        if outbox is not None and outbox.waiting + len(frame) <= self.config.hard_queue_limit:
            self._put(frame, message, done)
            return
        if self.is_closing:
            if done is not None:
                fail_quietly(done, Failure(self._closed_error()))
            return
        waiting = self._held_bytes if self._held is not None else self._outbox.waiting
        if waiting + len(frame) > self.config.hard_queue_limit:
            error = SendQueueFull(waiting, len(frame), self.config.hard_queue_limit)
            self._observe_write(0, message, error)
            if done is not None:
                done.errback(error)
        elif self._held is not None:
            self._held.append((message, encoding, done))
            self._held_bytes += len(frame)
            self._account()

    def _put(self, frame: bytes, message: Message, done: Deferred[None] | None = None) -> None:
        if self._logs_messages:
            self._log_message("Sending", "to", message, frame[HEADER_SIZE:])
        outbox = self._outbox
        outbox.put(frame, message, done)
        if outbox.waiting > self.config.soft_queue_limit:
            self.reading_changed()
        elif outbox.waiting + HELD_MESSAGE * len(outbox) - self._accounted_waiting >= GRAIN:
            self._account()

    def _release_held(self) -> None:
        """The handshake is over for our side: what was held may go, encoded for what was negotiated."""
        held = self._held
        # what is sent meanwhile, by those who wait for these, is held too and so comes behind them
        while held:
            message, encoding, done = held.popleft()
            try:
                frame = self._encode(message, encoding)
            except LocalError as error:
                # it was well-formed at our own version, but does not exist at the remote's
                if done is not None:
                    done.errback(error)
                else:
                    _log.warn("{peer}: not sent: {error}", peer=str(self), error=str(error))
                continue
            if not self.is_closing:
                # it was within the hard limit when it was held: our own version and verack do not count
                self._put(frame, message, done)
            elif done is not None:
                fail_quietly(done, Failure(self._closed_error()))
        self._held = None
        self._held_bytes = 0
        self._flows = not self.is_closing

    def _handed(self, message: Message, size: int) -> None:
        """A message is with the transport."""
        kind = message.__class__
        known = self._sent_kinds.get(kind)
        if known is None:
            command = UNKNOWN_COMMANDS if isinstance(message, Unknown) else message.command
            traffic = self._sent.setdefault(command, Traffic())
            known = self._sent_kinds[kind] = traffic, self._after_sending(kind)
        traffic, then = known
        traffic.messages += 1
        traffic.bytes += size
        if then is not None:
            then(self, message)
        if self._observes_writes:
            self._observe_write(size, message, None)

    def _outbox_changed(self) -> None:
        """The transport has had enough, or would take more."""
        if self.is_closing:
            if self.state is State.CLOSING and not self._outbox.paused:
                self._hang_up_when_empty()
            return
        if self._outbox.paused:
            self._write_deadline = self._armed(self._write_deadline, self._write_left, self._write_timed_out)
        # although it has had enough again, it may have taken so much that we may read on
        if not self._outbox.flushing:
            self._inbox.pump()

    # -- deadlines -----------------------------------------------------------------------------

    def look(self, now: float) -> float | None:
        """What the ticker calls: do what is due, and say when to look again."""
        for left, expired in (
            (self._negotiate_left(), self._negotiation_timed_out),
            (self._idle_left(), self._idled),
        ):
            if left is not None and left <= ROUNDING:
                expired()
                return None
        return self._next_look()

    def _next_look(self) -> float | None:
        """When the first of the long deadlines is."""
        lefts = [left for left in (self._negotiate_left(), self._idle_left()) if left is not None]
        return self._clock.seconds() + min(lefts) if lefts else None

    def _negotiate_left(self) -> float | None:
        timeout = self.config.negotiate_timeout
        if timeout is None or self._connected_at is None or self.state is State.READY:
            return None
        return self._remote_left(self._connected_at + timeout)

    def _negotiation_timed_out(self) -> None:
        self._end(CloseCause.NEGOTIATION_TIMEOUT, f"still {self.state.value} after {self.config.negotiate_timeout} s")

    def _idle_left(self) -> float | None:
        timeout = self.config.idle_timeout
        return None if timeout is None else self._remote_left(self._message_at + timeout)

    def _idled(self) -> None:
        self._end(CloseCause.IDLE)

    def _write_timed_out(self) -> None:
        self._end(CloseCause.WRITE_TIMEOUT)

    def _remote_left(self, until: float) -> float:
        left = until - self._remote_clock.seconds()
        # its time stands still while a handler runs: look again in a second, not all the time
        return left if self._remote_clock.running else max(left, 1.0)

    def _write_left(self) -> float | None:
        timeout, outbox = self.config.write_timeout, self._outbox
        if timeout is None or not outbox.paused:
            return None
        return outbox.last_progress + timeout + outbox.waiting / WRITE_RATE - self._clock.seconds()

    def _rate_left(self) -> float:
        """Seconds until the remote may say more; not above 0 when it may now."""
        return 0.0 if self._rate_limit is None else self._rate_limit.left(self._clock.seconds())

    def _read_on_left(self) -> float | None:
        timeout, outbox = self.config.read_on_after, self._outbox
        keeps_from_reading = outbox.waiting > self.config.soft_queue_limit or (outbox.paused and self._inbox.is_waiting)
        if timeout is None or not keeps_from_reading:
            return None
        return outbox.last_progress + timeout - self._clock.seconds()

    # -- logging -------------------------------------------------------------------------------

    def _log_message(self, verb: str, preposition: str, message: Message, payload: bytes) -> None:
        words = summary(message)
        _log.debug(
            "{verb} {command}{summary} {preposition} {peer}",
            verb=verb,
            command=command_name(message),
            summary=f" ({words})" if words else "",
            preposition=preposition,
            peer=str(self),
        )
        if self.config.log_messages >= MessageLog.DUMP:
            # not "message": Twisted's own logs keep something else under that name
            parsed = sanitize(repr(message), MAX_DUMP)
            _log.debug("{parsed}\n{dump}", parsed=parsed, dump=hex_dump(payload))
