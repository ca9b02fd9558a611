"""Tests of :mod:`txsoter.test.service.browser` that need none."""

from __future__ import annotations

import os
import sys

from txsoter.test.peer.support import TrialCase
from txsoter.test.service.browser import Browser, BrowserMissing


class MissingTests(TrialCase):
    """Without a browser the tests that want one fail, saying what to install; they are not skipped."""

    def setUp(self) -> None:
        before = dict(os.environ)

        def restore() -> None:
            os.environ.clear()
            os.environ.update(before)

        self.addCleanup(restore)

    def complaint(self, **environment: str) -> str:
        os.environ.update(environment)
        with self.assertRaises(BrowserMissing) as raised:
            Browser()
        return str(raised.exception)

    def test_without_chromium(self) -> None:
        self.assertIn("chromium is missing: apt-get install chromium", self.complaint(PATH="", CHROMIUM=""))
        self.assertIn("/nowhere/c is missing: apt-get install chromium", self.complaint(CHROMIUM="/nowhere/c"))

    def test_without_its_driver(self) -> None:
        words = self.complaint(PATH="", CHROMIUM=sys.executable, CHROMEDRIVER="")
        self.assertIn("chromedriver is missing: apt-get install chromium-driver", words)

    def test_without_selenium(self) -> None:
        before = sys.modules.get("selenium.webdriver")
        sys.modules["selenium.webdriver"] = None  # type: ignore[assignment]

        def restore() -> None:
            del sys.modules["selenium.webdriver"]
            if before is not None:
                sys.modules["selenium.webdriver"] = before

        self.addCleanup(restore)
        words = self.complaint(CHROMIUM=sys.executable, CHROMEDRIVER=sys.executable)
        self.assertIn("selenium is missing: pip install 'txsoter[browser]'", words)
