"""Tests of :mod:`txsoter.chain.light.watching`: what concerns a program, found in simulated nodes' blocks."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred

from txsoter import SoterPeerProtocol
from txsoter.chain import Dag, GolombFilter, basic_filter_items, golomb_filter, merkle_block
from txsoter.errors import FieldError, LocalError
from txsoter.test.chain.light.light_scene import NOW, LightScene, Watcher
from txsoter.test.chain.light.test_filter_sync import BLOCKS
from txsoter.test.chain.served_dag import GENESIS, ServedDag, block_above, payment
from txsoter.test.peer.support import TrialCase
from txsoter.wire import (
    Block,
    BlockHeader,
    GetCFilters,
    GetData,
    Hash,
    InventoryType,
    MerkleBlock,
    Services,
    Tx,
    TxIn,
    TxOut,
)

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


class FoundTests(WatchTestCase):
    """A payment and its spending, by each way."""

    def test_by_committed_filters(self) -> None:
        """Only the two blocks are fetched."""
        scene = self.scene(FILTERS, FILTERS)
        scene.wait_for_filter_headers(scene.dags[0])
        self.forget_questions(scene)
        self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice)
        self.assertEqual(self.fetched(scene), {self.story.coin.hash, self.story.spent.hash})
        self.assertEqual(scene.dropped, {})
        scene.close()

    def test_by_bloom_filters(self) -> None:
        """No block is fetched whole."""
        scene = self.scene(BLOOM, BLOOM)
        self.forget_questions(scene)
        self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice)
        self.assertEqual(self.fetched(scene), set())
        self.assertEqual(scene.dropped, {})
        scene.close()

    def test_in_whole_blocks(self) -> None:
        scene = self.scene(PLAIN)
        self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice)
        self.assertEqual(scene.dropped, {})
        scene.close()

    def test_the_item(self) -> None:
        for services in (FILTERS, BLOOM, PLAIN):
            scene = self.scene(services, services)
            watcher = scene.watch([ALICE])
            self.assert_finds(scene, watcher, *self.story.of_alice)
            coin, spending = watcher.found
            self.assertEqual((coin.pays, coin.spends, coin.is_mined), ((0,), (), True))
            self.assertEqual((spending.pays, spending.spends, spending.is_mined), ((), (0,), False))
            self.assertEqual(spending.transaction.inputs[0].witness, (b"signature",))
            self.assertEqual((coin.confirmations, coin.is_blue), (4, True))
            self.assertEqual((spending.confirmations, spending.is_blue), (3, True))
            scene.close()

    def test_an_outpoint_with_its_script(self) -> None:
        coin = self.story.coin.transactions[0]
        scene = self.scene(FILTERS, FILTERS)
        scene.wait_for_filter_headers(scene.dags[0])
        self.forget_questions(scene)
        self.assert_finds(scene, scene.watch(outpoints={(coin.txid, 0): ALICE}), self.story.spending.txid)
        self.assertEqual(self.fetched(scene), {self.story.coin.hash, self.story.spent.hash})
        scene.close()

    def test_an_outpoint_without_its_script(self) -> None:
        """Every block is fetched, or a bloom filter has it."""
        coin = self.story.coin.transactions[0]
        for services in (FILTERS, BLOOM):
            scene = self.scene(services, services)
            self.assert_finds(scene, scene.watch(outpoints=[(coin.txid, 0)]), self.story.spending.txid)
            scene.close()

    def test_a_script_without_data(self) -> None:
        """A bloom filter cannot find it: the blocks are searched."""
        scene = self.scene(BLOOM)
        watcher = scene.watch([b"\x51"], from_height=scene.client.index[self.story.spent.hash].height)
        top = [each.transactions[0].txid for each in self.story.blocks[-3:]]
        self.assert_finds(scene, watcher, self.story.spent.transactions[0].txid, self.story.spending.txid, *top)
        scene.close()

    def test_from_a_height(self) -> None:
        scene = self.scene(FILTERS, FILTERS)
        height = scene.client.index[self.story.spent.hash].height
        self.assert_finds(scene, scene.watch([BOB], from_height=height), self.story.spending.txid)
        self.assert_finds(scene, scene.watch([BOB], from_height=height + 1))
        scene.close()

    def test_new_blocks(self) -> None:
        """Of any number of watches, each hears its own; a late sibling is searched, too."""
        for services in (FILTERS, BLOOM, PLAIN):
            scene = self.scene(services, services)
            alice, bob = scene.watch([ALICE]), scene.watch([BOB])
            self.assert_finds(scene, alice, *self.story.of_alice)
            paid = payment((self.story.spending, 0), to=[ALICE])
            late = block_above([self.story.coin], script=BOB, number=20)
            new = block_above([self.story.blocks[-1]], paid, number=21)
            scene.announce(new)
            scene.announce(late)
            self.assert_finds(scene, alice, *self.story.of_alice, paid.txid)
            self.assertEqual(set(bob.transactions), {self.story.spending.txid, late.transactions[0].txid})
            self.assertEqual(scene.dropped, {})
            scene.close()

    def test_before_the_client_is_in_step(self) -> None:
        scene = self.scene(FILTERS, FILTERS, start=False)
        self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice)
        scene.close()

    def test_peers_that_come_later(self) -> None:
        """One that offers filters is not enough; nothing is believed, and blocks are not fetched."""
        scene = self.scene(FILTERS)
        self.forget_questions(scene)
        watcher = scene.watch([ALICE])
        scene.network.run(120)
        self.assertEqual((watcher.found, self.fetched(scene)), ([], set()))
        scene.add(self.story.dag(FILTERS))
        self.assert_finds(scene, watcher, *self.story.of_alice)
        scene.close()


class EndTests(WatchTestCase):
    def test_stopping_the_client_ends_all_loops(self) -> None:
        for services in (FILTERS, BLOOM):
            scene = self.scene(services, services)
            watchers = [scene.watch([ALICE]), scene.watch([BOB])]
            scene.network.run(0.2)
            self.assert_finds(scene, watchers[0], *self.story.of_alice)
            scene.close()
            for each in watchers:
                self.successResultOf(each.ended)

    def test_closing_at_any_moment(self) -> None:
        """The loop ends, and nothing is left of what was asked."""
        for services in (FILTERS, BLOOM, PLAIN):
            for moment in (0.0, 0.05, 0.15, 0.3, 3.0):
                scene = self.scene(services, services)
                watcher = scene.watch([ALICE])
                scene.network.run(moment)
                self.successResultOf(Deferred.fromCoroutine(watcher.watch.aclose()))
                self.successResultOf(watcher.ended)
                scene.network.run(60)
                self.assertEqual(scene.dropped, {})
                # others go on
                self.assert_finds(scene, scene.watch([BOB]), self.story.spending.txid)
                scene.close()

    def test_the_loop_ends_by_itself(self) -> None:
        scene = self.scene(FILTERS, FILTERS)
        watch = scene.client.watch([ALICE])

        async def first() -> Any:
            async for each in watch:
                return each
            return None

        found: Any = scene.network.wait_for(Deferred.fromCoroutine(first()))
        self.assertEqual(found.transaction.txid, self.story.of_alice[0])
        second: Any = scene.network.wait_for(Deferred.fromCoroutine(first()))
        self.assertEqual(second.transaction.txid, self.story.of_alice[1])
        scene.close()

    def test_two_loops_and_a_cancelled_one(self) -> None:
        scene = self.scene(FILTERS, FILTERS)
        watch = scene.client.watch([b"\x14nobody"])
        step = Deferred.fromCoroutine(watch.__anext__())
        self.failureResultOf(Deferred.fromCoroutine(watch.__anext__()), LocalError)
        step.addErrback(lambda failure: None)
        step.cancel()
        self.failureResultOf(Deferred.fromCoroutine(watch.__anext__()), StopAsyncIteration)
        scene.close()

    def test_back_pressure(self) -> None:
        """A loop that takes its time has no more searched for it."""
        scene = self.scene(FILTERS, FILTERS)
        scene.wait_for_filter_headers(scene.dags[0])
        watch = scene.client.watch([ALICE])
        self.forget_questions(scene)
        scene.network.wait_for(Deferred.fromCoroutine(watch.__anext__()))
        scene.network.run(100)
        self.assertEqual(self.fetched(scene), {self.story.coin.hash})
        scene.network.wait_for(Deferred.fromCoroutine(watch.__anext__()))
        scene.close()

    def test_the_callers_mistakes(self) -> None:
        client = self.scene(FILTERS, FILTERS, start=False).client
        coin = self.story.coin.transactions[0].txid
        for field, arguments in {
            "scripts": ((), (["x"],), ([b""],)),
            "outpoints": (((), [coin]), ((), [(coin, -1)]), ((), [(bytes(coin), 0)]), ((), {(coin, 0): b""})),
        }.items():
            for each in arguments:
                with self.assertRaises(FieldError) as caught:
                    client.watch(*each)
                self.assertEqual(caught.exception.field, field)
        for height in (-1, "1", True):
            with self.assertRaises(FieldError):
                client.watch([ALICE], from_height=height)  # type: ignore[arg-type]


class LyingTests(WatchTestCase):
    """Peers that lie to a watch: it finds all the same."""

    def test_a_filter_that_is_not_the_one_agreed_on(self) -> None:
        """Sent only once the headers are agreed on: the block tells who lies."""
        scene = self.scene(FILTERS, FILTERS, FILTERS)
        scene.wait_for_filter_headers(scene.dags[0])
        for dag in scene.dags[:2]:
            dag.filters[self.story.coin.hash] = GolombFilter.build(self.story.coin.hash[:16], [])
        self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice)
        self.assertEqual(set(scene.dropped.values()), {(100, "its filter is not its block's: output scripts")})
        self.assertNotIn(2, scene.dropped)
        scene.close()

    def test_filters_that_nobody_sends_any_more(self) -> None:
        """The blocks themselves are searched."""
        silent = False

        def send(peer: SoterPeerProtocol, question: GetCFilters) -> None:
            if not silent:
                scene.dags[0].send_filters(peer, question)

        scene = LightScene([self.story.dag(FILTERS, hooks={"on_getcfilters": send}) for _ in range(2)])
        scene.wait_for_filter_headers(scene.dags[0])
        silent = True
        self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice, timeout=300)
        scene.close()

    def test_a_spent_script_that_peers_do_not_agree_about(self) -> None:
        """The block is searched, whatever its filter says."""
        lying = self.story.dag(FILTERS)
        items = basic_filter_items(self.story.spent, ())
        lying.filters[self.story.spent.hash] = GolombFilter.build(self.story.spent.hash[:16], items)
        scene = LightScene([lying, self.story.dag(FILTERS)])
        self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice)
        self.assertEqual(scene.dropped, {})
        scene.close()

    def test_a_block_that_nobody_sends_any_more(self) -> None:
        """It is passed over, and found when somebody has it; what spends it is found then, too."""
        scene = self.scene(FILTERS, FILTERS)
        scene.wait_for_filter_headers(scene.dags[0])
        coin = self.story.coin
        kept = [dag.node.blocks.pop(coin.hash) for dag in scene.dags]
        watcher = scene.watch([ALICE])
        scene.network.run(200)
        self.assertEqual((watcher.found, scene.dropped), ([], {}))
        for dag, each in zip(scene.dags, kept, strict=True):
            dag.node.blocks[coin.hash] = each
        self.assert_finds(scene, watcher, *self.story.of_alice)
        scene.close()

    def lying_with_bloom(self, alter: Any) -> None:
        """A node whose filtered blocks are others, beside an honest one."""

        async def serve(peer: SoterPeerProtocol, question: GetData) -> None:
            filtered = [each for each in question.vectors if each.type == InventoryType.WITNESS_FILTERED_BLOCK]
            if not filtered:
                await dag.node.serve(peer, question)
            for vector in filtered:
                for each in alter(dag.node.blocks[vector.hash][1]):
                    peer.send(each)

        dag = self.story.dag(BLOOM, hooks={"on_getdata": serve})
        scene = LightScene([dag, self.story.dag(BLOOM)])
        self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice, timeout=200)
        self.dropped = scene.dropped.get(0)
        self.assertNotIn(1, scene.dropped)
        scene.close()

    def test_bloom_nothing_matches(self) -> None:
        self.lying_with_bloom(lambda block: [merkle_block(block, [])])
        self.assertEqual(self.dropped, (100, "it leaves out transactions that the bloom filter matches"))

    def test_bloom_a_proof_with_another_root(self) -> None:
        def alter(block: Block) -> list[Any]:
            proof = merkle_block(block, [0])
            return [MerkleBlock(proof.header, proof.total, [Hash(bytes(32)), *proof.hashes[1:]], proof.flags)]

        self.lying_with_bloom(alter)
        self.assertEqual(self.dropped, (100, "its merkle proof is none: merkle root"))

    def test_bloom_proofs_that_are_none(self) -> None:
        for total, hashes, flags in ((0, 0, b"\1"), (1, 2, b"\1"), (1 << 31, 1, b"\1"), (1, 1, b""), (1, 1, b"\1\1")):

            def alter(block: Block, total: int = total, hashes: int = hashes, flags: bytes = flags) -> list[Any]:
                return [MerkleBlock(block.header, total, [Hash(bytes(32))] * hashes, flags)]

            self.lying_with_bloom(alter)
            assert self.dropped is not None
            self.assertEqual(self.dropped[0], 100)

    def test_bloom_an_inner_node_for_a_transaction(self) -> None:
        """Two hashes of the merkle tree, 64 bytes, may be mined to read as a transaction that pays Alice."""
        head = b"\1\0\0\0\1" + b"\7" * 36 + b"\0" + b"\xff" * 4
        fake, _ = Tx.from_payload(head + b"\1" + bytes(8) + b"\4\3aaa" + bytes(4))
        self.assertEqual(len(fake.to_payload()), 64)
        old = self.story.blocks[-1]
        header = BlockHeader(prev=old.header.prev, merkle_root=fake.txid, time=old.header.time)
        proof = MerkleBlock(header, 1, [fake.txid], b"\1")
        self.assertEqual(proof.matched(), [fake.txid])

        async def serve(peer: SoterPeerProtocol, question: GetData) -> None:
            for vector in question.vectors:
                if vector.hash == proof.hash:
                    peer.send(proof)
                    peer.send(fake)
                else:
                    await dag.node.serve(peer, GetData([vector]))

        dag = self.story.dag(BLOOM, hooks={"on_getdata": serve})
        scene = LightScene([dag])
        record = scene.client.index.check(header, [each.hash for each in old.parents], (), NOW)
        scene.client.store.add(record)
        watcher = scene.watch([b"\3aaa"], from_height=record.height)
        scene.network.run(60)
        self.assertEqual(watcher.found, [])
        self.assertEqual(scene.dropped, {0: (100, "its merkle proof is none: 64 bytes")})
        scene.close()

    def test_bloom_silence(self) -> None:
        """The other node's answer is enough."""
        self.lying_with_bloom(lambda block: [])

    def test_bloom_a_proof_without_its_transactions(self) -> None:
        self.lying_with_bloom(lambda block: [merkle_block(block, [0])])

    def test_bloom_everything_matches(self) -> None:
        """That may be so; what does not concern the watch is dropped."""
        self.lying_with_bloom(lambda block: [merkle_block(block, range(len(block.transactions))), *block.transactions])
        self.assertIsNone(self.dropped)

    def test_a_block_that_is_another(self) -> None:
        """Its transactions are not those that its header commits to: the peer is dropped, another is asked."""

        coin, lies = self.story.coin, 0

        async def serve(peer: SoterPeerProtocol, question: GetData) -> None:
            nonlocal lies
            if lies and question.vectors[0].hash == coin.hash:
                lies -= 1
                peer.send(Block(coin.header, 0, coin.parents, 0, (), [*coin.transactions, self.story.spending]))
            else:
                await scene.dags[0].serve(peer, question)

        scene = LightScene([self.story.dag(FILTERS, hooks={"on_getdata": serve}) for _ in range(2)], start=False)
        scene.wait_for_filter_headers(scene.dags[0])
        lies = 1
        self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice)
        self.assertEqual(list(scene.dropped.values()), [(100, "its block breaks a rule: merkle root")])
        scene.close()

    def test_all_agree_on_what_is_no_filter(self) -> None:
        """The block is searched."""
        dags = [self.story.dag(FILTERS) for _ in range(2)]
        for dag in dags:
            dag.filters[self.story.coin.hash] = GolombFilter(b"\xfe", b"", 0, ())
        scene = LightScene(dags)
        self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice)
        self.assertEqual(scene.dropped, {})
        scene.close()

    def test_a_block_with_too_many_transactions(self) -> None:
        """None that is valid has as many, and no proof can be made of it: what it has is left out."""
        coin = self.story.coin.transactions[0]
        many = [Tx(inputs=[TxIn(coin.txid, number)], outputs=[TxOut(1, ALICE)]) for number in range(16_667)]
        block = block_above([self.story.blocks[-1]], *many, number=60)
        scene = LightScene([ServedDag([*self.story.blocks, block], services=PLAIN)])
        self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice, timeout=300)
        scene.close()

    def test_bloom_silence_of_all(self) -> None:
        """Whole blocks are searched then, of the same peers."""

        async def serve(peer: SoterPeerProtocol, question: GetData) -> None:
            if question.vectors[0].type != InventoryType.WITNESS_FILTERED_BLOCK:
                await dag.node.serve(peer, question)

        dag = self.story.dag(BLOOM, hooks={"on_getdata": serve})
        scene = LightScene([dag])
        self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice, timeout=6000)
        scene.close()


class WithoutTests(WatchTestCase):
    def test_without_the_libraries(self) -> None:
        """Headers are followed, and a watch is refused; the error says what to install."""
        dags = [self.story.dag(FILTERS), self.story.dag(FILTERS)]
        with patch.object(golomb_filter, "siphash24", None):
            scene = LightScene(dags)
            with self.assertRaisesRegex(LocalError, "need siphash24"):
                scene.client.watch([ALICE])
            scene.network.run(20)
        self.assertEqual(len(scene.client.index), len(self.story.blocks) + 1)
        self.assertEqual(set(scene.filter_headers().values()), {None})
        scene.close()

    def test_how_many_peers_have_to_agree(self) -> None:
        for needed in (0, -1, "2"):
            with self.assertRaises(FieldError):
                self.scene(FILTERS, start=False, filter_peers=needed)

    def test_a_client_that_is_stopped_before_it_is_in_step(self) -> None:
        scene = self.scene(FILTERS, start=False)
        watcher = scene.watch([ALICE])
        scene.close()
        self.successResultOf(watcher.ended)


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
