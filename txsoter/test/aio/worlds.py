"""Conversations written once: the peers of either adapter, their remotes, and the time that passes between them."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any, Protocol

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from txsoter.aio.peer import Peer
from txsoter.core.handshake import LIVE_NONCES
from txsoter.core.listeners import Listeners
from txsoter.core.state import State
from txsoter.errors import NeedMoreData
from txsoter.networks import SIMNET
from txsoter.peer.config import PeerConfig
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.test.aio.simulated import run_simulated
from txsoter.testing import MemoryLink, ScriptedPeer, remote_version
from txsoter.wire import Encoding, Message, VerAck, read_message, write_message

__all__ = ["Remote", "World", "conversation", "simnet", "simulated"]

LONGEST = 24 * 3600.0
"""Simulated seconds after which a test waits for something that will not happen."""

AnyPeer = Any
"""A peer of either adapter: their verbs are the same, and so is ``await``."""


def simnet(**fields: Any) -> PeerConfig:
    """A config for simnet, from a fixed seed, with some fields changed; ``on_…`` fields are its listeners."""
    hooks = {name: fields.pop(name) for name in list(fields) if name.startswith("on_")}
    defaults: dict[str, Any] = {"network": SIMNET, "random": Random(1), "allow_self_connections": True}
    return PeerConfig(**{**defaults, "listeners": Listeners(**hooks), **fields})


class Remote(Protocol):
    """A remote that says what it is told to."""

    def say(self, *messages: Message | bytes) -> None:
        """Send messages, or bytes as they are."""

    async def hear(self) -> list[Message]:
        """Return what has come since it was last asked, once everything is quiet."""

    async def is_closed(self) -> bool:
        """Tell whether the peer has closed, once everything is quiet."""

    def hang_up(self) -> None:
        """Close."""

    def stop_reading(self) -> None:
        """Take nothing more until the next ``hear()``."""


class World(Protocol):
    """The peers of one adapter."""

    async def pair(self, client: PeerConfig | None = None, server: PeerConfig | None = None) -> tuple[Any, Any]:
        """Return two peers that are connected, before their handshake."""

    async def scripted(
        self, config: PeerConfig | None = None, inbound: bool = False, handshake: bool = True
    ) -> tuple[AnyPeer, Any]:
        """Return a peer and its remote, ready unless ``handshake`` is False."""

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""

    def start(self, main: Coroutine[Any, Any, None]) -> Awaitable[None]:
        """Run a coroutine beside the test; await what is returned for its end."""

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run a test; then all peers are closed, and nothing of them may remain."""


async def _scripted(world: World, peer: AnyPeer, remote: Any, inbound: bool, handshake: bool) -> tuple[AnyPeer, Any]:
    if handshake:
        remote.say(remote_version(), VerAck())
        assert [type(each).__name__ for each in await remote.hear()] == ["Version", "VerAck"]
        assert peer.state is State.READY
    return peer, remote


async def _close_all(world: World, peers: list[AnyPeer]) -> None:
    for peer in peers:
        peer.disconnect("the test is over")
    await world.sleep(11)
    for peer in peers:
        assert peer.state is State.CLOSED
        stats = peer.stats()
        assert (stats.pending_requests, stats.queued_inventory) == (0, 0)
        assert (stats.queue_length, stats.queue_bytes, stats.held_bytes) == (0, 0, 0)


# -- Twisted -----------------------------------------------------------------------------------


class TwistedRemote(ScriptedPeer):
    """A remote in memory."""

    world: TwistedWorld
    link: MemoryLink
    outbound: bool

    async def hear(self) -> list[Message]:
        """See :class:`Remote`."""
        self._peers_end().takes = True
        await self.world.sleep(0.001)
        heard, self.heard = self.heard, []
        return heard

    async def is_closed(self) -> bool:
        """See :class:`Remote`."""
        await self.world.sleep(0.001)
        return self.closed is not None

    def hang_up(self) -> None:
        """See :class:`Remote`."""
        assert self.transport is not None
        self.transport.loseConnection()

    def stop_reading(self) -> None:
        """See :class:`Remote`."""
        self._peers_end().takes = False

    def _peers_end(self) -> Any:
        return self.link.server if self.outbound else self.link.client


class TwistedWorld:
    """Peers of ``txsoter.peer`` on links in memory."""

    def __init__(self) -> None:
        self._clock = Clock()
        self._links: list[MemoryLink] = []
        self._peers: list[SoterPeerProtocol] = []

    def _peer(self, config: PeerConfig | None, inbound: bool) -> SoterPeerProtocol:
        peer = SoterPeerProtocol((simnet() if config is None else config).replace(clock=self._clock), inbound)
        self._peers.append(peer)
        return peer

    async def pair(self, client: PeerConfig | None = None, server: PeerConfig | None = None) -> tuple[Any, Any]:
        """See :class:`World`."""
        dialler, listener = self._peer(client, False), self._peer(server, True)
        self._links.append(MemoryLink(dialler, listener))
        return dialler, listener

    async def scripted(
        self, config: PeerConfig | None = None, inbound: bool = False, handshake: bool = True
    ) -> tuple[AnyPeer, Any]:
        """See :class:`World`."""
        peer, remote = self._peer(config, inbound), TwistedRemote()
        remote.world, remote.outbound = self, inbound
        remote.link = MemoryLink(remote, peer) if inbound else MemoryLink(peer, remote)
        self._links.append(remote.link)
        return await _scripted(self, peer, remote, inbound, handshake)

    async def sleep(self, seconds: float) -> None:
        """See :class:`World`."""
        await deferLater(self._clock, seconds)

    def start(self, main: Coroutine[Any, Any, None]) -> Awaitable[None]:
        """See :class:`World`."""
        return Deferred.fromCoroutine(main)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """See :class:`World`."""
        self._run(main)
        for link in self._links:
            link.client.takes = link.server.takes = True
        self._run(_close_all(self, self._peers))
        assert self._clock.getDelayedCalls() == []

    def _run(self, main: Coroutine[Any, Any, None]) -> None:
        over: list[Any] = []
        Deferred.fromCoroutine(main).addBoth(over.append)
        while not over:
            # not any(): each link has its turn
            if True in [link.step() for link in self._links]:
                continue
            calls = self._clock.getDelayedCalls()
            assert calls and self._clock.seconds() < LONGEST, "the test waits for something that will not happen"
            self._clock.rightNow = max(self._clock.rightNow, min(call.getTime() for call in calls))
            self._clock.advance(0)
        if isinstance(over[0], Failure):
            over[0].raiseException()


# -- asyncio -----------------------------------------------------------------------------------


class SocketRemote:
    """A remote at the other end of a pair of sockets."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unread = b""
        self._closed = False

    def say(self, *messages: Message | bytes) -> None:
        """See :class:`Remote`."""
        frames = [
            message if isinstance(message, bytes) else write_message(message, SIMNET.magic, encoding=Encoding.WITNESS)
            for message in messages
        ]
        self._sock.sendall(b"".join(frames))

    async def hear(self) -> list[Message]:
        """See :class:`Remote`."""
        heard: list[Message] = []
        while await self._read():
            while self._unread:
                try:
                    message, used = read_message(self._unread, SIMNET.magic, encoding=Encoding.WITNESS)
                except NeedMoreData:
                    break
                self._unread = self._unread[used:]
                heard.append(message)
        return heard

    async def is_closed(self) -> bool:
        """See :class:`Remote`."""
        await self.hear()
        return self._closed

    def hang_up(self) -> None:
        """See :class:`Remote`."""
        self._sock.close()

    def stop_reading(self) -> None:
        """See :class:`Remote`: it reads only when it is told to."""

    async def _read(self) -> bool:
        # time passes when everything is quiet
        await asyncio.sleep(0.001)
        before = len(self._unread)
        while not self._closed:
            try:
                data = self._sock.recv(1 << 20)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            self._unread += data
            self._closed = not data
        return len(self._unread) > before


class AsyncioWorld:
    """Peers of ``txsoter.aio`` on pairs of sockets."""

    def __init__(self) -> None:
        self._peers: list[Peer] = []
        self._sockets: list[socket.socket] = []

    async def peer(self, config: PeerConfig | None, inbound: bool, sock: socket.socket) -> Peer:
        """Return a peer on a socket that is connected."""
        peer = Peer(simnet() if config is None else config, inbound)
        self._peers.append(peer)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: peer.protocol, sock)
        return peer

    def sockets(self) -> tuple[socket.socket, socket.socket]:
        """Return two sockets that are connected; they are closed when the test is over."""
        pair = socket.socketpair()
        self._sockets += pair
        for each in pair:
            each.setblocking(False)
        return pair

    async def pair(self, client: PeerConfig | None = None, server: PeerConfig | None = None) -> tuple[Any, Any]:
        """See :class:`World`."""
        dialling, listening = self.sockets()
        return await self.peer(client, False, dialling), await self.peer(server, True, listening)

    async def scripted(
        self, config: PeerConfig | None = None, inbound: bool = False, handshake: bool = True
    ) -> tuple[AnyPeer, Any]:
        """See :class:`World`."""
        ours, theirs = self.sockets()
        peer, remote = await self.peer(config, inbound, ours), SocketRemote(theirs)
        return await _scripted(self, peer, remote, inbound, handshake)

    async def sleep(self, seconds: float) -> None:
        """See :class:`World`."""
        await asyncio.sleep(seconds)

    def start(self, main: Coroutine[Any, Any, None]) -> Awaitable[None]:
        """See :class:`World`."""
        return asyncio.ensure_future(main)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """See :class:`World`."""

        async def whole() -> None:
            try:
                await main
                await _close_all(self, self._peers)
            finally:
                # of a test that has failed
                for peer in self._peers:
                    peer.abort()

        try:
            run_simulated(whole())
        finally:
            for each in self._sockets:
                each.close()


worlds = pytest.mark.parametrize("make_world", [TwistedWorld, AsyncioWorld], ids=["twisted", "asyncio"])


def conversation(test: Callable[[Any], Coroutine[Any, Any, None]]) -> Any:
    """Make a test of ``async def test(world)`` that runs with the peers of either adapter."""

    def run(make_world: Callable[[], Any]) -> None:
        before = len(LIVE_NONCES)
        world = make_world()
        world.run(test(world))
        assert len(LIVE_NONCES) == before

    return worlds(_named(run, test))


def simulated(test: Callable[[AsyncioWorld], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Make a test of ``async def test(world)`` that runs with asyncio's peers."""

    def run() -> None:
        world = AsyncioWorld()
        world.run(test(world))

    named: Callable[[], None] = _named(run, test)
    return named


def _named(run: Any, test: Any) -> Any:
    functools.update_wrapper(run, test, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    # pytest would look for its arguments there
    del run.__wrapped__
    return run
