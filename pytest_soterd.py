"""Where the live tests find their soterd: ``pytest -m live --soterd PATH``, or the environment variable SOTERD.

A pytest plugin of its own, not a part of conftest.py: pytest reads that too late to know that ``--soterd`` takes a
path, and would look for tests there. Tests of other programs that want a soterd may use the option and the fixture.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SOTERD = pytest.StashKey["Path | None"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soterd", metavar="PATH", help="the soterd binary for tests marked live; by default that of SOTERD"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "live: needs a soterd binary (--soterd PATH or SOTERD); skipped without one")
    config.addinivalue_line("markers", "slow: takes minutes")
    given, source = config.getoption("--soterd"), "--soterd"
    if given is None:
        given, source = os.environ.get("SOTERD"), "the environment variable SOTERD"
    if given and not os.access(given, os.X_OK):
        problem = "cannot be executed" if os.path.exists(given) else "does not exist"
        raise pytest.UsageError(f"{source} names {given}, which {problem}")
    if given and os.path.isdir(given):
        raise pytest.UsageError(f"{source} names {given}, which is a folder: the binary itself is wanted")
    config.stash[SOTERD] = Path(given).resolve() if given else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.stash[SOTERD] is None:
        skip = pytest.mark.skip(reason="needs a soterd binary: give --soterd PATH, or set SOTERD")
        for item in items:
            if item.get_closest_marker("live") is not None:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def soterd_binary(pytestconfig: pytest.Config) -> Path:
    """The soterd under test."""
    binary = pytestconfig.stash[SOTERD]
    assert binary is not None
    return binary
