"""Hypothesis strategies: every message, and what an enemy would make of it.

They need hypothesis, which txsoter itself does not: ``pip install 'txsoter[testing]'``. ::

    from hypothesis import given
    from txsoter.testing import strategies as soter

    @given(soter.messages())
    def test_the_archive_keeps_everything(message): ...

    @given(soter.streams().flatmap(soter.chunked))
    def test_the_proxy_survives_anything(chunks): ...

Messages are valid: one that is written, and read at the same protocol version and encoding, equals what it was. They
are derived from the messages' declarations, so that no field can be forgotten. Each list in them has at most
``max_entries``, each string at most ``max_bytes``, and no more than the wire format allows. What is hostile begins at
:func:`damaged`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import attrs

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError("txsoter.testing.strategies needs hypothesis: pip install 'txsoter[testing]'") from error

from txsoter import wire
from txsoter.networks import SIMNET
from txsoter.testing.declared import PROTOCOL_VERSIONS, Bounds, fixed_bytes, hashes, record, row_of, strategy_of, tx
from txsoter.wire import (
    MAX_PAYLOAD,
    PROTOCOL_VERSION,
    Block,
    Encoding,
    Message,
    NetAddress,
    Tx,
    Unknown,
    addresses,
    codec,
    inventory,
    merkle_root,
    parents_commitment,
    views,
    write_message,
)
from txsoter.wire import blocks as block_fields
from txsoter.wire.framing import HEADER_SIZE, frame
from txsoter.wire.message import command_bytes

__all__ = [
    "blocks",
    "chunked",
    "commands",
    "corrupt_frames",
    "damaged",
    "encodings",
    "frames",
    "hashes",
    "message",
    "messages",
    "net_addresses",
    "protocol_versions",
    "streams",
    "transactions",
]

M = TypeVar("M", bound=Message)

MAX_ENTRIES = 8
MAX_BYTES = 64


# -- where a connection may stand ----------------------------------------------------------------


def protocol_versions() -> st.SearchStrategy[int]:
    """Each protocol version that changes the format, and the one before it."""
    return st.sampled_from(PROTOCOL_VERSIONS)


def encodings() -> st.SearchStrategy[Encoding]:
    """How transactions may be written."""
    return st.sampled_from(Encoding)


def commands() -> st.SearchStrategy[str]:
    """One of the 31."""
    return st.sampled_from(sorted(wire.messages()))


# -- what is valid -------------------------------------------------------------------------------


def net_addresses(*, timestamp: bool = True) -> st.SearchStrategy[NetAddress]:
    """Where a peer may be.

    :param timestamp: whether they have one, as in lists from protocol version 31402 on.
    """
    layout = addresses.DATED_ADDRESS if timestamp else addresses.BARE_ADDRESS
    return row_of(layout, Bounds(PROTOCOL_VERSION, Encoding.BASE, MAX_ENTRIES, MAX_BYTES))


def message(
    cls: type[M],
    *,
    pver: int = PROTOCOL_VERSION,
    encoding: Encoding = Encoding.BASE,
    max_entries: int = MAX_ENTRIES,
    max_bytes: int = MAX_BYTES,
) -> st.SearchStrategy[M]:
    """Any message of one class, :class:`~txsoter.wire.Unknown` included.

    :raises ValueError: when the protocol version has no such message.
    """
    if pver < cls.since:
        raise ValueError(f"{cls.command} does not exist at protocol version {pver}, only from {cls.since}")
    return strategy_of(cls, Bounds(pver, encoding, max_entries, max_bytes))


def messages(
    *,
    pver: int = PROTOCOL_VERSION,
    encoding: Encoding = Encoding.BASE,
    max_entries: int = MAX_ENTRIES,
    max_bytes: int = MAX_BYTES,
) -> st.SearchStrategy[Message]:
    """Any message that a protocol version has, :class:`~txsoter.wire.Unknown` included."""
    return _messages(Bounds(pver, encoding, max_entries, max_bytes))


def _messages(bounds: Bounds) -> st.SearchStrategy[Message]:
    classes = [*(cls for cls in wire.messages().values() if cls.since <= bounds.pver), Unknown]
    return st.one_of([strategy_of(cls, bounds) for cls in classes])


def transactions(
    *, encoding: Encoding = Encoding.WITNESS, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES
) -> st.SearchStrategy[Tx]:
    """Any transaction; those for the base encoding have no witnesses, those for the other at least one input."""
    return message(Tx, encoding=encoding, max_entries=max_entries, max_bytes=max_bytes)


def blocks(
    *, encoding: Encoding = Encoding.WITNESS, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES
) -> st.SearchStrategy[Block]:
    """Blocks that :meth:`~txsoter.wire.Block.verify`; ``message(Block)`` gives any."""
    bounds = Bounds(PROTOCOL_VERSION, encoding, max_entries, max_bytes)

    def committed(block: Block) -> Block:
        version, _, _, *rest = block.header
        root, _ = merkle_root([each.txid for each in block.transactions])
        block.header = wire.BlockHeader(version, parents_commitment([each.hash for each in block.parents]), root, *rest)
        return block

    # one of 64 bytes could be a node of the merkle tree; the same one twice would make that ambiguous
    each = tx(bounds).filter(lambda each: each.is_coinbase or len(each.to_payload()) != block_fields.MERKLE_NODE)
    different = st.lists(each, min_size=1, max_size=max(1, max_entries), unique_by=lambda each: each.txid)
    return record(Block, bounds, transactions=different.map(tuple)).map(committed)


def frames(
    magic: int = SIMNET.magic,
    *,
    pver: int = PROTOCOL_VERSION,
    encoding: Encoding = Encoding.BASE,
    max_entries: int = MAX_ENTRIES,
    max_bytes: int = MAX_BYTES,
) -> st.SearchStrategy[bytes]:
    """The bytes of any message, as they stand in a stream."""
    valid = _messages(Bounds(pver, encoding, max_entries, max_bytes))
    return valid.map(lambda each: write_message(each, magic, pver, encoding))


# -- what is hostile -----------------------------------------------------------------------------

_NASTY = (b"", b"\xff" * 9, b"\xfd\xff\xff", b"\xfe\0\0\0\x80", b"\xfd\0\0", bytes(4), b"\xff" * 4)


@st.composite
def _damaged(draw: st.DrawFn, data: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        end = at + draw(st.integers(0, 9))
        piece = draw(st.sampled_from((*_NASTY, data[at:])) | st.binary(max_size=9))
        data = data[:at] + piece + data[end:]
    return data


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """``data`` with bytes changed, cut out, doubled and put in at one to three places."""
    return _damaged(data).filter(lambda other: other != data)


@attrs.frozen
class _Whole:
    """A frame that is right, in its parts."""

    magic: int
    message: Message
    payload: bytes
    pver: int
    encoding: Encoding

    @property
    def command(self) -> bytes:
        return self.message.padded_command

    def framed(self, payload: bytes) -> bytes:
        """Another payload, with its checksum."""
        return frame(self.magic, self.command, payload)

    def header(self, **lies: Any) -> bytes:
        """The frame, with other values in its header."""
        right = struct.unpack_from("<I12sI4s", self.framed(self.payload))
        names = ("magic", "command", "length", "checksum")
        return struct.pack("<I12sI4s", *(lies.get(*each) for each in zip(names, right, strict=True))) + self.payload

    def counts(self) -> list[tuple[int, bool]]:
        """Where the payload has counts and lengths, and whether they are varints."""
        if isinstance(self.message, Tx):
            marked = self.encoding is Encoding.WITNESS and self.message.has_witness
            return [(6 if marked else 4, True)]
        found, offset = [], 0
        for name, each in type(self.message)._codecs:
            if isinstance(each, block_fields._SubHeaderRows):
                found.append((offset, False))
            elif isinstance(each, (codec.VarBytes, views.Rows, inventory._LocatorCodec, block_fields._Transactions)):
                found.append((offset, True))
            offset += len(each.write(getattr(self.message, name), self.pver))
        return found


def _wrong_payload(draw: st.DrawFn, whole: _Whole) -> bytes:
    return whole.framed(draw(damaged(whole.payload)))


def _wrong_bytes(draw: st.DrawFn, whole: _Whole) -> bytes:
    return draw(damaged(whole.header()))


def _wrong_count(draw: st.DrawFn, whole: _Whole) -> bytes:
    """Counts and lengths that are not those of what follows, or that take more bytes than they need."""
    payload, places = whole.payload, whole.counts()
    if not places:
        return whole.framed(draw(damaged(payload)))
    # from behind, so that the places before stay where they are
    for offset, is_varint in sorted(draw(st.sets(st.sampled_from(places), min_size=1)), reverse=True):
        if is_varint:
            right, end = codec.read_varint(payload, offset)
            longer = [b"\xff" + struct.pack("<Q", right)]
            longer += [b"\xfd" + struct.pack("<H", right)] if right < 1 << 16 else []
            other = st.sampled_from([0, right + 1, right + 2, 1000, 1 << 32, 1 << 63, (1 << 64) - 1])
            lie = draw(st.sampled_from(longer) | (other | st.integers(0, (1 << 64) - 1)).map(codec.write_varint))
        else:
            right, end = codec.I32.read(payload, offset, 0)
            other = st.sampled_from([right + 1, right - 1, -1, codec.I32.lowest, codec.I32.highest])
            lie = codec.I32.write(draw(other), 0)
        payload = payload[:offset] + lie + payload[end:]
    return whole.framed(payload)


def _wrong_length(draw: st.DrawFn, whole: _Whole) -> bytes:
    right, limit = len(whole.payload), type(whole.message).max_size(whole.pver)
    near = [each for each in (right - 1, right + 1, 0, limit, limit + 1, MAX_PAYLOAD, MAX_PAYLOAD + 1) if each >= 0]
    return whole.header(length=draw(st.sampled_from(near) | st.integers(0, (1 << 32) - 1)))


def _wrong_magic(draw: st.DrawFn, whole: _Whole) -> bytes:
    return whole.header(magic=whole.magic ^ draw(st.integers(1, (1 << 32) - 1)))


def _wrong_checksum(draw: st.DrawFn, whole: _Whole) -> bytes:
    return whole.header(checksum=draw(fixed_bytes(4)))


def _wrong_command(draw: st.DrawFn, whole: _Whole) -> bytes:
    named = whole.command
    hidden = named[:-2] + b"\0x"
    others = st.sampled_from([hidden, named.upper(), bytes(12), b"\xff" * 12, b"\0" + named[:-1]])
    return frame(whole.magic, draw(others | commands().map(command_bytes) | fixed_bytes(12)), whole.payload)


def _wrong_end(draw: st.DrawFn, whole: _Whole) -> bytes:
    """A frame that stops early, or whose payload goes on behind its message."""
    raw = whole.header()
    if draw(st.booleans()):
        return raw[: draw(st.integers(0, len(raw) - 1))]
    return whole.framed(whole.payload + draw(st.binary(min_size=1, max_size=9)))


_WRONGS: tuple[Callable[[st.DrawFn, _Whole], bytes], ...] = (
    _wrong_payload,
    _wrong_bytes,
    _wrong_count,
    _wrong_length,
    _wrong_magic,
    _wrong_checksum,
    _wrong_command,
    _wrong_end,
)


@st.composite
def _corrupt_frame(draw: st.DrawFn, magic: int, bounds: Bounds, of: type[Message] | None) -> bytes:
    each = draw(_messages(bounds) if of is None else strategy_of(of, bounds))
    payload = each.to_payload(bounds.pver, bounds.encoding)
    return draw(st.sampled_from(_WRONGS))(draw, _Whole(magic, each, payload, bounds.pver, bounds.encoding))


def corrupt_frames(
    magic: int = SIMNET.magic,
    *,
    pver: int = PROTOCOL_VERSION,
    encoding: Encoding = Encoding.BASE,
    of: type[Message] | None = None,
    max_entries: int = MAX_ENTRIES,
    max_bytes: int = MAX_BYTES,
) -> st.SearchStrategy[bytes]:
    """A valid frame that was tampered with in one way; it may happen to be valid again.

    Bytes changed, cut out and put in, behind a checksum that is right or not; counts and lengths that lie, as large
    as they can be or negative; varints that are too long; another network, command or checksum; an end that comes
    too early, or too late.

    :param of: what it was before; any message by default.
    """
    return _corrupt_frame(magic, Bounds(pver, encoding, max_entries, max_bytes), of)


def streams(
    magic: int = SIMNET.magic, *, pver: int = PROTOCOL_VERSION, encoding: Encoding = Encoding.BASE, max_frames: int = 6
) -> st.SearchStrategy[bytes]:
    """Bytes that a remote may send: valid and corrupt frames, and rubbish, one behind the other."""
    valid = frames(magic, pver=pver, encoding=encoding)
    corrupt = corrupt_frames(magic, pver=pver, encoding=encoding)
    return st.lists(valid | corrupt | st.binary(max_size=2 * HEADER_SIZE), max_size=max_frames).map(b"".join)


@st.composite
def _chunked(draw: st.DrawFn, data: bytes) -> list[bytes]:
    if draw(st.booleans()):
        cuts = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=12)))
    else:
        cuts = list(range(0, len(data), draw(st.integers(1 + len(data) // 4096, HEADER_SIZE + len(data) // 4096))))
    places = [0, *cuts, len(data)]
    return [data[start:end] for start, end in pairwise(places) if data[start:end]]


def chunked(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """``data`` as a transport may deliver it: in one piece, in a few, or byte by byte."""
    return _chunked(data)
