"""Answers for the page of the map: itself, the map as JSON, one node, and events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.server import NOT_DONE_YET, Request

from txsoter.crawl.map_feed import MapFeed
from txsoter.crawl.map_formats import json_line
from txsoter.crawl.map_picture import MapPicture
from txsoter.crawl.map_rows import Locate, edge_row, node_row
from txsoter.crawl.network_map import MapEdge, MapNode, NetworkMap
from txsoter.service.status.events import EventStreams
from txsoter.service.web.one_piece import one_piece, send_page
from txsoter.service.web.pages import Answer, send

__all__ = ["History", "MapAnswers"]

SCRIPTS = ("map_canvas.js", "map_words.js", "map_charts.js", "map.js")
"""Scripts of the page, each of which uses those before it."""

MAX_EDGES = 500
"""Edges that are told of one node."""

History = Callable[[str, int], Any]
"""Gives the past of the node at a host and a port: ``[start, visits, successes]`` for each span of time, the oldest
first. It may return a Deferred."""


class MapAnswers:
    """Answers below ``/map``.

    :param history: gives a node's past, where one is kept.
    """

    log = Logger()

    def __init__(
        self,
        feed: MapFeed,
        picture: MapPicture,
        streams: EventStreams,
        locate: Locate | None = None,
        history: History | None = None,
    ) -> None:
        self._feed = feed
        self._picture = picture
        self._streams = streams
        self._locate = locate
        self._history = history
        self._edges_of: tuple[NetworkMap | None, dict[str, list[MapEdge]]] = (None, {})

    def by_path(self) -> Mapping[bytes, Answer]:
        """Return what answers each path."""
        return {
            b"/map": self._page,
            b"/map.json": self._json,
            b"/map/node.json": self._node,
            b"/map/events": self._streams.answer,
        }

    def _page(self, request: Request) -> int:
        return send_page(request, one_piece(__package__, "map.html", "map.css", *SCRIPTS))

    def _json(self, request: Request) -> int:
        self._picture.look()
        return self._answer_later(request, self._picture.whole())

    def _node(self, request: Request) -> int:
        given: Any = request.args
        name = given.get(b"name", [b""])[0].decode("utf-8", "replace")
        current = self._feed.current
        node = None if current is None else current.by_name.get(name)
        if current is None or node is None:
            request.setResponseCode(http.NOT_FOUND)
            return send(request, b"application/json", b'{"error":"the map has no such node"}')
        row = node_row(node, self._locate)
        edges = self._edges(current).get(name, [])
        row["edges"] = [edge_row(edge) for edge in edges[:MAX_EDGES]]
        row["edge_count"] = len(edges)

        def failed(failure: Failure) -> None:
            self.log.failure("the past of a node cannot be read", failure)

        def written(history: Any) -> tuple[bytes]:
            return (json_line({**row, "history": history}).encode(),)

        return self._answer_later(request, self._past(node).addErrback(failed).addCallback(written))

    def _answer_later(self, request: Request, making: Deferred[Any]) -> int:
        """Answer with JSON, in parts, when they are there."""
        # a client that leaves meanwhile is not answered
        is_there = [True]
        request.notifyFinish().addErrback(lambda _: is_there.clear())

        def made(parts: tuple[bytes, ...]) -> None:
            if is_there:
                send(request, b"application/json", *parts)

        def failed(failure: Failure) -> None:
            self.log.failure("the map cannot be told", failure)
            if is_there:
                request.setResponseCode(http.INTERNAL_SERVER_ERROR)
                send(request, b"application/json", b'{"error":"the map cannot be told; the log has more"}')

        making.addCallback(made).addErrback(failed)
        return NOT_DONE_YET

    def _past(self, node: MapNode) -> Deferred[Any]:
        if self._history is None:
            return maybeDeferred(lambda: None)
        return maybeDeferred(self._history, node.host, node.port)

    def _edges(self, current: NetworkMap) -> dict[str, list[MapEdge]]:
        """The edges of a map by the names of both ends, made once for each map."""
        made_of, edges_of = self._edges_of
        if made_of is not current:
            edges_of = {}
            for edge in current.edges:
                edges_of.setdefault(edge.source, []).append(edge)
                edges_of.setdefault(edge.target, []).append(edge)
            self._edges_of = current, edges_of
        return edges_of
