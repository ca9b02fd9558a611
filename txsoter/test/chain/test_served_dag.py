"""Tests of :mod:`txsoter.test.chain.served_dag`: what other tests rely on."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from txsoter.chain import BloomFilter
from txsoter.test import vectors
from txsoter.test.chain.served_dag import GENESIS, ServedDag, block_above, payment
from txsoter.test.node import recorded
from txsoter.test.peer.support import TrialCase
from txsoter.testing import PeerPair, connected_pair
from txsoter.wire import (
    BloomUpdate,
    CFHeaders,
    CFilter,
    GetCFHeaders,
    GetCFilters,
    GetData,
    Hash,
    InventoryType,
    InventoryVector,
    MerkleBlock,
    Tx,
)

ALICE = b"\x14" + b"a" * 20


class ServedDagTests(TrialCase):
    def setUp(self) -> None:
        self.coin = block_above([GENESIS], script=ALICE)
        self.sibling = block_above([GENESIS], number=1)
        self.spent = payment((self.coin.transactions[0], 0), to=[b"\x52"])
        self.top = block_above([self.coin, self.sibling], self.spent)
        self.dag = ServedDag([self.coin, self.sibling, self.top])
        self.pair = self.connect(self.dag)

    def connect(self, dag: ServedDag) -> PeerPair:
        """Return a connection to a node that serves ``dag``, which ends with the test."""
        pair = connected_pair(server=dag.config)
        self.addCleanup(pair.pump)
        self.addCleanup(pair.client.disconnect)
        return pair

    def result(self, deferred: Any) -> Any:
        self.pair.pump()
        return self.successResultOf(deferred)

    def all_of(self, question: Any, kinds: Any, **end: Any) -> list[Any]:
        async def gather() -> list[Any]:
            return [each async for each in self.pair.client.request_all(question, kinds, **end)]

        found: list[Any] = self.result(Deferred.fromCoroutine(gather()))
        return found

    def test_filters_by_height_and_shown_hash(self) -> None:
        found = self.all_of(GetCFilters(start_height=1, stop=self.top.hash), CFilter, count=3)
        siblings = sorted((self.coin.hash, self.sibling.hash), key=str)
        self.assertEqual([each.block_hash for each in found], [*siblings, self.top.hash])
        self.assertIn(ALICE, self.dag.filters[self.coin.hash])
        self.assertIn(ALICE, self.dag.filters[self.top.hash])
        self.assertNotIn(ALICE, self.dag.filters[self.sibling.hash])

    def test_filter_hashes_begin_with_the_other_siblings_of_the_height_below(self) -> None:
        """As a soterd's do, which takes the first of the height below for the block before."""
        found = self.result(self.pair.client.request(GetCFHeaders(start_height=2, stop=self.top.hash), CFHeaders))
        first, second = sorted((self.coin.hash, self.sibling.hash), key=str)
        self.assertEqual(found.previous_header, self.dag.filter_headers[first])
        self.assertEqual(
            list(found.filter_hashes), [self.dag.filters[second].hash, self.dag.filters[self.top.hash].hash]
        )
        found = self.result(self.pair.client.request(GetCFHeaders(start_height=0, stop=GENESIS.hash), CFHeaders))
        self.assertEqual(list(found.filter_hashes), [self.dag.filters[GENESIS.hash].hash])

    def test_filters_of_the_recorded_dag(self) -> None:
        """They are those of the node that the DAG was recorded from."""
        dag = ServedDag(block for _, block in recorded())
        rows = [row for row in vectors.consensus("gcs") if row["kind"] == "dag"]
        self.assertGreater(len(rows), 30)
        for row in rows:
            block_hash = Hash.from_hex(row["block_hash"])
            self.assertEqual(str(dag.filters[block_hash].hash), row["filter_hash"])
            self.assertEqual(str(dag.filter_headers[block_hash]), row["header"])

    def test_filtered_blocks(self) -> None:
        bloom = BloomFilter(10, 1e-6, flags=BloomUpdate.ALL)
        bloom.add(ALICE[1:])
        self.pair.client.send(bloom.filter_load())
        wanted = [InventoryVector(InventoryType.WITNESS_FILTERED_BLOCK, each.hash) for each in (self.coin, self.top)]
        first, coinbase, second, spending = self.all_of(GetData(wanted), (MerkleBlock, Tx))
        self.assertEqual((first.hash, first.matched()), (self.coin.hash, [coinbase.txid]))
        self.assertEqual((second.hash, second.matched()), (self.top.hash, [self.spent.txid]))
        self.assertEqual(spending.inputs[0].witness, (b"signature",))
