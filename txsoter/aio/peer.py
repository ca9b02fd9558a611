"""``Peer``: a remote peer, and everything that an asyncio application can do with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any, TypeVar

from typing_extensions import Self

from txsoter.aio.messages import Messages
from txsoter.aio.session import Session
from txsoter.aio.waiters import Answer, fail
from txsoter.core.address_push import address_caches, pick_addresses
from txsoter.core.announcer import checked_vector
from txsoter.core.answer_iterator import each_answer, make_request_all
from txsoter.core.dispatch_table import DispatchTable, Handler
from txsoter.core.listeners import table_of
from txsoter.core.log_text import MessageLog
from txsoter.core.rejects import lacks_hash, make_reject
from txsoter.core.state import State
from txsoter.core.stats import PEER_IDS, PeerStats, snapshot
from txsoter.errors import CloseCause, CloseReason, FieldError, LocalError
from txsoter.peer.config import PeerConfig, shared
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
    VerAck,
)

__all__ = ["Peer", "check_config"]

A = TypeVar("A", bound=Message)

_CONFIGURED: Any = object()


def check_config(config: PeerConfig) -> None:
    """Check that a config serves asyncio.

    :raises FieldError: if it has a clock.
    """
    if config.clock is not None:
        raise FieldError(
            "PeerConfig.clock", config.clock, "None with asyncio, whose loop tells the time: it is for Twisted"
        )


class Peer:
    """A remote peer of the soter network.

    Made by :func:`~txsoter.aio.connect` and :func:`~txsoter.aio.serve`; ``async with`` ends its connection. What it is
    told to do is begun by the call itself; the futures that it returns are there to be awaited, or left alone. To be
    called in the loop's thread only.

    A listener may be a coroutine function: the next message is handled when it is done. When the connection ends, a
    listener that still runs is not cancelled, but everything that it awaits of the peer fails. A listener that is
    cancelled, as by ``asyncio.run()`` at its end, closes the connection.

    :ivar config: its settings; may serve other peers too.
    :ivar inbound: True if the remote dialled us.
    :ivar id: a number that no other peer of this process has.
    """

    __slots__ = ("__weakref__", "_connection", "_driver", "_session", "config", "id", "inbound")

    def __init__(self, config: PeerConfig, inbound: bool, on_ended: Callable[[Peer], None] | None = None) -> None:
        self.config = config
        self.inbound = inbound
        self.id = next(PEER_IDS)
        table = self._table(hands_over=False)
        self._session = Session(self, config, inbound, table, on_ended)
        self._connection = self._session.connection
        self._driver = self._session.driver

    def _table(self, hands_over: bool) -> DispatchTable:
        """Return the dispatch table of all peers of this config.

        :param hands_over: the table of those whose messages are iterated over.
        """
        return shared(self.config, (Peer, hands_over), lambda: self._make_table(hands_over))

    def _make_table(self, hands_over: bool) -> DispatchTable:
        before: tuple[Handler, ...] = ()
        if self.config.log_messages > MessageLog.OFF:
            before = (lambda peer, message, payload: peer._session.reporter.log_message(message, payload, sends=False),)
        hand_over = (lambda peer, message, payload: peer._session.hand_over(message),)
        return table_of(self.config.listeners, before, lambda kind: hand_over if hands_over or kind is VerAck else ())

    @property
    def protocol(self) -> asyncio.Protocol:
        """The protocol of its transport: for loops and wrappers that want one."""
        return self._session

    # -- messages ------------------------------------------------------------------------------

    def send(self, message: Message, encoding: Encoding = Encoding.BASE) -> asyncio.Future[None]:
        """Send a message, in its turn; before the handshake is over it waits for that.

        A listener that waits for a message sent before the handshake is over, or for :meth:`when_ready`, waits for
        itself: the handshake goes on only when it is done.

        :param encoding: how transactions in it are written.
        :return: is done when the message is with the transport and the transport would take more, which may be at
            once; fails with :exc:`~txsoter.errors.SendQueueFull`, or with
            :exc:`~txsoter.errors.ConnectionClosed` when the connection ends first. Cancelling it changes nothing.
        :raises txsoter.errors.LocalError: when the message cannot be encoded; nothing is sent then.
        """
        done: asyncio.Future[None] = self._session.loop.create_future()
        self._driver.send(message, encoding, done)
        return done

    def request(
        self,
        message: Message,
        expected_type: type[A],
        timeout: float | None = _CONFIGURED,
        matching: Callable[[A], object] | None = None,
        encoding: Encoding = Encoding.BASE,
    ) -> asyncio.Future[A]:
        """Send a message, and wait for its answer.

        The answer to ``getdata`` is known by its hash, a pong by its nonce, any other by its class alone:
        the first such message goes to the request that has waited longest. May be awaited inside a listener; but two
        peers whose listeners both await an answer of the other's wait until one times out: each answers in its turn.

        :param expected_type: the answer's class.
        :param timeout: seconds; None to wait as long as the connection lasts; by default ``request_timeout``.
        :param matching: tells of a message of that class whether it is the answer.
        :return: has the answer, or fails with a :exc:`~txsoter.errors.RequestFailed`: timed out, not found, rejected
            with the remote's reason, closed with why. Cancel it to give up.
        :raises txsoter.errors.LocalError: when the message cannot be encoded, there is no connection yet, or another
            argument cannot be.
        """
        if timeout is _CONFIGURED:
            timeout = self.config.request_timeout
        answer: Answer[A] = Answer(self._give_up, self._session.loop)
        try:
            self._connection.request(message, expected_type, timeout, matching, answer, self._session.now(), encoding)
        finally:
            self._driver.run()
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

        See :meth:`txsoter.SoterPeerProtocol.request_all`.
        """
        session = self._session
        timeout = self.config.request_timeout if timeout is _CONFIGURED else timeout
        request = make_request_all(
            self._connection, message, expected_type, timeout, matching, count, until, then, encoding
        )
        create = session.loop.create_future
        return each_answer(self._driver, request, then, encoding, session.now, create, lambda function: function())

    def _give_up(self, answer: Answer[Any]) -> None:
        self._connection.give_up(answer)
        self._driver.run()

    def messages(self) -> Messages:
        """Return an asynchronous iterator over the messages that follow, of every command; it ends with the connection.

        The body of the loop is like a listener: the next message is handled, first by its own listener, when this one
        is done with; and it may await :meth:`request`. Of several iterators only the latest gets anything.

        It misses nothing when it is called before anything is awaited behind ``connect()`` or :meth:`when_ready`, or
        at the beginning of an ``on_ready`` listener that is a coroutine function.
        """
        self._connection.use_table(self._table(hands_over=True))
        return self._session.messages()

    # -- inventory -----------------------------------------------------------------------------

    def queue_inventory(self, vector: InventoryVector, force: bool = False) -> None:
        """Announce something, unless the remote is known to have it.

        Blocks are announced at once, and not marked as known by that; all else waits for the next trickle.
        Before the remote is ready they are kept and sent once it is; when not connected they are dropped.

        :param force: announce it although known; the remote may have forgotten.
        :raises txsoter.errors.FieldError: for a vector that cannot be encoded.
        """
        self._connection.queue_inventory(checked_vector(vector), force, self._session.now())
        self._driver.run()

    def add_known_inventory(self, vector: InventoryVector) -> None:
        """Note that the remote has something, so that it is not announced to it.

        Announcements of the remote are not noted by themselves: call this for what the remote offers and sends.
        """
        self._connection.add_known_inventory(checked_vector(vector))

    def update_height(self, height: int) -> None:
        """Note that the remote has a block of that height, for ``stats().max_height``, which only grows."""
        self._connection.update_height(height)

    def update_announced_block(self, block_hash: Hash) -> None:
        """Note the block that the remote announced last, for ``stats().last_announced_block``."""
        self._connection.channel.last_announced_block = block_hash

    # -- pushing -------------------------------------------------------------------------------

    def push_addresses(self, addresses: Sequence[NetAddress]) -> Sequence[NetAddress]:
        """Send an ``addr``: nothing for no addresses, a random 1000 of more than that.

        :return: those sent.
        """
        picked = pick_addresses(addresses, self.config.random)
        self._push([Addr(picked)] if picked else [])
        return picked

    def push_address_cache(
        self, inbound: Iterable[NetAddress], outbound: Iterable[NetAddress], known: Iterable[NetAddress]
    ) -> Sequence[AddrCache]:
        """Send as many ``addrcache`` as it takes, outbound addresses first; none when there are no addresses.

        :return: the messages sent.
        """
        caches = address_caches(inbound, outbound, known)
        self._push(caches)
        return caches

    def _push(self, messages: Sequence[Message]) -> None:
        """Send all of ``messages``, or none if one of them cannot be encoded."""
        encoded = [self._encoded(message) for message in messages]
        for message, frame in zip(messages, encoded, strict=True):
            self._driver.send(message, Encoding.BASE, None, frame)

    def _encoded(self, message: Message) -> tuple[bytes, int]:
        """Encode a message.

        :raises LocalError: if that cannot be; ``on_write`` is told.
        """
        try:
            return self._connection.encode(message)
        except LocalError as error:
            self._connection.encoding_failed(message, error)
            self._driver.run()
            raise

    def push_get_blocks(self, height: int | None = None, stop: Hash = ZERO_HASH) -> asyncio.Future[None]:
        """Ask for the blocks above ``height``; a repeat of the last call is dropped, unless ``stop`` is zero.

        :return: as :meth:`send`; is done already when the call was dropped.
        """
        return self._ask(GetBlocks(protocol_version=self.config.protocol_version, height=height, stop=stop))

    def push_get_headers(self, height: int | None = None, stop: Hash = ZERO_HASH) -> asyncio.Future[None]:
        """Ask for the headers above ``height``; a repeat of the last call is dropped.

        :return: as :meth:`send`; is done already when the call was dropped.
        """
        return self._ask(GetHeaders(protocol_version=self.config.protocol_version, height=height, stop=stop))

    def _ask(self, question: GetBlocks | GetHeaders) -> asyncio.Future[None]:
        # an error surfaces here, and is no question asked
        encoded = self._encoded(question)
        done: asyncio.Future[None] = self._session.loop.create_future()
        if self._connection.repeats(question):
            done.set_result(None)
        else:
            self._driver.send(question, Encoding.BASE, done, encoded)
        return done

    def push_reject(
        self, command: str | bytes, code: int, reason: str | bytes, hash: Hash | None = None
    ) -> asyncio.Future[None]:
        """Send a ``reject``; nothing to a remote too old to know it.

        :param command: of the message refused.
        :param code: see :class:`~txsoter.wire.RejectCode`.
        :param hash: of the block or transaction refused; needed for these two, and for no other.
        :return: as :meth:`send`; is done already when nothing is sent.
        """
        message = make_reject(command, code, reason, hash)
        if self._connection.channel.handshake.pver < Reject.since:
            nothing: asyncio.Future[None] = self._session.loop.create_future()
            nothing.set_result(None)
            return nothing
        if lacks_hash(message):
            self._session.reporter.note("warn", f"a reject of {message.rejected.decode()} should name its hash")
        return self.send(message)

    # -- ending --------------------------------------------------------------------------------

    def disconnect(self, reason: str = "") -> asyncio.Future[CloseReason]:
        """End the connection; calls after the first change nothing.

        What the transport does not take at once is not sent.

        :param reason: why, for people.
        :return: as :meth:`when_closed`.
        """
        self._driver.close(CloseCause.DISCONNECT, reason)
        return self.when_closed()

    def abort(self, reason: str = "") -> None:
        """End the connection without waiting for the remote to take anything."""
        self._driver.close(CloseCause.DISCONNECT, reason)
        self._session.abort()

    def when_ready(self) -> asyncio.Future[Peer]:
        """Return a future that has this peer once both veracks have crossed; it fails with the close reason otherwise.

        Each call gets a future of its own. The failure is a :exc:`~txsoter.errors.HandshakeFailed` when
        the connection ended before, a :exc:`~txsoter.errors.ConnectionClosed` when it was ready once.
        """
        if self.state is not State.READY and not self.is_closing:
            return self._session.ready_waiters.add()
        future: asyncio.Future[Peer] = self._session.loop.create_future()
        if self.is_closing:
            fail(future, self._connection.channel.closed_error())
        else:
            future.set_result(self)
        return future

    def when_closed(self) -> asyncio.Future[CloseReason]:
        """Return a future that has the :class:`~txsoter.CloseReason` once the connection has ended.

        Each call gets a future of its own. Listeners that run then may run on.
        """
        if not self._session.has_ended:
            return self._session.closed_waiters.add()
        future: asyncio.Future[CloseReason] = self._session.loop.create_future()
        assert self.close_reason is not None
        future.set_result(self.close_reason)
        return future

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.disconnect()

    # -- looking -------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Progress of the connection."""
        return self._connection.channel.state

    @property
    def is_closing(self) -> bool:
        """True once the connection has begun to end."""
        return self._connection.channel.state.is_closing

    @property
    def close_reason(self) -> CloseReason | None:
        """The end of the connection: by whom, and why; None until it has begun."""
        return self._connection.channel.reason

    @property
    def address(self) -> str:
        """The remote's address for people, such as ``127.0.0.1:18555``."""
        return self._session.address_text()

    @property
    def host(self) -> str | None:
        """The remote's IP; None if it has none, or before the connection is made."""
        return self._connection.channel.host

    @property
    def port(self) -> int | None:
        """The remote's port; None if it has none, or before the connection is made."""
        return self._connection.channel.port or None

    def stats(self) -> PeerStats:
        """Return a snapshot of the connection."""
        return snapshot(
            self._connection,
            id=self.id,
            address=self.address,
            now=self._session.now(),
            wall=time.time(),
        )

    def __repr__(self) -> str:
        return f"<Peer {self}, {self.state.value}>"

    def __str__(self) -> str:
        return str(self._session.reporter)
