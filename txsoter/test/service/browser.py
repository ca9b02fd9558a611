"""Chromium without a window, as its distribution ships it, driven by selenium. Nothing is ever downloaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Browser", "BrowserMissing"]

WANTED = (
    ("CHROMIUM", ("chromium", "chromium-browser", "google-chrome"), "chromium"),
    ("CHROMEDRIVER", ("chromedriver",), "chromium-driver"),
)

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--lang=en",
)


class BrowserMissing(Exception):
    """There is no browser to test with."""


def _program(variable: str, names: Sequence[str], package: str) -> str:
    given = os.environ.get(variable)
    for name in [given] if given else names:
        found = shutil.which(name)
        if found is not None:
            return found
    wanted = given or names[0]
    raise BrowserMissing(f"{wanted} is missing: apt-get install {package}, or name another in {variable}")


class Browser:
    """A browser. All of it blocks: use it in a thread.

    :raises BrowserMissing: when there is none, saying what to install.
    """

    def __init__(self) -> None:
        chromium, chromedriver = (_program(*wanted) for wanted in WANTED)
        try:
            from selenium.webdriver import Chrome, ChromeOptions
            from selenium.webdriver.chrome.service import Service
        except ImportError:
            raise BrowserMissing("selenium is missing: pip install 'txsoter[browser]'") from None
        self._folder = tempfile.mkdtemp(prefix="txsoter-browser-")
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={self._folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # both programs are named, so that selenium looks for none
        service = Service(chromedriver, log_output=subprocess.DEVNULL)
        self.driver = Chrome(options, service)
        self.driver.set_page_load_timeout(20)
        self.driver.set_script_timeout(20)
        self._requested: list[str] = []

    def open(self, url: str, width: int = 1280, height: int = 900, dark: bool = False, scale: float = 1) -> None:
        """Look at a page, through a window of so many CSS pixels."""
        self.command("Network.enable")
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        motion = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.command("Emulation.setEmulatedMedia", features=[scheme, motion])
        self.driver.get(url)

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Tell it something in its own protocol."""
        answer: dict[str, Any] = self.driver.execute_cdp_cmd(method, parameters)
        return answer

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page; returns what it returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, seconds: float = 15.0) -> Any:
        """Wait until a script in the page returns something true, and return that.

        :raises TimeoutError: when it does not.
        """
        from selenium.common.exceptions import TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait

        try:
            return WebDriverWait(self.driver, seconds, 0.1).until(lambda driver: driver.execute_script(script))
        except TimeoutException:
            text = self.run("return document.body.innerText")
            raise TimeoutError(f"still not so after {seconds} s: {script}; the page says: {text}") from None

    def complaints(self) -> list[str]:
        """What the page has written to the console since the last time: errors, violations of its policy, and all."""
        return [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]

    def requested(self) -> list[str]:
        """The addresses of all that pages have asked for."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self._requested.append(message["params"]["request"]["url"])
        return self._requested

    def shoot(self, path: Path, whole: bool = False) -> None:
        """Take a picture of the window, or of all of the page."""
        from base64 import b64decode

        picture = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b64decode(picture["data"]))

    def picture(self, url: str, path: Path) -> None:
        """The picture for the README: a wide window, light, sharp on dense screens."""
        self.open(url, 1280, 1300, scale=1.4)
        self.wait("return document.body.dataset.link === 'live'")
        self.shoot(path)

    def quit(self) -> None:
        """End it."""
        self.driver.quit()
        shutil.rmtree(self._folder, ignore_errors=True)
