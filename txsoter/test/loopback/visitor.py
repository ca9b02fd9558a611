"""Options, and a visitor of loopback networks that asks a node for everything it tells."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import attrs
from twisted.internet.endpoints import TCP4ClientEndpoint

from txsoter import REGTEST, Listeners, PeerConfig, connect
from txsoter.command_line import split_host_port
from txsoter.test.peer.cases import real_reactor
from txsoter.testing.loopback import LoopbackNetwork, LoopbackOptions, make_plan
from txsoter.wire import Addr, AddrCache, GetAddr, GetAddrCache, NetAddress, Ping, Pong

__all__ = ["Visit", "options", "running", "text", "visit"]


def options(nodes: int, **changes: Any) -> LoopbackOptions:
    """Options of a network that no other process on this machine has at the same time."""
    return LoopbackOptions(nodes=nodes, seed=os.getpid(), **changes)


@asynccontextmanager
async def running(nodes: int, **changes: Any) -> AsyncIterator[LoopbackNetwork]:
    """A network that runs in this process, and is stopped at the end."""
    network = LoopbackNetwork(real_reactor(), make_plan(options(nodes, **changes)))
    await network.start()
    try:
        yield network
    finally:
        await network.stop()


@attrs.define
class Visit:
    """All that a node tells.

    :ivar own: the visitor's address, as the node sees it.
    :ivar addresses: those of all ``addr``.
    :ivar messages: number of ``addr`` and ``addrcache``.
    """

    own: str = ""
    user_agent: bytes = b""
    services: int = 0
    height: int = 0
    addresses: list[str] = attrs.field(factory=list)
    inbound: list[str] = attrs.field(factory=list)
    outbound: list[str] = attrs.field(factory=list)
    known: list[str] = attrs.field(factory=list)
    messages: int = 0

    def on_addr(self, peer: Any, addr: Addr) -> None:
        """Note addresses."""
        self.messages += 1
        self.addresses += text(addr.addresses)

    def on_addrcache(self, peer: Any, cache: AddrCache) -> None:
        """Note addresses."""
        self.messages += 1
        self.inbound += text(cache.inbound)
        self.outbound += text(cache.outbound)
        self.known += text(cache.known)

    @property
    def all(self) -> set[str]:
        """All addresses told."""
        return {*self.addresses, *self.inbound, *self.outbound, *self.known}


def text(addresses: Iterable[NetAddress]) -> list[str]:
    """``HOST:PORT`` of each address."""
    return [f"{each.host}:{each.port}" for each in addresses]


async def visit(address: str, **changes: Any) -> Visit:
    """Dial a node from 127.0.0.1, ask for its addresses, and hang up.

    :param changes: of the config.
    """
    found = Visit()
    listeners = Listeners(on_addr=found.on_addr, on_addrcache=found.on_addrcache)
    config = PeerConfig(network=REGTEST, allow_self_connections=True, listeners=listeners).replace(**changes)
    place = split_host_port(address, 0)
    assert place is not None
    peer = await connect(TCP4ClientEndpoint(real_reactor(), *place), config)
    peer.send(GetAddr())
    peer.send(GetAddrCache())
    # a node answers in order: when this is answered, all else is
    await peer.request(Ping(1), Pong)
    host = peer.transport.getHost()
    stats = peer.stats()
    found.own = f"{host.host}:{host.port}"
    found.user_agent, found.services, found.height = stats.user_agent, stats.services, stats.starting_height
    await peer.disconnect()
    return found
