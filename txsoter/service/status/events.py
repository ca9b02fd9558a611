"""Server-sent events: viewers are told when something changes."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from txsoter.clock import monotonic

__all__ = ["MAX_STREAMS", "EventStream", "EventStreams", "Viewed"]

MAX_STREAMS = 32
"""Viewers at a time."""

HEARTBEAT = 15.0
"""Seconds without an event after which a sign of life is sent."""

BEAT = b":\nevent: beat\ndata: 1\n\n"
"""A comment, for those on the way who take a silent connection for dead, and an event, which the page can see."""

SHARE = 0.05
"""The most of our time that looking may take: where it takes long, it is done less often."""


class Viewed(Protocol):
    """What viewers see.

    :ivar version: another number when that has changed.
    :ivar interval: seconds between two looks.
    :ivar fresh: seconds for which a look counts; a little less than ``interval``.
    """

    version: int
    interval: float
    fresh: float

    def look(self) -> int:
        """See what there is now, and return ``version``."""

    def json(self) -> bytes:
        """Return the event for viewers who have not seen this version yet."""


@implementer(IPushProducer)
class EventStream:
    """A viewer.

    Its connection holds one event at most: the next is sent once that was taken. A viewer that takes nothing for long
    is dropped by the connection's guard.

    :ivar version: of what it was sent last.
    :ivar sent_at: when that was, or when it was last sent a sign of life.
    :ivar is_paused: whether it has not taken the last event yet.
    """

    def __init__(self, request: Request, clock: IReactorTime) -> None:
        self._request = request
        self._seconds = monotonic(clock)
        self.version = 0
        self.sent_at = self._seconds()
        self.is_paused = False
        request.registerProducer(self, True)

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        self.sent_at = self._seconds()
        self._request.write(data)

    def pauseProducing(self) -> None:
        """Wait until it has taken what it was sent."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """Go on: it has taken everything."""
        self.is_paused = False

    def stopProducing(self) -> None:
        """Do nothing: the request says that it has gone."""

    def drop(self) -> None:
        """Close its connection, whatever it has not taken. A browser reconnects."""
        transport: Any = self._request.transport
        transport.abortConnection()


class EventStreams:
    """All viewers. Nothing is done while there are none.

    :param picture: what they see.
    :param limit: viewers at a time.
    :ivar timer: gives seconds of real time, to measure how long making the picture takes.
    """

    log = Logger()

    def __init__(self, picture: Viewed, clock: IReactorTime, limit: int = MAX_STREAMS) -> None:
        self._picture = picture
        self._clock = clock
        self._seconds = monotonic(clock)
        self._limit = limit
        # a dict, for its order: the first has been there the longest
        self._streams: dict[EventStream, None] = {}
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._rest = 0
        self.timer: Callable[[], float] = perf_counter

    def __len__(self) -> int:
        return len(self._streams)

    def answer(self, request: Request) -> int:
        """Answer a request for the events."""
        request.setHeader(b"Content-Type", b"text/event-stream")
        # for proxies that would wait for more
        request.setHeader(b"X-Accel-Buffering", b"no")
        if request.method == b"HEAD":
            request.finish()
        else:
            self.open(request)
        return NOT_DONE_YET

    def open(self, request: Request) -> None:
        """Add a viewer: it is sent what there is at once, and what changes from now on.

        If there are too many, it takes the place of one that has not taken its last event, or else of the one that
        has been there the longest, whose browser reconnects: a full house must not keep people out.
        """
        version = self._picture.look()
        if len(self._streams) >= self._limit:
            # sorted() keeps the order of those that are alike
            leaving = sorted(self._streams, key=lambda each: not each.is_paused)[0]
            self._gone(leaving)
            leaving.drop()
        stream = EventStream(request, self._clock)
        self._streams[stream] = None
        request.notifyFinish().addBoth(lambda _: self._gone(stream))
        # milliseconds after which a browser reconnects
        stream.write(b"retry: 2000\n\n" + self._event())
        stream.version = version
        if not self._looking.running:
            self._looking.start(self._picture.interval, now=False).addErrback(
                lambda failure: self.log.failure("status events have stopped", failure)
            )

    def _gone(self, stream: EventStream) -> None:
        self._streams.pop(stream, None)
        if not self._streams and self._looking.running:
            self._looking.stop()

    def _event(self) -> bytes:
        return b"data: %b\n\n" % self._picture.json()

    def _look(self) -> None:
        now = self._seconds()
        if self._rest > 0:
            self._rest -= 1
            return
        began = self.timer()
        try:
            version = self._picture.look()
        except Exception:
            # viewers keep what they have, and it is tried again
            self.log.failure("the status page cannot be updated")
            version = self._picture.version
            self._rest = 10
        # one for all of them: each that is not taken yet costs no memory of its own
        event = self._event()
        for stream in list(self._streams):
            if stream.is_paused:
                continue
            # the first time it looked was between two of our looks
            if stream.version != version and now - stream.sent_at >= self._picture.fresh:
                stream.version = version
                stream.write(event)
            elif now - stream.sent_at >= HEARTBEAT:
                stream.write(BEAT)
        self._rest = max(self._rest, int((self.timer() - began) / SHARE / self._picture.interval))
