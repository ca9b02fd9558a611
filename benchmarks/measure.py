"""Rounds, medians and their spread, tables and JSON."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import attrs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import txsoter

__all__ = [
    "Figure",
    "Report",
    "Row",
    "collect",
    "console",
    "interleave",
    "machine",
    "number",
    "progress_bar",
    "take_turns",
    "time_call",
]

LEAST_ROUNDS = 5
"""A median of fewer is no figure."""


class Figure(NamedTuple):
    """What the rounds of one measurement gave, in order."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure itself."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the greatest."""
        return min(self.rounds), max(self.rounds)

    def over(self, other: Figure) -> float:
        """The median of the ratios round by round: drift of the machine falls out of it."""
        return statistics.median(
            mine / max(theirs, 1e-12) for mine, theirs in zip(self.rounds, other.rounds, strict=True)
        )


@attrs.define
class Row:
    """One line of a report: figures by column, and plain values such as ratios and constants."""

    name: str
    unit: str
    figures: dict[str, Figure] = attrs.field(factory=dict)
    values: dict[str, float | str] = attrs.field(factory=dict)


@attrs.define
class Report:
    """A suite's result.

    :param columns: which figures and values a table shows, in order.
    :param notes: sentences that stand below it.
    """

    suite: str
    columns: Sequence[str]
    rows: list[Row] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)

    def as_json(self) -> dict[str, Any]:
        """For programs: every round of every figure."""
        return {
            "suite": self.suite,
            "rows": [
                {
                    "name": row.name,
                    "unit": row.unit,
                    "figures": {
                        column: {
                            "median": figure.median,
                            "min": figure.spread[0],
                            "max": figure.spread[1],
                            "rounds": figure.rounds,
                        }
                        for column, figure in row.figures.items()
                    },
                    "values": row.values,
                }
                for row in self.rows
            ],
            "notes": self.notes,
        }

    def table(self) -> Table:
        """For people."""
        table = Table(title=self.suite, title_justify="left", title_style="bold")
        table.add_column("what", no_wrap=True)
        table.add_column("unit", no_wrap=True)
        for column in self.columns:
            table.add_column(column, justify="right")
        for row in self.rows:
            table.add_row(row.name, row.unit, *(_cell(row, column) for column in self.columns))
        return table


def _cell(row: Row, column: str) -> str:
    figure = row.figures.get(column)
    if figure is not None:
        low, high = figure.spread
        share = (high - low) / 2 / figure.median * 100 if figure.median else 0.0
        return f"{number(figure.median)} ±{share:.0f} %"
    value = row.values.get(column, "")
    return value if isinstance(value, str) else number(value)


def number(value: float) -> str:
    """Three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def console() -> Console:
    """Where tables go: as wide as the terminal; wide enough for them where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=200)


def progress_bar() -> Progress:
    """Progress, on a terminal only."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )


Run = Callable[[], Mapping[str, float]]


def interleave(
    cases: Mapping[str, Run], rounds: int, done: Callable[[], object] = lambda: None, warm: bool = True
) -> dict[str, list[Mapping[str, float]]]:
    """Warm every case up, then run all of them in each round, another one first each time.

    :param done: called after each run, the warm-up's included.
    :param warm: False when each run is its own warm-up.
    """
    names = list(cases)
    results: dict[str, list[Mapping[str, float]]] = {name: [] for name in names}
    for name in names if warm else ():
        cases[name]()
        done()
    for index in range(rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            results[name].append(cases[name]())
            done()
    return results


def take_turns(
    sets: Sequence[Mapping[str, Run]], rounds: int, done: Callable[[], object] = lambda: None
) -> list[dict[str, list[Mapping[str, float]]]]:
    """What :func:`interleave` does, for short cases: each round has all the sets, before the next begins.

    So a bad second of the machine spoils one round of many sets, which no median shows, and not all rounds of one.

    :param done: called after each set's round.
    """
    results: list[dict[str, list[Mapping[str, float]]]] = [{name: [] for name in each} for each in sets]
    for index in range(rounds):
        for each, found in zip(sets, results, strict=True):
            names = list(each)
            first = index % len(names)
            turned = {name: each[name] for name in names[first:] + names[:first]}
            for name, runs in interleave(turned, 1, warm=index == 0).items():
                found[name] += runs
            done()
    return results


def collect(results: Mapping[str, Iterable[Mapping[str, float]]], key: str) -> dict[str, Figure]:
    """One figure a case: ``key`` of each of its rounds."""
    return {name: Figure(tuple(each[key] for each in runs)) for name, runs in results.items()}


def time_call(call: Callable[[], object], budget: float) -> Callable[[], Mapping[str, float]]:
    """A case for :func:`interleave` that takes the microseconds of one call, of as many as fit into ``budget`` seconds.

    Garbage collection is off meanwhile, as in :mod:`timeit`; that favours whoever makes more objects.
    """
    times = 0

    def run() -> Mapping[str, float]:
        nonlocal times
        if not times:
            started = perf_counter()
            call()
            times = max(1, int(budget / max(perf_counter() - started, 1e-7)))
        repeat = range(times)
        gc.disable()
        try:
            started = perf_counter()
            for _ in repeat:
                call()
            return {"us": (perf_counter() - started) / times * 1e6}
        finally:
            gc.enable()

    return run


def machine() -> dict[str, Any]:
    """Where and with what the figures were taken."""
    packages = ("txsoter", "twisted", "siphash24", "mmh3", "python-bitcoinlib", "bitcoinx", "btclib", "chiabip158")
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": found,
        "compiled": txsoter.compiled,
        "load": os.getloadavg()[0],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def write_json(path: str, reports: Sequence[Report], about: Mapping[str, Any]) -> None:
    """Everything into one file."""
    whole = {**about, "suites": [report.as_json() for report in reports]}
    Path(path).write_text(json.dumps(whole, indent=1) + "\n")
