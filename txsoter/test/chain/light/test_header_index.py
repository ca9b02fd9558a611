"""The rules by which a header is believed, and the index of those that are."""

from __future__ import annotations

from random import Random
from typing import Any
from unittest import TestCase

import attrs

from txsoter.chain import HeaderIndex, HeaderRecord
from txsoter.errors import FieldError, InvalidBlock, MalformedMessage
from txsoter.networks import SIMNET
from txsoter.test.chain.light.dags import GENESIS, START, block_above, chain_of, heights_of, random_dag
from txsoter.test.node import recorded
from txsoter.wire import Block, BlockHeader, Hash, Parent, double_sha256

NOW = START + 10_000_000


def index_of(*blocks: Block, check_proofs: bool = False) -> HeaderIndex:
    """Return the index of blocks, parents before children."""
    index = HeaderIndex(SIMNET, check_proofs)
    for block in blocks:
        assert index.add(index.check_block(block, NOW))
    return index


class RecordTests(TestCase):
    def test_it_has_all_of_a_block_but_transactions(self) -> None:
        index = HeaderIndex(SIMNET)
        for height, block in recorded():
            record = index.check_block(block, block.header.time)
            index.add(record)
            self.assertEqual((record.hash, record.height), (block.hash, height))
            self.assertEqual((record.header, record.time), (block.header, block.header.time))
            self.assertEqual(record.parents, tuple(each.hash for each in block.parents))
            self.assertTrue(all(isinstance(each, Hash) for each in record.parents))
            self.assertEqual(record.nonces, tuple(block.nonces))
            self.assertFalse(record.is_genesis)
            self.assertIsNone(record.filter_header)
        genesis = index[SIMNET.genesis_hash]
        self.assertEqual((genesis.header, genesis.height, genesis.parents), (GENESIS.header, 0, ()))
        self.assertEqual((genesis.nonces, genesis.is_genesis), ((), True))

    def test_its_bytes_make_the_same_again(self) -> None:
        parents = [Hash(each.to_bytes(32, "big")) for each in range(300)]
        for count, nonces in ((0, ()), (1, (1, 2)), (2, tuple(range(20))), (300, (0xFFFFFFFF,))):
            record = HeaderRecord.pack(bytes(range(80)), parents[:count], nonces, 7)
            self.assertEqual(record.hash, double_sha256(bytes(range(80))))
            self.assertEqual((record.parents, record.nonces), (tuple(parents[:count]), nonces))
            again = HeaderRecord.from_bytes(record.raw, 7, Hash(bytes(32)))
            self.assertEqual(again, record._replace(filter_header=Hash(bytes(32))))

    def test_bytes_that_are_no_record(self) -> None:
        raw = HeaderRecord.pack(bytes(80), [bytes(32)], (1, 2), 1).raw
        for wrong in (b"", raw[:83], raw[:100], raw[:-1], raw + b"\0", raw[:80] + b"\xff\xff\xff\xff" + raw[84:]):
            with self.assertRaisesRegex(MalformedMessage, "are no header record"):
                HeaderRecord.from_bytes(wrong, 1)

    def test_arguments_that_cannot_be(self) -> None:
        for parents, nonces, where in (
            ([bytes(31)], (), r"parents\[0\]"),
            ([bytes(32), "0" * 32], (), r"parents\[1\]"),
            ([bytes(32)], (-1,), "nonces"),
            ([bytes(32)], (1 << 32,), "nonces"),
            ([bytes(32)], ("1",), "nonces"),
        ):
            pack: Any = HeaderRecord.pack
            with self.assertRaisesRegex(FieldError, where):
                pack(bytes(80), parents, nonces, 1)


class RuleTests(TestCase):
    def refused(self, index: HeaderIndex, rule: str, *arguments: Any) -> InvalidBlock:
        with self.assertRaises(InvalidBlock) as caught:
            index.check(*arguments)
        self.assertEqual(caught.exception.rule, rule)
        return caught.exception

    def test_recorded_blocks_pass_and_each_altered_one_does_not(self) -> None:
        index = HeaderIndex(SIMNET)
        for height, block in recorded():
            parents, nonces = [each.hash for each in block.parents], list(block.nonces)
            now = block.header.time
            self.refused(index, "parents", block.header, [], nonces, now)
            self.refused(index, "parents", block.header, [*parents, SIMNET.genesis_hash], nonces, now)
            self.refused(index, "20 nonces", block.header, parents, nonces[1:], now)
            self.refused(index, "nonces ascend", block.header, parents, nonces[::-1], now)
            # the next edge breaks the cycle, unless it is the one behind it
            other = [*nonces[:-1], nonces[-1] + 1]
            self.refused(index, "one cycle", block.header, parents, other, now)
            self.refused(index, "time too new", block.header, parents, nonces, now - 7201)
            self.assertEqual(index.check(block.header, parents, nonces, now - 7200).height, height)
            index.add(index.check(block.header, parents, nonces, now))
        self.assertEqual(len(index), 54)

    def test_the_header_may_be_bytes(self) -> None:
        index = HeaderIndex(SIMNET)
        _, block = recorded()[0]
        parents = [each.hash for each in block.parents]
        raw = block.to_payload()[:80]
        now = block.header.time
        self.assertEqual(index.check(raw, parents, block.nonces, now), index.check_block(block, now))

    def test_a_parent_that_is_dropped_from_a_merge(self) -> None:
        one, two = block_above([GENESIS], 1), block_above([GENESIS], 2)
        merge = block_above([one, two])
        index = index_of(one, two)
        self.refused(index, "parents", merge.header, [one.hash], (), NOW)
        # it commits to all of them, in whatever order
        for parents in ([one.hash, two.hash], [two.hash, one.hash]):
            self.assertEqual(index.check(merge.header, parents, (), NOW).parents, tuple(parents))

    def test_parents_that_are_not_known(self) -> None:
        one, two = chain_of(2)
        error = self.refused(index_of(), "known parents", two.header, [one.hash], (), NOW)
        self.assertIn(str(one.hash), str(error))
        self.assertEqual(error.block_hash, two.hash)

    def test_no_proof_is_asked_for_where_none_is_checked(self) -> None:
        block = block_above([GENESIS])
        self.assertEqual(index_of(block).max_height, 1)
        self.refused(HeaderIndex(SIMNET), "20 nonces", block.header, [GENESIS.hash], (), NOW)

    def test_more_nonces_than_a_proof_has_are_not_kept(self) -> None:
        """The hash does not cover them: a liar may send millions."""
        block = block_above([GENESIS])
        for count, is_taken in ((0, True), (20, True), (21, False), (100_000, False)):
            block.nonces = tuple(range(count))
            if is_taken:
                self.assertEqual(len(index_of().check_block(block, NOW).nonces), count)
            else:
                with self.assertRaisesRegex(InvalidBlock, f"it has {count} nonces, at most 20 are taken"):
                    index_of().check_block(block, NOW)

    def test_transactions_that_the_header_does_not_commit_to(self) -> None:
        block, other = block_above([GENESIS], 1), block_above([GENESIS], 2)
        altered = Block(block.header, parents=block.parents, transactions=other.transactions)
        with self.assertRaisesRegex(InvalidBlock, "merkle root is"):
            index_of().check_block(altered, NOW)

    def test_a_block_that_was_decoded_and_one_that_was_made_are_the_same(self) -> None:
        block = block_above([GENESIS])
        block.nonces = (5, 6)
        decoded, _ = Block.from_payload(block.to_payload())
        self.assertEqual(index_of().check_block(block, NOW), index_of().check_block(decoded, NOW))
        self.assertEqual(index_of().check_block(block, NOW).nonces, (5, 6))

    def test_arguments_of_other_types(self) -> None:
        block = block_above([GENESIS])
        index: Any = index_of()
        for arguments in (
            (bytes(79), [GENESIS.hash], ()),
            ("header", [GENESIS.hash], ()),
            (block.header, ["0" * 64], ()),
            (block.header, [GENESIS.hash], ("nonce",)),
            (BlockHeader(prev=block.header.prev, time=1 << 32), [GENESIS.hash], ()),
        ):
            with self.assertRaises(FieldError):
                index.check(*arguments, NOW)


class MedianTests(TestCase):
    def test_of_a_chain(self) -> None:
        """Of the last eleven; of an even number next to the genesis it is the upper one."""
        blocks = [GENESIS]
        for number, seconds in enumerate((10, 30, 20, 40, 35, 50, 45, 41, 42, 43, 46, 47, 60)):
            blocks.append(block_above(blocks[-1:], number, START + seconds))
        index = index_of(*blocks[1:])
        medians = (0, 10, 10, 20, 20, 30, 30, 35, 35, 40, 40, 41, 42, 43)
        for height, median in enumerate(medians):
            self.assertEqual(index.median_time([blocks[height].hash]), START + median, height)

    def test_the_time_must_exceed_it(self) -> None:
        blocks = chain_of(20)
        index = index_of(*blocks)
        median = index.median_time([blocks[-1].hash])
        self.assertEqual(median, blocks[14].header.time)
        index.check_block(block_above(blocks[-1:], time=median + 1), NOW)
        for time in (median, median - 1, 0):
            with self.assertRaises(InvalidBlock) as caught:
                index.check_block(block_above(blocks[-1:], time=time), NOW)
            self.assertEqual(caught.exception.rule, "time too old")

    def test_the_walk_begins_at_the_newest_parent_and_follows_those_that_are_listed_first(self) -> None:
        """As nodes do it: of parents as new as each other the first listed counts."""
        old = [block_above([GENESIS], 1, START + 1)]
        new = [block_above([GENESIS], 2, START + 100)]
        for number in range(11):
            old.append(block_above(old[-1:], number, START + 2 + number))
            new.append(block_above(new[-1:], number, START + 101 + number))
        index = index_of(*old, *new)
        first_old, first_new = block_above([old[-1], new[-1]], 5), block_above([new[-1], old[-1]], 6)
        index.add(index.check_block(first_old, NOW))
        index.add(index.check_block(first_new, NOW))
        self.assertEqual(index.median_time([old[-1].hash, new[-1].hash]), new[6].header.time)
        self.assertEqual(index.median_time([first_old.hash]), old[7].header.time)
        self.assertEqual(index.median_time([first_new.hash]), new[7].header.time)
        self.assertEqual(first_old.header.time, first_new.header.time)
        self.assertEqual(index.median_time([first_old.hash, first_new.hash]), old[7].header.time)
        self.assertEqual(index.median_time([first_new.hash, first_old.hash]), new[7].header.time)


class IndexTests(TestCase):
    def test_heights_siblings_and_tips(self) -> None:
        blocks = random_dag(Random(9), 200)
        index = index_of(*blocks)
        heights = {block.hash: height for height, block in heights_of(blocks)}
        self.assertEqual(len(index), 201)
        self.assertEqual({record.hash: record.height for record in index if record.height}, heights)
        self.assertEqual(index.max_height, max(heights.values()))
        for height in range(1, index.max_height + 1):
            expected = sorted(str(each) for each, found in heights.items() if found == height)
            self.assertEqual([str(record.hash) for record in index.at_height(height)], expected)
        self.assertEqual((index.at_height(-1), index.at_height(index.max_height + 1)), ([], []))
        parents = {each.hash for block in blocks for each in block.parents}
        expected = sorted(str(block.hash) for block in blocks if block.hash not in parents)
        self.assertEqual([str(record.hash) for record in index.tips], expected)
        # parents come before children
        seen: set[Hash] = set()
        for record in index:
            self.assertLessEqual(set(record.parents), seen)
            seen.add(record.hash)

    def test_asking_for_what_is_there_and_what_is_not(self) -> None:
        one, two = chain_of(2)
        index = index_of(one)
        self.assertIn(one.hash, index)
        self.assertNotIn(two.hash, index)
        self.assertIsNone(index.get(two.hash))
        self.assertEqual(index.get(one.hash), index[one.hash])
        self.assertEqual(index.missing([GENESIS.hash, two.hash]), [two.hash])
        self.assertEqual((index.number(one.hash), index.numbered(1, 9)), (1, [index[one.hash]]))
        for ask in (index.__getitem__, index.number, lambda each: index.median_time([each])):
            self.assertRaises(KeyError, ask, two.hash)
        self.assertRaises(KeyError, index.set_filter_header, two.hash, None)

    def test_what_is_there_is_not_added_again(self) -> None:
        (one,) = chain_of(1)
        index = index_of(one)
        self.assertFalse(index.add(index[one.hash]))
        self.assertEqual(len(index), 2)

    def test_what_cannot_be_added(self) -> None:
        one, two = chain_of(2)
        index = index_of()
        stranger = HeaderRecord.pack(bytes(80), (), (), 0)
        for record, words in (
            (index_of(one).check_block(two, NOW), "one whose parents have been added"),
            (stranger, "above the genesis"),
            (index.check_block(one, NOW)._replace(height=2), "one more than its highest parent's: 1"),
        ):
            with self.assertRaisesRegex(FieldError, words):
                index.add(record)
        self.assertEqual((len(index), index.max_height), (1, 0))

    def test_filter_headers(self) -> None:
        (one,) = chain_of(1)
        index = index_of(one)
        found = Hash(b"\1" * 32)
        self.assertEqual(index.set_filter_header(one.hash, found).filter_header, found)
        self.assertEqual(index[one.hash].filter_header, found)
        self.assertIsNone(index.set_filter_header(one.hash, None).filter_header)

    def test_the_genesis_of_a_network_that_does_not_bring_its_block(self) -> None:
        network = attrs.evolve(SIMNET, genesis_block=None)
        index = HeaderIndex(network)
        self.assertEqual((len(index), index.max_height, index.tips, index.at_height(0)), (0, -1, [], []))
        for parents, nonces in (([GENESIS.hash], ()), ([], (1,))):
            with self.assertRaises(InvalidBlock) as caught:
                index.check(GENESIS.header, parents, nonces, NOW)
            self.assertEqual(caught.exception.rule, "genesis")
        index.add(index.check_block(GENESIS, NOW))
        self.assertEqual([record.hash for record in index.tips], [GENESIS.hash])
        self.assertEqual(index[GENESIS.hash], HeaderIndex(SIMNET)[GENESIS.hash])

    def test_a_parent_that_is_named_twice(self) -> None:
        one = block_above([GENESIS])
        two = block_above([one, one])
        self.assertEqual([record.hash for record in index_of(one, two).tips], [two.hash])
        self.assertEqual([each.hash for each in two.parents], [one.hash] * 2)
        self.assertIsInstance(two.parents[0], Parent)
