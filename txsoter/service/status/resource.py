"""Answers of the status page: itself, the same as JSON, and events."""

from __future__ import annotations

from twisted.web.server import Request

from txsoter.service.status.events import EventStreams
from txsoter.service.status.watching import Picture
from txsoter.service.web.one_piece import one_piece, send_page
from txsoter.service.web.pages import Answer, send

__all__ = ["StatusAnswers", "page"]


def page() -> tuple[bytes, bytes]:
    """Return the page and its policy."""
    return one_piece(__package__, "page.html", "style.css", "page.js")


class StatusAnswers:
    """Answers for the page, the same as JSON, and the events."""

    def __init__(self, picture: Picture, streams: EventStreams) -> None:
        self._picture = picture
        self._streams = streams

    def by_path(self) -> dict[bytes, Answer]:
        """Return what answers each path."""
        return {b"/": self._page, b"/status.json": self._json, b"/events": self._events}

    def _page(self, request: Request) -> int:
        return send_page(request, page())

    def _json(self, request: Request) -> int:
        self._picture.look()
        return send(request, b"application/json", *self._picture.json_parts())

    def _events(self, request: Request) -> int:
        return self._streams.answer(request)
