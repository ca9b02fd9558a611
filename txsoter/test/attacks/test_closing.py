"""Attacks through listeners that are called while the connection closes, or when it is closed."""

from __future__ import annotations

from typing import Any

from txsoter import CloseCause, ClosedBy, ConnectionClosed, SoterPeerProtocol
from txsoter.core.state import State
from txsoter.errors import RequestClosed
from txsoter.test.attacks.pressure import not_to_the_bystander, stop_reading
from txsoter.test.attacks.support import BOTH, KIB, Attack, AttackTestCase, RejectOf
from txsoter.test.peer.cases import as_block, as_tx
from txsoter.wire import GetAddr, GetBlocks, Inv, Message, NetAddress, Ping, Pong, RejectCode, Unknown, VerAck


class WhileClosingTests(AttackTestCase):
    """A listener that is called while the connection closes, or when it is closed."""

    def use_everything(self, peer: SoterPeerProtocol, outcomes: list[Any]) -> None:
        """Call each verb of a peer that is ending."""
        outcomes += [
            peer.send(Ping(1)),
            peer.request(Ping(2), Pong),
            peer.push_get_blocks(1),
            peer.push_get_headers(1),
            peer.push_reject("inv", 0x10, "no"),
            peer.when_ready() if peer.state is not State.READY else peer.when_closed(),
            peer.disconnect("once more"),
            peer.when_closed(),
        ]
        peer.queue_inventory(as_tx(1))
        peer.queue_inventory(as_block(1))
        peer.add_known_inventory(as_tx(2))
        peer.push_addresses([NetAddress(1, "192.0.2.1", 1, 1)])
        peer.push_address_cache([NetAddress(1, "192.0.2.1", 1, 1)], [], [])
        peer.stats()

    def assert_all_refused(self, attack: Attack, outcomes: list[Any], cause: CloseCause) -> None:
        """All of that has failed with the one reason, or told it."""
        self.assertEqual(len(outcomes), 8)
        for each in outcomes[:6]:
            expected = RequestClosed if each is outcomes[1] else ConnectionClosed
            error: Any = self.failureResultOf(each, expected).value
            self.assertIs(error.reason.cause, cause)
        for each in outcomes[6:]:
            self.assertIs(self.successResultOf(each).cause, cause)
        attack.hand_out(*outcomes)
        outcomes.clear()

    def test_on_write_of_the_farewell(self) -> None:
        """The attacker takes our reject late, and in that moment the listener uses all there is."""
        outcomes: list[Any] = []

        def on_write(peer: SoterPeerProtocol, size: int, message: Message | None, error: object) -> None:
            if peer.is_closing and error is None and not outcomes:
                self.use_everything(peer, outcomes)

        for inbound in BOTH:
            attack = self.attack(inbound=inbound, on_write=not_to_the_bystander(on_write))
            stop_reading(attack)
            attack.hand_out(attack.peer.send(Unknown("large", bytes(200 * KIB))))
            attack.say(b"none of our network's")
            self.assertIs(attack.peer.state, State.CLOSING)
            self.assertEqual(outcomes, [])
            attack.transport.takes = True
            attack.pump()
            self.assert_all_refused(attack, outcomes, CloseCause.MALFORMED)
            reject = RejectOf(b"malformed", RejectCode.MALFORMED, "is of another network")
            self.assert_refused(attack, CloseCause.MALFORMED, sent_back=["large", reject])

    def test_on_read_of_what_ends_it(self) -> None:
        """on_read is told of the message at which we hang up."""
        outcomes: list[Any] = []

        def on_read(peer: SoterPeerProtocol, size: int, message: Message | None, error: object) -> None:
            if peer.is_closing:
                self.use_everything(peer, outcomes)

        attack = self.attack(on_read=not_to_the_bystander(on_read))
        attack.say(VerAck(), Ping(1))
        self.assert_all_refused(attack, outcomes, CloseCause.DUPLICATE_VERACK)
        self.assert_refused(attack, CloseCause.DUPLICATE_VERACK)

    def test_on_closed(self) -> None:
        """However it has ended, and in whatever state."""
        for ready in BOTH:
            for lost in BOTH:
                outcomes: list[Any] = []
                attack = self.attack(
                    handshake=ready,
                    on_closed=not_to_the_bystander(
                        lambda peer, reason, outcomes=outcomes: self.use_everything(peer, outcomes)
                    ),
                )
                attack.link.reset() if lost else attack.hang_up()
                cause = CloseCause.CONNECTION_LOST if lost else CloseCause.REMOTE_CLOSED
                self.assert_all_refused(attack, outcomes, cause)
                self.assert_refused(attack, cause, by=ClosedBy.NETWORK if lost else ClosedBy.REMOTE)

    def test_a_listener_that_was_waiting(self) -> None:
        """It learns of the end by what it waits for, which is no failure of its own; then it uses all there is."""
        outcomes: list[Any] = []

        async def ask(peer: SoterPeerProtocol, message: GetAddr) -> None:
            try:
                await peer.request(GetBlocks(height=1), Inv)
            finally:
                self.use_everything(peer, outcomes)

        attack = self.attack(on_getaddr=ask)
        attack.say(GetAddr(), Ping(1))
        attack.link.reset()
        self.assertEqual(attack.peer.stats().handler_errors, 0)
        self.assert_all_refused(attack, outcomes, CloseCause.CONNECTION_LOST)
        self.assert_refused(attack, CloseCause.CONNECTION_LOST, by=ClosedBy.NETWORK, sent_back=[GetBlocks(height=1)])

    def test_those_who_wait_for_the_end(self) -> None:
        """They too may use all there is, and all are told."""
        outcomes: list[Any] = []
        told: list[int] = []
        attack = self.attack()
        ends = [attack.peer.when_closed() for _ in range(4)]
        ends[0].addCallback(lambda reason: self.use_everything(attack.peer, outcomes))
        for number, each in enumerate(ends[1:]):
            each.addCallback(lambda reason, number: told.append(number), number)
        attack.hand_out(*ends)
        attack.hang_up()
        self.assertEqual(told, [0, 1, 2])
        self.assert_all_refused(attack, outcomes, CloseCause.REMOTE_CLOSED)
        self.assert_refused(attack, CloseCause.REMOTE_CLOSED, by=ClosedBy.REMOTE)
