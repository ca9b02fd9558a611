"""Messages that are too large, unknown or malformed."""

from __future__ import annotations

from twisted.internet.address import HostnameAddress, IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.logger import LogLevel

from txsoter import REGTEST, SIMNET, CloseCause, ClosedBy, Listeners, MessageLog
from txsoter.core.state import State
from txsoter.test.peer.cases import WholePeerTestCase, config, framed, noting, wrong
from txsoter.testing import ScriptedPair, remote_version
from txsoter.wire import (
    Alert,
    Ping,
    Pong,
    Reject,
    Unknown,
    VerAck,
    write_message,
)


class LimitTests(WholePeerTestCase):
    """Payloads that a peer takes less of than the codec, and unknown commands."""

    def header(self, command: bytes, length: int) -> bytes:
        return SIMNET.magic.to_bytes(4, "little") + command.ljust(12, b"\0") + length.to_bytes(4, "little") + bytes(4)

    def test_announced_sizes(self) -> None:
        """**better**: the reference holds 32 MiB of reject and alert. Refused at the header: no payload follows."""
        for command, limit in ((b"reject", 4_000_000), (b"alert", 65_536), (b"whatever", 1_048_576)):
            pair = self.scripted()
            pair.say(self.header(command, limit))
            self.assertEqual(pair.hear(), [])
            self.assertIs(pair.peer.state, State.READY)
            pair = self.scripted()
            pair.say(self.header(command, limit + 1))
            [reject] = pair.hear()
            assert isinstance(reject, Reject)
            self.assertEqual((reject.rejected, reject.code), (b"malformed", 1))
            self.assertIn(str(limit), reject.reason.decode())
            self.assert_closed(pair, CloseCause.MALFORMED, command.decode())

    def test_messages_of_just_that_size_are_taken(self) -> None:
        heard: list[object] = []
        listeners = Listeners(
            on_reject=lambda peer, message: heard.append(message),
            on_alert=lambda peer, message: heard.append(message),
            on_unknown=lambda peer, message: heard.append(message),
        )
        pair = self.scripted(config(listeners=listeners))
        reject = Reject(b"version", 1, bytes(4_000_000 - 8 - 1 - 5))
        alert = Alert(b"\xff" * (65_536 - 3 - 1))
        unknown = Unknown("whatever", bytes(1_048_576))
        for message, size in ((reject, 4_000_000), (alert, 65_536), (unknown, 1_048_576)):
            self.assertEqual(len(framed(message)), 24 + size)
            pair.say(message)
        self.assertEqual(heard, [reject, alert, unknown])

    def test_an_unknown_command_is_handed_on_and_counted(self) -> None:
        """**better**: disconnecting splits a network at every upgrade."""
        heard: list[object] = []
        listeners = Listeners(
            on_unknown=lambda peer, message: heard.append(message),
            on_read=lambda peer, size, message, error: heard.append((size, message, error)),
        )
        pair = self.scripted(config(listeners=listeners))
        heard.clear()
        messages = [Unknown("one", b"abc"), Unknown("two"), Unknown("VERSION")]
        pair.say(*messages, Ping(1))
        expected: list[object] = []
        for message in messages:
            expected += [(24 + len(message.payload), message, None), message]
        self.assertEqual(heard, [*expected, (32, Ping(1), None)])
        self.assertEqual(pair.hear(), [Pong(1)])
        stats = pair.peer.stats()
        self.assertEqual((stats.unknown_commands, stats.received["unknown"].messages), (3, 3))

    def test_strict_rejects_it_and_closes(self) -> None:
        heard: list[object] = []
        listeners = Listeners(on_unknown=lambda peer, message: heard.append(message))
        pair = self.scripted(config(strict=True, listeners=listeners))
        pair.say(Unknown("new<\x07>", b"abc"))
        self.assertEqual(pair.hear(), [Reject(b"malformed", 1, b"new: unknown command")])
        self.assert_closed(pair, CloseCause.UNKNOWN_COMMAND, "new")
        self.assertEqual((heard, pair.peer.stats().unknown_commands), ([], 1))


class MessageLogTests(WholePeerTestCase):
    """ "Debug level logs one summary a message each way, a more verbose level dumps the parsed message"."""

    def logged(self, level: MessageLog) -> list[str]:
        lines = self.log_lines(LogLevel.debug)
        pair = self.scripted(config(log_messages=level))
        del lines[:]
        pair.say(Ping(255))
        return lines

    def test_summaries(self) -> None:
        here = "192.0.2.2:18555 (outbound)"
        expected = [f"{words} (nonce 0x00000000000000ff) {where} {here}" for words, where in SAID]
        self.assertEqual(self.logged(MessageLog.SUMMARY), expected)

    def test_dumps(self) -> None:
        lines = self.logged(MessageLog.DUMP)
        self.assertEqual(len(lines), 4)
        self.assertIn("Ping(nonce=255)\n00000000  ff 00", lines[1])

    def test_off(self) -> None:
        self.assertEqual(self.logged(MessageLog.OFF), [])


SAID = (("Received ping", "from"), ("Sending pong", "to"))


class MalformedTests(WholePeerTestCase):
    """What a malformed message draws."""

    broken = framed(Ping(1))[:20] + bytes(4) + framed(Ping(1))[24:]

    def test_a_reject_that_says_why_and_a_close(self) -> None:
        pair = self.scripted()
        pair.say(self.broken, Ping(2))
        [reject] = pair.hear()
        assert isinstance(reject, Reject)
        self.assertEqual((reject.rejected, reject.code), (b"malformed", 1))
        self.assertIn(b"ping: checksum", reject.reason)
        self.assert_closed(pair, CloseCause.MALFORMED, "ping")
        self.assertEqual(pair.peer.stats().malformed, 1)

    def test_below_70002_there_is_no_reject(self) -> None:
        pair = self.fresh()
        pair.remote.pver = 70001
        pair.handshake(remote_version(protocol_version=70001))
        pair.hear()
        pair.say(self.broken)
        self.assertEqual(pair.hear(), [])
        self.assert_closed(pair, CloseCause.MALFORMED, "ping")

    def regtest(self, address: IAddress, **fields: object) -> ScriptedPair:
        return self.fresh(config(network=REGTEST, **fields), inbound=True, remote_address=address)

    def rubbish(self) -> tuple[bytes, ...]:
        """A checksum, a payload, a size and a command, each wrong, the bytes that a header announces behind it."""
        magic = REGTEST.magic.to_bytes(4, "little")
        good = write_message(Ping(3), REGTEST.magic)
        return (
            good[:20] + bytes(4) + good[24:],
            magic + b"ping".ljust(12, b"\0") + (9).to_bytes(4, "little") + bytes(4) + b"123456789",
            write_message(wrong(Unknown("getaddr", b"")), REGTEST.magic)[:16] + (5).to_bytes(4, "little") + bytes(9),
        )

    def test_on_regtest_from_this_machine_it_is_skipped_with_its_payload(self) -> None:
        for address in (IPv4Address("TCP", "127.0.0.1", 1), HostnameAddress(b"localhost", 1)):
            heard: list[Unknown] = []
            pair = self.regtest(address, strict=True, listeners=Listeners(on_unknown=noting(heard)))
            pair.handshake(remote_version(genesis_hash=REGTEST.genesis_hash))
            pair.hear()
            pair.say(*self.rubbish(), Unknown("oops", b"xyz"), Ping(4))
            self.assertEqual((pair.hear(), heard), ([Pong(4)], []))
            self.assertEqual(pair.peer.stats().malformed, 3)
            self.assert_ready(pair)

    def test_but_not_from_elsewhere_and_not_before_the_handshake_is_over(self) -> None:
        version = remote_version(genesis_hash=REGTEST.genesis_hash)
        for address, messages in (
            (IPv4Address("TCP", "127.0.0.2", 1), [version, VerAck()]),
            (IPv4Address("TCP", "127.0.0.1", 1), [version]),
        ):
            pair = self.regtest(address)
            pair.say(*messages)
            pair.hear()
            pair.say(self.rubbish()[0])
            self.assertEqual([type(each) for each in pair.hear()], [Reject])
            self.assert_closed(pair, CloseCause.MALFORMED, "ping")

    def test_nor_on_another_network(self) -> None:
        pair = self.scripted(inbound=True, remote_address=IPv4Address("TCP", "127.0.0.1", 1))
        pair.say(self.broken)
        self.assert_closed(pair, CloseCause.MALFORMED, "ping", ClosedBy.LOCAL)
