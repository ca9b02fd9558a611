"""Tests of :mod:`txsoter.chain.light.filter_hashes`: which hash is which block's, and where peers differ."""

from __future__ import annotations

from random import Random
from unittest import TestCase

from txsoter.chain.light.filter_hashes import FilterRange, compare, computed_header, read_hashes
from txsoter.chain.light.header_index import HeaderIndex
from txsoter.networks import SIMNET
from txsoter.test.chain.light.light_scene import NOW
from txsoter.test.chain.light.wide_dags import wide_dag
from txsoter.test.chain.served_dag import GENESIS, ServedDag, block_above
from txsoter.testing import connected_pair
from txsoter.wire import Block, CFHeaders, GetCFHeaders, Hash

BLOCKS = wide_dag(30, spending=0)
TRUTH = ServedDag(BLOCKS)


def index_of(blocks: list[Block], known: int) -> HeaderIndex:
    """Return the headers of blocks; those up to a height have their filter headers."""
    index = HeaderIndex(SIMNET, check_proofs=False)
    for block in blocks:
        index.add(index.check_block(block, NOW))
    for record in list(index):
        if record.height <= known:
            index.set_filter_header(record.hash, TRUTH.filter_headers[record.hash])
    return index


def answer_of(node: ServedDag, asked: FilterRange) -> CFHeaders | None:
    """Return the node's answer, or None if it has none."""
    pair = connected_pair(server=node.config)
    answers: list[CFHeaders] = []
    question = GetCFHeaders(start_height=asked.start, stop=asked.stop)
    pair.client.request(question, CFHeaders, 1).addCallbacks(answers.append, lambda failure: None)
    pair.pump()
    pair.advance(2)
    pair.client.disconnect()
    pair.pump()
    return answers[0] if answers else None


class ReadHashesTests(TestCase):
    def test_of_a_node_that_knows_the_same(self) -> None:
        """From every height, whatever siblings there are below; then in another order than soterd's, without these."""
        for known in range(28):
            index = index_of(BLOCKS, known)
            asked = FilterRange.above(index, known + 1, index.max_height)
            assert asked is not None
            answer = answer_of(TRUTH, asked)
            assert answer is not None
            truth = {each.hash: TRUTH.filters[each.hash].hash for each in asked.records}
            self.assertEqual(read_hashes(index, asked, answer), truth)
            plain = CFHeaders(asked.stop, answer.previous_header, list(truth.values()))
            self.assertEqual(read_hashes(index, asked, plain), truth)

    def test_of_a_node_that_knows_a_block_more_or_less(self) -> None:
        """No hash is ever taken for another block's."""
        rng = Random(5)
        outcomes = set()
        for number in range(75):
            lowest = rng.randint(2, 28)
            tips = [each for each in BLOCKS if not any(each.hash in [p.hash for p in b.parents] for b in BLOCKS)]
            extra = block_above([rng.choice([GENESIS, *BLOCKS])], number=1000 + number)
            if number % 3 == 0:
                # the node lacks a block without children
                lost = rng.choice(tips)
                node, ours = ServedDag([each for each in BLOCKS if each is not lost]), BLOCKS
            elif number % 3 == 1:
                node, ours = ServedDag([*BLOCKS, extra]), BLOCKS
            else:
                node, ours = TRUTH, [*BLOCKS, extra]
            index = index_of(BLOCKS, lowest - 1)
            for block in ours:
                index.add(index.check_block(block, NOW))
            asked = FilterRange.above(index, lowest, index.max_height)
            assert asked is not None
            answer = answer_of(node, asked)
            found = None if answer is None else read_hashes(index, asked, answer)
            if found is not None:
                truth = ServedDag(ours)
                self.assertEqual(found, {each.hash: truth.filters[each.hash].hash for each in asked.records})
            outcomes.add((number % 3, answer is None, found is None))
        self.assertLess({(1, False, True), (2, False, True), (1, False, False)}, outcomes)

    def test_hashes_that_contradict_what_is_known(self) -> None:
        index = index_of(BLOCKS, 10)
        asked = FilterRange.above(index, 11, index.max_height)
        assert asked is not None
        hashes = [TRUTH.filters[each.hash].hash for each in asked.records]
        hashes[0] = Hash(bytes(32))
        self.assertIsNone(read_hashes(index, asked, CFHeaders(asked.stop, filter_hashes=hashes)))
        self.assertIsNone(read_hashes(index, asked, CFHeaders(asked.stop)))


class HeaderTests(TestCase):
    def test_computed_along_the_last_parents(self) -> None:
        index = index_of(BLOCKS, -1)
        self.assertIsNone(computed_header(index, index[BLOCKS[0].hash], TRUTH.filters[BLOCKS[0].hash].hash))
        for record in list(index):
            header = computed_header(index, record, TRUTH.filters[record.hash].hash)
            self.assertEqual(header, TRUTH.filter_headers[record.hash])
            index.set_filter_header(record.hash, header)

    def test_peers_agree_up_to_the_first_difference(self) -> None:
        records = list(index_of(BLOCKS, -1))[:5]
        hashes = {each.hash: TRUTH.filters[each.hash].hash for each in records}
        first, second, third, *_ = hashes
        other = Hash(bytes(32))
        self.assertEqual(compare(records, {1: hashes, 2: hashes}, 2), (hashes, None))
        self.assertEqual(compare(records, {1: hashes}, 1), (hashes, None))
        self.assertEqual(compare(records, {1: hashes}, 2), ({}, None))
        self.assertEqual(compare(records, {}, 1), ({}, None))
        lies = {**hashes, third: other}
        agreed = {first: hashes[first], second: hashes[second]}
        self.assertEqual(compare(records, {1: hashes, 2: hashes, 3: lies}, 2), (agreed, third))
        # one that leaves a block out says nothing about it
        short = {each: value for each, value in hashes.items() if each != second}
        self.assertEqual(compare(records, {1: hashes, 2: short}, 2), (short, None))
        self.assertEqual(compare(records, {1: hashes, 2: short}, 1), (hashes, None))
