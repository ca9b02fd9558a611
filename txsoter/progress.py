"""A progress line on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

__all__ = ["Progress", "bar", "duration"]

BAR_WIDTH = 24
"""Characters of a bar."""


class Progress:
    """A line on a terminal that changes in place; nothing anywhere else."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._shows = stream.isatty()
        self._now = now
        self._next = 0.0
        self._width = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.clear()

    def show(self, text: Callable[[], str]) -> None:
        """Show ``text``, not more than ten times a second."""
        if not self._shows or self._now() < self._next:
            return
        self._next = self._now() + 0.1
        self._draw(text())

    def stage(self, text: str) -> None:
        """Show ``text`` at once: what is waited for from now on."""
        if self._shows:
            self._draw(text)

    def _draw(self, line: str) -> None:
        self._stream.write(f"\r{line:<{self._width}}")
        self._stream.flush()
        self._width = len(line)

    def clear(self) -> None:
        """Erase the line."""
        if self._width:
            self._stream.write(f"\r{'':<{self._width}}\r")
            self._stream.flush()
            self._width = 0


def bar(done: float, total: float) -> str:
    """Return a bar and its percentage: ``[######      ]  50 %``; nothing where the total is not known."""
    if total <= 0:
        return ""
    share = min(max(done / total, 0.0), 1.0)
    return f"[{'#' * int(share * BAR_WIDTH):<{BAR_WIDTH}}] {int(share * 100):3} %"


def duration(seconds: float) -> str:
    """Return seconds as ``M:SS``, or ``H:MM:SS`` from an hour on."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
