"""Tests of :mod:`txsoter.peer.addressing`."""

from __future__ import annotations

from typing import NamedTuple

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from txsoter.core.net_address import receiver_address
from txsoter.peer.addressing import address_text, host_and_port, ip_of
from txsoter.test.peer.support import TrialCase
from txsoter.wire import NetAddress


@implementer(IAddress)
class OnionAddress(NamedTuple):
    """An address as a Tor endpoint's: a name, as text or as bytes."""

    host: str | bytes
    port: int


@implementer(IAddress)
class ProcessAddress:
    """An address with neither host nor port."""

    def __str__(self) -> str:
        return "a process"


V4 = IPv4Address("TCP", "192.0.2.1", 18555)
V6 = IPv6Address("TCP", "2001:db8::1", 18555)
ZONED = IPv6Address("TCP", "fe80::1%eth0", 18555)
ONION = OnionAddress("expyuzz4wqqyqhjn.onion", 18555)
PATH = UNIXAddress("/run/soter.sock")


class TextTests(TrialCase):
    def test_an_address_for_people(self) -> None:
        """``host:port``, ``[host]:port``, a path, or whatever the transport says."""
        for address, text in (
            (V4, "192.0.2.1:18555"),
            (V6, "[2001:db8::1]:18555"),
            (ONION, "expyuzz4wqqyqhjn.onion:18555"),
            (OnionAddress(b"a\xff.onion", 1), "a\ufffd.onion:1"),
            (PATH, "unix:/run/soter.sock"),
            (UNIXAddress(None), "unix:"),
            (HostnameAddress(b"node.example", 18555), "node.example:18555"),
            (ProcessAddress(), "a process"),
            (None, "None"),
        ):
            self.assertEqual(address_text(address), text)

    def test_host_and_port(self) -> None:
        self.assertEqual(host_and_port(V4), ("192.0.2.1", 18555))
        self.assertEqual(host_and_port(OnionAddress(b"a.onion", 7)), ("a.onion", 7))
        self.assertEqual([host_and_port(each) for each in (PATH, None)], [(None, 0), (None, 0)])


class IPTests(TrialCase):
    def test_the_ip_has_no_zone_and_names_have_none(self) -> None:
        self.assertEqual([ip_of(each) for each in (V4, V6, ZONED)], ["192.0.2.1", "2001:db8::1", "fe80::1"])
        self.assertEqual([ip_of(each) for each in (ONION, PATH, None)], [None, None, None])


class ReceiverTests(TrialCase):
    """``addr_you``: "the remote's address with services NETWORK"."""

    def test_the_remotes_ip_and_port(self) -> None:
        self.assertEqual(receiver_address(*host_and_port(V4), False), NetAddress(1, "192.0.2.1", 18555))
        self.assertEqual(receiver_address(*host_and_port(V6), False), NetAddress(1, "2001:db8::1", 18555))
        self.assertEqual(receiver_address(*host_and_port(ZONED), False), NetAddress(1, "fe80::1", 18555))

    def test_nothing_is_named_when_it_is_hidden_or_no_ip(self) -> None:
        """0.0.0.0:0, port too, for the proxy's address and for an onion name."""
        nobody = NetAddress(1, "0.0.0.0", 0)
        self.assertEqual([receiver_address(*host_and_port(each), True) for each in (V4, V6, ONION)], [nobody] * 3)
        self.assertEqual([receiver_address(*host_and_port(each), False) for each in (ONION, PATH, None)], [nobody] * 3)
