"""The order in which blocks are asked of honest nodes, without connections."""

from __future__ import annotations

from random import Random
from unittest import TestCase

from txsoter.chain.light.header_sync import Send
from txsoter.test.chain.light.alterations import large_block, on_lists, silent
from txsoter.test.chain.light.dags import GENESIS, block_above, chain_of, heights_of, random_dag
from txsoter.test.chain.light.sync_world import Alter, Node, World
from txsoter.wire import (
    ZERO_HASH,
    GetBlocks,
    GetData,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    Message,
)


class HonestTests(TestCase):
    def test_a_long_dag_is_taken_parents_first(self) -> None:
        blocks = random_dag(Random(1), 1700)
        world = World(one=Node(blocks))
        world.run()
        self.assertTrue(world.has(blocks))
        self.assertTrue(world.sync.is_synced)
        self.assertEqual(world.sync.in_step, ["one"])
        self.assertEqual(world.sync.height, max(height for height, _ in heights_of(blocks)))
        self.assertEqual(len(world.taken), 1700)
        # each block is asked for once
        asked = [each.hash for ask in world.nodes["one"].heard if isinstance(ask, GetData) for each in ask.vectors]
        self.assertEqual(len(asked), 1700)
        self.assertEqual(world.dropped, {})

    def test_more_siblings_than_a_list_has_do_not_stop_the_rest(self) -> None:
        """Those that are not listed are fetched when others build on them, or never; the heights above are there."""
        siblings = [block_above([GENESIS], number) for number in range(600)]
        above = chain_of(3, siblings[0], 10_000)
        world = World(one=Node([*siblings, *above]))
        world.run()
        self.assertTrue(world.sync.is_synced)
        self.assertIn(above[-1].hash, world.index)
        self.assertEqual(world.dropped, {})

    def test_one_is_synced_from_and_the_others_are_compared(self) -> None:
        blocks = random_dag(Random(2), 300)
        more = [block_above(blocks[-2:], 5000), block_above([blocks[10]], 5001)]
        one, two, three = Node(blocks), Node([*blocks, *more]), Node(blocks[:100])
        world = World(one=one, two=two, three=three)
        first = [each for each in world.sync.outbox if isinstance(each, Send)]
        self.assertEqual([each.peer for each in first], ["one"])
        world.run()
        self.assertTrue(world.has([*blocks, *more]))
        self.assertEqual(world.sync.in_step, ["one", "two", "three"])
        asked = [len(ask.vectors) for node in (two, three) for ask in node.heard if isinstance(ask, GetData)]
        self.assertEqual(sum(asked), 2)
        self.assertEqual(world.dropped, {})

    def test_a_peer_that_leaves_is_replaced(self) -> None:
        blocks = chain_of(1200)
        world = World(one=Node(blocks, alter=silent), two=Node(blocks))
        world.run()
        self.assertEqual(len(world.index), 1)
        world.sync.peer_gone("one", world.now)
        world.run()
        self.assertTrue(world.has(blocks))

    def test_one_that_leaves_when_others_wait_for_its_block(self) -> None:
        blocks = chain_of(5)
        world = World(one=Node(blocks), two=Node(blocks))
        world.run()
        new = block_above(blocks[-1:])
        world.nodes["one"].alter = silent
        world.announce("one", new)
        world.announce("two", new)
        self.assertNotIn(new.hash, world.index)
        self.assertEqual([type(each) for each in world.nodes["two"].heard if isinstance(each, GetData)], [])
        world.sync.peer_gone("one", world.now)
        world.run()
        self.assertIn(new.hash, world.index)

    def test_announced_blocks_are_fetched_once(self) -> None:
        """By ``inv``, by ``headers`` and unasked."""
        blocks = chain_of(5)
        world = World(one=Node(blocks), two=Node(blocks))
        world.run()
        first, second, third = chain_of(3, blocks[-1], 100)
        world.announce("one", first)
        world.announce("two", first)
        self.assertIn(first.hash, world.index)
        world.nodes["two"].add(second)
        world.say("two", Headers([second.header]))
        world.run()
        self.assertIn(second.hash, world.index)
        world.say("one", third)
        self.assertIn(third.hash, world.index)
        asked = [ask for name in ("one", "two") for ask in world.nodes[name].heard if isinstance(ask, GetData)]
        self.assertEqual([len(each.vectors) for each in asked], [5, 1, 1])
        self.assertEqual(world.dropped, {})

    def test_an_announcement_amid_a_list_is_not_lost(self) -> None:
        blocks = chain_of(1200)
        new = block_above(blocks[-1:])
        world = World(one=Node(blocks))
        vector = world.nodes["one"].add(new)
        world.say("one", Inv([vector]))
        world.run()
        self.assertIn(new.hash, world.index)
        # it was left to the lists: no block came before its parents
        asked = [each for ask in world.nodes["one"].heard if isinstance(ask, GetData) for each in ask.vectors]
        self.assertEqual(len(asked), 1201)

    def test_the_hash_that_asks_to_go_on_means_nothing(self) -> None:
        world = World(one=Node(chain_of(3)))
        world.run()
        world.say("one", Inv([InventoryVector(InventoryType.BLOCK, ZERO_HASH, -1)]))
        world.say("one", Inv([InventoryVector(InventoryType.TX, bytes(32))]))
        world.run()
        self.assertEqual(world.sync.in_step, ["one"])

    def test_a_block_that_was_not_announced_is_found_within_minutes(self) -> None:
        blocks = chain_of(5)
        world = World(one=Node(blocks))
        world.run()
        new = block_above([blocks[2]], 77)
        world.nodes["one"].add(new)
        world.advance(130)
        self.assertIn(new.hash, world.index)

    def test_a_late_sibling_far_below_the_top_is_found_in_the_lists_of_old_heights(self) -> None:
        """After a restart, say: the lists begin some way below the top, and the rest is compared slowly."""
        blocks = chain_of(1500)
        late = block_above([blocks[3]], 99)
        world = World()
        for block in blocks:
            world.index.add(world.index.check_block(block, world.wall))
        world.ready("one", Node([*blocks, late]))
        world.run()
        self.assertTrue(world.sync.is_synced)
        self.assertEqual(next(each.height for each in world.nodes["one"].heard if isinstance(each, GetBlocks)), 999)
        self.assertNotIn(late.hash, world.index)
        world.advance(10)
        self.assertIn(late.hash, world.index)
        self.assertEqual(world.sync.in_step, ["one"])

    def test_one_that_was_on_another_branch_for_long(self) -> None:
        """Its blocks build on what lies far below the lists with which it is begun."""
        common = chain_of(100)
        ours, theirs = chain_of(1300, common[-1], 10_000), chain_of(1290, common[-1], 20_000)
        world = World()
        for block in (*common, *ours):
            world.index.add(world.index.check_block(block, world.wall))
        world.ready("one", Node([*common, *theirs]))
        world.run()
        self.assertTrue(world.has([*common, *ours, *theirs]))
        self.assertEqual(world.dropped, {})

    def test_blocks_that_are_sent_twice_since_they_were_asked_for_twice_are_no_flood(self) -> None:
        """Asked for again when the lists were followed from further below; the first answers come late."""
        parent, child = chain_of(2, GENESIS, 500)
        large = [large_block(GENESIS, 800, 0)]
        while len(large) < 25:
            large.append(large_block(large[-1], 800, 0))
        late: list[Message] = []

        def alter(question: Message, answers: list[Message]) -> list[Message]:
            if len(node.heard) == 1:
                return on_lists(lambda vectors: [each for each in vectors if each.hash != parent.hash])(
                    question, answers
                )
            if len(node.heard) == 2:
                late.extend(each for each in answers if each != child)
                return [child]
            return answers

        node = Node([parent, child, *large], alter)
        world = World(one=node)
        world.run()
        self.assertEqual(len(late), 25)
        self.assertTrue(world.has([parent, child, *large]))
        for block in late:
            world.say("one", block)
        world.run()
        self.assertEqual(world.sync.in_step, ["one"])
        self.assertEqual(world.dropped, {})

    def test_one_that_is_behind_us(self) -> None:
        blocks = chain_of(900)
        world = World(one=Node(blocks))
        world.run()
        world.ready("two", Node(blocks[:7]))
        world.run()
        self.assertEqual(world.sync.in_step, ["one", "two"])
        for block in blocks[7:20]:
            world.announce("two", block)
        self.assertEqual(world.dropped, {})

    def test_a_slow_one_makes_way_for_another_and_is_not_punished(self) -> None:
        blocks = chain_of(600)
        waiting: list[Message] = []

        def slowly(question: Message, answers: list[Message]) -> list[Message]:
            if isinstance(question, GetData):
                waiting.extend(answers)
                return []
            return answers

        world = World(one=Node(blocks, alter=slowly), two=Node(blocks))
        world.run()
        for _ in range(2):
            world.advance(25)
            world.say("one", waiting.pop(0))
        self.assertEqual(len(world.taken), 2)
        world.advance(11)
        self.assertTrue(world.has(blocks))
        while waiting:
            world.say("one", waiting.pop(0))
        world.advance(5)
        self.assertEqual(world.sync.in_step, ["one", "two"])
        self.assertEqual(world.dropped, {})

    def test_nothing_is_synced_while_another_tells_of_more(self) -> None:
        """A new node lists its genesis alone; what one tells in its version may be a lie, and is believed once."""
        blocks = chain_of(40)
        world = World(new=Node(), boasting=Node(blocks[:3]))
        world.sync.peer_gone("boasting", world.now)
        world.ready("boasting", Node(blocks[:3]), 2**31 - 1)
        world.ready("more", Node(blocks))
        world.ready("stalling", Node(blocks, silent), 90)
        world.run()
        self.assertTrue(world.has(blocks))
        self.assertFalse(world.sync.is_synced)
        world.advance(31)
        self.assertTrue(world.sync.is_synced)
        self.assertEqual(world.sync.in_step, ["new", "boasting", "more"])
        self.assertEqual(world.dropped, {"stalling": (25, "it did not answer getblocks")})

    def test_slow_ones_take_turns(self) -> None:
        blocks = chain_of(5)
        waiting: list[tuple[str, Message]] = []

        def slowly(name: str) -> Alter:
            def alter(question: Message, answers: list[Message]) -> list[Message]:
                waiting.extend((name, each) for each in answers if isinstance(question, GetData))
                return [] if isinstance(question, GetData) else answers

            return alter

        world = World(one=Node(blocks, slowly("one")), two=Node(blocks, slowly("two")))
        world.run()
        seconds = 0
        while not world.sync.is_synced:
            world.advance(25)
            seconds += 25
            for name in ("one", "two"):
                for each in [each for each in waiting if each[0] == name][:1]:
                    waiting.remove(each)
                    world.say(*each)
            world.run()
            self.assertLess(seconds, 300)
        self.assertTrue(world.has(blocks))
        self.assertEqual(world.dropped, {})

    def test_a_slow_one_is_kept_if_there_is_no_other(self) -> None:
        blocks = chain_of(60)
        waiting: list[Message] = []

        def slowly(question: Message, answers: list[Message]) -> list[Message]:
            if isinstance(question, GetData):
                waiting.extend(answers)
                return []
            return answers

        world = World(one=Node(blocks, alter=slowly))
        world.run()
        while waiting:
            world.advance(25)
            world.say("one", waiting.pop(0))
        self.assertTrue(world.has(blocks))
        self.assertEqual(world.sync.in_step, ["one"])

    def test_blocks_that_one_peer_is_slow_to_send_are_asked_of_the_next(self) -> None:
        blocks = chain_of(5)
        world = World(one=Node(blocks), two=Node(blocks))
        world.run()
        new = block_above(blocks[-1:])
        world.nodes["one"].alter = silent
        world.announce("one", new)
        world.announce("two", new)
        world.advance(4)
        self.assertNotIn(new.hash, world.index)
        world.advance(2)
        self.assertIn(new.hash, world.index)
        world.say("one", new)
        world.run()
        self.assertEqual(world.sync.in_step, ["one", "two"])
