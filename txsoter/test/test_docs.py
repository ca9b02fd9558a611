"""What the pages in ``docs/`` promise is there. (They are in a checkout and in the sdist, not in the wheel.)"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txsoter.service.metrics import Metrics
from txsoter.tap import Options

TESTS = Path(__file__).parent
PAGES = TESTS.parent.parent / "docs"


class ReliabilityTests(SynchronousTestCase):
    def test_every_test_that_is_named_exists(self) -> None:
        """docs/reliability.md: attack -> outcome -> the test's name."""
        page = PAGES / "reliability.md"
        if not page.is_file():
            # an installed package has no docs
            self.assertFalse((PAGES.parent / "setup.py").is_file())
            return
        there = set()
        for path in TESTS.rglob("test_*.py"):
            there.add(path.name)
            there.update(
                re.findall(r"^ *(?:async )?(?:def|class) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
            )
        named = re.findall(r"`(?:[\w/]*/)?(test_\w+(?:\.py)?|\w+Tests)`", page.read_text(encoding="utf-8"))
        self.assertGreater(len(named), 80)
        self.assertEqual([name for name in named if name not in there], [])


class OperateTests(SynchronousTestCase):
    def test_every_option_and_metric_is_on_the_page(self) -> None:
        """docs/operate.md: every flag, every metric."""
        page = PAGES / "operate.md"
        if not page.is_file():
            self.assertFalse((PAGES.parent / "setup.py").is_file())
            return
        text = page.read_text(encoding="utf-8")
        options = {each.rstrip("=") for each in Options().longOpt} - {"help", "version"}
        self.assertEqual([each for each in sorted(options) if f"`--{each}" not in text], [])
        described = {f"{each.name}_total" if each.type == "counter" else each.name for each in Metrics(tuple).collect()}
        self.assertGreater(len(described), 10)
        self.assertEqual([name for name in sorted(described) if f"`{name}" not in text], [])


class AddingAMessageTests(SynchronousTestCase):
    def test_what_contributing_says_is_all_it_takes(self) -> None:
        """In a fresh interpreter: what is declared stays declared."""
        page = PAGES.parent / "CONTRIBUTING.md"
        if not page.is_file():
            self.assertFalse((PAGES.parent / "setup.py").is_file())
            return
        section = page.read_text(encoding="utf-8").partition("## Adding a message")[2]
        program = section.partition("```python\n")[2].partition("```")[0]
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.stderr, "")
        called, counted = done.stdout.splitlines()
        self.assertIn("(outbound) SendCmpct(announce=False, version=2)", called)
        self.assertEqual(counted, "Traffic(messages=1, bytes=33)")
