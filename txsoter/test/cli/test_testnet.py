"""``txsoter testnet``, over real sockets."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import signal
from pathlib import Path
from unittest import mock

import pytest
from twisted.internet.defer import CancelledError, Deferred

from txsoter.cli.main import make_parser
from txsoter.cli.testnet import EPILOG, run_testnet
from txsoter.command_line import UsageError
from txsoter.test.cli.support import assert_one_line, command, run_main
from txsoter.test.loopback.visitor import running, visit
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.testing.loopback.plan import LIARS
from txsoter.testing.loopback.process_limits import TooManyFiles

SEED = str(os.getpid())


def parsed(*arguments: object) -> argparse.Namespace:
    """The options of these arguments."""
    given = ["testnet", "--seed", SEED, *map(str, arguments)]
    return make_parser(given).parse_args(given)


@pytest.mark.parametrize("processes", [1, 2])
@over_sockets(60)
async def test_runs_until_sigterm(processes: int, tmp_path: Path) -> None:
    """The truth is written before it is ready; exit status 0."""
    truth = tmp_path / "truth.json"
    arguments = ("testnet", "--nodes", "12", "--seed", SEED, "--truth", str(truth), "--degree", "2")
    async with command(*arguments, "--processes", str(processes)) as program:
        out = await program.says("\n")
        found = json.loads(truth.read_text())
        assert out == f"ready {found['nodes'][0]}\n"
        visited = await visit(found["nodes"][0])
        edges = [dialled for dialler, dialled in found["edges"] if dialler == found["nodes"][0]]
        assert sorted(visited.outbound) == sorted(edges)
        assert (len(found["nodes"]), len(found["edges"])) == (12, 24)
        program.signal(signal.SIGTERM)
        assert await program.ended() == 0, program.err
    assert (program.out, program.err) == (out, "")
    assert [each.name for each in tmp_path.iterdir()] == ["truth.json"]


@over_sockets()
async def test_in_this_process(tmp_path: Path) -> None:
    """All options; what --help names of the truth is there."""
    edges = tmp_path / "edges.json"
    edges.write_text("[[0, 1], [3, 2]]")
    options = parsed(
        "--nodes",
        4,
        "--edges",
        edges,
        "--hidden",
        2,
        "--dead",
        3,
        "--liars",
        "all=1,slow=0",
        "--port",
        18445,
        "--truth",
        tmp_path / "t",
    )
    ready: list[str] = []
    with contextlib.redirect_stdout(io.StringIO()) as out:
        network = Deferred.fromCoroutine(run_testnet(real_reactor(), options, ready))
        await until_said(out)
        found = json.loads((tmp_path / "t").read_text())
        network.cancel()
        with pytest.raises(CancelledError):
            await network
    assert (out.getvalue(), ready) == (f"ready {found['nodes'][0]}\n", [found["nodes"][0]])
    nodes = found["nodes"]
    assert found["edges"] == [[nodes[0], nodes[1]], [nodes[3], nodes[2]]]
    assert [each["kind"] for each in found["liars"]] == [kind for kind in LIARS if kind != "slow"]
    assert (len(found["hidden"]), len(found["dead"]), len(found["bystanders"])) == (2, 3, 4)
    assert nodes[0].endswith(":18445")
    assert set(found) <= set(re.findall(r"\w+", EPILOG))


async def until_said(out: io.StringIO) -> None:
    """Wait for a line of output."""
    from twisted.internet.task import deferLater

    while "\n" not in out.getvalue():
        await deferLater(real_reactor(), 0.01)


@over_sockets(60)
async def test_an_address_in_use_is_one_line() -> None:
    async with running(3):
        program = command("testnet", "--nodes", "3", "--seed", SEED)
        await program.ended()
    assert_one_line(program, "txsoter testnet: cannot listen at 127.", "another seed or port")


@over_sockets()
async def test_too_many_files() -> None:
    too_few = mock.patch("txsoter.cli.testnet.file_limit", return_value=1024)
    with too_few, pytest.raises(TooManyFiles, match="raise the limit"):
        await run_testnet(real_reactor(), parsed("--nodes", 500, "--processes", 1), [])


@over_sockets()
async def test_edges_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "edges"
    for text in ("", "7", '{"0": 1}', "[[0, 1], [1]]", "[[0, true]]", '[["0", "1"]]', "[" * 100_000):
        file.write_text(text)
        with pytest.raises(UsageError, match="must be a JSON list of pairs of node numbers"):
            await run_testnet(real_reactor(), parsed("--edges", file), [])
    file.write_text("[[0, 7]]")
    with pytest.raises(UsageError, match="two different numbers of nodes, from 0 to 2"):
        await run_testnet(real_reactor(), parsed("--nodes", 3, "--edges", file), [])


def test_wrong_arguments() -> None:
    for arguments, words in (
        (("--nodes", "0"), "--nodes: 0: must be a whole number from 1"),
        (("--liars", "tarpit"), "--liars: tarpit: must be KIND=N, such as tarpit=5"),
        (("--liars", "tarpit=2,thief=1"), "--liars: thief: must be all, or one of claims-all, echo"),
        (("--topology", "mesh"), "--topology: invalid choice: 'mesh'"),
        (("--topology", "ring", "--edges", "f"), "argument --edges: not allowed with argument --topology"),
    ):
        status, out, err = run_main("testnet", *arguments)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert words in err
