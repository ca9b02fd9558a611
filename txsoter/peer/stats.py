"""What a connection counts, and the frozen picture of it."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from txsoter.wire import Hash

__all__ = ["PeerStats", "Traffic"]


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
        """The counts as they are now."""
        return Traffic(self.messages, self.bytes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Traffic):
            return NotImplemented
        return (self.messages, self.bytes) == (other.messages, other.bytes)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Traffic(messages={self.messages}, bytes={self.bytes})"


UNKNOWN_COMMANDS = "unknown"
"""Under which all unknown commands are counted together: a remote may invent any number of them."""


@attrs.frozen(kw_only=True)
class PeerStats:
    """A picture of a peer at one moment. Times are seconds of the peer's clock; None where nothing is known yet.

    :ivar id: a number that no other peer of this process has.
    :ivar address: of the remote: ``host:port``, or what its transport says.
    :ivar inbound: whether the remote dialled us.
    :ivar services: what the remote advertises.
    :ivar user_agent: the remote's, as it came.
    :ivar advertised_version: the remote's protocol version.
    :ivar negotiated_version: the lower of the remote's and ours.
    :ivar connected_at: when the connection was made.
    :ivar last_send: when bytes were last handed to the transport.
    :ivar last_receive: when bytes last came.
    :ivar bytes_sent: bytes of whole frames handed to the transport.
    :ivar bytes_received: bytes read, whole frames or not.
    :ivar sent: by command.
    :ivar received: by command; unknown ones together under ``unknown``.
    :ivar starting_height: the remote's, from its ``version``.
    :ivar max_height: the highest block it is known to have; raised by :meth:`SoterPeerProtocol.update_height`.
    :ivar last_announced_block: set by :meth:`SoterPeerProtocol.update_announced_block`.
    :ivar time_offset: the remote's clock less ours, in whole seconds.
    :ivar relay: whether the remote wants to be told of transactions.
    :ivar ping_nonce: of our last ping.
    :ivar ping_time: when that was sent.
    :ivar ping_micros: the last round trip, in microseconds.
    :ivar wants_headers: whether the remote asked for ``headers`` instead of ``inv``.
    :ivar witness: whether the remote sends witnesses.
    :ivar known_inventory: how many vectors it is known to have.
    :ivar queue_length: messages that wait to be sent.
    :ivar queue_bytes: bytes that wait to be sent.
    :ivar trailing_bytes: bytes that stood behind messages in their payloads, and were ignored.
    :ivar malformed: malformed messages.
    :ivar unknown_commands: messages with unknown commands.
    :ivar bloom_refused: bloom commands that we do not serve.
    :ivar handler_errors: listeners that failed.
    """

    id: int
    address: str
    inbound: bool
    state: str
    services: int
    user_agent: bytes
    advertised_version: int | None
    negotiated_version: int
    connected_at: float | None
    last_send: float | None
    last_receive: float | None
    bytes_sent: int
    bytes_received: int
    messages_sent: int
    messages_received: int
    sent: Mapping[str, Traffic]
    received: Mapping[str, Traffic]
    starting_height: int
    max_height: int
    last_announced_block: Hash | None
    time_offset: int
    relay: bool
    ping_nonce: int | None
    ping_time: float | None
    ping_micros: int | None
    wants_headers: bool
    witness: bool
    known_inventory: int
    queue_length: int
    queue_bytes: int
    trailing_bytes: int
    malformed: int
    unknown_commands: int
    bloom_refused: int
    handler_errors: int
