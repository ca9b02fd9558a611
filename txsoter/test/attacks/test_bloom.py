"""Attacks by bloom commands on one who serves no bloom filters: at 70010, at 70011 and above, and out of turn."""

from __future__ import annotations

from typing import Any

from txsoter import CloseCause
from txsoter.core.state import State
from txsoter.test.attacks.pressure import Torrent, frames
from txsoter.test.attacks.support import BOTH, KIB, MIB, READ, Attack, AttackTestCase, RejectOf
from txsoter.test.peer.cases import noting
from txsoter.testing import remote_version
from txsoter.wire import FilterAdd, FilterClear, FilterLoad, Message, Ping, RejectCode, Services, VerAck

BLOOM: tuple[Message, ...] = (FilterLoad(bytes(36_000), 50, 1, 1), FilterAdd(bytes(520)), FilterClear())
"""The commands, each as large as it may be."""

BINDING = (70011, 70012, 70013)
"""Versions at which they are an offence."""


class BloomTestCase(AttackTestCase):
    """What the attackers have in common."""

    def setUp(self) -> None:
        super().setUp()
        self.called: list[Any] = []

    def attack_at(self, pver: int, *, inbound: bool = True, handshake: bool = True, **fields: Any) -> Attack:
        """A process that serves no bloom filters, and an attacker of some version; what listeners get is noted."""
        note = noting(self.called)
        listeners = {"on_filterload": note, "on_filteradd": note, "on_filterclear": note}
        attack = self.attack(inbound=inbound, handshake=False, **listeners, **fields)
        attack.attacker.pver = pver
        if handshake:
            attack.handshake(remote_version(protocol_version=pver))
            self.assertEqual(attack.peer.stats().negotiated_version, min(pver, attack.peer.config.protocol_version))
        return attack

    def assert_dropped(self, attack: Attack, count: int, *sent_back: str) -> None:
        """The listeners have not heard of it, but we have counted it; the connection is as good as ever."""
        self.assertEqual((self.called, attack.peer.stats().bloom_refused), ([], count))
        self.assert_went_on(attack, sent_back=sent_back)


class BindingTests(BloomTestCase):
    """At 70011 and above the remote is closed, and nothing is sent back."""

    def test_each_command_at_each_version(self) -> None:
        for pver in BINDING:
            for inbound in BOTH:
                for message in BLOOM:
                    attack = self.attack_at(pver, inbound=inbound)
                    attack.say(message)
                    self.assertEqual((self.called, attack.peer.stats().bloom_refused), ([], 1))
                    self.assert_refused(attack, CloseCause.BLOOM_DISABLED, command=message.command)

    def test_what_stands_behind_it_is_not_handled(self) -> None:
        attack = self.attack_at(70011)
        attack.say(frames([FilterClear(), Ping(1), FilterAdd(b"more")]))
        self.assertEqual(attack.peer.stats().bloom_refused, 1)
        self.assertNotIn("ping", attack.peer.stats().received)
        self.assert_refused(attack, CloseCause.BLOOM_DISABLED, command="filterclear")

    def test_between_version_and_verack(self) -> None:
        """Messages are handled there, and so is this one: what is negotiated then counts."""
        for inbound in BOTH:
            attack = self.attack_at(70011, inbound=inbound, handshake=False)
            attack.say(remote_version(protocol_version=70011), FilterClear())
            self.assert_refused(
                attack, CloseCause.BLOOM_DISABLED, command="filterclear", sent_back=["version", "verack"]
            )

    def test_as_the_first_message(self) -> None:
        """It is then what any other would be."""
        for inbound in BOTH:
            for message in BLOOM:
                attack = self.attack_at(70013, inbound=inbound, handshake=False)
                greeting = attack.greeting
                attack.say(message)
                self.assertEqual(attack.peer.stats().bloom_refused, 0)
                reject = RejectOf(message.command.encode(), RejectCode.MALFORMED, "must precede all others")
                self.assert_refused(
                    attack, CloseCause.VERSION_EXPECTED, command=message.command, sent_back=[*greeting, reject]
                )

    def test_a_service_that_the_remote_advertises_is_not_ours(self) -> None:
        attack = self.attack_at(70013, handshake=False)
        attack.handshake(remote_version(services=Services.BLOOM))
        attack.say(FilterClear())
        self.assert_refused(attack, CloseCause.BLOOM_DISABLED, command="filterclear")


class FreeTests(BloomTestCase):
    """Below 70011 they are dropped."""

    def test_each_command_at_each_version(self) -> None:
        for pver in (70001, 70002, 70010):
            for inbound in BOTH:
                attack = self.attack_at(pver, inbound=inbound)
                attack.say(*BLOOM)
                self.assert_dropped(attack, len(BLOOM))

    def test_the_negotiated_version_decides_not_the_advertised_one(self) -> None:
        """We speak 70010 only: for a remote at 70013 that is the version."""
        attack = self.attack(handshake=False, protocol_version=70010)
        attack.attacker.pver = 70010
        attack.handshake(remote_version(protocol_version=70013))
        attack.say(*BLOOM)
        self.assert_dropped(attack, len(BLOOM))

    def test_between_version_and_verack(self) -> None:
        attack = self.attack_at(70010, handshake=False)
        attack.say(remote_version(protocol_version=70010), *BLOOM, VerAck())
        self.assertIs(attack.peer.state, State.READY)
        self.assert_dropped(attack, len(BLOOM), "version", "verack")

    def test_by_the_thousand(self) -> None:
        """No filter is kept: 36 MB of them take no more than what a socket brings at once."""
        attack = self.attack_at(70010)
        torrent = Torrent(attack, frames(BLOOM, 70010) * 1000)
        with self.assert_bounded(MIB):
            torrent.push()
        self.assertEqual(len(torrent), 0)
        self.assertLessEqual(torrent.most, 37 * KIB + READ)
        self.assert_dropped(attack, 1000 * len(BLOOM))


class UnknownTests(BloomTestCase):
    """Below 70001 there are no such messages: they are malformed."""

    def test_each_command(self) -> None:
        for message in BLOOM:
            attack = self.attack_at(70000)
            attack.say(frames([message]))
            self.assertEqual((self.called, attack.peer.stats().bloom_refused), ([], 0))
            # there is no reject at that version either
            self.assert_refused(attack, CloseCause.MALFORMED, command=message.command)


class ServedTests(BloomTestCase):
    """Who serves them gets them: that they are refused elsewhere is for want of the service."""

    def test_with_the_service_they_reach_the_listeners(self) -> None:
        for pver in (70010, *BINDING):
            del self.called[:]
            attack = self.attack_at(pver, services=Services.BLOOM)
            attack.say(*BLOOM)
            self.assertEqual((self.called, attack.peer.stats().bloom_refused), (list(BLOOM), 0))
            self.assert_went_on(attack)
