"""IP addresses: one form, groups, and which of them the internet has."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address
from unittest import TestCase

from txsoter.ip import address_group, is_routable, is_v4, network_group, pack_ip, parse_ip, unpack_ip


def packed(host: str) -> bytes:
    ip = parse_ip(host)
    assert ip is not None
    return pack_ip(ip)


class OneFormTests(TestCase):
    def test_an_ip_is_parsed_without_its_zone_and_a_mapped_one_is_ipv4(self) -> None:
        for host, ip in (
            ("192.0.2.7", IPv4Address("192.0.2.7")),
            ("::ffff:192.0.2.7", IPv4Address("192.0.2.7")),
            ("::FFFF:c000:207%eth0", IPv4Address("192.0.2.7")),
            ("2001:DB8:0::1", IPv6Address("2001:db8::1")),
            ("fe80::1%eth0", IPv6Address("fe80::1")),
            ("::192.0.2.7", IPv6Address("::c000:207")),
        ):
            self.assertEqual(parse_ip(host), ip, host)

    def test_what_is_no_ip_is_none(self) -> None:
        for host in (None, "", "%", "localhost", "expyuzz4wqqyqhjn.onion", "192.0.2", "192.0.2.07", "[::1]", "/run/x"):
            self.assertIsNone(parse_ip(host), host)

    def test_packed_as_on_the_wire_and_back(self) -> None:
        self.assertEqual(packed("192.0.2.7"), bytes(10) + b"\xff\xff\xc0\0\2\7")
        self.assertEqual(packed("2001:db8::1"), b"\x20\1\x0d\xb8" + bytes(11) + b"\1")
        for host in ("192.0.2.7", "2001:db8::1", "::", "::192.0.2.7"):
            self.assertEqual(str(unpack_ip(packed(host))), str(parse_ip(host)))
            self.assertEqual(is_v4(packed(host)), "." in host and not host.startswith("::"))
        # not even through the standard library's own packed form of a mapped address is it two
        self.assertEqual(unpack_ip(IPv6Address("::ffff:192.0.2.7").packed), IPv4Address("192.0.2.7"))

    def test_another_number_of_bytes_is_refused(self) -> None:
        for size in (0, 4, 12, 15, 17):
            with self.assertRaises(AddressValueError):
                unpack_ip(bytes(size))
        with self.assertRaises(AddressValueError):
            unpack_ip(packed("192.0.2.7") + b"\1")


class GroupTests(TestCase):
    def test_an_ipv4_address_and_64_bits_of_ipv6_count_as_one(self) -> None:
        for host, group in (
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8::1", "2001:db8::/64"),
            ("2001:db8::ffff:2:3:4%eth0", "2001:db8::/64"),
            ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ):
            self.assertEqual(address_group(host), group, host)

    def test_what_is_no_ip_has_no_group(self) -> None:
        for host in (None, "", "example.org", "/run/soter"):
            self.assertIsNone(address_group(host), host)

    def test_networks_of_16_bits_of_ipv4_and_32_of_ipv6_are_one_group(self) -> None:
        self.assertEqual(network_group(packed("1.2.3.4")), network_group(packed("1.2.200.5")))
        self.assertEqual(network_group(packed("2a00:1450:1::1")), network_group(packed("2a00:1450:ffff::2")))
        hosts = ("1.2.3.4", "1.3.3.4", "2.2.3.4", "42.0.3.4", "2a00:1450::1", "2a00:1451::1", "127.0.0.1", "127.0.0.2")
        self.assertEqual(len({network_group(packed(host)) for host in hosts}), len(hosts))


class RoutableTests(TestCase):
    def test_addresses_of_the_internet_are_routable_those_beside_special_networks_too(self) -> None:
        for host in (
            "1.2.3.4",
            "8.8.8.8",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "2600::1",
            "2001:4860:4860::8888",
            "2a00:1450::1",
            "2002:808:808::1",
        ):
            self.assertTrue(is_routable(packed(host)), host)

    def test_loopback_private_shared_multicast_documentation_and_reserved_addresses_are_not(self) -> None:
        for host in (
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.8.9.10",
            "169.254.1.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.2.3",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::1.2.3.4",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12:3456::1",
            "fd87:d87e:eb43::1",
            "ff02::1",
            "100::1",
            "4000::1",
            "64:ff9b::808:808",
            "2001:db8::1",
            "2001::1",
            "3fff::1",
            "2002:7f00:1::1",
            "2002:a01:203::1",
            "2002:e000:1::1",
        ):
            self.assertFalse(is_routable(packed(host)), host)
