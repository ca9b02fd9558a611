"""``SoterPeerProtocol``: a remote peer, and all that an application can do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from txsoter.errors import FieldError, IllegalTransition, RequestClosed
from txsoter.peer.announcing import PeerAnnouncing
from txsoter.peer.handshake import State
from txsoter.peer.stats import PeerStats
from txsoter.peer.verbs import LastAsked, address_caches, pick_addresses
from txsoter.wire import (
    ZERO_HASH,
    Addr,
    AddrCache,
    Encoding,
    GetBlocks,
    GetHeaders,
    Hash,
    Message,
    NetAddress,
    Reject,
    Services,
)

if TYPE_CHECKING:
    from txsoter.peer.config import PeerConfig

# of the module, not of the class: events that are kept must not keep closed peers
_log = Logger()

__all__ = ["SoterPeerProtocol"]

A = TypeVar("A", bound=Message)
T = TypeVar("T")

_CONFIGURED: Any = object()


class SoterPeerProtocol(PeerAnnouncing):
    """A remote peer of the soter network.

    Made by :class:`~txsoter.SoterClientFactory` and :class:`~txsoter.SoterServerFactory`, or subclassed: override
    ``message_received``, ``peer_ready`` and ``peer_closed``. All its public methods may be called from any
    thread; from another than the reactor's, those that do more than look return a Deferred (or None, as in the
    reactor's), whose callbacks run in the reactor's.

    :param config: how it behaves; may serve other peers too.
    :param inbound: whether the remote dialled us.
    """

    __slots__ = (
        "_asked_blocks",
        "_asked_headers",
        "_last_announced_block",
    )

    def __init__(self, config: PeerConfig, inbound: bool = False) -> None:
        super().__init__(config, inbound)
        self._last_announced_block: Hash | None = None
        # a repeated getblocks without a stop asks for more, and is not dropped
        self._asked_blocks = LastAsked(zero_repeats=False)
        self._asked_headers = LastAsked(zero_repeats=True)

    # -- messages ------------------------------------------------------------------------------

    def send(self, message: Message, encoding: Encoding = Encoding.BASE) -> Deferred[None]:
        """Send a message, in its turn; before the handshake is over it waits for that.

        A listener that waits for what is sent before the handshake is over, or for :meth:`when_ready`, waits for
        itself: the handshake goes on only when it is done.

        :param encoding: how transactions in it are written.
        :return: fires when the message is with the transport and the transport would take more, which may be at
            once; fails with :exc:`~txsoter.errors.SendQueueFull`, or with
            :exc:`~txsoter.errors.ConnectionClosed` when the connection ends first.
        :raises txsoter.errors.LocalError: when the message cannot be encoded; nothing is sent then.
        """
        pver = self._pver
        frame = self._encode(message, encoding)
        if get_ident() != self._thread:
            sent: Deferred[None] = self._cross(self._send_crossed, frame, pver, message, encoding)
            return sent
        return self._send_frame(frame, message, encoding)

    def _send_crossed(self, frame: bytes, pver: int, message: Message, encoding: Encoding) -> Deferred[None]:
        """Send what another thread has encoded; again, if the handshake has settled on another version meanwhile."""
        if pver != self._pver:
            frame = self._encode(message, encoding)
        return self._send_frame(frame, message, encoding)

    def _send_frame(self, frame: bytes, message: Message, encoding: Encoding) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._queue(frame, message, encoding, done)
        return done

    def request(
        self,
        message: Message,
        expected_type: type[A],
        timeout: float | None = _CONFIGURED,
        matching: Callable[[A], object] | None = None,
        encoding: Encoding = Encoding.BASE,
    ) -> Deferred[A]:
        """Send a message, and wait for its answer.

        The answer to ``getdata`` is known by its hash, a pong by its nonce, any other by its kind alone:
        the first such message goes to the request that has waited longest. May be awaited inside a listener; but two
        peers whose listeners both await an answer of the other's wait until one times out: each answers in its turn.

        :param expected_type: the answer's class.
        :param timeout: seconds; None to wait as long as the connection lasts; by default ``request_timeout``.
        :param matching: says of a message of that class whether it is the answer.
        :return: fires with the answer, or fails with a :exc:`~txsoter.errors.RequestFailed`: timed out, not
            found, rejected with the remote's reason, closed with why. Cancel it to give up.
        :raises txsoter.errors.LocalError: when the message cannot be encoded, there is no connection yet, or another
            argument cannot be.
        """
        if self.state is State.CONNECTING:
            raise IllegalTransition("a peer that is not connected yet cannot be asked: wait for when_ready()")
        frame = self._encode(message, encoding)
        if get_ident() != self._thread:
            crossed: Deferred[A] = self._cross(self.request, message, expected_type, timeout, matching, encoding)
            return crossed
        if self.is_closing:
            assert self._reason is not None
            return fail(RequestClosed(message.command, self._reason))
        if timeout is _CONFIGURED:
            timeout = self.config.request_timeout
        answer = self._requests.add(message, expected_type, timeout, matching)
        sent: Deferred[None] = Deferred()
        sent.addErrback(self._requests.give_up, answer)
        self._queue(frame, message, encoding, sent)
        # a listener may be what asks, and the answer may have come already
        self._inbox.pump()
        return answer

    # -- inventory -----------------------------------------------------------------------------

    def update_height(self, height: int) -> None:
        """Note that the remote has a block of that height, for ``stats().max_height``, which only grows."""
        self._max_height = max(self._max_height, height)

    def update_announced_block(self, block_hash: Hash) -> None:
        """Note the block that the remote announced last, for ``stats().last_announced_block``."""
        self._last_announced_block = block_hash

    # -- pushing -------------------------------------------------------------------------------

    def push_addresses(self, addresses: Sequence[NetAddress]) -> Sequence[NetAddress]:
        """Send an ``addr``: nothing for no addresses, a random 1000 of more than that.

        :return: those sent.
        """
        picked = pick_addresses(addresses, self.config.random)
        return self._push_all([Addr(picked)] if picked else [], picked)

    def push_address_cache(
        self, inbound: Iterable[NetAddress], outbound: Iterable[NetAddress], known: Iterable[NetAddress]
    ) -> Sequence[AddrCache]:
        """Send as many ``addrcache`` as it takes, outbound addresses first; none when there are no addresses.

        :return: the messages sent.
        """
        caches = address_caches(inbound, outbound, known)
        return self._push_all(caches, caches)

    def _push_all(self, messages: Sequence[Message], result: T) -> T:
        """Send all of ``messages``, or none if one of them cannot be encoded."""
        frames = [self._encode(message, Encoding.BASE) for message in messages]
        if get_ident() != self._thread:
            crossed: T = self._cross(self._push_all, messages, result)
            return crossed
        for frame, message in zip(frames, messages, strict=True):
            self._queue(frame, message, Encoding.BASE, None)
        return result

    def push_get_blocks(self, height: int | None = None, stop: Hash = ZERO_HASH) -> Deferred[None]:
        """Ask for the blocks above ``height``; a repeat of the last call is dropped, unless ``stop`` is zero.

        :return: as :meth:`send`; has fired already when the call was dropped.
        """
        return self._ask(GetBlocks(height, stop, protocol_version=self.config.protocol_version), self._asked_blocks)

    def push_get_headers(self, height: int | None = None, stop: Hash = ZERO_HASH) -> Deferred[None]:
        """Ask for the headers above ``height``; a repeat of the last call is dropped.

        :return: as :meth:`send`; has fired already when the call was dropped.
        """
        return self._ask(GetHeaders(height, stop, protocol_version=self.config.protocol_version), self._asked_headers)

    def _ask(self, message: GetBlocks | GetHeaders, asked: LastAsked) -> Deferred[None]:
        # encoded first: what cannot be asked must not make the next question a repeat
        frame = self._encode(message, Encoding.BASE)
        if get_ident() != self._thread:
            crossed: Deferred[None] = self._cross(self._ask, message, asked)
            return crossed
        if asked.repeats(message.height, message.stop):
            return succeed(None)
        return self._send_frame(frame, message, Encoding.BASE)

    def push_reject(
        self, command: str | bytes, code: int, reason: str | bytes, hash: Hash | None = None
    ) -> Deferred[None]:
        """Send a ``reject``; nothing to a remote too old to know it.

        :param command: of the message refused.
        :param code: see :class:`~txsoter.wire.RejectCode`.
        :param hash: of the block or transaction refused; needed for these two, and for no other.
        :return: as :meth:`send`; has fired already when nothing is sent.
        """
        command = _bytes("command", command)
        message = Reject(command, code, _bytes("reason", reason), ZERO_HASH if hash is None else hash)
        exists = self._pver >= Reject.since
        frame = self._encode(message, Encoding.BASE) if exists else b""
        if get_ident() != self._thread:
            crossed: Deferred[None] = self._cross(self.push_reject, command, code, reason, hash)
            return crossed
        if not exists:
            return succeed(None)
        if hash is None and command in (b"block", b"tx"):
            _log.warn("{peer}: a reject of {command} should name its hash", peer=str(self), command=command.decode())
        return self._send_frame(frame, message, Encoding.BASE)

    # -- waiting -------------------------------------------------------------------------------

    def when_ready(self) -> Deferred[SoterPeerProtocol]:
        """Fires with this peer once both veracks have crossed; fails with the close reason otherwise.

        Each call gets a Deferred of its own. The failure is a :exc:`~txsoter.errors.HandshakeFailed` when
        the connection ended before, a :exc:`~txsoter.errors.ConnectionClosed` when it was ready once.
        """
        if get_ident() != self._thread:
            crossed: Deferred[SoterPeerProtocol] = self._cross(self.when_ready)
            return crossed
        return self._when_ready(self)

    # -- looking -------------------------------------------------------------------------------

    def stats(self) -> PeerStats:
        """A frozen picture of the connection."""
        remote, pings = self._remote, self._pings
        outbox = None if self._connected_at is None else self._outbox
        sent = {command: traffic.copy() for command, traffic in list(self._sent.items())}
        received = {command: traffic.copy() for command, traffic in list(self._received.items())}
        return PeerStats(
            id=self.id,
            address=self.address,
            inbound=self.inbound,
            state=self.state.value,
            services=0 if remote is None else remote.services,
            user_agent=b"" if remote is None else remote.user_agent,
            advertised_version=None if remote is None else remote.protocol_version,
            negotiated_version=self._pver,
            connected_at=self._connected_at,
            last_send=None if outbox is None else outbox.last_write,
            last_receive=self._last_receive,
            bytes_sent=sum(traffic.bytes for traffic in sent.values()),
            bytes_received=self._bytes_received,
            messages_sent=sum(traffic.messages for traffic in sent.values()),
            messages_received=sum(traffic.messages for traffic in received.values()),
            sent=sent,
            received=received,
            starting_height=0 if remote is None else remote.last_block,
            max_height=self._max_height,
            last_announced_block=self._last_announced_block,
            time_offset=self._time_offset,
            relay=remote is None or remote.relay,
            ping_nonce=pings.last_nonce,
            ping_time=pings.last_time,
            ping_micros=pings.last_micros,
            wants_headers=self._wants_headers,
            witness=remote is not None and bool(remote.services & Services.WITNESS),
            known_inventory=len(self._known),
            queue_length=len(self._held or ()) + (0 if outbox is None else len(outbox)),
            queue_bytes=self._held_bytes + (0 if outbox is None else outbox.waiting),
            trailing_bytes=self._trailing_bytes,
            malformed=self._malformed,
            unknown_commands=self._unknown_commands,
            bloom_refused=self._bloom_refused,
            handler_errors=self._handler_errors,
        )


def _bytes(field: str, text: str | bytes) -> bytes:
    """``text`` as bytes.

    :raises FieldError: for what is no text.
    """
    try:
        return text if isinstance(text, bytes) else text.encode()
    except (AttributeError, UnicodeEncodeError):
        raise FieldError(field, text, "text") from None
