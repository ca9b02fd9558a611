"""What happens when the application, or the other side, acts at the worst moment."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from txsoter.core.inventory import KnownInventory
from txsoter.errors import CloseCause, FieldError
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.test.peer.support import PeerTestCase, simnet
from txsoter.testing import connected_pair, remote_version
from txsoter.wire import (
    GetAddr,
    GetBlocks,
    GetData,
    Inv,
    InventoryType,
    InventoryVector,
    Message,
    Ping,
    Tx,
    Unknown,
    VerAck,
)


def block(number: int) -> InventoryVector:
    return InventoryVector(InventoryType.BLOCK, bytes([number]) * 32, number)


class HangingUpTests(PeerTestCase):
    def test_while_early_blocks_are_announced(self) -> None:
        """Blocks queued before the handshake go out together; nothing is sent behind them."""
        announced: list[Message] = []

        def on_write(peer: SoterPeerProtocol, size: int, message: Message | None, error: object) -> None:
            if isinstance(message, Inv):
                announced.append(message)
                peer.disconnect()

        gate: Deferred[None] = Deferred()
        pair = self.scripted(handshake=False, on_getaddr=lambda *_: gate, on_write=on_write)
        for number in range(3):
            pair.peer.queue_inventory(block(number))
        pair.say(remote_version(), GetAddr(), VerAck())
        gate.callback(None)
        self.assertEqual(len(announced), 3)
        self.assert_closed(pair, CloseCause.DISCONNECT)

    def test_no_stall_timer_begins_after_the_end(self) -> None:
        def on_write(peer: SoterPeerProtocol, size: int, message: Message | None, error: object) -> None:
            if isinstance(message, GetBlocks):
                peer.disconnect()
                pair.link.reset()

        def ask_twice(peer: SoterPeerProtocol, message: GetAddr) -> None:
            for height in range(2):
                peer.send(GetBlocks(height=height))

        # both in one piece: the second is counted as sent after the first has ended it all
        pair = self.scripted(on_write=on_write, on_getaddr=ask_twice)
        pair.say(GetAddr())
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_nobody_is_told_of_a_peer_that_is_ready_no_more(self) -> None:
        told: list[str] = []
        pair = self.scripted(handshake=False, on_ready=lambda peer: told.append("ready"))
        pair.peer.when_ready().addCallback(lambda peer: peer.disconnect())
        pair.handshake()
        self.assertEqual(told, [])
        self.assert_closed(pair, CloseCause.DISCONNECT)


class BackPressureTests(PeerTestCase):
    def test_two_handlers_that_send_do_not_wait_for_each_other(self) -> None:
        """Each awaits room to send, and reads nothing meanwhile: after 5 s both read on."""

        async def serve(peer: SoterPeerProtocol, message: GetData) -> None:
            for _ in range(20):
                await peer.send(Unknown("blob", bytes(100_000)))

        config = simnet(on_getdata=serve)
        pair = connected_pair(config, config)
        for peer in (pair.client, pair.server):
            peer.send(GetData([block(1)]))
        pair.advance(30)
        for peer in (pair.client, pair.server):
            self.assertEqual(peer.stats().received["unknown"].messages, 20)
        pair.client.disconnect()
        pair.pump()

    def test_a_small_soft_limit_only_pauses(self) -> None:
        """What one read has us send may pass the limit and be taken at once: then reading goes on."""
        pair = self.scripted(soft_queue_limit=1)
        pair.say(*(Ping(nonce) for nonce in range(250)))
        self.assertEqual(len(pair.hear()), 250)
        self.assertTrue(pair.transport.reading)

    def test_an_answer_that_we_did_not_read_is_not_owed(self) -> None:
        """A remote that takes what we send, if slowly, is not stalled because our full queue keeps us from reading."""
        pair = self.scripted(soft_queue_limit=100_000)
        pair.transport.takes = False
        pair.peer.send(GetBlocks(height=0))
        for _ in range(60):
            pair.peer.send(Unknown("blob", bytes(100_000)))
        pair.transport.take()
        pair.say(Inv())
        for _ in range(20):
            pair.clock.advance(2)
            pair.transport.take()
        self.assertFalse(pair.peer.is_closing)
        self.assertGreater(pair.peer.stats().queue_bytes, 100_000)
        pair.peer.disconnect()
        pair.link.reset()


class ArgumentTests(PeerTestCase):
    def test_wrong_ones_are_named_at_the_call(self) -> None:
        pair = self.scripted()
        peer: Any = pair.peer
        for field, call in (
            ("encoding", lambda: peer.send(Tx(), encoding="witness")),
            ("vector", lambda: peer.queue_inventory(None)),
            ("vector", lambda: peer.add_known_inventory(5)),
            ("reason", lambda: peer.push_reject("tx", 1, None)),
            ("command", lambda: peer.push_reject("\ud800", 1, "no")),
        ):
            with self.assertRaises(FieldError) as caught:
                call()
            self.assertEqual(caught.exception.field, field)
        self.assertEqual(pair.hear(), [])


class KnownInventoryTests(PeerTestCase):
    def test_a_full_one_stays_full_of_the_latest(self) -> None:
        """Past its limit the least recently used go, one for one, however many pass through."""
        known = KnownInventory(3)
        for number in range(200):
            known.add(block(number))
        self.assertEqual(len(known), 3)
        self.assertEqual([number for number in range(200) if block(number) in known], [197, 198, 199])
