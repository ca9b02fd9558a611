"""``twistd`` and ``twist`` find soter, and finding it costs nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from unittest import TestCase

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

from txsoter.test.programs import ROOT, TWIST, TWISTD

LOADED = "import sys, {module}; print(*sorted(sys.modules))"


def output(*arguments: str) -> str:
    """What a fresh interpreter prints, run in the checkout."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


class PluginTests(TestCase):
    """twisted/plugins/txsoter_plugin.py."""

    def test_found(self) -> None:
        """There is one plugin named soter, and it makes what tap.py says."""
        found: list[Any] = [each for each in getPlugins(IServiceMaker) if each.tapname == "soter"]
        (maker,) = found
        from txsoter import tap

        self.assertEqual(maker.module, "txsoter.tap")
        self.assertIs(maker.options, tap.Options)
        self.assertIs(maker.makeService, tap.makeService)

    def test_lazy(self) -> None:
        """The plugin imports nothing of txsoter: twistd reads it for every service it runs."""
        loaded = output("-c", LOADED.format(module="twisted.plugins.txsoter_plugin")).split()
        self.assertIn("twisted.plugins.txsoter_plugin", loaded)
        self.assertEqual([each for each in loaded if each.startswith("txsoter")], [])

    def test_no_side_effects(self) -> None:
        """Importing tap.py installs no reactor: the user of twistd chooses it."""
        loaded = output("-c", LOADED.format(module="txsoter.tap")).split()
        self.assertIn("txsoter.tap", loaded)
        self.assertNotIn("twisted.internet.reactor", loaded)

    def test_listed(self) -> None:
        """``twistd --help`` and ``twist --help`` list it."""
        for program in (TWISTD, TWIST):
            self.assertRegex(output(*program, "--help"), r"\n +soter +A peer of the soter network\.")

    def test_help(self) -> None:
        """``twistd soter --help`` names each option."""
        text = output(*TWISTD, "soter", "--help")
        for option in ("network", "listen", "connect", "user-agent", "comment", "services", "ping-interval", "proxy"):
            self.assertIn(f"--{option}=", text)
        self.assertIn("-v, --verbose", text)
