"""The command ``txsoter`` against a soterd."""

from __future__ import annotations

import json

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
