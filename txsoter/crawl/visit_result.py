"""The result of a visit to one address, as it goes from the I/O to the rules."""

from __future__ import annotations

import enum

import attrs

from txsoter.service.book.places import Place

__all__ = ["Outcome", "VisitResult"]


class Outcome(enum.Enum):
    """The end of a visit, in words that say why a node is not listed."""

    ANSWERED = "it answered"
    REFUSED = "the connection was refused"
    UNREACHABLE = "it could not be connected to"
    TIMED_OUT = "it could not be connected to in time"
    SILENT = "it took the connection, but did not complete the handshake in time"
    WRONG_NETWORK = "it is on another network"
    CLOSED = "it closed the connection during the handshake: it may have banned us, be full, or be no node"
    REJECTED = "it rejected us"
    NOT_ACCEPTABLE = "its version is not acceptable"
    MALFORMED = "it broke the protocol during the handshake"
    OURSELVES = "it is this process itself"
    NOT_COUNTED = "something of our own failed"


@attrs.frozen(kw_only=True)
class VisitResult:
    """The result of a visit.

    :ivar place: the address that was dialled.
    :ivar outcome: how it ended. ``ANSWERED`` means that both veracks crossed, whatever came after.
    :ivar detail: more about it, sanitised; may be empty.
    :ivar latency: seconds from dialling until both veracks had crossed; None when they did not.
    :ivar services: service bits of its ``version``.
    :ivar protocol_version: of its ``version``.
    :ivar user_agent: of its ``version``, as it came.
    :ivar height: of its ``version``.
    :ivar nonce: of its ``version``; 0 while it did not come.
    :ivar told: addresses that it told of, without duplicates and bounded in number.
    :ivar outbound: whom it says it dialled; None when it did not answer ``getaddrcache``.
    :ivar inbound: who it says dialled it, ephemeral ports included; None when it did not answer.
    :ivar own_end: our end of the connection, as our socket has it; None if it has no IP.
    :ivar seen_as: our end of the connection, as the remote's ``version`` has it.
    """

    place: Place
    outcome: Outcome
    detail: str = ""
    latency: float | None = None
    services: int = 0
    protocol_version: int | None = None
    user_agent: bytes = b""
    height: int = 0
    nonce: int = 0
    told: tuple[Place, ...] = ()
    outbound: tuple[Place, ...] | None = None
    inbound: tuple[Place, ...] | None = None
    own_end: Place | None = None
    seen_as: Place | None = None

    @property
    def answered(self) -> bool:
        """True when the handshake was completed."""
        return self.outcome is Outcome.ANSWERED
