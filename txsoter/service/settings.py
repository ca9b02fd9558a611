"""Settings from a TOML file: the same names as on the command line, whose values win."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from txsoter.errors import TxsoterError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - tomllib came with 3.11, on which coverage is measured
    import tomli as tomllib

__all__ = ["SettingsError", "arguments", "read_settings"]

MAX_SIZE = 1024 * 1024
"""The most bytes of a file of settings: more is something else, given by mistake."""


class SettingsError(TxsoterError):
    """A file of settings that cannot be used; says which, and why."""


def read_settings(path: str) -> dict[str, Any]:
    """What stands in the file at ``path``.

    :raises SettingsError: when it cannot be read, or is no TOML.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_SIZE + 1)
        if len(text) > MAX_SIZE:
            raise SettingsError(f"{path}: has over {MAX_SIZE} bytes, which no settings have")
        settings: dict[str, Any] = tomllib.loads(text.decode("utf-8"))
        return settings
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8, as TOML is") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: is not TOML: {error}") from None


def arguments(
    settings: dict[str, Any], flags: Collection[str], values: Collection[str], lists: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Names and values as they would stand on the command line; the value of a flag is "".

    :param flags: the options that take no value: true or false here.
    :param values: those that take one.
    :param lists: those of ``values`` that may be given several times: lists here.
    :raises SettingsError: for a name that is no option, or a value that cannot be one.
    """
    for key, value in settings.items():
        name = key.replace("_", "-")
        if name in flags:
            if not isinstance(value, bool):
                raise SettingsError(f"{key}: must be true or false")
            if value:
                yield name, ""
        elif name in lists:
            if isinstance(value, str):
                value = [value]
            if not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
                raise SettingsError(f"{key}: must be a list of strings")
            yield from ((name, each) for each in value)
        elif name in values:
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                raise SettingsError(f"{key}: must be a string or a number")
            yield name, str(value)
        else:
            known = sorted({*flags, *values})
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise SettingsError(f"{key}: is no setting; {hint}")
