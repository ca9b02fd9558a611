"""Where the remote of a peer is, for bans and the address book: its own address, and never that of a proxy of ours."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.protocols.policies import ProtocolWrapper

from txsoter.peer.protocol import SoterPeerProtocol

__all__ = ["remote_address"]


def remote_address(peer: SoterPeerProtocol) -> IAddress | None:
    """Return the address of a peer's remote, as far as it is known now.

    Behind a listener such as ``haproxy:`` that is what the proxy's header says. None before that has come, and where
    the proxy says that nobody is behind it, as for a health check: the address is the proxy's then.
    """
    transport: Any = peer.transport
    if transport is None:
        return None
    address: IAddress | None = transport.getPeer()
    # from wrapper to wrapper, down to the connection
    while (below := getattr(transport, "transport", None)) is not None:
        own = isinstance(transport, ProtocolWrapper) and type(transport).getPeer is not ProtocolWrapper.getPeer
        # one that has addresses of its own gives those of what is below until it knows better
        if own and address == below.getPeer():
            return None
        transport = below
    return address
