"""Compiled modules beside their sources: two child processes of the installed txsoter, one with ``TXSOTER_PURE=1``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from benchmarks.children import ROOT, Child
from benchmarks.measure import Report, Row, collect, progress_bar, take_turns

__all__ = ["NothingCompiled", "run"]

PURE, COMPILED = "pure", "compiled"

# the checkout comes last on the path, so that txsoter is the one that is installed, and its compiled modules are there
START = """
import sys
sys.path[:] = [*sys.path[1:], sys.argv.pop(1)]
from benchmarks.compiled_end import main
main(sys.argv[1:] == ["quick"])
"""


class NothingCompiled(Exception):
    """There is nothing to compare."""


def run(rounds: int, quick: bool) -> Report:
    """Measure what users do, compiled and pure, in turn.

    :raises NothingCompiled: where the installed txsoter has no compiled modules.
    """
    with ExitStack() as stack:
        ends = {name: stack.enter_context(_end(name, quick)) for name in (PURE, COMPILED)}
        names, modules = _begin(ends)
        report = Report("compiled", (PURE, COMPILED, "pure / compiled"))
        sets = [{name: partial(end.ask, number) for name, end in ends.items()} for number in range(len(names))]
        with progress_bar() as progress:
            task = progress.add_task("compiled", total=len(names) * rounds)
            measured = take_turns(sets, rounds, lambda: progress.advance(task))
    for name, results in zip(names, measured, strict=True):
        row = Row(name, "us", dict(collect(results, "us")))
        # the least of all rounds: other work on the machine only adds
        row.values["pure / compiled"] = row.figures[PURE].spread[0] / row.figures[COMPILED].spread[0]
        report.rows.append(row)
    report.notes = [
        "Microseconds of CPU time, the least of some runs in each round; garbage collection off. "
        "The ratio is that of the least of all rounds.",
        f"Compiled: {', '.join(modules)}.",
    ]
    return report


def _end(name: str, quick: bool) -> Child:
    environment = {**os.environ, "TXSOTER_PURE": str(int(name == PURE))}
    program = [sys.executable, "-c", START, str(ROOT), *(["quick"] if quick else [])]
    return Child("compiled", name, program=program, environment=environment)


def _begin(ends: Mapping[str, Child]) -> tuple[list[str], list[str]]:
    """Return the cases' names, and the compiled modules."""
    begun = {name: end.answer() for name, end in ends.items()}
    if not begun[COMPILED]["compiled"]:
        raise NothingCompiled("no module of txsoter is compiled here: TXSOTER_MYPYC=1 pip install .")
    if begun[PURE]["compiled"]:
        raise AssertionError("the pure end has compiled modules")
    return begun[COMPILED]["cases"], begun[COMPILED]["compiled"]
