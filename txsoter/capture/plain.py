"""Messages as what JSON knows: everything in them, bytes as hex, hashes as people read them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

import attrs

from txsoter.wire import Block, Hash, Message, NetAddress, Tx

__all__ = ["plain"]

_TEXTS = frozenset({"user_agent", "user_agents", "rejected", "reason", "comment", "status_bar"})
"""Fields that hold text, if their sender is honest."""


def plain(value: Any, name: str = "") -> Any:
    """``value`` made of dicts, lists, numbers and strings.

    :param name: of the field that it is in.
    """
    if isinstance(value, Hash):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "backslashreplace") if name in _TEXTS else value.hex()
    if isinstance(value, (int, str, type(None))):
        # an enum's member as its number
        return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(value, NetAddress):
        return {"services": value.services, "host": value.host, "port": value.port, "timestamp": value.timestamp}
    if isinstance(value, Tx):
        fields: dict[str, Any] = {"txid": value.txid, "version": value.version}
        fields.update(inputs=value.inputs, outputs=value.outputs, lock_time=value.lock_time)
        return {key: plain(each, key) for key, each in fields.items()}
    if isinstance(value, Message) or attrs.has(type(value)):
        named = {each.name: getattr(value, each.name) for each in attrs.fields(type(value))}
        if isinstance(value, Block):
            named = {"hash": value.hash, **named}
        return {key: plain(each, key) for key, each in named.items()}
    if isinstance(value, tuple) and type(value) is not tuple:
        return {key: plain(getattr(value, key), key) for key in _columns(type(value))}
    if isinstance(value, Sequence):
        return [plain(each, name) for each in value]
    raise TypeError(f"no plain form of {type(value).__name__}")


@functools.cache
def _columns(row: type) -> tuple[str, ...]:
    """The names of a row's columns, which are those that it is made with."""
    return tuple(inspect.signature(row).parameters)
