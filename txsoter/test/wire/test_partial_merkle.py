"""Tests of :mod:`txsoter.wire.partial_merkle` and :meth:`MerkleBlock.matched`: proofs, and what poses as one."""

from __future__ import annotations

from hashlib import sha256
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from txsoter.errors import InvalidProof
from txsoter.test.test_strategies import deterministic
from txsoter.wire import BlockHeader, Hash, MerkleBlock, merkle_root
from txsoter.wire.partial_merkle import MAX_PROVEN_TRANSACTIONS, partial_tree, proven


def txids(count: int) -> list[Hash]:
    """Ids of transactions, all different."""
    return [Hash(sha256(str(number).encode()).digest()) for number in range(count)]


def bits_of(flags: bytes) -> list[int]:
    """The bits in their order."""
    return [byte >> shift & 1 for byte in flags for shift in range(8)]


class RoundTripTests(TestCase):
    """What is proven is what was matched."""

    @deterministic(300)
    @given(st.lists(st.booleans(), min_size=1, max_size=70))
    def test_any_choice_of_any_number(self, matched: list[bool]) -> None:
        leaves = txids(len(matched))
        hashes, flags = partial_tree(leaves, matched)
        expected = [leaf for leaf, wanted in zip(leaves, matched, strict=True) if wanted]
        self.assertEqual(proven(len(leaves), hashes, flags), (merkle_root(leaves)[0], expected))
        # no more than the proof needs
        self.assertLessEqual(len(hashes), len(leaves))
        if not any(matched):
            self.assertEqual((len(hashes), flags), (1, b"\0"))
        if all(matched):
            self.assertEqual(hashes, leaves)

    def test_the_largest_block(self) -> None:
        leaves = txids(MAX_PROVEN_TRANSACTIONS)
        hashes, flags = partial_tree(leaves, [position == len(leaves) - 1 for position in range(len(leaves))])
        self.assertEqual(proven(len(leaves), hashes, flags), (merkle_root(leaves)[0], leaves[-1:]))
        self.assertLess(len(hashes), 16)


class RefusedTests(TestCase):
    """Each kind of tree that Bitcoin Core refuses."""

    def setUp(self) -> None:
        self.leaves = txids(7)
        self.hashes, self.flags = partial_tree(self.leaves, [False] * 6 + [True])

    def refused(self, total: int, hashes: list[Hash], flags: bytes, rule: str, reason: str) -> None:
        with self.assertRaisesRegex(InvalidProof, reason) as caught:
            proven(total, hashes, flags)
        self.assertEqual(caught.exception.rule, rule)

    def test_no_transactions(self) -> None:
        self.refused(0, [], b"", "count of transactions", "0, must be 1 to 16666")

    def test_too_many_transactions(self) -> None:
        for total in (MAX_PROVEN_TRANSACTIONS + 1, 0xFFFFFFFF):
            self.refused(total, self.hashes, self.flags, "count of transactions", f"{total}, must be 1 to 16666")

    def test_more_hashes_than_transactions(self) -> None:
        self.refused(2, self.leaves[:3], b"\x07", "count of hashes", "3 for 2 transactions")

    def test_more_hashes_than_bits(self) -> None:
        self.refused(9, txids(9), b"\xff", "count of bits", "8 for 9 hashes")

    def test_too_few_bits(self) -> None:
        # all 15 nodes of a tree over 8, and bits for 8 of them
        self.refused(8, txids(8), b"\xff", "count of bits", "the tree has more than 8")

    def test_too_few_hashes(self) -> None:
        for size in range(len(self.hashes)):
            self.refused(7, self.hashes[:size], self.flags, "count of hashes", f"the tree has more than {size}")

    def test_unused_hashes(self) -> None:
        more = [*self.hashes, self.leaves[0]]
        self.refused(7, more, self.flags, "count of hashes", f"the tree has fewer than {len(more)}")

    def test_unused_bits(self) -> None:
        self.refused(7, self.hashes, self.flags + b"\0", "count of bits", "16 for a tree of 6")
        self.refused(7, self.hashes, self.flags + bytes(50_000), "count of bits", "for a tree of 6")

    def test_bits_that_fill_the_last_byte_may_be_anything(self) -> None:
        """As in Bitcoin Core."""
        used = 6
        full = bytes([self.flags[0] | 0xFF << used & 0xFF])
        self.assertEqual(proven(7, self.hashes, full), proven(7, self.hashes, self.flags))

    def test_equal_siblings(self) -> None:
        """CVE-2012-2459: six transactions, the last two of them again, have the root of the six."""
        six = txids(6)
        eight = [*six, *six[4:]]
        self.assertEqual(merkle_root(six)[0], merkle_root(eight)[0])
        hashes, flags = partial_tree(eight, [False] * 7 + [True])
        self.refused(8, hashes, flags, "siblings differ", "two equal hashes at height 1")
        twice = [six[0], six[0]]
        hashes, flags = partial_tree(twice, [True, False])
        self.refused(2, hashes, flags, "siblings differ", "two equal hashes at height 0")

    @deterministic(500)
    @given(st.data())
    def test_the_root_commits_to_each_hash(self, data: st.DataObject) -> None:
        """Any tree is refused, or has another root as soon as one of its hashes is another."""
        total = data.draw(st.integers(1, 9))
        hashes = data.draw(st.lists(st.sampled_from(txids(4)), max_size=total))
        flags = data.draw(st.binary(max_size=3))
        try:
            root, matches = proven(total, hashes, flags)
        except InvalidProof:
            return
        self.assertLessEqual(len(matches), sum(bits_of(flags)))
        self.assertLessEqual(set(matches), set(hashes))
        for position in range(len(hashes)):
            changed = [Hash(bytes(32)) if at == position else each for at, each in enumerate(hashes)]
            self.assertNotEqual(proven(total, changed, flags)[0], root)


class MerkleBlockTests(TestCase):
    """The message: its tree, and its header's root."""

    def test_matched(self) -> None:
        leaves = txids(5)
        hashes, flags = partial_tree(leaves, [True, False, False, True, False])
        header = BlockHeader(merkle_root=merkle_root(leaves)[0])
        message, _ = MerkleBlock.from_payload(MerkleBlock(header, 5, hashes, flags).to_payload())
        self.assertEqual(message.matched(), [leaves[0], leaves[3]])
        self.assertIs(type(message.matched()[0]), Hash)

    def test_another_root(self) -> None:
        leaves = txids(5)
        hashes, flags = partial_tree(leaves, [True] * 5)
        other = [*leaves[:4], leaves[0]]
        with self.assertRaisesRegex(InvalidProof, f"that of the proof is {merkle_root(leaves)[0]}") as caught:
            MerkleBlock(BlockHeader(merkle_root=merkle_root(other)[0]), 5, hashes, flags).matched()
        self.assertEqual(caught.exception.rule, "merkle root")

    def test_an_empty_message(self) -> None:
        with self.assertRaisesRegex(InvalidProof, "count of transactions: 0"):
            MerkleBlock().matched()

    def test_any_change_is_refused_or_proves_the_same(self) -> None:
        """One bit of a message changed: it proves the same transactions, or fewer that are in it, or is refused."""
        leaves = txids(11)
        wanted = [position in (2, 7, 10) for position in range(11)]
        hashes, flags = partial_tree(leaves, wanted)
        header = BlockHeader(merkle_root=merkle_root(leaves)[0])
        payload = MerkleBlock(header, 11, hashes, flags).to_payload()
        outcomes = set()
        for bit in range(80 * 8, len(payload) * 8):
            changed = bytearray(payload)
            changed[bit // 8] ^= 1 << bit % 8
            try:
                message, _ = MerkleBlock.from_payload(bytes(changed))
                found = message.matched()
            except Exception as error:
                self.assertIn(type(error).__name__, {"MalformedMessage", "InvalidProof"})
                outcomes.add(type(error).__name__)
            else:
                self.assertLessEqual(set(found), set(leaves))
                outcomes.add("proven")
        self.assertEqual(outcomes, {"MalformedMessage", "InvalidProof", "proven"})
