"""Keeps those who look from keeping us: too many connections, requests that never end, answers that nobody takes."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorTime, ITransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

__all__ = ["Guard", "GuardedConnection"]

REQUEST_SECONDS = 15.0
"""For a request to come, from the connection or the last request on; and for an answer to be taken."""

REQUEST_BYTES = 32 * 1024
"""The most bytes of a request."""


class GuardedConnection(ProtocolWrapper):
    """A connection that is ended when a request takes too long, or too many bytes.

    (Twisted's own timeout begins anew with each byte that comes.)
    """

    # a Guard; any, for older Twisteds have no type for it
    factory: Any

    def __init__(self, factory: Any, wrappedProtocol: Any) -> None:
        ProtocolWrapper.__init__(self, factory, wrappedProtocol)
        self._deadline: IDelayedCall | None = None
        self._left = REQUEST_BYTES

    def makeConnection(self, transport: ITransport) -> None:
        """A connection has been made: is there room for it?"""
        ProtocolWrapper.makeConnection(self, transport)
        if len(self.factory.protocols) > self.factory.limit:
            self.abort()
        else:
            self.done()

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come."""
        self._left -= len(data)
        if self._left < 0:
            self.abort()
        else:
            ProtocolWrapper.dataReceived(self, data)

    def begin(self) -> None:
        """A whole request has come."""
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()

    def done(self) -> None:
        """It has been answered; the next may come."""
        self.begin()
        self._left = REQUEST_BYTES
        self._deadline = self.factory.clock.callLater(REQUEST_SECONDS, self._expired)

    def _expired(self) -> None:
        self._deadline = None
        self.abort()

    def abort(self) -> None:
        """End it now, without waiting for anything to be taken."""
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """It has ended."""
        self.begin()
        # never again: what it was about may be told to be done only now
        self.done = lambda: None  # type: ignore[method-assign]
        ProtocolWrapper.connectionLost(self, reason)


class Guard(WrappingFactory):
    """Makes guarded connections.

    :param limit: how many there may be at a time.
    """

    protocol = GuardedConnection
    noisy = False
    protocols: dict[GuardedConnection, Any]

    def __init__(self, factory: IProtocolFactory, clock: IReactorTime, limit: int) -> None:
        untyped: Any = super()
        untyped.__init__(factory)
        self.clock = clock
        self.limit = limit
        self._ended: list[Deferred[None]] = []

    def unregisterProtocol(self, p: Any) -> None:
        """A connection has ended."""
        untyped: Any = super()
        untyped.unregisterProtocol(p)
        if not self.protocols:
            ended, self._ended = self._ended, []
            for each in ended:
                each.callback(None)

    def abort_all(self) -> Deferred[None]:
        """End all of them now; fires once they have."""
        if not self.protocols:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._ended.append(ended)
        for each in list(self.protocols):
            each.abort()
        return ended
