"""The crawler on networks of loopback nodes, which other processes hold: rate, time to know the edges, CPU, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

from benchmarks.measure import Report, Row, collect, interleave, progress_bar

__all__ = ["SIZES", "compared", "run"]

SIZES = (100, 1000, 10_000)
QUICK_SIZES = (20,)

DEFAULTS, UNLIMITED = "defaults", "no limits"
OPTIONS: dict[str, Sequence[str]] = {
    DEFAULTS: (),
    UNLIMITED: ("--dials-per-second", "1000000", "--stay", "0.001"),
}

TIME_LIMIT = 600.0
"""Seconds for a network to come up, and for a crawl."""

# JSON name, name in the table, unit
_FIGURES = (
    ("rate", "nodes visited", "a second"),
    ("edges_99", "99 % of the edges known after", "s"),
    ("edges", "edges found", "%"),
    ("cpu", "CPU of the crawler", "s"),
    ("memory", "memory of the crawler", "MB"),
)


def run(rounds: int, quick: bool, sizes: Sequence[int] | None = None) -> Report:
    """Measure networks of all sizes.

    :param sizes: numbers of nodes, instead of SIZES.
    """
    report = Report("crawl", (DEFAULTS, UNLIMITED))
    with tempfile.TemporaryDirectory() as folder, progress_bar() as progress:
        for size in sizes or (QUICK_SIZES if quick else SIZES):
            task = progress.add_task(f"{size} nodes", total=len(OPTIONS) * rounds)
            with _testnet(size, Path(folder)) as (entry, truth):
                cases = {
                    name: partial(_crawl, entry, truth, Path(folder), options) for name, options in OPTIONS.items()
                }
                # every crawl is a fresh process: there is nothing to warm up
                results = interleave(cases, rounds, lambda task=task: progress.advance(task), warm=False)  # type: ignore[misc]
            for key, what, unit in _FIGURES:
                report.rows.append(Row(f"{size} nodes: {what}", unit, collect(results, key)))
    report.notes = [
        "A network of txsoter testnet, 8 connections dialled by each node; nodes and crawler share the cores.",
        "Rate and time: from the first address known to the last visit. CPU and memory: of the whole process.",
        f"{DEFAULTS}: 500 visits begun in a second, and each stays for half a second; {UNLIMITED}: neither.",
        "Each map was compared with the network: all nodes are there, and no connection that is not.",
    ]
    return report


@contextmanager
def _testnet(size: int, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run a network; gives the address of a node, and the truth."""
    file = folder / "truth.json"
    arguments = ("testnet", "--nodes", str(size), "--seed", str(os.getpid()), "--truth", str(file))
    with subprocess.Popen(
        [sys.executable, "-m", "txsoter", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as network:
        assert network.stdout is not None
        try:
            with _killed_after(TIME_LIMIT, network):
                words = network.stdout.readline().split()
            if words[:1] != ["ready"]:
                raise RuntimeError(f"txsoter testnet ended with status {network.wait()}")
            yield words[1], json.loads(file.read_text())
        finally:
            network.terminate()


@contextmanager
def _killed_after(seconds: float, process: subprocess.Popen[Any]) -> Iterator[None]:
    """Kill ``process`` when what is done meanwhile takes longer."""
    timer = Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _crawl(entry: str, truth: Mapping[str, Any], folder: Path, options: Sequence[str]) -> Mapping[str, float]:
    """Crawl once, in a process of its own."""
    file = folder / "map.json"
    arguments = ("crawl", "--once", "--network", "regtest", "--allow-unroutable", "--peer", entry, "--json", str(file))
    process = subprocess.Popen(
        [sys.executable, "-m", "txsoter", *arguments, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    with _killed_after(TIME_LIMIT, process):
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"txsoter crawl ended with status {process.returncode}")
    found = json.loads(file.read_text())
    return {
        **compared(found, truth),
        "cpu": usage.ru_utime + usage.ru_stime,
        # in KiB on Linux
        "memory": usage.ru_maxrss / 1024,
    }


def compared(found: Mapping[str, Any], truth: Mapping[str, Any]) -> dict[str, float]:
    """Compare a map with the truth, and return its figures.

    :raises RuntimeError: when a node is missing, or a connection is told that is none.
    """
    nodes = [each for each in found["nodes"] if each["reachable"]]
    missing = set(truth["nodes"]) - {f"{each['address']}:{each['port']}" for each in nodes}
    if missing:
        raise RuntimeError(f"{len(missing)} nodes were not found, such as {missing.pop()}")
    true = {(dialler, dialled) for dialler, dialled in truth["edges"]}
    edges = {(each["from"], each["to"]): each["first_seen"] for each in found["edges"]}
    wrong = set(edges) - true
    if wrong:
        raise RuntimeError(f"{len(wrong)} connections of the map are none, such as {wrong.pop()}")
    began = min(each["first_seen"] for each in nodes)
    seen = sorted(edges.values())
    enough = -(-len(true) * 99 // 100)
    if len(seen) < enough:
        raise RuntimeError(f"{len(seen)} of {len(true)} connections were found")
    return {
        "rate": len(nodes) / (max(each["last_success"] for each in nodes) - began),
        "edges_99": seen[enough - 1] - began,
        "edges": 100 * len(edges) / len(true),
    }
