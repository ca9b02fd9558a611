"""``SoterPeerProtocol``: a remote peer, and everything that an application can do with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from threading import get_ident
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from txsoter.core.address_push import address_caches, pick_addresses
from txsoter.core.announcer import checked_vector
from txsoter.core.answer_iterator import each_answer, make_request_all
from txsoter.core.connection import Connection
from txsoter.core.dispatch_table import DispatchTable, Handler
from txsoter.core.listeners import table_of
from txsoter.core.log_text import MessageLog
from txsoter.core.rejects import lacks_hash, make_reject
from txsoter.core.state import State
from txsoter.core.stats import PEER_IDS, PeerStats, snapshot
from txsoter.errors import CloseCause, CloseReason, LocalError, MalformedMessage
from txsoter.peer.addressing import host_and_port
from txsoter.peer.config import PeerConfig, shared
from txsoter.peer.endpoints import check_config
from txsoter.peer.session import Session
from txsoter.wire import (
    ZERO_HASH,
    Addr,
    AddrCache,
    Encoding,
    GetBlocks,
    GetHeaders,
    Hash,
    InventoryVector,
    Message,
    NetAddress,
    Reject,
)

__all__ = ["SoterPeerProtocol"]

# of the module, not of the class: events that are kept must not keep closed peers
_log = Logger()

A = TypeVar("A", bound=Message)
T = TypeVar("T")

_CONFIGURED: Any = object()


class SoterPeerProtocol(Protocol):
    """A remote peer of the soter network.

    Made by :class:`~txsoter.SoterClientFactory` and :class:`~txsoter.SoterServerFactory`, or subclassed: override
    ``message_received``, ``peer_ready`` and ``peer_closed``. All its public methods may be called from any
    thread; from another than the reactor's, those that do more than look return a Deferred (or None, as in the
    reactor's), whose callbacks run in the reactor's.

    :param config: its settings; may serve other peers too.
    :param inbound: True if the remote dialled us.
    :ivar config: as given.
    :ivar inbound: as given.
    :ivar id: a number that no other peer of this process has.
    :raises txsoter.errors.FieldError: if ``config`` is none.
    """

    # which methods it has beyond ITransport's depends on the endpoint
    transport: Any

    def __init__(self, config: PeerConfig, inbound: bool = False) -> None:
        check_config(config)
        self.config = config
        self.inbound = inbound
        self.id = next(PEER_IDS)
        table = shared(config, type(self), self.__make_table)
        # private to this class, so that a subclass may use any names
        self.__connection = Connection(config, inbound, table, config.random)
        self.__session = Session(self, config, self.__connection)

    def __make_table(self) -> DispatchTable:
        """Return the dispatch table of all peers of this class and config."""
        before: tuple[Handler, ...] = ()
        if self.config.log_messages > MessageLog.OFF:
            before = (lambda peer, message, payload: peer.__session.reporter.log_message(message, payload, False),)
        after: tuple[Handler, ...] = ()
        if type(self).message_received is not SoterPeerProtocol.message_received:
            after = (lambda peer, message, payload: peer.message_received(message),)
        return table_of(self.config.listeners, before, lambda kind: after)

    # -- for subclasses ------------------------------------------------------------------------

    def message_received(self, message: Message) -> Any:
        """Handle a message, :class:`~txsoter.wire.Unknown` ones included; its listener has run.

        For subclasses. The result is waited for, if it can be.
        """

    def malformed_received(self, error: MalformedMessage) -> None:
        """Note that a malformed frame came, before the connection is closed for it. For subclasses."""

    def peer_ready(self) -> None:
        """Note that both veracks have crossed. For subclasses."""

    def peer_closed(self, reason: CloseReason) -> None:
        """Note that the connection has ended. For subclasses."""

    # -- what Twisted calls --------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Begin the handshake."""
        self.__session.connection_made(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Handle what was read."""
        session = self.__session
        if session.is_unnamed:
            session.named_late()
        session.driver.data_received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell everybody that the connection has ended, and leave nothing behind."""
        self.__session.connection_lost(reason)

    # -- messages ------------------------------------------------------------------------------

    def send(self, message: Message, encoding: Encoding = Encoding.BASE) -> Deferred[None]:
        """Send a message, in its turn; before the handshake is over it waits for that.

        A listener that waits for a message sent before the handshake is over, or for :meth:`when_ready`, waits for
        itself: the handshake goes on only when it is done.

        :param encoding: how transactions in it are written.
        :return: fires when the message is with the transport and the transport would take more, which may be at
            once; fails with :exc:`~txsoter.errors.SendQueueFull`, or with
            :exc:`~txsoter.errors.ConnectionClosed` when the connection ends first.
        :raises txsoter.errors.LocalError: when the message cannot be encoded; nothing is sent then.
        """
        session = self.__session
        if get_ident() != session.thread:
            crossed: Deferred[None] = session.cross(self.__send, message, encoding, self.__encoded(message, encoding))
            return crossed
        done: Deferred[None] = Deferred()
        session.driver.send(message, encoding, done)
        return done

    def __send(self, message: Message, encoding: Encoding, encoded: tuple[bytes, int] | None = None) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self.__session.driver.send(message, encoding, done, encoded)
        return done

    def __encoded(self, message: Message, encoding: Encoding = Encoding.BASE) -> tuple[bytes, int]:
        """Encode a message in whatever thread this is.

        :raises LocalError: if that cannot be; ``on_write`` is told in the reactor's thread.
        """
        try:
            return self.__connection.encode(message, encoding)
        except LocalError as error:
            if get_ident() == self.__session.thread:
                self.__encoding_failed(message, error)
            else:
                self.__session.cross(self.__encoding_failed, message, error)
            raise

    def __encoding_failed(self, message: Message, error: LocalError) -> None:
        self.__connection.encoding_failed(message, error)
        self.__session.driver.run()

    def request(
        self,
        message: Message,
        expected_type: type[A],
        timeout: float | None = _CONFIGURED,
        matching: Callable[[A], object] | None = None,
        encoding: Encoding = Encoding.BASE,
    ) -> Deferred[A]:
        """Send a message, and wait for its answer.

        The answer to ``getdata`` is known by its hash, a pong by its nonce, any other by its class alone:
        the first such message goes to the request that has waited longest. May be awaited inside a listener; but two
        peers whose listeners both await an answer of the other's wait until one times out: each answers in its turn.

        :param expected_type: the answer's class.
        :param timeout: seconds; None to wait as long as the connection lasts; by default ``request_timeout``.
        :param matching: tells of a message of that class whether it is the answer.
        :return: fires with the answer, or fails with a :exc:`~txsoter.errors.RequestFailed`: timed out, not
            found, rejected with the remote's reason, closed with why. Cancel it to give up.
        :raises txsoter.errors.LocalError: when the message cannot be encoded, there is no connection yet, or another
            argument cannot be.
        """
        session = self.__session
        if timeout is _CONFIGURED:
            timeout = self.config.request_timeout
        arguments = (message, expected_type, timeout, matching, encoding)
        if get_ident() != session.thread:
            crossed: Deferred[A] = session.cross(self.__request, *arguments, self.__encoded(message, encoding))
            return crossed
        return self.__request(*arguments)

    def __request(
        self,
        message: Message,
        expected_type: type[A],
        timeout: float | None,
        matching: Callable[[A], object] | None,
        encoding: Encoding,
        encoded: tuple[bytes, int] | None = None,
    ) -> Deferred[A]:
        answer: Deferred[A] = Deferred(self.__give_up)
        try:
            self.__connection.request(
                message, expected_type, timeout, matching, answer, self.__session.now(), encoding, encoded
            )
        finally:
            self.__session.driver.run()
        return answer

    def request_all(
        self,
        message: Message,
        expected_type: type[A] | tuple[type[A], ...],
        *,
        count: int | None = None,
        until: Callable[[A], object] | None = None,
        then: Callable[[A], Message | None] | None = None,
        timeout: float | None = _CONFIGURED,
        matching: Callable[[A], object] | None = None,
        encoding: Encoding = Encoding.BASE,
    ) -> AsyncGenerator[A, None]:
        """Send a message, and iterate over its answers: ``async for answer in peer.request_all(...)``.

        The message is sent when the first answer is asked for. Answers are known as with :meth:`request`; those to
        ``getdata`` are over when everything that it asks for has come, the transactions of filtered blocks included if
        ``Tx`` is among the classes. An answer that the loop has not taken keeps
        the connection from being read, unless another request waits: the loop may await :meth:`request`, and may
        itself be in a listener. Leave it early by ``break``, or for certain at once by
        :func:`contextlib.aclosing`. The loop has to be in the reactor's thread.

        :param expected_type: the answers' class, or a tuple of classes. With :class:`~txsoter.wire.NotFound` among
            them what the remote lacks is an answer as well; without, it is an error.
        :param count: the number of answers.
        :param until: tells of an answer whether it is the last.
        :param then: returns the message to send after an answer, or None behind the last; all its answers follow one
            by one, as with ``getheaders`` up to the tip.
        :param timeout: seconds for each answer from when the loop waits for it; None to wait as long as the connection
            lasts; by default ``request_timeout``.
        :param matching: tells of a message of these classes whether it is an answer.
        :return: an asynchronous iterator; it raises a :exc:`~txsoter.errors.RequestFailed` as :meth:`request` does,
            behind the answers that came before.
        :raises txsoter.errors.LocalError: when the message cannot be encoded, or another argument cannot be.
        """
        session = self.__session
        timeout = self.config.request_timeout if timeout is _CONFIGURED else timeout
        request = make_request_all(
            self.__connection, message, expected_type, timeout, matching, count, until, then, encoding
        )
        return each_answer(session.driver, request, then, encoding, lambda: session.now(), Deferred, session.call)

    def __give_up(self, answer: Deferred[Any]) -> None:
        self.__connection.give_up(answer)
        self.__session.driver.run()

    # -- inventory -----------------------------------------------------------------------------

    def queue_inventory(self, vector: InventoryVector, force: bool = False) -> None:
        """Announce something, unless the remote is known to have it.

        Blocks are announced at once, and not marked as known by that; all else waits for the next trickle.
        Before the remote is ready they are kept and sent once it is; when not connected they are dropped.

        :param force: announce it although known; the remote may have forgotten.
        :raises txsoter.errors.FieldError: for a vector that cannot be encoded.
        """
        vector = checked_vector(vector)
        if get_ident() != self.__session.thread:
            self.__session.cross(self.queue_inventory, vector, force)
            return
        self.__connection.queue_inventory(vector, force, self.__session.now())
        self.__session.driver.run()

    def add_known_inventory(self, vector: InventoryVector) -> None:
        """Note that the remote has something, so that it is not announced to it.

        Announcements of the remote are not noted by themselves: call this for what the remote offers and sends.
        """
        vector = checked_vector(vector)
        if get_ident() != self.__session.thread:
            self.__session.cross(self.add_known_inventory, vector)
            return
        self.__connection.add_known_inventory(vector)

    def update_height(self, height: int) -> None:
        """Note that the remote has a block of that height, for ``stats().max_height``, which only grows."""
        self.__connection.update_height(height)

    def update_announced_block(self, block_hash: Hash) -> None:
        """Note the block that the remote announced last, for ``stats().last_announced_block``."""
        self.__connection.channel.last_announced_block = block_hash

    # -- pushing -------------------------------------------------------------------------------

    def push_addresses(self, addresses: Sequence[NetAddress]) -> Sequence[NetAddress]:
        """Send an ``addr``: nothing for no addresses, a random 1000 of more than that.

        :return: those sent.
        """
        picked = pick_addresses(addresses, self.config.random)
        return self.__push([Addr(picked)] if picked else [], picked)

    def push_address_cache(
        self, inbound: Iterable[NetAddress], outbound: Iterable[NetAddress], known: Iterable[NetAddress]
    ) -> Sequence[AddrCache]:
        """Send as many ``addrcache`` as it takes, outbound addresses first; none when there are no addresses.

        :return: the messages sent.
        """
        caches = address_caches(inbound, outbound, known)
        return self.__push(caches, caches)

    def __push(self, messages: Sequence[Message], result: T) -> T:
        """Send all of ``messages``, or none if one of them cannot be encoded."""
        encoded = [self.__encoded(message) for message in messages]
        if get_ident() != self.__session.thread:
            crossed: T = self.__session.cross(self.__push_encoded, messages, encoded, result)
            return crossed
        return self.__push_encoded(messages, encoded, result)

    def __push_encoded(self, messages: Sequence[Message], encoded: Sequence[tuple[bytes, int]], result: T) -> T:
        for message, frame in zip(messages, encoded, strict=True):
            self.__session.driver.send(message, Encoding.BASE, None, frame)
        return result

    def push_get_blocks(self, height: int | None = None, stop: Hash = ZERO_HASH) -> Deferred[None]:
        """Ask for the blocks above ``height``; a repeat of the last call is dropped, unless ``stop`` is zero.

        :return: as :meth:`send`; has fired already when the call was dropped.
        """
        return self.__ask(GetBlocks(protocol_version=self.config.protocol_version, height=height, stop=stop))

    def push_get_headers(self, height: int | None = None, stop: Hash = ZERO_HASH) -> Deferred[None]:
        """Ask for the headers above ``height``; a repeat of the last call is dropped.

        :return: as :meth:`send`; has fired already when the call was dropped.
        """
        return self.__ask(GetHeaders(protocol_version=self.config.protocol_version, height=height, stop=stop))

    def __ask(self, question: GetBlocks | GetHeaders) -> Deferred[None]:
        session = self.__session
        # an error surfaces here, in whatever thread, and is no question asked
        encoded = self.__encoded(question)
        if get_ident() != session.thread:
            crossed: Deferred[None] = session.cross(self.__ask, question)
            return crossed
        if self.__connection.repeats(question):
            return succeed(None)
        return self.__send(question, Encoding.BASE, encoded)

    def push_reject(
        self, command: str | bytes, code: int, reason: str | bytes, hash: Hash | None = None
    ) -> Deferred[None]:
        """Send a ``reject``; nothing to a remote too old to know it.

        :param command: of the message refused.
        :param code: see :class:`~txsoter.wire.RejectCode`.
        :param hash: of the block or transaction refused; needed for these two, and for no other.
        :return: as :meth:`send`; has fired already when nothing is sent.
        """
        message = make_reject(command, code, reason, hash)
        exists = self.__connection.channel.handshake.pver >= Reject.since
        session = self.__session
        if get_ident() != session.thread:
            if exists:
                # an encoding error surfaces here
                self.__encoded(message)
            crossed: Deferred[None] = session.cross(self.push_reject, command, code, reason, hash)
            return crossed
        if not exists:
            return succeed(None)
        if lacks_hash(message):
            session.reporter.note("warn", f"a reject of {message.rejected.decode()} should name its hash")
        return self.__send(message, Encoding.BASE)

    # -- ending --------------------------------------------------------------------------------

    def disconnect(self, reason: str = "") -> Deferred[CloseReason]:
        """End the connection; calls after the first change nothing.

        What the transport does not take at once is not sent.

        :param reason: why, for people.
        :return: as :meth:`when_closed`.
        """
        session = self.__session
        if get_ident() != session.thread:
            crossed: Deferred[CloseReason] = session.cross(self.disconnect, reason)
            return crossed
        session.driver.close(CloseCause.DISCONNECT, reason)
        return self.when_closed()

    def when_ready(self) -> Deferred[SoterPeerProtocol]:
        """Fires with this peer once both veracks have crossed; fails with the close reason otherwise.

        Each call gets a Deferred of its own. The failure is a :exc:`~txsoter.errors.HandshakeFailed` when
        the connection ended before, a :exc:`~txsoter.errors.ConnectionClosed` when it was ready once.
        """
        session = self.__session
        if get_ident() != session.thread:
            crossed: Deferred[SoterPeerProtocol] = session.cross(self.when_ready)
            return crossed
        if self.state is State.READY:
            return succeed(self)
        if self.state.is_closing:
            return fail(self.__connection.channel.closed_error())
        return session.ready_waiters.add()

    def when_closed(self) -> Deferred[CloseReason]:
        """Fires with the :class:`~txsoter.CloseReason` once the connection has ended and all is cleaned up.

        Each call gets a Deferred of its own.
        """
        session = self.__session
        if get_ident() != session.thread:
            crossed: Deferred[CloseReason] = session.cross(self.when_closed)
            return crossed
        reason = self.close_reason
        return succeed(reason) if session.has_ended and reason is not None else session.closed_waiters.add()

    # -- looking -------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Progress of the connection."""
        return self.__connection.channel.state

    @property
    def is_closing(self) -> bool:
        """True once the connection has begun to end."""
        return self.__connection.channel.state.is_closing

    @property
    def close_reason(self) -> CloseReason | None:
        """The end of the connection: by whom, and why; None until it has begun."""
        return self.__connection.channel.reason

    @property
    def address(self) -> str:
        """The remote's address for people, such as ``127.0.0.1:18555``."""
        return self.__session.address_text()

    @property
    def remote_address(self) -> IAddress | None:
        """The remote's address; None before the connection is made, or if a proxy before us does not tell it."""
        return self.__session.remote

    @property
    def host(self) -> str | None:
        """The remote's IP or host name; None if it has neither, or is not known."""
        return host_and_port(self.__session.remote)[0]

    @property
    def port(self) -> int | None:
        """The remote's port; None if it has none, or is not known."""
        return host_and_port(self.__session.remote)[1] or None

    def refuse(self, why: str) -> None:
        """End a connection that its factory does not let in; quietly, if it has not begun."""
        self.__session.refuse(why)

    def stats(self) -> PeerStats:
        """Return a snapshot of the connection."""
        session = self.__session
        return snapshot(
            self.__connection,
            id=self.id,
            address=self.address,
            now=session.now(),
            wall=session.wall_seconds(),
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}, {self.state.value}>"

    def __str__(self) -> str:
        return str(self.__session.reporter)
