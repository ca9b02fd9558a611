"""Chooses the subcommand: ``txsoter --help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from typing import Any

import txsoter
from txsoter.command_line import Parser, run_command

__all__ = ["main", "make_parser"]

DESCRIPTION = """\
Tools for the peer-to-peer network of soter, a fork of Bitcoin whose blocks form a DAG.

ENDPOINT is where a node is: HOST, HOST:PORT, [IPV6]:PORT, or a Twisted endpoint string such as tcp:127.0.0.1:18555 or
unix:/run/node. The default port is that of --network.
"""

EPILOG = """\
Results go to standard output; progress goes to standard error, on a terminal only. The exit status is 0, or 1 after an
error, 2 for wrong arguments, 130 after Ctrl-C. `twistd soter --help` tells how to run a peer for months.
"""

COMMANDS = {
    "peer-info": "dial a node, and print its version, the addresses it knows, and ping times",
    "watch": "dial a node, and print the blocks and transactions that it announces",
    "fetch": "download and verify all blocks of a node, and print the DAG",
    "sync": "check the whole DAG of a node, and keep its headers",
    "verify": "check the blocks in files: proof of work, commitments, times, parents",
    "crawl": "map a network: its nodes, and who is connected to whom",
    "capture": "show and replay recorded conversations, or read them from a pcap file",
    "testnet": "run a network of thousands of light nodes on this machine, to try crawlers on",
    "book": "print the address book of twistd soter",
}
"""Each is a module of that name here, with an underscore for the hyphen, whose ``add_arguments`` sets ``run``."""


class _Version(argparse.Action):
    """Prints the version, and which modules are compiled; looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any) -> None:
        try:
            version = metadata.version("txsoter")
        except metadata.PackageNotFoundError:
            version = "of a source tree that is not installed"
        kind = f"compiled: {', '.join(txsoter.compiled)}" if txsoter.compiled else "pure Python"
        print(f"txsoter {version} ({kind})")
        parser.exit()


def make_parser(arguments: Sequence[str]) -> Parser:
    """Return the parser for ``arguments``: of the subcommands only the one that they choose has its own."""
    # no option before the subcommand takes a value
    chosen = next((each for each in arguments if not each.startswith("-")), None)
    parser = Parser(prog="txsoter", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        "--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="print the version and exit"
    )
    commands = parser.add_subparsers(
        title="commands", description="each has a --help of its own", metavar="COMMAND", required=True
    )
    for name, words in COMMANDS.items():
        command = commands.add_parser(name, help=words)
        if name == chosen:
            import_module(f"txsoter.cli.{name.replace('-', '_')}").add_arguments(command)
            command.set_defaults(program=command.prog)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for, and return the exit status.

    :raises SystemExit: for ``--help``, ``--version``, and arguments that cannot be used.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(lambda: make_parser(given), given)
