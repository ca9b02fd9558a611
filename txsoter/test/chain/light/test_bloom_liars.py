"""A watch by bloom filters, among nodes that lie: it finds all the same."""

from __future__ import annotations

from typing import Any

from txsoter import SoterPeerProtocol
from txsoter.chain import merkle_block
from txsoter.test.chain.light.light_scene import NOW, LightScene
from txsoter.test.chain.light.watch_story import ALICE, BLOOM, WatchTestCase
from txsoter.wire import (
    Block,
    BlockHeader,
    GetData,
    Hash,
    InventoryType,
    MerkleBlock,
    Tx,
)


class BloomLiarTests(WatchTestCase):
    """Nodes whose filtered blocks are no proof, or not all: what there is is found all the same."""

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

    def test_a_node_too_old_for_the_messages(self) -> None:
        """It offers bloom filters all the same: its blocks are fetched whole."""
        scene = LightScene([self.story.dag(BLOOM, protocol_version=60_002)])
        self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice)
        self.assertEqual(scene.dropped, {})
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
