"""IP addresses: one form for each, the groups that count as one owner, and those that the internet has.

An IPv4 address is the same one when it comes mapped into IPv6 (``::ffff:192.0.2.7``, as a dual-stack socket shows it),
and a zone (``fe80::1%eth0``) is no part of an address.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

__all__ = [
    "IPAddress",
    "address_group",
    "is_routable",
    "is_v4",
    "network_group",
    "pack_ip",
    "parse_ip",
    "unpack_ip",
]

IPAddress = IPv4Address | IPv6Address

_V4_PREFIX = bytes(10) + b"\xff\xff"

# outside of these nothing is special, and ipaddress, which is slow, need not be asked
_V4_SPECIAL = frozenset({0, 10, 100, 127, 169, 172, 192, 198, 203, *range(224, 256)})
_V6_SPECIAL = frozenset({b"\x20\x01", b"\x20\x02", b"\x3f\xff"})
# for documentation, and younger than the tables of older Pythons
_V6_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")


@lru_cache(maxsize=1024)
def parse_ip(host: str | None) -> IPAddress | None:
    """Return the IP that ``host`` is, without its zone, a mapped IPv4 one as IPv4; None for a name, a path or None."""
    try:
        ip = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def pack_ip(ip: IPAddress) -> bytes:
    """Return the 16 bytes of an IP as the wire has them: IPv4 mapped into ``::ffff:0:0/96``."""
    return ip.packed if ip.version == 6 else _V4_PREFIX + ip.packed


def unpack_ip(packed: bytes) -> IPAddress:
    """Return the IP of 16 bytes, a mapped IPv4 one as IPv4.

    :raises ipaddress.AddressValueError: for another number of bytes.
    """
    return IPv4Address(packed[12:]) if is_v4(packed) and len(packed) == 16 else IPv6Address(packed)


def is_v4(packed: bytes) -> bool:
    """Return whether 16 bytes are an IPv4 address."""
    return packed.startswith(_V4_PREFIX)


@lru_cache(maxsize=1024)
def address_group(host: str | None) -> str | None:
    """Return the addresses that count as one for limits and bans, as text.

    That is an IPv4 address, or the IPv6 network of 64 bits that one subscriber is given; None for what is no IP.
    """
    ip = parse_ip(host)
    if ip is None or ip.version == 4:
        return None if ip is None else str(ip)
    return str(ipaddress.IPv6Network((ip, 64), strict=False))


def network_group(packed: bytes) -> bytes:
    """Return a key for the network that 16 bytes of IP are in: of 16 bits (IPv4) or of 32 (IPv6).

    Whoever has one address of it is likely to have many. An address that is not routable is a network of its own:
    where those are in use, the network is the user's own.
    """
    if not is_routable(packed):
        return b"\0" + packed
    return b"\4" + packed[12:14] if is_v4(packed) else b"\6" + packed[:4]


def is_routable(packed: bytes) -> bool:
    """Return whether 16 bytes are an address of the internet: not loopback, private, multicast, reserved or such."""
    if is_v4(packed):
        return packed[12] not in _V4_SPECIAL or _is_unicast(IPv4Address(packed[12:]))
    if packed[0] & 0xE0 != 0x20 or packed[:2] not in _V6_SPECIAL:
        return packed[0] & 0xE0 == 0x20
    address = IPv6Address(packed)
    inner = address.sixtofour
    if inner is not None:
        # not to be asked about: is_global says no from Python 3.13 on
        return _is_unicast(inner)
    return address.is_global and address not in _V6_DOCUMENTATION


def _is_unicast(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast
