"""A watch among peers that lie about filters and blocks: it finds all the same."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from txsoter import SoterPeerProtocol
from txsoter.chain import GolombFilter, basic_filter_items, filter_header
from txsoter.chain.light import filter_disputes
from txsoter.test.chain.light.light_scene import LightScene
from txsoter.test.chain.light.watch_story import ALICE, BOB, FILTERS, PLAIN, WatchTestCase
from txsoter.test.chain.served_dag import ServedDag, block_above
from txsoter.wire import (
    Block,
    CFilter,
    GetCFilters,
    GetData,
    Tx,
    TxIn,
    TxOut,
)


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

    def test_filters_of_which_the_last_do_not_come(self) -> None:
        """Matches among the first of them are not forgotten."""
        story = self.story

        class Halting:
            """Sends all but the last."""

            def __init__(self, peer: SoterPeerProtocol) -> None:
                self.peer = peer

            def send(self, answer: CFilter) -> None:
                if not is_halting or answer.block_hash != story.blocks[-1].hash:
                    self.peer.send(answer)

        def send(peer: Any, question: GetCFilters) -> None:
            scene.dags[0].send_filters(Halting(peer), question)  # type: ignore[arg-type]

        is_halting = False
        scene = LightScene([self.story.dag(FILTERS, hooks={"on_getcfilters": send}) for _ in range(2)], start=False)
        scene.wait_for_filter_headers(scene.dags[0])
        is_halting = True
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

    def test_a_spent_script_that_nothing_shows_and_most_hide(self) -> None:
        """The filter that is taken does not have it: the block is searched all the same."""
        items = [*basic_filter_items(self.story.spent, ()), b"something else"]
        liars = [self.story.dag(FILTERS) for _ in range(2)]
        for each in liars:
            each.filters[self.story.spent.hash] = GolombFilter.build(self.story.spent.hash[:16], items)
        with patch.object(filter_disputes, "MOST_FETCHED", 0):
            scene = LightScene([*liars, self.story.dag(FILTERS)])
            self.assert_finds(scene, scene.watch([ALICE]), *self.story.of_alice)
        record = scene.client.index[self.story.spent.hash]
        below = scene.client.index[record.parents[-1]].filter_header
        assert below is not None
        self.assertEqual(record.filter_header, filter_header(liars[0].filters[record.hash], below))
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

    def test_what_spends_an_output_in_such_a_block_comes_once_more(self) -> None:
        """It came for another output before, and is known to spend the missing one then; nothing else comes twice."""
        scene = self.scene(FILTERS, FILTERS)
        scene.wait_for_filter_headers(scene.dags[0])
        coin = self.story.coin
        kept = [dag.node.blocks.pop(coin.hash) for dag in scene.dags]
        paid = block_above([self.story.blocks[-1]], script=BOB, number=61)
        scene.announce(paid)
        watcher = scene.watch([ALICE, BOB])
        scene.network.run(100)
        for dag, each in zip(scene.dags, kept, strict=True):
            dag.node.blocks[coin.hash] = each
        mined, spending = self.story.of_alice
        self.assert_finds(scene, watcher, spending, paid.transactions[0].txid, mined, spending)
        self.assertEqual([each.spends for each in watcher.found], [(), (), (), (0,)])
        scene.close()

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
