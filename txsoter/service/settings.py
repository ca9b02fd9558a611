"""Settings from a TOML file: the same names as on the command line, whose values win."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import attrs

from txsoter.errors import TxsoterError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - tomllib came with 3.11, on which coverage is measured
    import tomli as tomllib

__all__ = ["Settings", "SettingsError", "arguments", "read_settings"]

MAX_SIZE = 1024 * 1024
"""The most bytes of a file of settings: more is something else, given by mistake."""


class SettingsError(TxsoterError):
    """A file of settings that cannot be used; says which, where in it, and why."""


@attrs.frozen
class Settings:
    """The content of a file of settings.

    :ivar path: of the file, as given.
    :ivar text: its text.
    :ivar values: by key, parsed.
    """

    path: str
    text: str
    values: dict[str, Any]

    def place(self, key: str) -> str:
        """Return the file, and the line in it that sets ``key``, for people.

        The parser tells no lines: it is the first line that begins with the key, as a setting or a table.
        """
        spelled = re.escape(key).replace("\\-", "[-_]")
        begins = re.compile(rf"\s*\[{{0,2}}\s*([\"']?){spelled}\1\s*[=.\]]").match
        line = next((number for number, line in enumerate(self.text.splitlines(), 1) if begins(line)), None)
        return self.path if line is None else f"{self.path}, line {line}"


def read_settings(path: str) -> Settings:
    """Return the content of the file at ``path``.

    :raises SettingsError: when it cannot be read, or is no TOML.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_SIZE + 1)
        if len(raw) > MAX_SIZE:
            raise SettingsError(f"{path}: has over {MAX_SIZE} bytes, which no settings have")
        text = raw.decode("utf-8")
        return Settings(path, text, tomllib.loads(text))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8, as TOML is") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: is not TOML: {error}") from None


def arguments(
    settings: Settings, flags: Collection[str], values: Collection[str], lists: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Names and values as they would stand on the command line; the value of a flag is "".

    :param flags: the options that take no value: true or false here.
    :param values: those that take one.
    :param lists: those of ``values`` that may be given several times: lists here.
    :raises SettingsError: for a name that is no option, a value that cannot be one, and a table, with the line.
    """
    for key, value in settings.values.items():
        name = key.replace("_", "-")
        problem = _problem(name, value, flags, values, lists)
        if problem:
            raise SettingsError(f"{settings.place(key)}: {key}: {problem}")
        if name in lists:
            yield from ((name, each) for each in ([value] if isinstance(value, str) else value))
        elif name in values:
            yield name, str(value)
        elif value:
            yield name, ""


def _problem(
    name: str, value: object, flags: Collection[str], values: Collection[str], lists: Collection[str]
) -> str | None:
    """What is wrong with a setting, in words; None when it can be an option."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value)):
        return 'is a table, and there are none: settings stand by themselves, such as network = "simnet"'
    if name in flags:
        return None if isinstance(value, bool) else "must be true or false"
    if name in lists:
        entries = [value] if isinstance(value, str) else value
        fine = isinstance(entries, list) and all(isinstance(each, str) for each in entries)
        return None if fine else "must be a list of strings"
    if name in values:
        fine = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        return None if fine else "must be a string or a number"
    known = sorted({*flags, *values})
    near = get_close_matches(name, known, 1)
    return f"is no setting; did you mean {near[0]}?" if near else f"is no setting; there are {', '.join(known)}"
