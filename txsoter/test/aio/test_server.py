"""``serve()`` and ``connect()``: over TCP, TLS, paths and sockets that are given."""

from __future__ import annotations

import asyncio
import datetime
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.task import Clock

from txsoter.aio import Peer, Server, connect, serve
from txsoter.core.handshake import LIVE_NONCES
from txsoter.errors import CloseCause, ClosedBy, FieldError, HandshakeFailed
from txsoter.test.aio.simulated import run_simulated
from txsoter.test.aio.worlds import simnet
from txsoter.wire import Ping, Pong, Unknown

LOOPBACK = "127.0.0.1"


def over_sockets(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``main`` on a real loop, which must be left clean."""
    faults: list[Any] = []

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: faults.append(context))
        await asyncio.wait_for(main(), 20)
        # what was closed is told so in the next turns
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    before = len(LIVE_NONCES)
    asyncio.run(whole())
    assert faults == []
    assert len(LIVE_NONCES) == before


def port_of(server: Server) -> int:
    """The port that it listens on."""
    port: int = server.sockets[0].getsockname()[1]
    return port


async def talk(peer: Peer) -> None:
    """Something each way, small and large."""
    assert await peer.request(Ping(1), Pong) == Pong(1)
    for _ in range(5):
        await peer.send(Unknown("filler", bytes(900_000)))
    assert await peer.request(Ping(2), Pong) == Pong(2)


def test_over_tcp() -> None:
    """The server knows its peers; ``async with`` ends all of them."""

    async def main() -> None:
        async with await serve(LOOPBACK, 0, simnet()) as server:
            async with await connect(LOOPBACK, port_of(server), simnet()) as peer:
                assert (peer.host, peer.port) == (LOOPBACK, port_of(server))
                assert (peer.address, str(peer)) == (f"{LOOPBACK}:{peer.port}", f"{LOOPBACK}:{peer.port} (outbound)")
                assert repr(peer) == f"<Peer {peer}, ready>"
                (theirs,) = server.peers
                assert theirs.inbound
                assert theirs.host == LOOPBACK
                await talk(peer)
            await theirs.when_closed()
            assert server.peers == set()
            peer = await connect(LOOPBACK, port_of(server), simnet())
            await talk(peer)
        reason = await peer.when_closed()
        assert (reason.by, reason.cause) == (ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED)

    over_sockets(main)


def test_over_ipv6() -> None:
    """Its address has brackets."""

    async def main() -> None:
        async with (
            await serve("::1", 0, simnet()) as server,
            await connect("::1", port_of(server), simnet()) as peer,
        ):
            assert (peer.host, peer.address) == ("::1", f"[::1]:{port_of(server)}")

    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    over_sockets(main)


def test_closing_waits_until_all_have_ended() -> None:
    """Each with the reason; who dials afterwards finds nobody."""
    closed: list[str] = []

    async def main() -> None:
        server = await serve(LOOPBACK, 0, simnet(on_closed=lambda peer, reason: closed.append(reason.detail)))
        port = port_of(server)
        peers = await asyncio.gather(*[connect(LOOPBACK, port, simnet()) for _ in range(5)])
        await server.close("shutting down")
        assert closed == ["shutting down"] * 5
        assert server.peers == set()
        for peer in peers:
            await peer.when_closed()
        with pytest.raises(OSError):
            await connect(LOOPBACK, port, simnet())
        await server.close()

    over_sockets(main)


def test_who_comes_while_it_closes_is_not_let_in(tmp_path: Path) -> None:
    """However far the loop has got with it."""

    async def main() -> None:
        # after two asyncio itself has just lost the socket, which is closed when it is collected
        for turns in (0, 1, 3, 4, 5):
            path = str(tmp_path / f"socket {turns}")
            server = await serve(None, None, simnet(), path=path)
            with socket.socket(socket.AF_UNIX) as dialled:
                dialled.connect(path)
                for _ in range(turns):
                    await asyncio.sleep(0)
                await server.close()
                await asyncio.sleep(0.001)
                assert server.peers == set()
                dialled.setblocking(False)
                with suppress(ConnectionError):
                    assert dialled.recv(1) == b""

    run_simulated(main())


def test_limits_of_connections(caplog: pytest.LogCaptureFixture) -> None:
    """In all, and from one address; one that has ended makes room; not every refusal is a line in the log."""

    async def main() -> None:
        config = simnet(max_connections=3, max_connections_per_address=2)
        async with await serve(LOOPBACK, 0, config) as server:
            port = port_of(server)
            peers = [await connect(LOOPBACK, port, simnet()) for _ in range(2)]
            for _ in range(5):
                with pytest.raises(HandshakeFailed):
                    await connect(LOOPBACK, port, simnet())
            assert server.refused == 5
            third = await connect(LOOPBACK, port, simnet(), local_addr=("127.0.0.2", 0))
            with pytest.raises(HandshakeFailed):
                await connect(LOOPBACK, port, simnet(), local_addr=("127.0.0.3", 0))
            assert len(server.peers) == 3
            await peers[0].disconnect()
            while len(server.peers) == 3:
                await asyncio.sleep(0.01)
            peers.append(await connect(LOOPBACK, port, simnet()))
            for peer in (*peers, third):
                await peer.disconnect()

    caplog.set_level(logging.WARNING, "txsoter")
    over_sockets(main)
    lines = [each.message for each in caplog.records if each.name == "txsoter" and "refused" in each.message]
    assert len(lines) == 3
    assert "there are 2 from 127.0.0.1 already (max_connections_per_address); 1 in all" in lines[0]


def test_over_a_path(tmp_path: Path) -> None:
    """Without host and port; there is no address to count."""

    async def main() -> None:
        path = str(tmp_path / "socket")
        config = simnet(max_connections_per_address=1)
        async with (
            await serve(None, None, config, path=path) as server,
            await connect(None, None, simnet(), path=path) as peer,
            await connect(None, None, simnet(), path=path) as second,
        ):
            assert (peer.host, peer.port, peer.address) == (None, None, f"unix:{path}")
            assert len(server.peers) == 2
            await talk(peer)
            await talk(second)

    run_simulated(main())


def test_over_sockets_that_are_given() -> None:
    """One that listens, and one that is connected."""

    async def main() -> None:
        listening = socket.create_server((LOOPBACK, 0))
        async with await serve(None, None, simnet(), sock=listening) as server:
            await server.listen(LOOPBACK, 0)
            for each in server.sockets:
                dialled = socket.create_connection(each.getsockname())
                async with await connect(None, None, simnet(), sock=dialled) as peer:
                    await talk(peer)

    over_sockets(main)


def test_over_tls(tmp_path: Path) -> None:
    """With the contexts that are given."""
    certificate = self_signed(tmp_path)

    async def main() -> None:
        ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ours.load_cert_chain(certificate)
        theirs = ssl.create_default_context(cafile=str(certificate))
        async with await serve(LOOPBACK, 0, simnet(), ssl=ours) as server:
            options = {"ssl": theirs, "server_hostname": "localhost"}
            async with await connect(LOOPBACK, port_of(server), simnet(), **options) as peer:
                await talk(peer)
            with pytest.raises((HandshakeFailed, ConnectionError)):
                await connect(LOOPBACK, port_of(server), simnet())

    over_sockets(main)


def test_a_clock_is_for_twisted() -> None:
    """It is refused before anything is opened."""

    async def main() -> None:
        config = simnet().replace(clock=Clock())
        for begin in (connect, serve):
            with pytest.raises(FieldError, match=r"PeerConfig.clock .* Twisted"):
                await begin(LOOPBACK, 1, config)

    over_sockets(main)


def test_nobody_listens() -> None:
    """The error is the loop's."""

    async def main() -> None:
        with socket.create_server((LOOPBACK, 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(OSError, match="in use"):
                await serve(LOOPBACK, port, simnet())
        with pytest.raises(ConnectionRefusedError):
            await connect(LOOPBACK, port, simnet())

    over_sockets(main)


def self_signed(folder: Path) -> Path:
    """A certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "localhost.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return file
