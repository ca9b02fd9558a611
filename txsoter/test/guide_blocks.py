"""Code blocks of the pages Start and Guides, and a program that runs one: ``python -m txsoter.test.guide_blocks FILE``.

A block may await at its top level, as a cell of a notebook does. The functions that it names ``test_…`` are called.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from txsoter.test.programs import ROOT

__all__ = ["DOCS", "code_blocks", "guide_pages"]

DOCS = ROOT / "docs"

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def guide_pages() -> list[Path]:
    """Return the pages whose blocks run; none where the package is installed without its docs."""
    guides = sorted(each for each in (DOCS / "guides").glob("*.md") if each.stem != "index")
    return [DOCS / "index.md", DOCS / "start.md", *guides] if guides else []


def code_blocks(page: Path) -> list[tuple[str, str]]:
    """Return language and text of each block of code of a page; directives are none."""
    return [(found[1], found[2]) for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))]


def run(source: str, file: str) -> None:
    """Run a block as a program."""
    names: dict[str, Any] = {"__name__": "__main__"}
    code = compile(source, file, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, names))
    else:
        exec(code, names)
    for name, value in list(names.items()):
        if name.startswith("test_"):
            value()
            print(name, "passed")


if __name__ == "__main__":
    run(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[1])
