"""Tests of :mod:`txsoter.command_line`."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
from unittest import TestCase

from txsoter.command_line import (
    CommandError,
    Parser,
    UsageError,
    complain,
    network,
    read_size,
    run_command,
    seconds,
    size,
    split_host_port,
    whole,
)
from txsoter.errors import FieldError
from txsoter.networks import SIMNET
from txsoter.test.programs import ROOT

SNOWMAN = """
from txsoter.command_line import Parser, run_command
parser = Parser()
parser.set_defaults(run=lambda options: print("\\u2603"), program="prog")
run_command(lambda: parser, [])
"""


class TypesTests(TestCase):
    def assert_refused(self, type: object, text: str) -> None:
        assert callable(type)
        with self.assertRaisesRegex(argparse.ArgumentTypeError, "must be"):
            type(text)

    def test_sizes(self) -> None:
        for text, number in (
            ("1", 1),
            ("512M", 512 << 20),
            ("512m", 512 << 20),
            ("4KiB", 4096),
            ("4kb", 4096),
            ("1G", 1 << 30),
            ("2T", 2 << 40),
        ):
            self.assertEqual((read_size(text), size(text)), (number, number))
        for text in ("", "0", "0M", "-1", "1.5M", "M", "1P", "1 M", "٣"):
            self.assertIsNone(read_size(text))
            self.assert_refused(size, text)

    def test_seconds(self) -> None:
        self.assertEqual(seconds("0.5"), 0.5)
        for text in ("0", "-1", "nan", "inf", "1e9", "soon", ""):
            self.assert_refused(seconds, text)

    def test_whole_numbers(self) -> None:
        self.assertEqual((whole(0)("0"), whole(1)("17")), (0, 17))
        for text in ("0", "-1", "1.0", "²", "٣", "1" * 10, ""):
            self.assert_refused(whole(1), text)

    def test_networks(self) -> None:
        self.assertIs(network("simnet"), SIMNET)
        self.assert_refused(network, "moon")

    def test_host_and_port(self) -> None:
        for text, found in (
            ("host", ("host", 7)),
            ("192.0.2.1:80", ("192.0.2.1", 80)),
            ("[2001:db8::1]", ("2001:db8::1", 7)),
            ("[2001:db8::1]:80", ("2001:db8::1", 80)),
        ):
            self.assertEqual(split_host_port(text, 7), found)
        for text in ("", ":80", "host:", "host:0", "host:65536", "host:x", "tcp:host:80", "2001:db8::1", "a b"):
            self.assertIsNone(split_host_port(text, 7), text)


class ParserTests(TestCase):
    def test_an_error_is_one_line_and_status_2(self) -> None:
        parser, err = Parser(prog="prog"), io.StringIO()
        parser.add_argument("--number", type=int)
        for arguments in (["--number", "a\nb"], ["--num", "1"]):
            with contextlib.redirect_stderr(err), self.assertRaises(SystemExit) as raised:
                parser.parse_args(arguments)
            self.assertEqual(raised.exception.code, 2)
        self.assertEqual(err.getvalue().count("\n"), 2)


class ExitTests(TestCase):
    def run_it(self, error: BaseException) -> tuple[int, str]:
        def run(options: argparse.Namespace) -> int:
            raise error

        parser = Parser()
        parser.set_defaults(run=run, program="prog")
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            status = run_command(lambda: parser, [])
        return status, err.getvalue()

    def test_errors_are_one_line(self) -> None:
        self.assertEqual(self.run_it(CommandError("no\nnode")), (1, "prog: no node\n"))
        self.assertEqual(self.run_it(UsageError("no endpoint")), (2, "prog: no endpoint\n"))
        self.assertEqual(
            self.run_it(OSError(28, "No space left on device")), (1, "prog: [Errno 28] No space left on device\n")
        )
        status, err = self.run_it(FieldError("height", -2, "at least -1"))
        self.assertEqual((status, err.count("\n")), (1, 1))

    def test_an_interrupt_is_quiet(self) -> None:
        self.assertEqual(self.run_it(KeyboardInterrupt()), (130, ""))

    def test_an_interrupt_while_the_command_is_imported(self) -> None:
        def make_parser() -> Parser:
            raise KeyboardInterrupt

        self.assertEqual(run_command(make_parser, []), 130)

    def test_help_whose_reader_goes_away(self) -> None:
        """Neither a traceback nor a complaint of the interpreter's at its end."""
        command = [sys.executable, "-m", "txsoter", "--help"]
        # what is buffered is what the interpreter tries to write at its end
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        process = subprocess.Popen(command, cwd=ROOT, env=buffered, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None and process.stderr is not None
        with process.stdout, process.stderr:
            process.stdout.close()
            self.assertEqual((process.stderr.read(), process.wait(20)), (b"", 0))

    def test_faults_of_ours_are_not_hidden(self) -> None:
        with self.assertRaises(ZeroDivisionError):
            self.run_it(ZeroDivisionError())

    def test_a_remote_cannot_write_control_characters(self) -> None:
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            complain("prog", "rejected: \x1b[2J\x07 yes")
        self.assertEqual(err.getvalue(), "prog: rejected: [2J yes\n")

    def test_output_in_a_locale_without_its_characters(self) -> None:
        """A remote's name must not end the program."""
        done = subprocess.run(
            [sys.executable, "-c", SNOWMAN],
            cwd=ROOT,
            env={"PYTHONIOENCODING": "ascii"},
            capture_output=True,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"\\u2603\n", b""))
