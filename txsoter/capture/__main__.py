"""``python -m txsoter.capture``: the same as ``txsoter capture``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from txsoter.capture.commands import add_arguments
from txsoter.command_line import Parser, exit_status

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for, and return the exit status.

    :raises SystemExit: for ``--help``, and arguments that cannot be used.
    """
    parser = Parser(prog="python -m txsoter.capture")
    add_arguments(parser)
    parser.set_defaults(program=parser.prog)
    options = parser.parse_args(arguments)
    return exit_status(options.program, lambda: int(options.run(options)))


if __name__ == "__main__":
    sys.exit(main())
