"""The checks on a remote's version, what is negotiated from it, our own, and the nonces of live connections."""

from __future__ import annotations

from collections.abc import Container
from typing import Any
from unittest import TestCase

from txsoter.core.agents import parse_version
from txsoter.core.handshake import (
    LIVE_NONCES,
    EarlyMessages,
    Handshake,
    LiveNonces,
    Refusal,
    check_protocol_version,
    check_version,
    own_version,
)
from txsoter.errors import CloseCause
from txsoter.networks import MAINNET, SIMNET
from txsoter.test.core.ends import remote_version, simnet
from txsoter.wire import Encoding, NetAddress, Ping, RejectCode, Services, Tx


class VersionCheckTests(TestCase):
    """The checks on the remote's version, in soterd's order."""

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
            detail = self.assert_refused(check_protocol_version(advertised), CloseCause.OBSOLETE_VERSION, None)
            self.assertIn(str(advertised), detail)
        for advertised in (209, 70013, 70014, (1 << 31) - 1):
            self.assertIsNone(check_protocol_version(advertised))

    def test_the_protocol_version_is_no_part_of_the_first_checks(self) -> None:
        """It is checked after the ``on_version`` listeners."""
        self.assertIsNone(self.check(protocol_version=208))


class LiveNoncesTests(TestCase):
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


class OwnVersionTests(TestCase):
    """Our ``version``: its version field is our own maximum, whatever is negotiated."""

    def test_it_says_what_the_config_does(self) -> None:
        config = simnet(
            services=5,
            user_agent_name="watcher",
            user_agent_version="2.1.0",
            disable_relay_tx=True,
            protocol_version=70012,
        )
        receiver = NetAddress(Services.NETWORK, "192.0.2.1", 18555)
        version = own_version(config, receiver, 77, 99, 1_700_000_000.9)
        self.assertEqual((version.protocol_version, version.services, version.timestamp), (70012, 5, 1_700_000_000))
        self.assertEqual((version.addr_you, version.addr_me), (receiver, NetAddress(5)))
        self.assertEqual((version.nonce, version.last_block, version.relay), (99, 77, False))
        self.assertEqual(version.user_agent, b"/soterwire:0.6.0/watcher:2.1.0/")
        self.assertEqual(version.genesis_hash, SIMNET.genesis_hash)

    def test_transactions_are_relayed_unless_the_config_says_no(self) -> None:
        self.assertIs(own_version(simnet(), NetAddress(), 0, 0, 0.0).relay, True)


class NegotiationTests(TestCase):
    def negotiated(self, own: int, theirs: int, services: int = 0) -> tuple[int, Encoding]:
        handshake = Handshake(own)
        self.assertEqual((handshake.pver, handshake.encoding), (own, Encoding.BASE))
        handshake.version_received(remote_version(protocol_version=theirs, services=services), 0.0)
        handshake.negotiate(own)
        return handshake.pver, handshake.encoding

    def test_the_lower_version_of_both(self) -> None:
        for own, theirs, lower in ((70013, 70012, 70012), (70001, 70013, 70001), (70013, (1 << 31) - 1, 70013)):
            self.assertEqual(self.negotiated(own, theirs), (lower, Encoding.BASE))

    def test_witnesses_if_the_remote_has_them(self) -> None:
        self.assertEqual(self.negotiated(70013, 70013, Services.WITNESS | 1)[1], Encoding.WITNESS)
        self.assertEqual(self.negotiated(70013, 70013, Services.NETWORK)[1], Encoding.BASE)

    def test_what_is_kept_of_the_remotes_version(self) -> None:
        handshake = Handshake(70013)
        heard = remote_version(services=9, last_block=7, relay=False, user_agent=b"/x:1.0.0/", protocol_version=70012)
        handshake.version_received(heard, 0.0)
        remote = handshake.remote
        assert remote is not None
        self.assertEqual((remote.services, remote.last_block, remote.relay), (9, 7, False))
        self.assertEqual((remote.user_agent, remote.protocol_version), (b"/x:1.0.0/", 70012))

    def test_the_time_offset_is_theirs_less_ours_in_whole_seconds(self) -> None:
        for theirs, ours, offset in ((100, 40.9, 60), (40, 100.0, -60), (0, 0.0, 0)):
            handshake = Handshake(70013)
            handshake.version_received(remote_version(timestamp=theirs), ours)
            self.assertEqual(handshake.time_offset, offset)

    def test_our_nonce_is_forgotten_once(self) -> None:
        handshake = Handshake(70013)
        handshake.forget_nonce()
        handshake.nonce = 1 << 63
        LIVE_NONCES.add(1 << 63)
        handshake.forget_nonce()
        self.assertIsNone(handshake.nonce)
        self.assertNotIn(1 << 63, LIVE_NONCES)


class EarlyMessagesTests(TestCase):
    def test_they_are_taken_in_order_and_once(self) -> None:
        early = EarlyMessages()
        early.add(Ping(1), Encoding.BASE, "first", 32)
        early.add(Tx(), Encoding.WITNESS, None, 40)
        self.assertEqual((len(early), early.size), (2, 72))
        self.assertEqual(early.take(), [(Ping(1), Encoding.BASE, "first"), (Tx(), Encoding.WITNESS, None)])
        self.assertEqual((len(early), early.size, early.take()), (0, 0, []))
