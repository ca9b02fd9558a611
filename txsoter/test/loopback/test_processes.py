"""A network in several processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from unittest import mock

import pytest
from twisted.internet.error import ConnectError

from txsoter.test.loopback.visitor import options, running, visit
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.programs import Program
from txsoter.testing.loopback import LoopbackError, LoopbackNetwork, make_plan
from txsoter.testing.loopback.processes import LoopbackProcesses


def children() -> list[int]:
    """The processes that this one has started and that have not ended."""
    pid = os.getpid()
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@over_sockets(60)
async def test_processes_are_one_network_and_end_with_it() -> None:
    before = children()
    plan = make_plan(options(9, degree=2, liars={"claims-all": 1}, dead=2))
    network = LoopbackProcesses(real_reactor(), plan, 2)
    await network.start()
    assert len(children()) == len(before) + 2
    truth = network.truth()
    assert truth == LoopbackNetwork(real_reactor(), plan).truth()
    told = set()
    for address in truth["nodes"]:
        told |= {(address, other) for other in (await visit(address)).outbound}
    assert told == {(dialler, dialled) for dialler, dialled in truth["edges"]}
    await network.stop()
    await network.stop()
    assert children() == before
    with pytest.raises(ConnectError):
        await visit(network.entry)


@over_sockets(60)
async def test_the_end_of_a_process_is_told() -> None:
    before = children()
    network = LoopbackProcesses(real_reactor(), make_plan(options(4)), 2)
    await network.start()
    lost = network.when_lost()
    (first, _) = [each for each in children() if each not in before]
    os.kill(first, signal.SIGKILL)
    # also to those who ask afterwards
    for each in (lost, None):
        with pytest.raises(LoopbackError, match="a process of the network has ended"):
            await (network.when_lost() if each is None else each)
    await network.stop()
    assert children() == before


@over_sockets(60)
async def test_a_process_that_ends_while_the_network_starts_is_an_error() -> None:
    before = children()
    with (
        mock.patch("txsoter.testing.loopback.processes.PROGRAM", "txsoter.test.loopback.quitter"),
        pytest.raises(LoopbackError, match="a process of the network has ended"),
    ):
        await LoopbackProcesses(real_reactor(), make_plan(options(4)), 2).start()
    assert children() == before


@over_sockets(60)
async def test_a_process_that_does_not_end_is_killed() -> None:
    before = children()
    network = LoopbackProcesses(real_reactor(), make_plan(options(4)), 2)
    await network.start()
    os.kill(children()[-1], signal.SIGSTOP)
    with mock.patch("txsoter.testing.loopback.processes.STOP_TIMEOUT", 0.2):
        await network.stop()
    assert children() == before


@over_sockets(60)
async def test_a_share_fails_on_what_is_no_command() -> None:
    async with Program("-m", "txsoter.testing.loopback.share") as program:
        program.transport.write(b"listen, please\n")
        assert await program.ended() == 1
    assert "JSONDecodeError" in program.err


@over_sockets(60)
async def test_an_error_of_one_process_ends_all() -> None:
    before = children()
    async with running(3) as network:
        with pytest.raises(LoopbackError, match="cannot listen at 127"):
            await LoopbackProcesses(real_reactor(), network.plan, 2).start()
    assert children() == before
