"""Remote text in logs, sanitised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from txsoter import wire
from txsoter.core import log_text
from txsoter.core.log_text import MessageLog, command_name, hex_dump, summary
from txsoter.core.sanitize import MAX_REASON, sanitize
from txsoter.errors import CloseCause
from txsoter.test.peer.support import PeerTestCase, TrialCase
from txsoter.testing import ScriptedPair, remote_version
from txsoter.wire import (
    Block,
    BlockHeader,
    GetBlocks,
    Hash,
    Inv,
    InventoryType,
    InventoryVector,
    Ping,
    Pong,
    Reject,
    Tx,
    Unknown,
    VerAck,
    write_message,
)
from txsoter.wire.message import messages

HASH = Hash(bytes(range(32)))
HEX = str(HASH)


def vector(type: int, height: int = -1) -> InventoryVector:
    return InventoryVector(type, HASH, height)


class SanitizeTests(TrialCase):
    """Stripped of control and markup characters and cut in length (reject reason 250 characters)."""

    def test_control_characters_go(self) -> None:
        self.assertEqual(sanitize("a\r\nb\tc\x00d\x1b[31me\x7ff\x9bg\u2028h"), "abcd[31mefgh")

    def test_what_turns_the_direction_of_text_goes(self) -> None:
        self.assertEqual(sanitize("a\u202eb\u2066c\u200fd\u200be\ufefff"), "abcdef")

    def test_markup_goes(self) -> None:
        self.assertEqual(sanitize("<b a=\"1\" c='2'>&amp;`x`\\{peer}"), "b a=1 c=2amp;xpeer")

    def test_plain_text_stays(self) -> None:
        text = "mandatory-script-verify-flag-failed (Ünïcode, 日本): 100% [ok] #1 @ /x/"
        self.assertEqual(sanitize(text), text)
        self.assertEqual(sanitize(""), "")

    def test_250_characters_and_no_more(self) -> None:
        self.assertEqual(MAX_REASON, 250)
        self.assertEqual(sanitize("x" * 250), "x" * 250)
        for text in ("x" * 251, b"x" * 4_000_000, "é" * 1000, ("é" * 1000).encode(), "𐍈" * 251, ("𐍈" * 251).encode()):
            kept = sanitize(text)
            self.assertEqual((len(kept), kept[-3:]), (250, "..."))
        self.assertEqual(sanitize("𐍈" * 250), sanitize(("𐍈" * 250).encode()))
        self.assertEqual(sanitize("abcdefghijklm", 12), "abcdefghi...")

    def test_bytes_that_are_not_utf8(self) -> None:
        self.assertEqual(sanitize(b"a\xff\xfeb\xc3"), "a\ufffd\ufffdb\ufffd")
        self.assertEqual(sanitize(b"\xed\xa0\x80"), "\ufffd" * 3)
        self.assertEqual(sanitize("a\ud800b"), "ab")

    def test_any_bytes_become_one_printable_line(self) -> None:
        text = sanitize(bytes(range(256)))
        self.assertTrue(text.isprintable())
        self.assertTrue(set("<>&\"'`\\{}").isdisjoint(text))

    def test_commands_of_a_remotes_own(self) -> None:
        self.assertEqual(command_name(Unknown("<a>\n")), "a")
        self.assertEqual(command_name(Ping()), "ping")


class SummaryTests(TrialCase):
    def test_vectors(self) -> None:
        for type, name in (
            (InventoryType.ERROR, "error"),
            (InventoryType.TX, "tx"),
            (InventoryType.BLOCK, "block"),
            (InventoryType.FILTERED_BLOCK, "filtered block"),
            (InventoryType.WITNESS_TX, "witness tx"),
            (InventoryType.WITNESS_BLOCK, "witness block"),
            (InventoryType.WITNESS_FILTERED_BLOCK, "witness filtered block"),
            (77, "type 77"),
        ):
            for kind in (wire.Inv, wire.GetData, wire.NotFound):
                self.assertEqual(summary(kind([vector(type)])), f"{name} {HEX}")
                self.assertEqual(summary(kind([vector(type, 0)])), f"{name} {HEX} at 0")
                self.assertEqual(summary(kind([vector(type)] * 2)), "2 vectors")
        self.assertEqual(summary(Inv()), "0 vectors")

    def test_each_kind(self) -> None:
        """Of all 31 and of unknown ones; empty when the command says it all."""
        address = wire.NetAddress(1, "192.0.2.1", 18555)
        transaction = Tx(inputs=(wire.TxIn(HASH, 0),))
        block_header = BlockHeader(version=1)
        cases: list[tuple[wire.Message, str]] = [
            (remote_version(user_agent=b"/a<b>:1/", last_block=7), "agent /ab:1/, version 70013, height 7"),
            (VerAck(), ""),
            (wire.GetAddr(), ""),
            (wire.GetAddrCache(), ""),
            (wire.Addr([address] * 3), "3 addresses"),
            (wire.AddrCache([address], [address] * 2, []), "1 inbound, 2 outbound, 0 known"),
            (GetBlocks(height=5, stop=HASH), f"above 5, stop {HEX}"),
            (wire.GetHeaders(), f"above None, stop {wire.ZERO_HASH}"),
            (Inv(), "0 vectors"),
            (wire.GetData(), "0 vectors"),
            (wire.NotFound(), "0 vectors"),
            (
                Block(transactions=(transaction,)),
                f"{Block(transactions=(transaction,)).hash}, 0 parents, 1 transactions",
            ),
            (transaction, str(transaction.txid)),
            (wire.Headers([block_header]), "1 headers"),
            (Ping(255), "nonce 0x00000000000000ff"),
            (Pong(255), "nonce 0x00000000000000ff"),
            (wire.Alert(), ""),
            (wire.MemPool(), ""),
            (wire.FilterAdd(), ""),
            (wire.FilterClear(), ""),
            (wire.FilterLoad(), ""),
            (wire.MerkleBlock(total=9), f"{wire.MerkleBlock().hash}, 9 transactions"),
            (Reject(b"t\nx", 0x42, b"too <low>"), "tx, code 0x42, too low"),
            (wire.SendHeaders(), ""),
            (wire.FeeFilter(1000), "1000 nanoSoter per kB"),
            (wire.GetCFilters(), ""),
            (wire.GetCFHeaders(), ""),
            (wire.GetCFCheckpt(), ""),
            (wire.CFilter(block_hash=HASH, data=b"abc"), f"{HEX}, 3 bytes"),
            (wire.CFHeaders(filter_hashes=[HASH]), "1 filter hashes"),
            (wire.CFCheckpt(filter_headers=[HASH] * 2), "2 filter headers"),
            (Unknown("x", b"12345"), "5 bytes"),
        ]
        self.assertEqual({type(message) for message, _ in cases}, {*messages().values(), Unknown})
        for message, words in cases:
            self.assertEqual(summary(message), words)

    def test_a_long_reason_is_cut(self) -> None:
        words = summary(Reject(b"x" * 100, 1, b"y" * 4000))
        self.assertLess(len(words), 300)
        self.assertIn("...", words)


class HexDumpTests(TrialCase):
    def test_sixteen_bytes_a_line(self) -> None:
        self.assertEqual(
            hex_dump(b"GET / HTTP/1.1\r\n\x00\x7f\xff"),
            "00000000  47 45 54 20 2f 20 48 54 54 50 2f 31 2e 31 0d 0a  GET / HTTP/1.1..\n"
            "00000010  00 7f ff                                         ...",
        )
        self.assertEqual(hex_dump(b""), "")

    def test_what_is_past_4096_bytes_is_left_out(self) -> None:
        self.assertEqual(len(hex_dump(bytes(4096)).splitlines()), 256)
        lines = hex_dump(bytes(5000)).splitlines()
        self.assertEqual((len(lines), lines[-1]), (257, "... 904 bytes more"))


class MessageLogTests(PeerTestCase):
    """Debug level logs one summary a message each way … a more verbose level dumps."""

    def setUp(self) -> None:
        super().setUp()
        self.events: list[LogEvent] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            self.events.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def lines(self, level: LogLevel = LogLevel.debug) -> list[str]:
        """What was logged at that level."""
        found = [formatEvent(event) for event in self.events if event.get("log_level") is level]
        self.events.clear()
        return found

    def node(self, **fields: Any) -> ScriptedPair:
        pair = self.scripted(remote_address=IPv4Address("TCP", "127.0.0.1", 18555), **fields)
        self.events.clear()
        return pair

    def test_one_summary_a_message_each_way(self) -> None:
        pair = self.node(log_messages=MessageLog.SUMMARY)
        pair.say(Inv([vector(InventoryType.BLOCK)]), Ping(1))
        pair.peer.send(wire.GetData([vector(InventoryType.BLOCK)]))
        self.assertEqual(
            self.lines(),
            [
                f"Received inv (block {HEX}) from 127.0.0.1:18555 (outbound)",
                "Received ping (nonce 0x0000000000000001) from 127.0.0.1:18555 (outbound)",
                "Sending pong (nonce 0x0000000000000001) to 127.0.0.1:18555 (outbound)",
                f"Sending getdata (block {HEX}) to 127.0.0.1:18555 (outbound)",
            ],
        )
        pair.say(wire.GetAddr())
        self.assertEqual(self.lines(), ["Received getaddr from 127.0.0.1:18555 (outbound)"])

    def test_dump_adds_the_parsed_message_and_its_bytes(self) -> None:
        pair = self.node(log_messages=MessageLog.DUMP)
        pair.say(Ping(7))
        received, dumped, sending, dumped_too = self.lines()
        self.assertTrue(received.startswith("Received ping"))
        self.assertTrue(sending.startswith("Sending pong"))
        self.assertEqual(dumped, f"Ping(nonce=7)\n{hex_dump(write_message(Ping(7), 1)[24:])}")
        self.assertEqual(dumped_too, f"Pong(nonce=7)\n{hex_dump(write_message(Pong(7), 1)[24:])}")

    def test_summary_does_not_dump(self) -> None:
        self.patch_out("hex_dump")
        pair = self.node(log_messages=MessageLog.SUMMARY)
        pair.say(Ping(7))
        self.assertEqual(len(self.lines()), 2)

    def test_switched_off_it_builds_nothing(self) -> None:
        self.patch_out("hex_dump")
        self.patch_out("summary")
        self.patch_out("command_name")
        pair = self.node()
        pair.say(Ping(7), Inv([vector(InventoryType.BLOCK)]), Unknown("x"))
        self.successResultOf(pair.peer.send(GetBlocks()))
        self.assertEqual(self.lines(), [])

    def patch_out(self, name: str) -> None:
        """Let it be an error to call that function."""

        def called(*_: object) -> str:
            raise AssertionError(f"{name} was called")

        patch: Callable[..., object] = self.patch  # type: ignore[attr-defined]
        patch(log_text, name, called)

    def test_what_a_remote_says_is_fit_for_a_line(self) -> None:
        """Its user agent, its rejects, its commands, wherever they are logged."""
        evil = b"<i>\r\n\x1b{x}"

        def fails(peer: object, message: object) -> None:
            raise ValueError

        pair = self.scripted(handshake=False, log_messages=MessageLog.SUMMARY, on_unknown=fails, on_closed=None)
        pair.handshake(remote_version(user_agent=evil))
        pair.say(Reject(evil, 1, evil), Unknown(evil.decode()), Unknown("\x1b]0;evil", b"x"))
        pair.say(write_message(Unknown(evil.decode()), pair.remote.magic)[:-1])
        raw = write_message(Unknown(evil.decode(), b"x"), pair.remote.magic)
        pair.say(raw[:20] + b"\0" * 4 + raw[24:])
        self.assert_closed(pair, CloseCause.MALFORMED)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
        lines = [line for level in (LogLevel.debug, LogLevel.info, LogLevel.critical) for line in self.kept(level)]
        self.assertGreater(len(lines), 8)
        for line in lines:
            self.assertTrue(line.isprintable(), line)
            self.assertTrue(set("<>{}").isdisjoint(line), line)

    def kept(self, level: object) -> list[str]:
        return [formatEvent(event) for event in self.events if event.get("log_level") is level]

    def test_one_line_for_malformed_bytes(self) -> None:
        pair = self.node()
        pair.say(write_message(Ping(7), pair.remote.magic)[:20] + bytes(12))
        self.assert_closed(pair, CloseCause.MALFORMED)
        malformed = [line for line in self.kept(LogLevel.info) if "malformed" in line]
        self.assertEqual(len(malformed), 1)
        expected = "127.0.0.1:18555 (outbound): closed by us: a malformed message came (ping): checksum"
        self.assertTrue(malformed[0].startswith(expected), malformed)
