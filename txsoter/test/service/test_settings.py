"""Tests of :mod:`txsoter.service.settings`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txsoter.service.settings import MAX_SIZE, SettingsError, arguments, read_settings

FLAGS, VALUES, LISTS = ["strict", "no-relay"], ["network", "ping-interval", "listen"], ["listen"]


def given(settings: dict[str, Any]) -> list[tuple[str, str]]:
    return list(arguments(settings, FLAGS, VALUES, LISTS))


class ReadTests(SynchronousTestCase):
    def written(self, content: bytes) -> str:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        path = folder / "soter.toml"
        path.write_bytes(content)
        return str(path)

    def test_read(self) -> None:
        path = self.written(b'network = "simnet"\nping_interval = 2.5\nlisten = ["tcp:1", "tcp:2"]\n')
        self.assertEqual(read_settings(path), {"network": "simnet", "ping_interval": 2.5, "listen": ["tcp:1", "tcp:2"]})

    def test_what_cannot_be_read_says_which_file_and_why(self) -> None:
        for path, words in (
            ("/nowhere/soter.toml", "No such file or directory"),
            ("/", "Is a directory"),
            (self.written(b"a = \xff"), "is not UTF-8"),
            (self.written(b"network: simnet"), "is not TOML: Expected '='"),
            (self.written(b"#" * (MAX_SIZE + 1)), "over 1048576 bytes"),
        ):
            error = self.assertRaises(SettingsError, read_settings, path)
            self.assertTrue(str(error).startswith(f"{path}: "), error)
            self.assertIn(words, str(error))


class ArgumentsTests(SynchronousTestCase):
    def test_as_on_the_command_line(self) -> None:
        settings = {"network": "simnet", "ping_interval": 60, "strict": True, "no-relay": False, "listen": ["a", "b"]}
        expected = [("network", "simnet"), ("ping-interval", "60"), ("strict", ""), ("listen", "a"), ("listen", "b")]
        self.assertEqual(given(settings), expected)
        self.assertEqual(given({"listen": "a"}), [("listen", "a")])

    def test_bad_ones_name_the_key_and_what_is_allowed(self) -> None:
        for settings, words in (
            ({"strict": "yes"}, "strict: must be true or false"),
            ({"strict": 1}, "strict: must be true or false"),
            ({"listen": 18555}, "listen: must be a list of strings"),
            ({"listen": ["a", 1]}, "listen: must be a list of strings"),
            ({"network": ["simnet"]}, "network: must be a string or a number"),
            ({"network": True}, "network: must be a string or a number"),
            ({"ping": {"interval": 1}}, "ping: is no setting; there are listen, network, no-relay, ping-interval, str"),
            ({"netwrok": "simnet"}, "netwrok: is no setting; did you mean network?"),
        ):
            error = self.assertRaises(SettingsError, given, settings)
            self.assertIn(words, str(error))
