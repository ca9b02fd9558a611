"""A site that stands behind a guard, and that logs nothing."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from txsoter.service.web.guard import GuardedConnection

__all__ = ["GuardedRequest", "QuietSite"]


class GuardedRequest(Request):
    """A request that tells its connection's guard when it is there, and when it is done.

    Its site must stand behind a :class:`~txsoter.service.web.guard.Guard`.
    """

    def process(self) -> None:
        """A whole request has come."""
        guard = cast(GuardedConnection, self.transport)
        guard.begin()
        self.notifyFinish().addBoth(lambda _: guard.done())
        Request.process(self)


class QuietSite(Site):
    """A site without a log: each look would be a line.

    :param resource: its root.
    :param kind: of its requests.
    """

    noisy = False

    def __init__(self, resource: Resource, clock: IReactorTime, kind: type[GuardedRequest] = GuardedRequest) -> None:
        # the guard has a better timeout
        untyped: Any = Site.__init__
        untyped(self, resource, kind, timeout=None, reactor=clock)

    def startFactory(self) -> None:
        """Without the timer that tells the log the time."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def log(self, request: Any) -> None:
        """Nothing."""
