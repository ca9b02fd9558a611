"""``python -m benchmarks aio`` runs and measures what it says; how fast anything is, is not looked at here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from txsoter.test.test_benchmarks import LIMIT, assert_figures, quick


def test_aio(tmp_path: Path) -> None:
    """All modes run between two processes of each kind, and the listeners heard everything."""
    _, rows = quick("aio", tmp_path)
    assert len(rows) == 5
    loops = ["asyncio"] + ["uvloop"] * (find_spec("uvloop") is not None)
    for row in rows.values():
        assert_figures(row, "Twisted", *loops)
        assert row["figures"]["asyncio"]["min"] > 0
        assert row["values"]["asyncio / Twisted"] > 0


def test_an_end_that_fails_is_an_error() -> None:
    """What it cannot do fails in the one who asked."""
    from benchmarks.children import Child

    with Child("aio", "drive", "1") as driving, pytest.raises(RuntimeError, match="Connect"):
        driving.ask("ping", 1, timeout=LIMIT)
