"""Output of the subcommands: aligned columns, times, sizes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

__all__ = ["aligned", "utc"]


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Return lines of columns that are as wide as their widest cell."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def utc(seconds: int) -> str | None:
    """Return a time in ISO 8601; None for one that no calendar has, which a remote may send.

    :param seconds: since 1970.
    """
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return None
