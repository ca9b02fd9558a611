"""The pytest plugin: nothing of a user's is touched until it is asked for, then only tests that ask for a soterd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path
from unittest import TestCase

from txsoter.test.programs import ROOT

OPT_IN = 'pytest_plugins = ["txsoter.testing.pytest_plugin"]'

OF_THE_USER = """
import pytest

@pytest.mark.live
def test_of_the_user(): pass
"""

THAT_ASK = """
def test_that_asks(soterd_binary): print("binary:", soterd_binary)

def test_that_asks_for_nodes(soterds): print("nodes:", soterds)
"""


class UserProject(TestCase):
    """A project of somebody's, with a marker ``live`` of its own."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp()).resolve()
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    live: something else entirely\n")
        self.binary = self.folder / "soterd"
        self.binary.write_text("#!/bin/sh\n")
        self.binary.chmod(0o755)

    def run_pytest(self, *arguments: str, conftest: str, tests: str, soterd: str = "") -> str:
        """What pytest says, with all outcomes and what passing tests have printed."""
        (self.folder / "conftest.py").write_text(conftest)
        (self.folder / "test_it.py").write_text(tests)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--strict-markers", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SOTERD": soterd},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.stdout + done.stderr

    def outcomes(self, said: str) -> dict[str, str]:
        """By test; skipped ones are not named."""
        found = re.findall(r"^(PASSED|FAILED|ERROR) \S+::(\w+)", said, re.MULTILINE)
        return {name: outcome for outcome, name in found}


class InstalledTests(UserProject):
    """txsoter is installed, and nothing more."""

    def test_nothing_of_the_users_is_touched(self) -> None:
        """Neither tests that are marked ``live`` nor runs for which SOTERD names nothing."""
        for arguments, soterd in (([], ""), (["-m", "live"], "/nowhere/soterd")):
            said = self.run_pytest(*arguments, conftest="", tests=OF_THE_USER, soterd=soterd)
            self.assertEqual(self.outcomes(said), {"test_of_the_user": "PASSED"}, said)

    def test_no_plugin_is_loaded(self) -> None:
        self.assertEqual([each for each in entry_points(group="pytest11") if "soter" in each.value], [])


class OptedInTests(UserProject):
    """The project's conftest.py names the plugin."""

    def opted_in(self, *arguments: str, soterd: str = "") -> str:
        return self.run_pytest(*arguments, conftest=OPT_IN, tests=OF_THE_USER + THAT_ASK, soterd=soterd)

    def test_without_a_binary_tests_that_ask_for_one_are_skipped(self) -> None:
        said = self.opted_in()
        self.assertEqual(self.outcomes(said), {"test_of_the_user": "PASSED"}, said)
        self.assertEqual(said.count("needs a soterd binary: give --soterd=PATH, or set SOTERD"), 2)

    def test_a_bad_path_fails_the_tests_that_ask_and_no_others(self) -> None:
        for arguments, soterd, words in (
            ((), "/nowhere/soterd", "the environment variable SOTERD is /nowhere/soterd, which does not exist"),
            (("--soterd=/nowhere",), str(self.binary), "the soterd binary is /nowhere, which does not exist"),
        ):
            said = self.opted_in(*arguments, soterd=soterd)
            failed = {"test_that_asks": "ERROR", "test_that_asks_for_nodes": "ERROR"}
            self.assertEqual(self.outcomes(said), {"test_of_the_user": "PASSED", **failed}, said)
            self.assertIn(words, said)

    def test_with_a_binary(self) -> None:
        """Of the option, or of SOTERD; and the marker picks the tests that ask for it."""
        asking = {"test_that_asks": "PASSED", "test_that_asks_for_nodes": "PASSED"}
        said = self.opted_in("--soterd=./soterd")
        self.assertEqual(self.outcomes(said), {"test_of_the_user": "PASSED", **asking}, said)
        self.assertIn(f"binary: {self.binary}\n", said)
        said = self.opted_in("-m", "soterd", soterd=str(self.binary))
        self.assertEqual(self.outcomes(said), asking, said)
        self.assertIn("1 deselected", said)
