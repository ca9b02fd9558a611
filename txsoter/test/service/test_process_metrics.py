"""Tests of :mod:`txsoter.service.process_metrics`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from txsoter.service.process_metrics import ProcessMetrics
from txsoter.test.programs import ROOT
from txsoter.test.service.scraping import Scrape

NAMES = {
    "process_cpu_seconds_total",
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
}

SCRAPE = """
from prometheus_client import CollectorRegistry, generate_latest
from txsoter.service.exposition import MetricsService
from txsoter.service.metrics import Metrics
print(generate_latest(MetricsService(Metrics(tuple), "tcp:0").registry).decode())
"""

# what systemd's ProcSubset=pid does
WITHOUT_THE_REST_OF_PROC = 'mount -t proc -o subset=pid proc /proc && test ! -e /proc/stat && exec "$@"'
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork")


def scraped(collector: object) -> Scrape:
    registry = CollectorRegistry()
    registry.register(collector)  # type: ignore[arg-type]
    return Scrape(generate_latest(registry).decode())


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="prometheus-client's own needs Linux")
def test_names_kinds_and_values_are_those_of_prometheus_client() -> None:
    ours, theirs = scraped(ProcessMetrics()), scraped(ProcessCollector(registry=None))
    assert set(ours.kinds.items()) == set(theirs.kinds.items())
    assert set(ours.kinds) == NAMES
    for name in NAMES:
        assert ours.value(name) == pytest.approx(theirs.value(name), rel=0.2, abs=2), name
    assert 0 < time.time() - ours.value("process_start_time_seconds") < 24 * 3600


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no procfs")
def test_open_files_are_counted() -> None:
    before = scraped(ProcessMetrics()).value("process_open_fds")
    files = [os.dup(1) for _ in range(7)]
    assert scraped(ProcessMetrics()).value("process_open_fds") == before + 7
    for file in files:
        os.close(file)


def test_without_procfs_the_rest_is_there(tmp_path: Path) -> None:
    """Each is left out alone."""
    (tmp_path / "statm").write_text("1000 10 5 1 0 5 0\n")
    found = scraped(ProcessMetrics(tmp_path))
    assert set(found.kinds) == NAMES - {"process_start_time_seconds", "process_open_fds"}
    assert found.value("process_resident_memory_bytes") == 10 * os.sysconf("SC_PAGE_SIZE")


def test_below_the_shipped_units_restriction() -> None:
    """All of them, where nothing is left of /proc but processes."""
    allowed = subprocess.run([*UNSHARE, "sh", "-c", WITHOUT_THE_REST_OF_PROC, "sh", "true"], capture_output=True)
    if allowed.returncode:
        pytest.skip(f"namespaces are not allowed here: {allowed.stderr.decode().strip()}")
    command = (*UNSHARE, "sh", "-c", WITHOUT_THE_REST_OF_PROC, "sh", sys.executable, "-c", SCRAPE)
    before = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found = Scrape(done.stdout)
    assert set(found.kinds) >= NAMES
    assert all(found.value(name) > 0 for name in NAMES)
    assert before - 2 < found.value("process_start_time_seconds") < time.time() + 2
