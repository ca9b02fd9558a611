"""Tests that are only run when they are asked for, such as by ``pytest -m soak``; the number of processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from txsoter.test.faked_time import LIBRARY

ONLY_WHEN_ASKED = {
    "soak": "takes many minutes; left out unless -m names it",
    "browser": "needs Chromium and selenium, and fails without them; left out unless -m names it",
    "faketime": "needs libfaketime, and fails without it; left out without it unless -m names it",
}

LONG_LOOPS = (
    "simulation/test_simulation.py",
    "chain/light/test_liars.py",
    "chain/light/test_filter_simulation.py",
    "chain/test_dag_order.py",
    "core/test_any_calls.py",
    "crawl/test_week.py",
    "wire/test_fuzz.py",
    "test_fuzz_targets.py",
    "test_strategies.py",
)
"""Tests that do the same thousands of times: their coverage is not measured, which would take twice their time."""


def pytest_configure(config: pytest.Config) -> None:
    for name, words in ONLY_WHEN_ASKED.items():
        config.addinivalue_line("markers", f"{name}: {words}")
    config.addinivalue_line("markers", "slow: takes minutes")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return how many processes run the tests: for a selection, or with one core, only this one; else xdist decides."""
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    selected = named or config.option.markexpr or config.option.keyword
    return 0 if selected or os.cpu_count() == 1 else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    coverage = sys.modules.get("coverage")
    measuring = None if coverage is None else coverage.Coverage.current()
    if measuring is None or not item.path.as_posix().endswith(LONG_LOOPS):
        return (yield)
    measuring.stop()
    try:
        return (yield)
    finally:
        measuring.start()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # not by addopts: there "-m soterd" would take its place, and "-m 'not soterd'" would run them
    unasked = {name for name in ONLY_WHEN_ASKED if name not in config.option.markexpr}
    if LIBRARY is not None:
        unasked.discard("faketime")
    left_out = [item for item in items if any(item.get_closest_marker(name) is not None for name in unasked)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
