"""The send queue: order, limits, back-pressure, and who is told when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from txsoter.wire import Message

__all__ = ["BATCH", "PIECE", "Outbox", "fail_quietly"]

PIECE = 64 * 1024
"""The most bytes handed to the transport at a time; each piece taken is progress."""

BATCH = 64
"""How many frames are held back at most: more are so many objects at a time that the garbage collector starts, which
makes small messages 4 % slower."""


class Writer(Protocol):
    """Where the bytes go."""

    def write(self, data: bytes) -> object:
        """Take ``data``, and call ``pauseProducing`` when that was enough."""
        ...


_Entry = tuple[bytes, Message, "Deferred[None] | None"]
"""A frame that waits, its message, and whom to tell."""


def fail_quietly(deferred: Deferred[None], failure: Failure) -> None:
    """Fail ``deferred``; if nobody has asked for its result, that is not an error to log.

    Most callers of ``send()`` do not look at what it returns, and the end of a connection is told to
    them once, by its own means.
    """
    # what Twisted calls the list depends on its version
    fields = vars(deferred)
    watched = bool(fields.get("_callbacks", fields.get("callbacks")))
    deferred.errback(failure)
    info = deferred._debugInfo
    if not watched and info is not None:
        info.failResult = None


@implementer(IPushProducer)
class Outbox:
    """Frames on their way to the transport, which it serves as a streaming producer.

    :param now: gives the time in seconds.
    :param handed: called with the message and the size of each frame, once its last byte is with the
        transport.
    :ivar waiting: bytes that are not with the transport yet.
    :ivar last_progress: when the transport last took something, or had nothing to take.
    :ivar last_write: when the transport was last handed something, or None.
    :ivar paused: whether the transport has had enough.
    :ivar flushing: whether the transport is just being handed something.
    """

    __slots__ = (
        "_corks",
        "_handed",
        "_now",
        "_offset",
        "_on_change",
        "_queue",
        "_told",
        "_writer",
        "flushing",
        "last_progress",
        "last_write",
        "paused",
        "waiting",
    )

    def __init__(
        self,
        writer: Writer,
        now: Callable[[], float],
        handed: Callable[[Message, int], None],
        on_change: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._now = now
        self._handed = handed
        self._on_change = on_change
        # lists, although taken from at the front: an empty deque costs an idle connection 700 bytes
        self._queue: list[_Entry] = []
        self._offset = 0
        self._told: list[Deferred[None]] = []
        self._corks = 0
        self.flushing = False
        self.waiting = 0
        self.paused = False
        self.last_progress = now()
        self.last_write: float | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, frame: bytes, message: Message, done: Deferred[None] | None = None) -> None:
        """Queue a frame, and write what the transport takes.

        :param done: fires once the frame is with the transport, and the transport would take more.
        """
        if not self.waiting and not self.paused:
            if not self._corks and not self.flushing and len(frame) <= PIECE:
                self._write_at_once(frame, message, done)
                return
            self.last_progress = self._now()
        self._queue.append((frame, message, done))
        self.waiting += len(frame)
        if not self._corks or self.waiting >= PIECE or len(self._queue) >= BATCH:
            self.flush()

    def _write_at_once(self, frame: bytes, message: Message, done: Deferred[None] | None) -> None:
        """Write a frame with nothing before it, without the detour by the queue."""
        self.flushing = True
        try:
            self.last_progress = self.last_write = self._now()
            # before it is written: the transport may close in the middle of that
            if done is not None:
                self._told.append(done)
            self._writer.write(frame)
            self._handed(message, len(frame))
            self._tell()
        finally:
            self.flushing = False
        if self._queue:
            self.flush()

    def cork(self) -> None:
        """Hold writes back until :meth:`uncork`, so that what one turn queues is handed over together.

        But for what is more than :data:`BATCH` frames or :data:`PIECE` bytes: that is not held.
        """
        self._corks += 1

    def uncork(self) -> None:
        """Write what was held back."""
        self._corks -= 1
        if not self._corks and self._queue:
            self.flush()

    def flush(self) -> None:
        """Hand the transport pieces until it has had enough or nothing is left."""
        if self.flushing:
            return
        self.flushing = True
        try:
            while self._queue and not self.paused:
                self._write_piece()
                self._tell()
        finally:
            self.flushing = False

    def _write_piece(self) -> None:
        """Write up to :data:`PIECE` bytes: as many whole frames as fit, or a part of one that does not."""
        first, _, _ = self._queue[0]
        if self._offset or len(first) > PIECE:
            piece = first[self._offset : self._offset + PIECE]
            self._offset += len(piece)
            whole = 1 if self._offset == len(first) else 0
        else:
            parts, room = [], PIECE
            for frame, _, _ in self._queue:
                room -= len(frame)
                if room < 0:
                    break
                parts.append(frame)
            piece = b"".join(parts) if len(parts) > 1 else first
            whole = len(parts)
        gone = self._queue[:whole]
        if gone:
            del self._queue[:whole]
            self._offset = 0
        self.waiting -= len(piece)
        # before it is written: the transport may close in the middle of that
        self._told += [done for _, _, done in gone if done is not None]
        self.last_progress = self.last_write = self._now()
        self._writer.write(piece)
        handed = self._handed
        for frame, message, _ in gone:
            handed(message, len(frame))

    def _tell(self) -> None:
        # one by one: what one of them sends may be enough for the transport
        while self._told and not self.paused:
            self._told.pop(0).callback(None)

    def pauseProducing(self) -> None:
        """The transport has had enough."""
        self.paused = True
        self._on_change()

    def resumeProducing(self) -> None:
        """The transport would take more."""
        self.paused = False
        self.last_progress = self._now()
        self._tell()
        self.flush()
        self._on_change()

    def stopProducing(self) -> None:
        """The transport is gone; the protocol is told of that by other means."""

    def drop(self, error: Exception) -> None:
        """Forget what waits, and tell everybody why."""
        untold = [*self._told, *(done for _, _, done in self._queue if done is not None)]
        self._told.clear()
        self._queue.clear()
        self.waiting = self._offset = 0
        for done in untold:
            fail_quietly(done, Failure(error))
