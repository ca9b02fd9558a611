"""A light client as a service, in simulated networks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import LogLevel, capturedLogs, formatEvent

from txsoter import SIMNET, Listeners, PeerConfig, connect
from txsoter.chain import HeaderRecord, LightClient, SyncProgress
from txsoter.errors import LocalError
from txsoter.service.misbehaviour import ScoreKeeper
from txsoter.service.scores import Scores
from txsoter.state_file import StateError
from txsoter.test.chain.light.client_world import ClientWorld
from txsoter.test.chain.light.dags import GENESIS, block_above, chain_of, random_dag
from txsoter.test.chain.light.sync_world import listed
from txsoter.test.node import FakeNode, recorded
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.support import AtOnce
from txsoter.testing import SimulatedNetwork
from txsoter.wire import Block, GetBlocks, GetData, GetHeaders, Headers


class ClientTests(TrialCase):
    def folder(self) -> Path:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return Path(folder.name) / "state"

    def test_recorded_blocks_with_their_proofs(self) -> None:
        """Mined by soterd nodes: with the time of now, and all that is checked."""
        network = SimulatedNetwork(1)
        blocks = recorded()
        network.clock.advance(max(block.header.time for _, block in blocks))
        there = network.node(FakeNode(blocks).factory.config)
        there.listen()
        here = network.node()
        client = LightClient(here.config)
        client.peers.dial(here.client_endpoint(there), "there")
        client.startService()
        network.wait_for(client.when_synced())
        self.assertEqual([record.hash for record in client.index][1:], [block.hash for _, block in blocks])
        self.assertEqual(client.index.max_height, 50)
        network.wait_for(maybeDeferred(client.stopService))
        network.close()

    def test_proofs_that_are_none(self) -> None:
        """The nonces are not in a block's hash: a liar may send others. The genuine ones are kept."""
        blocks = recorded()
        genuine = {block.hash: tuple(block.nonces) for _, block in blocks}

        def serve(peer: Any, question: GetData) -> None:
            for each in question.vectors:
                (block,) = (block for _, block in blocks if block.hash == each.hash)
                nonces = list(block.nonces)
                nonces[3] = nonces[3] ^ 1
                peer.send(Block(block.header, parents=block.parents, nonces=nonces, transactions=block.transactions))

        world = ClientWorld(check_proofs=True)
        world.network.clock.advance(max(block.header.time for _, block in blocks) - world.network.clock.seconds())
        nodes = [world.node([block for _, block in blocks], **hooks) for hooks in ({"on_getdata": serve}, {})]
        world.dial(nodes[0])
        world.client.startService()
        world.network.run(5)
        self.assertEqual(len(world.client.index), 1)
        self.assertEqual(set(world.dropped), {nodes[0].at.host})
        self.assertIn("it sent a block that breaks a rule: ", str(world.dropped[nodes[0].at.host]))
        world.dial(nodes[1])
        world.network.wait_for(world.client.when_synced())
        self.assertEqual({each.hash: each.nonces for each in world.client.index if each.height}, genuine)
        world.end()

    def test_it_resumes_where_it_was(self) -> None:
        """After a restart it fetches only what is new, also what is a late sibling far below."""
        folder = self.folder()
        blocks = chain_of(1300)
        world = ClientWorld(folder=folder, worker=AtOnce())
        node = world.node(blocks)
        world.dial(node)
        world.client.startService()
        world.network.wait_for(world.client.when_synced())
        world.end()
        self.assertTrue(world.has(blocks))
        more = [*blocks, block_above(blocks[-1:]), block_above([blocks[2]], 7)]
        again = ClientWorld(folder=folder, worker=AtOnce())
        node = again.node(more)
        again.dial(node)
        again.client.startService()
        self.assertEqual(again.client.progress.synced, 1301)
        again.network.wait_for(again.client.when_synced())
        again.network.run(10)
        self.assertTrue(again.has(more))
        asked = [len(each.vectors) for each in node.fake.questions if isinstance(each, GetData)]
        self.assertEqual(sum(asked), 2)
        again.end()

    def test_it_can_be_stopped_and_started_again(self) -> None:
        world = ClientWorld()
        blocks = random_dag(Random(4), 40)
        world.dial(world.node(blocks))
        for _ in range(2):
            world.client.startService()
            world.network.wait_for(world.client.when_synced())
            self.assertTrue(world.has(blocks))
            world.network.wait_for(maybeDeferred(world.client.stopService))
            self.assertEqual((world.client.followed, world.client.in_step), ([], []))
            self.assertFalse(world.client.progress.is_synced)
        world.end()

    def test_a_folder_that_cannot_be_used(self) -> None:
        folder = self.folder()
        folder.write_text("not a folder")
        world = ClientWorld(folder=folder, worker=AtOnce())
        self.assertRaises(StateError, world.client.startService)
        self.assertFalse(world.client.running)
        world.network.close()

    def test_listeners_are_told_of_each_block_once(self) -> None:
        """Parents first; one that fails is logged, and the others are told."""
        world = ClientWorld()
        blocks = random_dag(Random(5), 50)
        told: list[tuple[HeaderRecord, Block]] = []

        def failing(record: HeaderRecord, block: Block) -> None:
            raise RuntimeError("it is not well")

        world.client.listen_to_blocks(failing)
        stop = world.client.listen_to_blocks(lambda record, block: told.append((record, block)))
        nodes = [world.node(blocks), world.node(blocks[:30])]
        world.dial(*nodes)
        world.client.startService()
        world.network.wait_for(world.client.when_synced())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 50)
        self.assertEqual([record for record, _ in told], list(world.client.index)[1:])
        self.assertTrue(all(record.hash == block.hash for record, block in told))
        stop()
        nodes[0].announce(block_above(blocks[-1:], 99))
        world.network.run(3)
        self.assertEqual(len(told), 50)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        world.end()

    def test_a_block_that_is_announced_by_its_header(self) -> None:
        world = ClientWorld()
        blocks = chain_of(9)
        node = world.node(blocks)
        world.dial(node)
        world.client.startService()
        world.network.wait_for(world.client.when_synced())
        (new,) = chain_of(1, blocks[-1], 50)
        node.fake.blocks[new.hash] = (10, new)
        for peer in node.peers:
            peer.send(Headers([new.header]))
        world.network.run(3)
        self.assertTrue(world.has([*blocks, new]))
        world.end()

    def test_progress(self) -> None:
        """From nothing to all of it, a second at a time; then the iterator ends."""
        world = ClientWorld()
        world.network.latency = (1.0, 1.0)
        blocks = chain_of(2000)
        world.dial(world.node(blocks))
        self.assertEqual(
            world.client.progress,
            SyncProgress(synced=0, total=0, height=-1, rate=0.0, eta=0.0, peers=0, in_step=0, is_synced=False),
        )
        world.client.startService()
        seen: list[SyncProgress] = []

        async def look() -> None:
            async for progress in world.client.each_progress():
                seen.append(progress)

        world.network.wait_for(Deferred.fromCoroutine(look()))
        first, last = seen[0], seen[-1]
        self.assertEqual((first.synced, first.total, first.peers, first.is_synced), (1, 1, 0, False))
        self.assertEqual((last.synced, last.total, last.height, last.in_step), (2001, 2001, 2000, 1))
        self.assertEqual((last.eta, last.is_synced), (0.0, True))
        amid = [each for each in seen if 1 < each.synced < 2001]
        self.assertGreater(len(amid), 2)
        for each in amid:
            self.assertEqual((each.total, each.peers), (2001, 1))
            assert each.eta is not None
            self.assertAlmostEqual(each.eta, (2001 - each.synced) / each.rate)
        self.assertEqual(sorted(seen, key=lambda each: each.synced), seen)
        world.end()

    def test_who_waits_when_it_is_stopped_is_told(self) -> None:
        world = ClientWorld()
        world.client.startService()
        synced = world.client.when_synced()
        seen: list[SyncProgress] = []

        async def look() -> None:
            async for progress in world.client.each_progress():
                seen.append(progress)

        looking = Deferred.fromCoroutine(look())
        world.network.run(2.5)
        world.network.wait_for(maybeDeferred(world.client.stopService))
        self.failureResultOf(synced, LocalError)
        self.successResultOf(looking)
        self.assertEqual(len(seen), 3)
        world.end()

    def test_one_who_does_not_wait_any_more(self) -> None:
        world = ClientWorld()
        world.client.startService()
        synced = world.client.when_synced()
        synced.addErrback(lambda failure: None)
        synced.cancel()
        blocks = chain_of(3)
        world.dial(world.node(blocks))
        world.network.run(10)
        self.assertTrue(world.client.progress.is_synced)
        self.assertIsNone(self.successResultOf(world.client.when_synced()))
        world.end()

    def test_peers_that_one_brings(self) -> None:
        """All that are made with its config are followed, whoever dials."""
        world = ClientWorld()
        blocks = chain_of(30)
        one, two = world.node(blocks), world.node([*blocks, block_above(blocks[-1:], 5)])
        world.client.startService()
        brought = world.network.wait_for(connect(world.here.client_endpoint(one.at), world.client.config))
        world.here.config = world.client.config
        world.here.listen()
        world.network.wait_for(two.at.connect(world.here))
        world.network.run(10)
        self.assertTrue(world.has([*blocks, block_above(blocks[-1:], 5)]))
        self.assertEqual(len(world.client.followed), 2)
        self.assertEqual(world.client.in_step, world.client.followed)
        self.assertIn(brought, world.client.followed)
        # it ends those of its own service only
        world.network.wait_for(maybeDeferred(world.client.stopService))
        self.assertFalse(brought.is_closing)
        brought.disconnect()
        world.network.run(1)
        self.assertEqual(world.client.followed, [])
        world.network.close()

    def test_peers_that_serve_no_blocks_are_not_followed(self) -> None:
        world = ClientWorld()
        other = world.network.node(PeerConfig(network=SIMNET))
        other.listen()
        world.client.peers.dial(world.here.client_endpoint(other), "other")
        world.client.startService()
        world.network.run(5)
        self.assertEqual((len(world.here.peers), world.client.followed), (1, []))
        world.end()

    def test_peers_that_are_ready_before_the_headers_are_read(self) -> None:
        blocks = chain_of(9)
        world = ClientWorld()
        node = world.node(blocks)
        world.dial(node)
        opened: Deferred[Any] = Deferred()
        index: Any = self.successResultOf(world.client.store.open())
        world.client.store.open = lambda: opened  # type: ignore[method-assign]
        world.client.startService()
        world.network.run(5)
        self.assertEqual(len(world.here.peers), 1)
        self.assertEqual((world.client.followed, len(world.client.index)), ([], 1))
        (new,) = chain_of(1, blocks[-1], 50)
        node.announce(new)
        world.network.run(5)
        self.assertEqual([type(each) for each in node.fake.questions], [])
        opened.callback(index)
        world.network.run(5)
        self.assertTrue(world.has([*blocks, new]))
        world.end()

    def test_stopped_before_the_headers_are_read(self) -> None:
        world = ClientWorld()
        opened: Deferred[Any] = Deferred()
        index: Any = self.successResultOf(world.client.store.open())
        world.client.store.open = lambda: opened  # type: ignore[method-assign]
        world.client.startService()
        stopped = maybeDeferred(world.client.stopService)
        world.network.run(1)
        self.assertNoResult(stopped)
        opened.callback(index)
        self.successResultOf(stopped)
        self.assertEqual(world.network.clock.getDelayedCalls(), [])
        world.end()

    def test_a_liar_is_scored_and_its_address_refused(self) -> None:
        clock = ClientWorld().network.clock
        scores = ScoreKeeper(Scores(whitelist=()), clock=clock)
        world = ClientWorld(scores=scores)
        blocks = chain_of(9)

        def serve(peer: Any, question: GetData) -> None:
            for block in blocks:
                peer.send(Block(block.header, transactions=block.transactions))

        liar = world.node(blocks, on_getdata=serve)
        world.dial(liar)
        world.client.startService()
        with capturedLogs() as events:
            world.network.run(30)
        (entry,) = scores.entries()
        self.assertEqual((entry.address, entry.reason), (liar.at.host, "it sent a block that breaks a rule: parents"))
        self.assertIsNotNone(entry.until)
        told = [formatEvent(event) for event in events if event["log_level"] >= LogLevel.info]
        self.assertTrue(any("is dropped: it sent a block that breaks a rule: parents" in each for each in told))
        (dialling,) = world.client.peers.dialled
        self.assertEqual(dialling.given_up, "it sent a block that breaks a rule: parents")
        self.assertEqual(world.here.peers, [])
        world.end()

    def heard_of(self, listeners: Listeners) -> list[str]:
        """Return the commands of what a client with those listeners answers to one who asks it for blocks."""
        world = ClientWorld()
        client = LightClient(world.here.config.replace(listeners=listeners), check_proofs=False)
        heard: list[str] = []
        other = world.network.node(
            PeerConfig(
                network=SIMNET,
                listeners=Listeners(
                    on_inv=lambda peer, message: heard.append(message.command),
                    on_headers=lambda peer, message: heard.append(message.command),
                    on_notfound=lambda peer, message: heard.append(message.command),
                ),
            )
        )
        client.peers.listen(world.here.server_endpoint(), "here")
        client.startService()
        peer = world.network.wait_for(other.connect(world.here))
        for question in (GetBlocks(height=-1), GetHeaders(height=-1), GetData([listed(GENESIS, 0)])):
            peer.send(question)
        world.network.run(2)
        world.network.wait_for(maybeDeferred(client.stopService))
        world.end()
        return heard

    def test_it_says_that_it_has_nothing_unless_the_application_answers(self) -> None:
        """Else a soterd closes, which asks those who connect to it for blocks."""
        self.assertEqual(self.heard_of(Listeners()), ["inv", "headers", "notfound"])
        asked: list[GetBlocks] = []
        own = Listeners(on_getblocks=lambda peer, question: asked.append(question))
        self.assertEqual(self.heard_of(own), ["headers", "notfound"])
        self.assertEqual(len(asked), 1)

    def test_the_reactor_is_its_clock_by_default(self) -> None:
        client = LightClient(PeerConfig(network=SIMNET))
        self.assertRaises(LocalError, lambda: client.index)
        client.startService()
        self.assertEqual([record.hash for record in client.index], [GENESIS.hash])
        self.successResultOf(maybeDeferred(client.stopService))
