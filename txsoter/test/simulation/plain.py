"""Plain protocols and factories, for tests of the simulated network itself."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer


class Noting(Protocol):
    """Notes what comes, and when."""

    transport: Any

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.times: list[float] = []
        self.lost: list[type[BaseException] | None] = []
        self.calls: list[str] = []

    def dataReceived(self, data: bytes) -> None:
        self.data.append(data)
        self.times.append(self.transport.reactor.seconds())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason.type)

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")

    @property
    def all(self) -> bytes:
        return b"".join(self.data)


@implementer(IHalfCloseableProtocol)
class HalfNoting(Noting):
    """Lives on with half a connection."""

    def readConnectionLost(self) -> None:
        self.calls.append("read lost")

    def writeConnectionLost(self) -> None:
        self.calls.append("write lost")


class Counting(Factory):
    """Makes protocols, keeps them, and counts who uses it."""

    def __init__(self, protocol: type[Protocol] | None = Noting) -> None:
        self.kind = protocol
        self.made: list[Noting] = []
        self.started = 0

    def buildProtocol(self, addr: object) -> Noting | None:
        if self.kind is None:
            return None
        made = self.kind()
        assert isinstance(made, Noting)
        self.made.append(made)
        return made

    def doStart(self) -> None:
        self.started += 1

    def doStop(self) -> None:
        self.started -= 1
