"""Places: how they are written, and which are in one group."""

from __future__ import annotations

from typing import Any

from txsoter.errors import FieldError
from txsoter.service.book.places import Place, group_of, place_at, source_group
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.support import at, ip


class GroupTests(TrialCase):
    """group_of() and source_group()."""

    def test_networks(self) -> None:
        """An IPv4 network of 16 bits is one group, an IPv6 network of 32; whatever the port."""
        for one, other in (("1.2.3.4", "1.2.200.5"), ("2a00:1450:1::1", "2a00:1450:ffff::2")):
            self.assertEqual(group_of(at(one, 1)), group_of(at(other, 2)))
            self.assertEqual(group_of(at(one)), source_group(ip(other)))
        groups = {group_of(at(host)) for host in ("1.2.3.4", "1.3.3.4", "2.2.3.4", "2a00:1450::1", "2a00:1451::1")}
        self.assertEqual(len(groups), 5)

    def test_v4_and_v6_are_never_one(self) -> None:
        """The bytes of an IPv4 group are not those of an IPv6 one."""
        self.assertNotEqual(group_of(at("42.0.3.4")), group_of(at("2a00::1")))

    def test_not_routable(self) -> None:
        """Where these are allowed, each address and port is a group of its own."""
        groups = {group_of(at(host, port)) for host in ("127.0.0.1", "127.0.0.2") for port in (1, 2)}
        self.assertEqual(len(groups), 4)
        self.assertEqual(len({source_group(ip(host)) for host in ("127.0.0.1", "127.0.0.2", "10.0.0.1")}), 3)


class PlaceTests(TrialCase):
    """Place."""

    def test_written(self) -> None:
        """As people write it; IPv4 mapped into IPv6 is IPv4."""
        self.assertEqual(str(at("1.2.3.4", 5070)), "1.2.3.4:5070")
        self.assertEqual(str(at("::ffff:1.2.3.4", 5070)), "1.2.3.4:5070")
        self.assertEqual(str(at("2A00:0::1", 5070)), "[2a00::1]:5070")
        self.assertEqual(at("2a00::1").host, "2a00::1")
        self.assertEqual(at("::ffff:1.2.3.4", 7), Place(bytes(10) + b"\xff\xff\1\2\3\4", 7))

    def test_what_is_none(self) -> None:
        """A name, a port of 0, and one above 65535 are refused, and told what is allowed."""
        for host, port, field in (("example.org", 1, "host"), ("", 1, "host"), ("1.2.3.4", 0, "port")):
            error: Any = self.assertRaises(FieldError, place_at, host, port)
            self.assertEqual(error.field, field)
        self.assertRaises(FieldError, place_at, "1.2.3.4", 65536)
