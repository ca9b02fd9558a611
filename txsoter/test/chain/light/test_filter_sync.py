"""Tests of :mod:`txsoter.chain.light.filter_sync`: a client's filter headers, of honest and lying peers."""

from __future__ import annotations

from random import Random

from txsoter.test.chain.light.light_scene import LightScene
from txsoter.test.chain.served_dag import GENESIS, ServedDag, block_above, payment
from txsoter.test.peer.support import TrialCase
from txsoter.wire import Block

ALICE = b"\x14" + b"a" * 20


def wide_dag(count: int = 60, seed: int = 1) -> list[Block]:
    """Return blocks of a DAG with siblings, some of which spend others' coins."""
    rng = Random(seed)
    blocks, tips, coins = [GENESIS], [GENESIS], []
    for number in range(count):
        parents = rng.sample(tips, rng.randint(1, len(tips)))
        spent = [coins.pop(0)] if len(coins) > 10 and rng.random() < 0.5 else []
        spending = [payment((tx, 0), to=[b"\x52%c" % number]) for tx in spent]
        block = block_above(parents, *spending, script=b"\x14" + bytes([number % 7]) * 20, number=number)
        coins.append(block.transactions[0])
        blocks.append(block)
        tips = [*[each for each in tips if each not in parents][-2:], block]
    return blocks[1:]


class HonestPeersTests(TrialCase):
    def test_filter_headers_are_those_of_the_nodes(self) -> None:
        blocks = wide_dag()
        scene = LightScene([ServedDag(blocks), ServedDag(blocks)])
        scene.wait_for_filter_headers(scene.dags[0])
        self.assertEqual(scene.dropped, {})
        scene.close()
