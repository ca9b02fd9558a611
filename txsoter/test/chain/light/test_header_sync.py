"""Which blocks are asked of whom, and how each kind of lie ends; without connections."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from unittest import TestCase

from txsoter.chain.light.header_sync import Send
from txsoter.test.chain.light.dags import GENESIS, block_above, chain_of, heights_of, random_dag
from txsoter.test.chain.light.sync_world import Alter, Node, World, listed
from txsoter.wire import (
    ZERO_HASH,
    Block,
    BlockHeader,
    GetBlocks,
    GetData,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    Message,
    NotFound,
    Parent,
    Tx,
    merkle_root,
)


def silent(question: Message, answers: list[Message]) -> list[Message]:
    """Answer nothing."""
    return []


def on_lists(change: Callable[[list[InventoryVector]], list[InventoryVector]]) -> Alter:
    """Change lists."""

    def alter(question: Message, answers: list[Message]) -> list[Message]:
        return [Inv(change(list(each.vectors))) if isinstance(each, Inv) else each for each in answers]

    return alter


def on_blocks(change: Callable[[Block], Message | None]) -> Alter:
    """Change blocks, or leave them out."""

    def alter(question: Message, answers: list[Message]) -> list[Message]:
        changed = [change(each) if isinstance(each, Block) else each for each in answers]
        return [each for each in changed if each is not None]

    return alter


def with_parents(block: Block, *parents: Block) -> Block:
    """Return the genuine block with another list of parents."""
    listed_parents = [Parent(each.hash) for each in parents]
    return Block(block.header, parents=listed_parents, nonces=block.nonces, transactions=block.transactions)


def large_block(parent: Block, count: int, number: int) -> Block:
    """Return a block of as many transactions."""
    small = block_above([parent], number)
    coinbase = small.transactions[0]
    transactions = [Tx(inputs=coinbase.inputs, outputs=coinbase.outputs, lock_time=each) for each in range(count)]
    root, _ = merkle_root([each.txid for each in transactions])
    header = BlockHeader(prev=small.header.prev, merkle_root=root, time=small.header.time)
    return Block(header, parents=small.parents, transactions=transactions)


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
