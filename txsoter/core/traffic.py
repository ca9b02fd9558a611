"""Counters of a connection."""

from __future__ import annotations

from txsoter.wire import Message, Unknown

__all__ = ["UNKNOWN_COMMANDS", "Counters", "Traffic", "command_of"]

UNKNOWN_COMMANDS = "unknown"
"""The name under which all unknown commands are counted together: a remote may invent any number of them."""


class Traffic:
    """Messages and bytes of one command in one direction; bytes are those of whole frames."""

    __slots__ = ("bytes", "messages")

    def __init__(self, messages: int = 0, bytes: int = 0) -> None:
        self.messages = messages
        self.bytes = bytes

    def __iadd__(self, size: int) -> Traffic:
        """Count a message of ``size`` bytes."""
        self.messages += 1
        self.bytes += size
        return self

    def copy(self) -> Traffic:
        """Return the counts as they are now."""
        return Traffic(self.messages, self.bytes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Traffic):
            return NotImplemented
        return (self.messages, self.bytes) == (other.messages, other.bytes)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Traffic(messages={self.messages}, bytes={self.bytes})"


def command_of(kind: type[Message]) -> str:
    """Return the name under which messages of a class are counted."""
    return UNKNOWN_COMMANDS if kind is Unknown else kind.command


class Counters:
    """Everything that one connection counts."""

    __slots__ = (
        "bloom_refused",
        "bytes_received",
        "handler_errors",
        "last_receive",
        "malformed",
        "received",
        "sent",
        "trailing_bytes",
        "unknown_commands",
    )

    def __init__(self) -> None:
        self.bytes_received = 0
        self.last_receive: float | None = None
        self.received: dict[str, Traffic] = {}
        self.sent: dict[str, Traffic] = {}
        self.trailing_bytes = 0
        self.malformed = 0
        self.unknown_commands = 0
        self.bloom_refused = 0
        self.handler_errors = 0

    def received_of(self, kind: type[Message]) -> Traffic:
        """Return where received messages of a class are counted."""
        return self.received.setdefault(command_of(kind), Traffic())
