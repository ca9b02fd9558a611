"""A snapshot of a connection."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

import attrs

from txsoter.core.connection import Connection
from txsoter.core.traffic import Traffic
from txsoter.wire import Hash, Services

__all__ = ["PEER_IDS", "PeerStats", "snapshot"]

PEER_IDS = count(1)
"""Numbers of the peers of this process, of either adapter."""


@attrs.frozen(kw_only=True)
class PeerStats:
    """A snapshot of a peer. Times are seconds since 1970; None where nothing is known yet.

    :ivar id: a number that no other peer of this process has.
    :ivar address: of the remote: ``host:port``, or what its transport says.
    :ivar inbound: True if the remote dialled us.
    :ivar state: see :class:`txsoter.core.state.State`; its value.
    :ivar services: those that the remote advertises.
    :ivar user_agent: the remote's, as it came.
    :ivar advertised_version: the remote's protocol version.
    :ivar negotiated_version: the lower of the remote's and ours.
    :ivar connected_at: time at which the connection was made.
    :ivar last_send: time at which bytes were last handed to the transport.
    :ivar last_receive: time at which bytes last came.
    :ivar bytes_sent: bytes of whole frames handed to the transport.
    :ivar bytes_received: bytes read, whole frames or not.
    :ivar sent: by command.
    :ivar received: by command; unknown ones together under ``unknown``.
    :ivar starting_height: the remote's, from its ``version``.
    :ivar max_height: the highest block it is known to have; raised by :meth:`SoterPeerProtocol.update_height`.
    :ivar last_announced_block: set by :meth:`SoterPeerProtocol.update_announced_block`.
    :ivar time_offset: the remote's clock less ours, in whole seconds.
    :ivar relay: True if the remote wants transactions announced.
    :ivar ping_nonce: of our last ping.
    :ivar ping_time: time at which that was sent.
    :ivar ping_micros: the last round trip, in microseconds.
    :ivar wants_headers: True if the remote asked for ``headers`` instead of ``inv``.
    :ivar witness: True if the remote sends witnesses.
    :ivar known_inventory: the number of vectors that it is known to have.
    :ivar queued_inventory: vectors that wait to be announced.
    :ivar pending_requests: requests that wait for their answer.
    :ivar is_reading: False while a listener, our full send queue or a rate limit keeps us from reading on.
    :ivar buffered_bytes: bytes of messages that were received and whose turn has not come.
    :ivar held_bytes: bytes of memory that count against ``memory_budget``.
    :ivar queue_length: messages that wait to be sent.
    :ivar queue_bytes: bytes that wait to be sent.
    :ivar trailing_bytes: bytes that stood behind messages in their payloads, and were ignored.
    :ivar malformed: malformed messages.
    :ivar unknown_commands: messages with unknown commands.
    :ivar bloom_refused: bloom commands that we do not serve.
    :ivar handler_errors: listeners that failed.
    :ivar handling: command of the message whose listener has not finished, or None.
    :ivar handling_seconds: since that listener was called, or None.
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
    queued_inventory: int
    pending_requests: int
    is_reading: bool
    buffered_bytes: int
    held_bytes: int
    queue_length: int
    queue_bytes: int
    trailing_bytes: int
    malformed: int
    unknown_commands: int
    bloom_refused: int
    handler_errors: int
    handling: str | None
    handling_seconds: float | None


def snapshot(connection: Connection, *, id: int, address: str, now: float, wall: float) -> PeerStats:
    """Return a snapshot of ``connection``. Any thread may call this.

    :param now: seconds of the connection's clock.
    :param wall: seconds since 1970 at that time.
    """
    channel = connection.channel
    handshake, counters, queue, pings = channel.handshake, channel.counters, channel.queue, channel.pings
    remote, early, in_hand = handshake.remote, handshake.early, channel.in_hand
    sent = {command: traffic.copy() for command, traffic in list(counters.sent.items())}
    received = {command: traffic.copy() for command, traffic in list(counters.received.items())}

    def stamp(when: float | None) -> float | None:
        return None if when is None else when + (wall - now)

    return PeerStats(
        id=id,
        address=address,
        inbound=channel.inbound,
        state=channel.state.value,
        services=0 if remote is None else remote.services,
        user_agent=b"" if remote is None else remote.user_agent,
        advertised_version=None if remote is None else remote.protocol_version,
        negotiated_version=handshake.pver,
        connected_at=stamp(channel.connected_at),
        last_send=stamp(queue.last_write),
        last_receive=stamp(counters.last_receive),
        bytes_sent=sum(traffic.bytes for traffic in sent.values()),
        bytes_received=counters.bytes_received,
        messages_sent=sum(traffic.messages for traffic in sent.values()),
        messages_received=sum(traffic.messages for traffic in received.values()),
        sent=sent,
        received=received,
        starting_height=0 if remote is None else remote.last_block,
        max_height=channel.max_height,
        last_announced_block=channel.last_announced_block,
        time_offset=handshake.time_offset,
        relay=remote is None or remote.relay,
        ping_nonce=pings.last_nonce,
        ping_time=stamp(pings.last_time),
        ping_micros=pings.last_micros,
        wants_headers=channel.wants_headers,
        witness=remote is not None and bool(remote.services & Services.WITNESS),
        known_inventory=channel.announcer.known_inventory,
        queued_inventory=len(channel.announcer),
        pending_requests=len(channel.requests),
        is_reading=connection.wants_data,
        buffered_bytes=channel.reader.buffered,
        held_bytes=channel.memory(),
        queue_length=len(queue) + (0 if early is None else len(early)),
        queue_bytes=queue.waiting + (0 if early is None else early.size),
        trailing_bytes=counters.trailing_bytes,
        malformed=counters.malformed,
        unknown_commands=counters.unknown_commands,
        bloom_refused=counters.bloom_refused,
        handler_errors=counters.handler_errors,
        handling=None if in_hand is None else in_hand[0].shared.command,
        handling_seconds=None if in_hand is None else now - channel.handled_since,
    )
