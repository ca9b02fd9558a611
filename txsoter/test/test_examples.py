"""Each example runs, over real sockets, and says in one line what is wrong when it cannot."""

from __future__ import annotations

import ast
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol

from txsoter import SIMNET, CloseCause, SoterPeerProtocol
from txsoter.test.node import FakeNode, grown, recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.programs import EXAMPLES, Program
from txsoter.wire import (
    Block,
    GetBlocks,
    GetData,
    Inv,
    Ping,
    Pong,
    Tx,
    TxIn,
)

NAMES = sorted(each.stem for each in EXAMPLES.glob("*.py"))


def example(name: str, *arguments: str, **options: Any) -> Program:
    """An example that runs on simnet."""
    network = () if name == "peer_connection" else ("--network", "simnet")
    return Program(str(EXAMPLES / f"{name}.py"), *arguments, *network, **options)


def assert_one_line(program: Program, *words: str) -> None:
    """It has failed with one line on stderr, which has these words."""
    assert program.code == 1
    assert program.err.count("\n") == 1, program.err
    for word in words:
        assert word in program.err


def printed(program: Program) -> list[tuple[int, str, list[str]]]:
    """Height, hash and parents of each block that fetch_dag.py has printed."""
    rows = [line.split() for line in program.out.splitlines()]
    return [(int(height), block, parents) for height, block, *parents in rows]


def described(node: FakeNode) -> list[tuple[int, str, list[str]]]:
    """What fetch_dag.py should print of a node."""
    blocks = sorted(node.blocks.values(), key=lambda each: each[0])
    return [(height, str(block.hash), [str(each.hash) for each in block.parents]) for height, block in blocks]


def test_which() -> None:
    """All are there."""
    assert NAMES == ["bridge", "fetch_dag", "light_client", "peer_connection", "proxy", "watch", "watch_asyncio"]


@pytest.mark.parametrize("name", NAMES)
def test_short(name: str) -> None:
    """Each has under 60 lines, none of them long, and says on top how to run it."""
    source = (EXAMPLES / f"{name}.py").read_text()
    assert len(source.splitlines()) < 60
    assert f"python examples/{name}.py" in (ast.get_docstring(ast.parse(source)) or "")


@over_sockets()
async def test_help() -> None:
    """``--help`` of each says what it does."""
    programs = [example(name, "--help") for name in NAMES]
    for program in programs:
        assert await program.ended() == 0
        assert program.out.startswith("usage: ")
        assert program.err == ""


@over_sockets()
async def test_peer_connection() -> None:
    """It prints the version that it received, then verack, then the end."""
    async with example("peer_connection") as program:
        assert await program.ended() == 0, program.err
        version, verack, end = program.out.splitlines()
        assert "127.0.0.1:18555 (outbound): received version 70013, user agent /soterwire:0.6.0/txsoter:" in version
        assert "verack" in verack
        assert "closed by us" in end


@over_sockets()
async def test_peer_connection_port_taken() -> None:
    """Its port is taken: one line."""
    port: Any = None
    with suppress(CannotListenError):  # where somebody else has it, that does as well
        endpoint = TCP4ServerEndpoint(real_reactor(), 18555, interface="127.0.0.1")
        port = await endpoint.listen(Factory.forProtocol(Protocol))
    try:
        async with example("peer_connection") as program:
            await program.ended()
            assert_one_line(program, "18555", "in use")
    finally:
        if port is not None:
            await port.stopListening()


@pytest.mark.parametrize("name", ["watch", "fetch_dag"])
@over_sockets()
async def test_refused(name: str) -> None:
    """Nobody listens there, or what is given is no endpoint: one line."""
    port: Any = await TCP4ServerEndpoint(real_reactor(), 0, interface="127.0.0.1").listen(Factory.forProtocol(Protocol))
    nobody = f"tcp:127.0.0.1:{port.getHost().port}"
    await port.stopListening()
    async with example(name, nobody) as program:
        await program.ended()
        assert_one_line(program, nobody, "refused")
    async with example(name, "carrier-pigeon:1") as program:
        await program.ended()
        assert_one_line(program, "carrier-pigeon")


@over_sockets()
async def test_watch() -> None:
    """It prints announced blocks and transactions, fetches them, and tells why the node closed."""
    node = FakeNode(recorded()[:-1])
    height, block = recorded()[-1]
    tx = Tx(inputs=[TxIn(SIMNET.genesis_hash, 0, witness=(b"proof",))])
    async with await node.listen(real_reactor()) as port, example("watch", port.endpoint, "--fetch") as program:
        await program.says("watching")
        node.announce(height, block)
        node.announce_transaction(tx)
        await program.says(f"announced: block {block.hash}, height {height}\n")
        await program.says(f"block {block.hash}: ")
        await program.says(f"tx {tx.txid}: 1 inputs, 0 outputs\n")
        (peer,) = node.peers
        answer = await peer.request(GetBlocks(height=0), Inv)
        assert list(answer.vectors) == []  # it has nothing, and says so
        await peer.disconnect()
        assert await program.ended() == 0
        assert program.out.endswith("closed by the remote: the remote closed the connection\n")
        assert program.err == ""


@over_sockets()
async def test_watch_headers_and_interrupt() -> None:
    """With --headers blocks come as headers; Ctrl-C ends it, and the node is told."""
    node = FakeNode(recorded()[:-1])
    height, block = recorded()[-1]
    async with await node.listen(real_reactor()) as port, example("watch", port.endpoint, "--headers") as program:
        await program.says("watching")
        (peer,) = node.peers
        await peer.request(Ping(1), Pong)  # its sendheaders has come by then
        node.announce(height, block)
        await program.says(f"announced: header {block.hash}\n")
        closed = peer.when_closed()
        program.signal(signal.SIGINT)
        assert (await closed).cause is CloseCause.REMOTE_CLOSED
        assert await program.ended() == 0
        assert program.out.endswith("closed by us: disconnect() was called: interrupted\n")


@pytest.mark.parametrize("limit", [500, 7])
@over_sockets()
async def test_fetch_dag(limit: int, tmp_path: Path) -> None:
    """It prints all of the recorded DAG, also from a node that lists few at a time; no bar without a terminal."""
    node = FakeNode(recorded(), limit=limit)
    drawing = tmp_path / "dag.dot"
    arguments = ("--dot", str(drawing))
    async with await node.listen(real_reactor()) as port, example("fetch_dag", port.endpoint, *arguments) as program:
        assert await program.ended() == 0, program.err
    assert printed(program) == described(node)
    assert len(printed(program)) == 54
    assert program.err == ""
    graph = drawing.read_text()
    assert graph.startswith("digraph soter {")
    assert graph.endswith("}\n")
    for _, block, parents in described(node):
        assert graph.count(f'"{block}" [label=') == 1
        for parent in parents:
            assert f'"{block}" -> "{parent}";\n' in graph


@over_sockets()
async def test_fetch_dag_many() -> None:
    """500 at a time end in the middle of a height, and nothing is fetched twice or left out."""
    node = FakeNode(grown(heights=420, width=3))
    async with await node.listen(real_reactor()) as port, example("fetch_dag", port.endpoint) as program:
        assert await program.ended() == 0, program.err
    assert len(printed(program)) == 1261
    assert printed(program) == described(node)
    fetched = [vector.hash for each in node.questions if isinstance(each, GetData) for vector in each.vectors]
    assert len(fetched) == len(set(fetched)) == 1261


@over_sockets()
async def test_fetch_dag_in_between() -> None:
    """A block that is announced while it waits for a list is not taken for the answer."""
    late = list(grown(heights=421, width=3))[-3:]

    def announce(peer: SoterPeerProtocol, question: GetBlocks) -> None:
        if late:
            node.announce(*late.pop())
        node.list_blocks(peer, question)

    node = FakeNode(grown(heights=420, width=3), hooks={"on_getblocks": announce})
    async with await node.listen(real_reactor()) as port, example("fetch_dag", port.endpoint) as program:
        assert await program.ended() == 0, program.err
    assert printed(program) == described(node)


@over_sockets()
async def test_fetch_dag_on_a_terminal() -> None:
    """On a terminal there is a progress bar, and the blocks all the same."""
    node = FakeNode(recorded())
    async with await node.listen(real_reactor()) as port, example("fetch_dag", port.endpoint, tty=True) as program:
        assert await program.ended() == 0
    assert "50/50" in program.out
    assert "heights" in program.out
    for _, block, _ in described(node):
        assert block in program.out


@over_sockets()
async def test_fetch_dag_tells_of_false_blocks() -> None:
    """A block that its header does not commit to ends it, with one line that names the block."""
    height, block = recorded()[5]
    false = Block(header=block.header, parents=block.parents, transactions=[*block.transactions, *block.transactions])
    node = FakeNode([*recorded()[:5], (height, false)])
    async with await node.listen(real_reactor()) as port, example("fetch_dag", port.endpoint) as program:
        await program.ended()
        assert_one_line(program, str(block.hash), "merkle root")


@over_sockets()
async def test_fetch_dag_tells_of_missing_blocks() -> None:
    """A block that is listed but not there ends it, with one line."""
    _, gone = recorded()[5]

    async def lose(peer: SoterPeerProtocol, question: GetData) -> None:
        node.blocks.pop(gone.hash, None)
        await node.serve(peer, question)

    node = FakeNode(recorded(), hooks={"on_getdata": lose})
    async with await node.listen(real_reactor()) as port, example("fetch_dag", port.endpoint) as program:
        await program.ended()
        assert_one_line(program, f"the remote does not have {gone.hash}")


@over_sockets()
async def test_fetch_dag_without_tqdm(tmp_path: Path) -> None:
    """tqdm is not installed: one line says what to install."""
    (tmp_path / "tqdm.py").write_text("raise ModuleNotFoundError(\"No module named 'tqdm'\")")
    without = {"PYTHONPATH": str(tmp_path)}
    async with example("fetch_dag", "tcp:127.0.0.1:1", environment=without) as program:
        await program.ended()
        assert_one_line(program, "pip install tqdm")
