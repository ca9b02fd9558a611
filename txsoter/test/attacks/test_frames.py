"""Attacks by frames: headers that promise, rubbish, and commands that are none."""

from __future__ import annotations

from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy
from txsoter.networks import MAINNET, SIMNET
from txsoter.test.attacks.support import BOTH, KIB, MIB, READ, Attack, AttackTestCase, RejectOf
from txsoter.test.peer.cases import as_tx, framed
from txsoter.testing import remote_version
from txsoter.wire import Inv, Message, Ping, Pong, RejectCode, Unknown, VerAck, write_message
from txsoter.wire.framing import checksum
from txsoter.wire.message import MAX_PAYLOAD, messages

BOUND = 64 * KIB
"""The most that the process may hold for an attack that sends little."""


def malformed(containing: str) -> RejectOf:
    """The answer to what cannot be decoded."""
    return RejectOf(b"malformed", RejectCode.MALFORMED, containing)


def header(command: bytes, length: int, payload: bytes = b"", magic: int = SIMNET.magic) -> bytes:
    """A header that announces ``length`` bytes, the checksum that of ``payload``."""
    return magic.to_bytes(4, "little") + command.ljust(12, b"\0") + length.to_bytes(4, "little") + checksum(payload)


class FrameTestCase(AttackTestCase):
    """Frames that must be refused."""

    def assert_frame_refused(self, raw: bytes, why: str, command: str | None = None) -> None:
        """``raw`` ends the connection at once: ready, with a reject; before any version, without a word."""
        for inbound in BOTH:
            attack = self.attack(inbound=inbound)
            with self.assert_bounded(BOUND):
                attack.say(raw)
            self.assertEqual(attack.peer.stats().malformed, 1)
            self.assert_refused(attack, CloseCause.MALFORMED, command=command, sent_back=[malformed(why)])
            attack = self.attack(inbound=inbound, handshake=False)
            with self.assert_bounded(BOUND):
                attack.say(raw)
            self.assert_refused(attack, CloseCause.MALFORMED, command=command, sent_back=attack.greeting)


class PromiseTests(FrameTestCase):
    """Lengths that are announced, and not sent."""

    def test_header_announces_32_mib_then_nothing(self) -> None:
        """Attack: any command, known or not, with 32 MiB to come. None may be so large: refused by its header."""
        for command in (*messages(), "unknown"):
            self.assert_frame_refused(header(command.encode(), MAX_PAYLOAD), "announces 33554432 bytes", command)

    def test_header_announces_more_than_32_mib(self) -> None:
        """Attack: 32 MiB and a byte, and all that a u32 can say."""
        for length in (MAX_PAYLOAD + 1, 0xFFFFFFFF):
            self.assert_frame_refused(header(b"block", length), "no message has over 33554432")

    def test_32_mib_announced_for_a_command_of_0_bytes(self) -> None:
        """Attack: a payload for a command that has none; one byte is too much already."""
        empty = [command for command, message in messages().items() if message.max_size() == 0]
        expected = {"verack", "getaddr", "getaddrcache", "mempool", "filterclear", "sendheaders"}
        self.assertEqual(set(empty), expected)
        for command in empty:
            for length in (MAX_PAYLOAD, 1):
                self.assert_frame_refused(header(command.encode(), length), "at most 0 are taken", command)

    def test_header_announces_the_most_that_is_taken_then_nothing(self) -> None:
        """Attack: 4 MB of a block are to come, and never do: none are held for it, and it is idle after 5 minutes."""
        for inbound in BOTH:
            attack = self.attack(inbound=inbound)
            with self.assert_bounded(BOUND):
                attack.say(header(b"block", 4_000_000))
                self.assertEqual(attack.held(), 24)
                attack.advance(299, 10)
                self.assertFalse(attack.peer.is_closing)
                attack.advance(1)
            self.assert_refused(attack, CloseCause.IDLE, sent_back=["ping", "ping"])

    def test_one_byte_every_10_s(self) -> None:
        """Attack: bytes of a message come just often enough to look alive. Only whole messages count."""
        raw = framed(Inv([as_tx(1)]))
        for inbound in BOTH:
            attack = self.attack(inbound=inbound)
            with self.assert_bounded(BOUND):
                for at in range(30):
                    self.assertFalse(attack.peer.is_closing)
                    attack.say(raw[at : at + 1])
                    attack.advance(10)
            self.assertEqual(attack.peer.stats().bytes_received, len(framed(remote_version())) + 24 + 30)
            self.assert_refused(attack, CloseCause.IDLE, sent_back=["ping", "ping"])

    def test_32_kb_one_byte_at_a_time(self) -> None:
        """Attack: each byte comes by itself, which must not cost an object a byte."""
        raw = header(b"block", 4_000_000) + bytes(32 * KIB)
        attack = self.attack()
        with self.assert_bounded(2 * BOUND):
            for at in range(len(raw)):
                attack.attacker.say(raw[at : at + 1])
                attack.link.pump()
            self.assertEqual(attack.held(), len(raw))
            attack.pump()
            attack.hang_up()
        self.assert_refused(attack, CloseCause.REMOTE_CLOSED, by=ClosedBy.REMOTE)

    def test_4_mb_sent_and_the_last_byte_kept_back(self) -> None:
        """Attack: a block all but whole. What it has sent is held, once and a half at most, until it is idle."""
        raw = header(b"block", 4_000_000) + bytes(3_999_999)
        for chunk in (READ, 4000):
            attack = self.attack()
            with self.assert_bounded(6 * MIB):
                attack.stream(raw, chunk)
                self.assertEqual(attack.held(), len(raw))
                attack.advance(299, 10)
                self.assertFalse(attack.peer.is_closing)
                attack.advance(1)
            self.assert_refused(attack, CloseCause.IDLE, sent_back=["ping", "ping"])


class RubbishTests(FrameTestCase):
    """Bytes that are no frames of this network."""

    def test_wrong_magic(self) -> None:
        """Attack: another network, each byte of the magic wrong by itself, and other protocols."""
        ping = framed(Ping(7))
        streams = [write_message(Ping(7), MAINNET.magic), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"]
        streams += [ping[:at] + bytes([ping[at] ^ 1]) + ping[at + 1 :] for at in range(4)]
        for raw in streams:
            self.assert_frame_refused(raw, "is of another network")

    def test_wrong_magic_at_its_first_wrong_byte(self) -> None:
        """Attack: one wrong byte, and then nothing: nobody waits for the rest of it."""
        magic = framed(Ping(7))[:4]
        for at in range(4):
            self.assert_frame_refused(magic[:at] + bytes([magic[at] ^ 0x80]), "is of another network")
            attack = self.attack()
            for each in magic[:at]:
                attack.say(bytes([each]))
            self.assertFalse(attack.peer.is_closing)
            attack.say(bytes([magic[at] ^ 0x80]))
            self.assert_refused(attack, CloseCause.MALFORMED, sent_back=[malformed("is of another network")])

    def test_wrong_checksum(self) -> None:
        """Attack: one bit of the checksum, or of the payload, is wrong."""
        for message, name in ((Ping(7), "ping"), (remote_version(), "version"), (Unknown("hello", b"x"), "hello")):
            raw = framed(message)
            for at in (20, 23, 24, len(raw) - 1):
                wrong = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
                self.assert_frame_refused(wrong, "checksum", name)

    def test_wrong_checksum_of_nothing(self) -> None:
        """Attack: a verack whose checksum says that its payload is not empty."""
        self.assert_frame_refused(header(b"verack", 0, b"x"), "checksum", "verack")


STRANGE = {
    "bytes after its NUL": (b"ping\0x", "pingx"),
    "a NUL first": (b"\0ping", "ping"),
    "empty": (b"", ""),
    "another case": (b"PING", "PING"),
    "invalid UTF-8": (b"pi\xff\xfe\x80ng", "pi\xff\xfeng"),
    "all 12 bytes invalid UTF-8": (b"\xff" * 12, "\xff" * 12),
    "control characters and markup": (b"\x1b[31m<b>&\r\n", "[31mb"),
}
"""Commands that are none of the 31, and what of them may be shown."""


class CommandTests(AttackTestCase):
    """Commands that are none."""

    def assert_unknown(self, command: bytes, shown: str) -> None:
        """Counted and passed over; strict: refused, its name sanitised; before a version: closed, nothing written."""
        payload = bytes(30)
        raw = header(command, len(payload), payload) + payload
        for inbound in BOTH:
            attack = self.attack(inbound=inbound)
            with self.assert_bounded(BOUND):
                attack.say(raw)
            self.assertEqual(attack.peer.stats().unknown_commands, 1)
            self.assert_went_on(attack)
            attack = self.attack(inbound=inbound, strict=True)
            with self.assert_bounded(BOUND):
                attack.say(raw)
            why = f"{shown}: unknown command" if shown else "unknown command"
            self.assert_refused(attack, CloseCause.UNKNOWN_COMMAND, command=shown, sent_back=[malformed(why)])
            attack = self.attack(inbound=inbound, handshake=False)
            attack.say(raw)
            self.assert_refused(attack, CloseCause.VERSION_EXPECTED, command=shown, sent_back=attack.greeting)

    def test_command_with_bytes_after_its_nul(self) -> None:
        """Attack: ``ping`` in the first bytes of a command, and more behind the NUL; or before it."""
        for kind in ("bytes after its NUL", "a NUL first", "empty", "another case"):
            self.assert_unknown(*STRANGE[kind])

    def test_command_with_invalid_utf_8(self) -> None:
        """Attack: a command that is no text, or text that takes over a terminal."""
        for kind in ("invalid UTF-8", "all 12 bytes invalid UTF-8", "control characters and markup"):
            self.assert_unknown(*STRANGE[kind])

    def test_unknown_commands_by_the_thousand(self) -> None:
        """Attack: 10,000 commands, none like another: nothing is remembered of them but their number."""
        batches = [
            b"".join(framed(Unknown(f"c{number}", b"x")) for number in range(start, start + 1000))
            for start in range(0, 10_000, 1000)
        ]
        for inbound in BOTH:
            attack = self.attack(inbound=inbound)
            with self.assert_bounded(4 * READ, BOUND):
                for raw in batches:
                    attack.stream(raw)
            stats = attack.peer.stats()
            self.assertEqual((stats.unknown_commands, stats.received["unknown"].messages), (10_000, 10_000))
            self.assertEqual(set(stats.received), {"version", "verack", "unknown"})
            self.assert_went_on(attack)

    def test_unknown_commands_of_1_mib_each(self) -> None:
        """Attack: as many as one likes, as large as they may be: one at a time is held, and none is kept."""
        raw = framed(Unknown("large", bytes(MIB)))
        attack = self.attack()
        with self.assert_bounded(4 * MIB, BOUND):
            for _ in range(20):
                attack.stream(raw)
        self.assert_went_on(attack)


class EndTests(AttackTestCase):
    """Remotes that go in the middle."""

    def fresh(self, inbound: bool) -> Attack:
        return self.attack(inbound=inbound, handshake=False)

    def test_half_a_message_then_close(self) -> None:
        """Attack: half a header, a header, or half a payload, and then the end, in each state of the connection."""
        whole = framed(Inv([as_tx(each) for each in range(2000)]))
        for inbound in BOTH:
            for size in (1, 23, 24, 25, len(whole) // 2, len(whole) - 1):
                for said in ([], [remote_version()], [remote_version(), VerAck()]):
                    attack = self.fresh(inbound)
                    attack.say(*said)
                    with self.assert_bounded(4 * READ):
                        attack.say(whole[:size])
                        self.assertEqual(attack.held(), size)
                        attack.hang_up()
                    sent_back = ["version", "verack"] if said else attack.greeting
                    self.assert_refused(attack, CloseCause.REMOTE_CLOSED, by=ClosedBy.REMOTE, sent_back=sent_back)

    def test_reset_in_each_state(self) -> None:
        """Attack: the connection is reset, in each of its states. Who waits for anything is told."""
        heard: dict[State, list[Message]] = {
            State.NEGOTIATING: [],
            State.NEGOTIATED: [remote_version()],
            State.READY: [remote_version(), VerAck()],
        }
        for inbound in BOTH:
            for state, said in heard.items():
                attack = self.fresh(inbound)
                attack.say(*said)
                self.assertIs(attack.peer.state, state)
                attack.transport.takes = False
                before = len(attack.attacker.heard)
                attack.hand_out(attack.peer.send(Ping(1)), attack.peer.request(Ping(2), Pong, timeout=None))
                attack.say(framed(Ping(3))[:-1])
                attack.link.reset()
                sent_back = [each.command for each in attack.attacker.heard[:before]]
                self.assert_refused(attack, CloseCause.CONNECTION_LOST, by=ClosedBy.NETWORK, sent_back=sent_back)

    def test_reset_before_there_is_a_connection(self) -> None:
        """Attack: what dialled us is gone before anything was set up."""
        attack = self.attack()
        peer = attack.server.buildProtocol(None)
        self.assertIs(peer.state, State.CONNECTING)
        attack.hand_out(peer.when_ready(), peer.when_closed(), peer.send(Ping(1)))
        peer.connectionLost()
        self.assertIs(peer.state, State.CLOSED)
        self.assert_went_on(attack)

    def test_reset_while_closing(self) -> None:
        """Attack: it is refused, takes nothing of the reject, and resets. The reason stays what it was."""
        for inbound in BOTH:
            attack = self.attack(inbound=inbound)
            attack.transport.takes = False
            attack.hand_out(attack.peer.send(Unknown("large", bytes(MIB))))
            attack.say(header(b"ping", 9))
            self.assertIs(attack.peer.state, State.CLOSING)
            attack.link.reset()
            attack.link.reset()
            self.assert_refused(attack, CloseCause.MALFORMED, command="ping")
