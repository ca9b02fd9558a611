"""A book as a table and as JSON."""

from __future__ import annotations

import json

from txsoter.service.book import Kept, book_json, book_table
from txsoter.service.book.known import Row
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.book.support import DAY, HOUR, NOW, SOURCE, at, ip

TRIED = Row(ip("1.2.3.4"), 5070, 9, ip("1.2.3.4"), NOW - 2 * DAY, NOW - HOUR, 0, 0, NOW - 90, 1, b"\0\1")
LATER = TRIED._replace(ip=ip("1.3.3.4"), succeeded=NOW - 30)
HEARD = Row(ip("2a00::1"), 6000, 1 << 40 | 2, SOURCE, NOW - 40 * DAY, 0, 0, 0, 0, 0, b"\0\1")
KEPT = Kept("testnet1", b"secret key" * 3, [HEARD, TRIED, LATER], [at("9.9.9.9")])


class ListingTests(TrialCase):
    def test_table(self) -> None:
        """Those that have worked first, and of those the latest; aligned, without what only takes room."""
        self.assertEqual(
            book_table(KEPT, NOW),
            "testnet1: 3 addresses, 2 tried\n"
            "our own: 9.9.9.9:5070\n"
            "ADDRESS         STATE       WORKED  SEEN  DIALLED  FAILURES  SERVICES               TOLD BY\n"
            "1.3.3.4:5070    tried       30 s    2 d   1 h      0         network,witness        1.2.3.4\n"
            "1.2.3.4:5070    tried       1 min   2 d   1 h      0         network,witness        -\n"
            "[2a00::1]:6000  new, stale  never   40 d  never    0         getutxo,0x10000000000  77.7.7.7",
        )

    def test_one(self) -> None:
        """One address, none: a table still."""
        self.assertTrue(book_table(Kept("regtest", b"", [TRIED]), NOW).startswith("regtest: 1 address, 1 tried\n"))
        empty = book_table(Kept("regtest", b""), NOW)
        self.assertEqual(empty.splitlines()[0], "regtest: 0 addresses, 0 tried")
        self.assertEqual(len(empty.splitlines()), 2)

    def test_json(self) -> None:
        """Everything, for programs."""
        picture = json.loads(book_json(KEPT, NOW))
        self.assertEqual((picture["network"], picture["own"]), ("testnet1", [{"host": "9.9.9.9", "port": 5070}]))
        self.assertEqual([each["host"] for each in picture["addresses"]], ["1.3.3.4", "1.2.3.4", "2a00::1"])
        self.assertEqual(
            picture["addresses"][1],
            {
                "host": "1.2.3.4",
                "port": 5070,
                "tried": True,
                "stale": False,
                "succeeded": "2025-10-09T08:51:50Z",
                "seen": "2025-10-07T08:53:20Z",
                "attempted": "2025-10-09T07:53:20Z",
                "failures": 0,
                "services": 9,
                "service_names": ["network", "witness"],
                "told_by": None,
            },
        )
        heard = picture["addresses"][2]
        self.assertEqual((heard["succeeded"], heard["stale"], heard["told_by"]), (None, True, "77.7.7.7"))
        self.assertEqual(heard["service_names"], ["getutxo", "0x10000000000"])

    def test_secret(self) -> None:
        """The key is nobody's business."""
        for text in (book_table(KEPT, NOW), book_json(KEPT, NOW)):
            self.assertNotIn("secret", text)

    def test_odd_times(self) -> None:
        """Times of the future are shown as what they are taken for; some are none that a calendar has."""
        kept = Kept("testnet1", b"", [TRIED._replace(seen=NOW + DAY, succeeded=(1 << 63) - 1)])
        self.assertIn("tried  5 d     5 d ", book_table(kept, NOW))
        self.assertEqual(json.loads(book_json(kept, NOW))["addresses"][0]["succeeded"], "2025-10-04T08:53:20Z")
        self.assertIsNone(json.loads(book_json(kept, 1e18))["addresses"][0]["succeeded"])
