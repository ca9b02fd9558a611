"""Settings of a process that holds nodes; the open files that a network needs, and the processes that it takes."""

from __future__ import annotations

import gc
import resource

from txsoter.errors import LocalError
from txsoter.testing.loopback.plan import DEAD, HIDDEN, Plan

__all__ = ["TooManyFiles", "file_limit", "own_process", "processes_for"]

SPARE = 1000
"""Open files of a process beside the network's own, for visitors' connections; a quarter of a limit below 4,000."""

MAX_PROCESSES = 64


class TooManyFiles(LocalError):
    """A network needs more open files than its processes may have. The text says what to do."""


def file_limit() -> int:
    """Return the number of files that a process may open once it has raised its limit."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def own_process() -> None:
    """Prepare a process that does nothing but hold nodes: raise its limit on open files, and collect garbage rarely."""
    # thousands of connections are made that stay: looking through them again and again is a quarter of the time
    gc.set_threshold(50_000, 20, 100)
    hard = file_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def files_needed(plan: Plan, processes: int) -> int:
    """Return the open files that the network takes of the process that has the most, of so many processes.

    The node of number n is in process n modulo ``processes``. Each connection is one file at either end.
    """
    needed = [0] * processes
    for place in plan.places:
        needed[place.number % processes] += place.kind not in (DEAD, HIDDEN)
    for dialler, dialled in plan.edges:
        needed[dialler % processes] += 1
        needed[dialled % processes] += 1
    return max(needed)


def processes_for(plan: Plan, processes: int | None, limit: int) -> int:
    """Return the number of processes that hold a network.

    :param processes: as wanted; None for the least that ``limit`` allows.
    :param limit: open files that a process may have.
    :raises TooManyFiles: when the network needs more.
    """
    allowed = limit - min(SPARE, limit // 4)
    for count in [processes] if processes else range(1, MAX_PROCESSES + 1):
        needed = files_needed(plan, count)
        if needed <= allowed:
            return count
    words = "a process" if count == 1 else f"each of {count} processes"
    advice = "" if processes is None else ", or use more processes"
    raise TooManyFiles(
        f"{plan.options.nodes} nodes with {len(plan.edges)} connections need {needed} open files in {words}, which may "
        f"have {allowed} beside those of visitors: raise the limit (ulimit -Hn, now {limit}){advice}"
    )
