"""``txsoter sync``, over real sockets."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

from twisted.internet.defer import Deferred

from txsoter import SoterPeerProtocol
from txsoter.cli.sync import EPILOG, sync
from txsoter.test.cli.support import assert_one_line, command, command_error, run_here
from txsoter.test.node import FakeNode, recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.wire import Block, GetBlocks, GetData, Services

TIP = str(recorded()[-1][1].hash)


@over_sockets()
async def test_text() -> None:
    """The whole DAG of a node that lists few blocks at a time; nothing on standard error without a terminal."""
    node = FakeNode(recorded())
    arguments = ("sync", "--network", "simnet")
    async with await node.listen(real_reactor()) as port, command(*arguments, port.endpoint) as program:
        assert await program.ended() == 0, program.err
    assert program.err == ""
    assert program.out.splitlines() == ["blocks  54", "new     53", "height  50", f"tip     {TIP}"]


@over_sockets()
async def test_state_is_gone_on_with(tmp_path: Path) -> None:
    """The next run asks for what is new alone; another network's headers are refused."""
    node = FakeNode(recorded()[:20])
    async with await node.listen(real_reactor()) as port:
        arguments = ("sync", port.endpoint, "--state", str(tmp_path / "state"), "--json")
        status, out, err = await run_here(sync, *arguments)
        assert (status, err) == (0, "")
        found = json.loads(out)
        assert (found["blocks"], found["new"], found["height"]) == (21, 20, 20)
        assert set(found) <= set(re.findall(r"\w+", EPILOG))
        for height, block in recorded()[20:]:
            node.blocks[block.hash] = (height, block)
        node.questions.clear()
        _, out, _ = await run_here(sync, *arguments)
        assert json.loads(out) == {"blocks": 54, "new": 33, "height": 50, "tips": [TIP]}
        asked = [each.hash for question in node.questions if isinstance(question, GetData) for each in question.vectors]
        assert sorted(asked) == sorted(block.hash for _, block in recorded()[20:])
    async with command("sync", "--network", "regtest", *arguments[1:]) as program:
        await program.ended()
        assert_one_line(program, "txsoter sync: ", "simnet")


@over_sockets()
async def test_progress_on_a_terminal() -> None:
    """A bar on standard error, which output does not run into."""
    asked: Deferred[None] = Deferred()
    held: Deferred[None] = Deferred()

    async def wait(peer: SoterPeerProtocol, question: GetData) -> None:
        if not asked.called:
            asked.callback(None)
            await held
        await node.serve(peer, question)

    node = FakeNode(recorded(), hooks={"on_getdata": wait})
    arguments = ("sync", "--network", "simnet")
    async with await node.listen(real_reactor()) as port, command(*arguments, port.endpoint, tty=True) as program:
        await asked
        await program.says("1 of 51 blocks, 0 a second")
        held.callback(None)
        assert await program.ended() == 0
    assert f"connecting to {port.endpoint}" in program.out
    assert re.search(r"\r\[ *\] +1 % 1 of 51 blocks", program.out)
    assert program.out.splitlines()[-1] == f"tip     {TIP}"


@over_sockets()
async def test_a_false_block_ends_it(tmp_path: Path) -> None:
    """One line names the node and the rule; what came before is kept."""
    height, block = recorded()[5]
    false = Block(block.header, 0, block.parents, 0, block.nonces, [*block.transactions, *block.transactions])
    node = FakeNode([*recorded()[:5], (height, false)])
    arguments = ("sync", "--network", "simnet", "--state", str(tmp_path))
    async with await node.listen(real_reactor()) as port:
        async with command(*arguments, port.endpoint) as program:
            await program.ended()
            assert_one_line(program, f"txsoter sync: {port.endpoint}: ", "merkle root")
        node.blocks[block.hash] = (height, block)
        _, out, _ = await run_here(sync, "sync", port.endpoint, "--state", str(tmp_path), "--json")
    assert json.loads(out)["new"] == 1


@over_sockets()
async def test_a_node_that_does_not_answer() -> None:
    node = FakeNode(recorded(), hooks={"on_getblocks": lambda peer, question: None})
    async with await node.listen(real_reactor()) as port:
        error = await command_error(sync, "sync", port.endpoint, "--timeout", "0.3")
    assert error.startswith(f"{port.endpoint}: ")
    assert "getblocks" in error


@over_sockets()
async def test_a_node_that_goes_away() -> None:
    def leave(peer: SoterPeerProtocol, question: GetBlocks) -> None:
        peer.disconnect()

    node = FakeNode(recorded(), hooks={"on_getblocks": leave})
    async with await node.listen(real_reactor()) as port:
        error = await command_error(sync, "sync", port.endpoint)
    assert error == f"{port.endpoint}: closed by the remote: the remote closed the connection"


@over_sockets()
async def test_a_node_without_blocks() -> None:
    """Nobody would be asked, and nothing would come."""
    node = FakeNode(recorded(), services=Services(0))
    async with await node.listen(real_reactor()) as port:
        error = await command_error(sync, "sync", port.endpoint)
    assert error == f"{port.endpoint}: it does not offer blocks"


@over_sockets()
async def test_no_node() -> None:
    async with await FakeNode().listen(real_reactor()) as port:
        pass
    assert port.endpoint in await command_error(sync, "sync", port.endpoint)


@over_sockets()
async def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C while it syncs: quiet, status 130; what was checked is kept."""
    asked: Deferred[None] = Deferred()

    async def stop(peer: SoterPeerProtocol, question: GetData) -> None:
        question.vectors = list(question.vectors)[:30]
        await node.serve(peer, question)
        asked.callback(None)

    node = FakeNode(recorded(), hooks={"on_getdata": stop})
    arguments = ("sync", "--network", "simnet", "--state", str(tmp_path))
    async with await node.listen(real_reactor()) as port:
        async with command(*arguments, port.endpoint, tty=True) as program:
            await asked
            await program.says("31 of 51 blocks")
            program.signal(signal.SIGINT)
            assert await program.ended() == 130
        assert "\n" not in program.out
    whole = FakeNode(recorded())
    async with await whole.listen(real_reactor()) as port:
        _, out, _ = await run_here(sync, "sync", port.endpoint, "--state", str(tmp_path), "--json")
    assert json.loads(out)["new"] == 23
