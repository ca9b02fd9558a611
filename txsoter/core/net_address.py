"""The remote's address as our ``version`` names it."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from txsoter.wire import NetAddress, Services

__all__ = ["LOOPBACK_NAMES", "ip_of_host", "receiver_address"]

LOOPBACK_NAMES = ("127.0.0.1", "localhost")
"""Hosts whose malformed messages are forgiven on regtest."""


def ip_of_host(host: str | None) -> str | None:
    """Return the IP that ``host`` is, without a zone; None for a name, a path, or nothing."""
    return None if host is None else _parsed(host)[0]


@lru_cache(maxsize=1024)
def _parsed(host: str) -> tuple[str | None, NetAddress]:
    """Return the IP that ``host`` is, and the net address of its port 0; None and 0.0.0.0 if it is none."""
    try:
        ip = str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None, NetAddress(Services.NETWORK, "0.0.0.0")
    return ip, NetAddress(Services.NETWORK, ip)


def receiver_address(host: str | None, port: int, hidden: bool) -> NetAddress:
    """Return the address of a ``version``'s receiver; 0.0.0.0:0 for one that is hidden or has no IP."""
    ip, address = _parsed("" if hidden or host is None else host)
    return NetAddress(Services.NETWORK, address.ip, 0 if ip is None else port)
