"""Peers that are recorded: nothing of a peer changes, but what it reads and writes is seen on the way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from txsoter.peer.addressing import address_text
from txsoter.peer.protocol import SoterPeerProtocol

if TYPE_CHECKING:
    from txsoter.capture.tapes import Tape
    from txsoter.errors import MalformedMessage

__all__ = ["TapeSource", "TapedPeer", "TapedTransport", "taped"]


class TapeSource(Protocol):
    """Chooses the peers that are recorded."""

    def tape(self, peer: SoterPeerProtocol, address: str) -> Tape | None:
        """Return a tape for a peer's connection, or None for one that is not recorded."""
        ...


class TapedTransport:
    """A transport, whose writes are recorded; provides what that provides.

    :ivar transport: the transport itself, as a wrapper of Twisted's has it.
    """

    def __init__(self, transport: Any, tape: Tape) -> None:
        self.transport = transport
        self._tape = tape
        directlyProvides(self, providedBy(transport))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        """Record ``data``, and write it."""
        # it first: the transport may close in the middle of that
        self._tape.sent(data)
        self.transport.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Record and write several."""
        self.write(b"".join(data))


class TapedPeer(SoterPeerProtocol):
    """A peer that is recorded.

    :ivar capture: chooses whether it is recorded.
    """

    # so that it goes together with classes that have their own
    __slots__ = ()

    capture: TapeSource
    _tape: Tape | None = None

    def makeConnection(self, transport: Any) -> None:
        """There is a connection: put the tape between it and the peer."""
        tape = self._tape = self.capture.tape(self, address_text(transport.getPeer()))
        make: Any = super().makeConnection
        make(transport if tape is None else TapedTransport(transport, tape))

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come. What comes while the peer closes it does not read, and neither is it recorded."""
        if self._tape is not None and not self.is_closing:
            self._tape.received(data)
        super().dataReceived(data)

    def malformed_received(self, error: MalformedMessage) -> None:
        """Record a malformed frame."""
        if self._tape is not None:
            self._tape.malformed(error)
        super().malformed_received(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection has ended."""
        super().connectionLost(reason)
        tape, self._tape = self._tape, None
        if tape is not None:
            tape.close(reason.getErrorMessage())


def taped(protocol: type[SoterPeerProtocol]) -> type[TapedPeer]:
    """``protocol``, recorded."""
    if protocol is SoterPeerProtocol:
        return TapedPeer
    return cast("type[TapedPeer]", type(f"Taped{protocol.__name__}", (TapedPeer, protocol), {"__slots__": ()}))
