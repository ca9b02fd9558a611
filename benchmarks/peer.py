"""Two processes and a connection on loopback between them: this library, and the floors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from benchmarks.children import Child
from benchmarks.measure import Figure, Report, Row, collect, interleave, progress_bar
from benchmarks.pace import TX_RATE

__all__ = ["OURS", "Case", "Ends", "run"]

OURS, BARE, CHECKSUM = "txsoter", "bare", "checksum"


class Case(NamedTuple):
    """Something to measure between two ends.

    :param mode: the driver's.
    :param count: how many; ``quick`` for the smoke run.
    :param expected: what the accepting end's listeners must have counted, by count of messages.
    :param floors: which of the floors it is compared with.
    :param more: how many times the rounds: short runs need more.
    :param reference: what the Go reference does, a second: constants of the issue.
    """

    name: str
    mode: str
    amount: int
    quick: float
    expected: str
    floors: tuple[str, ...] = (BARE, CHECKSUM)
    more: int = 1
    reads_vectors: str = ""
    reference: str = ""


CASES = (
    Case("ping round trips, 10,000 in flight", "ping", 200_000, 200, "ping", reference="29,000-53,000"),
    Case("inv of 1000, as it comes", "inv", 500, 20, "inv", more=3, reference="2,500-3,100"),
    Case("inv of 1000, every vector read as a row", "inv", 500, 20, "inv", more=3, reads_vectors="rows"),
    Case("inv of 1000, every vector read by .tuples()", "inv", 500, 20, "inv", more=3, reads_vectors="tuples"),
    Case("inv of 1000, built from tuples", "inv-tuples", 500, 20, "inv", more=3),
    Case("blocks of 450 KB", "block", 200, 3, "block", more=2, reference="185-195"),
    Case("blocks of 450 KB, mixed shapes", "block-mixed", 200, 3, "block", more=2),
    Case("handshakes, one after the other", "handshake", 500, 10, "ready", (BARE,), 2, reference="3,200-4,500"),
    Case("handshakes, 16 at once", "handshake-16", 500, 20, "ready", (BARE,), 2),
)

LATENCY = Case(f"pings beside {TX_RATE} tx/s", "tx", 10, 0.2, "tx", (CHECKSUM,))


class Ends:
    """A process that serves and one that drives, of one kind."""

    def __init__(self, stack: ExitStack, kind: str, *serve_options: str, drive_options: tuple[str, ...] = ()) -> None:
        self._serve = stack.enter_context(
            Child("peer", "serve", "tcp:0:interface=127.0.0.1", "--as", kind, "--report", *serve_options)
        )
        self._kind = kind
        self._drive_options = drive_options
        self._stack = stack
        self._drive: Child | None = None

    def start(self) -> None:
        """Begin to drive, once the other end listens."""
        port = self._serve.answer()["port"]
        # ready by the first command
        self._drive = self._stack.enter_context(
            Child("peer", "drive", f"tcp:127.0.0.1:{port}", "-", "0", "--as", self._kind, *self._drive_options)
        )

    def measure(self, case: Case, count: float) -> Mapping[str, float]:
        """One run; what the listeners counted is compared with what was sent."""
        assert self._drive is not None
        self._serve.ask("report")
        result = self._drive.ask(case.mode, count)
        served = self._serve.ask("report")
        sent = round(result["rate"] * count) if case.mode == "tx" else count
        if self._kind == OURS:
            heard = served.get(case.expected, 0)
            wrong = heard < sent * 0.95 if case.mode == "tx" else heard < sent
            if wrong or (case.reads_vectors and served.get("vectors", 0) != 1000 * count):
                raise RuntimeError(f"{case.name}: {sent} sent, {heard} heard by the listener")
        return {**result, "served_cpu": served["cpu"]}


def run(rounds: int, quick: bool) -> Report:
    """Measure all cases."""
    report = Report(
        "peer",
        ("txsoter", "MB/s", "bare", "checksum", "% of bare", "% of checksum", "Go reference"),
    )
    with ExitStack() as stack, progress_bar() as progress:
        ends = {kind: Ends(stack, kind) for kind in (OURS, BARE, CHECKSUM)}
        reading = {how: Ends(stack, OURS, "--read-vectors", how) for how in ("rows", "tuples")}
        for each in (*ends.values(), *reading.values()):
            each.start()

        def measured(case: Case) -> Mapping[str, list[Mapping[str, float]]]:
            count = case.quick if quick else case.amount
            cases: dict[str, Callable[[], Mapping[str, float]]] = {
                kind: partial(
                    (reading[case.reads_vectors] if case.reads_vectors and kind == OURS else ends[kind]).measure,
                    case,
                    count,
                )
                for kind in (OURS, *case.floors)
            }
            times = rounds if quick else rounds * case.more
            if case is LATENCY and not quick:
                # ten seconds to warm up would be long
                for kind in cases:
                    ends[kind].measure(case, 1)
            task = progress.add_task(case.name, total=(times + (case is not LATENCY)) * len(cases))
            return interleave(cases, times, lambda: progress.advance(task), warm=case is not LATENCY)

        for case in CASES:
            report.rows.append(_rate(case, measured(case)))
        report.rows += _latency(LATENCY, measured(LATENCY))
    report.notes = _notes(report, rounds)
    return report


def _rate(case: Case, results: Mapping[str, list[Mapping[str, float]]]) -> Row:
    row = Row(case.name, "a second", collect(results, "rate"))
    ours = row.figures[OURS]
    for floor in case.floors:
        row.values[f"% of {floor}"] = 100 * ours.over(row.figures[floor])
    sizes = [each["bytes"] / each["seconds"] / 1e6 for each in results[OURS] if "bytes" in each]
    if sizes:
        row.figures["MB/s"] = Figure(tuple(sizes))
    row.figures["driver's CPU, us each"] = Figure(tuple(each["cpu"] / each["count"] * 1e6 for each in results[OURS]))
    row.figures["server's CPU, us each"] = Figure(
        tuple(each["served_cpu"] / each["count"] * 1e6 for each in results[OURS])
    )
    row.values["Go reference"] = case.reference
    return row


def _latency(case: Case, results: Mapping[str, list[Mapping[str, float]]]) -> list[Row]:
    rows = []
    for key, what in (("p50", "half of them below"), ("p99", "99 % below")):
        row = Row(f"{case.name}, {what}", "us", collect(results, key))
        for floor in case.floors:
            row.values[f"% of {floor}"] = 100 * row.figures[OURS].over(row.figures[floor])
        rows.append(row)
    rate = Row(f"{case.name}, transactions sent", "a second", collect(results, "rate"))
    return [*rows, rate]


def _notes(report: Report, rounds: int) -> list[str]:
    named: dict[str, Any] = {row.name: row for row in report.rows}
    uniform, mixed = named["blocks of 450 KB"], named["blocks of 450 KB, mixed shapes"]
    share = 100 * mixed.figures[OURS].over(uniform.figures[OURS])
    return [
        "Two processes, TCP on loopback, the library's defaults on; median and half of least to greatest of "
        f"{rounds} rounds (short runs {2 * rounds} or {3 * rounds}) after a warm-up; ends take turns in each round.",
        "bare, checksum: Twisted protocols that move the same bytes and look at none, or find each frame and check its "
        "checksum. For handshakes: one that exchanges as many bytes.",
        f"Blocks of mixed shapes go at {share:.0f} % of the uniform ones' rate (the bar: 60 %).",
        "Go reference: constants of the issue, taken on another day on a machine of this kind.",
    ]
