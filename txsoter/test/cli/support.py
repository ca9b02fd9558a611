"""Runs ``txsoter`` in a process of its own, or in this one."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred

from txsoter import PeerConfig
from txsoter.cli.main import main, make_parser
from txsoter.command_line import CommandError
from txsoter.test.peer.cases import real_reactor
from txsoter.test.programs import Program

__all__ = ["assert_one_line", "command", "command_error", "run_here", "run_main"]


def command(*arguments: str, **options: Any) -> Program:
    """The command in a process of its own."""
    return Program("-m", "txsoter", *arguments, **options)


def run_main(*arguments: object) -> tuple[int, str, str]:
    """The exit status of the command in this process, and what went to standard output and error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(each) for each in arguments])
        except SystemExit as error:
            assert isinstance(error.code, int)
            status = error.code
    return status, out.getvalue(), err.getvalue()


async def run_here(
    run: Callable[[Any, Any], Coroutine[Deferred[Any], Any, int]], name: str, *arguments: str
) -> tuple[int, str, str]:
    """The same for a subcommand that dials, in the reactor that runs; on simnet.

    :param run: its coroutine function.
    :raises CommandError: as it does.
    """
    given = [name, *arguments, "--network", "simnet"]
    options = make_parser(given).parse_args(given)
    out, err = io.StringIO(), io.StringIO()
    # which the command is not, in a process of its own
    to_itself = mock.patch("txsoter.cli.dialling.PeerConfig", partial(PeerConfig, allow_self_connections=True))
    with to_itself, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = await run(real_reactor(), options)
    return status, out.getvalue(), err.getvalue()


async def command_error(
    run: Callable[[Any, Any], Coroutine[Deferred[Any], Any, int]], name: str, *arguments: str
) -> str:
    """What a subcommand that dials says when it ends with a CommandError."""
    try:
        status, out, err = await run_here(run, name, *arguments)
    except CommandError as error:
        return str(error)
    raise AssertionError(f"it ended with {status}: {out}{err}")


def assert_one_line(program: Program, *words: str, status: int = 1) -> None:
    """It has failed with one line on stderr, which has these words."""
    assert (program.code, program.err.count("\n")) == (status, 1), program.err
    for word in words:
        assert word in program.err
