"""asyncio's peers beside Twisted's: the same core on either, the same bytes, one run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec

from benchmarks.children import Child
from benchmarks.measure import Figure, Report, Row, collect, interleave, progress_bar
from benchmarks.peer import OURS, Case, Ends

__all__ = ["run"]

TWISTED = "Twisted"

RATE, CPU = " / Twisted", ", CPU / Twisted"

CASES = (
    Case("ping round trips, 10,000 in flight", "ping", 200_000, 200, "ping"),
    Case("inv of 1000, as it comes", "inv", 500, 20, "inv", more=3),
    Case("blocks of 450 KB", "block", 200, 3, "block", more=2),
    Case("handshakes, one after the other", "handshake", 500, 10, "ready", more=2),
    Case("handshakes, 16 at once", "handshake-16", 500, 20, "ready", more=2),
)


class LoopEnds:
    """A process that serves and one that drives, on an asyncio loop.

    :param loop: which.
    """

    def __init__(self, stack: ExitStack, loop: str) -> None:
        self._serve = stack.enter_context(Child("aio", "serve", "--loop", loop))
        port = self._serve.answer()["port"]
        self._drive = stack.enter_context(Child("aio", "drive", "--loop", loop, str(port)))

    def measure(self, case: Case, count: float) -> Mapping[str, float]:
        """One run; what the listeners counted is compared with what was sent."""
        self._serve.ask("report")
        result = self._drive.ask(case.mode, count)
        served = self._serve.ask("report")
        heard = served.get(case.expected, 0)
        if heard < count:
            raise RuntimeError(f"{case.name}: {count} sent, {heard} heard by the listener")
        return {**result, "served_cpu": served["cpu"]}


def run(rounds: int, quick: bool) -> Report:
    """Measure all cases."""
    loops = ["asyncio"] + ["uvloop"] * (find_spec("uvloop") is not None)
    report = Report("aio", (TWISTED, *loops, *(f"{loop}{what}" for loop in loops for what in (RATE, CPU))))
    with ExitStack() as stack, progress_bar() as progress:
        twisted = Ends(stack, OURS)
        twisted.start()
        ends: dict[str, Ends | LoopEnds] = {TWISTED: twisted, **{loop: LoopEnds(stack, loop) for loop in loops}}
        for case in CASES:
            count = case.quick if quick else case.amount
            times = rounds if quick else rounds * case.more
            task = progress.add_task(case.name, total=(times + 1) * len(ends))
            runs = {kind: partial(each.measure, case, count) for kind, each in ends.items()}
            results = interleave(runs, times, partial(progress.advance, task))
            row = Row(case.name, "a second", collect(results, "rate"))
            # of both ends together: what else the machine does shows in it less than in the rates
            cpu = {
                kind: Figure(tuple((each["cpu"] + each["served_cpu"]) / each["count"] * 1e6 for each in found))
                for kind, found in results.items()
            }
            for kind, figure in cpu.items():
                row.figures[f"{kind}, CPU of both ends, us each"] = figure
            for loop in loops:
                row.values[f"{loop}{RATE}"] = row.figures[loop].over(row.figures[TWISTED])
                row.values[f"{loop}{CPU}"] = cpu[loop].over(cpu[TWISTED])
            report.rows.append(row)
    report.notes = [
        "Two processes of one kind, TCP on loopback, the library's defaults on; median and half of least to greatest "
        f"of {rounds} rounds (short runs {2 * rounds} or {3 * rounds}) after a warm-up; they take turns in each round.",
    ]
    return report
