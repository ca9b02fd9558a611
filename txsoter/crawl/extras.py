"""Libraries of the extra ``crawl``, which are loaded when they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from txsoter.errors import LocalError

__all__ = ["load_maxminddb", "load_rustworkx"]


def load_rustworkx() -> Any:
    """Return rustworkx.

    :raises LocalError: when it is not installed.
    """
    return _load("rustworkx", "graph analysis and layout need rustworkx")


def load_maxminddb() -> Any:
    """Return maxminddb.

    :raises LocalError: when it is not installed.
    """
    return _load("maxminddb", "countries and AS numbers need maxminddb")


def _load(name: str, words: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise LocalError(f"{words}: pip install 'txsoter[crawl]'") from None
