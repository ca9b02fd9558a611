"""The remote's address as our ``version`` names it."""

from __future__ import annotations

from txsoter.ip import pack_ip, parse_ip
from txsoter.wire import NetAddress, Services

__all__ = ["LOOPBACK_NAMES", "receiver_address"]

LOOPBACK_NAMES = ("127.0.0.1", "localhost")
"""Hosts whose malformed messages are forgiven on regtest."""


def receiver_address(host: str | None, port: int, hidden: bool) -> NetAddress:
    """Return the address of a ``version``'s receiver; 0.0.0.0:0 for one that is hidden or has no IP."""
    ip = None if hidden else parse_ip(host)
    return _NOBODY if ip is None else NetAddress(_NETWORK, pack_ip(ip), port)


_NETWORK = int(Services.NETWORK)
_NOBODY = NetAddress(_NETWORK, "0.0.0.0", 0)
