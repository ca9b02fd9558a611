"""What of a message goes into a log line, and in which shape."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

from twisted.python.failure import Failure

from txsoter import wire

__all__ = ["MAX_REASON", "MessageLog", "command_name", "hex_dump", "let_go", "sanitize", "summary"]

MAX_REASON = 250
"""The most characters of a reject's reason in a log line (PEER.md, "Sanitising")."""

MAX_DUMP = 4096
"""The most bytes of a payload in a dump."""


class MessageLog(enum.IntEnum):
    """How much of each message is logged, at debug level.

    OFF costs nothing; SUMMARY is one line a message; DUMP adds the parsed message and its bytes.
    """

    OFF = 0
    SUMMARY = 1
    DUMP = 2


# what terminals, logs and HTML take for more than text
_MARKUP = frozenset("<>&\"'`\\{}")


def sanitize(text: str | bytes, limit: int = MAX_REASON) -> str:
    """Text of a remote's, fit for a log line: no control or markup characters, at most ``limit`` long.

    Bytes are read as UTF-8. A text that was cut ends in "...".
    """
    if isinstance(text, bytes):
        text = text[: limit * 4 + 4].decode("utf-8", "replace")
    if len(text) <= limit and text.isprintable() and _MARKUP.isdisjoint(text):
        return text
    cut = len(text) > limit
    kept = "".join(each for each in text[:limit] if each.isprintable() and each not in _MARKUP)
    return f"{kept[: limit - 3]}..." if cut else kept


def summary(message: wire.Message) -> str:
    """A few words on what ``message`` says; empty when its command says it all."""
    if isinstance(message, (wire.Inv, wire.GetData, wire.NotFound)):
        return _vectors(message.vectors)
    describe = _SUMMARIES.get(type(message))
    return "" if describe is None else describe(message)


_KINDS: dict[int, str] = {
    wire.InventoryType.ERROR: "error",
    wire.InventoryType.TX: "tx",
    wire.InventoryType.BLOCK: "block",
    wire.InventoryType.FILTERED_BLOCK: "filtered block",
    wire.InventoryType.WITNESS_TX: "witness tx",
    wire.InventoryType.WITNESS_BLOCK: "witness block",
    wire.InventoryType.WITNESS_FILTERED_BLOCK: "witness filtered block",
}


def _vectors(vectors: Sequence[wire.InventoryVector]) -> str:
    if len(vectors) != 1:
        return f"{len(vectors)} vectors"
    kind, raw_hash, height = vectors[0]
    at = f" at {height}" if height >= 0 else ""
    return f"{_KINDS.get(kind, f'type {kind}')} {wire.Hash(raw_hash)}{at}"


def _reject(message: wire.Reject) -> str:
    return f"{sanitize(message.rejected, 20)}, code {message.code:#04x}, {sanitize(message.reason)}"


def _locator(message: wire.GetBlocks | wire.GetHeaders) -> str:
    return f"above {message.height}, stop {message.stop}"


# Any: each function takes the class that it stands beside
_SUMMARIES: dict[type[wire.Message], Callable[[Any], str]] = {
    wire.Version: lambda m: f"agent {sanitize(m.user_agent)}, version {m.protocol_version}, height {m.last_block}",
    wire.Addr: lambda m: f"{len(m.addresses)} addresses",
    wire.AddrCache: lambda m: f"{len(m.inbound)} inbound, {len(m.outbound)} outbound, {len(m.known)} known",
    wire.GetBlocks: _locator,
    wire.GetHeaders: _locator,
    wire.Headers: lambda m: f"{len(m.headers)} headers",
    wire.Block: lambda m: f"{m.hash}, {len(m.parents)} parents, {len(m.transactions)} transactions",
    wire.Tx: lambda m: f"{m.txid}",
    wire.MerkleBlock: lambda m: f"{m.hash}, {m.total} transactions",
    wire.Ping: lambda m: f"nonce {m.nonce:#018x}",
    wire.Pong: lambda m: f"nonce {m.nonce:#018x}",
    wire.Reject: _reject,
    wire.FeeFilter: lambda m: f"{m.fee} nanoSoter per kB",
    wire.CFilter: lambda m: f"{m.block_hash}, {len(m.data)} bytes",
    wire.CFHeaders: lambda m: f"{len(m.filter_hashes)} filter hashes",
    wire.CFCheckpt: lambda m: f"{len(m.filter_headers)} filter headers",
    wire.Unknown: lambda m: f"{len(m.payload)} bytes",
}


def command_name(message: wire.Message) -> str:
    """The command of ``message``, fit for a log line."""
    return sanitize(message.command, 12) if isinstance(message, wire.Unknown) else message.command


def hex_dump(data: bytes) -> str:
    """``data`` in lines of sixteen bytes, as hex and as ASCII; what is past 4096 bytes is left out."""
    lines = []
    for offset in range(0, min(len(data), MAX_DUMP), 16):
        row = data[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{offset:08x}  {row.hex(' ', 1):<47}  {text}")
    if len(data) > MAX_DUMP:
        lines.append(f"... {len(data) - MAX_DUMP} bytes more")
    return "\n".join(lines)


def let_go(failure: Failure) -> None:
    """Make a failure that has been logged forget the frames it has passed through.

    They hold the peer and the message, and events are kept: by Twisted itself the last 65,536 until logging begins.
    """
    # from these it is printed, whenever that may be
    _ = failure.frames
    failure.tb = None
    errors: list[BaseException | None] = [failure.value]
    seen: set[int] = set()
    while errors:
        error = errors.pop()
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            error.__traceback__ = None
            errors += (error.__cause__, error.__context__)
