"""Docstrings of attrs classes that tell of every field, for ``help()``.

A string below a field is its documentation for editors and Sphinx, which read the source. Python itself forgets it, so
that is read from the source here as well, when somebody asks for the class's docstring.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any, TypeVar

import attrs

__all__ = ["documented"]

T = TypeVar("T")

LONGEST_DEFAULT = 60
"""Characters of a default that are shown."""


def documented(cls: type[T]) -> type[T]:
    """Append the public fields to a class's docstring: name, type, default and documentation of each."""
    setattr(cls, "__doc__", _Docstring(inspect.cleandoc(cls.__doc__ or "")))  # noqa: B010  # not a str, for mypy
    return cls


class _Docstring:
    def __init__(self, text: str) -> None:
        self._text = text

    def __get__(self, instance: object, owner: type[Any]) -> str:
        return "\n".join((self._text, "", "Fields:", *_fields(owner)))


def _fields(cls: type[Any]) -> list[str]:
    texts = {name: text for base in reversed(cls.__mro__) for name, text in _texts(base).items()}
    lines = []
    for field in attrs.fields(cls):
        if not field.name.startswith("_"):
            shown = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
            text = textwrap.indent(inspect.cleandoc(texts.get(field.name, "")), "    ")
            lines += ["", f"{field.name}: {shown}{_default(field)}", *text.splitlines()]
    return lines


def _default(field: attrs.Attribute[Any]) -> str:
    default: Any = field.default
    if default is attrs.NOTHING:
        return ""
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class, for Python
        return f" = {default.factory.__name__}()"
    text = repr(default)
    return f" = {text if len(text) <= LONGEST_DEFAULT else text[:LONGEST_DEFAULT] + '...'}"


def _texts(cls: type[Any]) -> dict[str, str]:
    """Return the strings below a class's own fields; none if there is no source."""
    try:
        [definition] = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError):
        return {}
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for field, following in zip(definition.body, definition.body[1:], strict=False):
        match field, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = text
    return texts
