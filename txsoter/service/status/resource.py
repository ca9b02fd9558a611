"""What is served: the page, the same as JSON, and the events."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files

from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from txsoter.service.status.events import EventStreams
from txsoter.service.status.watching import Picture
from txsoter.service.web.access import HostCheck

__all__ = ["StatusResource", "page"]


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


MISDIRECTED_REQUEST = 421
"""RFC 9110, 15.5.20; Twisted has no name for it."""

_NOTHING = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'"

_HEADERS = {
    b"Cache-Control": b"no-store",
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Referrer-Policy": b"no-referrer",
    # Twisted's would tell its version
    b"Server": b"txsoter",
    b"X-Content-Type-Options": b"nosniff",
    b"X-Frame-Options": b"DENY",
}


class StatusResource(Resource):
    """Answers GET and HEAD, of our own pages only, for three paths."""

    isLeaf = True

    def __init__(self, picture: Picture, streams: EventStreams, hosts: HostCheck) -> None:
        Resource.__init__(self)
        self._picture = picture
        self._streams = streams
        self._hosts = hosts

    def render(self, request: Request) -> int:
        """Answer a request."""
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        request.setHeader(b"Content-Security-Policy", _NOTHING)
        hosts = request.requestHeaders.getRawHeaders(b"host", [])
        if len(hosts) != 1 or not self._hosts.allows(hosts[0], request.getHost()):
            return _refuse(request, MISDIRECTED_REQUEST, b"This is not the host that was asked for.")
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return _refuse(request, http.NOT_ALLOWED, b"There is nothing to be changed here.")
        if _is_foreign(request):
            return _refuse(request, http.FORBIDDEN, b"Other sites may not look.")
        answer = {b"/": self._page, b"/status.json": self._json, b"/events": self._events}.get(request.path)
        if answer is None:
            return _refuse(request, http.NOT_FOUND, b"There are /, /status.json and /events.")
        return answer(request)

    def _page(self, request: Request) -> int:
        html, policy = page()
        request.setHeader(b"Content-Security-Policy", policy)
        return _answer(request, b"text/html; charset=utf-8", html)

    def _json(self, request: Request) -> int:
        self._picture.look()
        return _answer(request, b"application/json", self._picture.json())

    def _events(self, request: Request) -> int:
        if not self._streams.has_room:
            request.setHeader(b"Retry-After", b"30")
            return _refuse(request, http.SERVICE_UNAVAILABLE, b"Too many are looking already.")
        request.setHeader(b"Content-Type", b"text/event-stream")
        # for proxies that would wait for more
        request.setHeader(b"X-Accel-Buffering", b"no")
        if request.method == b"HEAD":
            request.finish()
        else:
            self._streams.open(request)
        return NOT_DONE_YET


def _is_foreign(request: Request) -> bool:
    """Whether a page of another site asks, other than by a link."""
    site = request.getHeader(b"sec-fetch-site")
    return site not in (None, b"same-origin", b"none") and request.getHeader(b"sec-fetch-mode") != b"navigate"


def _refuse(request: Request, code: int, words: bytes) -> int:
    request.setResponseCode(code, http.RESPONSES.get(code, b"Misdirected Request"))
    return _answer(request, b"text/plain; charset=utf-8", words + b"\n")


def _answer(request: Request, kind: bytes, body: bytes) -> int:
    request.setHeader(b"Content-Type", kind)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    # of an answer to HEAD only the headers are sent
    request.write(body)
    request.finish()
    return NOT_DONE_YET
