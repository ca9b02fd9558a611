"""Tests of :mod:`txsoter.peer.handshake` (PEER.md, "Life of a connection")."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from txsoter.core.agents import parse_version
from txsoter.errors import CloseCause, IllegalTransition
from txsoter.networks import MAINNET, SIMNET
from txsoter.peer.handshake import (
    TRANSITIONS,
    LiveNonces,
    Refusal,
    State,
    check_protocol_version,
    check_version,
    move,
)
from txsoter.peer.lifecycle import PeerLifecycle
from txsoter.test.peer.support import PeerTestCase, TrialCase
from txsoter.testing import remote_version
from txsoter.wire import RejectCode

LEGAL = {
    ("CONNECTING", "NEGOTIATING"),
    ("NEGOTIATING", "VERSION_KNOWN"),
    ("VERSION_KNOWN", "READY"),
    ("NEGOTIATING", "CLOSING"),
    ("VERSION_KNOWN", "CLOSING"),
    ("READY", "CLOSING"),
    ("CONNECTING", "CLOSED"),
    ("NEGOTIATING", "CLOSED"),
    ("VERSION_KNOWN", "CLOSED"),
    ("READY", "CLOSED"),
    ("CLOSING", "CLOSED"),
}
"""From connecting to ready one step at a time; to the end from anywhere, with or without a farewell."""


class StateTests(PeerTestCase):
    """One table of legal moves; anything else raises and changes nothing."""

    def test_the_states_are_those_of_the_page(self) -> None:
        names = ["connecting", "negotiating", "version known", "ready", "closing", "closed"]
        self.assertEqual([state.value for state in State], names)
        self.assertEqual(list(TRANSITIONS), list(State))

    def test_every_move_is_legal_or_raises(self) -> None:
        for current in State:
            for to in State:
                if (current.name, to.name) in LEGAL:
                    self.assertIs(move(current, to), to)
                else:
                    with self.assertRaises(IllegalTransition) as caught:
                        move(current, to)
                    self.assertIn(f"is {current.value} cannot become {to.value}", str(caught.exception))

    def test_an_illegal_move_changes_nothing(self) -> None:
        """A connection that is made a second time stays as far as it was, and goes on."""
        pair = self.scripted()
        with self.assertRaises(IllegalTransition):
            pair.peer.state = move(pair.peer.state, State.NEGOTIATING)
        self.assertIs(pair.peer.state, State.READY)
        with self.assertRaises(IllegalTransition):
            PeerLifecycle._closed(self.closed_peer())

    def closed_peer(self) -> Any:
        pair = self.scripted()
        pair.peer.disconnect()
        pair.pump()
        return pair.peer


class VersionCheckTests(TrialCase):
    """The checks on the remote's version, "in this order"."""

    def check(
        self, nonces: Container[int] = (), name: str = "watcher", version: str = "2.1.0", **fields: object
    ) -> Refusal | None:
        return check_version(remote_version(**fields), SIMNET, name, parse_version(version), nonces)

    def assert_refused(self, refusal: Refusal | None, cause: CloseCause, code: RejectCode | None) -> str:
        assert refusal is not None
        self.assertEqual((refusal.cause, refusal.code), (cause, code))
        return refusal.detail

    def test_a_good_version_passes(self) -> None:
        self.assertIsNone(self.check())

    def test_a_nonce_of_our_own_means_that_we_dialled_ourselves(self) -> None:
        """No reject."""
        self.assert_refused(self.check({7}, nonce=7), CloseCause.SELF_CONNECTION, None)
        self.assertIsNone(self.check({7}, nonce=8))

    def test_another_genesis_is_rejected_as_invalid(self) -> None:
        detail = self.assert_refused(
            self.check(genesis_hash=MAINNET.genesis_hash), CloseCause.WRONG_GENESIS, RejectCode.INVALID
        )
        self.assertIn(str(MAINNET.genesis_hash), detail)
        self.assertIn(str(SIMNET.genesis_hash), detail)

    def test_our_agent_name_with_another_major_is_rejected_as_invalid(self) -> None:
        for agent in (b"/watcher:1.9.9/", b"/soterwire:0.6.0/watcher:3.0.0(x)/", b"/watcher:2.0.0/watcher:3.0.0/"):
            detail = self.assert_refused(
                self.check(user_agent=agent), CloseCause.INCOMPATIBLE_AGENT, RejectCode.INVALID
            )
            self.assertIn("2.1.0", detail)

    def test_other_agents_and_the_same_major_pass(self) -> None:
        """A minor or patch may differ, other names may have any version, versions that do not parse are nobody's."""
        for agent in (
            b"/watcher:2.0.0/",
            b"/watcher:2.99.0-rc.1+x(y)/",
            b"/Watcher:3.0.0/",
            b"/other:3.0.0/",
            b"/watcher:3.0/",
            b"/watcher:v3.0.0/",
            b"/watcher:3.0.0/watcher:2.0.0/",
            b"/x:1.0.0(a/watcher:3.0.0)/",
            b"",
        ):
            self.assertIsNone(self.check(user_agent=agent), agent)

    def test_a_name_past_ascii_is_compared_by_its_bytes(self) -> None:
        agent = "/soterwire:0.6.0/wächter:1.0.0/".encode()
        self.assert_refused(
            self.check(name="wächter", user_agent=agent), CloseCause.INCOMPATIBLE_AGENT, RejectCode.INVALID
        )
        self.assertIsNone(self.check(name="wächter", version="1.5.0", user_agent=agent))

    def test_nonce_before_genesis_before_agent(self) -> None:
        wrong: dict[str, Any] = {"nonce": 7, "genesis_hash": MAINNET.genesis_hash, "user_agent": b"/watcher:1.0.0/"}
        self.assert_refused(self.check({7}, **wrong), CloseCause.SELF_CONNECTION, None)
        self.assert_refused(self.check((), **wrong), CloseCause.WRONG_GENESIS, RejectCode.INVALID)

    def test_a_version_below_209_or_negative_closes_without_reject(self) -> None:
        """The reference takes -1 for a huge one."""
        for advertised in (208, 1, 0, -1, -(1 << 31)):
            version = remote_version(protocol_version=advertised)
            detail = self.assert_refused(check_protocol_version(version), CloseCause.OBSOLETE_VERSION, None)
            self.assertIn(str(advertised), detail)
        for advertised in (209, 70013, 70014, (1 << 31) - 1):
            self.assertIsNone(check_protocol_version(remote_version(protocol_version=advertised)))

    def test_the_protocol_version_is_no_part_of_the_first_checks(self) -> None:
        """The listener has its say first."""
        self.assertIsNone(self.check(protocol_version=208))


class LiveNoncesTests(TrialCase):
    """Remember one per live connection, and forget it with the connection."""

    def test_more_than_fifty_are_remembered(self) -> None:
        nonces = LiveNonces()
        for nonce in range(5000):
            nonces.add(nonce)
        self.assertEqual(len(nonces), 5000)
        self.assertTrue(0 in nonces and 4999 in nonces and 5000 not in nonces)

    def test_each_is_forgotten_as_often_as_it_was_added(self) -> None:
        nonces = LiveNonces()
        nonces.add(1)
        nonces.add(1)
        nonces.discard(1)
        self.assertIn(1, nonces)
        nonces.discard(1)
        self.assertNotIn(1, nonces)
        nonces.discard(1)
        self.assertEqual(len(nonces), 0)
