"""The vectors in ``data/``, made by the reference implementation or recorded from a running soterd.

Each row is a dict of the JSON's keys. Of frames, ``raw`` is bytes, and ``enc`` an :class:`Encoding`.
"""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

from txsoter.wire import Encoding

__all__ = ["SIMNET_MAGIC", "consensus", "corrupt", "dag", "live", "red_dag", "valid"]

Row = dict[str, Any]

SIMNET_MAGIC = 0x12141C16
"""That of ``live``, ``dag`` and ``red_dag``, whose rows name none."""

_DATA = Path(__file__).parent / "data"


@functools.cache
def _load(name: str) -> tuple[Row, ...]:
    rows = []
    with gzip.open(_DATA / f"{name}.jsonl.gz", "rt") as lines:
        for line in lines:
            row: Row = json.loads(line)
            if "raw" in row:
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


def red_dag() -> tuple[Row, ...]:
    """The same of another simnet DAG: two branches grew apart until there were red blocks, then were merged."""
    return _load("red_dag")


def consensus(name: str) -> tuple[Row, ...]:
    """What the reference makes of blocks, hex as it is in the JSON.

    - ``cuckoo``: 380 proofs of work, good and bad: ``header``, ``nonces``, ``ok``, ``error``, ``proof_difficulty``.
    - ``bloom``: 340 bloom filters, of three ``kind``s: ``items``, ``size``, ``tx``.
    - ``merkle``: 174 merkle blocks: ``block``, ``matched`` positions, ``merkleblock``.
    - ``gcs``: 254 Golomb filters, of three ``kind``s: ``raw`` of any items, ``block`` and ``dag`` of blocks.
    - ``dag_order``: 217 DAGs: ``blocks``, ``k``, ``tips``, ``order``, ``blue``, ``tip_blue``, ``missing``.
    - ``dag_order_long``: 3 DAGs of 330 to 660 blocks, in two feeding orders; ``order_after_restart`` is the pure order.
    - ``dag_order_horizon``: 12 DAGs of more than 200 generations; 9 are coloured otherwise without the horizon.
    - ``node_order``: 53 states of a running node: ``last`` block, ``parents``, ``height``, ``order``, ``isblue``.
    """
    return _load(name)
