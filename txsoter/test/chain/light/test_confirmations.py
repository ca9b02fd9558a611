"""Tests of :mod:`txsoter.chain.light.confirmations`."""

from __future__ import annotations

from typing import Any

from txsoter.chain import Dag
from txsoter.errors import FieldError, LocalError
from txsoter.test.chain.light.light_scene import LightScene
from txsoter.test.chain.light.watch_story import BOB, FILTERS, PLAIN, WatchTestCase
from txsoter.test.chain.served_dag import GENESIS, ServedDag, block_above
from txsoter.wire import (
    Hash,
)


class ConfirmationTests(WatchTestCase):
    def test_blue_blocks_above(self) -> None:
        """They grow with the DAG, and are those of the whole DAG's blue set."""
        scene = self.scene(FILTERS, FILTERS)
        rest = [block_above([self.story.coin], number=100 + each) for each in range(6)]
        for each in [*rest, block_above([*rest, self.story.blocks[-1]], number=110)]:
            scene.announce(each)
        scene.network.run(30)
        dag: Dag[Hash] = Dag()
        for record in scene.client.index:
            dag.add(record.hash, record.parents)
        blue = dag.blue_set()
        self.assertLess(len(blue), len(dag))
        for record in scene.client.index:
            found: Any = self.successResultOf(scene.client.confirmations(record.hash))
            self.assertEqual(found.count, sum(dag.is_ancestor(record.hash, each) for each in blue))
            self.assertEqual(found.is_blue, record.hash in blue)
        self.failureResultOf(scene.client.confirmations(Hash(bytes(32))), FieldError)
        scene.close()
        self.failureResultOf(scene.client.confirmations(GENESIS.hash), LocalError)

    def test_a_block_turns_red(self) -> None:
        """Of six siblings some are red, though each was blue when it came; all have been found."""
        scene = self.scene(FILTERS, FILTERS)
        watcher = scene.watch([BOB], from_height=scene.client.index.max_height + 1)
        siblings = [block_above([self.story.blocks[-1]], script=BOB, number=120 + each) for each in range(6)]
        for each in siblings[:4]:
            scene.announce(each)
        scene.network.run(10)
        self.assertEqual([(each.confirmations, each.is_blue) for each in watcher.found], [(0, True)] * 4)
        for each in siblings[4:]:
            scene.announce(each)
        scene.announce(block_above(siblings, number=130))
        scene.network.run(10)
        self.assertEqual({each.block_hash for each in watcher.found}, {each.hash for each in siblings})
        confirmations: list[Any] = [self.successResultOf(scene.client.confirmations(each.hash)) for each in siblings]
        self.assertEqual({each.is_blue for each in confirmations}, {True, False})
        self.assertEqual({each.count for each in confirmations}, {1})
        scene.close()

    def test_many_blocks_are_coloured_bit_by_bit(self) -> None:
        """The reactor has its turn in between."""
        blocks = [GENESIS]
        for number in range(600):
            blocks.append(block_above([blocks[-1]], number=number))
        scene = LightScene([ServedDag(blocks[1:], services=PLAIN)])
        counting = scene.client.confirmations(blocks[1].hash)
        self.assertNoResult(counting)
        self.assertEqual(scene.network.wait_for(counting).count, 599)
        scene.close()
