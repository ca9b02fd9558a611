"""Tests of :mod:`txsoter.wire.message`: the registry, and what holds for all 31 messages."""

from __future__ import annotations

import inspect
import struct
import tracemalloc
from collections.abc import Callable
from unittest import TestCase

from txsoter.errors import FieldError, MalformedMessage, NeedMoreData, PayloadTooLarge, UnsupportedMessage
from txsoter.networks import SIMNET
from txsoter.test.wire import BASE, HUGE, MAGIC, NEWEST, WITNESS, WireTestCase, digest, frame, header, varint, wrong
from txsoter.wire import (
    MAX_PAYLOAD,
    MAX_UNKNOWN_PAYLOAD,
    PROTOCOL_VERSION,
    Addr,
    AddrCache,
    Alert,
    Block,
    BlockHeader,
    Encoding,
    FrameDecoder,
    Headers,
    Inv,
    InventoryVector,
    Message,
    Ping,
    Pong,
    Reject,
    Tx,
    Unknown,
    messages,
    read_message,
    write_message,
)
from txsoter.wire.message import command_bytes, command_text, message_class

MIB = 1 << 20
LIST = 9 + 50_000 * 40

# command, class, first version that has it, largest payload taken, largest sent
TABLE = (
    ("version", "Version", 0, 376, 358),
    ("verack", "VerAck", 0, 0, 0),
    ("getaddr", "GetAddr", 0, 0, 0),
    ("getaddrcache", "GetAddrCache", 0, 0, 0),
    ("addr", "Addr", 0, 9 + 1000 * 30, 9 + 1000 * 30),
    ("addrcache", "AddrCache", 0, 27 + 1000 * 30, 27 + 1000 * 30),
    ("getblocks", "GetBlocks", 0, 49, 49),
    ("inv", "Inv", 0, LIST, 1_800_009),
    ("getdata", "GetData", 0, LIST, 1_800_009),
    ("notfound", "NotFound", 0, LIST, 1_800_009),
    ("block", "Block", 0, 4_000_000, 4_000_000),
    ("tx", "Tx", 0, 4_000_000, 4_000_000),
    ("getheaders", "GetHeaders", 0, 49, 49),
    ("headers", "Headers", 0, 9 + 2000 * 81, 9 + 2000 * 81),
    ("ping", "Ping", 0, 8, 8),
    ("pong", "Pong", 60001, 8, 8),
    ("alert", "Alert", 0, 32 * MIB, 32 * MIB),
    ("mempool", "MemPool", 60002, 0, 0),
    ("filteradd", "FilterAdd", 70001, 523, 523),
    ("filterclear", "FilterClear", 70001, 0, 0),
    ("filterload", "FilterLoad", 70001, 36_012, 36_012),
    ("merkleblock", "MerkleBlock", 70001, 4_000_000, 4_000_000),
    ("reject", "Reject", 70002, 32 * MIB, 32 * MIB),
    ("sendheaders", "SendHeaders", 70012, 0, 0),
    ("feefilter", "FeeFilter", 70013, 8, 8),
    ("getcfilters", "GetCFilters", 0, 37, 37),
    ("getcfheaders", "GetCFHeaders", 0, 37, 37),
    ("getcfcheckpt", "GetCFCheckpt", 0, 33, 33),
    ("cfilter", "CFilter", 0, 262_182, 262_182),
    ("cfheaders", "CFHeaders", 0, 64_074, 64_074),
    ("cfcheckpt", "CFCheckpt", 0, 3_200_042, 3_200_042),
)

HEADER = bytes(80)
# what stands before each count of each message, once more with 2^64-1 in its place; witness encoding for the last
COUNTS = (
    *[(command, b"") for command in ("addr", "addrcache", "inv", "getdata", "notfound", "headers", "alert", "reject")],
    *[(command, b"") for command in ("filteradd", "filterload")],
    *[("addrcache", b"\0"), ("addrcache", b"\0\0"), ("version", bytes(80)), ("alert", b"\1x"), ("reject", b"\1x\1")],
    *[("getblocks", bytes(4)), ("getheaders", bytes(4))],
    *[("block", HEADER + bytes(16)), ("block", HEADER + bytes(16) + b"\1" + bytes(4))],
    *[("tx", bytes(4)), ("tx", bytes(4) + b"\1" + bytes(36)), ("tx", bytes(5)), ("tx", bytes(5) + b"\1" + bytes(8))],
    *[("merkleblock", HEADER + bytes(4)), ("merkleblock", HEADER + bytes(5))],
    *[("cfilter", bytes(33)), ("cfheaders", bytes(65)), ("cfcheckpt", bytes(33))],
)
MARKED = bytes(4) + b"\0\1\1" + bytes(36) + b"\0" + bytes(4) + b"\0"


def sample(cls: type[Message]) -> Message:
    """A message that can be sent; an empty alert cannot."""
    return Alert(b"x") if cls is Alert else cls()


class RegistryTests(TestCase):
    """The 31 messages."""

    def test_commands_and_classes(self) -> None:
        self.assertEqual(
            {command: cls.__name__ for command, cls in messages().items()},
            {command: name for command, name, *_ in TABLE},
        )
        self.assertEqual(len(TABLE), 31)

    def test_class_names_its_command(self) -> None:
        for command, cls in messages().items():
            self.assertEqual((cls.command, sample(cls).command), (command, command))

    def test_what_comes_first_is_what_a_lone_argument_is_meant_for(self) -> None:
        """Numbers that come before it on the wire (a protocol version, a type of filter) have to be named."""
        first = {}
        for command, cls in messages().items():
            given = [
                each.name
                for each in inspect.signature(cls).parameters.values()
                if each.kind is each.POSITIONAL_OR_KEYWORD
            ]
            if given:
                first[command] = given[0]
        heights = {
            "getblocks": "height",
            "getheaders": "height",
            "getcfilters": "start_height",
            "getcfheaders": "start_height",
        }
        hashes = {"getcfcheckpt": "stop", "cfcheckpt": "stop", "cfheaders": "stop", "cfilter": "block_hash"}
        lists = {
            "inv": "vectors",
            "getdata": "vectors",
            "notfound": "vectors",
            "addr": "addresses",
            "headers": "headers",
        }
        lists["addrcache"] = "inbound"
        numbers = {"ping": "nonce", "pong": "nonce", "feefilter": "fee", "version": "protocol_version", "tx": "version"}
        others = {"block": "header", "merkleblock": "header", "alert": "serialized", "reject": "rejected"}
        filters = {"filterload": "filter", "filteradd": "data"}
        self.assertEqual(first, {**heights, **hashes, **lists, **numbers, **others, **filters})

    def test_registry_is_a_copy(self) -> None:
        messages().clear()
        self.assertEqual(len(messages()), 31)

    def test_found_by_its_12_bytes(self) -> None:
        """ASCII, padded with NUL on the right; anything else is an unknown command."""
        for command, cls in messages().items():
            raw = command.encode().ljust(12, b"\0")
            self.assertIs(message_class(raw), cls)
            for other in (raw.upper(), raw[:11] + b"x", b"\0" + raw[:11], command.encode(), bytes(12)):
                if other != raw:
                    self.assertIsNone(message_class(other), other)

    def test_constants(self) -> None:
        self.assertEqual((PROTOCOL_VERSION, MAX_PAYLOAD, MAX_UNKNOWN_PAYLOAD), (70013, 33_554_432, 1_048_576))
        self.assertEqual([each.name for each in Encoding], ["BASE", "WITNESS"])


class LimitTests(TestCase):
    """The largest payload and the largest counts of each of the 31 messages."""

    def test_sizes(self) -> None:
        for command, _, _, received, sent in TABLE:
            cls = messages()[command]
            self.assertEqual((cls.max_size(), cls.max_send()), (received, sent), command)

    def test_largest_payload_is_waited_for(self) -> None:
        for command, _, _, received, _ in TABLE:
            raw = header(command, received)
            if received:
                with self.assertRaises(NeedMoreData) as caught:
                    read_message(raw, MAGIC)
                self.assertEqual(caught.exception.missing, received, command)
            else:
                with self.assertRaisesRegex(MalformedMessage, "checksum"):
                    read_message(raw, MAGIC)

    def test_one_byte_more_is_refused_at_the_header(self) -> None:
        for command, _, _, received, _ in TABLE:
            with self.assertRaises(MalformedMessage) as caught:
                read_message(header(command, received + 1), MAGIC)
            self.assertTrue(caught.exception.in_header, command)
            self.assertRegex(str(caught.exception), f"announces {received + 1} bytes, .*{received}")

    def test_counts_of_all_ones_are_refused(self) -> None:
        """Before anything is allocated: 2^64-1 in each count of each message."""
        rows = [(command, start, BASE) for command, start in COUNTS]
        rows += [("tx", MARKED, WITNESS), ("tx", MARKED + b"\1", WITNESS)]
        for command, start, encoding in rows:
            payload = start + HUGE + bytes(8)
            tracemalloc.start()
            try:
                with self.assertRaises(MalformedMessage, msg=(command, start)):
                    messages()[command].from_payload(payload, NEWEST, encoding)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            self.assertLess(peak, 50_000, command)

    def test_counts_within_limits_are_no_allocation_either(self) -> None:
        """A count that is allowed, its entries missing."""
        for command, start, count in (
            ("inv", b"", 50_000),
            ("headers", b"", 2000),
            ("addr", b"", 1000),
            ("block", HEADER + bytes(16), 400_001),
            ("tx", bytes(4), 818_401),
            ("tx", bytes(5), 3_728_271),
            ("merkleblock", HEADER + bytes(4), 400_001),
            ("cfheaders", bytes(65), 2000),
            ("cfcheckpt", bytes(33), 100_000),
        ):
            tracemalloc.start()
            try:
                with self.assertRaisesRegex(MalformedMessage, "ends too early", msg=command):
                    messages()[command].from_payload(start + varint(count) + bytes(3))
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            self.assertLess(peak, 50_000, command)


class ProtocolVersionTests(WireTestCase):
    """A message that does not exist at the negotiated version is malformed, both to encode and to decode."""

    def test_from_its_first_version_on(self) -> None:
        for command, _, since, _, _ in TABLE:
            cls = messages()[command]
            self.assertEqual(cls.since, since, command)
            for pver in {max(since, 209), NEWEST, NEWEST + 1}:
                payload = self.encode(sample(cls), pver)
                self.assertEqual(self.decode(cls, payload, pver), sample(cls))

    def test_not_before(self) -> None:
        for command, _, since, _, _ in TABLE:
            if not since:
                continue
            cls = messages()[command]
            for pver in (209, since - 1):
                with self.assertRaises(UnsupportedMessage) as caught:
                    write_message(sample(cls), MAGIC, pver)
                error = caught.exception
                self.assertEqual((error.command, error.pver, error.since), (command, pver, since))
                payload = b"" if command == "pong" else self.encode(sample(cls))
                self.assert_malformed(cls, payload, f"does not exist at protocol version {pver}", pver)

    def test_default_is_the_newest(self) -> None:
        self.assertEqual(write_message(Ping(1), MAGIC), write_message(Ping(1), MAGIC, NEWEST))
        self.assertEqual(read_message(frame("ping", bytes(8)), MAGIC)[0], Ping(0))


class UnknownTests(WireTestCase):
    """An unknown command is decoded to Unknown(command, payload), its payload held to 1 MiB."""

    def test_round_trip(self) -> None:
        for command in (b"sendcmpct", b"", b"PONG", b"pong\0x", b"\0pong", b"\xe5\xff", b"exactlytwelv", b" ping"):
            raw = frame(command, b"payload")
            message, consumed = read_message(raw, MAGIC)
            self.assertEqual((type(message), consumed), (Unknown, len(raw)))
            self.assertEqual(message, Unknown(command.decode("latin-1"), b"payload"))
            self.assertEqual(write_message(message, MAGIC), raw)

    def test_exists_at_any_version(self) -> None:
        self.assertEqual(write_message(Unknown("x"), MAGIC, 209), frame("x"))
        self.assertEqual(read_message(frame("x"), MAGIC, 209)[0], Unknown("x"))

    def test_payload_of_1_mib(self) -> None:
        raw = frame("x", bytes(MIB))
        self.assertEqual(read_message(raw, MAGIC), (Unknown("x", bytes(MIB)), len(raw)))
        self.assertEqual(write_message(Unknown("x", bytes(MIB)), MAGIC), raw)

    def test_payload_of_more(self) -> None:
        with self.assertRaisesRegex(MalformedMessage, "x: announces 1048577 bytes, at most 1048576"):
            read_message(frame("x", bytes(MIB + 1)), MAGIC)
        self.assert_too_large(Unknown("x", bytes(MIB + 1)), MIB + 1, MIB)

    def test_payload_that_is_no_bytes(self) -> None:
        self.assert_refused(Unknown("x", wrong("text")), "Unknown.payload", "bytes")

    def test_command_that_does_not_fit(self) -> None:
        for command in ("thirteen char", "euro\u20ac", wrong(None)):
            with self.assertRaises(FieldError) as caught:
                write_message(Unknown(command), MAGIC)
            self.assertEqual((caught.exception.field, caught.exception.value), ("Unknown.command", command))

    def test_repr(self) -> None:
        self.assertEqual(repr(Unknown("x", b"y")), "Unknown(command='x', payload=b'y')")


class WrongTypeTests(WireTestCase):
    """Values of another type are the caller's mistake, and named."""

    def test_no_list_at_all(self) -> None:
        for message in (AddrCache(wrong(None)), Block(transactions=wrong(None))):
            with self.assertRaisesRegex(FieldError, f"^{type(message).__name__} = "):
                write_message(message, MAGIC)

    def assert_argument(self, argument: str, words: str, call: Callable[..., object], *arguments: object) -> None:
        with self.assertRaises(FieldError) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.field, argument)
        self.assertIn(words, caught.exception.limit)

    def test_magic_that_is_no_u32(self) -> None:
        """Whoever passes the network, or its bytes, is told what to pass."""
        raw, u32 = frame("ping", bytes(8)), "a whole number from 0 to 4294967295 (u32)"
        for magic, words in (
            (-1, u32),
            (1 << 32, u32),
            ("simnet", u32),
            (None, u32),
            (SIMNET, "a Network has it as its attribute magic"),
            (raw[:4], "int.from_bytes(magic, 'little')"),
        ):
            self.assert_argument("magic", words, write_message, Ping(), magic)
            self.assert_argument("magic", words, read_message, raw, magic)
            self.assert_argument("magic", words, read_message, raw[:7], magic)
            self.assert_argument("magic", words, read_message, header("ping", 1 << 31), magic)
            self.assert_argument("magic", words, FrameDecoder, magic, message_class)

    def test_protocol_version_and_encoding(self) -> None:
        raw = frame("ping", bytes(8))
        for pver in (None, "70013", SIMNET, [70013]):
            words = "a protocol version, which is a whole number"
            self.assert_argument("pver", words, read_message, raw, MAGIC, pver)
            self.assert_argument("pver", words, write_message, Ping(), MAGIC, pver)
            self.assert_argument("pver", words, Ping.from_payload, bytes(8), pver)
            self.assert_argument("pver", words, Ping().to_payload, pver)
        for encoding in (None, True, "witness", 2):
            words = "Encoding.BASE or Encoding.WITNESS"
            self.assert_argument("encoding", words, read_message, raw, MAGIC, NEWEST, encoding)
            self.assert_argument("encoding", words, write_message, Ping(), MAGIC, NEWEST, encoding)
            self.assert_argument("encoding", words, Ping.from_payload, bytes(8), NEWEST, encoding)
            self.assert_argument("encoding", words, Ping().to_payload, NEWEST, encoding)

    def test_data_that_is_no_bytes(self) -> None:
        decoder = FrameDecoder(MAGIC, lambda command: wrong(None))
        for data in ("text", None, 24, [1, 2]):
            self.assert_argument("data", "bytes", read_message, data, MAGIC)
            self.assert_argument("data", "bytes", decoder.feed, data)
            self.assert_argument("payload", "bytes", Tx.from_payload, data)

    def test_data_of_other_kinds_of_bytes(self) -> None:
        """They are copied: what was decoded does not change with a buffer."""
        payload = Tx(lock_time=7).to_payload()
        for kind in (bytearray, memoryview):
            data = kind(bytearray(frame("tx", payload)))
            message, consumed = read_message(wrong(data), MAGIC)
            self.assertEqual((message, consumed), (Tx(lock_time=7), len(data)))
            self.assertEqual(Tx.from_payload(wrong(data[24:]))[0], message)
            data[24] ^= 1
            self.assertEqual(message, Tx(lock_time=7))

    def test_what_is_no_message(self) -> None:
        words = "a message, such as Ping(1)"
        for value in (None, "ping", Ping, b"ping", BlockHeader()):
            self.assert_argument("message", words, write_message, value, MAGIC)


class CommandTests(TestCase):
    """12 bytes, NULs on the right."""

    def test_both_ways(self) -> None:
        for text, raw in (("tx", b"tx" + bytes(10)), ("", bytes(12)), ("getaddrcache", b"getaddrcache")):
            self.assertEqual((command_bytes(text), command_text(raw)), (raw, text))

    def test_too_long(self) -> None:
        with self.assertRaisesRegex(FieldError, "at most 12 characters"):
            command_bytes("getaddrcaches")


class ValueTests(TestCase):
    """Messages are values."""

    def test_equality(self) -> None:
        self.assertEqual(Ping(1), Ping(1))
        self.assertNotEqual(Ping(1), Ping(2))
        self.assertNotEqual(Ping(1), Pong(1))
        self.assertNotEqual(Unknown("a"), Unknown("b"))

    def test_equality_of_what_was_decoded_and_what_was_made(self) -> None:
        vector = InventoryVector(1, bytes(32))
        decoded, _ = read_message(write_message(Inv((vector,)), MAGIC), MAGIC)
        for made in (Inv((vector,)), Inv([vector])):
            self.assertEqual(decoded, made)
            self.assertEqual(made, decoded)

    def test_unhashable(self) -> None:
        """They can be changed; a transaction cannot, and is hashable."""
        for message in (Ping(1), Unknown("a"), Headers()):
            with self.assertRaises(TypeError):
                hash(message)

    def test_no_other_attributes(self) -> None:
        for cls in messages().values():
            with self.assertRaises(AttributeError):
                wrong(sample(cls)).no_such_field = 1

    def test_repr(self) -> None:
        self.assertEqual(repr(Ping(5)), "Ping(nonce=5)")
        self.assertEqual(repr(Addr()), "Addr(addresses=())")

    def test_value_of_another_type_is_a_field_error(self) -> None:
        with self.assertRaises(FieldError) as caught:
            Inv(wrong(7)).to_payload()
        self.assertEqual((caught.exception.field, caught.exception.value), ("Inv.vectors", 7))

    def test_failed_encoding_changes_nothing(self) -> None:
        message = Reject(b"tx", 256)
        with self.assertRaises(FieldError):
            message.to_payload()
        self.assertEqual(message, Reject(b"tx", 256))


class PayloadTests(TestCase):
    """``from_payload`` and ``to_payload``, which frames are made of."""

    def test_bytes_left_over_are_counted(self) -> None:
        """soterd ignores them; txsoter accepts them too, and counts them."""
        self.assertEqual(Reject.from_payload(b"\1x\1\0more"), (Reject(b"x", 1), 4))
        self.assertEqual(Inv.from_payload(b"\0" + bytes(3)), (Inv(), 1))

    def test_left_over_bytes_count_against_the_limit(self) -> None:
        """A message of exact size has no room for any."""
        for command, _, _, received, _ in TABLE:
            payload = sample(messages()[command]).to_payload()
            if len(payload) == received:
                with self.assertRaises(MalformedMessage) as caught:
                    read_message(frame(command, payload + b"\0"), MAGIC)
                self.assertTrue(caught.exception.in_header)

    def test_errors_name_the_command(self) -> None:
        with self.assertRaises(MalformedMessage) as caught:
            Inv.from_payload(b"")
        self.assertEqual((caught.exception.command, caught.exception.in_header), ("inv", False))
        self.assertEqual(str(caught.exception), "inv: payload ends too early")

    def test_too_large_without_advice(self) -> None:
        with self.assertRaises(PayloadTooLarge) as caught:
            Unknown("x", bytes(MIB + 1)).to_payload()
        self.assertEqual(caught.exception.advice, "")

    def test_empty_checksum(self) -> None:
        """Empty payload: 5df6e0e2."""
        self.assertEqual(write_message(sample(messages()["verack"]), MAGIC)[20:].hex(), "5df6e0e2")
        self.assertEqual(digest(b"")[:4].hex(), "5df6e0e2")

    def test_header_fields(self) -> None:
        raw = write_message(Ping(1), 0xF1F2F3F4)
        self.assertEqual(raw, struct.pack("<I12sI4sQ", 0xF1F2F3F4, b"ping", 8, digest(raw[24:])[:4], 1))
