"""``twistd soter`` and ``twist soter`` as processes, over real sockets."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.task import deferLater

from txsoter import SIMNET, CloseCause, PeerConfig, SoterPeerProtocol, connect
from txsoter.crawl.stored_map import StoredCrawl
from txsoter.service.book import place_at
from txsoter.test.node import FakeNode, recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.programs import TWIST, TWISTD, Program
from txsoter.test.service.web import Deaf
from txsoter.wire import AddrCache, GetBlocks, Inv, Ping, Pong

DAEMONS = {"twistd": (*TWISTD, "--nodaemon"), "twist": (*TWIST, "--log-format=text")}

LISTEN = ("--listen", "tcp:0:interface=127.0.0.1")

both = pytest.mark.parametrize("daemon", DAEMONS)


def soter(daemon: str, folder: Path, *options: str) -> Program:
    """Run it on simnet, in a folder of its own."""
    return Program(*DAEMONS[daemon], "soter", "--network", "simnet", *options, folder=folder)


def dial(program: Program) -> Deferred[SoterPeerProtocol]:
    """Dial one that has said where it listens."""
    port = re.search(r"listening on tcp:0:interface=127\.0\.0\.1: 127\.0\.0\.1:(\d+)", program.out)
    assert port is not None
    config = PeerConfig(network=SIMNET, user_agent_name="dialler")
    return connect(clientFromString(real_reactor(), f"tcp:127.0.0.1:{port[1]}"), config)


async def until(done: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that another process does."""
    for _ in range(int(seconds / 0.05)):
        if done():
            return
        await deferLater(real_reactor(), 0.05)
    raise AssertionError("it has not happened")


async def end(program: Program) -> None:
    """End it with SIGTERM: status 0, in time."""
    program.signal(signal.SIGTERM)
    assert await program.ended().addTimeout(5, real_reactor()) == 0
    assert "Traceback" not in program.out + program.err


@both
@over_sockets()
async def test_listens_and_ends(daemon: str, tmp_path: Path) -> None:
    """It is dialled, answers, and on SIGTERM tells the remote, ends with status 0 within 5 s and leaves no file."""
    arguments = (*LISTEN, "--user-agent", "operated:1.2.3", "--comment", "here", "--services", "network")
    async with soter(daemon, tmp_path, *arguments) as program:
        await program.says("listening on")
        peer = await dial(program)
        assert peer.stats().user_agent == b"/soterwire:0.6.0/operated:1.2.3(here)/"
        assert peer.stats().services == 1
        answer = await peer.request(GetBlocks(height=0), Inv)
        assert list(answer.vectors) == []
        await end(program)
        assert (await peer.when_closed()).cause is CloseCause.REMOTE_CLOSED
        assert "Received getblocks" not in program.out
    assert list(tmp_path.iterdir()) == []


@both
@over_sockets()
async def test_dials_again(daemon: str, tmp_path: Path) -> None:
    """A node that has gone is dialled again; one that is not there does not keep it from others."""
    ready: list[Deferred[SoterPeerProtocol]] = [Deferred(), Deferred()]
    waiting = iter(ready)
    node = FakeNode(recorded(), hooks={"on_ready": lambda peer: next(waiting).callback(peer)})
    gone = FakeNode()
    async with await gone.listen(real_reactor()) as port:
        nobody = port.endpoint
    port = await node.listen(real_reactor())
    async with port, soter(daemon, tmp_path, "--connect", nobody, "--connect", port.endpoint) as program:
        first = await ready[0]
        await first.disconnect()
        second = await ready[1]
        await end(program)
        assert (await second.when_closed()).cause is CloseCause.REMOTE_CLOSED
        assert f"cannot connect to {nobody}: Connection was refused" in program.out


@both
@over_sockets()
async def test_verbose(daemon: str, tmp_path: Path) -> None:
    """--verbose logs each message in a line, given twice also its content and bytes."""
    for flags in (("--verbose",), ("-v", "-v")):
        async with soter(daemon, tmp_path, *LISTEN, *flags) as program:
            await program.says("listening on")
            peer = await dial(program)
            await peer.request(GetBlocks(height=7), Inv)
            await end(program)
        assert re.search(r"Received getblocks \(above 7, stop 0+\) from 127\.0\.0\.1:\d+ \(inbound\)", program.out)
        assert re.search(r"Sending inv \(0 vectors\) to 127\.0\.0\.1:\d+ \(inbound\)", program.out)
        assert ("GetBlocks(protocol_version=70013, height=7" in program.out) is (len(flags) == 2)
        assert ("00000000  7d 11 01 00 01 07 00 00 00 00" in program.out) is (len(flags) == 2)


@both
@over_sockets()
async def test_port_taken(daemon: str, tmp_path: Path) -> None:
    """A port that is taken: one line that names it, status 1, no traceback, no file left."""
    async with await FakeNode().listen(real_reactor()) as port:
        async with soter(daemon, tmp_path, "--listen", f"tcp:{port.number}:interface=127.0.0.1") as program:
            assert await program.ended() == 1
        text = program.out + program.err
        assert text.count(f"Couldn't listen on 127.0.0.1:{port.number}: ") == 1
        assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


@both
@over_sockets()
async def test_bad_option(daemon: str, tmp_path: Path) -> None:
    """A bad option: one line and nothing else, status 1."""
    async with soter(daemon, tmp_path, *LISTEN, "--ping-interval", "-5") as program:
        assert await program.ended() == 1
        assert program.err == "soter: --ping-interval -5: must be a number of seconds above 0, or off\n"
        assert program.out == ""


@over_sockets()
async def test_daemon(tmp_path: Path) -> None:
    """The command that starts it as a daemon tells of a port that is taken, with status 1; only the log is left."""
    async with await FakeNode().listen(real_reactor()) as port:
        taken = ("--listen", f"tcp:{port.number}:interface=127.0.0.1")
        arguments = (*TWISTD, "--logfile=soter.log", "soter", "--network", "simnet", *taken)
        async with Program(*arguments, folder=tmp_path) as program:
            assert await program.ended() == 1
            assert f"Couldn't listen on 127.0.0.1:{port.number}: " in program.err
        assert [each.name for each in tmp_path.iterdir()] == ["soter.log"]


@both
@over_sockets(60)
async def test_ends_in_time_whatever_http_clients_do(daemon: str, tmp_path: Path) -> None:
    """Page and metrics are full of clients that pipeline requests and read nothing."""
    pages = ("--status", "tcp:0", "--metrics", "tcp:0", "--state", "state", "--capture", "capture")
    async with soter(daemon, tmp_path, *LISTEN, *pages) as program:
        await program.says("to look at")
        places = re.findall(r"(?:page|metrics) at http://127\.0\.0\.1:(\d+)(/\w*)", program.out)
        assert len(places) == 2
        clients = []
        for port, path in places:
            request = f"GET {path} HTTP/1.1\r\nHost:localhost\r\n\r\n".encode() * 780
            for _ in range(16 if path == "/metrics" else 64):
                endpoint = clientFromString(real_reactor(), f"tcp:127.0.0.1:{port}")
                clients.append(await connectProtocol(endpoint, Deaf(request)))
        peer = await dial(program)
        await peer.request(Ping(7), Pong)
        await end(program)
        assert (await peer.when_closed()).cause is CloseCause.REMOTE_CLOSED
        for client in clients:
            await client.hear()


@over_sockets(60)
async def test_sighup_reopens_the_log(tmp_path: Path) -> None:
    """A log that was moved, as logrotate does it, is begun anew; the process goes on, and its end is in it."""
    log, moved = tmp_path / "soter.log", tmp_path / "soter.log.old"
    arguments = (*TWISTD, "--nodaemon", "--pidfile=", f"--logfile={log}", "soter", "--network", "simnet", *LISTEN)
    async with Program(*arguments, folder=tmp_path) as program:
        await until(lambda: log.exists() and "to look at" in log.read_text())
        log.rename(moved)
        program.signal(signal.SIGHUP)
        await until(lambda: log.exists() and f"SIGHUP: the log was reopened: {log}" in log.read_text())
        await end(program)
        assert "Server Shut Down" in log.read_text()
        assert "Server Shut Down" not in moved.read_text()


@both
@over_sockets(60)
async def test_sighup_without_a_log_file(daemon: str, tmp_path: Path) -> None:
    """It is no end."""
    async with soter(daemon, tmp_path, *LISTEN) as program:
        await program.says("to look at")
        program.signal(signal.SIGHUP)
        await program.says("SIGHUP: the log is in no file of this process's own")
        await end(program)


@over_sockets()
async def test_maps_a_network(tmp_path: Path) -> None:
    """``--crawl`` visits a node again and again; what it knows is there after SIGTERM, and for a second process."""
    node = FakeNode(recorded(), hooks={"on_getaddrcache": lambda peer, question: peer.send(AddrCache())})
    async with await node.listen(real_reactor()) as port:
        place = f"127.0.0.1:{port.number}"
        given = ("--crawl", "--state", "state", "--allow-unroutable", "--revisit", "0.2", "--stay", "0.01")
        for visits in (3, 6):
            async with soter("twistd", tmp_path, *given, "--peer", place) as program:
                await until(lambda visits=visits: len(node.versions) >= visits)  # type: ignore[misc]
                await end(program)
    assert {b"(crawler)" in version.user_agent for version in node.versions} == {True}
    crawl = StoredCrawl(tmp_path / "state", 0.0)
    assert crawl.why(place_at("127.0.0.1", port.number)) == "it is listed: it answered at its last visit"
