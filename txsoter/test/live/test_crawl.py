"""The crawler against three soterds: the map equals what they say of themselves by RPC."""

from __future__ import annotations

import json

from txsoter.test.cli.support import command
from txsoter.test.live.peers import live
from txsoter.testing.soterd import Soterd, SoterdFactory, eventually


def place(node: Soterd) -> str:
    return f"127.0.0.1:{node.port}"


@live(120)
async def test_map_of_three(soterds: SoterdFactory) -> None:
    """All at one host, so that their inbound connections tell only by their number whose they are."""
    first = await soterds.start()
    second = await soterds.start(f"--addpeer={place(first)}")
    third = await soterds.start(f"--addpeer={place(first)}", f"--addpeer={place(second)}")
    nodes = (first, second, third)
    truth = {(place(second), place(first)), (place(third), place(first)), (place(third), place(second))}

    async def connected() -> bool:
        return [len(await node.peers()) for node in nodes] == [2, 2, 2]

    await eventually(connected, "three nodes are connected", 60)
    for begin in (first, third):
        target = ("--network", "simnet", "--allow-unroutable", "--peer", place(begin), "--json", "-")
        async with command("crawl", "--once", *target) as program:
            assert await program.ended() == 0, program.err
        found = json.loads(program.out)
        rows = {f"{row['address']}:{row['port']}": row for row in found["nodes"] if row["reachable"]}
        claims = {(edge["from"], edge["to"]): edge["claimed_by"] for edge in found["edges"]}
        # the first one has dialled nobody, and knows only who has dialled it, from ports that nobody listens at
        if begin is first:
            assert place(first) in rows
        else:
            assert set(rows) == {place(node) for node in nodes}
            assert claims == {edge: ["from", "to"] for edge in truth}
            assert all("soterd" in row["agent"] or "soterwire" in row["agent"] for row in rows.values())
    # nobody has died of it
    assert [len(await node.peers()) for node in nodes] == [2, 2, 2]
