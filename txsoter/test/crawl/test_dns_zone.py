"""Tests of :mod:`txsoter.crawl.dns_zone`: questions and answers as bytes."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from random import Random
from typing import Any
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st
from twisted.names import dns

from txsoter.crawl.dns_zone import MAX_ADDRESSES, MAX_UDP, SeedAddress, Zone, seed_addresses, truncated
from txsoter.crawl.network_map import NodeKind
from txsoter.errors import FieldError
from txsoter.test.crawl.maps import node, the_map

ZONE = b"seed.example.org"
V4 = [SeedAddress(ip_address(f"203.0.113.{number}"), 73 if number % 2 else 1) for number in range(1, 41)]
V6 = [SeedAddress(ip_address(f"2001:db8::{number:x}"), 73) for number in range(1, 41)]
SECRET = 1 << 63


def zone(addresses: Any = (*V4, *V6), **how: Any) -> Zone:
    made = Zone(ZONE.decode(), Random(1), **how)
    made.addresses = addresses
    return made


def question(name: bytes = ZONE, type: int = dns.A, cls: int = dns.IN, **fields: Any) -> bytes:
    message = dns.Message(id=4711, recDes=1, **fields)
    message.queries = [dns.Query(name, type, cls)]
    return bytes(message.toStr())


def ask(name: bytes = ZONE, type: int = dns.A, cls: int = dns.IN, of: Zone | None = None) -> dns.Message:
    answer = (zone() if of is None else of).answer(question(name, type, cls))
    assert answer is not None
    assert len(answer) <= MAX_UDP
    message = dns.Message()
    message.fromStr(answer)
    assert (message.id, message.answer, message.recDes, message.recAv, message.trunc) == (4711, 1, 1, 0, 0)
    return message


def addresses(message: dns.Message) -> list[str]:
    payloads: list[Any] = [record.payload for record in message.answers]
    return [each.dottedQuad() if isinstance(each, dns.Record_A) else str(ip_address(each.address)) for each in payloads]


class AnswerTests(TestCase):
    def test_addresses(self) -> None:
        for type, known in ((dns.A, V4), (dns.AAAA, V6), (dns.ALL_RECORDS, V4)):
            message = ask(type=type)
            found = addresses(message)
            self.assertEqual((message.rCode, message.auth, len(set(found))), (dns.OK, 1, MAX_ADDRESSES))
            self.assertLessEqual(set(found), {str(each.ip) for each in known})
            self.assertEqual({record.ttl for record in message.answers}, {60})
            self.assertEqual(message.authority, [])

    def test_everybody_gets_his_turn(self) -> None:
        seeder = zone(V4)
        found = {ip for _ in range(30) for ip in addresses(ask(of=seeder))}
        self.assertEqual(len(found), len(V4))

    def test_services_by_prefix(self) -> None:
        """``x49`` is network, witness and compact filters: all of them are wanted, others may be there, too."""
        seeder = zone([*V4, SeedAddress(ip_address("192.0.2.1"), 73 | SECRET)])
        for prefix, fit in ((b"x49", 73), (b"x48", 72), (b"X1", 1), (b"x8000000000000001", SECRET | 1), (b"x0", 0)):
            found = addresses(ask(prefix + b"." + ZONE, of=seeder))
            expected = {str(each.ip) for each in seeder.addresses if each.services & fit == fit}
            self.assertLessEqual(set(found), expected, prefix)
            self.assertEqual(len(found), min(MAX_ADDRESSES, len(expected)))
        self.assertEqual(addresses(ask(b"x8000000000000001." + ZONE, of=seeder)), ["192.0.2.1"])

    def test_services_that_nobody_has(self) -> None:
        message = ask(b"x4." + ZONE)
        self.assertEqual((message.rCode, message.answers), (dns.OK, []))
        self.assertEqual([record.type for record in message.authority], [dns.SOA])

    def test_names_in_any_case_are_said_back_as_they_were_asked(self) -> None:
        name = b"x49.SeEd.ExAmPlE.oRg"
        message = ask(name)
        self.assertEqual(len(message.answers), MAX_ADDRESSES)
        self.assertEqual(message.queries[0].name.name, name)
        self.assertEqual(message.answers[0].name.name, name)

    def test_new_addresses_replace_old_ones(self) -> None:
        seeder = zone(V4)
        ask(of=seeder)
        seeder.addresses = (SeedAddress(ip_address("192.0.2.1"), 1),)
        self.assertEqual(addresses(ask(of=seeder)), ["192.0.2.1"])
        seeder.addresses = ()
        self.assertEqual(addresses(ask(of=seeder)), [])

    def test_names_that_do_not_exist(self) -> None:
        for below in (b"x", b"x12345678901234567", b"xyz", b"www", b"x1.x1", b"x-1"):
            message = ask(below + b"." + ZONE)
            self.assertEqual((message.rCode, message.auth, message.answers), (dns.ENAME, 1, []), below)
            (record,) = message.authority
            payload: Any = record.payload
            self.assertEqual((record.type, payload.minimum), (dns.SOA, 60))

    def test_other_zones_and_classes_are_refused(self) -> None:
        for name in (b"org", b"", b"example.org", b"xseed.example.org", b"seed.example.org.net", b"x49"):
            message = ask(name)
            self.assertEqual(
                (message.rCode, message.auth, message.answers, message.authority), (dns.EREFUSED, 0, [], [])
            )
        self.assertEqual(ask(cls=dns.CH).rCode, dns.EREFUSED)

    def test_the_zone_itself(self) -> None:
        seeder = zone(nameserver="ns.example.net")
        (record,) = ask(type=dns.NS, of=seeder).answers
        payload: Any = record.payload
        self.assertEqual(payload.name.name, b"ns.example.net")
        (record,) = ask(type=dns.SOA, of=seeder).answers
        payload = record.payload
        self.assertEqual((payload.mname.name, payload.rname.name), (b"ns.example.net", b"hostmaster." + ZONE))
        for type in (dns.MX, dns.TXT, 65, 65535):
            message = ask(type=type, of=seeder)
            self.assertEqual((message.rCode, message.answers), (dns.OK, []))
        self.assertEqual(ask(b"x1." + ZONE, dns.NS, of=seeder).answers, [])

    def test_the_longest_names_still_fit(self) -> None:
        long = b".".join([b"a" * 63, b"b" * 63, b"c" * 63])
        seeder = Zone(long.decode(), Random(1))
        seeder.addresses = (*V4, *V6)
        for type in (dns.A, dns.AAAA, dns.SOA, dns.NS, dns.MX):
            message = ask(b"xffffffffffffffff." + long, type, of=seeder)
            self.assertEqual(message.rCode, dns.OK)
        self.assertGreater(len(addresses(ask(b"x1." + long, dns.AAAA, of=seeder))), 7)

    def test_zones_that_cannot_be(self) -> None:
        for name in ("", ".", "a..b", "-a.org", "a b.org", "söter.org", "a" * 64 + ".org", ".".join(["abcde"] * 40)):
            self.assertRaises(FieldError, Zone, name, Random(1))
        self.assertRaises(FieldError, Zone, "a.org", Random(1), "b..org")
        self.assertEqual(Zone("Seed.Example.org.", Random(1)).name, ZONE)


class MalformedTests(TestCase):
    def code(self, data: bytes) -> int:
        answer = zone().answer(data)
        assert answer is not None
        self.assertLessEqual(len(answer), len(data))
        return int.from_bytes(answer[2:4], "big") & 15

    def test_no_question_no_answer(self) -> None:
        whole = question()
        for data in (b"", whole[:11], whole + bytes(513 - len(whole)), b"\xff" * 600):
            self.assertIsNone(zone().answer(data))
        self.assertIsNone(zone().answer(question(answer=1)), "an answer")

    def test_malformed_questions(self) -> None:
        header = struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 0)
        end = b"\0\0\1\0\1"
        for body in (
            b"",
            b"\4seed",
            b"\4seed\0\0\1\0",
            b"\xc0\x0c" + end,
            b"\xc0\xff" + end,
            b"\1\0" + end,
            b"\3a.b" + end,
            b"\x41" + b"a" * 65 + end,
            b"\x80abc" + end,
            b"\3\xff\xfe\xfd" + end,
            (b"\x3f" + b"a" * 63) * 4 + end,
        ):
            self.assertEqual(self.code(header + body), dns.EFORMAT, body)

    def test_no_question_or_several(self) -> None:
        for count in (0, 2, 65535):
            data = question()
            self.assertEqual(self.code(data[:4] + struct.pack("!H", count) + data[6:]), dns.EFORMAT)

    def test_other_operations(self) -> None:
        for operation in (1, 2, 4, 5, 15):
            self.assertEqual(self.code(question(opCode=operation)), dns.ENOTIMP)

    def test_what_comes_behind_the_question_is_not_looked_at(self) -> None:
        """Such as EDNS, which every resolver sends."""
        edns = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0"
        data = question()
        answer = zone().answer(data[:10] + b"\0\1" + data[12:] + edns)
        assert answer is not None
        self.assertEqual(int.from_bytes(answer[6:8], "big"), MAX_ADDRESSES)

    @given(st.binary(max_size=600))
    def test_any_bytes(self, data: bytes) -> None:
        self.assert_sane(data, zone().answer(data))

    @given(st.data())
    def test_questions_with_some_bytes_changed(self, data: Any) -> None:
        raw = bytearray(question(b"x49." + ZONE))
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        self.assert_sane(bytes(raw), zone().answer(bytes(raw)))

    def assert_sane(self, data: bytes, answer: bytes | None) -> None:
        if answer is None:
            return
        self.assertLessEqual(len(answer), MAX_UDP)
        self.assertEqual(answer[:2], data[:2])
        self.assertTrue(answer[2] & 0x80)
        dns.Message().fromStr(answer)

    def test_truncated_answers_are_no_longer_than_questions(self) -> None:
        data = question()
        answer = truncated(data)
        self.assertLess(len(answer), len(data))
        message = dns.Message()
        message.fromStr(answer)
        self.assertEqual((message.id, message.answer, message.trunc, message.rCode), (4711, 1, 1, dns.OK))


class SeedAddressTests(TestCase):
    def test_good_nodes_at_the_default_port(self) -> None:
        found = seed_addresses(
            the_map(
                [
                    node(1),
                    node(2, port=5070),
                    node(3, good=False),
                    node(4, kind=NodeKind.DOWN),
                    node(5, kind=NodeKind.ALIAS),
                    node(6, host="abcdef.onion"),
                    node(7, host="2001:db8::7", services=1),
                ]
            ),
            5069,
        )
        self.assertEqual([(str(each.ip), each.services) for each in found], [("203.0.113.1", 73), ("2001:db8::7", 1)])
