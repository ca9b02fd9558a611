"""Tests of :mod:`txsoter.service.settings`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txsoter.service.settings import MAX_SIZE, Settings, SettingsError, arguments, read_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FLAGS, VALUES, LISTS = ["strict", "no-relay"], ["network", "ping-interval", "listen"], ["listen"]


def given(values: dict[str, Any], text: str = "") -> list[tuple[str, str]]:
    return list(arguments(Settings("soter.toml", text, values), FLAGS, VALUES, LISTS))


class ReadTests(SynchronousTestCase):
    def written(self, content: bytes) -> str:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        path = folder / "soter.toml"
        path.write_bytes(content)
        return str(path)

    def test_read(self) -> None:
        path = self.written(b'network = "simnet"\nping_interval = 2.5\nlisten = ["tcp:1", "tcp:2"]\n')
        settings = read_settings(path)
        values = {"network": "simnet", "ping_interval": 2.5, "listen": ["tcp:1", "tcp:2"]}
        self.assertEqual((settings.path, settings.values), (path, values))

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
            ({"pigeon": 1}, "pigeon: is no setting; there are listen, network, no-relay, ping-interval, strict"),
            ({"soter": {"network": "simnet"}}, "soter: is a table, and there are none: settings stand by themselves"),
            ({"listen": [{"port": 1}]}, "listen: is a table, and there are none"),
            ({"network": {"name": "simnet"}}, "network: is a table, and there are none"),
            ({"netwrok": "simnet"}, "netwrok: is no setting; did you mean network?"),
        ):
            error = self.assertRaises(SettingsError, given, settings)
            self.assertTrue(str(error).startswith(f"soter.toml: {words}"), error)

    def test_bad_ones_name_the_file_and_the_line(self) -> None:
        """However the key is written; no line, where none begins with it."""
        for text, line in (
            ("# soter\n\nsoter = 1", 3),
            ("[soter]\nnetwork = 1", 1),
            ("strict = true\n  [[ soter ]]\n", 2),
            ("strict = true\nsoter.network = 1", 2),
            ("strict = true\n'soter' = 1", 2),
            ('"soter"=1', 1),
            ("soters = 1\nsoter = 1", 2),
        ):
            values = tomllib.loads(text)
            words = f"soter.toml, line {line}: soter: "
            error = self.assertRaises(SettingsError, given, {"soter": values["soter"]}, text)
            self.assertTrue(str(error).startswith(words), error)
        error = self.assertRaises(SettingsError, given, {"soter": 1}, '"\\u0073oter" = 1')
        self.assertTrue(str(error).startswith("soter.toml: soter: is no setting"), error)

    def test_a_key_may_be_written_either_way(self) -> None:
        settings = Settings("soter.toml", "ping_interval = 1\nno-relay = true", {})
        self.assertEqual(settings.place("ping-interval"), "soter.toml, line 1")
        self.assertEqual(settings.place("no-relay"), "soter.toml, line 2")
