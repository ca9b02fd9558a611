"""Parts that the project's command lines share: the parser, types of options, errors and the exit status."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from txsoter.core.sanitize import sanitize
from txsoter.errors import FieldError, TxsoterError
from txsoter.networks import MAINNET, REGTEST, SIMNET, TESTNET1, Network, network_named

__all__ = [
    "INTERRUPTED",
    "NETWORKS",
    "USAGE",
    "CommandError",
    "Parser",
    "UsageError",
    "complain",
    "network",
    "positive",
    "read_size",
    "run_command",
    "seconds",
    "size",
    "split_host_port",
    "whole",
]

INTERRUPTED = 130
"""The exit status after Ctrl-C: 128 and the number of SIGINT, as shells have it."""

USAGE = 2
"""The exit status for arguments that cannot be used."""

NETWORKS = ", ".join(each.name for each in (MAINNET, TESTNET1, REGTEST, SIMNET))

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class CommandError(Exception):
    """Ends a command: one line on standard error, and ``status``."""

    status = 1


class UsageError(CommandError):
    """Arguments that cannot be used, found only after they were parsed."""

    status = USAGE


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, and whose options cannot be abbreviated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """End the process with status 2."""
        self.exit(USAGE, f"{self.prog}: {' '.join(message.split())}; --help lists the options\n")


def complain(program: str, text: str) -> None:
    """Print one line on standard error. It may quote a remote."""
    print(f"{program}: {sanitize(' '.join(text.split()), 400)}", file=sys.stderr)


def run_command(make_parser: Callable[[], Parser], arguments: Sequence[str]) -> int:
    """Parse the arguments, run the command, and return its exit status; what it raises for users becomes one line.

    A closed pipe is no error: its reader has seen enough.

    :param make_parser: makes the parser, whose options have ``run``, which is called with them, and ``program``, the
        name that errors begin with.
    :raises SystemExit: for ``--help``, and arguments that cannot be used.
    """
    # user agents and file names may be in any script, whatever the locale
    getattr(sys.stdout, "reconfigure", lambda **_: None)(errors="backslashreplace")
    program = ""
    try:
        try:
            options = make_parser().parse_args(arguments)
            program = options.program
            status: int = options.run(options)
        finally:
            sys.stdout.flush()
    except CommandError as error:
        complain(program, str(error))
        return error.status
    except BrokenPipeError:
        # nor may the interpreter fail to flush at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (TxsoterError, OSError) as error:
        complain(program, str(error))
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


# -- types of options --------------------------------------------------------------------------


def network(text: str) -> Network:
    """Return the network of that name."""
    try:
        return network_named(text)
    except FieldError as error:
        raise argparse.ArgumentTypeError(f"{text}: must be {error.limit}") from None


def positive(text: str, limit: str) -> float:
    """Return a number above 0 and below 1e9; ``limit`` says in words what it must be."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"{text}: must be {limit}")
    return number


def seconds(text: str) -> float:
    """Return a number of seconds."""
    return positive(text, "a number of seconds above 0")


def whole(least: int) -> Callable[[str], int]:
    """Return a type of whole numbers from ``least``."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) >= least):
            raise argparse.ArgumentTypeError(f"{text}: must be a whole number from {least}")
        return int(text)

    return read


def read_size(text: str) -> int | None:
    """Return a number of bytes such as 512M or 1G, powers of 1024; None if ``text`` is none above 0."""
    found = re.fullmatch(r"([0-9]{1,15})([KMGT]?)", text.upper().removesuffix("B").removesuffix("I"))
    return int(found[1]) * _UNITS[found[2]] or None if found else None


def size(text: str) -> int:
    """Return a number of bytes such as 512M."""
    found = read_size(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text}: must be a number of bytes such as 512M")
    return found


def split_host_port(text: str, default_port: int) -> tuple[str, int] | None:
    """Return host and port of HOST, HOST:PORT, [IPV6] or [IPV6]:PORT; None if ``text`` is none of them."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:\[\]]+))(?::([0-9]{1,5}))?", text, re.ASCII)
    port = default_port if found is None or found[3] is None else int(found[3])
    if found is None or not 0 < port < 1 << 16:
        return None
    return found[1] or found[2], port
