"""Addresses of transports: their host and port, and their text for people."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.protocols.policies import ProtocolWrapper

from txsoter.ip import parse_ip

__all__ = ["address_text", "host_and_port", "ip_of", "remote_address"]


def host_and_port(address: IAddress | None) -> tuple[str | None, int]:
    """Return the host and port of a transport's remote; None and 0 if it has neither."""
    # a HostnameAddress, such as an onion name's, calls it otherwise
    host, port = getattr(address, "host", getattr(address, "hostname", None)), getattr(address, "port", 0)
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    return host, port


def address_text(address: IAddress | None) -> str:
    """Return a remote's address for people: ``host:port``, ``[host]:port``, a path, or whatever its transport says."""
    if isinstance(address, IPv6Address):
        return f"[{address.host}]:{address.port}"
    host, port = host_and_port(address)
    if host is not None:
        return f"{host}:{port}"
    if isinstance(address, UNIXAddress):
        return f"unix:{(address.name or b'').decode('utf-8', 'replace')}"
    return str(address)


def ip_of(address: IAddress | None) -> str | None:
    """Return a remote's IP without a zone; None for one that has none, such as an onion name or a path."""
    ip = parse_ip(host_and_port(address)[0])
    return None if ip is None else str(ip)


def remote_address(transport: Any) -> IAddress | None:
    """Return the address of a transport's remote, as far as it is known now, and never that of a proxy of ours.

    Behind a listener such as ``haproxy:`` that is what the proxy's header says. None before that has come, and where
    the proxy says that nobody is behind it, as for a health check: the transport gives the proxy's address then.
    """
    address: IAddress | None = transport.getPeer()
    # from wrapper to wrapper, down to the connection
    while (below := getattr(transport, "transport", None)) is not None:
        own = isinstance(transport, ProtocolWrapper) and type(transport).getPeer is not ProtocolWrapper.getPeer
        # one that has addresses of its own gives those of what is below until it knows better
        if own and address == below.getPeer():
            return None
        transport = below
    return address
