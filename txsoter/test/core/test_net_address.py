"""The remote's address as our version names it."""

from __future__ import annotations

from unittest import TestCase

from txsoter.core.net_address import receiver_address
from txsoter.wire import NetAddress, Services

NOWHERE = NetAddress(Services.NETWORK, "0.0.0.0", 0)


class ReceiverAddressTests(TestCase):
    def test_an_ip_and_its_port(self) -> None:
        for host in ("192.0.2.1", "2001:db8::1"):
            self.assertEqual(receiver_address(host, 18555, False), NetAddress(Services.NETWORK, host, 18555))

    def test_a_zone_is_no_part_of_it(self) -> None:
        self.assertEqual(receiver_address("fe80::1%eth0", 1, False), NetAddress(Services.NETWORK, "fe80::1", 1))

    def test_what_is_no_ip_is_not_named_nor_is_its_port(self) -> None:
        for host in ("abc.onion", "/var/run/socket", "", None):
            self.assertEqual(receiver_address(host, 18555, False), NOWHERE)

    def test_nor_is_what_is_hidden(self) -> None:
        self.assertEqual(receiver_address("192.0.2.1", 18555, True), NOWHERE)
