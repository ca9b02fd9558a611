"""Warnings of the log as lines on standard error, for subcommands that run services."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from txsoter.command_line import complain

__all__ = ["warnings_shown"]

# what is critical Twisted prints by itself while no log is kept
_LEVELS = frozenset({LogLevel.warn, LogLevel.error})


@contextlib.contextmanager
def warnings_shown(program: str) -> Iterator[None]:
    """Print what txsoter warns of.

    :param program: the name that lines begin with.
    """

    def show(event: LogEvent) -> None:
        if event.get("log_level") in _LEVELS and str(event.get("log_namespace")).startswith("txsoter."):
            complain(program, formatEvent(event))

    # any, for Twisted's type of observers is an interface
    observer: Any = show
    globalLogPublisher.addObserver(observer)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observer)
