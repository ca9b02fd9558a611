"""Tests of :mod:`txsoter.crawl.places`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any
from unittest import TestCase
from unittest.mock import patch

from txsoter.crawl.map_formats import nodes_csv
from txsoter.crawl.places import MAX_SIZE, PlaceError, Places
from txsoter.errors import LocalError
from txsoter.test.crawl.maps import node, the_map
from txsoter.test.crawl.mmdb import mmdb

COUNTRIES = {
    "203.0.113.0/24": {"country": {"iso_code": "PT", "names": {"en": "Portugal"}}},
    "2001:db8::/32": {"country": {"iso_code": "DE"}},
}
NUMBERS = {"203.0.113.0/25": {"autonomous_system_number": 64500, "autonomous_system_organization": "Example Net"}}
UNKNOWN = {"country": None, "asn": None, "org": None}


class PlacesTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, content: bytes, name: str = "a.mmdb") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def places(self, *contents: bytes) -> Places:
        places = Places([self.write(content, f"{number}.mmdb") for number, content in enumerate(contents)])
        self.addCleanup(places.close)
        return places

    def test_country_and_number_of_two_files(self) -> None:
        places = self.places(mmdb(COUNTRIES), mmdb(NUMBERS))
        self.assertEqual(places.locate("203.0.113.9"), {"country": "PT", "asn": 64500, "org": "Example Net"})
        self.assertEqual(places.locate("203.0.113.200"), {"country": "PT", "asn": None, "org": None})
        self.assertEqual(places.locate("2001:db8::1")["country"], "DE")
        for host in ("192.0.2.1", "::1", "abc.onion", "", "203.0.113.0/24"):
            self.assertEqual(places.locate(host), UNKNOWN)
        self.assertIn("Example Net", nodes_csv(the_map([node(9)]), places.locate))

    def test_files_of_others(self) -> None:
        row: dict[str, Any] = {"country": "FR", "asn": "AS64501", "as_name": "Exemple", "continent": "EU"}
        self.assertEqual(
            self.places(mmdb({"203.0.113.0/24": row})).locate("203.0.113.1"),
            {"country": "FR", "asn": 64501, "org": "Exemple"},
        )
        row = {"country_code": "IT", "asn": 64502, "name": "Esempio"}
        self.assertEqual(
            self.places(mmdb({"203.0.113.0/24": row})).locate("203.0.113.1"),
            {"country": "IT", "asn": 64502, "org": "Esempio"},
        )

    def test_a_file_of_ipv4_alone(self) -> None:
        places = self.places(mmdb({"203.0.113.0/24": COUNTRIES["203.0.113.0/24"]}, ip_version=4))
        self.assertEqual(places.locate("203.0.113.1")["country"], "PT")
        self.assertEqual(places.locate("2001:db8::1"), UNKNOWN)

    def test_what_a_file_says_is_not_trusted(self) -> None:
        for row in (
            "text",
            {"country": {"iso_code": "<b>"}},
            {"country": {"iso_code": ["PT"]}},
            {"country": 7, "asn": "AS12345678901", "as_name": 5},
            {"autonomous_system_number": 1 << 40, "autonomous_system_organization": {"a": "b"}},
            {"asn": "ASxx"},
            {"asn": [1]},
        ):
            self.assertEqual(self.places(mmdb({"203.0.113.0/24": row})).locate("203.0.113.1"), UNKNOWN, row)
        row = {"autonomous_system_organization": "\x1b[31m" + "x" * 500}
        org = self.places(mmdb({"203.0.113.0/24": row})).locate("203.0.113.1")["org"]
        self.assertTrue(org.isprintable() and len(org) == 80)

    def test_files_that_cannot_be_used(self) -> None:
        good = mmdb(COUNTRIES)
        for content in (
            b"",
            b"not such a file",
            good[:-40],
            b"\xab\xcd\xefMaxMind.com",
            b"\xab\xcd\xefMaxMind.com\xe1",
        ):
            with self.assertRaisesRegex(PlaceError, r"a\.mmdb: is no MaxMind DB file: \S"):
                Places([self.write(content)])
        with self.assertRaisesRegex(PlaceError, "none.mmdb: No such file"):
            Places([self.folder / "none.mmdb"])
        with self.assertRaisesRegex(PlaceError, "Is a directory"):
            Places([self.folder])

    def test_a_huge_file_is_not_read(self) -> None:
        path = self.write(b"")
        with path.open("r+b") as file:
            file.truncate(MAX_SIZE + 1)
        with self.assertRaisesRegex(PlaceError, "has over"):
            Places([path])

    def test_any_damage_is_one_error(self) -> None:
        """Whatever bytes are changed: a PlaceError, or an answer of the right types."""
        good = mmdb({**COUNTRIES, "198.51.100.0/24": NUMBERS["203.0.113.0/25"]})
        random = Random(1)
        kinds = set()
        for _ in range(400):
            raw = bytearray(good)
            for _ in range(random.randrange(1, 4)):
                raw[random.randrange(len(raw))] = random.randrange(256)
            try:
                places = Places([self.write(bytes(raw))])
                found: dict[str, Any] = places.locate("203.0.113.1")
                places.close()
            except PlaceError as error:
                kinds.add("is damaged" in str(error))
                continue
            self.assertIsInstance(found["country"], str | None)
            self.assertIsInstance(found["asn"], int | None)
        self.assertEqual(kinds, {True, False})

    def test_without_maxminddb(self) -> None:
        with patch.dict(sys.modules, {"maxminddb": None}):
            self.assertRaisesRegex(LocalError, r"pip install 'txsoter\[crawl\]'", Places, [])
