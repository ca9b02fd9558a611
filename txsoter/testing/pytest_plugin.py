"""Pytest fixtures for tests against a running soterd. Opt-in: nothing is loaded by installing txsoter.

In the ``conftest.py`` at the root of a project::

    pytest_plugins = ["txsoter.testing.pytest_plugin"]

and then::

    async def test_it_syncs(soterds):
        node = await soterds.start()
        peer = await connect(clientFromString(reactor, node.endpoint), PeerConfig(network=SIMNET))

(with ``pytest-twisted``, or any other way to run the reactor). The binary is named by ``pytest --soterd=PATH`` or by
the environment variable ``SOTERD``. Write the equals sign: pytest reads its command line before it knows the plugin,
and takes a path that stands alone for a folder of tests; ``addopts = "-p txsoter.testing.pytest_plugin"`` avoids that.

Without a binary, tests that ask for the fixtures are skipped; with a bad path they fail, and no others. They bear the
marker ``soterd``, so ``pytest -m soterd`` runs them alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from txsoter.testing.soterd import SoterdError, SoterdFactory, find_soterd

__all__ = ["soterd_binary", "soterds"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soterd", metavar="PATH", help="the soterd binary (--soterd=PATH); by default that of SOTERD")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soterd: needs a soterd binary (--soterd=PATH or SOTERD); skipped without")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "soterd_binary" in getattr(item, "fixturenames", ()):
            item.add_marker("soterd")


@pytest.fixture(scope="session")
def soterd_binary(pytestconfig: pytest.Config) -> Path:
    """The path of the soterd binary; skips the test when none was named, fails it when the path is bad."""
    try:
        binary = find_soterd(pytestconfig.getoption("--soterd"))
    except SoterdError as error:
        pytest.fail(str(error), pytrace=False)
    if binary is None:
        pytest.skip("needs a soterd binary: give --soterd=PATH, or set SOTERD")
    return binary


@pytest.fixture
def soterds(soterd_binary: Path, tmp_path: Path) -> Iterator[SoterdFactory]:
    """A :class:`~txsoter.testing.soterd.SoterdFactory`, all of whose nodes are ended with the test."""
    factory = SoterdFactory(soterd_binary, tmp_path)
    yield factory
    factory.stop_all()
