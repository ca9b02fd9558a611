"""Metrics of this process: CPU time, memory, open files.

prometheus-client's own collector gives none of them where ``/proc/stat`` cannot be read, as under systemd's
``ProcSubset=pid``: it takes the time of boot from there. These have the names and units that Prometheus recommends for
all client libraries, and each is left out alone where the system does not tell it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["ProcessMetrics"]

_STAT_START_TIME = 19
"""Index of the start time in ``/proc/self/stat``, in ticks since boot, behind the command's closing parenthesis."""


class ProcessMetrics:
    """A collector of prometheus-client.

    :param folder: of this process in procfs.
    """

    def __init__(self, folder: Path = Path("/proc/self")) -> None:
        from prometheus_client import core

        self._core = core
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Give what the system tells."""
        yield self._core.CounterMetricFamily(
            "process_cpu_seconds", "Total user and system CPU time spent in seconds.", time.process_time()
        )
        gauges: tuple[tuple[str, str, Callable[[], float]], ...] = (
            ("process_virtual_memory_bytes", "Virtual memory size in bytes.", lambda: self._memory(0)),
            ("process_resident_memory_bytes", "Resident memory size in bytes.", lambda: self._memory(1)),
            ("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", self._start_time),
            ("process_open_fds", "Number of open file descriptors.", self._open_files),
            ("process_max_fds", "Maximum number of open file descriptors.", _most_files),
        )
        for name, what, read in gauges:
            try:
                value = read()
            except (OSError, AttributeError, ValueError, IndexError):
                continue
            yield self._core.GaugeMetricFamily(name, what, value)

    def _memory(self, column: int) -> float:
        pages = (self._folder / "statm").read_text().split()
        return int(pages[column]) * os.sysconf("SC_PAGE_SIZE")

    def _start_time(self) -> float:
        stat = (self._folder / "stat").read_text()
        ticks = int(stat.rpartition(")")[2].split()[_STAT_START_TIME])
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return booted + ticks / os.sysconf("SC_CLK_TCK")

    def _open_files(self) -> float:
        # less the one that lists them
        return len(list((self._folder / "fd").iterdir())) - 1


def _most_files() -> float:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
