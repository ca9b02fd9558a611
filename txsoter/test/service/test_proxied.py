"""A port behind a proxy (``haproxy:``): remotes are who the proxy says, and nothing that they do hits the proxy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from txsoter import REGTEST, CloseCause, ConnectionClosed, Listeners, PeerConfig, SoterPeerProtocol, SoterServerFactory
from txsoter import connect as dial
from txsoter.service import having_nothing
from txsoter.service.node import NodeService, NodeSettings
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.service.proxied import Proxied, header
from txsoter.wire import Version

PORT = "haproxy:tcp:0:interface=127.0.0.1"


def config(**fields: Any) -> PeerConfig:
    return PeerConfig(network=REGTEST, allow_self_connections=True, **{"listeners": having_nothing(), **fields})


def behind(port: int, line: bytes) -> Proxied:
    return Proxied(clientFromString(real_reactor(), f"tcp:127.0.0.1:{port}"), line)


def noting(told: Deferred[Version]) -> Callable[[SoterPeerProtocol, Version], None]:
    return lambda peer, version: told.callback(version)


class Remote(Protocol):
    """Says something, and waits for its end.

    :ivar ended: fires with it.
    """

    def __init__(self, says: bytes = b"") -> None:
        self._says = says
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self._says)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


class Behind:
    """Where remotes come in through the proxy.

    :ivar port: the port's number.
    """

    port: int

    def __init__(self) -> None:
        self._dialled: list[SoterPeerProtocol] = []

    async def dial(self, line: bytes, **fields: Any) -> SoterPeerProtocol:
        """Let a remote come in that the proxy names so."""
        peer = await dial(behind(self.port, line), config(user_agent_name="remote", **fields))
        self._dialled.append(peer)
        return peer

    async def gone(self) -> None:
        """Wait until all of them have."""
        for peer in self._dialled:
            await peer.when_closed()


class Server(Behind):
    """A factory on such a port, and its peers."""

    def __init__(self, may_enter: Callable[..., str | None] | None = None, **fields: Any) -> None:
        super().__init__()
        self.factory = SoterServerFactory(config(**fields), may_enter=may_enter)

    async def __aenter__(self) -> Server:
        self._port = await serverFromString(real_reactor(), PORT).listen(self.factory)
        self.port = self._port.getHost().port
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._port.stopListening()
        await self.factory.disconnect_all()
        await self.gone()


@over_sockets()
async def test_a_peer_has_the_address_that_the_proxy_gives_and_is_told_it() -> None:
    for host in ("203.0.113.9", "2001:db8::9"):
        told: Deferred[Version] = Deferred()
        async with Server() as server:
            await server.dial(header(host), listeners=Listeners(on_version=noting(told)))
            [peer] = server.factory.peers
            await peer.when_ready()
            shown = f"[{host}]:5555" if ":" in host else f"{host}:5555"
            assert (peer.address, peer.stats().address, str(peer)) == (shown, shown, f"{shown} (inbound)")
            version = await told
            assert (version.addr_you.host, version.addr_you.port) == (host, 5555)


@over_sockets()
async def test_limits_for_one_address_are_for_the_remotes_not_for_the_proxy() -> None:
    async with Server(max_connections_per_address=2) as server:
        for last in range(5):
            await server.dial(header(f"203.0.113.{last}"))
        await server.dial(header("203.0.113.1"))
        with pytest.raises(ConnectionClosed):
            await server.dial(header("203.0.113.1"))
        assert (len(server.factory.peers), server.factory.refused) == (6, 1)


@over_sockets()
async def test_silent_remotes_behind_a_proxy_are_limited_too() -> None:
    """They are counted once the proxy has named them, at the latest when the next one comes."""
    async with Server(max_connections_per_address=2) as server:
        silent = [await connectProtocol(behind(server.port, header("203.0.113.1")), Remote()) for _ in range(4)]
        await server.dial(header("203.0.113.2"))
        await server.dial(header("203.0.113.3"))
        assert sum(each.ended.called for each in silent) == 2
        assert len(server.factory.peers) == 4


@over_sockets()
async def test_who_may_enter_is_asked_of_the_remote_not_of_the_proxy() -> None:
    def may_enter(address: Any) -> str | None:
        return "banned" if address.host in ("127.0.0.1", "203.0.113.1") else None

    async with Server(may_enter) as server:
        await server.dial(header("203.0.113.2"))
        with pytest.raises(ConnectionClosed):
            await server.dial(header("203.0.113.1"))


class Node(Behind):
    """A node on such a port, by which nobody is whitelisted."""

    def __init__(self, capture: Path | None = None) -> None:
        super().__init__()
        self.service = NodeService(config(), NodeSettings(whitelist=(), capture=capture))
        self.service.listen(serverFromString(real_reactor(), PORT), PORT)

    async def __aenter__(self) -> Node:
        self.service.privilegedStartService()
        self.service.startService()
        [address] = self.service.peers.listening
        self.port = int(address.rpartition(":")[2])
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.service.stopService()
        await self.gone()

    async def misbehave(self, line: bytes, times: int = 3) -> None:
        for _ in range(times):
            await (await connectProtocol(behind(self.port, line), Remote(b"rubbish" * 10))).ended

    def scored(self) -> dict[str, bool]:
        """Whose score there is, and whether he is refused."""
        return {each.address: each.until is not None for each in self.service.scores.entries()}


@pytest.mark.parametrize("records", [False, True])
@over_sockets()
async def test_who_misbehaves_behind_a_proxy_is_banned_and_the_proxy_is_not(records: bool, tmp_path: Path) -> None:
    async with Node(tmp_path if records else None) as node:
        good = await node.dial(header("203.0.113.2"))
        await node.misbehave(header("203.0.113.1"))
        await node.misbehave(header("2001:db8::9"))
        assert node.scored() == {"203.0.113.1": True, "2001:db8::/64": True}
        # others come in through the same proxy, and stay
        other = await node.dial(header("203.0.113.3"))
        assert (good.state.value, other.state.value) == ("ready", "ready")


@pytest.mark.parametrize("records", [False, True])
@over_sockets()
async def test_a_proxy_that_names_nobody_is_not_scored(records: bool, tmp_path: Path) -> None:
    """As for its health checks: with a header that says so, without one, and with one that is none."""
    async with Node(tmp_path if records else None) as node:
        await node.misbehave(b"PROXY UNKNOWN\r\n", times=4)
        for line in (b"", b"GET / HTTP/1.1\r\n\r\n"):
            remote = await connectProtocol(behind(node.port, line), Remote())
            remote.transport.loseConnection()
            await remote.ended
        assert node.scored() == {}


@over_sockets()
async def test_who_is_banned_does_not_come_in_through_the_proxy_again() -> None:
    async with Node() as node:
        await node.misbehave(header("203.0.113.1"))
        with pytest.raises(ConnectionClosed) as refused:
            await node.dial(header("203.0.113.1"))
        assert refused.value.reason.cause is CloseCause.REMOTE_CLOSED
