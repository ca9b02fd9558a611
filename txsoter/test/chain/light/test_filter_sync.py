"""Tests of :mod:`txsoter.chain.light.filter_sync`: a client's filter headers, of honest and lying peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from txsoter import SoterPeerProtocol
from txsoter.chain import GolombFilter, basic_filter_items
from txsoter.chain.light import filter_disputes, filter_sync
from txsoter.chain.light.filter_hashes import FilterRange
from txsoter.chain.light.filter_peers import FilterPeers
from txsoter.chain.light.filter_sync import RECENT
from txsoter.errors import RequestNotFound, RequestTimedOut
from txsoter.test.chain.light.light_scene import NOW, LightScene
from txsoter.test.chain.light.wide_dags import BLOCKS
from txsoter.test.chain.served_dag import GENESIS, ServedDag, block_above
from txsoter.test.peer.cases import noting
from txsoter.test.peer.support import TrialCase
from txsoter.testing import connected_pair
from txsoter.wire import (
    Block,
    CFHeaders,
    CFilter,
    GetCFHeaders,
    GetCFilters,
    GetData,
    Hash,
    NotFound,
    Services,
    double_sha256,
)

NOT_THERE = b"\x14" + b"z" * 20


PLAIN = next(each for each in BLOCKS[10:] if len(each.transactions) == 1)
SPENDING = next(each for each in BLOCKS if len(each.transactions) == 2)


def filter_of(block: Block, items: list[bytes]) -> GolombFilter:
    return GolombFilter.build(block.hash[:16], items)


def lying_about(block: Block, items: list[bytes]) -> ServedDag:
    """Return a node whose filter of a block has other items; its hashes and filters say the same."""
    dag = ServedDag(BLOCKS)
    dag.filters[block.hash] = filter_of(block, items)
    return dag


class FilterSyncTestCase(TrialCase):
    def sync(self, *others: ServedDag, honest: int = 2, **fields: Any) -> LightScene:
        """Let a client sync from honest nodes and others; check that it has the honest nodes' filter headers."""
        scene = LightScene([*(ServedDag(BLOCKS) for _ in range(honest)), *others], **fields)
        scene.wait_for_filter_headers(scene.dags[0], 300)
        return scene

    def assert_dropped(self, scene: LightScene, points: float, reason: str) -> None:
        """The last node was dropped, it alone."""
        self.assertEqual(list(scene.dropped), [len(scene.nodes) - 1])
        self.assertEqual(scene.dropped[len(scene.nodes) - 1], (points, reason))
        scene.close()

    def assert_none_dropped(self, scene: LightScene) -> None:
        self.assertEqual(scene.dropped, {})
        scene.close()


class HonestPeersTests(FilterSyncTestCase):
    def test_hashes_are_asked_for_up_to_the_last_heights_then_filters(self) -> None:
        scene = self.sync()
        top = scene.client.index.max_height
        for dag in scene.dags:
            hashes, filters = dag.questions
            assert isinstance(hashes, GetCFHeaders) and isinstance(filters, GetCFilters)
            self.assertEqual(scene.client.index[hashes.stop].height, top - RECENT)
            self.assertEqual(filters.start_height, top - RECENT + 1)
        self.assert_none_dropped(scene)

    def test_a_new_block(self) -> None:
        scene = self.sync()
        for number in range(3):
            scene.announce(block_above([scene.dags[0].node.blocks[scene.client.index.tips[0].hash][1]], number=number))
            scene.wait_for_filter_headers(scene.dags[0])
        self.assert_none_dropped(scene)

    def test_a_new_block_that_one_peer_hears_of_a_little_later(self) -> None:
        """Peers are given a second; else the later one would be waited for in vain."""
        scene = self.sync()
        new = block_above([BLOCKS[-1]])
        scene.announce(new, scene.dags[0])
        scene.network.run(0.5)
        scene.announce(new, scene.dags[1])
        scene.wait_for_filter_headers(scene.dags[0], 5)
        self.assert_none_dropped(scene)

    def test_a_peer_that_knows_a_sibling_more_is_no_liar(self) -> None:
        """Its list of hashes is longer; so is that of the height above."""
        low = block_above([BLOCKS[3]], number=77)
        scene = LightScene([ServedDag(BLOCKS), ServedDag([*BLOCKS, low])])
        scene.wait_for_filter_headers(scene.dags[0], 300, besides=[low])
        self.assertIsNone(scene.client.index[low.hash].filter_header)
        new = block_above([BLOCKS[-1]], number=1)
        scene.announce(new)
        scene.wait_for_filter_headers(scene.dags[0], 300, besides=[low])
        scene.announce(low, scene.dags[0])
        scene.wait_for_filter_headers(scene.dags[1], 100)
        self.assert_none_dropped(scene)

    def test_a_sibling_that_comes_late(self) -> None:
        scene = self.sync()
        late = block_above([BLOCKS[3]], number=78)
        scene.announce(late)
        scene.wait_for_filter_headers(scene.dags[0])
        self.assert_none_dropped(scene)

    def test_too_few_peers(self) -> None:
        """Nothing is believed of one peer, unless it is to be."""
        scene = LightScene([ServedDag(BLOCKS)])
        scene.network.run(100)
        self.assertEqual([each for each in scene.filter_headers().values() if each][1:], [])
        scene.add(ServedDag(BLOCKS))
        scene.wait_for_filter_headers(scene.dags[0])
        self.assert_none_dropped(scene)
        self.assert_none_dropped(self.sync(honest=1, filter_peers=1))

    def test_peers_that_offer_no_filters_are_not_asked(self) -> None:
        plain = ServedDag(BLOCKS, services=Services.NETWORK | Services.WITNESS)
        scene = self.sync(plain)
        self.assertEqual(plain.questions, [])
        self.assert_none_dropped(scene)

    def test_a_height_with_more_siblings_than_can_be_asked_for(self) -> None:
        """Their filters never come, nor those of blocks above them; others do."""
        scene = LightScene([ServedDag(BLOCKS)])
        self.addCleanup(scene.close)
        index = scene.client.index
        wide = next(height for height in range(50) if len(index.at_height(height)) > 1)
        self.assertIsNone(FilterRange.above(index, wide, 50, most=1))
        for lowest in (1, 5, wide):
            asked = FilterRange.above(index, lowest, 50, most=8)
            assert asked is not None
            self.assertLessEqual(len(asked.records), 8)
            self.assertGreaterEqual(asked.records[-1].height, lowest)


class StrangeTests(FilterSyncTestCase):
    """Restarts, heights with too many blocks, and failures of our own."""

    def test_after_a_restart_only_what_is_new_is_asked_for(self) -> None:
        scene = self.sync()
        scene.network.wait_for(scene.client.stopService())
        new = block_above([BLOCKS[-1]])
        for dag in scene.dags:
            dag.questions.clear()
            dag.announce(new)
        scene.client.startService()
        scene.wait_for_filter_headers(scene.dags[0])
        height = scene.client.index[new.hash].height
        self.assertEqual([(each.start_height, each.stop) for each in scene.dags[0].questions], [(height, new.hash)])
        self.assert_none_dropped(scene)

    def test_a_height_with_too_many_siblings(self) -> None:
        """No answer would have their filters: they are not asked for, nor those of blocks above them; others are."""
        scene = LightScene([ServedDag(), ServedDag()])
        siblings = [block_above([GENESIS], number=number) for number in range(501)]
        above, other = block_above(siblings[:1], number=600), block_above([siblings[0], GENESIS], number=601)
        top = block_above([GENESIS, above], number=602)
        for block in [*siblings, above, other, top]:
            scene.client.store.add(scene.client.index.check_block(block, NOW))
            for dag in scene.dags:
                dag.take(block)
        scene.network.wait_for(scene.client.stopService())
        scene.client.startService()
        scene.network.run(100)
        known = {each for each, header in scene.filter_headers().items() if header}
        self.assertEqual(known, {GENESIS.hash, other.hash})
        self.assertTrue(all(each.start_height > 1 for each in scene.dags[0].questions))
        self.assert_none_dropped(scene)

    def test_a_failure_of_our_own_is_logged(self) -> None:
        with patch.object(filter_sync, "compare", side_effect=ZeroDivisionError):
            scene = LightScene([ServedDag(BLOCKS), ServedDag(BLOCKS)])
            scene.network.run(20)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        scene.close()


class FilterPeersTests(FilterSyncTestCase):
    def test_the_silent_are_asked_last_and_not_if_there_are_enough_others(self) -> None:
        """A peer that says that it does not have something has answered."""
        pairs = [connected_pair(server=ServedDag().config) for _ in range(3)]
        first, second, third = [pair.client for pair in pairs]
        for pair in pairs:
            self.addCleanup(pair.pump)
            self.addCleanup(pair.client.disconnect)
        peers = FilterPeers(lambda: [first, second, third], noting([]))
        for _ in range(5):
            peers.failed(first, RequestNotFound("getdata", []))
            peers.failed(second, RequestTimedOut("getcfilters", 30))
        self.assertEqual(peers.offering(Services.CF), [first, third, second])
        self.assertEqual(peers.to_ask(Services.CF, 2), [first, third])
        self.assertEqual(peers.to_ask(Services.CF, 3), [first, third, second])
        peers.answered(second)
        self.assertEqual(peers.to_ask(Services.CF, 2), [first, second, third])


class LiarTests(FilterSyncTestCase):
    """Each lie, among two honest peers: the liar is dropped, and the sync goes on."""

    def test_a_filter_that_lacks_an_output_script(self) -> None:
        scene = self.sync(lying_about(PLAIN, []))
        self.assert_dropped(scene, 100, "its filter is not its block's: output scripts")

    def test_a_filter_with_another_script(self) -> None:
        scene = self.sync(lying_about(PLAIN, [*basic_filter_items(PLAIN, ()), NOT_THERE]))
        self.assert_dropped(scene, 100, "its filter is not its block's: items of the filter")

    def test_the_filter_of_another_block(self) -> None:
        dag = ServedDag(BLOCKS)
        dag.filters[PLAIN.hash] = dag.filters[BLOCKS[0].hash]
        self.assert_dropped(self.sync(dag), 100, "its filter is not its block's: output scripts")

    def test_what_is_no_filter(self) -> None:
        dag = ServedDag(BLOCKS)
        dag.filters[PLAIN.hash] = GolombFilter(b"\xfe\xff", b"", 0, ())
        self.assert_dropped(self.sync(dag), 100, "its filter is not its block's: count of items")

    def test_a_filter_of_the_last_heights(self) -> None:
        top = BLOCKS[-1]
        self.assert_dropped(self.sync(lying_about(top, [])), 100, "its filter is not its block's: output scripts")

    def test_a_liar_that_answers_first_and_one_honest_peer(self) -> None:
        """Nothing is believed until another honest peer is there; the liar is gone by then."""
        scene = LightScene([ServedDag(BLOCKS), lying_about(PLAIN, [])])
        scene.network.run(60)
        self.assertEqual(list(scene.dropped), [1])
        self.assertIsNone(scene.client.index[PLAIN.hash].filter_header)
        scene.add(ServedDag(BLOCKS))
        scene.wait_for_filter_headers(scene.dags[0])
        scene.close()

    def test_all_lie(self) -> None:
        """All are dropped; the sync waits for others."""
        scene = LightScene([lying_about(PLAIN, []), lying_about(PLAIN, [NOT_THERE])])
        scene.network.run(60)
        self.assertEqual(set(scene.dropped), {0, 1})
        for _ in range(2):
            scene.add(ServedDag(BLOCKS))
        scene.wait_for_filter_headers(scene.dags[-1])
        scene.close()

    def test_a_liar_that_does_not_show_its_filter(self) -> None:
        """Its hash is not believed; that of the others is."""

        def send(peer: SoterPeerProtocol, question: GetCFilters) -> None:
            if question.stop != PLAIN.hash:
                dag.send_filters(peer, question)

        dag = ServedDag(BLOCKS, hooks={"on_getcfilters": send})
        dag.filters[PLAIN.hash] = filter_of(PLAIN, [])
        self.assert_none_dropped(self.sync(dag))

    def test_a_block_that_nobody_sends_in_a_dispute(self) -> None:
        """It is asked for again later."""
        is_lacking = False

        async def serve(peer: SoterPeerProtocol, question: GetData) -> None:
            if is_lacking:
                peer.send(NotFound(question.vectors))
            else:
                await lying.serve(peer, question)

        lying = ServedDag(BLOCKS, hooks={"on_getdata": serve})
        lying.filters[PLAIN.hash] = filter_of(PLAIN, [])
        others = [ServedDag(BLOCKS, hooks={"on_getdata": serve}) for _ in range(2)]
        scene = LightScene([*others, lying], start=False)
        scene.network.run_until(lambda: scene.client.store.is_open and PLAIN.hash in scene.client.index)
        scene.network.run_until(lambda: len(scene.client.index) == len(BLOCKS) + 1)
        is_lacking = True
        scene.network.run(100)
        self.assertIsNone(scene.client.index[PLAIN.hash].filter_header)
        self.assertEqual(scene.dropped, {})
        is_lacking = False
        scene.wait_for_filter_headers(others[0], 600)
        self.assert_dropped(scene, 100, "its filter is not its block's: output scripts")

    def test_an_item_in_place_of_a_spent_script(self) -> None:
        """The block that has the spent output is found below."""
        scene = self.sync(lying_about(SPENDING, [*basic_filter_items(SPENDING, ()), NOT_THERE]))
        self.assert_dropped(scene, 100, "its filter is not its block's: items of the filter")

    def test_spent_outputs_too_far_below_to_be_looked_for(self) -> None:
        """Nothing is proven then: nobody is dropped, and the filter that most peers have is taken."""
        with patch.object(filter_disputes, "MOST_FETCHED", 1):
            self.assert_none_dropped(self.sync(lying_about(SPENDING, [*basic_filter_items(SPENDING, ()), NOT_THERE])))

    def test_a_filter_without_a_spent_script(self) -> None:
        """That may be honest: nobody is dropped, and the larger filter is taken."""
        scene = self.sync(lying_about(SPENDING, basic_filter_items(SPENDING, ())))
        self.assert_none_dropped(scene)

    def test_filters_without_spent_scripts_again_and_again(self) -> None:
        """Each costs fetched blocks: at the tenth the peer is dropped, and may come again."""
        dag = ServedDag(BLOCKS)
        for block in BLOCKS:
            dag.filters[block.hash] = filter_of(block, basic_filter_items(block, ()))
        self.assert_dropped(self.sync(dag), 0, "its filters differ from those of others again and again")


class AnswerTests(FilterSyncTestCase):
    """Answers that are none, among two honest peers."""

    def answering(self, change: Callable[[CFHeaders], CFHeaders]) -> ServedDag:
        """Return a node that lists other hashes than those of its filters."""

        def send(peer: SoterPeerProtocol, question: GetCFHeaders) -> None:
            class Altering:
                def send(self, answer: CFHeaders) -> None:
                    peer.send(change(answer))

            altering: Any = Altering()
            dag.send_filter_hashes(altering, question)

        dag = ServedDag(BLOCKS, hooks={"on_getcfheaders": send})
        return dag

    def test_hashes_that_are_not_its_filters(self) -> None:
        """As of a peer with another view of the siblings: at the third time it is dropped."""

        def swap(answer: CFHeaders) -> CFHeaders:
            hashes = [double_sha256(each) for each in answer.filter_hashes]
            hashes[: RECENT // 2] = answer.filter_hashes[: RECENT // 2]
            return CFHeaders(answer.stop, answer.previous_header, hashes)

        self.assert_dropped(self.sync(self.answering(swap)), 50, "its filters are not those whose hashes it tells")

    def test_one_hash_that_is_not_its_filters(self) -> None:
        def alter(answer: CFHeaders) -> CFHeaders:
            hashes = list(answer.filter_hashes)
            hashes[10] = Hash(bytes(32))
            return CFHeaders(answer.stop, answer.previous_header, hashes)

        self.assert_none_dropped(self.sync(self.answering(alter)))

    def test_too_many_hashes_or_none(self) -> None:
        """The filters tell, then."""
        many = self.answering(lambda answer: CFHeaders(answer.stop, answer.previous_header, [Hash(bytes(32))] * 2000))
        none = self.answering(lambda answer: CFHeaders(answer.stop, answer.previous_header, []))
        other = self.answering(lambda answer: CFHeaders(GENESIS.hash, answer.previous_header, answer.filter_hashes))
        other_type = self.answering(
            lambda answer: CFHeaders(answer.stop, filter_hashes=answer.filter_hashes, filter_type=7)
        )
        self.assert_none_dropped(self.sync(many, none, other_type))
        self.assert_none_dropped(self.sync(other))

    def test_another_previous_header_is_no_lie(self) -> None:
        """It depends on all filters below; an honest node may have another of one of them."""
        self.assert_none_dropped(
            self.sync(self.answering(lambda answer: CFHeaders(answer.stop, GENESIS.hash, answer.filter_hashes)))
        )

    def test_silence(self) -> None:
        """After three questions a peer is asked no more, as long as enough others answer."""
        heard: list[Any] = []
        hooks = {"on_getcfheaders": noting(heard), "on_getcfilters": noting(heard)}
        scene = self.sync(ServedDag(BLOCKS, hooks=hooks))
        for number in range(5):
            scene.announce(block_above([BLOCKS[-1]], number=number))
            scene.wait_for_filter_headers(scene.dags[0])
        self.assertEqual(len(heard), 3)
        for peer in scene.client.followed[:2]:
            peer.disconnect()
        scene.network.run(1)
        scene.add(scene.dags[0])
        scene.announce(block_above([BLOCKS[-1]], number=99))
        scene.network.run(60)
        self.assertGreater(len(heard), 3)
        self.assert_none_dropped(scene)

    def test_a_block_that_a_liar_shows_to_us_alone(self) -> None:
        """Honest nodes are silent about it, again and again; that is not held against them."""
        for below in (BLOCKS[3], BLOCKS[-1]):
            block = block_above([below], number=66)
            liar = ServedDag([*BLOCKS, block])
            liar.filters[block.hash] = filter_of(block, [])
            scene = LightScene([ServedDag(BLOCKS), ServedDag(BLOCKS), liar])
            for number in range(4):
                scene.network.run(300)
                scene.announce(block_above([BLOCKS[-1]], number=number), *scene.dags[:2])
            scene.wait_for_filter_headers(scene.dags[0], 300, besides=[block])
            self.assertIsNone(scene.client.index[block.hash].filter_header)
            self.assert_none_dropped(scene)

    def test_filters_of_unknown_blocks_and_the_same_filter_without_end(self) -> None:
        """These are no answers."""

        def flood(peer: SoterPeerProtocol, question: GetCFilters) -> None:
            first = dag.between(question.start_height, question.stop)[0]
            for _ in range(200):
                peer.send(CFilter(Hash(bytes(32)), b"\0"))
                peer.send(CFilter(first, bytes(dag.filters[first])))
                peer.send(CFilter(first, bytes(dag.filters[first]), filter_type=1))

        dag = ServedDag(BLOCKS, hooks={"on_getcfilters": flood})
        scene = self.sync(dag)
        self.assert_none_dropped(scene)
