"""Answers of the status page: itself, the same as JSON, and events."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files

from twisted.web.server import NOT_DONE_YET, Request

from txsoter.service.status.events import EventStreams
from txsoter.service.status.watching import Picture
from txsoter.service.web.pages import Answer, send

__all__ = ["StatusAnswers", "page"]


@lru_cache(maxsize=1)
def page() -> tuple[bytes, bytes]:
    """The page with its style and script in it, and the policy that lets a browser run and fetch these and no more."""
    folder = files(__package__)
    html = folder.joinpath("page.html").read_text("utf-8")
    hashes = []
    for mark, name in (("/* style */", "style.css"), ("/* script */", "page.js")):
        text = folder.joinpath(name).read_text("utf-8")
        html = html.replace(mark, text)
        hashes.append(b64encode(sha256(text.encode()).digest()).decode())
    style, script = hashes
    policy = {
        "default-src": "'none'",
        "style-src": f"'sha256-{style}'",
        "script-src": f"'sha256-{script}'",
        "img-src": "data:",
        "connect-src": "'self'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        # no text can become markup: a browser refuses innerHTML and the like
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return html.encode(), "; ".join(f"{name} {value}" for name, value in policy.items()).encode()


class StatusAnswers:
    """Answers for the page, the same as JSON, and the events."""

    def __init__(self, picture: Picture, streams: EventStreams) -> None:
        self._picture = picture
        self._streams = streams

    def by_path(self) -> dict[bytes, Answer]:
        """Return what answers each path."""
        return {b"/": self._page, b"/status.json": self._json, b"/events": self._events}

    def _page(self, request: Request) -> int:
        html, policy = page()
        request.setHeader(b"Content-Security-Policy", policy)
        return send(request, b"text/html; charset=utf-8", html)

    def _json(self, request: Request) -> int:
        self._picture.look()
        return send(request, b"application/json", *self._picture.json_parts())

    def _events(self, request: Request) -> int:
        request.setHeader(b"Content-Type", b"text/event-stream")
        # for proxies that would wait for more
        request.setHeader(b"X-Accel-Buffering", b"no")
        if request.method == b"HEAD":
            request.finish()
        else:
            self._streams.open(request)
        return NOT_DONE_YET
