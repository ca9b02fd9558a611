"""Where a peer listens, and what group of addresses that belongs to."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from txsoter.errors import FieldError
from txsoter.ip import is_v4, network_group, pack_ip, parse_ip, unpack_ip

__all__ = ["Place", "group_of", "place_at", "source_group"]


class Place(NamedTuple):
    """Where a peer listens.

    :param ip: 16 bytes, IPv4 mapped into ``::ffff:0:0/96`` as on the wire.
    """

    ip: bytes
    port: int

    @property
    def host(self) -> str:
        """The IP as people write it, IPv4 as such."""
        return str(unpack_ip(self.ip))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if is_v4(self.ip) else f"[{self.host}]:{self.port}"


def place_at(host: str, port: int) -> Place:
    """The place at an IP.

    :raises FieldError: for what is no IP, and a port that cannot be.
    """
    ip = parse_ip(host)
    if ip is None:
        raise FieldError("host", host, "an IPv4 or IPv6 address")
    if not isinstance(port, int) or not 0 < port < 1 << 16:
        raise FieldError("port", port, "a whole number from 1 to 65535")
    return Place(pack_ip(ip), port)


def group_of(place: Place) -> bytes:
    """Whom an address belongs to: its network of 16 bits (IPv4) or 32 (IPv6), which is what somebody owns at once.

    One that is not routable is a group of its own, its port included: several may run on one machine.
    """
    group = network_group(place.ip)
    return group if group[0] else group + place.port.to_bytes(2, "big")


@lru_cache(maxsize=1024)
def source_group(ip: bytes) -> bytes:
    """The same for whoever told us, whose port says nothing."""
    return network_group(ip)
