"""``txsoter watch``, over real sockets."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

from txsoter import SIMNET, CloseCause, SoterPeerProtocol
from txsoter.cli.watch import EPILOG, watch
from txsoter.core.state import State
from txsoter.test.cli.support import assert_one_line, command, run_here
from txsoter.test.node import FakeNode, recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.testing.soterd import eventually
from txsoter.wire import Block, GetBlocks, GetData, Inv, InventoryType, InventoryVector, Ping, Pong, Tx, TxIn

HEIGHT, BLOCK = recorded()[-1]
TX = Tx(inputs=[TxIn(SIMNET.genesis_hash, 0, witness=(b"proof",))])


def announcing(*vectors: InventoryVector) -> FakeNode:
    """A node that has all but the last block, and announces to each that is ready."""

    def announce(peer: SoterPeerProtocol) -> None:
        if vectors:
            peer.send(Inv(vectors))

    return FakeNode(recorded()[:-1], hooks={"on_ready": announce})


async def ready(node: FakeNode) -> None:
    """Wait until the handshake with the one that dials ``node`` is over."""
    await eventually(lambda: any(peer.state is State.READY for peer in node.peers), "it is ready")


@over_sockets()
async def test_lines() -> None:
    """A line for each announcement as it comes, until the node closes: then one line says why, and the status is 1."""
    node = announcing()
    arguments = ("watch", "--network", "simnet", "--fetch")
    async with await node.listen(real_reactor()) as port, command(*arguments, port.endpoint) as program:
        await ready(node)
        node.announce(HEIGHT, BLOCK)
        node.announce_transaction(TX)
        await program.says(f"announced  block   {HEIGHT:>8}  {BLOCK.hash}\n")
        await program.says(f"announced  tx             -  {TX.txid}\n")
        await program.says(f"received   tx             -  {TX.txid}  1 inputs, 0 outputs\n")
        await program.says(f"received   block          -  {BLOCK.hash}  ")
        await program.says(f"parents {' '.join(str(each.hash) for each in BLOCK.parents)}\n")
        (peer,) = node.peers
        answer = await peer.request(GetBlocks(height=0), Inv)
        assert list(answer.vectors) == []  # it has nothing, and says so
        await peer.disconnect()
        assert await program.ended() == 1
        assert_one_line(program, f"txsoter watch: {port.endpoint}: closed by the remote")


@over_sockets()
async def test_json_and_count() -> None:
    """One object a line, under the keys that --help names; --count ends it. Unknown types are left out."""
    vectors = [
        InventoryVector(InventoryType.FILTERED_BLOCK, BLOCK.hash, HEIGHT),
        InventoryVector(77, BLOCK.hash, HEIGHT),
        InventoryVector(InventoryType.BLOCK, BLOCK.hash, HEIGHT),
        InventoryVector(InventoryType.WITNESS_TX, TX.txid),
        InventoryVector(InventoryType.TX, BLOCK.hash),
    ]
    async with await announcing(*vectors).listen(real_reactor()) as port:
        status, out, err = await run_here(watch, "watch", port.endpoint, "--json", "--count", "2")
    first, second = map(json.loads, out.splitlines())
    assert (status, err) == (0, "")
    assert first.pop("time").endswith("Z")
    assert first == {"event": "announced", "kind": "block", "hash": str(BLOCK.hash), "height": HEIGHT}
    assert (second["kind"], second["hash"], second["height"]) == ("tx", str(TX.txid), None)


@over_sockets()
async def test_fetched() -> None:
    """Blocks and transactions are asked for as they were announced, a thousand at a time, nothing of unknown types."""
    many = [InventoryVector(InventoryType.TX, number.to_bytes(32, "little")) for number in range(2500)]
    node = announcing(*many, InventoryVector(InventoryType.BLOCK, BLOCK.hash, HEIGHT), InventoryVector(77, TX.txid))
    node.blocks[BLOCK.hash] = (HEIGHT, BLOCK)
    async with await node.listen(real_reactor()) as port:
        count = str(len(many) + 2)
        _, out, _ = await run_here(watch, "watch", port.endpoint, "--json", "--fetch", "--count", count)
    asked = [len(each.vectors) for each in node.questions if isinstance(each, GetData)]
    assert asked == [1000, 1000, 501]
    fetched = json.loads(out.splitlines()[-1])
    assert (fetched["event"], fetched["transactions"]) == ("received", len(BLOCK.transactions))
    assert fetched["parents"] == [str(each.hash) for each in BLOCK.parents]
    assert set(fetched) <= set(re.findall(r"\w+", EPILOG))


@over_sockets()
async def test_a_false_block_ends_it() -> None:
    """Its header does not commit to what came: one line names it, and its parents are not printed."""
    false = Block(header=BLOCK.header, parents=BLOCK.parents[:0], transactions=BLOCK.transactions)
    node = announcing(InventoryVector(InventoryType.BLOCK, BLOCK.hash, HEIGHT))
    node.blocks[BLOCK.hash] = (HEIGHT, false)
    arguments = ("watch", "--network", "simnet", "--fetch")
    async with await node.listen(real_reactor()) as port, command(*arguments, port.endpoint) as program:
        await program.ended()
        assert_one_line(program, port.endpoint, str(BLOCK.hash), "parents")
    assert "received" not in program.out


@over_sockets()
async def test_headers_and_interrupt() -> None:
    """With --headers blocks come as headers; Ctrl-C ends it quietly with status 130, and the node is told."""
    node = announcing()
    arguments = ("watch", "--network", "simnet", "--headers")
    async with await node.listen(real_reactor()) as port, command(*arguments, port.endpoint) as program:
        await ready(node)
        (peer,) = node.peers
        await peer.request(Ping(1), Pong)  # its sendheaders has come by then
        node.announce(HEIGHT, BLOCK)
        await program.says(f"announced  header         -  {BLOCK.hash}\n")
        closed = peer.when_closed()
        program.signal(signal.SIGINT)
        assert (await closed).cause is CloseCause.REMOTE_CLOSED
        assert await program.ended() == 130
        assert program.err == ""


@over_sockets()
async def test_a_reader_that_goes_away() -> None:
    """A closed pipe ends it quietly."""
    node = announcing()
    arguments = ("watch", "--network", "simnet")
    async with await node.listen(real_reactor()) as port, command(*arguments, port.endpoint) as program:
        await ready(node)
        transport: Any = program.transport
        transport.closeStdout()
        await eventually(lambda: 1 not in transport.pipes, "the pipe is closed")
        node.announce_transaction(TX)
        assert await program.ended() == 0
        assert program.err == ""
