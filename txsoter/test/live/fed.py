"""Data of a node that has something to serve."""

from __future__ import annotations

from pathlib import Path

import attrs

__all__ = ["Fed"]


@attrs.frozen
class Fed:
    """The data of a node that has the recorded DAG, and whose tip is young.

    :ivar data: a folder to start nodes from copies of.
    :ivar block_count: blocks in it, the genesis block included.
    :ivar height: of its tip.
    """

    data: Path
    block_count: int
    height: int
