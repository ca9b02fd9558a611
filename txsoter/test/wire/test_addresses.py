"""Tests of :mod:`txsoter.wire.addresses`: the net address, ``addr``, ``addrcache``."""

from __future__ import annotations

import ipaddress
from unittest import TestCase

from txsoter.errors import FieldError, MalformedMessage
from txsoter.test.wire import HUGE, NEWEST, WireTestCase, frame, header, varint, wrong
from txsoter.wire import Addr, AddrCache, GetAddr, GetAddrCache, NetAddress, Services, read_message

LOCAL = NetAddress(5, "127.0.0.1", 0x1234, 0x01020304)
BARE = bytes.fromhex("0500000000000000" + "00000000000000000000ffff7f000001" + "1234")
DATED = bytes.fromhex("04030201") + BARE


class NetAddressTests(TestCase):
    """[u32 timestamp] u64 services, 16-byte IP, u16 port big-endian."""

    def test_ipv4_is_mapped(self) -> None:
        for ip in ("1.2.3.4", ipaddress.IPv4Address("1.2.3.4"), "::ffff:1.2.3.4"):
            self.assertEqual(NetAddress(ip=ip).ip.hex(), "00000000000000000000ffff01020304")

    def test_ipv6(self) -> None:
        for ip in ("2001:db8::1", ipaddress.IPv6Address("2001:db8::1")):
            self.assertEqual(NetAddress(ip=ip).ip.hex(), "20010db8000000000000000000000001")

    def test_host_is_what_people_write(self) -> None:
        self.assertEqual(NetAddress(ip="1.2.3.4").host, "1.2.3.4")
        self.assertEqual(NetAddress(ip="2001:db8::1").host, "2001:db8::1")
        self.assertEqual(NetAddress().host, "::")
        self.assertEqual(NetAddress(ip=bytes(4)).host, "invalid address of 4 bytes")

    def test_no_address(self) -> None:
        for ip in ("localhost", "1.2.3", None, 2130706433, True):
            with self.assertRaises(FieldError) as caught:
                NetAddress(ip=wrong(ip))
            self.assertEqual((caught.exception.field, caught.exception.value), ("NetAddress.ip", ip))

    def test_host_and_port_where_services_and_host_belong(self) -> None:
        with self.assertRaises(FieldError):
            NetAddress(wrong("127.0.0.1"), wrong(18555))

    def test_fields(self) -> None:
        self.assertEqual((LOCAL.services, LOCAL.port, LOCAL.timestamp), (5, 0x1234, 0x01020304))
        self.assertEqual(LOCAL, NetAddress(services=5, ip=LOCAL.ip, port=0x1234, timestamp=0x01020304))
        self.assertNotEqual(LOCAL, NetAddress(services=5, ip=LOCAL.ip, port=0x1234))

    def test_repr(self) -> None:
        self.assertEqual(repr(LOCAL), "NetAddress(services=5, ip='127.0.0.1', port=4660, timestamp=16909060)")
        self.assertEqual(eval(repr(LOCAL)), LOCAL)

    def test_services(self) -> None:
        """Eight bits have names; unknown ones can be held too."""
        self.assertEqual(
            {each.name: each.value for each in Services},
            {"NETWORK": 1, "GETUTXO": 2, "BLOOM": 4, "WITNESS": 8, "XTHIN": 16, "BIT5": 32, "CF": 64, "TWO_X": 128},
        )
        self.assertEqual(Services(1 << 40 | 8) & Services.WITNESS, Services.WITNESS)


class AddrTests(WireTestCase):
    """count <= 1000 of net address with timestamp."""

    def test_with_timestamps(self) -> None:
        """pver >= 31402: addresses carry a timestamp."""
        for pver in (31402, NEWEST):
            self.assert_wire(Addr((LOCAL,)), b"\1" + DATED, pver)
            self.assert_wire(Addr((LOCAL,) * 3), b"\3" + DATED * 3, pver)

    def test_without_timestamps(self) -> None:
        """Below 31402 there is none, and it is read as zero."""
        for pver in (209, 31401):
            self.assertEqual(self.encode(Addr((LOCAL,) * 2), pver), b"\2" + BARE * 2)
            bare = NetAddress(LOCAL.services, LOCAL.ip, LOCAL.port)
            self.assert_wire(Addr((bare,) * 2), b"\2" + BARE * 2, pver)

    def test_decoded_with_timestamps_and_written_without(self) -> None:
        message = self.decode(Addr, b"\1" + DATED)
        self.assertEqual(self.encode(message, 31401), b"\1" + BARE)
        self.assertEqual(self.encode(self.decode(Addr, b"\1" + BARE, 31401)), b"\1" + bytes(4) + BARE)

    def test_port_is_big_endian(self) -> None:
        for port, raw in ((0, "0000"), (1, "0001"), (256, "0100"), (18555, "487b"), (65535, "ffff")):
            payload = self.encode(Addr((NetAddress(port=port),)))
            self.assertEqual(payload[-2:].hex(), raw)
            self.assertEqual(self.decode(Addr, payload).addresses[0].port, port)

    def test_any_bytes_are_an_address(self) -> None:
        """Unknown service bits survive a round trip."""
        payload = b"\1" + b"\xff" * 30
        address = self.decode(Addr, payload).addresses[0]
        self.assertEqual(address, (2**64 - 1, b"\xff" * 16, 65535, 2**32 - 1))
        self.assert_wire(Addr((address,)), payload)

    def test_at_the_limit(self) -> None:
        self.assert_wire(Addr((LOCAL,) * 1000), varint(1000) + DATED * 1000)

    def test_past_the_limit(self) -> None:
        self.assert_refused(Addr((LOCAL,) * 1001), "Addr.addresses", "at most 1000 addresses in a message, not 1001")
        reason = "too many addresses: 1001, at most 1000"
        with self.assertRaisesRegex(MalformedMessage, reason):
            Addr.from_payload(varint(1001) + DATED * 1001)
        self.assert_malformed(Addr, varint(1001) + DATED * 900, reason)

    def test_one_address_below_209(self) -> None:
        """>= 209: addr may carry more than one address (below: at most one)."""
        bare = NetAddress(LOCAL.services, LOCAL.ip, LOCAL.port)
        self.assert_wire(Addr((bare,)), b"\1" + BARE, 208)
        self.assert_wire(Addr((bare,) * 2), b"\2" + BARE * 2, 209)
        self.assert_refused(
            Addr((bare,) * 2), "Addr.addresses", "at most 1 address at protocol version 208, not 2", 208
        )
        with self.assertRaises(MalformedMessage):
            read_message(frame("addr", b"\2" + BARE * 2), 0x12141C16, 208)

    def test_largest_payloads(self) -> None:
        """9 + 1000 * 30; 26 below pver 31402; of one address below 209."""
        sizes = [Addr.max_size(pver) for pver in (208, 209, 31401, 31402, NEWEST)]
        self.assertEqual(sizes, [35, 26_009, 26_009, 30_009, 30_009])
        for pver, size in ((208, 35), (31401, 26_009), (31402, 30_009)):
            with self.assertRaisesRegex(MalformedMessage, f"announces {size + 1} bytes, at most {size}"):
                read_message(header("addr", size + 1), 0x12141C16, pver)

    def test_errors_name_the_address(self) -> None:
        self.assert_refused(Addr((LOCAL, NetAddress(ip=bytes(4)))), "Addr.addresses[1].ip", "16 bytes, not 4")
        self.assert_refused(Addr((LOCAL, NetAddress(services=-1))), "Addr.addresses[1].services", "u64")
        self.assert_refused(Addr((LOCAL, NetAddress(timestamp=1 << 32))), "Addr.addresses[1].timestamp", "u32")
        self.assert_refused(Addr(wrong((LOCAL, 7))), "Addr.addresses[1]", "a row of timestamp, services, ip")

    def test_what_is_no_address(self) -> None:
        """However it fails when it is taken for one."""
        for row in ((), {}, {0: 1}, [1], "x", 7, None):
            for count in (1, 2, 60):
                error = self.assert_refused(Addr(wrong([row] * count)), "Addr.addresses[0]", "a row of timestamp")
                self.assertEqual(error.value, row)

    def test_errors_name_the_port(self) -> None:
        for port in (-1, 65536, None, 1.5):
            message = Addr((LOCAL, NetAddress(port=wrong(port))))
            error = self.assert_refused(message, "Addr.addresses[1].port", "from 0 to 65535")
            self.assertEqual(error.value, port)

    def test_not_a_sequence(self) -> None:
        self.assert_refused(Addr(wrong(None)), "Addr.addresses")

    def test_count_without_the_addresses(self) -> None:
        self.assert_malformed(Addr, b"\2" + DATED)


class AddrCacheTests(WireTestCase):
    """Three lists one after the other: inbound, outbound, known."""

    def test_three_lists(self) -> None:
        message = AddrCache((LOCAL,), (LOCAL, LOCAL), ())
        self.assert_wire(message, b"\1" + DATED + b"\2" + DATED * 2 + b"\0")
        decoded = self.decode(AddrCache, b"\0\0\1" + DATED)
        self.assertEqual((decoded.inbound, decoded.outbound, decoded.known), ((), (), (LOCAL,)))

    def test_without_timestamps(self) -> None:
        bare = NetAddress(LOCAL.services, LOCAL.ip, LOCAL.port)
        self.assert_wire(AddrCache((bare,), (), (bare,)), b"\1" + BARE + b"\0\1" + BARE, 31401)

    def test_1000_in_all_three_together(self) -> None:
        for sizes in ((1000, 0, 0), (0, 1000, 0), (0, 0, 1000), (400, 300, 300)):
            payload = b"".join(varint(size) + DATED * size for size in sizes)
            self.assert_wire(AddrCache(*((LOCAL,) * size for size in sizes)), payload)

    def test_1001_in_all_three_together(self) -> None:
        for sizes in ((1001, 0, 0), (1, 1000, 0), (0, 1, 1000), (400, 300, 301)):
            payload = b"".join(varint(size) + DATED * size for size in sizes)
            with self.assertRaisesRegex(MalformedMessage, "too many addresses in the lists of an addrcache"):
                AddrCache.from_payload(payload)
            message = AddrCache(*((LOCAL,) * size for size in sizes))
            error = self.assert_refused(message, "AddrCache.inbound + outbound + known", "at most 1000 addresses")
            self.assertEqual(error.value, 1001)

    def test_counts_that_would_wrap(self) -> None:
        """A count of 2^64-1 is "too many", not an allocation; nor is it -1 beside a 1."""
        for payload in (HUGE, b"\0" + HUGE, b"\0\0" + HUGE, b"\1" + DATED + HUGE, b"\1" + DATED + b"\1" + DATED + HUGE):
            self.assert_malformed(AddrCache, payload + DATED * 3, "too many addresses")

    def test_missing_lists(self) -> None:
        for payload in (b"", b"\0", b"\0\0", b"\0\0\1" + DATED[:-1]):
            self.assert_malformed(AddrCache, payload)

    def test_largest_payloads(self) -> None:
        """27 + 1000 * 30; 26 below pver 31402."""
        self.assertEqual(
            [AddrCache.max_size(pver) for pver in (209, 31401, 31402, NEWEST)], [26_027] * 2 + [30_027] * 2
        )

    def test_errors_name_list_and_address(self) -> None:
        bad = NetAddress(port=-1)
        self.assert_refused(AddrCache((), (LOCAL,), (LOCAL, bad)), "AddrCache.known[1].port")


class AskingTests(WireTestCase):
    """getaddr, getaddrcache: empty."""

    def test_empty(self) -> None:
        self.assert_wire(GetAddr(), b"")
        self.assert_wire(GetAddrCache(), b"")

    def test_not_empty(self) -> None:
        self.assert_malformed(GetAddr, b"\0", "announces 1 bytes, at most 0")
        self.assert_malformed(GetAddrCache, b"\0", "announces 1 bytes, at most 0")
