"""A SOCKS5 proxy for tests: no authentication, CONNECT only, and every name leads to one place."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

__all__ = ["Socks"]

MAX_REQUEST = 262
"""Bytes of the longest request: a name of 255, and what stands around it."""


class Socks(Factory):
    """Makes the connections of a proxy.

    :param reactor: dials with it.
    :param target: port on loopback to which everything is led.
    :ivar asked: host and port of each request, as the client named them; an IP as text.
    """

    noisy = False

    def __init__(self, reactor: Any, target: int) -> None:
        self.reactor = reactor
        self.target = target
        self.asked: list[tuple[str, int]] = []

    def buildProtocol(self, addr: object) -> SocksConnection:
        """A client has come."""
        return SocksConnection(self)


class _Far(Protocol):
    """The proxy's connection to the target."""

    transport: Any

    def __init__(self, near: SocksConnection) -> None:
        self._near = near

    def dataReceived(self, data: bytes) -> None:
        self._near.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._near.transport.loseConnection()


class SocksConnection(Protocol):
    """The proxy's connection to its client: greeting, request, then everything as it comes."""

    transport: Any

    def __init__(self, proxy: Socks) -> None:
        self._proxy = proxy
        self._unread = b""
        self._greeted = False
        self._far: _Far | None = None

    def dataReceived(self, data: bytes) -> None:
        if self._far is not None:
            self._far.transport.write(data)
            return
        self._unread += data
        if len(self._unread) > MAX_REQUEST:
            self.transport.abortConnection()
        elif not self._greeted:
            if len(self._unread) >= 2 and len(self._unread) >= 2 + self._unread[1]:
                self._unread = self._unread[2 + self._unread[1] :]
                self._greeted = True
                self.transport.write(b"\5\0")
        elif len(self._unread) >= 5:
            self._request(self._unread)

    def _request(self, request: bytes) -> None:
        """Version, command, reserved, kind of address, address, port."""
        kind = request[3]
        start, size = (5, request[4]) if kind == 3 else (4, 4 if kind == 1 else 16)
        if len(request) < start + size + 2:
            return
        raw = request[start : start + size]
        host = raw.decode() if kind == 3 else socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, raw)
        self._proxy.asked.append((host, int.from_bytes(request[start + size : start + size + 2], "big")))
        self._unread = b""
        self.transport.pauseProducing()
        target = TCP4ClientEndpoint(self._proxy.reactor, "127.0.0.1", self._proxy.target)
        target.connect(Factory.forProtocol(lambda: _Far(self))).addCallbacks(self._connected, self._failed)

    def _connected(self, far: Any) -> None:
        self._far = far
        self.transport.write(b"\5\0\0\1\0\0\0\0\0\0")
        self.transport.resumeProducing()

    def _failed(self, failure: Failure) -> None:
        # connection refused
        self.transport.write(b"\5\5\0\1\0\0\0\0\0\0")
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._far is not None:
            self._far.transport.loseConnection()
