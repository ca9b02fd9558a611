"""Other Python libraries, at the Bitcoin messages that are like soter's.

Each is used as its documentation says, at its fastest: btclib without its validity checks, which random
transactions would not pass. A library that has no framing (bitcoinx) gets the least there can be: the length and the
checksum of a frame looked at, and written.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from importlib import import_module
from io import BytesIO
from typing import Any

from benchmarks.inputs import BITCOIN_MAGIC, frame_of

__all__ = ["NAMES", "Competitor", "available"]

NAMES = ("python-bitcoinlib", "bitcoinx", "btclib")

Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]


class Competitor:
    """What one library can do.

    :param codecs: by command: frame to message, and message to frame (None: it cannot).
    :param read: touches every vector of a decoded inv; None if it does not know the message.
    :param reframe: by command: makes a payload one that it understands, where its idea of a message differs.
    """

    def __init__(
        self,
        name: str,
        codecs: dict[str, tuple[Decode, Encode | None]],
        read: Callable[[Any], None] | None = None,
        reframe: dict[str, Callable[[bytes], bytes]] | None = None,
    ) -> None:
        self.name = name
        self.codecs = codecs
        self.read = read
        self._reframe = reframe or {}

    def frame(self, command: str, payload: bytes) -> bytes:
        """The frame that it is measured with."""
        reframe = self._reframe.get(command)
        return frame_of(command, payload if reframe is None else reframe(payload))


def available() -> list[Competitor]:
    """Those that are installed."""
    found = []
    for make in (_python_bitcoinlib, _bitcoinx, _btclib):
        try:
            found.append(make())
        except ImportError:
            continue
    return found


def _python_bitcoinlib() -> Competitor:
    messages = import_module("bitcoin.messages")
    decode, encode = messages.MsgSerializable.from_bytes, messages.MsgSerializable.to_bytes
    commands = ("ping", "version", "inv", "getdata", "headers", "addr", "tx", "block")

    def read(message: Any) -> None:
        for each in message.inv:
            _ = each.type, each.hash

    return Competitor(
        "python-bitcoinlib",
        dict.fromkeys(commands, (decode, encode)),
        read,
        # its headers lack the zero behind each
        {
            "headers": lambda payload: (
                payload[:3] + _columns(payload[3:], 81, 80)
                if payload[0] == 0xFD
                else payload[:1] + _columns(payload[1:], 81, 80)
            )
        },
    )


def _columns(rows: bytes, width: int, keep: int) -> bytes:
    return b"".join(rows[at : at + keep] for at in range(0, len(rows), width))


_LENGTH_AND_CHECKSUM = struct.Struct("<I4s")


def _unframed(frame: bytes) -> bytes:
    length, checksum = _LENGTH_AND_CHECKSUM.unpack_from(frame, 16)
    payload = frame[24 : 24 + length]
    if sha256(sha256(payload).digest()).digest()[:4] != checksum:
        raise ValueError("checksum")
    return payload


def _bitcoinx() -> Competitor:
    tx_module, headers, packing = (import_module(f"bitcoinx.{name}") for name in ("tx", "headers", "packing"))
    read_tx, write_tx = tx_module.Tx.read, tx_module.Tx.to_bytes
    read_list, read_varint, pack_list, deserialized = (
        packing.read_list,
        packing.read_varint,
        packing.pack_list,
        headers.deserialized_header,
    )

    def tx(frame: bytes) -> Any:
        return tx_module.Tx.from_bytes(_unframed(frame))

    def block(frame: bytes) -> Any:
        read = BytesIO(_unframed(frame)).read
        return deserialized(read(80), 0), read_list(read, read_tx)

    def write_block(message: Any) -> bytes:
        header, txs = message
        return frame_of("block", header.raw + pack_list(txs, write_tx))

    def header_list(frame: bytes) -> Any:
        read = BytesIO(_unframed(frame)).read
        found = []
        for _ in range(read_varint(read)):
            found.append(deserialized(read(80), 0))
            read_varint(read)
        return found

    return Competitor(
        "bitcoinx",
        {
            "tx": (tx, lambda message: frame_of("tx", write_tx(message))),
            "block": (block, write_block),
            # what it would encode headers from are their bytes, which it keeps
            "headers": (header_list, None),
        },
    )


def _btclib() -> Competitor:
    homes = {
        "ping": ("keepalive", "Ping"),
        "version": ("handshake", "Version"),
        "inv": ("inventory", "Inv"),
        "getdata": ("inventory", "GetData"),
        "headers": ("inventory", "Headers"),
        "addr": ("address", "Addr"),
        "tx": ("data", "TxPayload"),
        "block": ("data", "BlockPayload"),
        "cfilter": ("block_filters", "CFilter"),
    }
    parse_frame = import_module("btclib.p2p.message").Message.parse

    def decode(parse: Callable[..., Any], frame: bytes) -> Any:
        return parse(parse_frame(frame, check_validity=False).payload, check_validity=False)

    def encode(message: Any) -> bytes:
        frame: bytes = message.to_message(BITCOIN_MAGIC, check_validity=False).serialize(check_validity=False)
        return frame

    def read(message: Any) -> None:
        for each in message.items:
            _ = each.type_code, each.hash

    codecs: dict[str, tuple[Decode, Encode | None]] = {}
    for command, (module, name) in homes.items():
        payload_class = getattr(import_module(f"btclib.p2p.{module}"), name)
        codecs[command] = (partial(decode, payload_class.parse), encode)
    return Competitor("btclib", codecs, read)
