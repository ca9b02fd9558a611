"""Where a remote is: for people, and for the ``version`` message."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from txsoter.wire import NetAddress, Services

__all__ = ["LOOPBACK_NAMES", "address_text", "ip_of", "receiver_address"]

LOOPBACK_NAMES = ("127.0.0.1", "localhost")
"""The hosts whose malformed messages are forgiven on regtest."""


def host_and_port(address: IAddress | None) -> tuple[str | None, int]:
    """The host and port of a transport's remote; None and 0 for what has neither."""
    # a HostnameAddress, such as an onion name's, calls it otherwise
    host, port = getattr(address, "host", getattr(address, "hostname", None)), getattr(address, "port", 0)
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    return host, port


def address_text(address: IAddress | None) -> str:
    """A remote's address for people: ``host:port``, ``[host]:port``, a path, or whatever its transport says."""
    if isinstance(address, IPv6Address):
        return f"[{address.host}]:{address.port}"
    host, port = host_and_port(address)
    if host is not None:
        return f"{host}:{port}"
    if isinstance(address, UNIXAddress):
        return f"unix:{(address.name or b'').decode('utf-8', 'replace')}"
    return str(address)


def ip_of(address: IAddress | None) -> str | None:
    """A remote's IP as text without a zone; None for one that has none, such as an onion name or a path."""
    host, _ = host_and_port(address)
    return None if host is None else _parsed(host)[0]


@lru_cache(maxsize=1024)
def _parsed(host: str) -> tuple[str | None, NetAddress]:
    """The IP that ``host`` is, and the net address of its port 0; None and 0.0.0.0 if it is none."""
    try:
        ip = str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None, NetAddress(Services.NETWORK, "0.0.0.0")
    return ip, NetAddress(Services.NETWORK, ip)


def receiver_address(address: IAddress | None, hidden: bool) -> NetAddress:
    """What a ``version`` says of its receiver; 0.0.0.0:0 when that is hidden or has no IP."""
    host, port = host_and_port(address)
    ip, place = _parsed("" if hidden or host is None else host)
    return NetAddress(Services.NETWORK, place.ip, 0 if ip is None else port)
