"""The imports among modules of a package, read from their source, and the circles in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["Graph", "circles", "import_graph", "imported_by", "modules_below"]

Graph = Mapping[str, frozenset[str]]
"""What each module imports, of the modules that are looked at."""


def modules_below(root: Path) -> dict[str, Path]:
    """Return every module of the package in the folder ``root`` by its dotted name, with its file; tests left out."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        if "test" not in parts:
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def import_graph(files: Mapping[str, Path], loaded_only: bool = False) -> Graph:
    """Return which of the modules in ``files`` each of them imports.

    :param loaded_only: leave out imports in functions and below ``if TYPE_CHECKING``, which are not run on loading.
    """
    return {
        name: imported_by(path.read_text(encoding="utf-8"), name, set(files), path.stem == "__init__", loaded_only)
        for name, path in files.items()
    }


def imported_by(
    source: str, module: str, known: set[str], is_package: bool = False, loaded_only: bool = False
) -> frozenset[str]:
    """Return the modules in ``known`` that ``source``, the text of ``module``, imports, itself left out.

    ``from package import name`` is an import of the submodule of that name if there is one, else of the package. That
    importing a submodule loads its packages is not counted: every package that offers names of its submodules would be
    a circle.
    """
    names = set()
    for node in _statements(ast.parse(source), loaded_only):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = _absolute(node, module, is_package)
            for each in node.names:
                submodule = f"{package}.{each.name}"
                names.add(submodule if submodule in known else package)
    return frozenset(names & known - {module})


def _statements(tree: ast.AST, loaded_only: bool) -> Iterator[ast.AST]:
    """The nodes of ``tree``; without functions and what is for type checkers alone, if ``loaded_only``."""
    for node in ast.iter_child_nodes(tree):
        if loaded_only:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                for other in node.orelse:
                    yield other
                    yield from _statements(other, loaded_only)
                continue
        yield node
        yield from _statements(node, loaded_only)


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The dotted name of the module that a ``from`` names, which may be relative."""
    if not node.level:
        return node.module or ""
    levels = node.level - is_package
    base = module.split(".")
    base = base[: len(base) - levels]
    return ".".join([*base, node.module] if node.module else base)


def circles(graph: Graph) -> list[tuple[str, ...]]:
    """Return the circles in ``graph``: its strongly connected components of more than one module, each sorted."""
    reached = {module: _reached(module, graph) for module in graph}
    components = {
        tuple(sorted(other for other in reached[module] if module in reached[other]))
        for module in graph
        if module in reached[module]
    }
    return sorted(components)


def _reached(start: str, graph: Graph) -> set[str]:
    """All modules that ``start`` imports, by way of others too; itself if it is in a circle."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        for each in graph.get(waiting.pop(), frozenset()) - reached:
            reached.add(each)
            waiting.append(each)
    return reached
