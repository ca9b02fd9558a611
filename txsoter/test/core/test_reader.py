"""The reader: bytes in any chunking to messages, those that are read before their turn, and malformed frames."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import TestCase

from txsoter.core.events import Received
from txsoter.core.reader import MESSAGE_OVERHEAD, PEER_LIMITS, Reader
from txsoter.core.rules import make_dispatch_table
from txsoter.core.traffic import Counters
from txsoter.errors import MalformedMessage
from txsoter.networks import SIMNET
from txsoter.test.core.ends import frame, malformed_header
from txsoter.wire import Alert, Encoding, Message, Ping, Reject, Tx, Unknown, VerAck

BAD_CHECKSUM = frame(Ping(0))[:20] + bytes(12)
TOO_SHORT = frame(Unknown("ping", b"\0\0\0"))
OTHER_NETWORK = b"\xf9\xbe\xb4\xd9" + frame(Ping(0))[4:]


def pings(*nonces: int) -> bytes:
    """Return their frames."""
    return b"".join(frame(Ping(nonce)) for nonce in nonces)


class ReaderTestCase(TestCase):
    def setUp(self) -> None:
        self.counters = Counters()
        self.reader = Reader(SIMNET.magic, 70013, make_dispatch_table(lambda kind: ()), self.counters)

    def read(self) -> Message | MalformedMessage | None:
        """Return the next message, or the next malformed one."""
        item = self.reader.read()
        return item[1] if isinstance(item, tuple) else item

    def read_received(self) -> Received:
        """Return the next message, which must be a good one, with what belongs to it."""
        item = self.reader.read()
        assert isinstance(item, tuple)
        return item

    def read_all(self) -> Iterator[Message | MalformedMessage]:
        """Yield messages until none is whole; malformed headers are skipped."""
        while (item := self.read()) is not None:
            yield item
            if isinstance(item, MalformedMessage) and item.in_header:
                self.reader.skip()


class ReadingTests(ReaderTestCase):
    def test_any_chunking_gives_the_same_messages(self) -> None:
        stream = pings(*range(20)) + frame(VerAck()) + pings(99)
        expected = [*(Ping(nonce) for nonce in range(20)), VerAck(), Ping(99)]
        for size in (1, 2, 23, 24, 25, 31, 32, 33, 100, len(stream)):
            self.setUp()
            found: list[Message | MalformedMessage] = []
            for start in range(0, len(stream), size):
                self.reader.feed(stream[start : start + size])
                found += self.read_all()
            self.assertEqual((found, self.reader.buffered), (expected, 0), size)

    def test_a_thousand_messages_in_one_read(self) -> None:
        self.reader.feed(pings(*range(1000)) + pings(1000)[:-1])
        self.assertEqual(list(self.read_all()), [Ping(nonce) for nonce in range(1000)])
        self.assertEqual(self.reader.buffered, 31)

    def test_memory_is_bounded_by_what_was_sent(self) -> None:
        """A payload is not reserved when it is announced."""
        self.reader.feed(frame(Unknown("x", bytes(1000)))[:24] + bytes(10))
        self.assertIsNone(self.read())
        self.assertEqual((self.reader.buffered, self.reader.memory), (34, 34))

    def test_a_message_comes_with_its_payload_its_size_and_its_checksum(self) -> None:
        self.reader.feed(pings(7))
        state, message, payload, used, checksum = self.read_received()
        self.assertEqual((message, payload, used), (Ping(7), (7).to_bytes(8, "little"), 8))
        self.assertEqual((checksum, state.shared.command), (pings(7)[20:24], "ping"))

    def test_bytes_behind_a_message_in_its_payload_are_not_used(self) -> None:
        self.reader.feed(frame(Unknown("getblocks", bytes(45))))
        _, _, payload, used, _ = self.read_received()
        self.assertEqual((len(payload), used), (45, 37))

    def test_unknown_commands_come_as_unknown(self) -> None:
        self.reader.feed(frame(Unknown("novel", b"abc")))
        state, message, payload, used, _ = self.read_received()
        self.assertEqual((message, payload, used), (Unknown("novel", b"abc"), b"abc", 3))
        self.assertIs(state.shared.message_class, Unknown)

    def test_version_and_encoding_hold_from_the_next_message_on(self) -> None:
        marked = frame(Unknown("tx", bytes.fromhex("010000000001000000000000")))
        self.reader.feed(pings(1) + frame(Ping(), 60000) + marked)
        self.assertEqual(self.read(), Ping(1))
        self.reader.negotiated(60000, Encoding.WITNESS)
        self.assertEqual(self.read(), Ping(0))
        self.assertIsInstance(self.read(), Tx)
        self.assertEqual((self.reader.pver, self.reader.encoding), (60000, Encoding.WITNESS))

    def test_limits_are_those_of_the_version_in_use(self) -> None:
        """A ping has no nonce at 60000."""
        self.reader.feed(pings(1))
        self.assertEqual(self.read(), Ping(1))
        self.reader.negotiated(60000, Encoding.BASE)
        self.reader.feed(pings(1))
        self.assertIsInstance(self.read(), MalformedMessage)

    def test_messages_are_counted_by_command_and_unknown_ones_together(self) -> None:
        self.reader.feed(pings(1) + frame(Unknown("a")) + frame(Unknown("b")))
        states = [self.read_received()[0] for _ in range(3)]
        self.assertIs(states[0].traffic, self.counters.received["ping"])
        self.assertIs(states[1].traffic, self.counters.received["unknown"])
        self.assertIs(states[2].traffic, self.counters.received["unknown"])

    def test_rejects_and_alerts_are_held_to_less_than_the_codec_takes(self) -> None:
        for kind in (Reject, Alert):
            limit = PEER_LIMITS[kind.command]
            self.assertLess(limit, kind.max_size(70013))
            for size, is_taken in ((limit, True), (limit + 1, False)):
                self.setUp()
                self.reader.feed(frame(Unknown(kind.command))[:16] + size.to_bytes(4, "little") + bytes(4))
                self.assertEqual(self.read() is None, is_taken)

    def test_an_unknown_payload_is_held_to_a_mebibyte(self) -> None:
        header = frame(Unknown("novel"))[:16]
        self.reader.feed(header + (1024 * 1024).to_bytes(4, "little") + bytes(4))
        self.assertIsNone(self.read())
        self.setUp()
        self.reader.feed(header + (1024 * 1024 + 1).to_bytes(4, "little") + bytes(4))
        self.assertIsInstance(self.read(), MalformedMessage)


class ReadAheadTests(ReaderTestCase):
    def push_all(self) -> None:
        while (item := self.reader.read()) is not None:
            self.reader.push_ahead(item)
            if isinstance(item, MalformedMessage):
                return

    def pop(self) -> Message | MalformedMessage:
        item = self.reader.pop_ahead()
        return item[1] if isinstance(item, tuple) else item

    def test_turns_come_in_order_and_once(self) -> None:
        self.assertFalse(self.reader.ahead)
        self.reader.feed(pings(1, 2, 3))
        self.push_all()
        self.assertEqual([self.pop() for _ in range(3)], [Ping(1), Ping(2), Ping(3)])
        self.assertFalse(self.reader.ahead)

    def test_their_memory_is_that_of_their_frames_and_of_themselves(self) -> None:
        self.reader.feed(pings(1, 2, 3) + pings(4)[:5])
        self.push_all()
        self.assertEqual((self.reader.buffered, self.reader.ahead_memory), (101, 96 + 3 * MESSAGE_OVERHEAD))
        self.assertEqual(self.reader.memory, self.reader.ahead_memory + 5)
        self.pop()
        self.assertEqual((self.reader.buffered, self.reader.ahead_memory), (69, 64 + 2 * MESSAGE_OVERHEAD))
        self.pop()
        self.pop()
        self.assertEqual((self.reader.buffered, self.reader.ahead_memory, self.reader.memory), (5, 0, 5))

    def test_a_malformed_one_blocks_until_its_turn(self) -> None:
        for bad in (BAD_CHECKSUM, TOO_SHORT, malformed_header(), OTHER_NETWORK):
            self.setUp()
            self.reader.feed(pings(1) + bad)
            self.push_all()
            self.assertTrue(self.reader.blocked)
            self.assertEqual(self.pop(), Ping(1))
            self.assertTrue(self.reader.blocked)
            self.assertIsInstance(self.pop(), MalformedMessage)
            self.assertFalse(self.reader.blocked)

    def test_close_forgets_everything(self) -> None:
        self.reader.feed(pings(1, 2) + pings(3)[:5])
        self.push_all()
        self.reader.close()
        self.assertEqual((self.reader.buffered, self.reader.memory, self.reader.ahead), (0, 0, None))
        self.assertIsNone(self.read())


class MalformedTests(ReaderTestCase):
    def test_the_size_of_what_was_read(self) -> None:
        self.reader.feed(BAD_CHECKSUM + TOO_SHORT + malformed_header())
        errors = list(self.read_all())
        self.assertEqual(
            [(each.size, each.in_header, each.command) for each in errors if isinstance(each, MalformedMessage)],
            [(32, False, "ping"), (27, False, "ping"), (24, True, "ping")],
        )
        self.assertEqual(len(errors), 3)

    def test_a_bad_header_at_once_without_its_payload(self) -> None:
        """The payload that it announces is not taken first."""
        self.reader.feed(malformed_header(1000)[:-1])
        self.assertIsNone(self.read())
        self.reader.feed(malformed_header(1000)[-1:])
        self.assertIsInstance(self.read(), MalformedMessage)

    def test_without_skip_nothing_more_comes(self) -> None:
        self.reader.feed(malformed_header() + bytes(9) + pings(1))
        self.assertIsInstance(self.read(), MalformedMessage)
        self.assertNotIsInstance(self.read(), Ping)

    def test_skipped_with_its_payload_in_any_chunking(self) -> None:
        for bad in (
            malformed_header(1000) + bytes(1000),
            malformed_header(9) + bytes(9),
            BAD_CHECKSUM,
            TOO_SHORT,
            OTHER_NETWORK,
        ):
            stream = pings(1) + bad + pings(2, 3)
            for size in (1, 7, 24, 50, len(stream)):
                self.setUp()
                found: list[Message | MalformedMessage] = []
                for start in range(0, len(stream), size):
                    self.reader.feed(stream[start : start + size])
                    found += self.read_all()
                malformed = [each for each in found if isinstance(each, MalformedMessage)]
                self.assertEqual(len(malformed), 1, (bad[:24], size))
                found.remove(malformed[0])
                self.assertEqual(found, [Ping(1), Ping(2), Ping(3)], (bad[:24], size))
