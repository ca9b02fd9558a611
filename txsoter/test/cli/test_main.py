"""The command as a whole: help, version, wrong arguments, and what is imported for them."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from unittest import TestCase, mock

from txsoter.cli.main import COMMANDS, main
from txsoter.test.cli.support import run_main
from txsoter.test.programs import ROOT
from txsoter.test.test_imports import in_fresh_interpreter

LOADED = """
import sys
from txsoter.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("loaded:", *sorted(each for each in sys.modules if each.partition(".")[0] in ("twisted", "txsoter", "sqlite3")))
"""


class HelpTests(TestCase):
    def test_each_names_its_options_and_fits_a_terminal(self) -> None:
        for arguments, words in (
            ((), ["peer-info", "watch", "fetch", "capture", "testnet", "book", "--version", "HOST:PORT", "130"]),
            (("peer-info",), ["ENDPOINT", "--network", "(default: mainnet)", "--timeout", "--json", "--pings", "512M"]),
            (
                ("watch",),
                ["ENDPOINT", "--network", "(default: mainnet)", "--timeout", "--json", "--headers", "--fetch"],
            ),
            (("fetch",), ["ENDPOINT", "--network", "(default: mainnet)", "--timeout", "--json", "--dot"]),
            (("capture",), ["show", "replay", "pcap", "msgs_recv.dat"]),
            (("capture", "show"), ["--json", "--network"]),
            (("testnet",), ["--nodes", "--seed", "--truth", "--processes", "ready HOST:PORT", "claims-all"]),
            (("book",), ["--state", "--json", "null for never"]),
        ):
            status, out, err = run_main(*arguments, "--help")
            self.assertEqual((status, err), (0, ""))
            self.assertTrue(out.startswith(f"usage: {' '.join(('txsoter', *arguments))}"), out)
            self.assertLessEqual(max(map(len, out.splitlines())), 120)
            for word in words:
                self.assertIn(word, " ".join(out.split()))

    def test_version(self) -> None:
        for compiled, words in (((), "pure Python"), (("txsoter.a", "txsoter.b"), "compiled: txsoter.a, txsoter.b")):
            with mock.patch("txsoter.compiled", compiled):
                self.assertEqual(run_main("--version"), (0, f"txsoter {metadata.version('txsoter')} ({words})\n", ""))

    def test_version_of_a_tree_that_is_not_installed(self) -> None:
        with mock.patch("importlib.metadata.version", side_effect=metadata.PackageNotFoundError):
            status, out, _ = run_main("--version")
        self.assertEqual((status, out.partition(" (")[0]), (0, "txsoter of a source tree that is not installed"))


class WrongArgumentsTests(TestCase):
    def test_are_one_line_and_status_2(self) -> None:
        for arguments, words in (
            ((), "txsoter: the following arguments are required: COMMAND"),
            (("sing",), "txsoter: argument COMMAND: invalid choice: 'sing'"),
            (("--network", "simnet", "watch"), "txsoter: "),
            (("watch",), "txsoter watch: the following arguments are required: ENDPOINT"),
            (("watch", "h", "--network", "moon"), "--network: moon: must be one of mainnet, testnet1"),
            (("watch", "h", "--timeout", "soon"), "--timeout: soon: must be a number of seconds above 0"),
            (("watch", "h", "--memory", "much"), "--memory: much: must be a number of bytes such as 512M"),
            (("watch", "h", "--count", "0"), "--count: 0: must be a whole number from 1"),
            (("peer-info", "h", "--pings", "-1"), "txsoter peer-info: "),
            (("peer-info", "h", "--js"), "txsoter: unrecognized arguments: --js"),
            (("fetch", "h", "--json", "--dot"), "argument --dot: not allowed with argument --json"),
            (("capture", "show"), "txsoter capture show: the following arguments are required: PATH"),
            (("book",), "txsoter book: the following arguments are required: --state"),
        ):
            status, out, err = run_main(*arguments)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1), err)
            self.assertIn(words, err)
            self.assertTrue(err.endswith("; --help lists the options\n"))


class EntryTests(TestCase):
    def test_the_console_script_is_main(self) -> None:
        (script,) = metadata.entry_points(group="console_scripts", name="txsoter")
        self.assertIs(script.load(), main)

    def test_as_a_module(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "txsoter", "book"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertTrue(done.stderr.startswith("txsoter book: "))

    def test_only_what_the_chosen_command_needs_is_imported(self) -> None:
        def loaded(*arguments: str) -> set[str]:
            return set(in_fresh_interpreter(LOADED, *arguments).rpartition("loaded:")[2].split())

        def packages(modules: set[str]) -> set[str]:
            return {".".join(each.split(".")[:2]) for each in modules}

        for arguments in ((), ("--help",), ("--version",), ("sing",)):
            found = loaded(*arguments)
            self.assertFalse({"twisted", "sqlite3"} & found)
            self.assertEqual({each for each in found if each.startswith("txsoter.cli.")}, {"txsoter.cli.main"})
        for name in COMMANDS:
            found = loaded(name, "--help")
            others = {f"txsoter.cli.{each.replace('-', '_')}" for each in COMMANDS if each != name}
            self.assertEqual(others & found, set())
            keeps_state = name in ("book", "sync", "crawl")
            self.assertEqual("sqlite3" in found, keeps_state, name)
            if not keeps_state:
                self.assertNotIn("txsoter.service", packages(found))
            if name == "verify":
                self.assertNotIn("twisted", found)
            # crawl serves a page beside that of the status
            if name not in ("capture", "crawl"):
                self.assertNotIn("txsoter.capture", packages(found), name)
