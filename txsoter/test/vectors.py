"""The frames in ``data/``, made by the reference codec or recorded from a running soterd.

Each row is a dict of the JSON's keys; ``raw`` is bytes, and ``enc`` an :class:`Encoding`.
"""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

from txsoter.wire import Encoding

__all__ = ["SIMNET_MAGIC", "corrupt", "dag", "live", "valid"]

Row = dict[str, Any]

SIMNET_MAGIC = 0x12141C16
"""That of ``live`` and ``dag``, whose rows name none."""

_DATA = Path(__file__).parent / "data"


@functools.cache
def _load(name: str) -> tuple[Row, ...]:
    rows = []
    with gzip.open(_DATA / f"{name}.jsonl.gz", "rt") as lines:
        for line in lines:
            row: Row = json.loads(line)
            row["raw"] = bytes.fromhex(row["raw"])
            if "enc" in row:
                row["enc"] = Encoding[row["enc"].upper()]
            rows.append(row)
    return tuple(rows)


def valid() -> tuple[Row, ...]:
    """1204 valid messages: ``cmd``, ``pver``, ``enc``, ``net``, ``raw``, and hashes as people read them."""
    return _load("valid")


def corrupt() -> tuple[Row, ...]:
    """2705 damaged frames, with the reference codec's ``verdict`` on each."""
    return _load("corrupt")


def live() -> tuple[Row, ...]:
    """A whole conversation with soterd 4.2.0 on simnet, in order: ``dir``, ``cmd``, ``raw``."""
    return _load("live")


def dag() -> tuple[Row, ...]:
    """53 blocks of a simnet DAG with two branches: ``height``, ``hash``, ``parents``, ``raw``."""
    return _load("dag")
