"""Many idle connections between two processes: memory, CPU, and how long it takes to make them and to tell them all."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from benchmarks.children import Child
from benchmarks.measure import Report, Row, collect, interleave, progress_bar
from benchmarks.scale_ends import raise_file_limit

__all__ = ["run"]

SIZES = (10, 100, 1000, 5000)
OURS, BARE = "txsoter", "bare"

_SPARE_FILES = 50
_PING_PERIOD, _AGE = 120, 420
_STEPS = 20
_AGEING_STEP = 4
_WINDOW = 3.0

# JSON name, what a table calls it, unit
_FIGURES = (
    ("connect", "connections made", "a second"),
    ("accept_bytes", "memory each, accepting end", "bytes"),
    ("dial_bytes", "memory each, dialling end", "bytes"),
    ("accept_objects", "objects each, accepting end", "objects"),
    ("dial_objects", "objects each, dialling end", "objects"),
    ("accept_blocks", "allocations each, accepting end", "allocations"),
    ("dial_blocks", "allocations each, dialling end", "allocations"),
    ("accept_cpu", "CPU idle, accepting end", "% of a core"),
    ("dial_cpu", "CPU idle, dialling end", "% of a core"),
    ("relay", "one inv relayed to all", "ms"),
)


def run(rounds: int, quick: bool) -> Report:
    """Measure all sizes."""
    report = Report("scale", (OURS, BARE, "x bare", "Go reference"))
    allowed = raise_file_limit() - _SPARE_FILES
    sizes = (5,) if quick else tuple(size for size in SIZES if size <= allowed)
    with progress_bar() as progress:
        for size in sizes:
            task = progress.add_task(f"{size} connections", total=2 * rounds)
            cases = {kind: partial(_once, kind, size, quick) for kind in (OURS, BARE)}
            # every round has fresh processes: there is nothing to warm up
            results = interleave(cases, rounds, lambda task=task: progress.advance(task), warm=False)  # type: ignore[misc]
            for key, what, unit in _FIGURES:
                report.rows.append(_row(f"{size} connections: {what}", unit, size, key, results))
    report.notes = [
        "Two processes, each holding one end of every connection; TCP on loopback, all defaults of the library on.",
        f"CPU: over {_WINDOW:g} s, all timers out of step: both clocks were put forward step by step while connections "
        f"were made ({_PING_PERIOD} s) and after ({_AGE} s), pings and pongs crossing meanwhile.",
        "Memory: what the process holds more than before, garbage collected; below 1000 connections pages hide it.",
        "bare: Twisted connections with an empty protocol. Go reference: constants of the issue.",
    ]
    left_out = [size for size in SIZES if size > allowed]
    if left_out and not quick:
        report.notes.append(f"Left out, for this process may open only {allowed + _SPARE_FILES} files: {left_out}.")
    return report


def _row(name: str, unit: str, size: int, key: str, results: Mapping[str, list[Mapping[str, float]]]) -> Row:
    row = Row(name, unit, collect(results, key))
    if row.figures[BARE].median > 0:
        row.values["x bare"] = row.figures[OURS].over(row.figures[BARE])
    if key.endswith("_bytes") and size >= 1000:
        row.values["Go reference"] = "34 KB"
    if key.endswith("_cpu") and size == 5000:
        row.values["Go reference"] = "1.6"
    return row


def _once(kind: str, size: int, quick: bool) -> Mapping[str, float]:
    """One pair of processes from its beginning to its end."""
    options = ("--as", kind)
    with ExitStack() as stack:
        accept = stack.enter_context(Child("scale", "accept", "tcp:0:backlog=1024:interface=127.0.0.1", *options))
        port = accept.answer()["port"]
        dial = stack.enter_context(Child("scale", "dial", f"tcp:127.0.0.1:{port}", *options))
        both = (accept, dial)

        def ask_both(*words: object) -> list[dict[str, float]]:
            for each in both:
                each.tell(*words)
            return [each.answer() for each in both]

        ask_both("begin")
        seconds, steps = 0.0, min(_STEPS, size)
        for step in range(steps):
            seconds += dial.ask("connect", size * (step + 1) // steps - size * step // steps)["seconds"]
            ask_both("skip", _PING_PERIOD / steps)
        if kind == OURS:
            for _ in range((60 if quick else _AGE) // _AGEING_STEP):
                ask_both("skip", _AGEING_STEP)
        held = ask_both("memory")
        idle = ask_both("idle", 0.1 if quick else _WINDOW if kind == OURS else 1)
        relay = dial.ask("relay")
        if [each["peers"] for each in ask_both("skip", 0)] != [size, size]:
            raise RuntimeError(f"connections were lost: {size} were made")
        dial.ask("close")
        return {
            "connect": size / seconds,
            "relay": relay["seconds"] * 1e3,
            **{f"{end}_cpu": each["percent"] for end, each in zip(("accept", "dial"), idle, strict=True)},
            **{
                f"{end}_{name}": each[name] / size
                for end, each in zip(("accept", "dial"), held, strict=True)
                for name in ("bytes", "objects", "blocks")
            },
        }
