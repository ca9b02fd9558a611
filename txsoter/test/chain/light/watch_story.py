"""Tests of watches share a DAG in which Alice and Bob are paid."""

from __future__ import annotations

from typing import Any

from txsoter.test.chain.light.light_scene import LightScene, Watcher
from txsoter.test.chain.light.wide_dags import BLOCKS
from txsoter.test.chain.served_dag import ServedDag, block_above, payment
from txsoter.test.peer.support import TrialCase
from txsoter.wire import (
    GetData,
    Hash,
    InventoryType,
    Services,
)

__all__ = ["ALICE", "BLOOM", "BOB", "FILTERS", "PLAIN", "Story", "WatchTestCase"]

ALICE = b"\x14" + b"a" * 20
BOB = b"\x14" + b"b" * 20

PLAIN = Services.NETWORK | Services.WITNESS
BLOOM = PLAIN | Services.BLOOM
FILTERS = PLAIN | Services.CF


class Story:
    """A DAG in which a coin of Alice is mined and spent to Bob, and Bob is paid once more."""

    def __init__(self) -> None:
        below = BLOCKS[:40]
        self.coin = block_above([below[-1]], script=ALICE)
        self.sibling = block_above([below[-1]], number=9)
        self.spending = payment((self.coin.transactions[0], 0), to=[b"\x51", BOB])
        self.spent = block_above([self.coin, self.sibling], self.spending, number=10)
        top = [block_above([self.spent], number=each) for each in (11, 12)]
        self.blocks = [*below, self.coin, self.sibling, self.spent, *top, block_above(top, number=13)]

    @property
    def of_alice(self) -> list[Hash]:
        """Her coin, and what spends it."""
        return [self.coin.transactions[0].txid, self.spending.txid]

    def dag(self, services: int, **fields: Any) -> ServedDag:
        return ServedDag(self.blocks, services=services, **fields)


class WatchTestCase(TrialCase):
    def setUp(self) -> None:
        self.story = Story()

    def scene(self, *services: int, **fields: Any) -> LightScene:
        return LightScene([self.story.dag(each) for each in services], **fields)

    def assert_finds(self, scene: LightScene, watcher: Watcher, *expected: Hash, timeout: float = 60.0) -> None:
        """It finds these, in order, and no more; each is proven to be in its block."""
        scene.network.run_until(lambda: len(watcher.found) >= len(expected), timeout)
        scene.network.run(30)
        self.assertEqual(watcher.transactions, list(expected))
        for each in watcher.found:
            self.assertIn(each.transaction.txid, each.proof.matched())
            self.assertEqual(each.proof.hash, each.block_hash)
            self.assertEqual(each.height, scene.client.index[each.block_hash].height)

    def fetched(self, scene: LightScene) -> set[Hash]:
        """The blocks that were fetched whole since the questions were last cleared."""
        kinds = (InventoryType.WITNESS_BLOCK, InventoryType.BLOCK)
        return {
            vector.hash
            for dag in scene.dags
            for question in dag.node.questions
            if isinstance(question, GetData)
            for vector in question.vectors
            if vector.type in kinds
        }

    def forget_questions(self, scene: LightScene) -> None:
        for dag in scene.dags:
            dag.node.questions.clear()
            dag.questions.clear()
