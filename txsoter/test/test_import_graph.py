"""Tests of :mod:`txsoter.test.import_graph`: a detector that finds nothing would prove nothing."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from textwrap import dedent
from unittest import TestCase

from txsoter.test.import_graph import circles, import_graph, imported_by, modules_below

KNOWN = {"pack", "pack.a", "pack.b", "pack.inner", "pack.inner.c"}


def imports(source: str, module: str = "pack.a", is_package: bool = False, loaded_only: bool = False) -> set[str]:
    return set(imported_by(dedent(source), module, KNOWN, is_package, loaded_only))


class ImportedTests(TestCase):
    def test_every_form_of_an_import(self) -> None:
        for source, found in (
            ("import pack.b", {"pack.b"}),
            ("import pack.b as other, os", {"pack.b"}),
            ("from pack.b import name", {"pack.b"}),
            ("from pack import b", {"pack.b"}),
            ("from pack import b, name", {"pack.b", "pack"}),
            ("from pack.inner import c as d", {"pack.inner.c"}),
            ("from . import b", {"pack.b"}),
            ("from .b import name", {"pack.b"}),
            ("from .inner.c import name", {"pack.inner.c"}),
            ("import os, twisted.internet\nfrom packs import b", set()),
            ("from pack.a import name", set()),
        ):
            self.assertEqual(imports(source), found, source)

    def test_relative_imports_of_packages_and_of_modules_below(self) -> None:
        self.assertEqual(imports("from . import c", "pack.inner", is_package=True), {"pack.inner.c"})
        self.assertEqual(imports("from .. import b", "pack.inner.c"), {"pack.b"})
        self.assertEqual(imports("from ..b import name", "pack.inner.c"), {"pack.b"})

    def test_imports_that_are_not_loaded_with_the_module(self) -> None:
        source = """
            from typing import TYPE_CHECKING
            if TYPE_CHECKING:
                from pack.b import One
            else:
                import pack.inner.c
            class Two:
                import pack
                def method(self):
                    from pack import inner
            try:
                import pack.a
            except ImportError:
                pass
        """
        self.assertEqual(imports(source), {"pack.b", "pack.inner", "pack.inner.c", "pack"})
        self.assertEqual(imports(source, loaded_only=True), {"pack.inner.c", "pack"})
        self.assertEqual(imports("import typing\nif typing.TYPE_CHECKING:\n    import pack.b", loaded_only=True), set())


class CirclesTests(TestCase):
    def found(self, **graph: str) -> list[tuple[str, ...]]:
        return circles({name: frozenset(imported) for name, imported in graph.items()})

    def test_none(self) -> None:
        self.assertEqual(self.found(), [])
        self.assertEqual(self.found(a="bc", b="d", c="d", d=""), [])

    def test_of_two_of_three_and_several(self) -> None:
        self.assertEqual(self.found(a="b", b="a"), [("a", "b")])
        self.assertEqual(self.found(z="a", a="b", b="cd", c="a", d=""), [("a", "b", "c")])
        self.assertEqual(self.found(c="d", d="c", e="ac", a="b", b="a"), [("a", "b"), ("c", "d")])

    def test_circles_that_touch_are_one(self) -> None:
        self.assertEqual(self.found(a="b", b="ac", c="b"), [("a", "b", "c")])

    def test_modules_that_are_not_looked_at_are_in_none(self) -> None:
        self.assertEqual(self.found(a="b", c="a"), [])


class PackageTests(TestCase):
    def test_a_circle_for_type_checkers_alone_in_a_package(self) -> None:
        root = Path(tempfile.mkdtemp()) / "pack"
        self.addCleanup(shutil.rmtree, root.parent)
        for name, source in (
            ("__init__.py", "from pack.one import One"),
            ("one.py", "import typing\nif typing.TYPE_CHECKING:\n    from pack.two import Two\nclass One: ..."),
            ("two.py", "from pack.one import One\nclass Two: ..."),
            ("test/__init__.py", ""),
            ("test/test_one.py", "import pack.one"),
        ):
            (root / name).parent.mkdir(exist_ok=True, parents=True)
            (root / name).write_text(source)
        files = modules_below(root)
        self.assertEqual(set(files), {"pack", "pack.one", "pack.two"})
        self.assertEqual(circles(import_graph(files)), [("pack.one", "pack.two")])
        self.assertEqual(circles(import_graph(files, loaded_only=True)), [])
