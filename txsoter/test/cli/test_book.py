"""``txsoter book``."""

from __future__ import annotations

import json
import re

from txsoter.cli.book import EPILOG
from txsoter.networks import TESTNET1
from txsoter.service.book.known import Row
from txsoter.service.book.store import Changes, Store
from txsoter.test.cli.support import run_main
from txsoter.test.service.book.support import NOW, SOURCE, FolderCase, at, ip


class BookTests(FolderCase):
    def fill(self) -> Store:
        """The store of a book with one address, open."""
        store = Store(self.folder, TESTNET1, lambda: NOW)
        self.addCleanup(store.close)
        row = Row(ip("1.2.3.4"), 5070, 9, SOURCE, NOW, NOW - 1, NOW - 2, 3, NOW - 4, 1, b"\0\1")
        store.write(Changes([row], own=[at("9.9.9.9")]))
        return store

    def test_table(self) -> None:
        """Also while a process uses it."""
        store = self.fill()
        while_used = run_main("book", "--state", self.folder)
        store.close()
        status, out, err = run_main("book", "--state", self.folder)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(while_used, (status, out, err))
        first, own, headings, row = out.splitlines()
        self.assertEqual((first, own), ("testnet1: 1 address, 1 tried", "our own: 9.9.9.9:5070"))
        self.assertEqual((headings.split()[0], row.split()[0]), ("ADDRESS", "1.2.3.4:5070"))

    def test_json(self) -> None:
        """Under the keys that --help names, all of them."""
        self.fill()
        status, out, err = run_main("book", "--json", "--state", self.folder)
        found = json.loads(out)
        self.assertEqual((status, err), (0, ""))
        (address,) = found["addresses"]
        self.assertEqual((found["network"], address["host"], address["services"]), ("testnet1", "1.2.3.4", 9))
        self.assertLessEqual({*found, *address}, set(re.findall(r"\w+", EPILOG)))

    def test_no_book_is_one_line(self) -> None:
        status, out, err = run_main("book", "--state", self.folder)
        self.assertEqual((status, out, err.count("\n")), (1, "", 1))
        self.assertIn(f"txsoter book: {self.folder}: has no book.sqlite3", err)
