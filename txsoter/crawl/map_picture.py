"""``MapPicture``: what the page of the map shows, made when somebody looks; layout and analysis included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txsoter.clock import TimeStamps, monotonic
from txsoter.crawl.layout import Point
from txsoter.crawl.map_feed import MapFeed
from txsoter.crawl.map_formats import json_line
from txsoter.crawl.map_graph import GraphReport, analyse
from txsoter.crawl.map_rows import Locate
from txsoter.crawl.map_shares import GrowthSample
from txsoter.crawl.map_view import MapView, difference, view_of, whole
from txsoter.crawl.network_map import NetworkMap
from txsoter.errors import LocalError
from txsoter.peer.deferreds import Waiters

__all__ = ["InThread", "Layouts", "MapPicture"]

T = TypeVar("T")

FIRST_SECONDS = 8.0
"""Seconds for the first layout."""

UPDATE_SECONDS = 3.0
"""Seconds for a layout that starts from another."""

ROUNDS = 8
"""Layouts after a change, each of which starts from the one before: large networks need several to settle."""

SHARE = 0.1
"""The most of one core that layouts may take."""

MAX_CHANGES = 1 << 20
"""The most bytes of an event; a viewer that would need a larger one loads the whole again."""


class Layouts(Protocol):
    """Computes layouts, such as a :class:`.LayoutProcess`."""

    def layout(
        self, count: int, pairs: Sequence[tuple[int, int]], before: Mapping[int, Point], seconds: float
    ) -> Deferred[list[Point]]:
        """Return the positions; see :func:`txsoter.crawl.layout.layout`."""


class InThread(Protocol):
    """Makes calls in another thread, such as one of the reactor's pool."""

    def __call__(self, call: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Call ``call`` there, and fire with what it returns."""


class MapPicture:
    """The page's content, made while somebody looks, but not more than once in ``interval`` seconds.

    A viewer has the whole at some version, and is sent what is different in the next one. Whatever takes more than a
    moment for a large network is done in another thread: maps are immutable.

    :param feed: has the map.
    :param layouts: computes positions.
    :param in_thread: makes calls in another thread.
    :param locate: says in which country an address is.
    :ivar version: of what is shown; another number when that has changed.
    """

    log = Logger()
    interval = 2.0
    # a little less: of calls that are as far apart, one may come a little late and the next in time
    fresh = 1.8

    def __init__(
        self,
        feed: MapFeed,
        clock: IReactorTime,
        layouts: Layouts,
        in_thread: InThread,
        locate: Locate | None = None,
    ) -> None:
        self.version = 0
        self._feed = feed
        self._stamps = TimeStamps(clock)
        self._seconds = monotonic(clock)
        self._layouts = layouts
        self._in_thread = in_thread
        self._locate = locate
        self._looked_at: float | None = None
        self._view: MapView | None = None
        self._event = b""
        self._whole = (-1, b"")
        self._waiters = Waiters()
        self._map: NetworkMap | None = None
        self._positions: dict[str, Point] = {}
        self._report: GraphReport | None = None
        # what the last layout was of, and how many are still to come
        self._laid_out: tuple[list[str], list[tuple[int, int]]] = ([], [])
        self._considered: MapView | None = None
        self._rounds = 0
        self._next_layout = 0.0
        self._is_analysing = self._is_laying_out = self._is_drawing = False
        self._changed = False
        self._failed: set[str] = set()

    def look(self) -> int:
        """See what there is now, and begin what it takes to show it.

        :return: :attr:`version`, which follows when that is done.
        """
        now = self._seconds()
        current = self._feed.current
        if current is None or (self._looked_at is not None and now - self._looked_at < self.fresh):
            return self.version
        self._looked_at = now
        if current is not self._map:
            self._map = current
            self._changed = True
            self._begin_analysis(current)
        self._begin_layout()
        if self._changed and not self._is_drawing:
            self._changed = False
            self._draw(current)
        return self.version

    def _draw(self, current: NetworkMap) -> None:
        def made(found: tuple[MapView, bytes | None]) -> None:
            self._is_drawing = False
            view, event = found
            if event is not None:
                self._view = view
                self._event = event
                self.version += 1

        def failed(failure: Failure) -> None:
            self._is_drawing = False
            self._fails("shown", failure)

        self._is_drawing = True
        samples = list(self._feed.growth.samples)
        drawing = self._in_thread(
            _next_view, self._view, self.version, current, self._positions, self._report, samples, self._locate
        )
        drawing.addCallback(made).addErrback(failed)

    def json(self) -> bytes:
        """Return the last event: what was different, for those who have the version before."""
        return self._event or b'{"version":%d,"base":-1}' % self.version

    def whole(self) -> Deferred[tuple[bytes, bytes]]:
        """Fire with the whole as JSON, in two parts: the time that it is now, and the rest, which answers share."""
        version, rest = self._whole
        if version == self.version:
            return succeed(self._timed(rest))
        answer: Deferred[bytes] = self._waiters.add()
        if len(self._waiters) == 1:
            writing = self._in_thread(_whole_json, self._view, self.version)
            writing.addCallback(self._written, self.version).addErrback(self._not_written)
        return answer.addCallback(self._timed)

    def _written(self, rest: bytes, version: int) -> None:
        self._whole = version, rest
        self._waiters.succeed(rest)

    def _not_written(self, failure: Failure) -> None:
        self._fails("written", failure)
        self._waiters.fail(LocalError("the map cannot be written"))

    def _timed(self, rest: bytes) -> tuple[bytes, bytes]:
        return b'{"now":%.3f,' % self._stamps.now(), rest

    # -- what takes longer ---------------------------------------------------------------------

    def _begin_analysis(self, current: NetworkMap) -> None:
        if self._is_analysing:
            return

        def done(report: GraphReport) -> None:
            self._is_analysing = False
            if report != self._report:
                self._report = report
                self._changed = True

        def failed(failure: Failure) -> None:
            self._is_analysing = False
            self._fails("analysed", failure)

        self._is_analysing = True
        self._in_thread(analyse, current).addCallback(done).addErrback(failed)

    def _begin_layout(self) -> None:
        now = self._seconds()
        view = self._view
        if view is None or self._is_laying_out or now < self._next_layout:
            return
        names = view.names
        if view is not self._considered:
            self._considered = view
            if (names, view.pairs) != self._laid_out:
                self._rounds = ROUNDS
        if not names or not self._rounds:
            return
        self._rounds -= 1
        self._laid_out = names, view.pairs
        before = {index: self._positions[name] for index, name in enumerate(names) if name in self._positions}

        def done(points: Sequence[Point]) -> None:
            self._positions = dict(zip(names, points, strict=True))
            self._changed = True

        def failed(failure: Failure) -> None:
            self._rounds = 0
            self._fails("laid out", failure)

        def over(_: object) -> None:
            self._is_laying_out = False
            self._next_layout = self._seconds() + (self._seconds() - now) * (1 - SHARE) / SHARE

        self._is_laying_out = True
        seconds = UPDATE_SECONDS if before else FIRST_SECONDS
        laying_out = self._layouts.layout(len(names), view.pairs, before, seconds)
        laying_out.addCallback(done).addErrback(failed).addCallback(over)

    def _fails(self, what: str, failure: Failure) -> None:
        # told once, not every few seconds for months
        if what not in self._failed:
            self._failed.add(what)
            self.log.failure("the map cannot be {what}", failure, what=what)


def _next_view(
    before: MapView | None,
    version: int,
    network_map: NetworkMap,
    positions: Mapping[str, Point],
    report: GraphReport | None,
    samples: Sequence[GrowthSample],
    locate: Locate | None,
) -> tuple[MapView, bytes | None]:
    """Return the view of a map, and the event that leads to it; empty where there is none, None if nothing is new."""
    view = view_of(network_map, positions, report, samples, locate)
    if before is None:
        return view, b""
    changes = difference(before, view, version)
    if changes is None:
        return before, None
    event = json_line(changes).encode()
    return view, b"" if len(event) > MAX_CHANGES else event


def _whole_json(view: MapView | None, version: int) -> bytes:
    """Return a view as JSON without its first bracket."""
    return json_line({"version": 0} if view is None else whole(view, version)).encode()[1:]
