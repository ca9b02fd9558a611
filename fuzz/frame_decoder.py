"""Fuzz target: the frame decoder and every message's codec.

::

    python fuzz/frame_decoder.py fuzz/corpus/frame_decoder -max_total_time=60

Any stream in any chunking: :class:`~txsoter.wire.FrameDecoder` must give what :func:`~txsoter.wire.read_message`
gives, hold no more than it was fed, and raise nothing but MalformedMessage. Any message that is decoded must be written
to the bytes it came from, but for :data:`EXCEPTIONS`, and be read from these as the same.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import attrs
from launch import launch
from pieces import PROTOCOL_VERSIONS, RAW, chunks, framed, mutated, parsed

from txsoter.core.log_text import summary
from txsoter.errors import LocalError, MalformedMessage, NeedMoreData, PayloadTooLarge
from txsoter.networks import SIMNET
from txsoter.wire import (
    Alert,
    Block,
    Encoding,
    FrameDecoder,
    Message,
    RowView,
    Tx,
    Unknown,
    Version,
    read_message,
)
from txsoter.wire.message import command_text, message_class

__all__ = ["EXCEPTIONS", "KINDS", "SETTINGS", "mutated", "one_input"]

SETTINGS = 4
"""Bytes before the pieces: protocol version, encoding, and two that say where the stream is cut."""

KINDS = RAW + 1

MAGIC = SIMNET.magic

Event = tuple[str, object, object]
"""What comes out of a stream: a message, with its command and itself; or that something is malformed, with why."""


@attrs.frozen
class Context:
    """How payloads are read."""

    pver: int
    encoding: Encoding


class Limit:
    """A route that knows its command and the command's limit."""

    def __init__(self, command: bytes, context: Context) -> None:
        known = message_class(command)
        self.command = command
        self.limit = Unknown.max_size() if known is None else known.max_size(context.pver)


def one_input(data: bytes) -> None:
    """Whatever ``data`` is, nothing is raised: unless txsoter is wrong."""
    settings, pieces = parsed(data, SETTINGS)
    context = Context(PROTOCOL_VERSIONS[settings[0] % len(PROTOCOL_VERSIONS)], tuple(Encoding)[settings[1] % 2])
    stream = b"".join(framed(each._replace(kind=each.kind % KINDS), MAGIC) for each in pieces)
    expected = read_whole(stream, context)
    assert decoded([stream], context) == expected, "the decoder and read_message() disagree"
    # of a header that has two faults, the one that is seen first depends on where it is cut
    cut = chunks(stream, struct.unpack_from("<H", settings, 2)[0])
    assert without_reasons(decoded(cut, context)) == without_reasons(expected), "the chunking makes a difference"


def without_reasons(events: list[Event]) -> list[Event]:
    return [(what, more, "" if what == "malformed header" else why) for what, more, why in events]


def malformed(error: MalformedMessage) -> Event:
    return ("malformed header" if error.in_header else "malformed payload", error.command, error.reason)


def read_whole(stream: bytes, context: Context) -> list[Event]:
    """What a stream holds, read message by message, going on behind what is malformed."""
    events: list[Event] = []
    at = 0
    while True:
        rest = stream[at:]
        try:
            message, consumed = read_message(rest, MAGIC, context.pver, context.encoding)
        except NeedMoreData as error:
            assert error.missing > 0
            return events
        except MalformedMessage as error:
            events.append(malformed(error))
            if len(rest) < 24:
                return events
            at += 24 + struct.unpack_from("<I", rest, 16)[0]
        else:
            events.append(("message", message.command, message))
            at += consumed


def decoded(chunks: list[bytes], context: Context) -> list[Event]:
    """The same by the decoder, as a peer uses it."""
    decoder = FrameDecoder(MAGIC, lambda command: Limit(command, context))
    events: list[Event] = []
    held = 0
    for chunk in chunks:
        decoder.feed(chunk)
        held += len(chunk)
        assert decoder.buffered <= held, "more is held than was fed"
        while True:
            try:
                found = decoder.next_frame()
                if found is None:
                    break
                held -= 24 + len(found[1])
                message = decode(found[0].command, found[1], context)
            except MalformedMessage as error:
                events.append(malformed(error))
                if error.in_header:
                    decoder.skip()
            else:
                events.append(("message", message.command, message))
    return events


def decode(command: bytes, payload: bytes, context: Context) -> Message:
    known = message_class(command)
    if known is None:
        return Unknown(command_text(command), payload)
    message, used = known.from_payload(payload, context.pver, context.encoding)
    assert 0 <= used <= len(payload)
    check(message, payload[:used], context)
    return message


# -- what must hold of a message -----------------------------------------------------------------


def plain(message: Any) -> Any:
    """The same, made by its constructor of plain values: all that is parsed late is parsed."""
    if isinstance(message, Tx):
        return Tx(message.version, message.inputs, message.outputs, message.lock_time)
    if isinstance(message, Block):
        return attrs.evolve(rows_as_tuples(message), transactions=tuple(map(plain, message.transactions)))
    return rows_as_tuples(message)


def rows_as_tuples(message: Any) -> Any:
    values = {each.name: getattr(message, each.name) for each in attrs.fields(type(message))}
    return type(message)(**{name: tuple(each) if isinstance(each, RowView) else each for name, each in values.items()})


def transactions(message: Message) -> list[Tx]:
    if isinstance(message, Block):
        return list(message.transactions)
    return [message] if isinstance(message, Tx) else []


def leaves_fields_out(message: Message, came: bytes, written: bytes, context: Context) -> bool:
    return isinstance(message, Version) and len(came) < len(written) and written.startswith(came)


def has_relay_flag(message: Message, came: bytes, written: bytes, context: Context) -> bool:
    return isinstance(message, Version) and came[:-1] == (written if context.pver < 70001 else written[:-1])


def has_leftovers(message: Message, came: bytes, written: bytes, context: Context) -> bool:
    return isinstance(message, Alert) and message.details is not None and message.serialized in came


def has_hollow(message: Message, came: bytes, written: bytes, context: Context) -> bool:
    if context.encoding is Encoding.BASE or b"\0\1" not in came:
        return False
    return len(written) < len(came) and any(not each.has_witness for each in transactions(message))


EXCEPTIONS: dict[str, Callable[[Message, bytes, bytes, Context], bool]] = {
    "the fields that a version leaves out are written": leaves_fields_out,
    "a relay flag other than 0 is written as 1, and not at all below 70001": has_relay_flag,
    "what is left over inside of an alert that parses is dropped": has_leftovers,
    "the marker of a transaction without witnesses is dropped": has_hollow,
}
"""Where what is written is not what came."""


def check(message: Message, came: bytes, context: Context) -> None:
    """That a decoded message can be looked at, and is written as it came."""
    repr(message)
    summary(message)
    same = plain(message)
    assert same == message and message == same, "its parts, parsed and put together, are another message"
    for one, other in zip(transactions(message), transactions(same), strict=True):
        assert (one.txid, one.wtxid, hash(one)) == (other.txid, other.wtxid, hash(other))
    try:
        written = message.to_payload(context.pver, context.encoding)
    except LocalError as error:
        assert cannot_be_sent(message, error, context), f"was read, but cannot be written: {error}"
        return
    assert same.to_payload(context.pver, context.encoding) == written, "its parts are written otherwise"
    if written != came:
        named = [name for name, holds in EXCEPTIONS.items() if holds(message, came, written, context)]
        assert named, f"written otherwise than it came: {came.hex()} as {written.hex()}"
    if not isinstance(message, Version) or context.pver >= 70001:
        again, used = type(message).from_payload(written, context.pver, context.encoding)
        assert (again, used) == (message, len(written)), "what is written is read as another message"


def cannot_be_sent(message: Message, error: LocalError, context: Context) -> bool:
    """Whether it is one of those that are taken, but must not be sent."""
    if isinstance(message, Alert):
        return not message.serialized
    if context.encoding is Encoding.WITNESS and any(not each.inputs for each in transactions(message)):
        # without a marker, their count would be read as one
        return True
    return isinstance(message, Version) and isinstance(error, PayloadTooLarge)


if __name__ == "__main__":
    launch(__file__)
