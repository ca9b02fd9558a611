"""What malformed bytes get."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from txsoter.core.state import State
from txsoter.errors import CloseCause
from txsoter.networks import REGTEST, SIMNET, TESTNET1
from txsoter.test.peer.support import PeerTestCase
from txsoter.testing import ScriptedPair, remote_version
from txsoter.wire import Message, Ping, Pong, Reject, RejectCode, Unknown, write_message

KIB = 1024


def filler(size: int) -> Unknown:
    """A message whose frame has ``size`` bytes."""
    return Unknown("filler", bytes(size - 24))


def frame(message: Message, magic: int = SIMNET.magic) -> bytes:
    return write_message(message, magic)


def with_checksum(raw: bytes) -> bytes:
    """A frame whose checksum is wrong."""
    return raw[:20] + bytes([raw[20] ^ 1]) + raw[21:]


def header(length: int, magic: int = SIMNET.magic) -> bytes:
    """The header of a ping that announces ``length`` bytes."""
    return frame(Ping(), magic)[:16] + length.to_bytes(4, "little") + bytes(4)


class MalformedTests(PeerTestCase):
    """Malformed message (any decode error): `reject`, from 70002; wait until it is written, close."""

    def assert_refused(self, pair: ScriptedPair, raw: bytes, why: str, command: str | None = None) -> None:
        pair.say(raw)
        [reject] = pair.remote.heard
        assert isinstance(reject, Reject)
        self.assertEqual((reject.rejected, reject.code), (b"malformed", RejectCode.MALFORMED))
        self.assertIn(why, reject.reason.decode())
        reason = self.assert_closed(pair, CloseCause.MALFORMED)
        self.assertEqual(reason.command, command)
        self.assertEqual(pair.peer.stats().malformed, 1)

    def test_reject_then_close(self) -> None:
        for raw, why, command in (
            (with_checksum(frame(Ping(7))), "checksum", "ping"),
            (frame(Unknown("ping", bytes(7))), "ends too early", "ping"),
            (frame(Unknown("inv", b"\2" + bytes(40))), "ends too early", "inv"),
            (frame(Unknown("inv", b"\xfd\1\0" + bytes(40))), "", "inv"),
            (header(9), "at most 8", "ping"),
            (header(33 * 1024 * KIB), "33554432", None),
            (frame(Ping(7), TESTNET1.magic), "another network", None),
        ):
            self.assert_refused(self.scripted(), raw, why, command)
            self.assert_refused(self.scripted(inbound=True), raw, why, command)

    def test_what_came_before_it_is_handled_and_what_comes_behind_is_not(self) -> None:
        seen: list[int] = []
        pair = self.scripted(on_ping=lambda peer, ping: seen.append(ping.nonce))
        pair.say(frame(Ping(1)) + with_checksum(frame(Ping(2))) + frame(Ping(3)))
        self.assertEqual(seen, [1])
        self.assertEqual(pair.remote.commands, ["pong", "reject"])
        self.assert_closed(pair, CloseCause.MALFORMED)

    def test_a_bad_header_at_once_without_its_payload(self) -> None:
        pair = self.scripted()
        pair.say(header(9)[:23])
        self.assertIs(pair.peer.state, State.READY)
        self.assert_refused(pair, header(9)[23:], "at most 8", "ping")

    def test_below_70002_there_is_no_reject(self) -> None:
        pair = self.scripted(handshake=False)
        pair.pump()
        pair.remote.pver = 70001
        pair.handshake(remote_version(protocol_version=70001))
        pair.hear()
        pair.say(with_checksum(frame(Ping())))
        self.assertEqual(pair.remote.heard, [])
        self.assert_closed(pair, CloseCause.MALFORMED)

    def test_it_waits_until_the_reject_is_written(self) -> None:
        pair = self.scripted()
        pair.transport.takes = False
        pair.peer.send(filler(200 * KIB))
        pair.say(with_checksum(frame(Ping())))
        self.assertIs(pair.peer.state, State.CLOSING)
        self.assertFalse(pair.transport.disconnecting)
        pair.advance(9)
        pair.transport.takes = True
        self.assert_closed(pair, CloseCause.MALFORMED)
        self.assertEqual(pair.remote.commands, ["filler", "reject"])
        self.assertFalse(pair.transport.aborted)

    def test_the_wait_has_a_deadline(self) -> None:
        """In the reference a remote that does not read pins the connection for ever."""
        pair = self.scripted()
        pair.transport.takes = False
        waiting = [pair.peer.send(filler(200 * KIB)) for _ in range(2)]
        pair.say(with_checksum(frame(Ping())))
        pair.advance(9.5, 0.5)
        self.assertIs(pair.peer.state, State.CLOSING)
        pair.advance(0.5, 0.5)
        self.assertTrue(pair.transport.aborted)
        self.assert_closed(pair, CloseCause.MALFORMED)
        for each in waiting:
            self.assert_fails_closed(each, CloseCause.MALFORMED)

    def test_nothing_is_written_before_the_version(self) -> None:
        for raw in (
            with_checksum(frame(remote_version())),
            header(9),
            frame(Ping(), TESTNET1.magic),
            b"GET / HTTP/1.1",
        ):
            pair = self.scripted(handshake=False, inbound=True)
            pair.say(raw)
            self.assert_closed(pair, CloseCause.MALFORMED)
            self.assertEqual(pair.remote.raw, b"")


class ForgivenTests(PeerTestCase):
    """On regtest, from exactly 127.0.0.1 or localhost and after the handshake, … skipped with its payload."""

    def regtest(self, host: str, **fields: Any) -> ScriptedPair:
        kind = IPv6Address if ":" in host else IPv4Address
        address = kind("TCP", host, 18444)
        fields = {"network": REGTEST, "handshake": False, **fields}
        return self.scripted(inbound=True, remote_address=address, **fields)

    def ready(self, host: str, **fields: Any) -> ScriptedPair:
        pair = self.regtest(host, **fields)
        pair.handshake(remote_version(genesis_hash=pair.peer.config.network.genesis_hash))
        self.assertIs(pair.peer.state, State.READY)
        pair.remote.heard.clear()
        return pair

    def bad(self, magic: int) -> tuple[bytes, ...]:
        return (
            with_checksum(frame(Ping(7), magic)),
            write_message(Unknown("ping", bytes(7)), magic),
            header(9, magic) + bytes(9),
            header(40_000_000, magic)[:16] + (1000).to_bytes(4, "little") + bytes(4 + 1000),
            frame(Ping(7), SIMNET.magic),
        )

    def test_skipped_and_no_reject(self) -> None:
        for host in ("127.0.0.1", "localhost"):
            for raw in self.bad(REGTEST.magic):
                for size in (1, 10, len(raw) + 100):
                    pair = self.ready(host)
                    stream = raw + frame(Ping(8), REGTEST.magic)
                    for start in range(0, len(stream), size):
                        pair.say(stream[start : start + size])
                    self.assertEqual((pair.hear(), pair.peer.state), ([Pong(8)], State.READY))
                    self.assertEqual(pair.peer.stats().malformed, 1)

    def test_not_from_anywhere_else(self) -> None:
        for host in ("127.0.0.2", "::1", "192.0.2.1", "localhost.example"):
            pair = self.ready(host)
            pair.say(self.bad(REGTEST.magic)[0])
            self.assertEqual(pair.remote.commands, ["reject"])
            self.assert_closed(pair, CloseCause.MALFORMED)

    def test_not_on_another_network(self) -> None:
        pair = self.ready("127.0.0.1", network=SIMNET)
        pair.say(self.bad(SIMNET.magic)[0])
        self.assert_closed(pair, CloseCause.MALFORMED)

    def test_not_before_it_is_ready(self) -> None:
        pair = self.regtest("127.0.0.1")
        pair.say(self.bad(REGTEST.magic)[0])
        self.assert_closed(pair, CloseCause.MALFORMED)
        self.assertEqual(pair.remote.raw, b"")
        pair = self.regtest("127.0.0.1")
        pair.say(remote_version(genesis_hash=REGTEST.genesis_hash))
        pair.say(self.bad(REGTEST.magic)[0])
        self.assertEqual(pair.remote.commands, ["version", "verack", "reject"])
        self.assert_closed(pair, CloseCause.MALFORMED)
