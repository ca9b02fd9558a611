"""Tests of :mod:`txsoter.cli.dag_checks`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from unittest import TestCase
from unittest.mock import patch

from txsoter import MAINNET, SIMNET
from txsoter.cli.dag_checks import DagChecker, FailedBlock, MissingParent
from txsoter.test.node import recorded
from txsoter.wire import Block, BlockHeader, Parent, parents_commitment

BLOCKS = [block for _, block in recorded()]
NOW = 1.8e9


def without_parents(block: Block) -> Block:
    """The block as a remote may send it: the parents are not part of the hash."""
    return Block(header=block.header, nonces=block.nonces, transactions=block.transactions)


def checked(
    blocks: Iterable[Block], now: Callable[[], float] = lambda: NOW
) -> tuple[DagChecker[int], list[FailedBlock[int]]]:
    """The checker of these blocks, whose positions are their places, and what failed."""
    checker: DagChecker[int] = DagChecker(SIMNET, now)
    return checker, [failure for place, block in enumerate(blocks) for failure in checker.check(block, place)]


class DagCheckerTests(TestCase):
    def test_blocks_in_any_order(self) -> None:
        """The DAG is the same; nothing waits."""
        for seed in range(3):
            blocks = Random(seed).sample(BLOCKS, len(BLOCKS))
            checker, failures = checked(blocks)
            self.assertEqual((checker.checked, checker.failed, failures), (53, 0, []))
            self.assertEqual((checker.waiting, checker.missing()), (0, []))
            self.assertEqual(
                {record.hash: record.height for record in checker.index if record.height},
                {block.hash: height for height, block in recorded()},
            )
            self.assertEqual(checker.blue_blocks(), 54)

    def test_a_missing_block_is_named(self) -> None:
        """With the first that builds on it; all above it waits."""
        checker, failures = checked([*BLOCKS[:10], *BLOCKS[11:]])
        self.assertEqual(failures, [])
        self.assertEqual(checker.missing(), [MissingParent(BLOCKS[10].hash, BLOCKS[11].hash, False)])
        self.assertEqual((len(checker.index), checker.waiting), (11, 42))

    def test_missing_blocks_ascend(self) -> None:
        """By their hashes as people read them."""
        checker, _ = checked(BLOCKS[::2])
        names = [str(each.hash) for each in checker.missing()]
        self.assertEqual(names, sorted(names))
        self.assertGreater(len(names), 20)

    def test_a_block_that_fails(self) -> None:
        """It is told at its place; those above it wait for it; the genuine one may still come."""
        false = without_parents(BLOCKS[10])
        checker, failures = checked([*BLOCKS[:10], false, *BLOCKS[11:]])
        self.assertEqual([(each.where, each.error.rule) for each in failures], [(10, "parents")])
        self.assertEqual(failures[0].error.block_hash, BLOCKS[10].hash)
        self.assertEqual(checker.missing(), [MissingParent(BLOCKS[10].hash, BLOCKS[11].hash, True)])
        self.assertEqual(list(checker.check(BLOCKS[10], 53)), [])
        self.assertEqual((len(checker.index), checker.missing(), checker.failed), (54, [], 1))

    def test_failures_without_end(self) -> None:
        """They are counted, and not all remembered: whoever writes a file has them for nothing."""
        with patch("txsoter.cli.dag_checks.MAX_FAILED", 1):
            checker, failures = checked([*map(without_parents, BLOCKS[:3]), BLOCKS[1], BLOCKS[2]])
        self.assertEqual((checker.failed, len(failures)), (3, 3))
        self.assertEqual(checker.missing(), [MissingParent(BLOCKS[0].hash, BLOCKS[1].hash, True)])
        with patch("txsoter.cli.dag_checks.MAX_FAILED", 0):
            checker, _ = checked([without_parents(BLOCKS[0]), BLOCKS[1]])
        self.assertEqual(checker.missing(), [MissingParent(BLOCKS[0].hash, BLOCKS[1].hash, False)])

    def test_rules(self) -> None:
        """Those on transactions, on the proof of work, and on times; whether the parents are there or not."""
        block = BLOCKS[10]
        no_transactions = Block(block.header, 0, block.parents, 0, block.nonces)
        no_proof = Block(block.header, 0, block.parents, 0, block.nonces[:-1], block.transactions)
        for before in (BLOCKS[:10], []):
            for false, now, rule in (
                (no_transactions, NOW, "transactions"),
                (no_proof, NOW, "20 nonces"),
                (block, block.header.time - 7201.0, "time too new"),
            ):
                checker: DagChecker[None] = DagChecker(SIMNET, lambda now=now: now)  # type: ignore[misc]
                failed = [each for given in (*before, false) for each in checker.check(given, None)]
                self.assertEqual(failed[-1].error.block_hash, block.hash)
                self.assertTrue(failed[-1].error.rule.startswith(rule))

    def test_a_rule_that_is_checked_once_the_parents_have_come(self) -> None:
        """At the place where the block was found; what builds on it goes on waiting."""
        times = [NOW] * 3 + [0.0] * 50
        # 1 and 2 wait for 0, after which the clock is set back
        checker, failures = checked([BLOCKS[2], BLOCKS[1], BLOCKS[0]], lambda: times.pop(0))
        self.assertEqual([(each.where, each.error.rule) for each in failures], [(1, "time too new")])
        self.assertEqual(checker.missing(), [MissingParent(BLOCKS[1].hash, BLOCKS[2].hash, True)])
        self.assertEqual((checker.failed, checker.waiting), (1, 1))

    def test_repeated_blocks(self) -> None:
        """They may wait or not; the genesis block is known without having come."""
        genesis = SIMNET.genesis_block
        assert genesis is not None
        checker, failures = checked([genesis, *BLOCKS[:2], *BLOCKS[:2], BLOCKS[5], BLOCKS[5]])
        self.assertEqual((failures, checker.checked, checker.repeated), ([], 7, 3))

    def test_the_genesis_block_of_another_network(self) -> None:
        other = MAINNET.genesis_block
        assert other is not None
        _, failures = checked([other])
        self.assertEqual([each.error.rule for each in failures], ["parents"])

    def test_a_block_that_commits_to_a_parent_twice(self) -> None:
        """It waits for that parent once."""
        parents = [Parent(BLOCKS[0].hash)] * 2
        coinbase = BLOCKS[0].transactions
        header = BlockHeader(
            prev=parents_commitment([each.hash for each in parents]),
            merkle_root=coinbase[0].txid,
            time=BLOCKS[0].header.time + 1,
        )
        with patch("txsoter.wire.blocks.check_cycle"), patch("txsoter.chain.light.header_index.check_cycle"):
            checker, failures = checked([Block(header, 0, parents, 0, (), coinbase), BLOCKS[0]])
        self.assertEqual((failures, checker.waiting, len(checker.index)), ([], 0, 3))
        self.assertEqual(checker.blue_blocks(), 3)

    def test_parents_named_twice(self) -> None:
        """The header does not commit to that."""
        block = BLOCKS[10]
        twice = Block(block.header, 0, [*block.parents, *block.parents], 0, block.nonces, block.transactions)
        for before in ([], BLOCKS[:10]):
            _, failures = checked([*before, twice])
            self.assertEqual([each.error.rule for each in failures], ["parents"])
