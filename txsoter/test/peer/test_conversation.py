"""The handshake as a remote sees it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.address import HostnameAddress, IPv4Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from txsoter import SIMNET, TESTNET1, CloseCause, ClosedBy, HandshakeFailed, Listeners, PeerConfig, SoterPeerProtocol
from txsoter.core.handshake import LIVE_NONCES
from txsoter.core.state import State
from txsoter.test.peer.cases import AFTER_HANDSHAKE, WholePeerTestCase, config, framed, noting, wrong
from txsoter.testing import CLIENT, SERVER, MemoryLink, MemoryTransport, remote_version
from txsoter.wire import (
    ZERO_HASH,
    NetAddress,
    Reject,
    RejectCode,
    Services,
    Unknown,
    VerAck,
    Version,
    double_sha256,
    read_message,
)

BOTH = (False, True)
PRECEDE = b"a version message must precede all others"


def cut_version(left_out: int) -> bytes:
    """The frame of a ``version`` without its last bytes."""
    payload = framed(remote_version())[24:-left_out]
    header = framed(VerAck())[:4] + b"version".ljust(12, b"\0") + len(payload).to_bytes(4, "little")
    return header + double_sha256(payload)[:4] + payload


class FirstMessageTests(WholePeerTestCase):
    """ "The first message must be `version`"."""

    def test_another_valid_message_is_rejected_and_closes(self) -> None:
        for inbound in BOTH:
            for message in (VerAck(), *AFTER_HANDSHAKE):
                if isinstance(message, Reject):
                    continue
                pair = self.fresh(inbound=inbound)
                pair.say(message, remote_version())
                said = [] if inbound else [Version]
                heard = pair.hear()
                self.assertEqual([type(each) for each in heard], [*said, Reject])
                self.assertEqual(heard[-1], Reject(message.command.encode(), RejectCode.MALFORMED, PRECEDE))
                self.assert_closed(pair, CloseCause.VERSION_EXPECTED, message.command)

    def test_one_that_cannot_be_decoded_closes_and_nothing_is_written(self) -> None:
        """Unknown command, checksum, network, payload, announced size: each of them."""
        other_checksum = bytearray(framed(remote_version()))
        other_checksum[20] ^= 1
        cases: dict[str, tuple[bytes, CloseCause, str | None]] = {
            "unknown command": (framed(Unknown("hello")), CloseCause.VERSION_EXPECTED, "hello"),
            "checksum": (bytes(other_checksum), CloseCause.MALFORMED, "version"),
            "network": (TESTNET1.magic.to_bytes(4, "little") + framed(VerAck())[4:], CloseCause.MALFORMED, None),
            "payload": (cut_version(100), CloseCause.MALFORMED, "version"),
            "size": (framed(VerAck())[:16] + b"\1\0\0\0" + bytes(4), CloseCause.MALFORMED, "verack"),
        }
        for inbound in BOTH:
            for name, (raw, cause, command) in cases.items():
                pair = self.fresh(inbound=inbound)
                before = pair.hear()
                pair.say(raw)
                self.assertEqual((name, pair.hear()), (name, []))
                self.assertEqual([type(each) for each in before], [] if inbound else [Version])
                self.assert_closed(pair, cause, command)
                stats = pair.peer.stats()
                unknown = cause is CloseCause.VERSION_EXPECTED
                self.assertEqual((stats.unknown_commands, stats.malformed), (int(unknown), int(not unknown)))

    def test_a_reject_is_the_remotes_refusal_and_is_not_answered(self) -> None:
        """**better**: the reference rejects the reject."""
        for inbound in BOTH:
            pair = self.fresh(inbound=inbound)
            ready = pair.peer.when_ready()
            before = pair.hear()
            pair.say(Reject(b"version", RejectCode.OBSOLETE, b"too <b>old</b>\n"))
            self.assertEqual(pair.hear(), [])
            self.assertEqual([type(each) for each in before], [] if inbound else [Version])
            reason = self.assert_closed(pair, CloseCause.REJECTED, "version", ClosedBy.REMOTE)
            self.assertEqual((reason.code, reason.reject_reason), (0x11, "too bold/b"))
            self.assertEqual(self.error_of(ready, HandshakeFailed).reason, reason)

    def test_it_is_rejected_whatever_version_we_would_speak_with_the_remote(self) -> None:
        """Nothing is negotiated yet; only when we ourselves know no `reject` there is none."""
        pair = self.fresh(config(protocol_version=70001), inbound=True)
        pair.say(VerAck())
        self.assertEqual(pair.hear(), [])
        self.assert_closed(pair, CloseCause.VERSION_EXPECTED, "verack")


class VersionCheckTests(WholePeerTestCase):
    """The checks on the remote's `version`, and their order."""

    def assert_refused(
        self, version: Version | bytes, cause: CloseCause, reason: str | None, configured: PeerConfig | None = None
    ) -> None:
        """In both directions; ``reason`` is a part of the reject's, None for no reject."""
        for inbound in BOTH:
            asked: list[Version] = []
            base = config() if configured is None else configured
            listeners = Listeners(on_version=noting(asked))
            pair = self.fresh(base.replace(listeners=listeners), inbound=inbound)
            before = pair.hear()
            self.assertEqual([type(each) for each in before], [] if inbound else [Version])
            pair.say(version, VerAck())
            heard = pair.hear()
            if reason is None:
                self.assertEqual(heard, [])
            else:
                [reject] = heard
                assert isinstance(reject, Reject)
                self.assertEqual((reject.rejected, reject.code), (b"version", RejectCode.INVALID))
                self.assertIn(reason, reject.reason.decode())
            self.assert_closed(pair, cause)
            self.assertEqual(asked, [])

    def test_another_genesis_is_rejected(self) -> None:
        version = remote_version(genesis_hash=TESTNET1.genesis_hash)
        self.assert_refused(version, CloseCause.WRONG_GENESIS, str(TESTNET1.genesis_hash))
        self.assert_refused(version, CloseCause.WRONG_GENESIS, str(SIMNET.genesis_hash))

    def test_a_version_that_stops_after_its_user_agent_names_an_all_zero_genesis(self) -> None:
        self.assert_refused(cut_version(32 + 4 + 1), CloseCause.WRONG_GENESIS, str(ZERO_HASH))

    def test_rejects_are_written_whatever_the_remote_advertises(self) -> None:
        version = remote_version(genesis_hash=ZERO_HASH, protocol_version=209)
        self.assert_refused(version, CloseCause.WRONG_GENESIS, "genesis")

    def test_our_own_agent_name_with_another_major_version_is_rejected(self) -> None:
        configured = config(user_agent_name="mine", user_agent_version="2.1.0")
        for agent in (b"/mine:1.9.0/", b"/soterwire:0.6.0/mine:3.0.0(some; words)/", b"/mine:2.0.0/mine:1.0.0/"):
            self.assert_refused(
                remote_version(user_agent=agent), CloseCause.INCOMPATIBLE_AGENT, "incompatible", configured
            )

    def test_agents_that_do_not_name_ours_or_name_its_major_are_taken(self) -> None:
        for agent in (b"", b"/mine:2.0.9/", b"/other:1.0.0/", b"/mine:1.0/mine:v1.0.0/", b"/mine:1.0.0/mine:2.3.4/"):
            pair = self.fresh(config(user_agent_name="mine", user_agent_version="2.1.0"), inbound=True)
            pair.handshake(remote_version(user_agent=agent))
            self.assert_ready(pair)

    def test_the_nonce_comes_first_then_the_genesis_then_the_agent_then_the_protocol_version(self) -> None:
        LIVE_NONCES.add(4711)
        self.addCleanup(LIVE_NONCES.discard, 4711)
        wrongs: list[tuple[CloseCause, str | None, dict[str, Any]]] = [
            (CloseCause.SELF_CONNECTION, None, {"nonce": 4711}),
            (CloseCause.WRONG_GENESIS, "genesis", {"genesis_hash": ZERO_HASH}),
            (CloseCause.INCOMPATIBLE_AGENT, "incompatible", {"user_agent": b"/txsoter:7.0.0/"}),
        ]
        for first, (cause, reason, _) in enumerate(wrongs):
            fields = {"protocol_version": 0}
            for _, _, wrong_fields in wrongs[first:]:
                fields.update(wrong_fields)
            self.assert_refused(remote_version(**fields), cause, reason)

    def test_below_209_or_negative_closes_without_a_reject_after_on_version(self) -> None:
        """**better**: the reference takes -1 for a huge one. The listener has been asked before."""
        for inbound in BOTH:
            for advertised in (208, 0, -1, -(2**31)):
                asked: list[Version] = []
                listeners = Listeners(on_version=noting(asked))
                pair = self.fresh(config(listeners=listeners), inbound=inbound)
                pair.hear()
                pair.handshake(remote_version(protocol_version=advertised))
                self.assertEqual(pair.hear(), [])
                reason = self.assert_closed(pair, CloseCause.OBSOLETE_VERSION)
                self.assertIn(str(advertised), reason.detail)
                self.assertEqual(len(asked), 1)

    def test_209_is_taken(self) -> None:
        for inbound in BOTH:
            pair = self.fresh(inbound=inbound)
            pair.remote.pver = 209
            pair.handshake(remote_version(protocol_version=209))
            self.assert_ready(pair)
            stats = pair.peer.stats()
            self.assertEqual((stats.advertised_version, stats.negotiated_version), (209, 209))


class SelfConnectionTests(WholePeerTestCase):
    """ "We have dialled ourselves; close, no reject"."""

    def dial(self, clock: Clock, settings: PeerConfig) -> tuple[SoterPeerProtocol, SoterPeerProtocol, MemoryLink]:
        dialler, listener = SoterPeerProtocol(settings), SoterPeerProtocol(settings, inbound=True)
        return dialler, listener, MemoryLink(dialler, listener)

    def test_two_peers_of_one_process(self) -> None:
        clock = Clock()
        dialler, listener, link = self.dial(clock, config(clock=clock))
        link.pump()
        reason = self.successResultOf(listener.when_closed())
        self.assertEqual((reason.by, reason.cause), (ClosedBy.LOCAL, CloseCause.SELF_CONNECTION))
        self.assertEqual((listener.stats().bytes_sent, dialler.stats().bytes_received), (0, 0))
        self.assertEqual(self.successResultOf(dialler.when_closed()).cause, CloseCause.REMOTE_CLOSED)
        self.assertEqual((clock.getDelayedCalls(), len(LIVE_NONCES)), ([], self.nonces_before))

    def test_a_config_flag_allows_it(self) -> None:
        pair = self.connected_pair()
        self.assertEqual((pair.client.state, pair.server.state), (State.READY, State.READY))

    def test_one_nonce_is_remembered_for_each_live_connection(self) -> None:
        """**better**: the reference remembers 50 for the whole process: here 1000, and the first is not forgotten."""
        clock = Clock()
        settings = config(clock=clock, random=Random(2))
        diallers = [SoterPeerProtocol(settings) for _ in range(1000)]
        transports = [MemoryTransport(each, CLIENT, SERVER) for each in diallers]
        for dialler, transport in zip(diallers, transports, strict=True):
            wrong(dialler).makeConnection(transport)
        self.assertEqual(len(LIVE_NONCES), self.nonces_before + 1000)
        for transport in (transports[0], transports[500], transports[-1]):
            pair = self.fresh(config(random=Random(3)), inbound=True)
            pair.say(transport.take())
            self.assert_closed(pair, CloseCause.SELF_CONNECTION)
        own, _ = read_message(framed_version := transports[1].take(), SIMNET.magic)
        assert isinstance(own, Version)
        MemoryLink._lose(transports[1], transports[1])
        self.assertNotIn(own.nonce, LIVE_NONCES)
        pair = self.fresh(config(random=Random(3)), inbound=True)
        pair.say(framed_version, VerAck())
        self.assert_ready(pair)
        for transport in transports:
            if transport.connected:
                MemoryLink._lose(transport, transport)
        self.assertEqual(clock.getDelayedCalls(), [])


class OurVersionTests(WholePeerTestCase):
    """What our `version` says, and when."""

    def test_outbound_sends_it_at_once_and_inbound_not_before_the_remotes(self) -> None:
        self.assertEqual([type(each) for each in self.fresh().hear()], [Version])
        pair = self.fresh(inbound=True)
        pair.advance(29)
        self.assertEqual(pair.hear(), [])
        pair.say(remote_version())
        self.assertEqual([type(each) for each in pair.hear()], [Version, VerAck])

    def test_its_fields(self) -> None:
        settings = config(
            user_agent_name="watcher",
            user_agent_version="1.2.3",
            user_agent_comments=("a", "b c"),
            services=Services.NETWORK | Services.WITNESS,
            disable_relay_tx=True,
            newest_block=lambda: 77,
        )
        for inbound in BOTH:
            clock = Clock()
            clock.advance(1_700_000_000.75)
            pair = self.fresh(settings, clock=clock, inbound=inbound)
            if inbound:
                pair.say(remote_version())
            version = pair.hear()[0]
            assert isinstance(version, Version)
            remote = NetAddress(Services.NETWORK, "192.0.2.1" if inbound else "192.0.2.2", 49152 if inbound else 18555)
            expected = Version(
                protocol_version=70013,
                services=9,
                timestamp=1_700_000_000,
                addr_you=remote,
                addr_me=NetAddress(9, bytes(16), 0),
                nonce=version.nonce,
                user_agent=b"/soterwire:0.6.0/watcher:1.2.3(a; b c)/",
                genesis_hash=SIMNET.genesis_hash,
                last_block=77,
                relay=False,
            )
            self.assertEqual(version, expected)

    def test_by_default_height_0_and_relay(self) -> None:
        [version] = self.fresh().hear()
        assert isinstance(version, Version)
        self.assertEqual((version.last_block, version.relay, version.services), (0, True, 0))
        self.assertEqual(version.user_agent, b"/soterwire:0.6.0/txsoter:0.1.0/")

    def test_the_nonce_is_fresh_for_each_connection(self) -> None:
        settings = config(random=Random(4))
        nonces = set()
        for _ in range(5):
            [version] = self.fresh(settings).hear()
            assert isinstance(version, Version)
            nonces.add(version.nonce)
        self.assertEqual(len(nonces), 5)

    def receiver(self, address: IAddress, **fields: Any) -> NetAddress:
        [version] = self.fresh(config(**fields), remote_address=address).hear()
        assert isinstance(version, Version)
        return version.addr_you

    def test_the_proxys_address_does_not_leak(self) -> None:
        nowhere = NetAddress(Services.NETWORK, "0.0.0.0", 0)
        proxy = IPv4Address("TCP", "127.0.0.1", 9050)
        self.assertEqual(self.receiver(proxy, proxy="127.0.0.1:9050"), nowhere)
        self.assertEqual(self.receiver(proxy, proxy="127.0.0.1:1"), nowhere)
        other = NetAddress(Services.NETWORK, "192.0.2.2", 18555)
        self.assertEqual(self.receiver(SERVER, proxy="127.0.0.1:9050"), other)
        self.assertEqual(self.receiver(proxy), NetAddress(Services.NETWORK, "127.0.0.1", 9050))

    def test_an_address_that_is_no_ip_is_told_as_0_0_0_0_port_0(self) -> None:
        """**better**: the same for an onion name, port too."""
        nowhere = NetAddress(Services.NETWORK, "0.0.0.0", 0)
        self.assertEqual(self.receiver(HostnameAddress(b"expyuzz4wqqyqhjn.onion", 18555)), nowhere)
        self.assertEqual(self.receiver(UNIXAddress("/run/peer")), nowhere)

    def test_inbounds_is_encoded_at_the_negotiated_version_but_names_our_own(self) -> None:
        """So without the relay byte below 70001."""
        for advertised, relay_byte in ((209, 0), (60001, 0), (70000, 0), (70001, 1), (70013, 1)):
            pair = self.fresh(inbound=True)
            pair.remote.pver = advertised
            pair.say(remote_version(protocol_version=advertised))
            [version, verack] = pair.hear()
            assert isinstance(version, Version)
            payload = len(pair.remote.raw) - 24 - 24
            self.assertEqual(payload, 20 + 26 + 26 + 8 + 1 + len(version.user_agent) + 32 + 4 + relay_byte)
            self.assertEqual((version.protocol_version, verack), (70013, VerAck()))

    def test_outbounds_is_encoded_at_our_own(self) -> None:
        pair = self.fresh(config(protocol_version=70000))
        [version] = pair.hear()
        self.assertEqual(read_message(pair.remote.raw, SIMNET.magic)[0], version)
        assert isinstance(version, Version)
        self.assertEqual(version.protocol_version, 70000)
        self.assertEqual(len(pair.remote.raw), len(framed(version)) - 1)

    def test_a_height_that_cannot_be_had_closes_and_nothing_is_sent(self) -> None:
        """Whether `newest_block` raises or returns nonsense."""

        def fails() -> int:
            raise ZeroDivisionError("no height")

        nonsense: list[Callable[[], Any]] = [fails, lambda: "high", lambda: None, lambda: 2**31, lambda: 1.5]
        for inbound in BOTH:
            for newest_block in nonsense:
                written: list[Any] = []
                errors = self.log_lines(LogLevel.error)
                settings = config(newest_block=newest_block, listeners=Listeners(on_write=noting(written)))
                pair = self.fresh(settings, inbound=inbound)
                if inbound:
                    pair.say(remote_version())
                self.assertEqual((pair.hear(), [event for event in written if event[2] is None]), ([], []))
                self.assert_closed(pair, CloseCause.LOCAL_FAILURE)
                self.failureResultOf(pair.peer.when_ready(), HandshakeFailed)
                logged = self.flushLoggedErrors(ZeroDivisionError)
                self.assertEqual(len(logged), 1 if newest_block is fails else 0)
                self.assertEqual(len(errors), 1)
                self.assertIn("newest_block" if newest_block is fails else "Version.last_block", errors[0])
