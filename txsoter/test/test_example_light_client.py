"""``examples/light_client.py`` runs, over real sockets, and finds payments in a DAG that nodes serve."""

from __future__ import annotations

import signal

from txsoter.test.chain.served_dag import ServedDag
from txsoter.test.node import recorded
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.test_examples import assert_one_line, example

BLOCKS = [block for _, block in recorded()]
SCRIPT = BLOCKS[0].transactions[0].outputs[0].script
PAYING = [each for each in BLOCKS if SCRIPT in [output.script for output in each.transactions[0].outputs]]


@over_sockets()
async def test_payments_of_the_past_and_a_new_one() -> None:
    """Every coinbase that pays the script, proofs of work checked; one that is announced meanwhile; the end."""
    nodes = [ServedDag(BLOCKS[:-1]), ServedDag(BLOCKS[:-1])]
    async with (
        await nodes[0].node.listen(real_reactor()) as one,
        await nodes[1].node.listen(real_reactor()) as two,
        example("light_client", SCRIPT.hex(), one.endpoint, two.endpoint) as program,
    ):
        await program.says("watching from height 0 of ")
        for block in PAYING[:-1]:
            await program.says(f"mined {block.transactions[0].txid} in blue block {block.hash}: pays ")
        for node in nodes:
            node.announce(BLOCKS[-1])
        await program.says(f"in blue block {BLOCKS[-1].hash}")
        assert len(program.out.splitlines()) == 1 + len(PAYING)
        for node in nodes:
            for peer in node.node.peers:
                await peer.disconnect()
        assert await program.ended() == 0
        assert program.out.endswith("closed by the remote: the remote closed the connection\n")
        assert program.err == ""


@over_sockets()
async def test_one_node_and_interrupt() -> None:
    """A node that is alone is believed; Ctrl-C ends it."""
    node = ServedDag(BLOCKS)
    async with (
        await node.node.listen(real_reactor()) as port,
        example("light_client", SCRIPT.hex(), port.endpoint, "--from-height", "20") as program,
    ):
        await program.says(f"in blue block {PAYING[-1].hash}")
        assert str(BLOCKS[0].hash) not in program.out
        program.signal(signal.SIGINT)
        assert await program.ended() == 0
        assert program.err == ""


@over_sockets()
async def test_mistakes_are_one_line() -> None:
    """No endpoint, and nothing to watch."""
    for arguments, words in ((("51", "carrier-pigeon:1"), "carrier-pigeon"), (("", "tcp:127.0.0.1:1"), "not empty")):
        async with example("light_client", *arguments) as program:
            await program.ended()
            assert_one_line(program, words)
