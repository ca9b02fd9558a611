"""A soterd's filters and filter hashes, beside those that tests serve in its place."""

from __future__ import annotations

from txsoter import walk_blocks
from txsoter.test.chain.served_dag import ServedDag
from txsoter.test.live.fed import Fed
from txsoter.test.live.peers import dial, live, simnet
from txsoter.testing import connected_pair
from txsoter.testing.soterd import SoterdFactory
from txsoter.wire import CFHeaders, GetCFHeaders


@live(60)
async def test_answers_are_those_of_the_served_dag(soterds: SoterdFactory, fed: Fed) -> None:
    """From every height up to the tip: the previous header, and the hashes of the height below among the others."""
    node = await soterds.start(data=fed.data)
    peer = await dial(node, simnet())
    blocks = [(height, block) async for height, block in walk_blocks(peer)]
    served = ServedDag(block for height, block in blocks if height)
    pair = connected_pair(server=served.config)
    extra = 0
    for start in range(fed.height + 1):
        question = GetCFHeaders(start_height=start, stop=blocks[-1][1].hash)
        theirs = await peer.request(question, CFHeaders)
        ours = pair.client.request(question, CFHeaders)
        pair.pump()
        assert await ours == theirs
        extra += len(theirs.filter_hashes) - sum(height >= start for height, _ in blocks)
    assert extra > 0
    await peer.disconnect()
