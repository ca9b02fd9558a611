"""Events that a connection gives its adapter, besides messages."""

from __future__ import annotations

from typing import Any

from txsoter.core.dispatch_table import CommandState
from txsoter.errors import CloseReason, TxsoterError
from txsoter.wire import Message

__all__ = [
    "ABORT",
    "FLUSH",
    "READY",
    "Closed",
    "Event",
    "Notice",
    "Observed",
    "Received",
    "RequestEnded",
    "RoundTrip",
    "SendFailed",
    "SlowHandler",
    "WriteFailed",
]

Received = tuple[CommandState, Message, bytes, int, bytes]
"""A message to be handled: its command's state, itself, its payload, how many bytes of that it takes, its checksum.

A plain tuple, for it is made for every message: a class of its own costs three times as much."""


class _Marker:
    """An event without content."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


FLUSH = _Marker("FLUSH")
"""Write what ``data_to_send`` gives before asking for the next event."""

READY = _Marker("READY")
"""Both veracks have crossed."""

ABORT = _Marker("ABORT")
"""Close the transport at once: the remote has not taken our last bytes in time."""


class Observed:
    """A message that is not handled: refused by our own rules, or malformed.

    :ivar size: bytes of its frame that were read.
    """

    __slots__ = ("error", "message", "payload", "size")

    def __init__(self, size: int, message: Message | None, payload: bytes, error: TxsoterError | None) -> None:
        self.size = size
        self.message = message
        self.payload = payload
        self.error = error


class WriteFailed:
    """A message that could not be encoded or queued."""

    __slots__ = ("error", "message")

    def __init__(self, message: Message, error: TxsoterError) -> None:
        self.message = message
        self.error = error


class SendFailed:
    """A message that will not be sent.

    :ivar token: as given to ``send``.
    """

    __slots__ = ("error", "token")

    def __init__(self, token: Any, error: Exception) -> None:
        self.token = token
        self.error = error


class RequestEnded:
    """A request that has its answer or its error.

    :ivar token: as given to ``request``.
    """

    __slots__ = ("answer", "error", "token")

    def __init__(self, token: Any, answer: Message | None, error: Exception | None) -> None:
        self.token = token
        self.answer = answer
        self.error = error


class RoundTrip:
    """A pong that answers a ping of ours.

    :ivar seconds: from the ping's write to the pong's read.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class SlowHandler:
    """A handler that has not finished for a minute, and each minute after.

    :ivar command: of the message that it handles.
    :ivar seconds: since the message's first handler was called.
    :ivar listener: name of the application's function.
    """

    __slots__ = ("command", "listener", "seconds")

    def __init__(self, command: str, seconds: float, listener: str) -> None:
        self.command = command
        self.seconds = seconds
        self.listener = listener


class Notice:
    """A line for the log.

    :ivar error: a failure of the application's code that belongs to it, or None.
    :ivar level: "info", "warn" or "error".
    """

    __slots__ = ("error", "level", "text")

    def __init__(self, text: str, error: BaseException | None = None, level: str = "warn") -> None:
        self.text = text
        self.error = error
        self.level = level if error is None else "error"


class Closed:
    """The connection has ended, and everybody who waited for something of it has been told."""

    __slots__ = ("reason",)

    def __init__(self, reason: CloseReason) -> None:
        self.reason = reason


Event = (
    Received | _Marker | Observed | WriteFailed | SendFailed | RequestEnded | RoundTrip | SlowHandler | Notice | Closed
)
