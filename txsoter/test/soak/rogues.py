"""Remotes that misbehave, over real sockets: each kind does one thing wrong, until it is closed or gives up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from txsoter import SIMNET
from txsoter.testing import remote_version
from txsoter.wire import MAX_PAYLOAD, Block, Inv, Ping, Reject, Unknown, VerAck, write_message
from txsoter.wire.framing import frame
from txsoter.wire.message import command_bytes

__all__ = ["Rogue"]

MAGIC = SIMNET.magic
VERSION = write_message(remote_version(), MAGIC)
HELLO = VERSION + write_message(VerAck(), MAGIC)


def header(command: str, size: int) -> bytes:
    """A header that announces ``size`` bytes."""
    return frame(MAGIC, command_bytes(command), b"")[:16] + size.to_bytes(4, "little") + bytes(4)


class Rogue(Protocol):
    """Misbehaves in one of :attr:`KINDS`.

    :param patience: seconds until it hangs up, if nobody else has.
    :ivar closed: fires with itself once the connection has ended.
    """

    transport: Any

    def __init__(self, kind: str, reactor: Any, patience: float) -> None:
        self.kind = kind
        self.closed: Deferred[Rogue] = Deferred()
        self._reactor = reactor
        self._patience = patience
        self._calls: list[IDelayedCall] = []

    def connectionMade(self) -> None:
        """Begin."""
        self._later(self._patience, self.transport.abortConnection)
        self.KINDS[self.kind](self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """All over."""
        for call in self._calls:
            if call.active():
                call.cancel()
        self.closed.callback(self)

    def _later(self, seconds: float, call: Callable[[], object]) -> None:
        self._calls = [each for each in self._calls if each.active()]
        self._calls.append(self._reactor.callLater(seconds, call))

    def _drip(self) -> None:
        left = iter(VERSION)

        def one() -> None:
            self.transport.write(bytes((next(left),)))
            self._later(1.0, one)

        one()

    def _flood_and_read_nothing(self) -> None:
        self.transport.pauseProducing()
        self.transport.write(HELLO)
        pings = b"".join(write_message(Ping(nonce), MAGIC) for nonce in range(2000))
        for tick in range(5):
            self._later(0.2 * (tick + 1), lambda: self.transport.write(pings))

    def _reset(self) -> None:
        self.transport.write(HELLO)
        self._later(0.5, self.transport.abortConnection)

    def _half_then_close(self) -> None:
        self.transport.write(HELLO + write_message(Reject(b"x", 1, bytes(1000)), MAGIC)[:500])
        self.transport.loseConnection()

    def _say(*raw: bytes) -> Callable[[Any], None]:
        return lambda self: self.transport.write(b"".join(raw))

    KINDS: ClassVar[dict[str, Callable[[Any], None]]] = {
        "silent": lambda self: None,
        "silent after version": _say(VERSION),
        "never reads, floods pings": _flood_and_read_nothing,
        "a byte a second": _drip,
        "32 MiB announced": _say(HELLO, header("reject", MAX_PAYLOAD)),
        "a block announced that never comes": _say(HELLO, header("block", Block.max_size()), bytes(1000)),
        "another network": _say(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        "wrong checksum": _say(HELLO, header("ping", 8), bytes(8)),
        "a count of 2^64-1": _say(HELLO, frame(MAGIC, command_bytes("inv"), b"\xff" * 9)),
        "second version": _say(HELLO, VERSION),
        "verack first": _say(write_message(VerAck(), MAGIC)),
        "unknown commands": _say(HELLO, write_message(Unknown("novel", bytes(200)), MAGIC) * 1000),
        "large invs": _say(HELLO, write_message(Inv([(1, bytes(32), -1)] * 45_000), MAGIC) * 3),  # type: ignore[list-item]
        "half a message, then a close": _half_then_close,
        "reset": _reset,
    }
    """By name: what it does once it is connected."""
