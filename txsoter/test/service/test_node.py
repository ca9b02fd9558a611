"""Tests of :mod:`txsoter.service.node`: the parts put together, over real sockets on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent, globalLogPublisher

from txsoter import REGTEST, SIMNET, CloseCause, PeerConfig, SoterPeerProtocol, connect
from txsoter.errors import LocalError
from txsoter.service import having_nothing
from txsoter.service.book import read_book
from txsoter.service.node import NodeService, NodeSettings
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.wire import GetBlocks, Inv, Ping, Pong

LOOPBACK = "tcp:0:interface=127.0.0.1"


def config(network: Any = REGTEST, **fields: Any) -> PeerConfig:
    return PeerConfig(network=network, allow_self_connections=True, listeners=having_nothing(), **fields)


def node(settings: NodeSettings, **fields: Any) -> NodeService:
    """One that listens on loopback, and runs."""
    service = NodeService(config(**fields), settings)
    service.listen(serverFromString(real_reactor(), LOOPBACK), LOOPBACK)
    service.privilegedStartService()
    service.startService()
    return service


def port_of(service: NodeService) -> int:
    [address] = service.peers.listening
    return int(address.rpartition(":")[2])


async def dial(service: NodeService, **fields: Any) -> SoterPeerProtocol:
    endpoint = clientFromString(real_reactor(), f"tcp:127.0.0.1:{port_of(service)}")
    return await connect(endpoint, config(service.peers.config.network, user_agent_name="dialler", **fields))


async def until(done: Any, seconds: float = 10) -> None:
    """Wait for something that happens by itself."""
    for _ in range(int(seconds / 0.05)):
        if done():
            return
        await deferLater(real_reactor(), 0.05)
    raise AssertionError("it has not happened")


@over_sockets(30)
async def test_all_parts(tmp_path: Path) -> None:
    """A peer comes, is seen on the page, counted, recorded, and told when the node ends."""
    settings = NodeSettings(
        state=tmp_path / "state", status="tcp:0", metrics="tcp:0", capture=tmp_path / "capture", allow_unroutable=True
    )
    lines: list[str] = []
    note: Any = lambda event: lines.append(formatEvent(event))  # noqa: E731
    globalLogPublisher.addObserver(note)
    try:
        service = node(settings)
    finally:
        globalLogPublisher.removeObserver(note)
    assert [line.split(":")[0] for line in lines[-3:]] == ["listens", "dials", "to look at"]
    assert service.status is not None and service.metrics is not None
    assert lines[-1].startswith(f"to look at: status page at {service.status.url}, metrics at {service.metrics.url}")
    peer = await dial(service)
    assert list((await peer.request(GetBlocks(height=0), Inv)).vectors) == []
    await peer.request(Ping(7), Pong)
    picture = service.status.snapshot()
    assert [row["agent_name"] for row in picture["peers"]] == ["dialler 0.1.0"]
    assert picture["listening"] == [f"127.0.0.1:{port_of(service)}"]
    assert picture["capture"]["reason"] is None
    text = await deferToThread(_get, service.metrics.url)
    assert "txsoter_capture_running 1.0" in text
    assert 'txsoter_messages_total{command="ping",direction="received"} 1.0' in text
    assert service.summary()[0].startswith("peers: 1 inbound ready")
    await service.stopService()
    assert (await peer.when_closed()).cause is CloseCause.REMOTE_CLOSED
    [folder] = [each for each in (tmp_path / "capture").iterdir() if each.is_dir()]
    recorded = (folder / "msgs_recv.dat").read_bytes()
    assert b"getblocks" in recorded and b"ping" in recorded
    assert read_book(tmp_path / "state").network == "regtest"


def _get(url: str | None) -> str:
    from urllib.request import urlopen

    assert url is not None
    with urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


@over_sockets(40)
async def test_nodes_find_each_other_again(tmp_path: Path) -> None:
    """One that was named is dialled, kept in the book, and found there after a restart without being named."""
    far = node(NodeSettings(allow_unroutable=True))
    settings: dict[str, Any] = {"state": tmp_path / "state", "allow_unroutable": True, "outbound": 1}
    near = node(NodeSettings(named=(("127.0.0.1", port_of(far)),), **settings), user_agent_name="near")
    assert near.outbound is not None
    await until(lambda: near.outbound is not None and near.outbound.ready)
    assert [str(row.name) for row in near._dialled()] == [f"127.0.0.1:{port_of(far)}"]
    await near.stopService()
    [row] = read_book(tmp_path / "state").rows
    assert row.tried
    again = node(NodeSettings(**settings), user_agent_name="near")
    # not at once: an address is not dialled twice within half a minute
    book = again.book
    await until(lambda: book.is_loaded)
    assert book.sizes()["tried"] == 1
    await again.stopService()
    await far.stopService()


@over_sockets(30)
async def test_who_misbehaves_is_refused_and_whitelisted_ones_are_not() -> None:
    for whitelist, refused in (((), True), (("127.0.0.0/8",), False)):
        service = node(NodeSettings(whitelist=whitelist))
        for _ in range(3):
            peer = await dial(service)
            peer.transport.write(b"rubbish" * 10)
            await peer.when_closed()
        assert (service.scores.refused() == 1) is refused
        if refused:
            assert [each.address for each in service._bans()] == ["127.0.0.1"]
        await service.stopService()


@over_sockets(20)
async def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """It is said at the start, and what had begun ends."""
    (tmp_path / "file").write_text("")
    for settings in (NodeSettings(state=tmp_path / "file"), NodeSettings(capture=tmp_path / "file")):
        service = NodeService(config(SIMNET), settings)
        with pytest.raises(LocalError, match="file"):
            service.startService()
        await service.stopService()


@over_sockets(30)
async def test_page_and_metrics_hold_up_nothing(tmp_path: Path) -> None:
    """Where they do not end, peers are told and the book is written all the same."""
    service = node(NodeSettings(state=tmp_path / "state", status="tcp:0", metrics="tcp:0"))
    peer = await dial(service)
    ends: list[Deferred[None]] = []
    for part in (service.status, service.metrics):
        untyped: Any = part
        stop = untyped.stopService

        def end(stop: Any = stop) -> Deferred[None]:
            waiting: Deferred[None] = Deferred()
            ends.append(waiting)
            stop()
            return waiting

        untyped.stopService = end
    stopped = service.stopService()
    await until(lambda: not service.book.running)
    assert (await peer.when_closed()).cause is CloseCause.REMOTE_CLOSED
    assert len(ends) == 2
    assert not stopped.called
    for each in ends:
        each.callback(None)
    await stopped
