"""Attacks on the handshake."""

from __future__ import annotations

from itertools import accumulate

from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy
from txsoter.networks import TESTNET1
from txsoter.test.attacks.support import BOTH, KIB, Attack, AttackTestCase, RejectOf, SentBack
from txsoter.test.peer.cases import AFTER_HANDSHAKE, framed
from txsoter.testing import remote_version
from txsoter.wire import Message, Ping, Pong, Reject, RejectCode, Unknown, VerAck, Version

BOUND = 64 * KIB
"""The most that the process may hold for any attack here."""

OURS: list[SentBack] = ["version", "verack"]
"""What we say in a handshake."""


class SilenceTests(AttackTestCase):
    """Remotes that leave the handshake where it is: closed 30 s after the connection was made."""

    def assert_timed_out(self, attack: Attack, sent_back: list[SentBack], spent: float = 0) -> None:
        """What is left of the 30 s passes; not before their end is the connection closed."""
        with self.assert_bounded(BOUND):
            attack.advance(29.5 - spent, 5)
            self.assertFalse(attack.peer.is_closing)
            attack.advance(0.5)
        self.assert_refused(attack, CloseCause.NEGOTIATION_TIMEOUT, sent_back=sent_back)

    def test_silent_after_connecting(self) -> None:
        """Attack: it connects, and says nothing."""
        for inbound in BOTH:
            attack = self.attack(inbound=inbound, handshake=False)
            self.assert_timed_out(attack, attack.greeting)

    def test_silent_after_version(self) -> None:
        """Attack: it sends its version, and nothing more."""
        for inbound in BOTH:
            attack = self.attack(inbound=inbound, handshake=False)
            attack.say(remote_version())
            self.assertIs(attack.peer.state, State.NEGOTIATED)
            self.assert_timed_out(attack, OURS)

    def test_never_sends_verack(self) -> None:
        """Attack: it sends its version, and goes on as if it had sent its verack too."""
        for inbound in BOTH:
            attack = self.attack(inbound=inbound, handshake=False)
            attack.say(remote_version())
            for second in range(29):
                attack.say(Ping(second))
                attack.advance(1)
            self.assert_timed_out(attack, [*OURS, *map(Pong, range(29))], spent=29)

    def test_version_one_byte_every_10_s(self) -> None:
        """Attack: bytes of its version come just often enough to look alive."""
        raw = framed(remote_version())
        for inbound in BOTH:
            attack = self.attack(inbound=inbound, handshake=False)
            with self.assert_bounded(BOUND):
                for at in range(3):
                    self.assertFalse(attack.peer.is_closing)
                    attack.say(raw[at : at + 1])
                    attack.advance(10)
            self.assertEqual(attack.peer.stats().bytes_received, 3)
            self.assert_refused(attack, CloseCause.NEGOTIATION_TIMEOUT, sent_back=attack.greeting)

    def test_verack_one_byte_every_10_s(self) -> None:
        """Attack: the version comes at once, but the verack byte by byte."""
        raw = framed(VerAck())
        for inbound in BOTH:
            attack = self.attack(inbound=inbound, handshake=False)
            attack.say(remote_version())
            with self.assert_bounded(BOUND):
                for at in range(3):
                    self.assertFalse(attack.peer.is_closing)
                    attack.say(raw[at : at + 1])
                    attack.advance(10)
            self.assert_refused(attack, CloseCause.NEGOTIATION_TIMEOUT, sent_back=OURS)


class CutTests(AttackTestCase):
    """A version that is not all there, cut at every offset."""

    raw = framed(remote_version())

    def test_version_cut_at_every_byte_then_silence(self) -> None:
        """Attack: its version stops in the middle, and the connection stays open."""
        for inbound in BOTH:
            for cut in range(1, len(self.raw)):
                attack = self.attack(inbound=inbound, handshake=False)
                attack.say(self.raw[:cut])
                attack.advance(29.5, 29.5)
                self.assertIs(attack.peer.state, State.NEGOTIATING)
                self.assertLessEqual(attack.held(), cut)
                attack.advance(0.5)
                self.assert_refused(attack, CloseCause.NEGOTIATION_TIMEOUT, sent_back=attack.greeting)

    def test_version_cut_at_every_byte_then_closed(self) -> None:
        """Attack: its version stops in the middle, and it hangs up."""
        for inbound in BOTH:
            for cut in range(1, len(self.raw)):
                attack = self.attack(inbound=inbound, handshake=False)
                attack.say(self.raw[:cut])
                self.assertIs(attack.peer.state, State.NEGOTIATING)
                attack.hang_up()
                self.assert_refused(attack, CloseCause.REMOTE_CLOSED, by=ClosedBy.REMOTE, sent_back=attack.greeting)

    def test_version_cut_at_every_byte_in_a_whole_frame(self) -> None:
        """Attack: the frame is well-formed, but the payload in it stops early.

        Fields after the first address may be absent; one in part is malformed; no genesis hash is a wrong one.
        """
        payload = self.raw[24:]
        agent = len(remote_version().user_agent)
        ends = list(accumulate((4, 8, 8, 26, 26, 8, 1 + agent, 32, 4, 1)))
        self.assertEqual(ends[-1], len(payload))
        for inbound in BOTH:
            for cut in range(len(payload)):
                attack = self.attack(inbound=inbound, handshake=False)
                attack.say(framed(Unknown("version", payload[:cut])))
                if cut not in ends[3:]:
                    self.assert_refused(attack, CloseCause.MALFORMED, command="version", sent_back=attack.greeting)
                elif cut in ends[7:]:
                    attack.say(VerAck())
                    self.assert_went_on(attack, sent_back=OURS)
                else:
                    reject = RejectOf(b"version", RejectCode.INVALID, "genesis")
                    self.assert_refused(attack, CloseCause.WRONG_GENESIS, sent_back=[*attack.greeting, reject])


class OrderTests(AttackTestCase):
    """Messages where they do not belong."""

    def test_first_message_not_version(self) -> None:
        """Attack: any of the other 30 messages comes first. A reject, which is a refusal of ours, gets no answer."""
        first: tuple[Message, ...] = (VerAck(), *AFTER_HANDSHAKE)
        self.assertEqual(len({each.command for each in first}), 30)
        for inbound in BOTH:
            for message in first:
                attack = self.attack(inbound=inbound, handshake=False)
                with self.assert_bounded(BOUND):
                    attack.say(message, remote_version(), VerAck())
                if isinstance(message, Reject):
                    reason = self.assert_refused(
                        attack, CloseCause.REJECTED, by=ClosedBy.REMOTE, command="tx", sent_back=attack.greeting
                    )
                    self.assertEqual((reason.code, reason.reject_reason), (message.code, message.reason.decode()))
                    continue
                why = "a version message must precede all others"
                reject = RejectOf(message.command.encode(), RejectCode.MALFORMED, why)
                self.assert_refused(
                    attack,
                    CloseCause.VERSION_EXPECTED,
                    command=message.command,
                    sent_back=[*attack.greeting, reject],
                )

    def test_first_message_not_version_but_unknown(self) -> None:
        """Attack: an unknown command comes first; nothing is written."""
        for inbound in BOTH:
            attack = self.attack(inbound=inbound, handshake=False)
            attack.say(Unknown("hello", bytes(1000)), remote_version(), VerAck())
            self.assert_refused(attack, CloseCause.VERSION_EXPECTED, command="hello", sent_back=attack.greeting)

    def test_second_version(self) -> None:
        """Attack: a second version, before the verack, behind it, and with the first in one read."""
        reject = RejectOf(b"version", RejectCode.DUPLICATE, "duplicate version message")
        first, second = remote_version(), remote_version(nonce=99, protocol_version=209, user_agent=b"/other:1.0.0/")
        for inbound in BOTH:
            before: list[list[list[Message]]] = [
                [[first], [second]],
                [[first], [VerAck()], [second]],
                [[first, second]],
            ]
            for steps in before:
                attack = self.attack(inbound=inbound, handshake=False)
                with self.assert_bounded(BOUND):
                    for step in steps:
                        attack.say(*step)
                self.assertEqual(attack.peer.stats().negotiated_version, first.protocol_version)
                self.assert_refused(attack, CloseCause.DUPLICATE_VERSION, sent_back=[*OURS, reject])

    def test_second_verack(self) -> None:
        """Attack: a second verack, later or in the same read."""
        for inbound in BOTH:
            for steps in ([[VerAck()], [VerAck()]], [[VerAck(), VerAck()]]):
                attack = self.attack(inbound=inbound, handshake=False)
                attack.say(remote_version())
                with self.assert_bounded(BOUND):
                    for step in steps:
                        attack.say(*step)
                self.assert_refused(attack, CloseCause.DUPLICATE_VERACK, sent_back=OURS)


class VersionTests(AttackTestCase):
    """Versions that are whole, and not acceptable."""

    def assert_version_refused(
        self, version: Version, cause: CloseCause, reject: RejectOf | None, inbound: bool
    ) -> None:
        """``version`` closes the connection; of ours nothing more is sent than the reject, if any."""
        attack = self.attack(inbound=inbound, handshake=False)
        with self.assert_bounded(BOUND):
            attack.say(version, VerAck(), Ping(1))
        self.assert_refused(attack, cause, sent_back=[*attack.greeting, *([] if reject is None else [reject])])

    def test_own_nonce(self) -> None:
        """Attack: it names the nonce of another connection of this process; no reject."""
        for inbound in BOTH:
            attack = self.attack(inbound=inbound, handshake=False)
            attack.say(remote_version(nonce=attack.bystander.version.nonce), VerAck())
            self.assert_refused(attack, CloseCause.SELF_CONNECTION, sent_back=attack.greeting)

    def test_own_nonce_echoed(self) -> None:
        """Attack: it sends back every byte that we send."""
        attack = self.attack(inbound=False, handshake=False)
        attack.say(attack.attacker.raw)
        self.assert_refused(attack, CloseCause.SELF_CONNECTION, sent_back=attack.greeting)

    def test_other_genesis(self) -> None:
        """Attack: the genesis block of another network, or none."""
        reject = RejectOf(b"version", RejectCode.INVALID, "peer genesis block")
        for inbound in BOTH:
            for genesis in (TESTNET1.genesis_hash, Version().genesis_hash):
                version = remote_version(genesis_hash=genesis)
                self.assert_version_refused(version, CloseCause.WRONG_GENESIS, reject, inbound)

    def test_user_agent_with_another_major(self) -> None:
        """Attack: our name with another major, plainly, as the last of several, and as large as it gets."""
        reject = RejectOf(b"version", RejectCode.INVALID, "is incompatible with our version 0.1.0")
        for inbound in BOTH:
            for agent in (
                b"/soterwire:0.6.0/txsoter:1.0.0/",
                b"/txsoter:0.1.0/txsoter:0.1.1/txsoter:7.0.0-rc.1+x(a; b)/",
                b"/txsoter:" + b"9" * 226 + b".0.0/",
            ):
                version = remote_version(user_agent=agent)
                self.assert_version_refused(version, CloseCause.INCOMPATIBLE_AGENT, reject, inbound)

    def test_versions_below_209(self) -> None:
        """Attack: protocol versions 0, 1, 208, -1 and the least there is; no reject, which is younger."""
        for inbound in BOTH:
            for number in (0, 1, 208, -1, -(2**31)):
                version = remote_version(protocol_version=number)
                self.assert_version_refused(version, CloseCause.OBSOLETE_VERSION, None, inbound)

    def test_version_70014(self) -> None:
        """Attack: versions above ours. Ours is what is spoken then."""
        for inbound in BOTH:
            for number in (70014, 2**31 - 1):
                attack = self.attack(inbound=inbound, handshake=False)
                with self.assert_bounded(BOUND):
                    attack.say(remote_version(protocol_version=number), VerAck())
                stats = attack.peer.stats()
                self.assertEqual((stats.advertised_version, stats.negotiated_version), (number, 70013))
                self.assert_went_on(attack, sent_back=OURS)
