"""What a peer says and does by itself: the handshake, pings, trickling, and the end of those who break the rules."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from txsoter.clock import wall
from txsoter.errors import (
    CloseCause,
    ClosedBy,
    CloseReason,
    ConnectionClosed,
    LocalError,
    MalformedMessage,
    TxsoterError,
)
from txsoter.networks import REGTEST
from txsoter.peer.addressing import LOOPBACK_NAMES, host_and_port, ip_of, receiver_address
from txsoter.peer.connection import PeerConnection
from txsoter.peer.handshake import LIVE_NONCES, State, check_protocol_version, check_version, move, own_version
from txsoter.peer.inbox import Received
from txsoter.peer.keepalive import PingTracker, pong_frame
from txsoter.peer.listeners import listener_name
from txsoter.peer.logs import MAX_REASON, let_go, sanitize
from txsoter.peer.routes import PEER_LIMITS, Builtin, Plan, Route, application_handlers
from txsoter.peer.stall import StallDetector
from txsoter.peer.stats import UNKNOWN_COMMANDS, Traffic
from txsoter.peer.ticker import ROUNDING
from txsoter.peer.timers import Repeating
from txsoter.wire import (
    Encoding,
    Message,
    Ping,
    Pong,
    Reject,
    RejectCode,
    Services,
    Unknown,
    VerAck,
    Version,
)
from txsoter.wire.framing import HEADER_SIZE
from txsoter.wire.message import command_text, message_class

if TYPE_CHECKING:
    from txsoter.peer.config import PeerConfig

# of the module, not of the class: events that are kept must not keep closed peers
_log = Logger()

__all__ = ["PeerConversation"]

KEPT_OF_A_REJECT = 8 * MAX_REASON
"""Bytes of a reject's texts that are remembered, of which at most ``MAX_REASON`` characters are shown."""

# faster than members of enums
_NEGOTIATING, _WITNESS = State.NEGOTIATING, int(Services.WITNESS)

_ORDINARY = (CloseCause.DISCONNECT, CloseCause.REMOTE_CLOSED, CloseCause.CONNECTION_LOST)
"""How connections end that have no fault."""

UNANSWERED_PINGS = 60000
"""The last protocol version without ``pong``."""

BLOOM_BINDING = 70011
"""The first protocol version at which a bloom command without the bloom service is an offence."""


class PeerConversation(PeerConnection):
    """A connection that keeps the protocol's manners. Applications use :class:`~txsoter.SoterPeerProtocol`."""

    __slots__ = (
        "_bloom_refused",
        "_handler_errors",
        "_malformed",
        "_max_height",
        "_nonce",
        "_ping_at",
        "_ping_every",
        "_pings",
        "_remote",
        "_stall",
        "_stall_loop",
        "_time_offset",
        "_trailing_bytes",
        "_unknown_commands",
        "_wants_headers",
    )

    def __init__(self, config: PeerConfig, inbound: bool) -> None:
        super().__init__(config, inbound)
        self._remote: Version | None = None
        self._nonce: int | None = None
        self._time_offset = 0
        self._max_height = 0
        self._wants_headers = False
        self._trailing_bytes = 0
        self._malformed = 0
        self._unknown_commands = 0
        self._bloom_refused = 0
        self._handler_errors = 0
        self._ping_every: float | None = None
        self._ping_at = 0.0
        self._stall_loop: Repeating | None = None
        self._pings = PingTracker()
        timeout = config.stall_timeout
        self._stall = None if timeout is None else StallDetector(timeout, config.stall_headers)

    # -- a subclass's part ---------------------------------------------------------------------

    @abstractmethod
    def _announce(self) -> None:
        """The remote is ready to be told what waits."""

    # -- for subclasses ------------------------------------------------------------------------

    def message_received(self, message: Message) -> Any:
        """A message has come, :class:`~txsoter.wire.Unknown` ones included; its listener has run.

        For subclasses; what it returns is waited for, if it can be.
        """

    def peer_ready(self) -> None:
        """Both veracks have crossed. For subclasses."""

    def peer_closed(self, reason: CloseReason) -> None:
        """The connection has ended. For subclasses."""

    # -- the handshake -------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self.inbound:
            self._say_version()

    def _repeating(self, loop: Repeating | None, interval: float | None, action: Callable[[], object]) -> Repeating:
        """A timer that runs; made when it is first needed, for many never are."""
        if loop is None:
            loop = Repeating(self._clock, interval, action, self._timer_failed)
        loop.start()
        return loop

    def _start_pings(self) -> None:
        interval = self.config.ping_interval
        if interval is not None:
            self._ping_every = interval * (1 - self.config.random.random() / 10)
            self._ping_at = self._clock.seconds() + self._ping_every

    def _say_version(self) -> bool:
        """Send our ``version``; False when it cannot be made, which ends the connection."""
        config = self.config
        try:
            height = 0 if config.newest_block is None else config.newest_block()
        except Exception:
            failure = Failure()
            _log.failure("{peer}: newest_block failed", failure, peer=str(self))
            let_go(failure)
            self._end(CloseCause.LOCAL_FAILURE, "newest_block failed")
            return False
        nonce = config.random.getrandbits(64)
        receiver = receiver_address(self._address, config.hides(ip_of(self._address)))
        version = own_version(config, receiver, height, nonce, wall(self._clock)())
        try:
            frame = self._encode(version, Encoding.BASE)
        except LocalError as error:
            _log.error("{peer}: {error}", peer=str(self), error=str(error))
            self._end(CloseCause.LOCAL_FAILURE, str(error))
            return False
        self._nonce = nonce
        LIVE_NONCES.add(nonce)
        self._put(frame, version)
        return True

    def _version_received(self, version: Version, check: bytes) -> bool:
        if self._remote is not None:
            farewell = Reject(b"version", RejectCode.DUPLICATE, b"duplicate version message")
            self._end(CloseCause.DUPLICATE_VERSION, farewell=farewell)
            return False
        version.read_fields()
        config = self.config
        own_nonces = () if config.allow_self_connections else LIVE_NONCES
        refusal = check_version(version, config.network, config.user_agent_name, config.semantic_version, own_nonces)
        if refusal is not None:
            reason = refusal.detail.encode()
            farewell_or_none = None if refusal.code is None else Reject(b"version", refusal.code, reason)
            self._end(refusal.cause, sanitize(refusal.detail), farewell=farewell_or_none)
            return False
        # only what is asked for later: ten thousand peers keep one each
        self._remote = Version(
            protocol_version=version.protocol_version,
            services=version.services,
            user_agent=version.user_agent,
            last_block=version.last_block,
            relay=version.relay,
        )
        self._max_height = version.last_block
        self._time_offset = version.timestamp - int(wall(self._clock)())
        self.state = move(self.state, State.VERSION_KNOWN)
        return True

    def _version_heard(self, results: list[Any]) -> None:
        """The ``on_version`` listener has had its say: go on, or refuse."""
        refused = next((each for each in results if isinstance(each, Reject)), None)
        if refused is not None:
            self._end(CloseCause.REFUSED_BY_LISTENER, sanitize(refused.reason), farewell=refused)
            return
        remote = self._remote
        assert remote is not None
        refusal = check_protocol_version(remote)
        if refusal is not None:
            self._end(refusal.cause, refusal.detail)
            return
        self._pver = min(self.config.protocol_version, remote.protocol_version)
        witness = Encoding.WITNESS if remote.services & _WITNESS else Encoding.BASE
        self._inbox.negotiated(self._pver, witness)
        if (self.inbound and not self._say_version()) or self.is_closing:
            return
        self._put(self._encode(VerAck(), Encoding.BASE), VerAck())
        self._release_held()

    def _verack_received(self, message: VerAck, check: bytes) -> bool:
        if self.state is not State.VERSION_KNOWN:
            self._end(CloseCause.DUPLICATE_VERACK)
            return False
        self.state = move(self.state, State.READY)
        self._was_ready = True
        self._start_pings()
        self._announce()
        assert self._remote is not None
        if self.config.log_connections:
            agent = sanitize(self._remote.user_agent)
            _log.info("{peer}: ready, protocol version {pver}, {agent}", peer=str(self), pver=self._pver, agent=agent)
        while self._ready_waiters:
            self._ready_waiters.pop(0).callback(self)
        # those who were told before may have hung up
        if self.state is State.READY:
            self._call_unwaited("verack", self.peer_ready)
        if self.config.listeners.on_ready is not None and self.state is State.READY:
            self._call_unwaited("verack", self.config.listeners.on_ready, self)
        return True

    # -- the other built-in parts --------------------------------------------------------------

    def _ping_received(self, message: Ping, check: bytes) -> None:
        if self._outbox.waiting > self.config.soft_queue_limit:
            # we read on for what else it may say, not for it to make us queue more
            return
        if self._pver > UNANSWERED_PINGS and self.config.answer_pings:
            frame = pong_frame(self.config.network.magic, check, message.nonce)
            self._queue(frame, message.response(), Encoding.BASE, None)

    def _pong_received(self, message: Pong, check: bytes) -> None:
        self._pings.received(message.nonce, self._clock.seconds())

    def _sendheaders_received(self, message: Message, check: bytes) -> None:
        self._wants_headers = True

    def _reject_received(self, message: Reject, check: bytes) -> None:
        # as much as a close reason shows: the rest, up to 4 MB, would be held until the next message
        self._last_reject = Reject(message.rejected[:KEPT_OF_A_REJECT], message.code, message.reason[:KEPT_OF_A_REJECT])

    def _bloom_received(self, message: Message, check: bytes) -> bool:
        if self.config.serves(Services.BLOOM):
            return True
        self._bloom_refused += 1
        if self._pver >= BLOOM_BINDING:
            self._end(CloseCause.BLOOM_DISABLED, command=message.command)
        return False

    def _unknown_received(self, message: Unknown, check: bytes) -> bool:
        self._unknown_commands += 1
        if self.config.strict:
            self._refuse_malformed(CloseCause.UNKNOWN_COMMAND, "unknown command", message.command)
            return False
        return True

    _BUILTINS: ClassVar[dict[str, Builtin]] = {
        "version": _version_received,
        "verack": _verack_received,
        "ping": _ping_received,
        "pong": _pong_received,
        "sendheaders": _sendheaders_received,
        "reject": _reject_received,
        "filteradd": _bloom_received,
        "filterclear": _bloom_received,
        "filterload": _bloom_received,
    }

    # -- reading -------------------------------------------------------------------------------

    def find_route(self, command: bytes) -> Route:
        """What this connection does with a command's 12 bytes."""
        known = message_class(command)
        if known is None:
            traffic = self._received.setdefault(UNKNOWN_COMMANDS, Traffic())
            return Route(self._plan(command_text(command), None), Unknown.newest_max_size, traffic)
        name = known.command
        plans, key = self.config.plans, (type(self), name)
        plan = plans.get(key)
        if plan is None:
            plan = plans[key] = self._plan(name, known)
        limit = known.max_size(self._pver)
        return Route(plan, min(limit, PEER_LIMITS.get(name, limit)), self._received.setdefault(name, Traffic()))

    def _plan(self, name: str, known: type[Message] | None) -> Plan:
        """What all peers of our kind do with a command."""
        listeners = self.config.listeners
        hears = type(self).message_received is not PeerConversation.message_received
        if known is None:
            return Plan(
                name, None, PeerConversation._unknown_received, application_handlers(listeners, "on_unknown", hears)
            )
        conclude = PeerConversation._version_heard if name == "version" else None
        handlers = application_handlers(listeners, listener_name(name), hears)
        return Plan(name, known, self._BUILTINS.get(name), handlers, StallDetector.answers(name), conclude)

    def received(self, received: Received) -> bool:
        """A message's turn has come: count it and do our own part. False keeps it from the listeners."""
        route, message, payload, used, check = received
        size = len(payload)
        self._heard = True
        traffic, plan = route.traffic, route.plan
        traffic.messages += 1
        traffic.bytes += HEADER_SIZE + size
        if used != size:
            self._trailing_bytes += size - used
        self._last_reject = None
        if self._logs_messages:
            self._log_message("Received", "from", message, payload)
        if plan.answers and self._stall is not None:
            self._stall.received(plan.command)
        accepted = False
        if self.state is _NEGOTIATING and plan.command != "version":
            self._first_is_no_version(message)
        elif not self.is_closing:
            # a request that it answers may have hung up already
            accepted = plan.builtin is None or plan.builtin(self, message, check) is not False
        if accepted and not self.is_closing:
            return True
        self._observe_read(HEADER_SIZE + size, message, None)
        return False

    def _first_is_no_version(self, message: Message) -> None:
        if isinstance(message, Reject):
            # it is the remote's refusal of our version, and needs no refusal in return
            rejected = sanitize(message.rejected, 12)
            self._end(CloseCause.REJECTED, by=ClosedBy.REMOTE, command=rejected, reject=message)
        elif isinstance(message, Unknown):
            self._unknown_commands += 1
            self._end(CloseCause.VERSION_EXPECTED, command=sanitize(message.command, 12))
        else:
            reason = b"a version message must precede all others"
            farewell = Reject(message.command.encode(), RejectCode.MALFORMED, reason)
            self._end(CloseCause.VERSION_EXPECTED, command=message.command, farewell=farewell)

    def malformed(self, error: MalformedMessage) -> bool:
        """A frame was malformed. True to go on behind it, which only regtest allows."""
        self._malformed += 1
        self._observe_read(error.size, None, error)
        command = None if error.command is None else sanitize(error.command, 12)
        if self.state is State.NEGOTIATING:
            self._end(CloseCause.MALFORMED, sanitize(error.reason), command=command)
            return False
        return self._refuse_malformed(CloseCause.MALFORMED, error.reason, error.command)

    def _refuse_malformed(self, cause: CloseCause, reason: str, command: str | None) -> bool:
        name = None if command is None else sanitize(command, 12)
        text = sanitize(f"{name}: {reason}" if name else reason)
        if self._forgives_malformed():
            _log.info("{peer}: malformed message: {text}, skipped", peer=str(self), text=text)
            return True
        # the line about the end says why
        farewell = Reject(b"malformed", RejectCode.MALFORMED, text.encode())
        self._end(cause, sanitize(reason), command=name, farewell=farewell)
        return False

    def _forgives_malformed(self) -> bool:
        """On regtest a test on the same machine may send rubbish, after the handshake."""
        host, _ = host_and_port(self._address)
        return self.state is State.READY and self.config.network.magic == REGTEST.magic and host in LOOPBACK_NAMES

    def handler_failed(self, failure: Failure, command: str) -> None:
        """A listener failed: that is its own fault, not the remote's."""
        if self.is_closing and failure.check(ConnectionClosed) is not None:
            # it waited for something of this connection, and has been told of its end
            _log.debug("{peer}: the handler of {command} was cut short", peer=str(self), command=command)
            return
        self._handler_errors += 1
        command = sanitize(command, 12)
        _log.failure("{peer}: the handler of {command} failed", failure, peer=str(self), command=command)
        let_go(failure)
        if self.config.close_on_handler_error:
            self._end(CloseCause.HANDLER_FAILED, failure.getErrorMessage(), command=command)

    def _call_unwaited(self, what: str, function: Callable[..., Any], *args: Any) -> None:
        """Call into the application without holding anything up for it."""
        try:
            result = function(*args)
        except Exception:
            self.handler_failed(Failure(), what)
            return
        if iscoroutine(result):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Deferred):
            result.addErrback(self.handler_failed, what)

    def _observe_read(self, size: int, message: Message | None, error: TxsoterError | None) -> None:
        on_read = self.config.listeners.on_read
        if on_read is not None:
            self._call_unwaited("on_read", on_read, self, size, message, error)

    # -- writing -------------------------------------------------------------------------------

    def _observe_write(self, size: int, message: Message, error: LocalError | None) -> None:
        on_write = self.config.listeners.on_write
        if on_write is not None:
            self._call_unwaited("on_write", on_write, self, size, message, error)

    def _after_sending(self, kind: type[Message]) -> Callable[[Any, Any], None] | None:
        if issubclass(kind, Ping):
            return PeerConversation._ping_sent
        return PeerConversation._question_sent if self._stall is not None and StallDetector.observes(kind) else None

    def _ping_sent(self, ping: Ping) -> None:
        # the queue has looked at the clock for it just now
        assert self._outbox.last_write is not None
        self._pings.sent(ping.nonce, self._outbox.last_write)

    def _question_sent(self, message: Message) -> None:
        assert self._stall is not None
        self._stall.sent(message, self._remote_clock.seconds())
        if self._stall.waiting and not self.is_closing:
            self._stall_loop = self._repeating(self._stall_loop, self.config.stall_interval, self._check_stall)

    def _ping(self) -> None:
        self._send(Ping(self.config.random.getrandbits(64)), Encoding.BASE, None)

    def look(self, now: float) -> float | None:
        """What the ticker calls: do what is due, and say when to look again."""
        if self._ping_every is not None and self._ping_tick() <= now + ROUNDING:
            # a late one is not made up for
            self._ping_at = max(self._ping_at, now) + self._ping_every
            try:
                self._ping()
            except Exception:
                self._timer_failed(Failure())
        return None if self.is_closing else super().look(now)

    def _ping_tick(self) -> float:
        """The last tick at which the next ping is not late."""
        assert self._ticker is not None
        return self._ticker.floor(self._ping_at)

    def _next_look(self) -> float | None:
        when = super()._next_look()
        if self._ping_every is None:
            return when
        return self._ping_tick() if when is None else min(when, self._ping_tick())

    def _check_stall(self) -> None:
        assert self._stall is not None
        command = self._stall.expired(self._remote_clock.seconds())
        if command is not None:
            self._end(CloseCause.STALLED, command=command)
        elif not self._stall.waiting and self._stall_loop is not None:
            self._stall_loop.stop()

    # -- the end -------------------------------------------------------------------------------

    def _timer_failed(self, failure: Failure) -> None:
        _log.failure("{peer}: a timer failed", failure, peer=str(self))
        let_go(failure)
        self._end(CloseCause.LOCAL_FAILURE, f"a timer failed: {failure.getErrorMessage()}")

    def _stop_timers(self) -> None:
        super()._stop_timers()
        if self._stall_loop is not None:
            self._stall_loop.stop()

    def _ended(self, reason: CloseReason) -> None:
        if self._nonce is not None:
            LIVE_NONCES.discard(self._nonce)
        if self.config.log_connections or reason.cause not in _ORDINARY:
            _log.info("{peer}: {reason}", peer=str(self), reason=reason)
        factory = self.factory
        if factory is not None:
            self.factory = None
            # one of another kind keeps no account of its peers
            forget = getattr(factory, "forget", None)
            if forget is not None:
                forget(self)
        self._call_unwaited("close", self.peer_closed, reason)
        if self.config.listeners.on_closed is not None:
            self._call_unwaited("close", self.config.listeners.on_closed, self, reason)
