"""Read-only pages, for requests that name this host and come from no other site."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from txsoter.service.web.access import HostCheck

__all__ = ["Answer", "Pages", "send"]

MISDIRECTED_REQUEST = 421
"""RFC 9110, 15.5.20; Twisted has no name for it."""

_HEADERS = {
    b"Cache-Control": b"no-store",
    b"Content-Security-Policy": b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Referrer-Policy": b"no-referrer",
    # Twisted's would tell its version
    b"Server": b"txsoter",
    b"X-Content-Type-Options": b"nosniff",
    b"X-Frame-Options": b"DENY",
}

Answer = Callable[[Request], int]
"""Answers a request, and returns what a resource's ``render`` returns."""


class Pages(Resource):
    """Answers GET and HEAD for some paths. All answers, refusals included, have the same security headers.

    :param hosts: names by which this may be asked.
    :param answers: by path.
    """

    isLeaf = True

    def __init__(self, hosts: HostCheck, answers: Mapping[bytes, Answer]) -> None:
        Resource.__init__(self)
        self._hosts = hosts
        self._answers = answers

    def render(self, request: Request) -> int:
        """Answer a request."""
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        hosts = request.requestHeaders.getRawHeaders(b"host", [])
        if len(hosts) != 1 or not self._hosts.allows(hosts[0], request.getHost()):
            return _refuse(request, MISDIRECTED_REQUEST, b"This is not the host that was asked for.")
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return _refuse(request, http.NOT_ALLOWED, b"There is nothing to be changed here.")
        if _is_foreign(request):
            return _refuse(request, http.FORBIDDEN, b"Other sites may not read this.")
        answer = self._answers.get(request.path)
        if answer is None:
            return _refuse(request, http.NOT_FOUND, b"Here are only " + b", ".join(self._answers) + b".")
        return answer(request)


def send(request: Request, kind: bytes, *body: bytes) -> int:
    """Send an answer of a content type, its body in one or more parts. Of an answer to HEAD only the headers go out."""
    request.setHeader(b"Content-Type", kind)
    request.setHeader(b"Content-Length", b"%d" % sum(map(len, body)))
    for part in body:
        request.write(part)
    request.finish()
    return NOT_DONE_YET


def _is_foreign(request: Request) -> bool:
    """Return whether a page of another site asks, other than by a link."""
    site = request.getHeader(b"sec-fetch-site")
    return site not in (None, b"same-origin", b"none") and request.getHeader(b"sec-fetch-mode") != b"navigate"


def _refuse(request: Request, code: int, words: bytes) -> int:
    request.setResponseCode(code, http.RESPONSES.get(code, b"Misdirected Request"))
    return send(request, b"text/plain; charset=utf-8", words + b"\n")
