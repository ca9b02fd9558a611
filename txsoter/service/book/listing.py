"""An address book for people, and for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from txsoter.core.service_names import service_names
from txsoter.service.book.book_time import loaded
from txsoter.service.book.known import DAY, HOUR, MINUTE, Known
from txsoter.service.book.store import Kept

__all__ = ["book_json", "book_table"]

_HEADINGS = ("ADDRESS", "STATE", "WORKED", "SEEN", "DIALLED", "FAILURES", "SERVICES", "TOLD BY")


def book_table(kept: Kept, now: float) -> str:
    """A line for each address: those that have worked first, and of those the latest.

    :param now: seconds since 1970.
    """
    lines = [_HEADINGS, *(_cells(known, now) for known in _sorted(kept, now))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    own = "".join(f"\nour own: {place}" for place in kept.own)
    tried = sum(row.tried for row in kept.rows)
    return f"{kept.network}: {_count(len(kept.rows), 'address')}, {tried} tried{own}\n" + "\n".join(rows)


def book_json(kept: Kept, now: float) -> str:
    """All that is known, as one JSON object. Times are UTC in ISO 8601, or null for never.

    :param now: seconds since 1970.
    """
    picture = {
        "network": kept.network,
        "addresses": [_picture(known, now) for known in _sorted(kept, now)],
        "own": [{"host": place.host, "port": place.port} for place in kept.own],
    }
    return json.dumps(picture, indent=2)


def _sorted(kept: Kept, now: float) -> Sequence[Known]:
    # a time in the future is what the process that uses the book would take it for
    known = (Known.from_row(loaded(row, 0, now)) for row in kept.rows)
    return sorted(known, key=lambda each: (not each.tried, -each.succeeded, -each.seen, each.place))


def _cells(known: Known, now: float) -> Sequence[str]:
    return (
        str(known.place),
        _state(known, now),
        _ago(known.succeeded, now),
        _ago(known.seen, now),
        _ago(known.attempted, now),
        str(known.attempts),
        ",".join(service_names(known.services)) or "-",
        _source(known) or "-",
    )


def _picture(known: Known, now: float) -> dict[str, Any]:
    return {
        "host": known.place.host,
        "port": known.place.port,
        "tried": known.tried,
        "stale": known.is_stale(now),
        "succeeded": _iso(known.succeeded),
        "seen": _iso(known.seen),
        "attempted": _iso(known.attempted),
        "failures": known.attempts,
        "services": known.services,
        "service_names": service_names(known.services),
        "told_by": _source(known),
    }


def _state(known: Known, now: float) -> str:
    return ("tried" if known.tried else "new") + (", stale" if known.is_stale(now) else "")


def _source(known: Known) -> str | None:
    """Who told us; None when that was nobody but itself."""
    if known.source == known.place.ip:
        return None
    return known.place._replace(ip=known.source).host


def _iso(moment: int) -> str | None:
    if not moment:
        return None
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    except (ValueError, OverflowError, OSError):
        # a file may hold any 63 bits
        return None


def _ago(moment: int, now: float) -> str:
    if not moment:
        return "never"
    passed = max(0, int(now) - moment)
    for unit, letter in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if passed >= unit:
            return f"{passed // unit} {letter}"
    return f"{passed} s"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 'es'}"
