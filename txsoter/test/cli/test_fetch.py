"""``txsoter fetch``, over real sockets."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from txsoter import SoterPeerProtocol
from txsoter.cli.fetch import EPILOG, fetch
from txsoter.test.cli.support import assert_one_line, command, command_error, run_here
from txsoter.test.node import FakeNode, grown, recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.test_examples import described
from txsoter.wire import Block, GetData


def rows(out: str) -> list[tuple[int, str, list[str]]]:
    """Height, hash and parents of each block that was printed."""
    return [(int(height), block, parents) for height, block, *parents in map(str.split, out.splitlines())]


@pytest.mark.parametrize("limit", [500, 7])
@over_sockets()
async def test_text(limit: int) -> None:
    """All blocks, also of a node that lists few at a time; nothing on standard error without a terminal."""
    node = FakeNode(recorded(), limit=limit)
    arguments = ("fetch", "--network", "simnet")
    async with await node.listen(real_reactor()) as port, command(*arguments, port.endpoint) as program:
        assert await program.ended() == 0, program.err
    assert program.err == ""
    assert rows(program.out) == described(node)
    assert len(described(node)) == 54


@over_sockets()
async def test_json() -> None:
    """One object a line, under the keys that --help names."""
    node = FakeNode(recorded())
    async with await node.listen(real_reactor()) as port:
        status, out, err = await run_here(fetch, "fetch", port.endpoint, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert [(each["height"], each["hash"], each["parents"]) for each in found] == described(node)
    blocks = {str(block.hash): block for _, block in node.blocks.values()}
    for each in found:
        block = blocks[each["hash"]]
        assert each["transactions"] == [str(tx.txid) for tx in block.transactions]
        assert each["bits"] == f"{block.header.bits:08x}"
    assert found[0]["time"] == "2018-12-03T18:51:34Z"
    assert set(found[0]) <= set(re.findall(r"\w+", EPILOG))


@over_sockets()
async def test_dot() -> None:
    """A graph: a node for each block, an edge to each of its parents."""
    node = FakeNode(recorded())
    async with await node.listen(real_reactor()) as port:
        _, out, _ = await run_here(fetch, "fetch", port.endpoint, "--dot")
    assert out.startswith("digraph soter {\n")
    assert out.endswith("}\n")
    for height, block, parents in described(node):
        assert out.count(f'"{block}" [label={height}];\n') == 1
        for parent in parents:
            assert f'"{block}" -> "{parent}";\n' in out


@over_sockets()
async def test_from_height() -> None:
    """Lower blocks are not asked for; above the tip there is nothing."""
    node = FakeNode(grown(heights=10, width=2))
    async with await node.listen(real_reactor()) as port:
        _, out, _ = await run_here(fetch, "fetch", port.endpoint, "--from-height", "9")
        _, above, _ = await run_here(fetch, "fetch", port.endpoint, "--from-height", "11")
    assert rows(out) == [row for row in described(node) if row[0] >= 9]
    assert above == ""
    assert sum(len(each.vectors) for each in node.questions if isinstance(each, GetData)) == 4


@over_sockets()
async def test_progress_on_a_terminal() -> None:
    """On standard error there is progress, which output does not run into."""
    node = FakeNode(recorded())
    arguments = ("fetch", "--network", "simnet")
    async with await node.listen(real_reactor()) as port, command(*arguments, port.endpoint, tty=True) as program:
        assert await program.ended() == 0
    assert "of 50, " in program.out
    for height, block, _ in described(node):
        (line,) = (each for each in program.out.splitlines() if each.lstrip().startswith(f"{height}  {block}"))
        assert line == line.rstrip()


@over_sockets()
async def test_a_false_block_ends_it() -> None:
    """Its header does not commit to what came: one line names it, and it is not printed."""
    height, block = recorded()[5]
    false = Block(header=block.header, parents=block.parents, transactions=[*block.transactions, *block.transactions])
    node = FakeNode([*recorded()[:5], (height, false)])
    arguments = ("fetch", "--network", "simnet")
    async with await node.listen(real_reactor()) as port, command(*arguments, port.endpoint) as program:
        await program.ended()
        assert_one_line(program, f"txsoter fetch: {port.endpoint}: ", str(block.hash), "merkle root")
    assert str(block.hash) not in [row[1] for row in rows(program.out)]


@over_sockets()
async def test_a_missing_block_ends_it() -> None:
    _, gone = recorded()[5]

    async def lose(peer: SoterPeerProtocol, question: GetData) -> None:
        node.blocks.pop(gone.hash, None)
        await node.serve(peer, question)

    node = FakeNode(recorded(), hooks={"on_getdata": lose})
    async with await node.listen(real_reactor()) as port:
        error = await command_error(fetch, "fetch", port.endpoint)
    assert error == f"{port.endpoint}: the remote does not have {gone.hash}"


@over_sockets()
async def test_a_node_that_does_not_answer() -> None:
    node = FakeNode(recorded(), hooks={"on_getblocks": lambda peer, question: None})
    async with await node.listen(real_reactor()) as port:
        error = await command_error(fetch, "fetch", port.endpoint, "--timeout", "0.3")
    assert "0.3 s" in error


@over_sockets()
async def test_interrupted() -> None:
    """Ctrl-C while it waits: quiet, status 130."""
    asked: Deferred[None] = Deferred()
    node = FakeNode(recorded(), hooks={"on_getblocks": lambda peer, question: asked.callback(None)})
    arguments = ("fetch", "--network", "simnet")
    async with await node.listen(real_reactor()) as port, command(*arguments, port.endpoint) as program:
        await asked
        program.signal(signal.SIGINT)
        assert await program.ended() == 130
        assert (program.out, program.err) == ("", "")


@over_sockets()
async def test_a_reader_that_goes_away() -> None:
    """A closed pipe ends it quietly."""
    node = FakeNode(grown(heights=420, width=3))
    arguments = ("fetch", "--network", "simnet")
    async with await node.listen(real_reactor()) as port, command(*arguments, port.endpoint) as program:
        transport: Any = program.transport
        await program.says("\n")
        transport.closeStdout()
        assert await program.ended() == 0
        assert program.err == ""
