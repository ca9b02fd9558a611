"""Tests of :mod:`txsoter.wire.control`: ``version`` and the other words about the connection itself."""

from __future__ import annotations

import copy
import pickle
import re
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from txsoter.errors import FieldError, MalformedMessage
from txsoter.test.wire import HUGE, MAGIC, NEWEST, WireTestCase, frame, varbytes, wrong
from txsoter.wire import (
    MAX_USER_AGENT,
    ZERO_HASH,
    Encoding,
    FeeFilter,
    Hash,
    Message,
    NetAddress,
    Ping,
    Pong,
    Reject,
    RejectCode,
    SendHeaders,
    VerAck,
    Version,
    read_message,
)
from txsoter.wire.message import field_codecs

GENESIS = bytes(range(32))
YOU = struct.pack("<Q16s", 9, bytes(10) + b"\xff\xff\1\2\3\4") + b"\x12\x34"
ME = struct.pack("<Q16s", 1 << 63, b"\xfe" * 16) + b"\xff\xfe"
# where each field of a version with a 7-byte user agent ends, from the first that must be there
FIXED = 4 + 8 + 8 + 26
ENDS = tuple(FIXED + behind for behind in (0, 26, 34, 42, 74, 78, 79))


def version_payload(user_agent: bytes = b"/soter/", relay: bytes = b"\0") -> bytes:
    start = struct.pack("<iQq", 70013, 13, -5) + YOU + ME + struct.pack("<Q", 0x0102030405060708)
    return start + varbytes(user_agent) + GENESIS + struct.pack("<i", -2) + relay


VERSION = Version(
    protocol_version=70013,
    services=13,
    timestamp=-5,
    addr_you=NetAddress(9, "1.2.3.4", 0x1234),
    addr_me=NetAddress(1 << 63, b"\xfe" * 16, 0xFFFE),
    nonce=0x0102030405060708,
    user_agent=b"/soter/",
    genesis_hash=Hash(GENESIS),
    last_block=-2,
    relay=False,
)


class VersionTests(WireTestCase):
    """version."""

    def test_fields_in_order(self) -> None:
        """i32, u64, i64, two net addresses, u64 nonce, user agent, genesis hash, i32 last block, relay."""
        self.assert_wire(VERSION, version_payload())

    def test_relay(self) -> None:
        """False: do not announce transactions to me; absent: true."""
        self.assertIs(self.decode(Version, version_payload(relay=b"\0")).relay, False)
        self.assertIs(self.decode(Version, version_payload(relay=b"\1")).relay, True)
        self.assertIs(self.decode(Version, version_payload(relay=b"\x80")).relay, True)
        self.assertIs(self.decode(Version, version_payload(relay=b"")).relay, True)

    def test_relay_is_read_at_any_version(self) -> None:
        for pver in (209, 31401, 70000, 70001, NEWEST):
            self.assertIs(self.decode(Version, version_payload(), pver).relay, False)

    def test_relay_is_written_from_70001(self) -> None:
        for pver, relay in ((209, b""), (70000, b""), (70001, b"\0"), (NEWEST, b"\0")):
            self.assertEqual(self.encode(VERSION, pver), version_payload(relay=relay))

    def test_addresses_have_no_timestamp_at_any_version(self) -> None:
        for pver in (209, 31401, 31402, NEWEST):
            self.assertEqual(self.decode(Version, version_payload(), pver), VERSION)

    def test_cut_at_every_byte(self) -> None:
        """Fields after the first address may be absent from the end; one present in part is malformed."""
        whole = version_payload()
        self.assertEqual(ENDS[-1], len(whole))
        names = ("addr_me", "nonce", "user_agent", "genesis_hash", "last_block", "relay")
        for size in range(len(whole) + 1):
            if size not in ENDS:
                self.assert_malformed(Version, whole[:size])
                continue
            decoded = self.decode(Version, whole[:size])
            present = ENDS.index(size)
            for position, name in enumerate(names):
                expected = getattr(VERSION if position < present else Version(), name)
                self.assertEqual(getattr(decoded, name), expected, (size, name))
            self.assertEqual(decoded.addr_you, VERSION.addr_you)

    def test_defaults_of_absent_fields(self) -> None:
        """Address, nonce, genesis and height default to zero, user agent to empty, relay to true."""
        decoded = self.decode(Version, version_payload()[:FIXED])
        self.assertEqual(decoded.addr_me, (0, bytes(16), 0, 0))
        self.assertEqual((decoded.nonce, decoded.user_agent, decoded.genesis_hash), (0, b"", ZERO_HASH))
        self.assertEqual((decoded.last_block, decoded.relay), (0, True))

    def test_written_as_a_whole_as_by_its_fields(self) -> None:
        for version in (VERSION, Version(), Version(user_agent=bytes(252)), Version(-1, relay=False)):
            by_fields = Message.write_payload(version, NEWEST, Encoding.BASE)
            self.assertEqual(version.write_payload(NEWEST, Encoding.BASE), by_fields)

    def test_bytearrays_are_refused(self) -> None:
        for name in ("user_agent", "genesis_hash"):
            version = copy.copy(VERSION)
            setattr(version, name, bytearray(getattr(VERSION, name)))
            with self.assertRaisesRegex(FieldError, f"Version.{name}"):
                version.to_payload()

    def test_user_agent_of_256_bytes_is_taken(self) -> None:
        """Receive max 376."""
        payload = version_payload(b"x" * 256)
        self.assertEqual((len(payload), MAX_USER_AGENT), (376, 256))
        for pver in (209, 31402, NEWEST):
            self.assertEqual(self.decode(Version, payload, pver).user_agent, b"x" * 256)

    def test_user_agent_of_257_bytes_is_not(self) -> None:
        payload = version_payload(b"x" * 257)
        self.assert_malformed(Version, payload, "announces 377 bytes, at most 376")
        self.assert_malformed(Version, payload[:-1], "too many bytes in a field: 257, at most 256")
        self.assert_malformed(Version, payload[:80] + HUGE, "too many bytes in a field: 18446744073709551615")

    def test_user_agent_need_not_be_utf8(self) -> None:
        payload = version_payload(b"\xff\x00\x80")
        self.assertEqual(self.encode(self.decode(Version, payload)), payload)

    def test_send_limits(self) -> None:
        """358, or 350 below 31402: user agents of 240 bytes, 241 without the relay byte, 233 below 31402."""
        for pver, longest, size in (
            (NEWEST, 240, 358),
            (70001, 240, 358),
            (70000, 241, 358),
            (31402, 241, 358),
            (31401, 233, 350),
            (209, 233, 350),
        ):
            self.assertEqual(len(self.encode(Version(user_agent=b"x" * longest), pver)), size)
            self.assert_too_large(Version(user_agent=b"x" * (longest + 1)), size + 1, size, pver)
            self.assertEqual(Version.max_send(pver), size)

    def test_advice_is_exact(self) -> None:
        """A clear error that says how much shorter the user agent must be: no more than need be."""
        for pver, longest in ((NEWEST, 240), (70000, 241), (31401, 233)):
            for length in range(longest + 1, 257):
                size = len(version_payload(b"x" * length, b"" if pver < 70001 else b"\1"))
                message = Version(user_agent=b"x" * length)
                error = self.assert_too_large(message, size, Version.max_send(pver), pver)
                found = re.search(r"make the user agent (\d+) bytes shorter", str(error))
                assert found is not None
                self.assertEqual(int(found[1]), length - longest, (pver, length))

    def test_user_agent_over_256_bytes_cannot_be_sent(self) -> None:
        self.assert_refused(Version(user_agent=b"x" * 257), "Version.user_agent", "at most 256 bytes, not 257")

    def test_errors_name_the_field(self) -> None:
        self.assert_refused(Version(protocol_version=1 << 31), "Version.protocol_version", "i32")
        self.assert_refused(Version(services=-1), "Version.services", "u64")
        self.assert_refused(Version(timestamp=1 << 63), "Version.timestamp", "i64")
        self.assert_refused(Version(addr_you=NetAddress(port=70000)), "Version.addr_you.port", "65535")
        self.assert_refused(Version(addr_me=wrong(None)), "Version.addr_me", "a row of services, ip")
        self.assert_refused(Version(user_agent=wrong("text")), "Version.user_agent", "bytes")
        self.assert_refused(Version(genesis_hash=wrong(b"x")), "Version.genesis_hash", "32 bytes, not 1")
        self.assert_refused(Version(last_block=1 << 31), "Version.last_block", "i32")

    def test_bytes_behind_the_message_are_ignored(self) -> None:
        payload = version_payload()
        self.assertEqual(self.encode(self.decode(Version, payload + b"more")), payload)


class ParsedLateTests(WireTestCase):
    """A version's fields are read from its payload when the first is looked at."""

    def decoded(self) -> Version:
        return Version.from_payload(VERSION.to_payload())[0]

    def with_nonce(self, nonce: int) -> Version:
        version = copy.copy(VERSION)
        version.nonce = nonce
        return version

    def test_any_field_first(self) -> None:
        for name, _ in field_codecs(Version):
            self.assertEqual(getattr(self.decoded(), name), getattr(VERSION, name))

    def test_a_field_set_before_any_is_looked_at_stays(self) -> None:
        changed = self.decoded()
        changed.nonce = 5
        self.assertEqual(changed.last_block, VERSION.last_block)
        self.assertEqual(changed, self.with_nonce(5))
        self.assert_wire(changed, self.with_nonce(5).to_payload())

    def test_a_field_set_later_stays(self) -> None:
        changed = self.decoded()
        self.assertEqual(changed.last_block, VERSION.last_block)
        changed.nonce = 5
        self.assertEqual(changed, self.with_nonce(5))

    def test_read_fields(self) -> None:
        for version in (self.decoded(), self.decoded(), copy.copy(VERSION)):
            version.read_fields()
            self.assertEqual(version, VERSION)
            version.nonce = 5
            version.read_fields()
            self.assertEqual(version, self.with_nonce(5))

    def test_copies(self) -> None:
        self.assertEqual(copy.copy(self.decoded()), VERSION)
        self.assertEqual(copy.deepcopy(self.decoded()), VERSION)
        self.assertEqual(pickle.loads(pickle.dumps(self.decoded())), VERSION)

    def test_repr(self) -> None:
        self.assertEqual(repr(self.decoded()), repr(VERSION))

    def test_sent_on_as_it_came(self) -> None:
        """But for a relay flag that is neither 0 nor 1."""
        for relay, written in ((0, 0), (1, 1), (2, 1), (7, 1), (255, 1)):
            came = version_payload(relay=bytes((relay,)))
            for look in (False, True):
                version, _ = Version.from_payload(came + b"more")
                if look:
                    self.assertEqual(version.relay, relay > 0)
                self.assertEqual(version.to_payload(), came[:-1] + bytes((written,)))
                self.assertEqual(version.to_payload(70000), came[:-1])

    def test_encoded_again(self) -> None:
        self.assertEqual(self.decoded().to_payload(), VERSION.to_payload())

    def test_no_other_attributes(self) -> None:
        for version in (self.decoded(), VERSION):
            with self.assertRaisesRegex(AttributeError, "'Version' object has no attribute 'height'"):
                _ = version.height  # type: ignore[attr-defined]
            with self.assertRaises(AttributeError):
                version.height = 5  # type: ignore[attr-defined]

    def test_a_deleted_field_is_gone(self) -> None:
        version, read = copy.copy(VERSION), self.decoded()
        read.read_fields()
        for each in (version, read):
            del each.nonce
            with self.assertRaisesRegex(AttributeError, "no attribute 'nonce'"):
                _ = each.nonce

    def test_threads(self) -> None:
        """Which of them looks first is all the same."""
        interval = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, interval)
        sys.setswitchinterval(1e-6)
        versions = [self.decoded() for _ in range(2000)]
        start = threading.Barrier(3)

        def look() -> list[Version]:
            start.wait(60)
            return [each for each in versions if each.nonce != VERSION.nonce or each != VERSION]

        with ThreadPoolExecutor(3) as threads:
            for found in [threads.submit(look) for _ in range(3)]:
                self.assertEqual(found.result(60), [])

    def test_what_it_came_in_is_not_kept(self) -> None:
        came = bytearray(version_payload() + bytes(1000))
        version, end = Version.from_payload(wrong(came))
        came.clear()
        self.assertEqual((version, end), (VERSION, len(version_payload())))


class EmptyTests(WireTestCase):
    """verack, sendheaders: empty."""

    def test_empty(self) -> None:
        self.assert_wire(VerAck(), b"")
        self.assert_wire(SendHeaders(), b"")

    def test_not_empty(self) -> None:
        self.assert_malformed(VerAck, b"\0", "announces 1 bytes, at most 0")
        self.assert_malformed(SendHeaders, b"\0", "announces 1 bytes, at most 0")


class PingPongTests(WireTestCase):
    """u64 nonce, above protocol version 60000."""

    def test_with_a_nonce(self) -> None:
        for pver in (60001, NEWEST):
            for nonce in (0, 1, (1 << 64) - 1):
                self.assert_wire(Ping(nonce), struct.pack("<Q", nonce), pver)
                self.assert_wire(Pong(nonce), struct.pack("<Q", nonce), pver)

    def test_ping_is_empty_up_to_60000(self) -> None:
        for pver in (209, 60000):
            self.assert_wire(Ping(), b"", pver)
            self.assertEqual(self.encode(Ping(7), pver), b"")
            self.assert_malformed(Ping, bytes(8), "announces 8 bytes, at most 0", pver)

    def test_pong_is_malformed_up_to_60000(self) -> None:
        self.assert_malformed(Pong, bytes(8), "announces 8 bytes, at most 0", 60000)
        self.assert_malformed(Pong, b"", "does not exist at protocol version 60000", 60000)

    def test_of_another_size(self) -> None:
        for cls in (Ping, Pong):
            for size in range(8):
                self.assert_malformed(cls, bytes(size))
            self.assert_malformed(cls, bytes(9), "announces 9 bytes, at most 8")

    def test_response(self) -> None:
        """A ping's answer has its nonce."""
        self.assertEqual(Ping(77).response(), Pong(77))

    def test_errors_name_the_field(self) -> None:
        self.assert_refused(Ping(-1), "Ping.nonce", "u64")
        self.assert_refused(Pong(1 << 64), "Pong.nonce", "u64")


class RejectTests(WireTestCase):
    """varstr command, u8 code, varstr reason, and a hash only when the command is block or tx."""

    def test_with_a_hash(self) -> None:
        for command in (b"block", b"tx"):
            payload = varbytes(command) + b"\x10" + varbytes(b"bad") + GENESIS
            self.assert_wire(Reject(command, 0x10, b"bad", Hash(GENESIS)), payload)
            self.assert_malformed(Reject, payload[:-1])
            self.assert_malformed(Reject, payload[:-32])

    def test_without_a_hash(self) -> None:
        """The command is any string; ``malformed`` is common."""
        for command in (b"version", b"malformed", b"", b"BLOCK", b"tx\0", b"\xff\xfe"):
            payload = varbytes(command) + b"\1" + varbytes(b"no")
            self.assert_wire(Reject(command, 1, b"no"), payload)
            self.assertEqual(self.encode(Reject(command, 1, b"no", Hash(GENESIS))), payload)
            self.assertEqual(self.decode(Reject, payload + GENESIS).hash, ZERO_HASH)

    def test_codes(self) -> None:
        """All eight."""
        self.assertEqual(
            {each.name: int(each) for each in RejectCode},
            {
                "MALFORMED": 1, "INVALID": 0x10, "OBSOLETE": 0x11, "DUPLICATE": 0x12, "NONSTANDARD": 0x40,
                "DUST": 0x41, "INSUFFICIENT_FEE": 0x42, "CHECKPOINT": 0x43,
            },
        )  # fmt: skip

    def test_unknown_codes_survive(self) -> None:
        for code in (0, 2, 0x7F, 0xFF):
            self.assert_wire(Reject(b"x", code), b"\1x" + bytes((code,)) + b"\0")

    def test_long_strings(self) -> None:
        """The codec follows soterd: it is a peer that takes less."""
        long = b"r" * 100_000
        self.assert_wire(Reject(long, 1, long), varbytes(long) + b"\1" + varbytes(long))

    def test_huge_strings(self) -> None:
        self.assert_malformed(Reject, HUGE, "too many bytes in a field")
        self.assert_malformed(Reject, b"\1x\1" + HUGE, "too many bytes in a field")
        with self.assertRaisesRegex(MalformedMessage, "33554433, at most 33554432"):
            Reject.from_payload(struct.pack("<BI", 0xFE, (32 << 20) + 1))

    def test_cut_short(self) -> None:
        whole = b"\2tx\1\3bad" + GENESIS
        for size in range(len(whole)):
            self.assert_malformed(Reject, whole[:size])

    def test_errors_name_the_field(self) -> None:
        self.assert_refused(Reject(wrong("tx")), "Reject.rejected", "bytes")
        self.assert_refused(Reject(b"tx", 256), "Reject.code", "u8")
        self.assert_refused(Reject(b"tx", 1, wrong(None)), "Reject.reason", "bytes")
        self.assert_refused(Reject(b"tx", hash=wrong(b"")), "Reject.hash", "32 bytes, not 0")


class FeeFilterTests(WireTestCase):
    """i64 minimum fee."""

    def test_any_fee_survives(self) -> None:
        for fee in (0, 1, -1, (1 << 63) - 1, -(1 << 63)):
            self.assert_wire(FeeFilter(fee), struct.pack("<q", fee))

    def test_size(self) -> None:
        for size in range(8):
            self.assert_malformed(FeeFilter, bytes(size))
        self.assert_malformed(FeeFilter, bytes(9), "announces 9 bytes, at most 8")

    def test_error_names_the_field(self) -> None:
        self.assert_refused(FeeFilter(1 << 63), "FeeFilter.fee", "i64")

    def test_does_not_exist_below_70013(self) -> None:
        with self.assertRaisesRegex(MalformedMessage, "feefilter: does not exist at protocol version 70012"):
            read_message(frame("feefilter", bytes(8)), MAGIC, 70012)
