"""Server-sent events: those who look are told when something changes."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.server import Request
from zope.interface import implementer

from txsoter.clock import monotonic
from txsoter.service.status.watching import Picture

__all__ = ["MAX_STREAMS", "EventStream", "EventStreams"]

MAX_STREAMS = 32
"""How many may look at a time."""

HEARTBEAT = 15.0
"""Seconds without an event after which a sign of life is sent."""

BEAT = b":\nevent: beat\ndata: 1\n\n"
"""A comment, for those on the way who take a silent connection for dead, and an event, which the page can see."""

PATIENCE = 15.0
"""Seconds after which one who takes nothing is dropped."""

SHARE = 0.05
"""The most of our time that looking may take: where it takes long, it is done less often."""


@implementer(IPushProducer)
class EventStream:
    """One who looks.

    What waits for it is at most what its transport holds and one event: there is no other queue.

    :ivar version: of what it was sent last.
    :ivar sent_at: when that was, or when it was last sent a sign of life.
    :ivar paused_at: since when it takes nothing more, or None.
    """

    def __init__(self, request: Request, clock: IReactorTime) -> None:
        self._request = request
        self._seconds = monotonic(clock)
        self.version = 0
        self.sent_at = self._seconds()
        self.paused_at: float | None = None
        request.registerProducer(self, True)

    def write(self, data: bytes) -> None:
        """Send something."""
        self.sent_at = self._seconds()
        self._request.write(data)

    def pauseProducing(self) -> None:
        """It takes nothing for now."""
        if self.paused_at is None:
            self.paused_at = self._seconds()

    def resumeProducing(self) -> None:
        """It has taken all."""
        self.paused_at = None

    def stopProducing(self) -> None:
        """It has gone."""

    def drop(self) -> None:
        """Let it go, whatever waits for it: it may come again."""
        transport: Any = self._request.transport
        transport.abortConnection()


class EventStreams:
    """All who look. Nothing is done while there are none.

    :param picture: what they look at.
    :ivar timer: gives seconds of real time, which looking takes.
    """

    log = Logger()

    def __init__(self, picture: Picture, clock: IReactorTime, limit: int = MAX_STREAMS) -> None:
        self._picture = picture
        self._clock = clock
        self._seconds = monotonic(clock)
        self._limit = limit
        self._streams: set[EventStream] = set()
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._rest = 0
        self.timer: Callable[[], float] = perf_counter

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def has_room(self) -> bool:
        """Whether one more may look."""
        return len(self._streams) < self._limit

    def open(self, request: Request) -> None:
        """Somebody looks: is told what there is at once, and what changes from now on."""
        version = self._picture.look()
        stream = EventStream(request, self._clock)
        self._streams.add(stream)
        request.notifyFinish().addBoth(lambda _: self._gone(stream))
        # after how many milliseconds a browser comes again when the connection is lost
        stream.write(b"retry: 2000\n\n")
        self._tell(stream, version)
        if not self._looking.running:
            self._looking.start(self._picture.interval, now=False).addErrback(
                lambda failure: self.log.failure("status events have stopped", failure)
            )

    def _gone(self, stream: EventStream) -> None:
        self._streams.discard(stream)
        if not self._streams and self._looking.running:
            self._looking.stop()

    def _tell(self, stream: EventStream, version: int) -> None:
        stream.version = version
        stream.write(b"data: %b\n\n" % self._picture.json())

    def _look(self) -> None:
        now = self._seconds()
        for stream in list(self._streams):
            if stream.paused_at is not None and now - stream.paused_at >= PATIENCE:
                stream.drop()
        if self._rest > 0:
            self._rest -= 1
            return
        began = self.timer()
        try:
            version = self._picture.look()
        except Exception:
            # those who look see what was before, and it is tried again
            self.log.failure("the status page cannot be updated")
            version = self._picture.version
            self._rest = 10
        for stream in list(self._streams):
            if stream.paused_at is not None:
                continue
            # the first time it looked was between two of our looks
            if stream.version != version and now - stream.sent_at >= self._picture.fresh:
                self._tell(stream, version)
            elif now - stream.sent_at >= HEARTBEAT:
                stream.write(BEAT)
        self._rest = max(self._rest, int((self.timer() - began) / SHARE / self._picture.interval))
