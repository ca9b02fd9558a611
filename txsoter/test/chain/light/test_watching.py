"""Tests of :mod:`txsoter.chain.light.watching`: what concerns a program, found in simulated nodes' blocks."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred

from txsoter.chain import golomb_filter
from txsoter.chain.light import sync_peer
from txsoter.errors import FieldError, LocalError
from txsoter.test.chain.light.light_scene import LightScene
from txsoter.test.chain.light.watch_story import ALICE, BLOOM, BOB, FILTERS, PLAIN, WatchTestCase
from txsoter.test.chain.served_dag import GENESIS, block_above, payment


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

    def test_blocks_that_were_asked_for_are_no_flood(self) -> None:
        """A peer may not send many blocks that header sync has not asked for; a watch asks for others."""
        with patch.multiple(sync_peer, UNASKED=20.0, UNASKED_RATE=0.0):
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
        """One that offers filters is not enough: a minute goes by in which nothing is believed, nor blocks fetched."""
        scene = self.scene(FILTERS)
        self.forget_questions(scene)
        watcher = scene.watch([ALICE])
        scene.network.run(50)
        self.assertEqual((watcher.found, self.fetched(scene)), ([], set()))
        scene.add(self.story.dag(FILTERS))
        self.assert_finds(scene, watcher, *self.story.of_alice)
        scene.close()

    def test_too_few_peers(self) -> None:
        """After a minute the blocks themselves are searched; also when a peer goes away."""
        scene = self.scene(FILTERS)
        watcher = scene.watch([ALICE])
        self.assert_finds(scene, watcher, *self.story.of_alice, timeout=100)
        self.assertEqual(set(scene.filter_headers().values()), {None, scene.dags[0].filter_headers[GENESIS.hash]})
        scene.add(self.story.dag(FILTERS))
        scene.wait_for_filter_headers(scene.dags[0])
        scene.client.followed[1].disconnect()
        scene.network.run(1)
        paid = block_above([self.story.blocks[-1]], script=ALICE, number=30)
        scene.announce(paid, scene.dags[0])
        self.assert_finds(scene, watcher, *self.story.of_alice, paid.transactions[0].txid, timeout=100)
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
