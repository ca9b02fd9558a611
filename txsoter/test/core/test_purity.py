"""The core has no I/O, no clock and no randomness of its own: whoever drives it loads neither Twisted nor asyncio."""

from __future__ import annotations

import ast
from pathlib import Path
from unittest import TestCase

import txsoter.core
from txsoter.test.test_imports import LOADED, in_fresh_interpreter

CORE = Path(txsoter.core.__file__).parent

IMPURE = {"asyncio", "logging", "random", "secrets", "select", "selectors", "socket", "ssl", "threading", "time"}

LAYERS = ("txsoter.core", "txsoter.wire", "txsoter.networks", "txsoter.errors", "txsoter.ip")
"""The layers whose modules the core may import: its own, and those below it."""


def core_files() -> dict[str, Path]:
    """Return the modules of the core, with their files."""
    return {f"txsoter.core.{path.stem}": path for path in sorted(CORE.glob("*.py")) if path.stem != "__init__"}


def imported(path: Path) -> set[str]:
    """Return all that a file imports, wherever it does: in functions and for type checking too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level and node.module is not None, f"a relative import in {path.name}"
            # from txsoter import wire
            inner = node.module == "txsoter"
            names |= {f"txsoter.{each.name}" for each in node.names} if inner else {node.module}
    return names


class PurityTests(TestCase):
    def test_all_of_it_is_found(self) -> None:
        files = core_files()
        self.assertGreater(len(files), 25)
        self.assertIn("txsoter.core.connection", files)

    def test_importing_it_loads_no_io(self) -> None:
        """In a fresh interpreter: this one has loaded everything. (attrs loads threading and time.)"""
        files = core_files()
        loaded = {name.partition(".")[0] for name in in_fresh_interpreter(LOADED, *files).split()}
        self.assertLessEqual({"txsoter", "attrs"}, loaded)
        self.assertEqual(loaded & {"twisted", "zope", *IMPURE - {"threading", "time"}}, set())

    def test_no_module_of_it_imports_io_a_clock_or_randomness(self) -> None:
        for name, path in core_files().items():
            found = {each.partition(".")[0] for each in imported(path)}
            self.assertEqual(found & {"twisted", "zope", *IMPURE}, set(), name)

    def test_it_imports_its_own_layer_and_those_below_it(self) -> None:
        for name, path in core_files().items():
            ours = {each for each in imported(path) if each.partition(".")[0] == "txsoter"}
            above = {each for each in ours if not each.startswith(LAYERS)}
            self.assertEqual(above, set(), name)
