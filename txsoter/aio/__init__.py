"""Peers of the soter network for asyncio.

::

    peer = await connect("127.0.0.1", 18555, PeerConfig(network=SIMNET))
    async with peer:
        async for message in peer.messages():
            ...

Without Twisted: :class:`txsoter.PeerConfig` and :class:`txsoter.Listeners` are the same for both.
"""

from __future__ import annotations

from txsoter.aio.messages import Messages
from txsoter.aio.peer import Peer
from txsoter.aio.server import Server, connect, serve

__all__ = ["Messages", "Peer", "Server", "connect", "serve"]
