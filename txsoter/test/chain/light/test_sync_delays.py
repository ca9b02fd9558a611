"""Peers that keep to each rule, and try to hold up the sync or to keep it busy; without connections."""

from __future__ import annotations

from unittest import TestCase

from txsoter.test.chain.light.dags import block_above, chain_of
from txsoter.test.chain.light.sync_world import Alter, Node, World, listed
from txsoter.wire import GetBlocks, GetData, Inv, Message


class Trickle:
    """Answers to ``getdata`` that come one at a time.

    :param in_order: whether lists wait for blocks that were asked for before.
    :ivar waiting: answers that have not been sent.
    """

    def __init__(self, in_order: bool = True) -> None:
        self.in_order = in_order
        self.waiting: list[Message] = []

    def alter(self, question: Message, answers: list[Message]) -> list[Message]:
        """Keep back blocks."""
        if not isinstance(question, GetData) and not (self.in_order and self.waiting):
            return answers
        self.waiting += answers
        return []

    def send(self, world: World, name: str, count: int) -> None:
        """Send some of them."""
        for _ in range(count):
            if self.waiting:
                world.say(name, self.waiting.pop(0))
        world.run()


class DelayTests(TestCase):
    def test_one_that_is_synced_from_and_sends_little_makes_way_for_a_faster_one(self) -> None:
        """Some blocks each second would take hours where another needs a minute."""
        blocks = chain_of(3000)
        slow = Trickle()
        world = World(liar=Node(blocks, slow.alter), honest=Node(blocks))
        world.run()
        for _ in range(70):
            world.advance(1)
            slow.send(world, "liar", 3)
        self.assertTrue(world.has(blocks))
        self.assertEqual(world.dropped, {})

    def test_the_fastest_is_synced_from_again_where_all_have_had_their_turn(self) -> None:
        blocks = chain_of(3600)
        rates = {"one": 1, "two": 8, "three": 2}
        queues = {name: Trickle() for name in rates}
        world = World(**{name: Node(blocks, queues[name].alter) for name in rates})
        world.run()
        for _ in range(600):
            world.advance(1)
            for name, rate in rates.items():
                queues[name].send(world, name, rate)
        # three turns of a minute, and the rest is the fastest's
        self.assertGreater(len(world.index), 8 * 60 * 7)
        self.assertEqual(world.dropped, {})

    def test_one_that_still_sends_what_it_was_asked_for_before_has_not_stalled(self) -> None:
        """Its lists are read anew, from further below, while hundreds of blocks are on their way."""
        common = chain_of(100)
        ours, theirs = chain_of(800, common[-1], 10_000), chain_of(800, common[-1], 20_000)
        for in_order in (True, False):
            world = World()
            for block in (*common, *ours):
                world.index.add(world.index.check_block(block, world.wall))
            slow = Trickle(in_order)
            world.ready("slow", Node([*common, *theirs], slow.alter))
            world.run()
            while slow.waiting:
                world.advance(1)
                slow.send(world, "slow", 10)
            self.assertTrue(world.has([*common, *ours, *theirs]))
            self.assertEqual(world.dropped, {})

    def test_one_that_was_asked_first_and_sends_a_block_now_and_then_does_not_keep_others_waiting(self) -> None:
        blocks = chain_of(5)
        world = World(liar=Node(blocks), honest=Node(blocks))
        world.run()
        slow = Trickle()
        world.nodes["liar"].alter = slow.alter
        new = chain_of(100, blocks[-1], 500)
        for name in ("liar", "honest"):
            vectors = [world.nodes[name].add(block) for block in new]
            world.say(name, Inv(vectors))
            world.run()
        for _ in range(6):
            # not long enough to be one that stalls
            world.advance(4)
            slow.send(world, "liar", 1)
        self.assertTrue(world.has([*blocks, *new]))
        self.assertEqual(world.dropped, {})

    def test_blocks_without_parents_that_are_announced_again_and_again(self) -> None:
        """Each makes its lists be read anew, which have nothing new."""
        blocks = chain_of(20)
        world = World(liar=Node(blocks), honest=Node(blocks))
        world.run()
        secret = block_above([blocks[3]], 700)
        orphans = [block_above([secret], number) for number in range(200)]
        served = {each.hash: each for each in orphans}

        def serve(question: Message, answers: list[Message]) -> list[Message]:
            if isinstance(question, GetData):
                return [served[each.hash] for each in question.vectors if each.hash in served]
            return answers

        alter: Alter = serve
        world.nodes["liar"].alter = alter
        world.nodes["liar"].heard.clear()
        heard = world.nodes["liar"].heard
        for orphan in orphans:
            world.say("liar", Inv([listed(orphan, 5)]))
            world.run()
        self.assertEqual(world.dropped, {"liar": (50, "its blocks lack parents again and again")})
        self.assertLess(sum(isinstance(each, GetBlocks) for each in heard), 50)
        self.assertEqual(world.sync.in_step, ["honest"])
