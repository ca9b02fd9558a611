"""The inputs of the fuzz targets: settings, then pieces of a conversation, each a kind and a body.

A fuzzer that changes bytes of a frame never gets past its checksum. So frames are made here: a piece whose kind is a
command's number is the payload of a frame, and its header is right. Other kinds are bytes as they are, or things that
happen. Any bytes are an input; :func:`mutated` changes one without losing the lengths in it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

from txsoter.networks import SIMNET
from txsoter.testing.declared import PROTOCOL_VERSIONS
from txsoter.wire import messages
from txsoter.wire.framing import frame
from txsoter.wire.message import command_bytes

__all__ = [
    "COMMANDS",
    "PROTOCOL_VERSIONS",
    "RAW",
    "UNKNOWN",
    "Piece",
    "chunks",
    "framed",
    "joined",
    "kind_of",
    "mutated",
    "parsed",
]

COMMANDS = [command_bytes(command) for command in sorted(messages())]
"""The commands by their kinds."""

UNKNOWN = len(COMMANDS)
"""The kind of a frame whose command is the first 12 bytes of the body."""

RAW = UNKNOWN + 1
"""The kind of bytes as they are, and the last that is not a target's own."""

_LENGTH = struct.Struct("<BH")


class Piece(NamedTuple):
    """A part of a conversation."""

    kind: int
    body: bytes


def kind_of(command: str) -> int:
    """The kind of a command."""
    return COMMANDS.index(command_bytes(command))


def parsed(data: bytes, settings: int) -> tuple[bytes, list[Piece]]:
    """The settings, which are that many bytes, and the pieces in an input."""
    pieces, at = [], settings
    while at + _LENGTH.size <= len(data):
        kind, size = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        pieces.append(Piece(kind, data[at : at + size]))
        at += size
    return data[:settings].ljust(settings, b"\0"), pieces


def joined(settings: bytes, pieces: Iterable[Piece]) -> bytes:
    """The reverse of :func:`parsed`."""
    bodies = [(each.kind, each.body[:0xFFFF]) for each in pieces]
    return settings + b"".join(_LENGTH.pack(kind, len(body)) + body for kind, body in bodies)


def framed(piece: Piece, magic: int = SIMNET.magic) -> bytes:
    """The bytes that a piece stands for."""
    if piece.kind == RAW:
        return piece.body
    if piece.kind == UNKNOWN:
        return frame(magic, piece.body[:12].ljust(12, b"\0"), piece.body[12:])
    return frame(magic, COMMANDS[piece.kind], piece.body)


def chunks(stream: bytes, seed: int) -> list[bytes]:
    """``stream`` as a transport may deliver it: in one piece, in a few, or byte by byte."""
    if not seed:
        return [stream]
    rng, found, at = Random(seed), [], 0
    largest = rng.choice((1, 2, 5, 24, 30, 200)) + len(stream) // 1024
    while at < len(stream):
        size = rng.randint(1, largest)
        found.append(stream[at : at + size])
        at += size
    return found


def mutated(
    data: bytes, max_size: int, seed: int, settings: int, kinds: int, change: Callable[[bytes, int], bytes]
) -> bytes:
    """An input like ``data``.

    :param kinds: how many kinds of pieces there are.
    :param change: changes bytes, given the most that there may be afterwards.
    """
    rng = Random(seed)
    head, pieces = parsed(data, settings)
    what = rng.randrange(10)
    at = rng.randrange(len(pieces)) if pieces else 0
    if what == 0 or not pieces:
        return change(data, max_size)
    if what == 1:
        head = change(head, settings).ljust(settings, b"\0")
    elif what == 2:
        del pieces[at]
    elif what == 3:
        pieces.insert(rng.randint(0, len(pieces)), pieces[at])
    elif what == 4:
        pieces[at] = pieces[at]._replace(kind=rng.randrange(kinds))
    elif what == 5:
        pieces.insert(at, Piece(rng.randrange(kinds), rng.randbytes(rng.randrange(8))))
    else:
        room = max(1, min(0xFFFF, max_size - len(data) + len(pieces[at].body)))
        pieces[at] = pieces[at]._replace(body=change(pieces[at].body, room))
    return joined(head, pieces)[:max_size]
