"""Peers over real sockets: TCP, Unix and TLS, on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.application.internet import ClientService
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import ConnectError, ConnectionRefusedError  # noqa: A004
from twisted.internet.protocol import Factory

from txsoter import (
    SIMNET,
    CloseCause,
    ClosedBy,
    HandshakeFailed,
    Listeners,
    PeerConfig,
    SoterClientFactory,
    SoterPeerProtocol,
    SoterServerFactory,
    connect,
)
from txsoter.errors import RequestClosed
from txsoter.test.certificates import make_certificate
from txsoter.test.peer.cases import as_tx, blocks, over_sockets, real_reactor, returning, wrong
from txsoter.testing import ScriptedPeer, remote_version
from txsoter.wire import GetBlocks, Inv, Message, Ping, Pong, Reject, Unknown, VerAck

LOOPBACK = "tcp:0:interface=127.0.0.1"


def settings(**fields: Any) -> PeerConfig:
    """Both sides are in this process, and when both have stopped reading they go on at once, not in 5 s."""
    return PeerConfig(**{"network": SIMNET, "allow_self_connections": True, "read_on_after": 0.02, **fields})


class Collector:
    """Notes what comes until it is enough."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.messages: list[Message] = []
        self.all: Deferred[None] = Deferred()
        self.listeners = Listeners(
            on_inv=self.note,
            on_unknown=self.note,
            on_getblocks=self.note,
            on_block=lambda peer, block, payload: self.note(peer, block),
        )

    def note(self, peer: SoterPeerProtocol, message: Message) -> None:
        """A message has come."""
        self.messages.append(message)
        if len(self.messages) == self.expected:
            self.all.callback(None)


class Listening:
    """A server that is closed, with all its peers, when the block ends."""

    def __init__(self, endpoint: str = LOOPBACK, **fields: Any) -> None:
        self.endpoint = endpoint
        self.factory = SoterServerFactory(settings(**fields))

    async def __aenter__(self) -> Listening:
        self.port = await serverFromString(real_reactor(), self.endpoint).listen(self.factory)
        return self

    @property
    def address(self) -> str:
        """What to dial over TCP."""
        return f"tcp:127.0.0.1:{self.port.getHost().port}"

    async def __aexit__(self, *failure: object) -> None:
        await self.port.stopListening()
        await self.factory.disconnect_all()


def dial(address: str, **fields: Any) -> Deferred[SoterPeerProtocol]:
    """Connect to an endpoint."""
    return connect(clientFromString(real_reactor(), address), settings(**fields))


def conversation(count: int) -> list[Message]:
    """Messages of all sizes."""
    [block] = blocks(1)
    inv = Inv([as_tx(each) for each in range(50)])
    kinds: list[Message] = [inv, block, GetBlocks(height=1), Unknown("some", bytes(999))]
    return [kinds[each % 4] for each in range(count)]


async def exchange(server: Listening, to_server: Collector, address: str) -> tuple[str, str]:
    """A few thousand messages both ways; the addresses of both sides as the other saw them."""
    messages = conversation(3000)
    to_client = Collector(len(messages))
    peer = await dial(address, listeners=to_client.listeners)
    [other] = server.factory.peers
    await other.when_ready()
    await gatherResults([each.send(message) for message in messages for each in (peer, other)])
    await gatherResults([to_client.all, to_server.all])
    assert to_client.messages == to_server.messages == messages
    ours, theirs = peer.stats(), other.stats()
    assert (ours.sent, ours.received) == (theirs.received, theirs.sent)
    reason = await peer.disconnect("done")
    assert (reason.by, reason.cause, reason.detail) == (ClosedBy.LOCAL, CloseCause.DISCONNECT, "done")
    reason = await other.when_closed()
    assert (reason.by, reason.cause) == (ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED)
    assert server.factory.peers == set()
    return ours.address, theirs.address


@over_sockets()
async def test_tcp() -> None:
    to_server = Collector(3000)
    async with Listening(listeners=to_server.listeners) as server:
        ours, theirs = await exchange(server, to_server, server.address)
        assert ours == server.address.removeprefix("tcp:")
        assert theirs.startswith("127.0.0.1:")


@over_sockets()
async def test_unix(tmp_path: Path) -> None:
    to_server = Collector(3000)
    path = tmp_path / "peer"
    async with Listening(f"unix:{path}", listeners=to_server.listeners) as server:
        ours, theirs = await exchange(server, to_server, f"unix:{path}")
        assert ours == f"unix:{path}"
        assert theirs.startswith("unix:")


# Twisted's own endpoint hands pyOpenSSL what it does not want any more
@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
@over_sockets()
async def test_tls(tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    to_server = Collector(3000)
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    async with Listening(endpoint, listeners=to_server.listeners) as server:
        port = server.port.getHost().port
        address = f"tls:localhost:{port}:trustRoots={certificate.parent}:endpoint=tcp\\:127.0.0.1\\:{port}"
        ours, _ = await exchange(server, to_server, address)
        assert ours == f"127.0.0.1:{port}"


@over_sockets(40)
async def test_both_sides_full_at_once() -> None:
    """Each sends 24 MiB before it takes anything: neither side closes, and all arrives."""
    large = [Unknown("large", bytes([each]) * (1 << 20)) for each in range(24)]
    to_server, to_client = Collector(24), Collector(24)
    async with Listening(listeners=to_server.listeners) as server:
        peer = await dial(server.address, listeners=to_client.listeners)
        [other] = server.factory.peers
        sent = [each.send(message) for message in large for each in (peer, other)]
        assert peer.stats().queue_bytes > 16 << 20
        await gatherResults(sent)
        await gatherResults([to_client.all, to_server.all])
        assert to_client.messages == to_server.messages == large
        assert peer.stats().queue_bytes == 0
        await peer.disconnect()


@over_sockets()
async def test_an_endpoint_that_cannot_connect_gives_its_own_failure(tmp_path: Path) -> None:
    async with Listening() as server:
        address = server.address
    with pytest.raises(ConnectionRefusedError):
        await dial(address)
    with pytest.raises(ConnectError):
        await dial(f"unix:{tmp_path / 'nobody'}")


class Silent(ScriptedPeer):
    """Takes a connection, says what it is told to, and tells when it has heard something and when it has ended."""

    def __init__(self, *says: Message) -> None:
        super().__init__()
        self.says = says
        self.spoken_to: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if not self.spoken_to.called:
            self.say(*self.says)
            self.spoken_to.callback(None)

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.ended.callback(None)


async def silent_port(remote: Silent) -> Any:
    """A port at which ``remote`` waits."""
    factory = Factory()
    factory.buildProtocol = returning(remote)  # type: ignore[method-assign]
    return await serverFromString(real_reactor(), LOOPBACK).listen(factory)


@over_sockets()
async def test_connect_cancelled_closes_what_was_opened() -> None:
    remote = Silent()
    port = await silent_port(remote)
    dialled = dial(f"tcp:127.0.0.1:{port.getHost().port}")
    await remote.spoken_to
    assert not dialled.called
    dialled.cancel()
    with pytest.raises(CancelledError):
        await dialled
    await remote.ended
    assert remote.commands == ["version"]
    await port.stopListening()


@over_sockets()
async def test_a_remote_that_fails_the_handshake_says_which_check() -> None:
    cases = [
        (Reject(b"version", 0x11, b"too old"), CloseCause.REJECTED),
        (remote_version(protocol_version=5), CloseCause.OBSOLETE_VERSION),
        (VerAck(), CloseCause.VERSION_EXPECTED),
    ]
    for said, cause in cases:
        remote = Silent(said)
        port = await silent_port(remote)
        with pytest.raises(HandshakeFailed) as caught:
            await dial(f"tcp:127.0.0.1:{port.getHost().port}")
        assert caught.value.reason.cause is cause
        await remote.ended
        await port.stopListening()


@over_sockets()
async def test_a_lost_connection_is_told_to_everybody() -> None:
    async with Listening() as server:
        peer = await dial(server.address, answer_pings=False)
        [other] = server.factory.peers
        waiting: list[Deferred[Any]] = [peer.request(Unknown("what"), Pong), peer.when_closed()]
        other.transport.abortConnection()
        reason = await waiting[1]
        assert (reason.by, reason.cause) == (ClosedBy.NETWORK, CloseCause.CONNECTION_LOST)
        with pytest.raises(RequestClosed) as caught:
            await waiting[0]
        assert caught.value.reason == reason


@over_sockets()
async def test_a_client_service_reconnects_after_a_drop() -> None:
    arrivals: list[Deferred[SoterPeerProtocol]] = [Deferred(), Deferred()]
    coming = iter(arrivals)
    async with Listening(listeners=Listeners(on_ready=lambda peer: next(coming).callback(peer))) as server:
        service = ClientService(
            clientFromString(real_reactor(), server.address),
            SoterClientFactory(settings()),
            retryPolicy=lambda attempt: 0.01,
            prepareConnection=lambda peer: wrong(peer).when_ready(),
        )
        service.startService()
        first: Any = await service.whenConnected()
        accepted = await arrivals[0]
        assert await first.request(Ping(1), Pong) == Pong(1)
        accepted.transport.abortConnection()
        await arrivals[1]
        second: Any = await service.whenConnected()
        assert second is not first
        assert (await first.when_closed()).cause is CloseCause.CONNECTION_LOST
        assert await second.request(Ping(2), Pong) == Pong(2)
        await service.stopService()
        assert (await second.when_closed()).by is ClosedBy.LOCAL


@over_sockets()
async def test_a_client_service_tries_again_after_a_handshake_that_failed() -> None:
    answers = iter([Reject(b"version", 0x12, b"not yet"), None])
    async with Listening(listeners=Listeners(on_version=lambda peer, version: next(answers))) as server:
        closed: list[CloseCause] = []
        listeners = Listeners(on_closed=lambda peer, reason: closed.append(reason.cause))
        service = ClientService(
            clientFromString(real_reactor(), server.address),
            SoterClientFactory(settings(listeners=listeners)),
            retryPolicy=lambda attempt: 0.01,
            prepareConnection=lambda peer: wrong(peer).when_ready(),
        )
        service.startService()
        peer: Any = await service.whenConnected()
        assert closed == [CloseCause.REJECTED]
        assert await peer.request(Ping(1), Pong) == Pong(1)
        await service.stopService()
        await peer.when_closed()
