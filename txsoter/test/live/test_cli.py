"""The command ``txsoter`` against a soterd."""

from __future__ import annotations

import json
from pathlib import Path

from txsoter.test.cli.support import command
from txsoter.test.live.fed import Fed
from txsoter.test.live.peers import live
from txsoter.test.vectors import dag
from txsoter.testing.soterd import SoterdFactory


@live(60)
async def test_peer_info(soterds: SoterdFactory, fed: Fed) -> None:
    """Its version, its pongs, and its address cache, in which we are."""
    node = await soterds.start(data=fed.data)
    place = f"127.0.0.1:{node.port}"
    async with command("peer-info", place, "--network", "simnet", "--json") as program:
        assert await program.ended() == 0, program.err
    found = json.loads(program.out)
    assert program.err == ""
    assert found["user_agent"].startswith("/soterwire:")
    assert (found["height"], found["protocol_version"]) == (fed.height, 70013)
    assert {"network", "witness"} <= set(found["service_names"])
    assert (len(found["pings"]), found["ping_error"], found["addresses_error"]) == (3, None, None)
    assert [each["host"] for each in found["addresses"]["inbound"]] == ["127.0.0.1"]
    async with command("peer-info", place, "--network", "simnet") as program:
        assert await program.ended() == 0, program.err
    assert f"height        {fed.height}\n" in program.out
    assert await node.block_count() == fed.block_count


@live(60)
async def test_fetch(soterds: SoterdFactory, fed: Fed) -> None:
    """The whole DAG."""
    node = await soterds.start(data=fed.data)
    async with command("fetch", f"localhost:{node.port}", "--network", "simnet", "--json") as program:
        assert await program.ended() == 0, program.err
    blocks = [json.loads(line) for line in program.out.splitlines()]
    assert len(blocks) == fed.block_count
    found = {(each["height"], each["hash"], *each["parents"]) for each in blocks}
    assert {(row["height"], row["hash"], *row["parents"]) for row in dag()} <= found


@live(60)
async def test_sync(soterds: SoterdFactory, fed: Fed, tmp_path: Path) -> None:
    """All headers at first; nothing is new when it runs again."""
    node = await soterds.start(data=fed.data)
    arguments = ("sync", f"127.0.0.1:{node.port}", "--network", "simnet", "--state", str(tmp_path / "state"), "--json")
    for new in (fed.block_count - 1, 0):
        async with command(*arguments) as program:
            assert await program.ended() == 0, program.err
        found = json.loads(program.out)
        assert program.err == ""
        assert (found["blocks"], found["new"], found["height"]) == (fed.block_count, new, fed.height)
        assert found["tips"] == (await node.rpc("getdagtips"))["tips"]


@live(60)
async def test_verify(fed: Fed) -> None:
    """The file in which a node keeps its blocks."""
    (path,) = fed.data.glob("simnet/blocks_ffldb/*.fdb")
    async with command("verify", str(path), "--network", "simnet", "--json") as program:
        assert await program.ended() == 0, program.out
    found = json.loads(program.out)
    assert (found["checked"], found["failed"], found["unreadable"]) == (fed.block_count, 0, 0)
    assert (found["blocks"], found["height"], found["missing"]) == (fed.block_count, fed.height, [])
