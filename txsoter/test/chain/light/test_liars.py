"""Two honest nodes and one that lies, in hundreds of simulated networks: the client ends with the honest DAG."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.test.chain.light.client_world import ClientWorld
from txsoter.test.chain.light.dags import block_above, chain_of, random_dag
from txsoter.test.peer.support import TrialCase
from txsoter.testing import Faults
from txsoter.wire import Block, GetBlocks, GetData, Inv, InventoryType, InventoryVector, NotFound, Parent

SEEDS = int(os.environ.get("TXSOTER_LIARS", "200"))

Hooks = dict[str, Callable[..., Any]]


class Liar:
    """Ways to lie; each gives the listeners of a node that does.

    :ivar all: the blocks that it lists, unless it lies about that.
    :ivar name: of the way that was chosen.
    """

    def __init__(self, rng: Random, blocks: list[Block]) -> None:
        self.rng = rng
        self.blocks = {block.hash: block for block in blocks}
        # what it alone has: so that blocks are asked of it, too, if it is not the first
        self.extra = block_above(rng.sample(blocks, 2), 1_000_000)
        self.all = [*blocks, self.extra]

    def hooks(self) -> Hooks:
        """Return the listeners of one way, chosen at random."""
        self.name = self.rng.choice([each for each in dir(self) if each.startswith("lie_")])
        found: Hooks = getattr(self, self.name)()
        return found

    def _altered(self, alter: Callable[[Block], Block | None]) -> Hooks:
        blocks = {**self.blocks, self.extra.hash: self.extra}

        def serve(peer: SoterPeerProtocol, question: GetData) -> None:
            for vector in question.vectors:
                block = alter(blocks[vector.hash])
                if block is not None:
                    peer.send(block)

        return {"on_getdata": serve}

    def lie_parents_emptied(self) -> Hooks:
        return self._altered(lambda block: Block(block.header, transactions=block.transactions))

    def lie_parent_dropped(self) -> Hooks:
        """Of merges: else there would be none left."""

        def alter(block: Block) -> Block:
            kept = list(block.parents)[: max(1, len(block.parents) - 1)]
            return Block(block.header, parents=kept, transactions=block.transactions)

        return self._altered(alter)

    def lie_other_parents(self) -> Hooks:
        parents = [Parent(self.rng.randbytes(32))]
        return self._altered(lambda block: Block(block.header, parents=parents, transactions=block.transactions))

    def lie_other_transactions(self) -> Hooks:
        other = chain_of(1, number=2_000_000)[0].transactions
        return self._altered(lambda block: Block(block.header, parents=block.parents, transactions=other))

    def lie_made_up_blocks(self) -> Hooks:
        made_up = block_above([self.extra], 3_000_000)
        return self._altered(lambda block: made_up)

    def lie_stalled_blocks(self) -> Hooks:
        left = [self.rng.randrange(40)]

        def some(block: Block) -> Block | None:
            left[0] -= 1
            return block if left[0] > 0 and block != self.extra else None

        return self._altered(some)

    def lie_not_found(self) -> Hooks:
        return {"on_getdata": lambda peer, question: peer.send(NotFound(question.vectors)) and None}

    def lie_silence(self) -> Hooks:
        return {"on_getblocks": lambda peer, question: None}

    def lie_nothing(self) -> Hooks:
        return {"on_getblocks": lambda peer, question: peer.send(Inv()) and None}

    def _lists(self, list_: Callable[[int], list[InventoryVector]]) -> Hooks:
        def answer(peer: SoterPeerProtocol, question: GetBlocks) -> None:
            assert question.height is not None
            peer.send(Inv(list_(question.height + 1)))

        return {"on_getblocks": answer}

    def lie_endless_lists(self) -> Hooks:
        return self._lists(
            lambda first: [
                InventoryVector(InventoryType.BLOCK, (first + each + 1).to_bytes(32, "big"), first + each)
                for each in range(500)
            ]
        )

    def lie_unordered_lists(self) -> Hooks:
        hashes = list(self.blocks)
        return self._lists(
            lambda first: [
                InventoryVector(InventoryType.BLOCK, each, first + (5 if number == 1 else 0))
                for number, each in enumerate(hashes[:9])
            ]
        )

    def lie_old_lists(self) -> Hooks:
        """Lists of 500 from another height than asked for: no answers, so it stalls."""
        return self._lists(
            lambda first: [InventoryVector(InventoryType.BLOCK, next(iter(self.blocks)), first + 3)] * 500
        )

    def lie_orphans(self) -> Hooks:
        """It lists what builds on a block that it does not list."""
        orphan = block_above([self.extra], 4_000_000)
        hooks = self._altered(lambda block: block)
        served = hooks["on_getdata"]

        def serve(peer: SoterPeerProtocol, question: GetData) -> None:
            for vector in question.vectors:
                if vector.hash == orphan.hash:
                    peer.send(orphan)
                else:
                    served(peer, GetData([vector]))

        return {
            **self._lists(lambda first: [InventoryVector(InventoryType.BLOCK, orphan.hash, first)]),
            "on_getdata": serve,
        }


STALLS = ("lie_silence", "lie_stalled_blocks", "lie_old_lists", "lie_nothing", "lie_made_up_blocks")
"""Those that may be no more than slow: they may come again, and are dropped again."""


class LiarTests(TrialCase):
    def one(self, seed: int) -> None:
        rng = Random(seed)
        blocks = random_dag(rng, rng.randrange(20, 60))
        world = ClientWorld(seed, beat=0.05)
        liar = Liar(rng, blocks)
        listeners = liar.hooks()
        # the honest ones do not have all of it at first
        nodes = [world.node(blocks[: -rng.randrange(1, 10)]), world.node(blocks), world.node(liar.all, **listeners)]
        order = list(nodes)
        rng.shuffle(order)
        world.dial(*order)
        world.client.startService()
        if seed % 2:
            # connections break, too, and programs do not read for a while
            world.network.disturb(Faults(reset=8.0, hold=5.0, hold_seconds=(0.1, 4.0), partition=None))
        world.network.run(25)
        world.network.calm()
        new = block_above(blocks[-1:], 5_000_000)
        nodes[1].announce(new)
        world.network.run(45)
        about = (seed, liar.name)
        *honest, lying = [node.at.host for node in nodes]
        self.assertTrue(world.has([*blocks, new]), about)
        self.assertEqual({peer.host for peer in world.client.in_step}, set(honest), about)
        self.assertEqual(set(world.dropped), {lying}, about)
        if liar.name not in STALLS:
            self.assertEqual(world.hosts(), set(honest), about)
        world.end()

    def test_the_client_ends_with_the_honest_dag_and_without_the_liar(self) -> None:
        for seed in range(SEEDS):
            self.one(seed)

    def most_lie(self, seed: int) -> None:
        rng = Random(seed)
        blocks = random_dag(rng, rng.randrange(20, 60))
        world = ClientWorld(seed, beat=0.05)
        liars = [Liar(rng, blocks) for _ in range(2)]
        honest = world.node(blocks)
        order = [honest, *(world.node(liar.all, **liar.hooks()) for liar in liars)]
        rng.shuffle(order)
        world.dial(*order)
        world.client.startService()
        world.network.run(60)
        new = block_above(blocks[-1:], 5_000_000)
        honest.announce(new)
        world.network.run(60)
        about = (seed, [liar.name for liar in liars])
        self.assertTrue(world.has([*blocks, new]), about)
        self.assertIn(honest.at.host, {peer.host for peer in world.client.in_step}, about)
        self.assertNotIn(honest.at.host, world.dropped, about)
        world.end()

    def test_two_liars_do_not_outvote_one_honest_node(self) -> None:
        for seed in range(max(1, SEEDS // 10)):
            self.most_lie(seed)
