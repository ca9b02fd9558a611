"""Built-in handling of messages: the handshake, pings, rejects, bloom commands, malformed and unknown messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from txsoter.core.announcements import announce
from txsoter.core.channel import Channel
from txsoter.core.config import agent_version, hides, tick_of
from txsoter.core.dispatch_table import DispatchTable, Handler
from txsoter.core.events import READY, Notice, Observed, RoundTrip
from txsoter.core.handshake import LIVE_NONCES, check_protocol_version, check_version, own_version, verack_frame
from txsoter.core.keepalive import pong_frame
from txsoter.core.net_address import LOOPBACK_NAMES, receiver_address
from txsoter.core.sanitize import MAX_REASON, sanitize
from txsoter.core.stall import OBSERVED
from txsoter.core.state import State, Trigger, transition
from txsoter.errors import CloseCause, ClosedBy, LocalError, MalformedMessage
from txsoter.networks import REGTEST
from txsoter.wire import (
    Encoding,
    FilterAdd,
    FilterClear,
    FilterLoad,
    Message,
    Ping,
    Pong,
    Reject,
    RejectCode,
    SendHeaders,
    Services,
    Unknown,
    VerAck,
    Version,
)

__all__ = ["first_is_no_version", "make_dispatch_table", "malformed_received", "say_version"]

LAST_WITHOUT_PONG = 60000
"""The last protocol version without ``pong``."""

BLOOM_BINDING = 70011
"""The first protocol version at which a bloom command without the bloom service closes the connection."""

KEPT_OF_A_REJECT = 8 * MAX_REASON
"""Bytes of a reject's texts that are remembered, of which at most ``MAX_REASON`` characters are shown."""


# -- the handshake -----------------------------------------------------------------------------


def say_version(channel: Channel) -> bool:
    """Send our ``version``; return False if it cannot be made, which closes the connection."""
    config = channel.config
    try:
        height = 0 if config.newest_block is None else config.newest_block()
    except Exception as error:
        channel.events.append(Notice("newest_block failed", error))
        channel.close(CloseCause.LOCAL_FAILURE, "newest_block failed")
        return False
    nonce = channel.random.getrandbits(64)
    receiver = receiver_address(channel.host, channel.port, hides(config, channel.host))
    version = own_version(config, receiver, height, nonce, channel.now + channel.wall_offset)
    try:
        frame = channel.encode(version, Encoding.BASE)
    except LocalError as error:
        channel.events.append(Notice(str(error), level="error"))
        channel.close(CloseCause.LOCAL_FAILURE, str(error))
        return False
    channel.handshake.nonce = nonce
    LIVE_NONCES.add(nonce)
    channel.queue.put(frame, version, None)
    return True


def first_is_no_version(channel: Channel, message: Message) -> None:
    """Close: the first message must be a ``version``."""
    if isinstance(message, Reject):
        # the remote's refusal of our version; it needs none in return
        channel.close(CloseCause.REJECTED, by=ClosedBy.REMOTE, command=sanitize(message.rejected, 12), reject=message)
    elif isinstance(message, Unknown):
        channel.counters.unknown_commands += 1
        channel.close(CloseCause.VERSION_EXPECTED, command=sanitize(message.command, 12))
    else:
        reason = b"a version message must precede all others"
        final_reject = Reject(message.command.encode(), RejectCode.MALFORMED, reason)
        channel.close(CloseCause.VERSION_EXPECTED, command=message.command, final_reject=final_reject)


def _version_received(channel: Channel, version: Version, check: bytes) -> bool:
    handshake, config = channel.handshake, channel.config
    if handshake.remote is not None:
        final_reject = Reject(b"version", RejectCode.DUPLICATE, b"duplicate version message")
        channel.close(CloseCause.DUPLICATE_VERSION, final_reject=final_reject)
        return False
    version.read_fields()
    own_nonces = () if config.allow_self_connections else LIVE_NONCES
    refusal = check_version(version, config.network, config.user_agent_name, agent_version(config), own_nonces)
    if refusal is not None:
        if refusal.cause is CloseCause.SELF_CONNECTION:
            LIVE_NONCES.refuse(version.nonce)
        reason = refusal.detail.encode()
        reject = None if refusal.code is None else Reject(b"version", refusal.code, reason)
        channel.close(refusal.cause, sanitize(refusal.detail), final_reject=reject)
        return False
    handshake.version_received(version, channel.now + channel.wall_offset)
    channel.max_height = version.last_block
    channel.state = transition(channel.state, Trigger.VERSION)
    return True


def _version_accepted(channel: Channel, results: Sequence[Any]) -> None:
    """Go on with the handshake after the ``on_version`` listeners, unless one of them returned a reject."""
    refused = next((each for each in results if isinstance(each, Reject)), None)
    if refused is not None:
        channel.close(CloseCause.REFUSED_BY_LISTENER, sanitize(refused.reason), final_reject=refused)
        return
    handshake = channel.handshake
    assert handshake.remote is not None
    refusal = check_protocol_version(handshake.remote.protocol_version)
    if refusal is not None:
        channel.close(refusal.cause, refusal.detail)
        return
    handshake.negotiate(channel.config.protocol_version)
    channel.reader.negotiated(handshake.pver, handshake.encoding)
    if channel.inbound and not say_version(channel):
        return
    channel.queue.put(verack_frame(channel.config.network.magic), _VERACK, None)
    channel.state = transition(channel.state, Trigger.ACCEPTED)
    _send_early(channel)


def _send_early(channel: Channel) -> None:
    """Send what waited for our verack, encoded for what was negotiated."""
    early, channel.handshake.early = channel.handshake.early, None
    assert early is not None
    for message, encoding, token in early.take():
        try:
            frame = channel.encode(message, encoding)
        except LocalError as error:
            # valid at our own version, but the remote's does not have it
            if token is None:
                channel.events.append(Notice(f"not sent: {error}"))
            channel.fail_sends((token,), error)
            continue
        # within the hard limit when it came: our own version and verack do not count
        channel.queue.put(frame, message, token)


def _verack_received(channel: Channel, message: VerAck, check: bytes) -> bool:
    if channel.state is not State.NEGOTIATED:
        channel.close(CloseCause.DUPLICATE_VERACK)
        return False
    channel.state = transition(channel.state, Trigger.VERACK)
    channel.handshake.complete = True
    interval, tick = channel.config.ping_interval, tick_of(channel.config)
    if interval is not None:
        # a timer may be a tick late, a ping not; the nonce is random enough to keep connections out of step
        assert channel.handshake.nonce is not None
        every = interval * (1 - channel.handshake.nonce / (10 << 64)) - tick
        channel.pings.begin(every, channel.now)
        channel.rearm = channel.rearm or channel.now + every < channel.coarse_due
    announce(channel)
    channel.events.append(READY)
    return True


# -- other messages ----------------------------------------------------------------------------


def _ping_received(channel: Channel, message: Ping, check: bytes) -> None:
    config, queue = channel.config, channel.queue
    if queue.waiting > config.soft_queue_limit:
        # we read on for other messages, not for the remote to make us queue more
        return
    if channel.handshake.pver > LAST_WITHOUT_PONG and config.answer_pings:
        frame = pong_frame(config.network.magic, check, message.nonce)
        pong = message.response() if channel.table.observes_writes else _PONG
        channel.send(frame, pong, Encoding.BASE, None)


def _pong_received(channel: Channel, message: Pong, check: bytes) -> None:
    seconds = channel.pings.received(message.nonce, channel.now)
    if seconds is not None and channel.table.observes_round_trips:
        channel.events.append(RoundTrip(seconds))


def _sendheaders_received(channel: Channel, message: Message, check: bytes) -> None:
    channel.wants_headers = True


def _reject_received(channel: Channel, message: Reject, check: bytes) -> None:
    # as much as a close reason shows: the rest, up to 4 MB, would be kept until the next message
    channel.last_reject = Reject(message.rejected[:KEPT_OF_A_REJECT], message.code, message.reason[:KEPT_OF_A_REJECT])


def _bloom_received(channel: Channel, message: Message, check: bytes) -> bool:
    if channel.config.services & Services.BLOOM:
        return True
    channel.counters.bloom_refused += 1
    if channel.handshake.pver >= BLOOM_BINDING:
        channel.close(CloseCause.BLOOM_DISABLED, command=message.command)
    return False


def _unknown_received(channel: Channel, message: Unknown, check: bytes) -> bool:
    channel.counters.unknown_commands += 1
    if channel.config.strict:
        _refuse_malformed(channel, CloseCause.UNKNOWN_COMMAND, "unknown command", message.command)
        return False
    return True


# -- malformed messages ------------------------------------------------------------------------


def malformed_received(channel: Channel, error: MalformedMessage) -> bool:
    """Close for a malformed frame, or return True to go on behind it, which only regtest allows."""
    channel.counters.malformed += 1
    channel.events.append(Observed(error.size, None, b"", error))
    if channel.state is State.NEGOTIATING:
        command = None if error.command is None else sanitize(error.command, 12)
        channel.close(CloseCause.MALFORMED, sanitize(error.reason), command=command)
        return False
    return _refuse_malformed(channel, CloseCause.MALFORMED, error.reason, error.command)


def _refuse_malformed(channel: Channel, cause: CloseCause, reason: str, command: str | None) -> bool:
    name = None if command is None else sanitize(command, 12)
    text = sanitize(f"{name}: {reason}" if name else reason)
    if _forgives_malformed(channel):
        channel.events.append(Notice(f"malformed message: {text}, skipped", level="info"))
        return True
    final_reject = Reject(b"malformed", RejectCode.MALFORMED, text.encode())
    channel.close(cause, sanitize(reason), command=name, final_reject=final_reject)
    return False


def _forgives_malformed(channel: Channel) -> bool:
    """Tell whether the remote is a test on this machine, which may send rubbish after the handshake."""
    on_regtest = channel.config.network.magic == REGTEST.magic
    return channel.state is State.READY and on_regtest and channel.host in LOOPBACK_NAMES


_VERACK = VerAck()
# counted by its class; nobody looks at its nonce
_PONG = Pong()

BUILT_IN: dict[type[Message], Callable[[Channel, Any, bytes], bool | None]] = {
    Version: _version_received,
    VerAck: _verack_received,
    Ping: _ping_received,
    Pong: _pong_received,
    SendHeaders: _sendheaders_received,
    Reject: _reject_received,
    FilterAdd: _bloom_received,
    FilterClear: _bloom_received,
    FilterLoad: _bloom_received,
    Unknown: _unknown_received,
}
"""Called with the channel, a message and its payload's checksum, before the application's handlers. False keeps the
message from those."""

AFTER_HANDLERS: dict[type[Message], Callable[[Channel, Sequence[Any]], None]] = {Version: _version_accepted}
"""Called with the channel and the results of the application's handlers."""


# -- after writing -----------------------------------------------------------------------------


def _ping_written(channel: Channel, ping: Ping) -> None:
    assert channel.queue.last_write is not None
    channel.pings.sent(ping.nonce, channel.queue.last_write)


def _question_written(channel: Channel, message: Message) -> None:
    now = channel.queue.last_write
    assert now is not None
    if channel.stall is not None:
        channel.stall.sent(message, channel.remote_clock.seconds(now))
        if not channel.state.is_closing and channel.stall.begin(now):
            channel.rearm = True


AFTER_WRITING: dict[type[Message], Callable[[Channel, Any], None]] = {
    Ping: _ping_written,
    **dict.fromkeys(OBSERVED, _question_written),
}
"""Called with the channel and a message, once the transport has it."""


def make_dispatch_table(find: Callable[[type[Message]], tuple[Handler, ...]], **observes: bool) -> DispatchTable:
    """Return a dispatch table with our own rules.

    :param find: gives the application's handlers of a message class.
    :param observes: see :class:`~txsoter.core.dispatch_table.DispatchTable`.
    """
    return DispatchTable(find, BUILT_IN, AFTER_HANDLERS, AFTER_WRITING, **observes)
