"""Directive ``public-names``: the public names of a module, each with its summary and a link to its reference.

::

    ```{public-names} txsoter.aio
    Messages Peer Server connect serve
    ```
"""

from __future__ import annotations

import enum
import inspect
import re
import sys
from importlib import import_module
from typing import Any, ClassVar

import attrs
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from txsoter import Network, PeerConfig

__all__ = ["setup"]

HOMES = ("txsoter.errors", "txsoter.networks")
"""Modules whose names are documented there, although ``txsoter`` exports some of them as well."""


MANY = 20
"""Fields of a class past which its signature leaves them to their own entries."""

_DEFAULT = re.compile(r"attr_dict\['(\w+)'\]\.default")


def documented_at(module: str, name: str) -> str:
    """Return the full name under which the reference has an object."""
    home = getattr(getattr(import_module(module), name), "__module__", None)
    return f"{home}.{name}" if home in HOMES else f"{module}.{name}"


def constant_doc(module: str, name: str) -> list[str]:
    """Return the lines of the string below a constant, in the module or in the one of its package that sets it."""
    for each in sorted(sys.modules):
        if each == module or each.startswith(f"{module}."):
            found = ModuleAnalyzer.for_module(each).find_attr_docs().get(("", name))
            if found is not None:
                return found
    return []


def summary_of(module: str, name: str) -> str:
    """Return the first sentence of the documentation of a name."""
    value = getattr(import_module(module), name)
    if inspect.isclass(value) or inspect.isroutine(value):
        text = inspect.cleandoc(value.__doc__ or "")
    else:
        text = "\n".join(constant_doc(module, name))
    first = text.partition("\n\n")[0].replace("\n", " ")
    return f"{first.partition('. ')[0].rstrip('.: ')}." if first else ""


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
            home = documented_at(module, name).rpartition(".")[0]
            summary = nodes.paragraph("", plain(summary_of(home, name)))
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
    if what == "data":
        module, _, constant = name.rpartition(".")
        # instead of the documentation of its class
        lines[:] = constant_doc(module, constant) or lines


def add_default(app: Sphinx, what: str, name: str, value: object, options: Any, lines: list[str]) -> None:
    """Add the default of a setting to its entry."""
    holder, _, setting = name.rpartition(".")
    if what == "attribute" and holder == "txsoter.PeerConfig":
        field = attrs.fields_dict(PeerConfig).get(setting)
        if field is not None and field.init and field.default is not attrs.NOTHING:
            lines += ["", f"Default: ``{default_of(field)}``."]


def shorten_signature(
    app: Sphinx, what: str, name: str, value: Any, options: Any, arguments: str | None, result: str | None
) -> tuple[str, str | None] | None:
    """Show the defaults of attrs classes as they are written; leave long lists of fields to the entries below."""
    if what != "class" or not attrs.has(value) or arguments is None:
        return None
    fields = [each for each in attrs.fields(value) if each.init]
    if "\nFields:\n" in (value.__doc__ or ""):
        return "(**settings)", result
    if len(fields) > MANY:
        return "(**fields)", result
    return _DEFAULT.sub(lambda found: default_of(attrs.fields_dict(value)[found[1]]), arguments), result


def default_of(field: attrs.Attribute[Any]) -> str:
    """Return a default as it is written."""
    if isinstance(field.default, attrs.Factory):
        return f"{getattr(field.default.factory, '__name__', '...')}()"
    if isinstance(field.default, Network):
        return field.default.name.upper()
    return str(field.default) if isinstance(field.default, enum.Enum) else repr(field.default)


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
    app.connect("autodoc-process-docstring", add_default)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
