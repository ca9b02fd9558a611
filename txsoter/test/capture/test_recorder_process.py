"""Captures in processes of their own, over real sockets and on a real disk: killed, and without room."""

from __future__ import annotations

import signal
from pathlib import Path

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import Clock

from txsoter import SIMNET, PeerConfig, SoterClientFactory, SoterPeerProtocol, SoterServerFactory
from txsoter.capture import Capture, Record, RecordFile
from txsoter.capture.records import RECEIVED, SENT
from txsoter.test.capture.child import FILLER
from txsoter.test.capture.support import notes_in, records_in, wire_bytes
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.programs import Program
from txsoter.wire import Inv, InventoryVector, Ping, Pong


def child(directory: Path, limit: int = 0) -> Program:
    return Program("-m", "txsoter.test.capture.child", str(directory), str(limit))


def folder_of(directory: Path, kind: str) -> Path:
    (folder,) = directory.glob(f"*_{kind}_*")
    return folder


def numbers(records: list[Record]) -> list[int]:
    """Of the child's messages."""
    return [int.from_bytes(each.payload[:8], "little") for each in records if each.name == "number"]


@over_sockets()
async def test_over_tcp(tmp_path: Path) -> None:
    """On the real reactor, files written by another thread: both ends' files have the same bytes."""
    reactor = real_reactor()
    capture = Capture(tmp_path, reactor)
    capture.startService()
    config = PeerConfig(network=SIMNET, allow_self_connections=True)
    server, client = SoterServerFactory(config, capture), SoterClientFactory(config, capture)
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(server)
    peer = await TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(client)
    assert isinstance(peer, SoterPeerProtocol)
    await peer.when_ready()
    vectors = [InventoryVector(1, bytes(32), height) for height in range(45_000)]
    for _ in range(3):
        await peer.send(Inv(vectors))
    await peer.request(Ping(1), Pong)
    await peer.disconnect()
    await server.disconnect_all()
    await port.stopListening()
    await capture.stopService()
    assert capture.stopped is None
    inbound, outbound = folder_of(tmp_path, "inbound"), folder_of(tmp_path, "outbound")
    assert wire_bytes(inbound, RECEIVED) == wire_bytes(outbound, SENT)
    assert wire_bytes(inbound, SENT) == wire_bytes(outbound, RECEIVED)
    assert [each.name for each in records_in(outbound, SENT)] == ["version", "verack", "inv", "inv", "inv", "ping"]
    assert notes_in(outbound)[-1]["sent"]["bytes"] == (outbound / SENT).stat().st_size


@over_sockets(30)
async def test_killed(tmp_path: Path) -> None:
    """kill -9 in the middle of it leaves whole messages in order, at most the last torn; and a folder to go on in."""
    for count in (300, 800, 1500):
        directory = tmp_path / str(count)
        async with child(directory) as program:
            await program.says(f"at {count}.")
            program.signal(signal.SIGKILL)
            assert await program.ended() == -signal.SIGKILL
        for kind, name in (("inbound", RECEIVED), ("outbound", SENT)):
            with RecordFile(folder_of(directory, kind) / name) as file:
                records = list(file)
            found = numbers(records)
            assert found == list(range(len(found)))
            assert found
            assert file.torn < 24 + FILLER
            assert [each.name for each in records[:2]] == ["version", "verack"]
        capture = Capture(directory, Clock())
        capture.startService()
        capture.stopService()


@over_sockets()
async def test_no_room(tmp_path: Path) -> None:
    """A disk that takes no more (a limit on a file's size): one warning, the peers go on, what is there is whole."""
    async with child(tmp_path, 3_000_000) as program:
        assert await program.ended() == 0
    assert program.out.count(f"capturing to {tmp_path} stops: File too large") == 1
    assert "is ready" in program.out
    assert "Traceback" not in program.out + program.err
    (warning,) = [line for line in program.out.splitlines() if "#warn" in line]
    assert "File too large" in warning
    found = numbers(records_in(folder_of(tmp_path, "outbound"), SENT))
    assert found == list(range(len(found)))
    assert 200 < len(found) < 300
