"""What a peer does by itself once it is ready."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from txsoter import CloseCause, Listeners, SoterPeerProtocol
from txsoter.core.state import State
from txsoter.errors import FieldError
from txsoter.test.peer.cases import WholePeerTestCase, as_block, as_tx, blocks, config, hash_of
from txsoter.testing import CLIENT, SERVER, MemoryLink, ScriptedPair, ScriptedPeer, remote_version
from txsoter.wire import (
    FeeFilter,
    FilterAdd,
    FilterClear,
    FilterLoad,
    GetBlocks,
    GetHeaders,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    Ping,
    Pong,
    SendHeaders,
    Services,
    VerAck,
)


class InventoryTests(WholePeerTestCase):
    """`queue_inventory` and `add_known_inventory`, as the remote sees them."""

    def test_blocks_are_announced_at_once_in_an_inv_of_one_and_not_marked_known(self) -> None:
        pair = self.scripted()
        vectors = [as_block(1), as_block(2, witness=True), as_block(1)]
        for vector in vectors:
            pair.peer.queue_inventory(vector)
        self.assertEqual(pair.hear(), [Inv([vector]) for vector in vectors])
        self.assertEqual(pair.peer.stats().known_inventory, 0)

    def test_others_wait_for_the_trickle_timer_and_are_marked_known(self) -> None:
        pair = self.scripted()
        filtered = InventoryVector(InventoryType.FILTERED_BLOCK, hash_of(9), 9)
        vectors = [as_tx(2), filtered, as_tx(1)]
        for vector in vectors:
            pair.peer.queue_inventory(vector)
        pair.advance(9.5, 0.5)
        self.assertEqual((pair.hear(), pair.peer.stats().known_inventory), ([], 0))
        pair.advance(0.5)
        self.assertEqual((pair.hear(), pair.peer.stats().known_inventory), ([Inv(vectors)], 3))
        pair.peer.queue_inventory(as_tx(1))
        pair.peer.queue_inventory(as_tx(3))
        pair.advance(10)
        self.assertEqual(pair.hear(), [Inv([as_tx(3)])])
        pair.advance(30)
        self.assertEqual(pair.hear(), [])

    def test_they_are_sent_in_arrival_order_in_invs_of_at_most_1000(self) -> None:
        pair = self.scripted()
        vectors = [as_tx(number) for number in range(2500, 0, -1)]
        for vector in vectors:
            pair.peer.queue_inventory(vector)
        pair.advance(10, 10)
        self.assertEqual(pair.hear(), [Inv(vectors[:1000]), Inv(vectors[1000:2000]), Inv(vectors[2000:])])

    def test_what_became_known_meanwhile_is_skipped(self) -> None:
        pair = self.scripted()
        for number in (1, 2, 3):
            pair.peer.queue_inventory(as_tx(number))
        pair.peer.add_known_inventory(as_tx(2))
        pair.advance(10, 10)
        self.assertEqual(pair.hear(), [Inv([as_tx(1), as_tx(3)])])
        pair.peer.queue_inventory(as_tx(4))
        pair.peer.add_known_inventory(as_tx(4))
        pair.advance(10, 10)
        self.assertEqual(pair.hear(), [])

    def test_what_is_known_is_dropped_unless_forced(self) -> None:
        """The remote may have forgotten. Known is keyed by type, hash and height."""
        pair = self.scripted()
        for vector in (as_tx(1), as_block(2), as_block(3)):
            pair.peer.add_known_inventory(vector)
        pair.peer.queue_inventory(as_tx(1))
        pair.peer.queue_inventory(as_block(2))
        pair.advance(10, 10)
        self.assertEqual(pair.hear(), [])
        pair.peer.queue_inventory(as_block(2), force=True)
        pair.peer.queue_inventory(as_tx(1), force=True)
        other_height = InventoryVector(InventoryType.BLOCK, hash_of(3), 4)
        pair.peer.queue_inventory(other_height)
        pair.advance(10, 10)
        self.assertEqual(pair.hear(), [Inv([as_block(2)]), Inv([other_height]), Inv([as_tx(1)])])

    def test_before_the_remote_is_ready_they_are_kept_and_sent_once_it_is(self) -> None:
        for inbound in (False, True):
            pair = self.fresh(inbound=inbound)
            pair.peer.queue_inventory(as_tx(1))
            pair.say(remote_version())
            pair.hear()
            pair.peer.queue_inventory(as_block(2))
            pair.peer.queue_inventory(as_tx(3))
            pair.advance(15)
            self.assertEqual(pair.hear(), [])
            pair.say(VerAck())
            self.assertEqual(pair.hear(), [Inv([as_block(2)]), Inv([as_tx(1), as_tx(3)])])

    def test_when_not_connected_they_are_dropped(self) -> None:
        clock = Clock()
        peer, remote = SoterPeerProtocol(config(clock=clock)), ScriptedPeer()
        peer.queue_inventory(as_tx(1))
        peer.queue_inventory(as_block(1))
        pair = ScriptedPair(peer, remote, MemoryLink(peer, remote, CLIENT, SERVER), clock)
        pair.handshake()
        pair.advance(10)
        self.assertEqual(remote.commands, ["version", "verack"])
        peer.disconnect()
        pair.peer.queue_inventory(as_tx(2))
        pair.peer.queue_inventory(as_block(2))
        pair.advance(20)
        self.assertEqual(remote.commands, ["version", "verack"])
        self.assertEqual((clock.getDelayedCalls(), peer.stats().queued_inventory), ([], 0))

    def test_what_waits_for_a_remote_that_never_gets_ready_is_forgotten_with_it(self) -> None:
        pair = self.fresh()
        pair.peer.queue_inventory(as_tx(1))
        pair.peer.queue_inventory(as_block(1))
        pair.say(VerAck())
        self.assert_closed(pair, CloseCause.VERSION_EXPECTED, "verack")
        self.assertEqual(pair.peer.stats().queued_inventory, 0)

    def test_the_waiting_list_is_bounded_and_the_oldest_go(self) -> None:
        pair = self.fresh(config(max_trickle_queue=3))
        for number in range(10):
            pair.peer.queue_inventory(as_tx(number))
            pair.peer.queue_inventory(as_block(number))
        pair.handshake()
        announced = [Inv([as_block(number)]) for number in (7, 8, 9)]
        self.assertEqual(pair.hear()[-4:], [*announced, Inv([as_tx(7), as_tx(8), as_tx(9)])])

    def test_without_an_interval_nothing_waits(self) -> None:
        pair = self.scripted(config(trickle_interval=None))
        pair.peer.queue_inventory(as_tx(1))
        self.assertEqual(pair.hear(), [Inv([as_tx(1)])])

    def test_what_is_queued_while_an_inv_goes_out_waits_for_the_next_trickle(self) -> None:
        more = [as_tx(2), as_tx(3)]

        def on_write(peer: SoterPeerProtocol, size: int, message: object, error: object) -> None:
            if isinstance(message, Inv) and more:
                peer.queue_inventory(more.pop(0))

        pair = self.scripted(config(listeners=Listeners(on_write=on_write)))
        pair.peer.queue_inventory(as_tx(1))
        for number in (1, 2, 3):
            pair.advance(10, 10)
            self.assertEqual(pair.hear(), [Inv([as_tx(number)])])

    def test_what_comes_is_not_marked_known_by_itself(self) -> None:
        pair = self.scripted()
        pair.say(Inv([as_tx(1), as_block(2)]), blocks(1)[0])
        self.assertEqual(pair.peer.stats().known_inventory, 0)

    def test_a_vector_that_cannot_be_sent_is_refused_at_the_call(self) -> None:
        """Wrong values to our own API: not a timer that fails ten seconds later, and takes the connection along."""
        for pair in (self.scripted(), self.fresh()):
            for field, bad in (
                ("hash", InventoryVector(1, b"short")),
                ("type", InventoryVector(-1, hash_of(1))),
                ("height", InventoryVector(1, hash_of(1), 1 << 40)),
            ):
                with self.assertRaises(FieldError) as caught:
                    pair.peer.queue_inventory(bad)
                self.assertEqual(caught.exception.field, f"InventoryVector.{field}")
            pair.advance(20)
            self.assertIs(pair.peer.is_closing, False)


class KeepAliveTests(WholePeerTestCase):
    """Pings, ours and theirs."""

    def first_ping(self, seed: int) -> float:
        pair = self.scripted(config(random=Random(seed)))
        while not pair.hear():
            pair.clock.advance(0.125)
        return pair.clock.seconds()

    def test_all_peers_of_a_clock_share_one_timer(self) -> None:
        clock = Clock()
        pairs = [self.scripted(config(), clock=clock) for _ in range(20)]
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        clock.pump([1.0] * 120)
        self.assertEqual([[each.command for each in pair.hear()] for pair in pairs], [["ping"]] * 20)
        for pair in pairs:
            pair.peer.disconnect()
            pair.pump()

    def test_pings_that_were_read_ahead_are_answered_with_their_own_checksums(self) -> None:
        """A pong is written from what came with its ping, which is not what came last."""
        asked: list[Deferred[Headers]] = []

        def on_inv(peer: SoterPeerProtocol, inv: Inv) -> Deferred[Headers]:
            asked.append(peer.request(GetHeaders(), Headers))
            return asked[-1]

        pair = self.scripted(config(listeners=Listeners(on_inv=on_inv)))
        pair.say(Inv(), Ping(1), Ping(2), FeeFilter(5), Headers(), Ping(3))
        self.assertEqual([each for each in pair.hear() if isinstance(each, Pong)], [Pong(1), Pong(2), Pong(3)])

    def test_a_ping_every_2_minutes_with_a_jitter_of_up_to_a_tenth(self) -> None:
        times = [self.first_ping(seed) for seed in range(36)]
        self.assertGreaterEqual(min(times), 107)
        self.assertLessEqual(max(times), 120)
        self.assertGreater(len(set(times)), 8)

    def test_its_round_trip_is_measured_and_never_measured_reads_as_none(self) -> None:
        pair = self.scripted(config(ping_interval=100))
        stats = pair.peer.stats()
        self.assertEqual((stats.ping_nonce, stats.ping_time, stats.ping_micros), (None, None, None))
        while not (heard := pair.hear()):
            pair.clock.advance(0.25)
        [ping] = heard
        assert isinstance(ping, Ping)
        sent_at = pair.clock.seconds()
        stats = pair.peer.stats()
        self.assertEqual((stats.ping_nonce, stats.ping_time, stats.ping_micros), (ping.nonce, sent_at, None))
        pair.clock.advance(0.25)
        pair.say(Pong(ping.nonce ^ 1))
        self.assertIsNone(pair.peer.stats().ping_micros)
        pair.say(Pong(ping.nonce))
        self.assertEqual(pair.peer.stats().ping_micros, 250_000)
        pair.clock.advance(1)
        pair.say(Pong(ping.nonce))
        self.assertEqual(pair.peer.stats().ping_micros, 250_000)

    def test_several_pings_may_be_in_flight(self) -> None:
        """**better**: a second ping makes the reference miss the first pong."""
        pair = self.scripted(config(ping_interval=10))
        pair.advance(25)
        first, second = pair.hear()
        assert isinstance(first, Ping) and isinstance(second, Ping)
        self.assertNotEqual(first.nonce, second.nonce)
        pair.say(Pong(first.nonce))
        measured = pair.peer.stats().ping_micros
        assert measured is not None
        self.assertGreater(measured, 10_000_000)
        pair.say(Pong(second.nonce))
        self.assertLess(pair.peer.stats().ping_micros or measured, measured)

    def test_none_switches_it_off(self) -> None:
        pair = self.scripted(config(ping_interval=None, idle_timeout=None))
        pair.advance(1000, 100)
        self.assertEqual(pair.hear(), [])
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_a_ping_is_answered_with_its_nonce_above_60000_only(self) -> None:
        for pver, answer in ((60000, []), (60001, [Pong(7)]), (70013, [Pong(7)])):
            pair = self.fresh()
            pair.remote.pver = pver
            pair.handshake(remote_version(protocol_version=pver))
            pair.hear()
            pair.say(Ping(7))
            self.assertEqual(pair.hear(), answer)

    def test_a_config_flag_keeps_silent(self) -> None:
        pair = self.scripted(config(answer_pings=False))
        pair.say(Ping(7))
        self.assertEqual((pair.hear(), pair.peer.stats().received["ping"].messages), ([], 1))

    def test_a_ping_before_60001_measures_nothing(self) -> None:
        pair = self.fresh(config(ping_interval=100))
        pair.remote.pver = 60000
        pair.handshake(remote_version(protocol_version=60000))
        pair.hear()
        pair.advance(100)
        self.assertEqual(pair.hear(), [Ping(0)])
        self.assertIsNone(pair.peer.stats().ping_micros)

    def test_a_timer_that_fails_closes_instead_of_stopping_in_silence(self) -> None:
        class Exhausted(Random):
            left = 1

            def getrandbits(self, bits: int) -> int:
                self.left -= 1
                return 1 if self.left >= 0 else 1 // 0

        pair = self.scripted(config(random=Exhausted(1), ping_interval=10))
        pair.advance(10)
        self.assertIn("timer", self.assert_closed(pair, CloseCause.LOCAL_FAILURE).detail)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_no_message_for_5_minutes_closes(self) -> None:
        pair = self.scripted()
        pair.advance(200)
        pair.say(Inv())
        pair.advance(299)
        self.assertIs(pair.peer.state, State.READY)
        pair.advance(1)
        self.assert_closed(pair, CloseCause.IDLE)

    def test_an_answer_that_does_not_come_closes_and_names_the_command(self) -> None:
        pair = self.scripted()
        pair.peer.send(GetBlocks(height=1))
        pair.advance(29)
        pair.say(Inv())
        pair.advance(60)
        self.assertIs(pair.peer.state, State.READY)
        pair.peer.send(GetBlocks(height=2))
        pair.advance(29)
        self.assertIs(pair.peer.state, State.READY)
        pair.advance(16)
        self.assert_closed(pair, CloseCause.STALLED, "getblocks")

    def test_none_switches_that_off(self) -> None:
        pair = self.scripted(config(stall_timeout=None))
        pair.peer.send(GetBlocks(height=1))
        pair.advance(200, 10)
        pair.say(Inv())
        self.assertIs(pair.peer.state, State.READY)

    def test_sendheaders_sets_the_preference(self) -> None:
        pair = self.scripted()
        self.assertIs(pair.peer.stats().wants_headers, False)
        pair.say(SendHeaders())
        self.assertIs(pair.peer.stats().wants_headers, True)


class BloomTests(WholePeerTestCase):
    """ "Bloom commands when we do not advertise BLOOM"."""

    def pair(self, pver: int, services: int, heard: list[object]) -> ScriptedPair:
        def note(peer: SoterPeerProtocol, message: object) -> None:
            heard.append(message)

        listeners = Listeners(on_filteradd=note, on_filterclear=note, on_filterload=note)
        pair = self.fresh(config(services=services, listeners=listeners))
        pair.remote.pver = pver
        pair.handshake(remote_version(protocol_version=pver))
        pair.hear()
        return pair

    def test_from_70011_the_remote_is_closed(self) -> None:
        for message in (FilterAdd(b"x"), FilterClear(), FilterLoad()):
            heard: list[object] = []
            pair = self.pair(70011, Services.NETWORK, heard)
            pair.say(message)
            self.assertEqual((pair.hear(), heard), ([], []))
            self.assert_closed(pair, CloseCause.BLOOM_DISABLED, message.command)
            self.assertEqual(pair.peer.stats().bloom_refused, 1)

    def test_below_it_they_are_dropped_and_counted(self) -> None:
        heard: list[object] = []
        pair = self.pair(70010, 0, heard)
        pair.say(FilterAdd(b"x"), FilterClear(), FilterLoad(), Ping(1))
        self.assertEqual((pair.hear(), heard), ([Pong(1)], []))
        self.assertEqual(pair.peer.stats().bloom_refused, 3)

    def test_with_the_service_listeners_get_them(self) -> None:
        for pver in (70010, 70011, 70013):
            heard: list[object] = []
            pair = self.pair(pver, Services.BLOOM, heard)
            messages = [FilterAdd(b"x"), FilterClear(), FilterLoad()]
            pair.say(*messages)
            self.assertEqual((heard, pair.peer.stats().bloom_refused), (messages, 0))
            self.assertIs(pair.peer.state, State.READY)
