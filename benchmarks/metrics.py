"""What metrics cost: ping throughput with and without, in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial

from benchmarks.measure import Figure, Report, Row, collect, interleave, progress_bar, time_call
from benchmarks.metering import SCRAPE_SECONDS
from benchmarks.peer import OURS, Case, Ends

__all__ = ["run"]

OFF = "off"
SERVED, BOTH = "at the end that answers", "at both ends"
PEERS = 125

PINGS = Case("ping round trips, 10,000 in flight", "ping", 200_000, 200, "ping")


def run(rounds: int, quick: bool) -> Report:
    """Measure it."""
    report = Report("metrics", (OFF, "on", "% of off"))
    # the machine drifts more than metrics cost
    times = rounds if quick else 2 * rounds
    with ExitStack() as stack, progress_bar() as progress:
        ends = {
            OFF: Ends(stack, OURS),
            SERVED: Ends(stack, OURS, "--metrics"),
            BOTH: Ends(stack, OURS, "--metrics", drive_options=("--metrics",)),
        }
        for each in ends.values():
            each.start()
        count = PINGS.quick if quick else PINGS.amount
        cases: dict[str, Callable[[], Mapping[str, float]]] = {
            where: partial(each.measure, PINGS, count) for where, each in ends.items()
        }
        task = progress.add_task(PINGS.name, total=(times + 1) * len(cases))
        results = interleave(cases, times, lambda: progress.advance(task))
    rates = collect(results, "rate")
    for where in (SERVED, BOTH):
        report.rows.append(_row(f"{PINGS.name}, metrics {where}", "a second", rates[OFF], rates[where]))
    for key, whose in (("cpu", "driver"), ("served_cpu", "server")):
        micros = {
            where: Figure(tuple(each[key] / each["count"] * 1e6 for each in runs)) for where, runs in results.items()
        }
        report.rows.append(_row(f"the {whose}'s CPU for each, metrics {BOTH}", "us", micros[OFF], micros[BOTH]))
    report.rows.append(_scrape(5 if quick else PEERS, rounds))
    report.notes = [
        "Two processes, TCP on loopback. With metrics all round trips go into the histogram, listeners are timed (but "
        f"not those of pings and pongs), and both ends are asked for their metrics every {SCRAPE_SECONDS:g} s.",
        f"Median and half of least to greatest of {times} rounds after a warm-up; the kinds take turns in each round, "
        "and ratios are the median of those round by round.",
    ]
    return report


def _row(name: str, unit: str, off: Figure, on: Figure) -> Row:
    return Row(name, unit, {OFF: off, "on": on}, {"% of off": 100 * on.over(off)})


def _scrape(peers: int, rounds: int) -> Row:
    """For how long the reactor is kept by looking at many peers."""
    from txsoter.service.metrics import Metrics
    from txsoter.testing import connected_pair

    pairs = [connected_pair() for _ in range((peers + 1) // 2)]
    found = [peer for pair in pairs for peer in (pair.client, pair.server)][:peers]
    metrics = Metrics(peers=lambda: found)
    look = time_call(lambda: list(metrics.collect()), 0.1)
    figure = Figure(tuple(look()["us"] / 1000 for _ in range(rounds)))
    return Row(f"a look at {peers} peers", "ms", {"on": figure})
