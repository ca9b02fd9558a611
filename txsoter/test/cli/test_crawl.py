"""``txsoter crawl``, over real sockets; its maps of whole networks are tested beside the crawler."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from txsoter import TESTNET1, SoterPeerProtocol
from txsoter.crawl.crawl_store import CrawlStore
from txsoter.test.cli.support import assert_one_line, command, run_main
from txsoter.test.node import FakeNode, NodePort, recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.wire import GetAddrCache, NetAddress

TARGET = ("--network", "simnet", "--allow-unroutable", "--stay", "0.01")


async def listening(told: list[NodePort] | None = None) -> NodePort:
    """A node that lists others, and whoever is connected, in its addrcache."""

    def answer(peer: SoterPeerProtocol, question: GetAddrCache) -> None:
        outbound = [NetAddress(9, "127.0.0.1", port.number) for port in told or ()]
        peer.push_address_cache([NetAddress(9, peer.host or "", peer.port or 0)], outbound, [])

    return await FakeNode(recorded(), hooks={"on_getaddrcache": answer}).listen(real_reactor())


def place(port: NodePort) -> str:
    return f"127.0.0.1:{port.number}"


@over_sockets()
async def test_once(tmp_path: Path) -> None:
    """From a file of addresses, with comments in it; the summary, the map, and why."""
    async with await listening() as one, await listening([one]) as two:
        (tmp_path / "peers").write_text(f"# where to begin\n\n{place(two)}  # the second\n")
        files = [word for name in ("peers", "json", "state") for word in (f"--{name}", str(tmp_path / name))]
        async with command("crawl", "--once", *TARGET, *files, "--comment", "a test") as program:
            assert await program.ended() == 0, program.err
        why = run_main("crawl", "why", place(one), "--state", str(tmp_path / "state"))
    assert program.err == ""
    rows = dict(line.split("  ", 1) for line in program.out.partition("\n\n")[0].splitlines())
    assert rows["network"].strip() == "simnet"
    assert rows["nodes"].strip() == "2 reachable"
    assert rows["edges"].strip() == "1: 0 confirmed by both ends, 0 unmatched"
    assert "2      /soterwire:0.6.0/fakenode:0.1.0/" in program.out
    found = json.loads((tmp_path / "json").read_text())
    assert {(node["address"], node["port"], node["reachable"]) for node in found["nodes"]} == {
        ("127.0.0.1", port.number, True) for port in (one, two)
    }
    assert [(edge["from"], edge["to"], edge["claimed_by"]) for edge in found["edges"]] == [
        (place(two), place(one), ["from"])
    ]
    assert why == (0, f"{place(one)}: it is listed: it answered at its last visit\n", "")


@over_sockets()
async def test_to_standard_output_until_interrupted() -> None:
    """Without --once it goes on; Ctrl-C ends it, and the map is written all the same."""
    async with await listening() as port:
        options = ("--peer", place(port), "--json", "-", "--revisit", "0.2")
        async with command("crawl", *TARGET, *options) as program:
            for _ in range(400):
                if len(port.node.versions) > 2:
                    break
                waiting: Deferred[None] = Deferred()
                real_reactor().callLater(0.05, waiting.callback, None)
                await waiting
            program.signal(signal.SIGINT)
            status = await program.ended()
    assert (status, program.err) == (130, "")
    assert [node["reachable"] for node in json.loads(program.out)["nodes"]] == [True]
    assert len(port.node.versions) > 2
    assert b"(crawler)" in port.node.versions[0].user_agent


@over_sockets()
async def test_nobody_there(tmp_path: Path) -> None:
    """One line says why, and the map is written."""
    async with await listening() as port:
        pass
    options = ("--peer", place(port), "--json", str(tmp_path / "map"))
    async with command("crawl", "--once", *TARGET, *options) as program:
        await program.ended()
    assert_one_line(program, "no node answered", place(port), "the connection was refused")
    assert [node["kind"] for node in json.loads((tmp_path / "map").read_text())["nodes"]] == ["seen"]


@over_sockets()
async def test_name_that_cannot_be_resolved() -> None:
    async with command("crawl", "--once", *TARGET, "--peer", "a..example:1") as program:
        await program.ended()
    assert (program.code, program.err.splitlines()[-1]) == (
        1,
        "txsoter crawl: no node answered: cannot be resolved: a..example",
    )


@over_sockets()
async def test_warnings_are_shown() -> None:
    """As lines on standard error; a crawl that can do without goes on."""
    async with await listening() as port:
        options = ("--peer", place(port), "--peer", "a..example:1")
        async with command("crawl", "--once", *TARGET, *options) as program:
            assert await program.ended() == 0
    assert program.err == "txsoter crawl: cannot be resolved, for now: a..example\n"


@over_sockets()
async def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    """It is told before anything is dialled."""
    async with await listening() as port:
        options = ("--peer", place(port), "--json", str(tmp_path / "none" / "map"))
        async with command("crawl", "--once", *TARGET, *options) as program:
            await program.ended()
    assert_one_line(program, "No such file or directory", "map")
    assert port.node.versions == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@over_sockets()
async def test_changes_to_a_full_disk(tmp_path: Path) -> None:
    """The map is written all the same."""
    async with await listening() as port:
        options = ("--peer", place(port), "--changes", "/dev/full", "--json", str(tmp_path / "map"))
        async with command("crawl", "--once", *TARGET, *options) as program:
            await program.ended()
    assert (program.code, program.err.splitlines()[-1]) == (1, "txsoter crawl: [Errno 28] No space left on device")
    assert [node["reachable"] for node in json.loads((tmp_path / "map").read_text())["nodes"]] == [True]


def test_more_peers_than_nodes(tmp_path: Path) -> None:
    """A file of too many peers is not read to its end."""
    peers = tmp_path / "peers"
    peers.write_text("192.0.2.1\n192.0.2.2\n192.0.2.3\nno peer:\n")
    status, out, err = run_main("crawl", "--once", "--peers", peers, "--max-nodes", 2)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "names more than --max-nodes 2 nodes" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--network", "mainnet"), "mainnet has no seeds: --peer or --peers must name a node to begin with"),
        (("--peer", "a b"), "a b: must be HOST:PORT such as 192.0.2.7:5070, or HOST"),
        (("--peer", "192.0.2.1", "--dials-per-second", "0"), "0: must be a number above 0"),
        (("why", "192.0.2.1:x", "--state", "."), "has no crawl.sqlite3"),
    ],
)
def test_arguments_that_cannot_be(arguments: tuple[str, ...], words: str) -> None:
    """One line each, and a status of two; or of one, for what is not there."""
    status, out, err = run_main("crawl", *arguments)
    assert (status, out, err.count("\n")) == (1 if "why" in arguments else 2, "", 1)
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--outbound-endpoint", "tcp:{host}"), "must be an endpoint with"),
        (("--comment", "a/b"), "PeerConfig.user_agent_comments"),
    ],
)
@over_sockets()
async def test_arguments_that_are_found_late(arguments: tuple[str, ...], words: str) -> None:
    async with command("crawl", "--once", "--peer", "127.0.0.1:1", *arguments) as program:
        await program.ended()
    assert_one_line(program, words, status=2)


def test_why_of_no_address(tmp_path: Path) -> None:
    CrawlStore(tmp_path, TESTNET1, lambda: 0.0).close()
    status, _, err = run_main("crawl", "why", "node.example", "--state", str(tmp_path))
    assert (status, err.count("\n")) == (2, 1)
    assert "node.example: must be an IPv4 or IPv6 address, and a port" in err
    # the port is that of the network whose nodes they are
    found = run_main("crawl", "why", "1.2.3.4", "--state", str(tmp_path))
    assert found == (0, "1.2.3.4:5070: nobody has told of it\n", "")
