"""The life of a connection: its states, its end, and who waits for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from txsoter.errors import CloseCause, ClosedBy, CloseReason, ConnectionClosed, HandshakeFailed, LocalError
from txsoter.peer.addressing import address_text
from txsoter.peer.handshake import State, move
from txsoter.peer.logs import sanitize
from txsoter.peer.threads import cross
from txsoter.peer.timers import Deadline
from txsoter.wire import Reject

if TYPE_CHECKING:
    from txsoter.peer.config import PeerConfig

__all__ = ["PeerLifecycle"]

_ids = count(1)
_T = TypeVar("_T")


class PeerLifecycle(Protocol, ABC):
    """A connection that begins once and ends once. Applications use :class:`~txsoter.SoterPeerProtocol`.

    :ivar config: how it behaves.
    :ivar inbound: whether the remote dialled us.
    :ivar id: a number that no other peer of this process has.
    :ivar state: how far it has come.
    :ivar is_closing: whether the connection has ended, or is ending.
    """

    __slots__ = (
        "_address",
        "_clock",
        "_close_deadline",
        "_closed_waiters",
        "_closing_since",
        "_connected_at",
        "_hanging_up",
        "_has_ended",
        "_last_reject",
        "_ready_waiters",
        "_reason",
        "_thread",
        "_was_ready",
        "config",
        "id",
        "inbound",
        "is_closing",
        "state",
    )

    # which methods it has beyond ITransport's depends on the endpoint
    transport: Any

    def __init__(self, config: PeerConfig, inbound: bool) -> None:
        self.config = config
        self.inbound = inbound
        self.id = next(_ids)
        self.state = State.CONNECTING
        self.is_closing = False
        self._reason: CloseReason | None = None
        self._was_ready = False
        self._hanging_up = False
        self._has_ended = False
        self._thread = get_ident()
        self._address: IAddress | None = None
        self._ready_waiters: list[Deferred[Any]] = []
        self._closed_waiters: list[Deferred[CloseReason]] = []
        self._connected_at: float | None = None
        self._closing_since = 0.0
        self._close_deadline: Deadline | None = None
        # what the remote said last, if that was a reject
        self._last_reject: Reject | None = None

    # -- a subclass's part ---------------------------------------------------------------------

    @abstractmethod
    def _set_up(self, clock: IReactorTime) -> None:
        """The connection is there: make what it needs."""

    @abstractmethod
    def _stop_timers(self) -> None:
        """Stop all timers but the one that watches over closing."""

    @abstractmethod
    def _shut(self, farewell: Reject | None, error: ConnectionClosed) -> None:
        """Read no more, and queue ``farewell``, or fail all that is queued with ``error``."""

    @abstractmethod
    def _unsent(self) -> int:
        """How many messages are not with the transport yet."""

    @abstractmethod
    def _tear_down(self, error: ConnectionClosed) -> None:
        """The connection is gone, or never came: forget everything, and fail with ``error`` what waits."""

    @abstractmethod
    def _ended(self, reason: CloseReason) -> None:
        """The connection has ended: what that means to the application."""

    # -- beginning -----------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The transport is there."""
        self._thread = get_ident()
        self._address = self.transport.getPeer()
        if self.state is not State.CONNECTING:
            # disconnect() came before the connection did
            self._abort()
            return
        clock = self._clock = self._find_clock()
        self._connected_at = clock.seconds()
        # writes are gathered here already: gathering them again costs small messages up to 40 ms
        if isinstance(self._address, (IPv4Address, IPv6Address)) and hasattr(self.transport, "setTcpNoDelay"):
            # a socket that is closed already tells so in its own time
            with suppress(OSError):
                self.transport.setTcpNoDelay(True)
        self.state = move(self.state, State.NEGOTIATING)
        self._set_up(clock)

    def _find_clock(self) -> IReactorTime:
        clock = self.config.clock or getattr(self.transport, "reactor", None)
        if clock is None:
            self._abort()
            raise LocalError("PeerConfig.clock is None, and the transport has no reactor: give a clock")
        found: IReactorTime = clock
        return found

    def _when_ready(self, result: _T) -> Deferred[_T]:
        if self.state is State.READY:
            return succeed(result)
        if self.is_closing:
            return fail(self._closed_error())
        waiter: Deferred[_T] = Deferred(self._ready_waiters.remove)
        self._ready_waiters.append(waiter)
        return waiter

    # -- ending --------------------------------------------------------------------------------

    def disconnect(self, reason: str = "") -> Deferred[CloseReason]:
        """End the connection; calls after the first change nothing. May be called from any thread.

        What is not with the transport yet is not sent.

        :param reason: why, for people.
        :return: as :meth:`when_closed`.
        """
        if get_ident() != self._thread:
            crossed: Deferred[CloseReason] = self._cross(self.disconnect, reason)
            return crossed
        self._end(CloseCause.DISCONNECT, reason)
        return self.when_closed()

    def when_closed(self) -> Deferred[CloseReason]:
        """Fires with the :class:`~txsoter.CloseReason` once the connection has ended and all is cleaned up.

        Each call gets a Deferred of its own. May be called from any thread.
        """
        if get_ident() != self._thread:
            crossed: Deferred[CloseReason] = self._cross(self.when_closed)
            return crossed
        if self._has_ended:
            assert self._reason is not None
            return succeed(self._reason)
        waiter: Deferred[CloseReason] = Deferred(self._closed_waiters.remove)
        self._closed_waiters.append(waiter)
        return waiter

    def _closed_error(self) -> ConnectionClosed:
        assert self._reason is not None
        return ConnectionClosed(self._reason) if self._was_ready else HandshakeFailed(self._reason)

    def _end(
        self,
        cause: CloseCause,
        detail: str = "",
        *,
        command: str | None = None,
        farewell: Reject | None = None,
        by: ClosedBy = ClosedBy.LOCAL,
        reject: Reject | None = None,
    ) -> None:
        """Begin to close, unless it has begun.

        :param farewell: is still sent, behind what waits already.
        :param reject: the remote's, if that is why.
        """
        if self.is_closing:
            return
        self._reason = _reason(by, cause, detail, command, reject)
        if self.state is State.CONNECTING:
            self._closed()
            return
        self.state = move(self.state, State.CLOSING)
        self.is_closing = True
        self._stop_timers()
        self._closing_since = self._clock.seconds()
        self._close_deadline = self._armed(self._close_deadline, self._close_left, self._abort)
        self._shut(farewell, self._closed_error())
        self._hang_up_when_empty()

    def _close_left(self) -> float | None:
        timeout = self.config.close_timeout
        return None if timeout is None else self._closing_since + timeout - self._clock.seconds()

    def _hang_up_when_empty(self) -> None:
        if self._hanging_up or self._unsent():
            return
        self._hanging_up = True
        # a transport with a streaming producer does not finish closing
        if IConsumer.providedBy(self.transport):
            self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _armed(
        self, deadline: Deadline | None, left: Callable[[], float | None], expired: Callable[[], object]
    ) -> Deadline:
        """A deadline that watches; made when it is first needed, for most never are."""
        if deadline is None:
            deadline = Deadline(self._clock, left, expired)
        deadline.arm()
        return deadline

    def _abort(self) -> None:
        abort = getattr(self.transport, "abortConnection", None)
        if abort is not None:
            abort()
        else:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone: tell everybody, and leave nothing behind."""
        if self.state is State.CLOSED:
            return
        # without a clock nothing was set up
        was_set_up = self._connected_at is not None
        if self._reason is None:
            self._reason = self._lost_reason(reason)
            if was_set_up:
                self._stop_timers()
        if self._close_deadline is not None:
            self._close_deadline.disarm()
        self._closed()

    def _lost_reason(self, failure: Failure) -> CloseReason:
        inner = next(iter(getattr(failure.value, "args", ())), None)
        if isinstance(inner, Failure):
            # txtorcon hands the transport's failure on inside an error of its own
            failure = inner
        if getattr(self.transport, "disconnecting", False):
            # somebody has closed the transport itself, such as a ClientService that stops
            by, cause, detail = ClosedBy.LOCAL, CloseCause.DISCONNECT, "its transport was closed"
        elif failure.check(ConnectionDone) is None:
            by, cause, detail = ClosedBy.NETWORK, CloseCause.CONNECTION_LOST, failure.getErrorMessage()
        else:
            by, cause, detail = ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED, ""
        reject = self._last_reject
        if reject is None:
            return CloseReason(by, cause, detail)
        if not self._was_ready:
            by, cause = ClosedBy.REMOTE, CloseCause.REJECTED
        return _reason(by, cause, detail, sanitize(reject.rejected, 12), reject)

    def _closed(self) -> None:
        self.state = move(self.state, State.CLOSED)
        self.is_closing = True
        assert self._reason is not None
        reason, error = self._reason, self._closed_error()
        self._tear_down(error)
        # one by one: a callback may cancel another
        while self._ready_waiters:
            self._ready_waiters.pop(0).errback(error)
        self._ended(reason)
        self._has_ended = True
        while self._closed_waiters:
            self._closed_waiters.pop(0).callback(reason)

    # -- the rest ------------------------------------------------------------------------------

    def _cross(self, verb: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a verb in the reactor's thread, from another.

        :raises LocalError: when there is no reactor to cross over to.
        """
        for reactor in (self.config.clock, getattr(self.transport, "reactor", None)):
            call_from_thread = getattr(reactor, "callFromThread", None)
            if call_from_thread is not None:
                return cross(call_from_thread, self._thread, verb, *args, **kwargs)
        raise LocalError("called from another thread, and neither clock nor transport has callFromThread")

    @property
    def address(self) -> str:
        """The remote's address for people, such as ``127.0.0.1:18555``."""
        return "nowhere" if self._address is None else address_text(self._address)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}, {self.state.value}>"

    def __str__(self) -> str:
        return f"{self.address} ({'inbound' if self.inbound else 'outbound'})"


def _reason(by: ClosedBy, cause: CloseCause, detail: str, command: str | None, reject: Reject | None) -> CloseReason:
    if reject is None:
        return CloseReason(by, cause, detail, command)
    return CloseReason(by, cause, detail, command, reject.code, sanitize(reject.reason))
