"""Tests of :mod:`txsoter.chain.merkle_proof`; what is refused is in ``test_partial_merkle``."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from txsoter.chain import BloomFilter, merkle_block
from txsoter.test import vectors
from txsoter.test.chain import ChainTestCase, block_of
from txsoter.test.test_strategies import deterministic
from txsoter.testing import strategies as soter
from txsoter.wire import ZERO_HASH, Block, FilterLoad, MerkleBlock, Tx


class MerkleBlockTests(ChainTestCase):
    """The proof of some of a block's transactions."""

    def test_vectors(self) -> None:
        """Matched by a filter, by positions, by ids, by a bool each: the same bytes, from which the same is proven."""
        for row in vectors.consensus("merkle"):
            block = block_of(row["block"])
            matched, ids = row["matched"], [each.txid for each in block.transactions]
            self.assertEqual([str(each) for each in ids], row["txids"])
            message = FilterLoad(bytes.fromhex(row["filter"]), row["hash_funcs"], row["tweak"], row["flags"])
            for matches in (
                BloomFilter.from_filter_load(message).matches_tx,
                matched,
                {ids[position] for position in matched},
                [position in matched for position in range(len(ids))],
            ):
                found = merkle_block(block, matches)
                self.assertEqual(found.to_payload().hex(), row["merkleblock"])
            again, _ = MerkleBlock.from_payload(bytes.fromhex(row["merkleblock"]))
            self.assertEqual(again, found)
            self.assertEqual(again.matched(), [ids[position] for position in matched])

    @deterministic(60)
    @given(soter.blocks(), st.data())
    def test_any_block(self, block: Block, data: st.DataObject) -> None:
        chosen = data.draw(st.sets(st.sampled_from(range(len(block.transactions)))))
        proof = merkle_block(block, chosen)
        self.assertEqual(proof.matched(), [block.transactions[position].txid for position in sorted(chosen)])
        self.assertEqual(proof.hash, block.hash)

    def test_a_function_is_asked_once_for_each_in_order(self) -> None:
        block = next(block_of(row["block"]) for row in vectors.consensus("merkle") if len(row["txids"]) > 3)
        asked: list[Tx] = []

        def matches(tx: Tx) -> bool:
            asked.append(tx)
            return False

        merkle_block(block, matches)
        self.assertEqual(asked, list(block.transactions))

    def test_the_callers_mistakes(self) -> None:
        block = block_of(vectors.consensus("merkle")[0]["block"])
        count = len(block.transactions)
        for bad in (count, -1, ZERO_HASH, "x", None):
            self.assert_mistake("matches", merkle_block, block, [bad])
        self.assert_mistake("matches", merkle_block, block, [True] * (count + 1))
        self.assert_mistake("block.transactions", merkle_block, Block(), [])
        self.assert_mistake("block.transactions", merkle_block, Block(transactions=(Tx(),) * 16_667), [])
