"""Each program on Start and Guides runs, against a node that serves a recorded DAG; each command is accepted."""

from __future__ import annotations

import re
import shlex
from importlib import metadata
from pathlib import Path

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint

from txsoter import REGTEST, SIMNET, Network
from txsoter.cli.main import make_parser
from txsoter.tap import Options
from txsoter.test.chain.served_dag import ServedDag
from txsoter.test.guide_blocks import DOCS, code_blocks, guide_pages
from txsoter.test.node import NodePort, recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.programs import Program
from txsoter.test.socks import Socks
from txsoter.testing.loopback import LoopbackOptions, make_plan
from txsoter.wire import AddrCache

BLOCKS = [block for _, block in recorded()]
LAST = str(BLOCKS[-1].hash)

PRINTED = {
    "index 0": ["/soterwire:0.6.0/fakenode:", "closed by us"],
    "start 0": ["fakenode", "it answered a ping", "it has dialled 0 nodes", "closed by us"],
    "start 1": ["it has dialled 0 nodes"],
    "asyncio 0": ["connected to", " blocks announced", "closed by us"],
    "asyncio 1": ["ready: True", "Pong(nonce=7)"],
    "asyncio 3": ["connected to"],
    "closing 0": ["closed by us: no message came for too long"],
    "crawler 0": ["reachable"],
    "light-client 0": ["synced, highest block at 50"],
    "light-client 1": [
        "watching",
        str(BLOCKS[0].transactions[0].txid),
        LAST_TX := str(BLOCKS[-1].transactions[0].txid),
    ],
    "listeners 0": [str(BLOCKS[0].hash), LAST, "closed by the remote"],
    "listeners 1": ["far behind"],
    "network 0": ["testnet1 5070 000000253a4f"],
    "network 1": ["regtest"],
    "network 2": ["devnet"],
    "network 3": ["ping_interval"],
    "operating 0": ["stopped"],
    "own-messages 0": ["SendCmpct(announce=False, version=2)"],
    "proxy 0": ["closed by us"],
    "proxy 1": [f"{len(BLOCKS)} blocks, through the bridge"],
    "testing 0": ["test_my_listener_hears_an_inv passed", "test_two_minutes_pass_at_once passed"],
    "testing 1": ["test_a_node_that_does_not_answer passed", "test_rubbish passed"],
    "testing 2": ["test_a_request passed"],
    "testing 3": ["test_in_a_network passed"],
    "verify 0": ["is valid"],
    "verify 2": ["['a', 'b', 'c', 'd'] ['a', 'b', 'c', 'd']"],
    "watcher 0": ["watching", LAST, "closed by the remote"],
    "watcher 1": [f"{BLOCKS[0].hash} <- {SIMNET.genesis_hash}", LAST],
    "watcher 2": ["(outbound)"],
}
"""Text that each block prints; blocks that print nothing are left out."""

ANNOUNCED = {"watcher 0": "watching"}
"""Blocks to whose program the node announces its last block, once that has printed this."""

CLOSED = {"listeners 0": LAST, "watcher 0": LAST, "light-client 1": LAST_TX}
"""Blocks whose program runs until the node closes, which it does once this was printed."""


def programs() -> list[str]:
    """Return page and number of each block of Python."""
    names = []
    for page in guide_pages():
        blocks = [text for language, text in code_blocks(page) if language == "python"]
        names += [f"{page.stem} {number}" for number in range(len(blocks))]
    return names


def source_of(name: str) -> str:
    """Return the text of a block."""
    stem, number = name.split()
    [page] = [each for each in guide_pages() if each.stem == stem]
    return [text for language, text in code_blocks(page) if language == "python"][int(number)]


def dag(network: Network) -> ServedDag:
    """Return a node with all blocks but the last, which says that it knows nobody."""
    return ServedDag(
        BLOCKS[:-1], network=network, hooks={"on_getaddrcache": lambda peer, question: peer.send(AddrCache())}
    )


def here(source: str, node: NodePort, socks: int) -> str:
    """Return a program that finds the node, and the proxy, where they are."""
    for host in ("127.0.0.1:18555", "127.237.174.80:18444"):
        source = source.replace(f"tcp:{host}", node.endpoint)
    source = re.sub(r'"127\.[\d.]+", (18555|18444)', f'"127.0.0.1", {node.number}', source)
    return source.replace("9050", str(socks))


def test_each_block_is_known() -> None:
    """The tables above name no block that is not there."""
    if guide_pages():
        assert {*PRINTED, *ANNOUNCED, *CLOSED} <= set(programs())
        assert len(programs()) > 25


@pytest.mark.parametrize("name", programs())
@over_sockets()
async def test_program(name: str, tmp_path: Path) -> None:
    """It ends well, and prints what it should."""
    served = dag(REGTEST if name.startswith("start") else SIMNET)
    if name not in ANNOUNCED:
        served.take(BLOCKS[-1])
    file = tmp_path / "program.py"
    async with await served.node.listen(real_reactor()) as node:
        socks = await TCP4ServerEndpoint(real_reactor(), 0, interface="127.0.0.1").listen(
            Socks(real_reactor(), node.number)
        )
        file.write_text(here(source_of(name), node, socks.getHost().port), encoding="utf-8")
        try:
            async with Program("-m", "txsoter.test.guide_blocks", str(file)) as program:
                if name in ANNOUNCED:
                    await program.says(ANNOUNCED[name])
                    # to connections whose verack is still on its way, too
                    served.node.announce(served.take(BLOCKS[-1]), BLOCKS[-1])
                if name in CLOSED:
                    await program.says(CLOSED[name])
                    for peer in served.node.peers:
                        peer.disconnect()
                assert await program.ended() == 0, program.out + program.err
                assert program.err == ""
                for text in PRINTED.get(name, ()):
                    assert text in program.out
        finally:
            await maybeDeferred(socks.stopListening)


def commands() -> list[str]:
    """Return the commands that the pages tell to run."""
    pages = [code_blocks(page) for page in guide_pages()]
    return [line for blocks in pages for language, text in blocks if language == "sh" for line in text.splitlines()]


@pytest.mark.parametrize("command", commands())
def test_command_is_accepted(command: str) -> None:
    """By the parser of the program itself; an extra is one that the package has."""
    program, *arguments = shlex.split(command)
    if program == "txsoter":
        assert make_parser(arguments).parse_args(arguments)
    elif program == "twistd":
        assert arguments[:2] == ["-n", "soter"]
        Options().parseOptions(arguments[2:])
    else:
        extras = re.findall(r"txsoter\[(\w+)\]", command)
        assert set(extras) <= set(metadata.metadata("txsoter").get_all("Provides-Extra") or ())
        assert program in ("python3", ".", "pip")


def test_the_network_to_try_on_is_where_the_page_says() -> None:
    """The seed on the page makes the address on the page."""
    if guide_pages():
        place = str(make_plan(LoopbackOptions(nodes=20, seed=1)).places[0])
        assert place in (DOCS / "start.md").read_text(encoding="utf-8")
        assert str(make_plan(LoopbackOptions(nodes=300, seed=1)).places[0]) in (
            DOCS / "guides" / "crawler.md"
        ).read_text(encoding="utf-8")
