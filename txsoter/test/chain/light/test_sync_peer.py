"""The state of one peer: what is bounded in it."""

from __future__ import annotations

from unittest import TestCase

from txsoter.chain.light.sync_peer import SyncPeer


class SyncPeerTests(TestCase):
    def test_messages_that_were_not_asked_for(self) -> None:
        """2000 at once, and 50 a second more."""
        peer = SyncPeer("peer", 0, 100.0)
        self.assertTrue(peer.spend(2000, 100.0))
        self.assertFalse(peer.spend(1, 100.0))
        self.assertTrue(peer.spend(99, 102.0))
        self.assertFalse(peer.spend(2, 102.0))
        self.assertTrue(peer.spend(2000, 1000.0))
        self.assertFalse(peer.spend(1, 1000.0))

    def test_blocks_that_it_owes_of_passes_that_were_begun_anew(self) -> None:
        """Remembered up to a bound: a peer may never send them."""
        peer = SyncPeer("peer", 0, 100.0)
        for number in range(100):
            peer.asked = {(number * 500 + each).to_bytes(32, "big"): 1 for each in range(500)}
            peer.begin_pass(0)
            self.assertLessEqual(len(peer.stale), 4500)
            self.assertIn((number * 500).to_bytes(32, "big"), peer.stale)
        self.assertEqual(peer.asked, {})
