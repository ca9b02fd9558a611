"""Compiled and interpreted, modules give the same results and the same errors; and which of them run is known."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from unittest import TestCase, mock, skipUnless

import txsoter
from txsoter import compiled_modules
from txsoter.test import extremes
from txsoter.test.programs import ROOT

SEED, DAMAGED = 15, 60
SETUP = ROOT / "setup.py"

EXPECTED = re.compile(r"(MalformedMessage|FieldError|InvalidProof|TypeError|error): .|IndexError: index out of range$")
"""Errors that readers turn into malformed messages, and Tx and to_payload() into field errors."""


def lines_of(pure: bool) -> list[str]:
    """What the program of :mod:`txsoter.test.extremes` prints."""
    environment = {**os.environ, "TXSOTER_PURE": "1" if pure else "0"}
    command = [sys.executable, "-m", "txsoter.test.extremes", str(SEED), str(DAMAGED)]
    return subprocess.run(
        command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()


class ExtremesTests(TestCase):
    def test_calls_return_or_raise_what_callers_expect(self) -> None:
        raised = 0
        for name, outcome in extremes.calls():
            kind = outcome.partition(":")[0]
            if kind.endswith(("Error", "Message", "Proof", "error")):
                raised += 1
                self.assertRegex(outcome, EXPECTED, name)
        self.assertGreater(raised, 1000)

    def test_counts_and_lengths_that_exceed_any_index(self) -> None:
        found = dict(extremes.calls())
        ones = "ff" * 9
        for name, words in {
            f"tx of input script {ones}, 0 bytes behind, BASE": "tx: payload ends too early",
            f"tx of output script {ones}, 90 bytes behind, WITNESS": "tx: payload ends too early",
            f"tx of inputs {ones}, 90 bytes behind, BASE": f"tx: too many inputs: {(1 << 64) - 1}, at most 818401",
            f"tx of outputs {ones}, 90 bytes behind, BASE": f"tx: too many outputs: {(1 << 64) - 1}, at most 3728271",
            f"tx of witness items {ones}, 0 bytes behind, WITNESS": f"tx: too many witness items: {(1 << 64) - 1}",
        }.items():
            self.assertIn(words, found[name], name)
        self.assertIn("from 0 to 18446744073709551615 (u64)", found[f"u64.write({1 << 64})"])
        self.assertIn(f"nonce 19 is {1 << 63}, at most 16777216", found[f"nonce {1 << 63}"])
        self.assertIn(f"{(1 << 64) - 1} items of 4 bits or more in 40 bits", found[f"count {(1 << 64) - 1}"])

    @skipUnless(txsoter.compiled, "nothing is compiled")
    def test_compiled_and_interpreted_say_the_same_to_the_word(self) -> None:
        """To extreme numbers, to all vectors, to damaged ones and to what the fuzz targets keep."""
        found, expected = lines_of(pure=False), lines_of(pure=True)
        self.assertGreater(len(found), 5000)
        for ours, theirs in zip(found, expected, strict=True):
            self.assertEqual(ours, theirs)


class ModulesTests(TestCase):
    def test_those_with_an_extension_are_named(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder, "txsoter")
            (root / "wire").mkdir(parents=True)
            for name in (
                "errors.py",
                f"one{EXTENSION_SUFFIXES[0]}",
                "wire/two.py",
                f"wire/two{EXTENSION_SUFFIXES[-1]}",
            ):
                (root / name).touch()
            self.assertEqual(compiled_modules.compiled_below(root), ("txsoter.one", "txsoter.wire.two"))
            with mock.patch.object(sys, "meta_path", list(sys.meta_path)):
                compiled_modules.interpret_all()
                self.assertEqual(compiled_modules.compiled_below(root), ())

    def test_sources_are_taken_where_all_is_to_be_interpreted(self) -> None:
        finder = compiled_modules._SourceFinder
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, f"one{EXTENSION_SUFFIXES[0]}").touch()
            Path(folder, f"two{EXTENSION_SUFFIXES[0]}").touch()
            Path(folder, "two.py").touch()
            self.assertIsNone(finder.find_spec("txsoter.one", [folder]))
            spec = finder.find_spec("txsoter.two", ["/none", folder])
            assert spec is not None
            self.assertEqual(spec.origin, str(Path(folder, "two.py")))
            self.assertIsNone(finder.find_spec("other.two", [folder]))
            self.assertIsNone(finder.find_spec("txsoter", None))

    def test_the_environment_decides(self) -> None:
        script = "import txsoter, txsoter.wire.txcodec as each; print(each.__file__.endswith('.py'), *txsoter.compiled)"
        for value, expected in (("1", ["True"]), ("0", [str(not txsoter.compiled), *txsoter.compiled])):
            environment = {**os.environ, "TXSOTER_PURE": value}
            done = subprocess.run(
                [sys.executable, "-c", script], env=environment, cwd=ROOT, check=True, capture_output=True
            )
            self.assertEqual(done.stdout.decode().split(), expected)

    @skipUnless(SETUP.exists(), "the list is in the source tree")
    def test_the_list_is_of_modules_and_all_of_it_is_compiled(self) -> None:
        listed = re.findall(r'^    "(txsoter/.*)\.py",$', SETUP.read_text(encoding="utf-8"), re.MULTILINE)
        self.assertTrue(listed)
        for each in listed:
            self.assertTrue((ROOT / f"{each}.py").is_file(), each)
        if txsoter.compiled:
            self.assertEqual(list(txsoter.compiled), sorted(each.replace("/", ".") for each in listed))

    @skipUnless(txsoter.compiled, "nothing is compiled")
    def test_tracebacks_of_compiled_modules_name_function_and_file(self) -> None:
        script = "from txsoter.wire import Encoding, txcodec; txcodec.scan_transactions(b'', 0, 1, Encoding.BASE)"
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
        self.assertRegex(done.stderr, r'File ".*txcodec\.py", line \d+, in scan_transactions\n')
        self.assertTrue(done.stderr.rstrip().endswith("IndexError: index out of range"))
