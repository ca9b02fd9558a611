"""Small files in MaxMind's format (version 2.0), made for tests."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

__all__ = ["mmdb"]

MARK = b"\xab\xcd\xefMaxMind.com"


def mmdb(networks: Mapping[str, Any], ip_version: int = 6, **metadata: Any) -> bytes:
    """Return a file that says something of networks; an IPv4 one is in ``::/96``, as in MaxMind's own."""
    # each node is [left, right]; a leaf is ("data", offset)
    root: list[Any] = [None, None]
    data = b""
    for text, value in networks.items():
        network = ipaddress.ip_network(text)
        bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
        if ip_version == 6 and network.version == 4:
            bits = "0" * 96 + bits
        at = root
        for bit in bits[:-1]:
            if at[int(bit)] is None:
                at[int(bit)] = [None, None]
            at = at[int(bit)]
        at[int(bits[-1])] = len(data)
        data += encode(value)
    nodes = list(_nodes(root))
    number = {id(each): index for index, each in enumerate(nodes)}

    def record(child: Any) -> bytes:
        if child is None:
            return len(nodes).to_bytes(3, "big")
        index = number[id(child)] if isinstance(child, list) else len(nodes) + 16 + child
        return index.to_bytes(3, "big")

    tree = b"".join(record(child) for each in nodes for child in each)
    described = {
        "node_count": len(nodes),
        "record_size": 24,
        "ip_version": ip_version,
        "database_type": "Test",
        "languages": ["en"],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1_760_000_000,
        "description": {"en": "made for a test"},
        **metadata,
    }
    return tree + bytes(16) + data + MARK + encode(described)


def _nodes(root: list[Any]) -> Any:
    yield root
    for child in root:
        if isinstance(child, list):
            yield from _nodes(child)


def encode(value: Any) -> bytes:
    """Return a value of the data section."""
    if isinstance(value, dict):
        return _head(7, len(value)) + b"".join(encode(key) + encode(each) for key, each in value.items())
    if isinstance(value, list):
        return _head(11, len(value)) + b"".join(map(encode, value))
    if isinstance(value, str):
        return _head(2, len(value.encode())) + value.encode()
    packed: bytes = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return _head(9 if len(packed) > 4 else 6, len(packed)) + packed


def _head(kind: int, size: int) -> bytes:
    first, more = (kind, b"") if kind < 8 else (0, bytes([kind - 7]))
    if size < 29:
        return bytes([first << 5 | size]) + more
    if size < 285:
        return bytes([first << 5 | 29]) + more + bytes([size - 29])
    return bytes([first << 5 | 30]) + more + (size - 285).to_bytes(2, "big")
