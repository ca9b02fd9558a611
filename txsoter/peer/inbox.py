"""Reading: frames to messages, and handlers one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from inspect import iscoroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from txsoter.errors import MalformedMessage
from txsoter.peer.routes import Handler, Plan, Route
from txsoter.peer.timers import RemoteClock
from txsoter.wire import Encoding, FrameDecoder, Message, Unknown
from txsoter.wire.framing import HEADER_SIZE

__all__ = ["Inbox", "Received"]

HELD_MESSAGE = 200
"""About what a message costs to hold, in bytes, beyond those that it came in."""


Received = tuple[Route, Message, bytes, int, bytes]
"""A message that was read: its route, itself, its payload, how many bytes of that it takes, the payload's checksum."""


class Reader(Protocol):
    """Whom an inbox reads for."""

    def may_read(self) -> bool:
        """Whether the next message may be handled now."""
        ...

    def may_look_ahead(self) -> bool:
        """Whether messages may be read while a handler still runs."""
        ...

    def find_route(self, command: bytes) -> Route:
        """The route of a command's 12 bytes."""
        ...

    def received(self, received: Received) -> bool:
        """A message's turn has come; False keeps it from its handlers."""
        ...

    def has_read(self, received: Received) -> None:
        """A message has come, whether or not its turn has."""
        ...

    def malformed(self, error: MalformedMessage) -> bool:
        """A frame was malformed; True to go on behind it."""
        ...

    def handler_failed(self, failure: Failure, command: str) -> None:
        """A handler raised, or what it returned failed."""
        ...

    def reading_changed(self) -> None:
        """Whether more should be read may have changed."""
        ...


class Inbox:
    """Takes what the transport reads, and gives messages their turns.

    A handler that is not done yet holds up all messages behind it. Only while it waits for the answer to
    a request of its own are messages read ahead, to find that answer: they still get their turns in order.

    :ivar pver: the protocol version in use.
    :ivar encoding: how the remote writes transactions.
    """

    __slots__ = (
        "_ahead",
        "_ahead_bytes",
        "_blocked",
        "_clock",
        "_closed",
        "_decoder",
        "_in_hand",
        "_lookahead_limit",
        "_pumping",
        "_reader",
        "_waiting",
        "encoding",
        "pver",
    )

    def __init__(self, reader: Reader, magic: int, pver: int, clock: RemoteClock, lookahead_limit: int) -> None:
        self._reader = reader
        self._decoder: FrameDecoder[Route] = FrameDecoder(magic, reader.find_route)
        self._clock = clock
        self._lookahead_limit = lookahead_limit
        # made when it is needed, which for most connections is never
        self._ahead: deque[Received | MalformedMessage] | None = None
        self._ahead_bytes = 0
        # bytes of the message whose handler is waited for
        self._in_hand = 0
        # a malformed header was met while looking ahead: nothing more can be read before its turn
        self._blocked = False
        self._waiting = False
        self._pumping = False
        self._closed = False
        self.pver = pver
        self.encoding = Encoding.BASE

    def negotiated(self, pver: int, encoding: Encoding) -> None:
        """What holds from the next message on."""
        self.pver = pver
        self.encoding = encoding
        # the routes carry limits of the version before
        self._decoder.routes.clear()

    def feed(self, data: bytes) -> None:
        """Take what was read, and handle the messages that are whole."""
        self._decoder.feed(data)
        self.pump()

    def close(self) -> None:
        """Handle no more messages, and forget what waits."""
        self._closed = True
        self._decoder.clear()
        self._decoder.routes.clear()
        self._ahead = None
        self._ahead_bytes = self._in_hand = 0

    @property
    def is_waiting(self) -> bool:
        """Whether a handler is not done yet."""
        return self._waiting

    @property
    def wants_more(self) -> bool:
        """Whether reading on could lead to anything now."""
        if self._closed:
            return False
        if self._waiting:
            return self._may_look_ahead()
        return self._reader.may_read()

    @property
    def buffered(self) -> int:
        """Bytes that were read and whose turn has not come."""
        return self._decoder.buffered + self._ahead_bytes

    @property
    def held(self) -> int:
        """Bytes that are kept: what is buffered, and the message whose handler is waited for."""
        held = 0 if self._ahead is None else HELD_MESSAGE * len(self._ahead)
        return held + self._decoder.buffered + self._ahead_bytes + self._in_hand

    def pump(self) -> None:
        """Give messages their turns until none is whole, one has to be waited for, or there is reason to pause."""
        if self._pumping:
            return
        self._pumping = True
        # while we are at it, the remote waits for us
        self._clock.stop()
        try:
            while not self._closed:
                if self._waiting:
                    if not (self._may_look_ahead() and self._look_ahead()):
                        break
                elif not self._reader.may_read() or not self._take_turn():
                    break
        finally:
            self._pumping = False
            self._clock.go_on()
        self._reader.reading_changed()

    def _read(self) -> Received | MalformedMessage | None:
        try:
            found = self._decoder.next_frame()
            if found is None:
                return None
        except MalformedMessage as error:
            return error
        route, payload = found
        message_class = route.plan.message_class
        if message_class is None:
            return route, Unknown(route.plan.command, payload), payload, len(payload), self._decoder.checksum
        try:
            message, used = message_class.from_payload(payload, self.pver, self.encoding)
        except MalformedMessage as error:
            error.size = HEADER_SIZE + len(payload)
            return error
        return route, message, payload, used, self._decoder.checksum

    def _take_turn(self) -> bool:
        """Handle one message; False when there is none."""
        if self._ahead:
            item: Received | MalformedMessage | None
            item = self._ahead.popleft()
            if isinstance(item, tuple):
                self._ahead_bytes -= HEADER_SIZE + len(item[2])
        else:
            item = self._read()
            if item is None:
                return False
            if isinstance(item, tuple):
                self._reader.has_read(item)
        if isinstance(item, MalformedMessage):
            self._blocked = False
            if self._reader.malformed(item) and item.in_header:
                self._decoder.skip()
        elif self._reader.received(item):
            plan = item[0].plan
            if plan.handlers or plan.conclude is not None:
                self._run(plan, iter(plan.handlers), item[1], item[2], [])
        return True

    def _may_look_ahead(self) -> bool:
        held = 0 if self._ahead is None else self._ahead_bytes + HELD_MESSAGE * len(self._ahead)
        return not self._blocked and held <= self._lookahead_limit and self._reader.may_look_ahead()

    def _look_ahead(self) -> bool:
        """Read one message before its turn; False when there is none."""
        item = self._read()
        if item is None:
            return False
        if self._ahead is None:
            self._ahead = deque()
        self._ahead.append(item)
        if isinstance(item, tuple):
            self._ahead_bytes += HEADER_SIZE + len(item[2])
            self._reader.has_read(item)
        else:
            self._blocked = True
        return True

    def _run(
        self, plan: Plan, handlers: Iterator[Handler], message: Message, payload: bytes, results: list[Any]
    ) -> None:
        """Run handlers until one has to be waited for."""
        for handler in handlers:
            if self._closed:
                break
            try:
                result = handler(self._reader, message, payload)
            except Exception:
                self._reader.handler_failed(Failure(), plan.command)
                continue
            if result is None:
                continue
            if iscoroutine(result):
                result = Deferred.fromCoroutine(result)
            if not isinstance(result, Deferred):
                results.append(result)
                continue
            before = len(results)
            result.addErrback(self._reader.handler_failed, plan.command)
            result.addCallback(results.append)
            if len(results) == before:
                self._waiting = True
                self._in_hand = len(payload)
                self._clock.stop()
                result.addCallback(lambda _: self._resume(plan, handlers, message, payload, results))
                return
        if plan.conclude is not None and not self._closed:
            plan.conclude(self._reader, [each for each in results if each is not None])

    def _resume(
        self, plan: Plan, handlers: Iterator[Handler], message: Message, payload: bytes, results: list[Any]
    ) -> None:
        """The handler that was waited for is done."""
        self._waiting = False
        self._in_hand = 0
        self._clock.go_on()
        if self._closed:
            return
        # the handlers behind it may pump, which must not give the next message its turn yet
        pumping, self._pumping = self._pumping, True
        self._clock.stop()
        try:
            self._run(plan, handlers, message, payload, results)
        finally:
            self._pumping = pumping
            self._clock.go_on()
        self.pump()
