"""Everything that txsoter raises.

Two branches, so that one ``except`` tells whose fault it was:

- :class:`LocalError`: this program asked for something that cannot be done.
- :class:`RemoteError`: the remote broke the protocol, or refused.

:class:`NeedMoreData` is neither: more bytes have to arrive first.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "FieldError",
    "IllegalTransition",
    "InvalidBlock",
    "LocalError",
    "MalformedMessage",
    "NeedMoreData",
    "PayloadTooLarge",
    "RemoteError",
    "SendQueueFull",
    "TxsoterError",
    "UnsupportedMessage",
]


class TxsoterError(Exception):
    """The base of every error of this package."""


class LocalError(TxsoterError):
    """The caller's own mistake: nothing was sent, nothing has changed."""


class FieldError(LocalError, ValueError):
    """A value that its field cannot hold.

    :ivar field: where, as a path: ``GetHeaders.height``, ``Inv.vectors[3].hash``.
    :ivar value: what was given.
    :ivar limit: what is allowed, in words.
    """

    def __init__(self, field: str, value: object, limit: str) -> None:
        self.field = field
        self.value = value
        self.limit = limit
        super().__init__(field, value, limit)

    def __str__(self) -> str:
        shown = repr(self.value)
        if len(shown) > 80:
            shown = f"{shown[:77]}..."
        return f"{self.field} = {shown}: must be {self.limit}"

    def within(self, outer: str) -> FieldError:
        """The same error, its path beginning at ``outer``."""
        joint = "" if not self.field or self.field.startswith("[") else "."
        return FieldError(f"{outer}{joint}{self.field}", self.value, self.limit)


class PayloadTooLarge(LocalError):
    """A message that encodes to more bytes than soterd takes.

    :ivar command: the message's command.
    :ivar size: bytes of its payload.
    :ivar limit: the most bytes that may be sent.
    """

    def __init__(self, command: str, size: int, limit: int, advice: str = "") -> None:
        self.command = command
        self.size = size
        self.limit = limit
        self.advice = advice
        super().__init__(command, size, limit, advice)

    def __str__(self) -> str:
        advice = f": {self.advice}" if self.advice else ""
        return f"{self.command} payload is {self.size} bytes, at most {self.limit} may be sent{advice}"


class UnsupportedMessage(LocalError):
    """A message that does not exist at the protocol version in use.

    :ivar command: the message's command.
    :ivar pver: the protocol version in use.
    :ivar since: the first version that has the message.
    """

    def __init__(self, command: str, pver: int, since: int) -> None:
        self.command = command
        self.pver = pver
        self.since = since
        super().__init__(command, pver, since)

    def __str__(self) -> str:
        return f"{self.command} does not exist at protocol version {self.pver}, only from {self.since}"


class SendQueueFull(LocalError):
    """A message that would take a peer's send queue over its hard limit.

    :ivar queued: bytes that wait already.
    :ivar size: bytes of the message refused.
    :ivar limit: bytes that may wait.
    """

    def __init__(self, queued: int, size: int, limit: int) -> None:
        self.queued = queued
        self.size = size
        self.limit = limit
        super().__init__(queued, size, limit)

    def __str__(self) -> str:
        return (
            f"{self.queued} bytes wait to be sent and {self.size} more would pass the limit of {self.limit}: "
            "wait for the Deferreds of send() before sending more"
        )


class IllegalTransition(LocalError):
    """A move that a connection's table of states does not have."""


class NeedMoreData(TxsoterError):
    """The bytes end before the frame does.

    :ivar missing: at least how many bytes are still to come.
    """

    def __init__(self, missing: int) -> None:
        self.missing = missing
        super().__init__(missing)

    def __str__(self) -> str:
        return f"the frame goes on: at least {self.missing} bytes are missing"


class RemoteError(TxsoterError):
    """The remote broke the protocol, or refused."""


class MalformedMessage(RemoteError):
    """Bytes that can never become a valid message.

    :ivar reason: what is wrong, in words.
    :ivar command: the command named by the frame, if it could be read.
    :ivar in_header: True when the 24-byte header alone was enough to tell, so
        that the payload it announces has not been taken.
    """

    def __init__(self, reason: str, command: str | None = None, in_header: bool = False) -> None:
        self.reason = reason
        self.command = command
        self.in_header = in_header
        super().__init__(reason, command, in_header)

    def __str__(self) -> str:
        return f"{self.command}: {self.reason}" if self.command is not None else self.reason


class InvalidBlock(RemoteError):
    """A block whose header does not commit to what the block holds.

    :ivar block_hash: the block's hash.
    :ivar reason: which commitment fails, in words.
    """

    def __init__(self, block_hash: Any, reason: str) -> None:
        self.block_hash = block_hash
        self.reason = reason
        super().__init__(block_hash, reason)

    def __str__(self) -> str:
        return f"block {self.block_hash}: {self.reason}"
