"""``txsoter book``: print the address book of ``twistd soter``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from txsoter.command_line import Parser
from txsoter.service.book import book_json, book_table, read_book

__all__ = ["add_arguments"]

DESCRIPTION = """\
Prints the address book that `twistd soter --state DIR` keeps: those addresses first that have worked, the latest of
them on top. A running process may use the book meanwhile; nothing is changed.
"""

EPILOG = """\
--json prints one object: network; own: host and port of our own addresses; addresses: host, port, tried, stale,
succeeded, seen, attempted, failures, services (a number), service_names, told_by (null when the address itself did).
Times are UTC in ISO 8601, null for never.
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``book``."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument(
        "--state", required=True, type=Path, metavar="DIR", help="the directory given to twistd soter --state"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the book.

    :raises BookError: when there is none, or it cannot be read.
    """
    print((book_json if options.json else book_table)(read_book(options.state), time.time()))
    return 0
