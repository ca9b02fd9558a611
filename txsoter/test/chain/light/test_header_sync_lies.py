"""Lies and floods of nodes, each of which ends in their being dropped."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from unittest import TestCase

from txsoter.test.chain.light.alterations import large_block, on_blocks, on_lists, silent, with_parents
from txsoter.test.chain.light.dags import GENESIS, block_above, chain_of, heights_of, random_dag
from txsoter.test.chain.light.sync_world import Alter, Node, World, listed
from txsoter.wire import (
    Block,
    GetBlocks,
    GetData,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    Message,
    NotFound,
)


class LiarTests(TestCase):
    """One lies, another does not: the liar is dropped, and the DAG is the honest one."""

    def check(
        self, alter: Alter, points: float, reason: str, blocks: list[Block] | None = None, compared: bool = True
    ) -> None:
        """The liar is the first to be synced from, then the second to be compared."""
        blocks = random_dag(Random(3), 700) if blocks is None else blocks
        for order in (("liar", "honest"), ("honest", "liar"))[: 1 + compared]:
            nodes = {"liar": Node(blocks, alter=alter), "honest": Node(blocks)}
            world = World(**{name: nodes[name] for name in order})
            world.run()
            world.advance(40)
            self.assertTrue(world.has(blocks))
            self.assertEqual(world.sync.peers, ["honest"])
            self.assertEqual(world.sync.in_step, ["honest"])
            self.assertEqual(world.dropped, {"liar": (points, reason)})

    def test_stalls_with_lists(self) -> None:
        self.check(silent, 25, "it did not answer getblocks")

    def test_lists_nothing(self) -> None:
        self.check(on_lists(lambda vectors: []), 25, "it lists no blocks")

    def test_lists_out_of_order(self) -> None:
        self.check(
            on_lists(lambda vectors: [vectors[0], *reversed(vectors[1:])]),
            50,
            "its list is not of blocks in order of height",
        )

    def test_lists_something_else(self) -> None:
        tx = InventoryVector(InventoryType.TX, bytes(32))
        self.check(on_lists(lambda vectors: [*vectors[:5], tx]), 50, "its list is not of blocks in order of height")

    def test_lists_too_much(self) -> None:
        self.check(
            on_lists(lambda vectors: [*vectors, *([vectors[-1]] * 501)]), 50, "its list has more than 500 blocks"
        )

    def test_lists_old_heights(self) -> None:
        """Asked for more, it lists from the beginning again, and again: that is no answer."""
        genesis = listed(GENESIS, 0)
        self.check(
            on_lists(lambda vectors: vectors if vectors[0].height == 0 else [genesis] * 500),
            25,
            "it did not answer getblocks",
            chain_of(1200),
            compared=False,
        )

    def test_lists_known_blocks_at_other_heights(self) -> None:
        def endless(vectors: list[InventoryVector]) -> list[InventoryVector]:
            first = vectors[0].height
            return [InventoryVector(InventoryType.BLOCK, GENESIS.hash, first + each // 50) for each in range(500)]

        self.check(on_lists(endless), 100, "its list tells another height than a block has")

    def test_lists_unknown_blocks_at_other_heights(self) -> None:
        def raised(vectors: list[InventoryVector]) -> list[InventoryVector]:
            return [*vectors[:-1], InventoryVector(InventoryType.BLOCK, vectors[-1].hash, vectors[-1].height + 1)]

        first, compared = (
            "it sent a block of another height than it told",
            "its list tells another height than a block has",
        )
        self.check(on_lists(raised), 100, first, chain_of(30), compared=False)
        world = World(honest=Node(chain_of(30)), liar=Node(chain_of(30), on_lists(raised)))
        world.run()
        self.assertEqual(world.dropped, {"liar": (100, compared)})

    def test_lists_made_up_blocks_without_end(self) -> None:
        def endless(question: Message, answers: list[Message]) -> list[Message]:
            if not isinstance(question, GetBlocks):
                return answers
            assert question.height is not None
            heights = range(question.height + 1, question.height + 501)
            made_up = [InventoryVector(InventoryType.BLOCK, (each + 7).to_bytes(32, "big"), each) for each in heights]
            return [Inv(made_up)]

        self.check(endless, 50, "it does not have a block that it told of")

    def test_lists_blocks_without_their_parents(self) -> None:
        """They are genuine, and their parents are in none of its lists, from genesis on."""
        branch = chain_of(20, GENESIS, 50_000)
        hidden = {block.hash for block in branch[:10]}
        blocks = chain_of(700)

        def alter(question: Message, answers: list[Message]) -> list[Message]:
            return on_lists(lambda vectors: [each for each in vectors if each.hash not in hidden])(question, answers)

        for names in (("liar", "honest"), ("honest", "liar")):
            nodes = {"liar": Node([*blocks, *branch], alter), "honest": Node(blocks)}
            world = World(**{name: nodes[name] for name in names})
            world.run()
            # old heights are compared one list a second
            world.advance(5)
            self.assertEqual(world.dropped, {"liar": (50, "its lists have blocks and not their parents")})
            self.assertTrue(world.has(blocks))

    def test_stalls_with_blocks(self) -> None:
        sent = [0]

        def some(block: Block) -> Message | None:
            sent[0] += 1
            return block if sent[0] < 50 else None

        blocks = random_dag(Random(3), 700)
        world = World(liar=Node(blocks, alter=on_blocks(some)), honest=Node(blocks))
        world.run()
        world.advance(31)
        self.assertTrue(world.has(blocks))
        self.assertEqual(world.dropped, {"liar": (25, "it did not answer getdata")})

    def test_does_not_have_what_it_lists(self) -> None:
        """Blocks that it was not asked for it need not have."""
        world = World(liar=Node(chain_of(9), alter=on_blocks(lambda block: None)), honest=Node(chain_of(9)))
        world.run()
        world.say("liar", NotFound([listed(GENESIS, 0)]))
        self.assertEqual(world.dropped, {})
        world.say("liar", NotFound([listed(chain_of(9)[0], 1)]))
        world.run()
        self.assertEqual(world.dropped, {"liar": (50, "it does not have a block that it told of")})
        self.assertTrue(world.has(chain_of(9)))

    def test_empties_parents(self) -> None:
        self.first_block(lambda block: with_parents(block), "parents")

    def test_drops_a_parent_of_a_merge(self) -> None:
        """The genuine block is taken from another afterwards: nothing was stored of the altered one."""
        one, two = block_above([GENESIS], 1), block_above([GENESIS], 2)
        merge = block_above([one, two])
        blocks = [one, two, merge]
        self.first_block(lambda block: with_parents(block, one) if block == merge else block, "parents", blocks)

    def test_names_other_parents(self) -> None:
        one = block_above([GENESIS], 1)
        two = block_above([one])
        self.first_block(lambda block: with_parents(block, GENESIS) if block == two else block, "parents", [one, two])

    def test_alters_transactions(self) -> None:
        other = block_above([GENESIS], 7)
        self.first_block(
            lambda block: Block(block.header, parents=block.parents, transactions=other.transactions), "merkle root"
        )

    def test_sends_old_blocks(self) -> None:
        """With a time that is not above the median of their ancestors'."""
        blocks = chain_of(20)
        old = block_above(blocks[-1:], time=blocks[9].header.time)
        world = World(liar=Node([*blocks, old]), honest=Node(blocks))
        world.run()
        self.assertEqual(world.dropped, {"liar": (100, "it sent a block that breaks a rule: time too old")})
        self.assertTrue(world.has(blocks))

    def test_sends_blocks_of_the_future(self) -> None:
        """Which may be the fault of our own clock."""
        blocks = chain_of(20)
        early = block_above(blocks[-1:], time=blocks[-1].header.time + 10_000_000 + 7300)
        world = World(liar=Node([*blocks, early]), honest=Node(blocks))
        world.run()
        self.assertEqual(world.dropped, {"liar": (10, "it sent a block that breaks a rule: time too new")})
        self.assertTrue(world.has(blocks))

    def first_block(self, change: Callable[[Block], Block], rule: str, blocks: list[Block] | None = None) -> None:
        blocks = chain_of(9) if blocks is None else blocks
        reason = f"it sent a block that breaks a rule: {rule}"
        self.check(on_blocks(change), 100, reason, blocks, compared=False)


class FloodTests(TestCase):
    """Messages that nobody has asked for are bounded, in number and in the work that they make."""

    def setUp(self) -> None:
        self.blocks = chain_of(20)
        self.world = World(liar=Node(self.blocks), honest=Node(self.blocks))
        self.world.run()

    def say_until_dropped(self, message: Message, most: int) -> int:
        for number in range(most):
            self.world.say("liar", message)
            self.world.run()
            if self.world.dropped:
                self.assertEqual(self.world.sync.in_step, ["honest"])
                return number
        raise AssertionError("it is not dropped")

    def test_known_blocks_announced_again_and_again(self) -> None:
        inv = Inv([listed(block, height) for height, block in heights_of(self.blocks)])
        self.assertEqual(self.say_until_dropped(inv, 200), 100)
        self.assertEqual(self.world.dropped["liar"], (50, "it announces what is known, again and again"))

    def test_known_headers_announced_again_and_again(self) -> None:
        self.assertEqual(self.say_until_dropped(Headers([each.header for each in self.blocks]), 200), 100)
        self.assertEqual(self.world.dropped["liar"], (50, "it announces what is known, again and again"))

    def test_known_blocks_sent_again_and_again(self) -> None:
        self.assertEqual(self.say_until_dropped(self.blocks[3], 3000), 2000)
        self.assertEqual(self.world.dropped["liar"], (50, "it sends blocks that nobody asked for"))

    def test_large_known_blocks_sent_again_and_again(self) -> None:
        """Fewer of them: each of their transactions is hashed."""
        block = large_block(self.blocks[3], 800, 0)
        self.world.say("honest", block)
        self.assertIn(block.hash, self.world.index)
        self.assertEqual(self.say_until_dropped(block, 30), 19)

    def test_orphans_sent_again_and_again(self) -> None:
        orphan = chain_of(2, self.blocks[-1], 500)[1]
        self.assertEqual(self.say_until_dropped(orphan, 3000), 2000)
        self.assertEqual(self.world.dropped["liar"], (50, "it sends blocks that nobody asked for"))

    def test_a_few_a_second_are_no_flood(self) -> None:
        for _ in range(100):
            for _ in range(40):
                self.world.say("liar", self.blocks[3])
            self.world.advance(1)
        self.assertEqual(self.world.dropped, {})

    def test_unknown_blocks_announced_without_end(self) -> None:
        self.world.nodes["liar"].alter = silent
        for number in range(10):
            vectors = [
                InventoryVector(InventoryType.BLOCK, (number * 500 + each).to_bytes(32, "big"), 21)
                for each in range(500)
            ]
            self.world.say("liar", Inv(vectors))
            self.world.run()
        self.assertEqual(self.world.dropped, {"liar": (50, "it announces blocks without end")})

    def test_an_orphan_that_is_sent_unasked_makes_the_lists_be_read_soon_and_once(self) -> None:
        """A node that really has it, and its parents, lists them then."""
        self.world.advance(3)
        parent, orphan = chain_of(2, self.blocks[-1], 500)
        self.world.nodes["liar"].add(parent)
        self.world.nodes["liar"].add(orphan)
        heard = self.world.nodes["liar"].heard
        heard.clear()
        for _ in range(50):
            self.world.say("liar", orphan)
        self.world.advance(2)
        self.assertIn(orphan.hash, self.world.index)
        self.assertEqual([type(each) for each in heard], [GetBlocks, GetData])

    def test_a_block_of_another_height_than_was_told_does_not_keep_others_waiting(self) -> None:
        (new,) = chain_of(1, self.blocks[-1], 900)
        sent: list[Message] = []
        self.world.nodes["liar"].alter = lambda question, answers: sent.extend(answers) or []  # type: ignore[func-returns-value]
        self.world.nodes["liar"].add(new)
        self.world.say("liar", Inv([InventoryVector(InventoryType.BLOCK, new.hash, 77)]))
        self.world.run()
        self.world.announce("honest", new)
        self.assertNotIn(new.hash, self.world.index)
        self.world.say("liar", new)
        self.world.run()
        self.assertEqual(self.world.dropped, {"liar": (100, "it sent a block of another height than it told")})
        self.assertIn(new.hash, self.world.index)

    def test_an_announced_block_that_does_not_come(self) -> None:
        self.world.nodes["liar"].alter = silent
        self.world.say("liar", Inv([InventoryVector(InventoryType.BLOCK, bytes(31) + b"\1", 21)]))
        self.world.run()
        self.world.advance(31)
        self.assertEqual(self.world.dropped, {"liar": (25, "it did not answer getdata")})

    def test_who_is_not_followed_is_not_heard(self) -> None:
        world = World()
        world.nodes["stranger"] = Node()
        for message in (Inv(), Headers(), NotFound(), self.blocks[0]):
            world.say("stranger", message)
        world.sync.peer_gone("stranger", world.now)
        self.assertEqual((world.sync.outbox, len(world.index), world.sync.peers), ([], 1, []))
        self.assertEqual(world.sync.height, -1)
