"""Attacks by quantity: messages that are well-formed, large or many, and never end."""

from __future__ import annotations

from collections.abc import Iterator

from txsoter import SoterPeerProtocol
from txsoter.core.sanitize import MAX_REASON
from txsoter.errors import CloseCause, ClosedBy
from txsoter.test.attacks.support import BOTH, BYSTANDER, KIB, MIB, READ, AttackTestCase, RejectOf, raw_frame
from txsoter.test.peer.cases import framed, hash_of, noting
from txsoter.testing import remote_version
from txsoter.wire import (
    Alert,
    AlertDetails,
    Inv,
    InventoryType,
    InventoryVector,
    Ping,
    Pong,
    Reject,
    RejectCode,
    VerAck,
)
from txsoter.wire.codec import write_varint
from txsoter.wire.inventory import INVENTORY_VECTOR, MAX_INVENTORY

KEPT = 64 * KIB
"""The most that the process may still hold when it has all been handled."""

LARGEST_REJECT = 4_000_000
"""The largest payload of a ``reject``."""

LARGEST_ALERT = 64 * KIB
"""The largest payload of an ``alert``."""


def full_inv(seed: int) -> bytes:
    """The frame of an inv of 50,000 vectors, none of which is in that of another seed."""
    start = seed * MAX_INVENTORY
    vectors = [InventoryVector(InventoryType.TX, hash_of(start + each)) for each in range(MAX_INVENTORY)]
    return raw_frame("inv", write_varint(MAX_INVENTORY) + INVENTORY_VECTOR.pack(vectors))


def rejects_of(size: int) -> Iterator[bytes]:
    """Frames of rejects whose payload has that size: by their reason, by their command, and of a transaction."""
    for rejected, rest in ((b"inv", 1 + 3 + 1), (b"tx", 1 + 2 + 1 + 32)):
        yield raw_frame("reject", Reject(rejected, 1, b"x" * (size - rest - 5), hash_of(1)).to_payload())
    yield raw_frame("reject", Reject(b"y" * (size - 2 - 5), 1, b"").to_payload())


class InventoryTests(AttackTestCase):
    """Announcements without end."""

    def test_50000_entry_inv_again_and_again(self) -> None:
        """Attack: 2 MB of announcements, 20 times. Nothing of them is kept; what is held is the one being read."""
        raw = full_inv(1)
        seen: list[int] = []

        def on_inv(peer: SoterPeerProtocol, inv: Inv) -> None:
            if peer.transport.getPeer() != BYSTANDER:
                seen.append(len(inv.vectors))

        for inbound in BOTH:
            seen.clear()
            attack = self.attack(inbound=inbound, on_inv=on_inv)
            with self.assert_bounded(8 * MIB, KEPT):
                for _ in range(20):
                    attack.stream(raw)
            self.assertEqual(seen, [MAX_INVENTORY] * 20)
            self.assertEqual(attack.peer.stats().known_inventory, 0)
            self.assert_went_on(attack)

    def test_50000_entry_inv_again_and_again_all_new_and_noted(self) -> None:
        """Attack: 100,000 vectors, each new, at an application that notes what it is offered: 50,000 are remembered."""

        def on_inv(peer: SoterPeerProtocol, inv: Inv) -> None:
            for vector in inv.vectors:
                peer.add_known_inventory(vector)

        stream = [full_inv(each) for each in range(2)]
        attack = self.attack(on_inv=on_inv)
        with self.assert_bounded(32 * MIB):
            for raw in stream:
                attack.stream(raw)
        self.assertEqual(attack.peer.stats().known_inventory, 50_000)
        self.assert_went_on(attack)


class BlockTests(AttackTestCase):
    """Blocks that are more trouble than their size."""

    def test_blocks_of_the_smallest_transactions(self) -> None:
        """Attack: 100,000 transactions of 10 bytes. No objects are made of them: ten times their size will do."""
        count = 100_000
        raw = raw_frame("block", bytes(96) + write_varint(count) + bytes(10 * count))
        attack = self.attack()
        with self.assert_bounded(10 * len(raw), KEPT):
            attack.stream(raw)
        self.assertEqual(attack.peer.stats().received["block"].messages, 1)
        self.assert_went_on(attack)


class RejectTests(AttackTestCase):
    """Rejects as large as they may be."""

    def test_rejects_with_the_largest_reason(self) -> None:
        """Attack: 4 MB of reason, again and again. Of the last no more is kept than is shown."""
        stream = list(rejects_of(LARGEST_REJECT))
        self.assertEqual({len(raw) for raw in stream}, {24 + LARGEST_REJECT})
        for inbound in BOTH:
            attack = self.attack(inbound=inbound)
            with self.assert_bounded(20 * MIB, KEPT):
                for raw in [*stream, stream[0]]:
                    attack.stream(raw)
            attack.hang_up()
            reason = self.assert_refused(attack, CloseCause.REMOTE_CLOSED, by=ClosedBy.REMOTE, command="inv")
            assert reason.reject_reason is not None
            self.assertEqual((reason.code, len(reason.reject_reason)), (1, MAX_REASON))

    def test_reject_with_a_larger_reason(self) -> None:
        """Attack: a byte more. It is refused by its header."""
        for inbound in BOTH:
            for raw in rejects_of(LARGEST_REJECT + 1):
                attack = self.attack(inbound=inbound)
                with self.assert_bounded(4 * READ):
                    attack.stream(raw)
                self.assertLessEqual(attack.peer.stats().bytes_received, 2 * READ)
                refused = RejectOf(b"malformed", RejectCode.MALFORMED, "announces 4000001 bytes, at most 4000000")
                self.assert_refused(attack, CloseCause.MALFORMED, command="reject", sent_back=[refused])

    def test_reject_with_the_largest_reason_instead_of_a_version(self) -> None:
        """Attack: 4 MB of reason as the first message: no answer, and a line's worth of it is kept."""
        for inbound in BOTH:
            for raw in rejects_of(LARGEST_REJECT):
                attack = self.attack(inbound=inbound, handshake=False)
                with self.assert_bounded(20 * MIB):
                    attack.stream(raw)
                command = attack.reason.command
                self.assertIn(command, ("inv", "tx", "y" * 9 + "..."))
                reason = self.assert_refused(
                    attack, CloseCause.REJECTED, by=ClosedBy.REMOTE, command=command, sent_back=attack.greeting
                )
                assert reason.reject_reason is not None
                self.assertLessEqual(len(reason.reject_reason), MAX_REASON)


class AlertTests(AttackTestCase):
    """Alerts, which nobody sends any more."""

    def test_alerts(self) -> None:
        """Attack: alerts as large as they may be, understood or not, again and again. Nothing of them is kept."""
        room = LARGEST_ALERT - 5 - 4
        agents = (b"",) * 60_000
        alerts = [
            Alert(b"x" * room, b"sig"),
            Alert(AlertDetails(comment=b"c" * (room - 100)).to_bytes(), b"sig"),
            Alert(AlertDetails(user_agents=agents).to_bytes(), b"sig"),
            Alert(AlertDetails(cancels=range(16_000)).to_bytes(), b"sig"),
            Alert(b"x", b"s" * room),
        ]
        stream = b"".join(map(framed, alerts))
        for inbound in BOTH:
            attack = self.attack(inbound=inbound)
            with self.assert_bounded(2 * MIB, KEPT):
                for _ in range(2):
                    attack.stream(stream)
            self.assertEqual(attack.peer.stats().received["alert"].messages, 2 * len(alerts))
            self.assert_went_on(attack)

    def test_larger_alerts(self) -> None:
        """Attack: a byte more than 64 KiB. It is refused by its header."""
        raw = framed(Alert(b"x" * (LARGEST_ALERT - 4), b"s"))
        self.assertEqual(len(raw), 24 + LARGEST_ALERT + 1)
        for inbound in BOTH:
            attack = self.attack(inbound=inbound)
            with self.assert_bounded(4 * READ):
                attack.stream(raw)
            refused = RejectOf(b"malformed", RejectCode.MALFORMED, "announces 65537 bytes, at most 65536")
            self.assert_refused(attack, CloseCause.MALFORMED, command="alert", sent_back=[refused])

    def test_alert_before_the_version(self) -> None:
        """Attack: an alert is no way to begin."""
        for inbound in BOTH:
            attack = self.attack(inbound=inbound, handshake=False)
            attack.say(Alert(b"x" * 1000, b""), remote_version(), VerAck())
            refused = RejectOf(b"alert", RejectCode.MALFORMED, "a version message must precede all others")
            self.assert_refused(
                attack, CloseCause.VERSION_EXPECTED, command="alert", sent_back=[*attack.greeting, refused]
            )


class PongTests(AttackTestCase):
    """Answers to nothing."""

    def test_pongs_never_asked_for(self) -> None:
        """Attack: 10,000 pongs. They measure nothing, answer nobody's request, and are forgotten."""
        stream = b"".join(framed(Pong(each)) for each in range(10_000))
        for inbound in BOTH:
            attack = self.attack(inbound=inbound)
            asked = attack.peer.request(Ping(1 << 40), Pong, timeout=None)
            attack.hand_out(asked)
            attack.link.pump()
            with self.assert_bounded(4 * READ, KEPT):
                attack.stream(stream)
            stats = attack.peer.stats()
            self.assertEqual((stats.received["pong"].messages, stats.ping_micros), (10_000, None))
            self.assertNoResult(asked)
            attack.say(Pong(1 << 40))
            self.assertEqual(self.successResultOf(asked), Pong(1 << 40))
            self.assert_went_on(attack, sent_back=["ping"])

    def test_pongs_before_the_verack(self) -> None:
        """Attack: pongs between version and verack are as little worth."""
        for inbound in BOTH:
            seen: list[Pong] = []
            attack = self.attack(inbound=inbound, handshake=False, on_pong=noting(seen))
            attack.say(remote_version(), *map(Pong, range(1000)))
            self.assertIsNone(attack.peer.stats().ping_micros)
            attack.say(VerAck())
            mine = [each for each in seen if each.nonce < 1 << 32]
            self.assertEqual(mine, [*map(Pong, range(1000))])
            self.assert_went_on(attack, sent_back=["version", "verack"])
