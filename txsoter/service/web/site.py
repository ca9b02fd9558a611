"""An HTTP/1.1 server that parses a request only once the answer before it was taken, and that logs nothing."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from txsoter.service.web.guard import GuardedConnection

__all__ = ["GuardedChannel", "GuardedRequest", "QuietSite"]


class GuardedChannel(HTTPChannel):
    """Parses requests for a :class:`~txsoter.service.web.guard.GuardedConnection`, its transport.

    Twisted's own parses a pipelined request as soon as the one before it was answered, though nobody has taken that.
    """

    def requestDone(self, request: Any) -> None:
        """Parse the next request when this one's answer was taken, and the guard allows it."""
        guard = cast(GuardedConnection, self.transport)
        done: Any = super().requestDone
        if self.persistent:
            guard.when_answer_taken(lambda: guard.when_next_request_may_come(lambda: done(request)))
        else:
            done(request)


class GuardedRequest(Request):
    """A request that tells its connection's guard when it is complete."""

    def process(self) -> None:
        """Answer it."""
        cast(GuardedConnection, self.transport).request_received()
        Request.process(self)


class QuietSite(Site):
    """A site without a log: each request would be a line. It must stand behind a :class:`Guard`, which times requests.

    :param resource: its root.
    """

    noisy = False
    # HTTP/1.1 alone: over TLS, Twisted's default may choose HTTP/2, which passes the guard by
    protocol: Any = GuardedChannel

    def __init__(self, resource: Resource, clock: IReactorTime) -> None:
        untyped: Any = Site.__init__
        untyped(self, resource, GuardedRequest, timeout=None, reactor=clock)

    def startFactory(self) -> None:
        """Start no timer: it would only tell the log the time."""

    def stopFactory(self) -> None:
        """Stop nothing."""

    def log(self, request: Any) -> None:
        """Log nothing."""
