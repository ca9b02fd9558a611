"""Hypothesis strategies for messages, derived from their declarations.

Programs use :mod:`txsoter.testing.strategies`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

import attrs
from hypothesis import strategies as st

from txsoter import wire
from txsoter.networks import MAINNET, REGTEST, SIMNET, TESTNET1
from txsoter.wire import (
    MAX_ADDRESSES,
    PROTOCOL_VERSION,
    ZERO_HASH,
    Encoding,
    Hash,
    InventoryType,
    Message,
    Reject,
    RejectCode,
    Services,
    Tx,
    TxIn,
    TxOut,
    Unknown,
    Version,
    addresses,
    bloom,
    codec,
    control,
    inventory,
    txcodec,
    views,
)
from txsoter.wire import blocks as block_fields
from txsoter.wire.message import command_bytes, command_text, field_codecs, message_class

__all__ = ["PROTOCOL_VERSIONS", "Bounds", "fixed_bytes", "hashes", "record", "row_of", "strategy_of", "tx"]

T = TypeVar("T")
M = TypeVar("M", bound=Message)
Values = st.SearchStrategy[Any]


@attrs.frozen
class Bounds:
    """Where a message is to be valid, and how large its parts may be."""

    pver: int
    encoding: Encoding
    entries: int
    size: int


_CHANGES = {
    addresses.MULTIPLE_ADDRESSES,
    addresses.TIMESTAMPS,
    control.NONCES,
    control.RELAY_FLAG,
    *(cls.since for cls in wire.messages().values() if cls.since),
}
PROTOCOL_VERSIONS = sorted({each - before for each in _CHANGES for before in (0, 1)}, reverse=True)
"""Each that changes the format, and the one before it."""


def hashes() -> st.SearchStrategy[Hash]:
    """Any 32 bytes."""
    return st.binary(min_size=32, max_size=32).map(Hash)


# -- fields, by how they stand on the wire -------------------------------------------------------

_IPV4 = bytes(10) + b"\xff\xff"


def fixed_bytes(size: int) -> st.SearchStrategy[bytes]:
    """That many bytes."""
    plain = st.binary(min_size=size, max_size=size)
    # sixteen bytes are an address
    return plain if size != 16 else st.binary(min_size=4, max_size=4).map(_IPV4.__add__) | plain


def _list(values: st.SearchStrategy[T], limit: int, bounds: Bounds) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(values, max_size=min(limit, bounds.entries)).map(tuple)


def row_of(layout: views.RowLayout[T], bounds: Bounds) -> st.SearchStrategy[T]:
    """Any row of a list."""
    return st.tuples(*[_value(name, each, bounds) for name, each in layout.columns]).map(layout.build)


_OF_CODEC: dict[type, Callable[[Any, Bounds], Values]] = {
    codec.Scalar: lambda each, bounds: st.integers(each.lowest, each.highest),
    type(codec.BOOL): lambda each, bounds: st.booleans(),
    type(codec.HASH): lambda each, bounds: hashes(),
    codec.FixedBytes: lambda each, bounds: fixed_bytes(each.size),
    codec.VarBytes: lambda each, bounds: st.binary(max_size=min(each.limit, bounds.size)),
    codec.ListOf: lambda each, bounds: _list(_value("", each.codec, bounds), each.limit, bounds),
    views.Rows: lambda each, bounds: _list(row_of(each._layout_at(bounds.pver), bounds), each.send_limit, bounds),
    addresses.AddressCodec: lambda each, bounds: row_of(addresses.BARE_ADDRESS, bounds),
    block_fields.HeaderCodec: lambda each, bounds: row_of(block_fields.BLOCK_HEADER, bounds),
    block_fields._SubHeaderRows: lambda each, bounds: _list(row_of(each._layout, bounds), bounds.entries, bounds),
    block_fields._Transactions: lambda each, bounds: _list(tx(bounds), bounds.entries, bounds),
    bloom._HashFunctions: lambda each, bounds: st.integers(0, bloom.MAX_HASH_FUNCTIONS),
    inventory._LocatorCodec: lambda each, bounds: st.none() | st.integers(codec.I32.lowest, codec.I32.highest),
}

_LIKELY: dict[str, Sequence[object]] = {
    "type": [int(each) for each in InventoryType],
    "height": [-1, 0, 1],
    "services": [int(Services.NETWORK), int(Services.NETWORK | Services.WITNESS)],
    "protocol_version": [PROTOCOL_VERSION],
    "genesis_hash": [each.genesis_hash for each in (SIMNET, MAINNET, TESTNET1, REGTEST)],
    "code": [int(each) for each in RejectCode],
    "rejected": [b"block", b"tx", b"malformed", b"version"],
}
"""Values that mean something, which chance alone would hardly find, by the names of fields."""


def _value(name: str, each: object, bounds: Bounds) -> Values:
    """Any value of a field.

    :raises TypeError: for a kind of field that has no strategy yet.
    """
    make = _OF_CODEC.get(type(each))
    if make is None:
        raise TypeError(f"no strategy for {name or 'entries'}, of {type(each).__name__}: txsoter.testing lacks one")
    values = make(each, bounds)
    return st.sampled_from(_LIKELY[name]) | values if name in _LIKELY else values


def _values(codecs: tuple[tuple[str, Any], ...], bounds: Bounds, instead: dict[str, Values]) -> dict[str, Values]:
    return {name: instead[name] if name in instead else _value(name, each, bounds) for name, each in codecs}


def record(cls: type[T], bounds: Bounds, **instead: Values) -> st.SearchStrategy[T]:
    """``cls`` with any values in its fields."""
    return st.builds(cls, **_values(field_codecs(cls), bounds, instead))


# -- messages that are more than their fields ----------------------------------------------------


def _version(bounds: Bounds) -> st.SearchStrategy[Version]:
    room = Version.max_send(bounds.pver) - len(Version().to_payload(bounds.pver))
    most = min(room, bounds.size)
    # the longest that fits, too, which chance would not find
    user_agent = st.binary(max_size=most) | st.binary(min_size=most, max_size=most)
    relay = st.booleans() if bounds.pver >= control.RELAY_FLAG else st.just(True)
    return record(Version, bounds, user_agent=user_agent, relay=relay)


def _ping(bounds: Bounds) -> st.SearchStrategy[wire.Ping]:
    return record(wire.Ping, bounds) if bounds.pver >= control.NONCES else st.just(wire.Ping())


def _addr(bounds: Bounds) -> st.SearchStrategy[wire.Addr]:
    most = MAX_ADDRESSES if bounds.pver >= addresses.MULTIPLE_ADDRESSES else 1
    return record(wire.Addr, attrs.evolve(bounds, entries=min(most, bounds.entries)))


def _addrcache(bounds: Bounds) -> st.SearchStrategy[wire.AddrCache]:
    return record(wire.AddrCache, attrs.evolve(bounds, entries=min(MAX_ADDRESSES // 3, bounds.entries)))


def _as_relayed(serialized: bytes) -> bytes:
    """The bytes of an alert that survive a round trip."""
    details = wire.Alert(serialized).details
    return serialized if details is None else details.to_bytes()


def _alert(bounds: Bounds) -> st.SearchStrategy[wire.Alert]:
    details = record(wire.AlertDetails, bounds).map(wire.AlertDetails.to_bytes)
    other = st.binary(min_size=1, max_size=max(1, bounds.size)).map(_as_relayed)
    return record(wire.Alert, bounds, serialized=details | other)


def _reject(bounds: Bounds) -> st.SearchStrategy[Reject]:
    def as_written(reject: Reject) -> Reject:
        if reject.rejected not in (b"block", b"tx"):
            reject.hash = ZERO_HASH
        return reject

    return record(Reject, bounds).map(as_written)


def tx(bounds: Bounds) -> st.SearchStrategy[Tx]:
    """Any transaction."""
    # without the marker, a count of no inputs would be read as one
    least, instead = (1, {}) if bounds.encoding is Encoding.WITNESS else (0, {"witness": st.just(())})
    inputs = st.builds(TxIn, **_values(txcodec._INPUT_CODECS, bounds, instead))
    outputs = st.builds(TxOut, **_values(txcodec._OUTPUT_CODECS, bounds, {}))
    return st.builds(
        Tx,
        _value("version", codec.I32, bounds),
        st.lists(inputs, min_size=least, max_size=max(least, bounds.entries)),
        st.lists(outputs, max_size=bounds.entries),
        _value("lock_time", codec.U32, bounds),
    )


def _unknown(bounds: Bounds) -> st.SearchStrategy[Unknown]:
    letters = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)
    names = letters | st.binary(max_size=12).map(lambda raw: command_text(raw.ljust(12, b"\0")))
    unknown = names.filter(lambda name: message_class(command_bytes(name)) is None)
    return st.builds(Unknown, unknown, st.binary(max_size=bounds.size))


_OF_CLASS: dict[type[Message], Callable[[Bounds], Values]] = {
    Version: _version,
    wire.Ping: _ping,
    wire.Addr: _addr,
    wire.AddrCache: _addrcache,
    wire.Alert: _alert,
    Reject: _reject,
    Tx: tx,
    Unknown: _unknown,
}


@cache
def _strategy_of(cls: Any, bounds: Bounds) -> Values:
    make = _OF_CLASS.get(cls)
    return record(cls, bounds) if make is None else make(bounds)


def strategy_of(cls: type[M], bounds: Bounds) -> st.SearchStrategy[M]:
    """Any message of class ``cls``."""
    # mypy takes a class of messages for unhashable
    hashable: Any = cls
    strategy: st.SearchStrategy[M] = _strategy_of(hashable, bounds)
    return strategy
