"""examples/watch_asyncio.py, over real sockets, against a node of Twisted's peers."""

from __future__ import annotations

import signal

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from txsoter import SIMNET, CloseCause
from txsoter.test.node import FakeNode, recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.programs import EXAMPLES, Program
from txsoter.wire import GetBlocks, Inv, Tx, TxIn

NOTEBOOK = """
import ast, asyncio, sys
sys.path.insert(0, {examples!r})

async def kernel():
    # as IPython runs a cell
    namespace = {{}}
    for cell in (
        "from watch_asyncio import SIMNET, watch",
        "await watch('127.0.0.1', {port}, SIMNET)",
    ):
        running = eval(compile(cell, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), namespace)
        if running is not None:
            await running

asyncio.run(kernel())
"""


def watching(port: int, *options: str) -> Program:
    """The example, on simnet."""
    return Program(str(EXAMPLES / "watch_asyncio.py"), f"127.0.0.1:{port}", "--network", "simnet", *options)


@over_sockets()
async def test_watching() -> None:
    """It prints announced blocks and transactions, fetches them, and tells why the node closed."""
    node = FakeNode(recorded()[:-1])
    height, block = recorded()[-1]
    tx = Tx(inputs=[TxIn(SIMNET.genesis_hash, 0, witness=(b"proof",))])
    async with await node.listen(real_reactor()) as port, watching(port.number, "--fetch") as program:
        await program.says("watching")
        node.announce(height, block)
        node.announce_transaction(tx)
        await program.says(f"announced: block {block.hash}, height {height}\n")
        await program.says(f"block {block.hash}: parents {block.parents[0].hash}")
        await program.says(f"tx {tx.txid}: 1 inputs, 0 outputs\n")
        (peer,) = node.peers
        answer = await peer.request(GetBlocks(height=0), Inv)
        assert list(answer.vectors) == []
        await peer.disconnect()
        assert await program.ended() == 0
        assert program.out.endswith("closed by the remote: the remote closed the connection\n")
        assert program.err == ""


@over_sockets()
async def test_interrupt() -> None:
    """Ctrl-C ends it without a word, and the node is told."""
    node = FakeNode(recorded())
    async with await node.listen(real_reactor()) as port, watching(port.number) as program:
        await program.says("watching")
        (peer,) = node.peers
        closed = peer.when_closed()
        program.signal(signal.SIGINT)
        assert (await closed).cause is CloseCause.REMOTE_CLOSED
        assert await program.ended() == 0
        assert program.err == ""


@over_sockets()
async def test_in_a_notebook() -> None:
    """As its comment says: two cells, the second with ``await``."""
    node = FakeNode(recorded())
    async with await node.listen(real_reactor()) as port:
        script = NOTEBOOK.format(examples=str(EXAMPLES), port=port.number)
        async with Program("-c", script, environment={"PYTHONDONTWRITEBYTECODE": "1"}) as program:
            await program.says("watching")
            (peer,) = node.peers
            await peer.disconnect()
            assert await program.ended() == 0
            assert "closed by the remote" in program.out
            assert program.err == ""


@over_sockets()
async def test_refused() -> None:
    """Nobody listens there, or it is no host and port: one line."""
    port = await TCP4ServerEndpoint(real_reactor(), 0, interface="127.0.0.1").listen(Factory.forProtocol(Protocol))
    number = port.getHost().port
    await port.stopListening()
    for node in (f"127.0.0.1:{number}", "carrier-pigeon"):
        async with Program(str(EXAMPLES / "watch_asyncio.py"), node) as program:
            assert await program.ended() == 1
            assert program.err.count("\n") == 1
            assert program.err.startswith(f"{node}: ")
