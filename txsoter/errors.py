"""Everything that txsoter raises.

Two branches, so that one ``except`` tells whose fault it was:

- :class:`LocalError`: this program asked for something that cannot be done.
- :class:`RemoteError`: the remote broke the protocol, or refused.

:class:`NeedMoreData`, :class:`ConnectionClosed` and :class:`RequestFailed` are neither: they say
what happened, and carry why.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import attrs

__all__ = [
    "CloseCause",
    "CloseReason",
    "ClosedBy",
    "ConnectionClosed",
    "FieldError",
    "HandshakeFailed",
    "IllegalTransition",
    "InvalidBlock",
    "InvalidProof",
    "LocalError",
    "MalformedMessage",
    "NeedMoreData",
    "PayloadTooLarge",
    "RemoteError",
    "RequestClosed",
    "RequestFailed",
    "RequestNotFound",
    "RequestRejected",
    "RequestTimedOut",
    "SendQueueFull",
    "TxsoterError",
    "UnsupportedMessage",
]


class TxsoterError(Exception):
    """The base of every error of this package."""


class LocalError(TxsoterError):
    """The caller's own mistake: nothing was sent, nothing has changed."""


def _shown(value: object) -> str:
    """``value`` in at most 80 characters, without spelling out what is cut away."""
    if isinstance(value, (bytes, str)):
        value = value[:80]
    elif isinstance(value, Sequence) and len(value) > 20:
        return f"{type(value).__name__} of {len(value)} entries"
    try:
        shown = repr(value)
    except Exception:
        # a row that is none may not even be shown, and this is about to say so
        return f"object of type {type(value).__name__}"
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


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
        return f"{self.field} = {_shown(self.value)}: must be {self.limit}"

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
    :ivar size: bytes of the frame that were read.
    """

    size = 24

    def __init__(self, reason: str, command: str | None = None, in_header: bool = False) -> None:
        self.reason = reason
        self.command = command
        self.in_header = in_header
        super().__init__(reason, command, in_header)

    def __str__(self) -> str:
        return f"{self.command}: {self.reason}" if self.command is not None else self.reason


class InvalidProof(RemoteError):
    """A proof, filter or block that breaks a rule which needs nothing else to be checked.

    :ivar rule: the rule, in a few fixed words: ``"nonces ascend"``, ``"merkle root"``.
    :ivar reason: how it is broken.
    """

    def __init__(self, rule: str, reason: str) -> None:
        self.rule = rule
        self.reason = reason
        super().__init__(rule, reason)

    def __str__(self) -> str:
        return f"{self.rule}: {self.reason}"


class InvalidBlock(InvalidProof):
    """A block that breaks a rule on blocks.

    :ivar block_hash: the block's hash.
    """

    def __init__(self, block_hash: Any, reason: str, rule: str = "block") -> None:
        super().__init__(rule, reason)
        self.block_hash = block_hash
        # all that the constructor takes: for pickle and copy
        self.args = (block_hash, reason, rule)

    def __str__(self) -> str:
        return f"block {self.block_hash}: {self.reason}"


class ClosedBy(enum.Enum):
    """Who ended a connection."""

    LOCAL = "us"
    REMOTE = "the remote"
    NETWORK = "the network"


class CloseCause(enum.Enum):
    """Why a connection ended."""

    DISCONNECT = "disconnect() was called"
    REMOTE_CLOSED = "the remote closed the connection"
    CONNECTION_LOST = "the connection was lost"
    REJECTED = "the remote rejected us"
    NEGOTIATION_TIMEOUT = "the handshake took too long"
    VERSION_EXPECTED = "the first message was not a version"
    SELF_CONNECTION = "we dialled ourselves"
    WRONG_GENESIS = "the remote is on a network with another genesis block"
    INCOMPATIBLE_AGENT = "the remote's user agent has another major version of our name"
    REFUSED_BY_LISTENER = "the on_version listener refused it"
    OBSOLETE_VERSION = "the remote's protocol version is too old"
    DUPLICATE_VERSION = "a second version came"
    DUPLICATE_VERACK = "a second verack came"
    MALFORMED = "a malformed message came"
    UNKNOWN_COMMAND = "an unknown command came, and strict is set"
    BLOOM_DISABLED = "a bloom command came, and we do not serve bloom filters"
    IDLE = "no message came for too long"
    STALLED = "an answer did not come"
    WRITE_TIMEOUT = "the remote took no data for too long"
    OVER_BUDGET = "all connections together held too much memory, and this one the most"
    HANDLER_FAILED = "a handler failed, and close_on_handler_error is set"
    LOCAL_FAILURE = "something of our own failed"


@attrs.frozen
class CloseReason:
    """Who ended a connection, and why.

    :ivar by: who.
    :ivar cause: why.
    :ivar detail: more about it, for people; text of the remote's in it is sanitised.
    :ivar command: the command it is about, if there is one: the one that stalled, was malformed, was rejected.
    :ivar code: the code of the remote's ``reject``, if that was the last it said.
    :ivar reject_reason: the reason in that ``reject``, sanitised.
    """

    by: ClosedBy
    cause: CloseCause
    detail: str = ""
    command: str | None = None
    code: int | None = None
    reject_reason: str | None = None

    def __str__(self) -> str:
        text = f"closed by {self.by.value}: {self.cause.value}"
        if self.command is not None:
            text += f" ({self.command})"
        if self.detail:
            text += f": {self.detail}"
        if self.code is not None:
            text += f" [reject {self.code:#04x}: {self.reject_reason}]"
        return text


class ConnectionClosed(TxsoterError):
    """The connection has ended, or is ending.

    :ivar reason: a :class:`CloseReason`.
    """

    def __init__(self, reason: CloseReason) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return str(self.reason)


class HandshakeFailed(ConnectionClosed):
    """The connection ended before both sides had said ``verack``; the reason's cause names the check that failed."""


class RequestFailed(TxsoterError):
    """A request has no answer.

    :ivar command: the command that was sent.
    """

    def __init__(self, command: str, *details: Any) -> None:
        self.command = command
        super().__init__(command, *details)


class RequestTimedOut(RequestFailed):
    """No answer came in time.

    :ivar timeout: seconds waited.
    """

    def __init__(self, command: str, timeout: float) -> None:
        self.timeout = timeout
        super().__init__(command, timeout)

    def __str__(self) -> str:
        return f"no answer to {self.command} within {self.timeout:g} s"


class RequestNotFound(RequestFailed):
    """The remote does not have it.

    :ivar vectors: what it lacks, of what was asked for.
    """

    def __init__(self, command: str, vectors: Any) -> None:
        self.vectors = vectors
        super().__init__(command, vectors)

    def __str__(self) -> str:
        return f"the remote does not have {', '.join(str(each.hash) for each in self.vectors[:3])}"


class RequestRejected(RequestFailed):
    """The remote refused, with a ``reject``.

    :ivar code: see :class:`txsoter.wire.RejectCode`.
    :ivar reason: the remote's words, sanitised.
    """

    def __init__(self, command: str, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(command, code, reason)

    def __str__(self) -> str:
        return f"{self.command} was rejected with {self.code:#04x}: {self.reason}"


class RequestClosed(RequestFailed, ConnectionClosed):
    """The connection ended before the answer came.

    :ivar reason: a :class:`CloseReason`.
    """

    def __init__(self, command: str, reason: CloseReason) -> None:
        Exception.__init__(self, command, reason)
        self.command = command
        self.reason = reason

    def __str__(self) -> str:
        return f"no answer to {self.command}: {self.reason}"
