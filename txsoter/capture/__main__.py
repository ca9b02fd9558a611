"""``python -m txsoter.capture``: the same as ``txsoter capture``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from txsoter.capture.commands import add_arguments
from txsoter.command_line import Parser, run_command

__all__ = ["main", "make_parser"]


def make_parser() -> Parser:
    """Return the parser."""
    parser = Parser(prog="python -m txsoter.capture")
    add_arguments(parser)
    parser.set_defaults(program=parser.prog)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for, and return the exit status.

    :raises SystemExit: for ``--help``, and arguments that cannot be used.
    """
    return run_command(make_parser, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
