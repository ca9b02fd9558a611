"""Where a peer listens, what group of addresses that belongs to, and whether it can be reached at all."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import NamedTuple

from txsoter.errors import FieldError

__all__ = ["Place", "group_of", "is_routable", "place_at", "source_group"]

_V4_PREFIX = bytes(10) + b"\xff\xff"
# outside of these nothing is special, and ipaddress, which is slow, need not be asked
_V4_SPECIAL = frozenset({0, 10, 100, 127, 169, 172, 192, 198, 203, *range(224, 256)})
_V6_SPECIAL = frozenset({b"\x20\x01", b"\x20\x02", b"\x3f\xff"})
# for documentation, and younger than the tables of older Pythons
_V6_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")


class Place(NamedTuple):
    """Where a peer listens.

    :param ip: 16 bytes, IPv4 mapped into ``::ffff:0:0/96`` as on the wire.
    """

    ip: bytes
    port: int

    @property
    def host(self) -> str:
        """The IP as people write it, IPv4 as such."""
        ip = self.ip
        return str(ipaddress.IPv4Address(ip[12:]) if is_v4(ip) else ipaddress.IPv6Address(ip))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if is_v4(self.ip) else f"[{self.host}]:{self.port}"


def place_at(host: str, port: int) -> Place:
    """The place at an IP.

    :raises FieldError: for what is no IP, and a port that cannot be.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise FieldError("host", host, "an IPv4 or IPv6 address") from None
    if not isinstance(port, int) or not 0 < port < 1 << 16:
        raise FieldError("port", port, "a whole number from 1 to 65535")
    return Place(address.packed if address.version == 6 else _V4_PREFIX + address.packed, port)


def is_v4(ip: bytes) -> bool:
    """Whether 16 bytes are an IPv4 address."""
    return ip.startswith(_V4_PREFIX)


def is_routable(ip: bytes) -> bool:
    """Whether an address can be one of the internet: not loopback, private, multicast, documentation, reserved."""
    if is_v4(ip):
        return ip[12] not in _V4_SPECIAL or _is_unicast(ipaddress.IPv4Address(ip[12:]))
    if ip[0] & 0xE0 != 0x20 or ip[:2] not in _V6_SPECIAL:
        return ip[0] & 0xE0 == 0x20
    address = ipaddress.IPv6Address(ip)
    inner = address.sixtofour
    if inner is not None:
        # not to be asked about: is_global says no from Python 3.13 on
        return _is_unicast(inner)
    return address.is_global and address not in _V6_DOCUMENTATION


def _is_unicast(address: ipaddress.IPv4Address) -> bool:
    return address.is_global and not address.is_multicast


def group_of(place: Place) -> bytes:
    """Whom an address belongs to: its network of 16 bits (IPv4) or 32 (IPv6), which is what somebody owns at once.

    One that is not routable is a group of its own: where those are allowed, the network is somebody's own.
    """
    ip = place.ip
    return _network(ip) if is_routable(ip) else b"\0%b%b" % (ip, place.port.to_bytes(2, "big"))


@lru_cache(maxsize=1024)
def source_group(ip: bytes) -> bytes:
    """The same for whoever told us, whose port says nothing."""
    return _network(ip) if is_routable(ip) else b"\0" + ip


def _network(ip: bytes) -> bytes:
    return b"\4" + ip[12:14] if is_v4(ip) else b"\6" + ip[:4]
