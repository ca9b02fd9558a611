"""Modules that a wheel has compiled beside their sources, and the way around them.

A wheel built with ``TXSOTER_MYPYC=1`` has both of each module in setup.py's list; the import system takes the compiled
one. With ``TXSOTER_PURE=1`` in the environment all sources are interpreted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

__all__ = ["compiled", "compiled_below", "interpret_all"]

_PACKAGE = __name__.partition(".")[0]


class _SourceFinder:
    """Finds sources only."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is None or not name.startswith(f"{_PACKAGE}."):
            return None
        finders = (FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES)) for folder in path)
        return next((spec for each in finders if (spec := each.find_spec(name)) is not None), None)


def interpret_all() -> None:
    """Import the sources of this package from now on, also where there are compiled modules."""
    sys.meta_path.insert(0, _SourceFinder)


def compiled_below(folder: Path) -> tuple[str, ...]:
    """Return the names of the modules in the package of that folder that the import system takes compiled."""
    if _SourceFinder in sys.meta_path:
        return ()
    found = set()
    for file in folder.rglob("*"):
        suffix = next((each for each in EXTENSION_SUFFIXES if file.name.endswith(each)), None)
        if suffix is not None:
            found.add(".".join((_PACKAGE, *file.relative_to(folder).parts[:-1], file.name.removesuffix(suffix))))
    return tuple(sorted(found))


if os.environ.get("TXSOTER_PURE") == "1":
    interpret_all()

compiled: tuple[str, ...] = compiled_below(Path(__file__).parent)
"""Names of the modules that are compiled in this process."""
