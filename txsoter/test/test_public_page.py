"""docs/public.md lists what is public: the same names as the modules' ``__all__``."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import txsoter
from txsoter.test.guide_blocks import DOCS, code_blocks, guide_pages

PACKAGE = Path(txsoter.__file__).parent
PAGE = DOCS / "public.md"

PRIVATE = {"txsoter.cli", "txsoter.core", "txsoter.crawl", "txsoter.peer", "txsoter.service.web", "txsoter.chain.light"}
"""Packages that say nothing of public names themselves: some of their modules may be on the page."""

_TABLE = re.compile(r"^```\{public-names\} (\S+)\n(:some:\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)


def listed() -> list[tuple[str, bool, list[str]]]:
    """Return module, whether these are all of its names, and the names, of each table on the page."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    return [(found[1], not found[2], found[3].split()) for found in _TABLE.finditer(text)]


def test_the_page_lists_what_the_modules_export() -> None:
    """All names of a module, and no others; of those that export more, names that are there."""
    for module, is_whole, names in listed():
        exported = import_module(module).__all__ if is_whole else dir(import_module(module))
        assert len(names) == len(set(names)), module
        assert sorted(set(names) - set(exported)) == [], module
        if is_whole:
            assert sorted(set(exported) - set(names)) == [], module


def test_the_page_lists_every_package_that_exports_names() -> None:
    """A new package is public, or says that it is not, here."""
    if not PAGE.is_file():
        # an installed package has no docs
        assert not (DOCS.parent / "setup.py").is_file()
        return
    packages = set()
    for file in PACKAGE.rglob("__init__.py"):
        name = ".".join(("txsoter", *file.parent.relative_to(PACKAGE).parts))
        if not name.startswith("txsoter.test."):
            packages.add(name)
    on_page = {module for module, _, _ in listed()}
    assert packages - on_page - {"txsoter.test"} == PRIVATE
    assert not on_page & PRIVATE
    for name in PRIVATE:
        tree = ast.parse((PACKAGE / Path(*name.split(".")[1:]) / "__init__.py").read_text(encoding="utf-8"))
        assert not any(isinstance(each, ast.Assign) for each in tree.body), name


def test_each_module_has_its_reference() -> None:
    """A page of the API reference for each module on the page, and a link to it."""
    for module, is_whole, _ in listed():
        if is_whole:
            assert f"automodule:: {module}\n" in (DOCS / "api" / f"{module}.md").read_text(encoding="utf-8")
            assert f"{{doc}}`Reference <api/{module}>`" in PAGE.read_text(encoding="utf-8")


def test_guides_use_public_names_alone() -> None:
    """Each name that a program of Start and Guides imports is on the page, under the module it comes from."""
    public = {(module, name) for module, _, names in listed() for name in names}
    used = set()
    for page in guide_pages():
        for language, text in code_blocks(page):
            for each in ast.walk(ast.parse(text)) if language == "python" else ():
                if isinstance(each, ast.ImportFrom) and (each.module or "").partition(".")[0] == "txsoter":
                    used |= {(each.module, alias.name) for alias in each.names}
    assert used - public == set()
    assert len(used) > 30 or not PAGE.is_file()
