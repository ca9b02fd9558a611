"""Messages as text for log lines."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

from txsoter import wire
from txsoter.core.sanitize import sanitize

__all__ = ["MAX_DUMP", "MessageLog", "command_name", "hex_dump", "log_lines", "summary"]

MAX_DUMP = 4096
"""The most bytes of a payload in a dump."""


class MessageLog(enum.IntEnum):
    """The amount of each message that is logged, at debug level.

    OFF costs nothing; SUMMARY is one line a message; DUMP adds the parsed message and its bytes.
    """

    OFF = 0
    SUMMARY = 1
    DUMP = 2


def summary(message: wire.Message) -> str:
    """Return a few words on the content of ``message``; none if its command says it all."""
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
    """Return the command of ``message``, fit for a log line."""
    return sanitize(message.command, 12) if isinstance(message, wire.Unknown) else message.command


def hex_dump(data: bytes) -> str:
    """Return ``data`` in lines of sixteen bytes, as hex and as ASCII; bytes past 4096 are left out."""
    lines = []
    for offset in range(0, min(len(data), MAX_DUMP), 16):
        row = data[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{offset:08x}  {row.hex(' ', 1):<47}  {text}")
    if len(data) > MAX_DUMP:
        lines.append(f"... {len(data) - MAX_DUMP} bytes more")
    return "\n".join(lines)


def log_lines(level: MessageLog, sends: bool, message: wire.Message, payload: bytes, peer: str) -> list[str]:
    """Return the log lines of a message that is received or sent.

    :param peer: the remote, for people.
    """
    verb, preposition = ("Sending", "to") if sends else ("Received", "from")
    words = summary(message)
    lines = [f"{verb} {command_name(message)}{f' ({words})' if words else ''} {preposition} {peer}"]
    if level >= MessageLog.DUMP:
        lines.append(f"{sanitize(repr(message), MAX_DUMP)}\n{hex_dump(payload)}")
    return lines
