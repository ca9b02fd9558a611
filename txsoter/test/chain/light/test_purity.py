"""Modules that decide have no I/O, no clock and no randomness; the file knows SQLite, and no Twisted."""

from __future__ import annotations

from pathlib import Path
from unittest import TestCase

import txsoter.chain.light
from txsoter.test.core.test_purity import IMPURE, imported
from txsoter.test.test_imports import LOADED, in_fresh_interpreter

LIGHT = Path(txsoter.chain.light.__file__).parent

PURE = ("header_index", "header_record", "header_sync", "progress", "sync_peer")


class PurityTests(TestCase):
    def test_the_parts_that_decide_import_no_io_a_clock_or_randomness(self) -> None:
        for name in PURE:
            found = imported(LIGHT / f"{name}.py")
            self.assertEqual({each.partition(".")[0] for each in found} & {"twisted", "zope", *IMPURE}, set(), name)
            ours = {each for each in found if each.startswith("txsoter")}
            below = ("txsoter.chain", "txsoter.wire", "txsoter.networks", "txsoter.errors")
            self.assertEqual({each for each in ours if not each.startswith(below)}, set(), name)

    def test_the_file_loads_no_twisted(self) -> None:
        names = [f"txsoter.chain.light.{name}" for name in (*PURE, "header_file")]
        loaded = {name.partition(".")[0] for name in in_fresh_interpreter(LOADED, *names).split()}
        self.assertIn("sqlite3", loaded)
        self.assertNotIn("twisted", loaded)
