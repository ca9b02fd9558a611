"""Directive ``public-names``: the public names of a module, each with its summary and a link to its reference.

::

    ```{public-names} txsoter.aio
    Messages Peer Server connect serve
    ```
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

__all__ = ["setup"]

HOMES = ("txsoter.errors", "txsoter.networks")
"""Modules whose names are documented there, although ``txsoter`` exports some of them as well."""


def documented_at(module: str, name: str) -> str:
    """Return the full name under which the reference has an object."""
    home = getattr(getattr(import_module(module), name), "__module__", None)
    return f"{home}.{name}" if home in HOMES else f"{module}.{name}"


def summary_of(module: str, name: str) -> str:
    """Return the first sentence of a docstring; nothing for a constant."""
    value = getattr(import_module(module), name)
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return ""
    first = inspect.cleandoc(value.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return f"{first.partition('. ')[0].rstrip('.:')}."


class PublicNames(SphinxDirective):
    """The table of a module's public names."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"some": directives.flag}

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        module = self.arguments[0]
        body = nodes.tbody()
        for name in " ".join(self.content).split():
            link = addnodes.pending_xref(
                "",
                nodes.literal("", name),
                refdomain="py",
                reftype="obj",
                reftarget=documented_at(module, name),
                refdoc=self.env.docname,
                # a name that the reference lacks is a warning
                refwarn=True,
            )
            summary = nodes.paragraph("", plain(summary_of(module, name)))
            body += nodes.row("", nodes.entry("", nodes.paragraph("", "", link)), nodes.entry("", summary))
        columns = [nodes.colspec(colwidth=30), nodes.colspec(colwidth=70)]
        return [nodes.table("", nodes.tgroup("", *columns, body, cols=2), classes=["names"])]


def plain(text: str) -> str:
    """Return reStructuredText without its roles and literals: ``:class:`~txsoter.Peer``` is ``Peer``."""
    words = []
    for each in text.replace("``", "").split(" "):
        before, role, target = each.partition(":`")
        words.append(target.replace("`", "").rpartition(".")[2] or target if role else before.replace("`", ""))
    return " ".join(words)


def without_fields(app: Sphinx, kind: str, name: str, value: object, options: Any, lines: list[str]) -> None:
    """Drop the list of fields that ``help()`` shows: the reference has an entry for each."""
    if kind == "class" and "Fields:" in lines:
        del lines[lines.index("Fields:") :]


def add_constant_docs(app: Sphinx, what: str, name: str, value: object, options: Any, lines: list[str]) -> None:
    """Give an exported constant the string that stands below it where it is set."""
    package, _, constant = name.rpartition(".")
    if what != "data" or not constant.isupper():
        return
    for module in [each for each in sys.modules if each.startswith(f"{package}.")]:
        found = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", constant))
        if found is not None:
            lines[:] = found
            return


def resolve(app: Sphinx, env: Any, node: addnodes.pending_xref, content: nodes.Element) -> nodes.Node | None:
    """Resolve a reference to a name of ``txsoter`` that is documented in another module."""
    package, _, name = node.get("reftarget", "").partition(".")
    if node.get("refdomain") != "py" or package != "txsoter" or name not in import_module(package).__all__:
        return None
    target = documented_at(package, name)
    return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, content)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("public-names", PublicNames)
    app.connect("autodoc-process-docstring", without_fields)
    app.connect("autodoc-process-docstring", add_constant_docs)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
