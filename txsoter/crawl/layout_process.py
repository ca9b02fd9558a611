"""Layouts in a process of its own: ``python -m txsoter.crawl.layout_process`` reads one from stdin, and writes it.

The interpreter's lock is held for seconds while a layout is computed; in a thread that would stop the reactor.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from txsoter.crawl.layout import Point, layout
from txsoter.errors import TxsoterError

__all__ = ["LayoutFailed", "LayoutProcess"]

GRACE = 20.0
"""Seconds beyond those for computing after which the process is killed: for starting, reading and writing."""

MAX_OUTPUT = 32 << 20
"""The most bytes that are read of the process."""


class LayoutFailed(TxsoterError):
    """The process has ended without a layout; says what it wrote last."""


class LayoutProcess:
    """Computes layouts, each in a new process, until it is stopped.

    :param reactor: by default the one that is installed.
    """

    def __init__(self, reactor: Any = None) -> None:
        if reactor is None:
            # not before: the user may choose which one is installed
            from twisted.internet import reactor
        self._reactor = reactor
        self._running: set[_Process] = set()
        self._is_stopped = False

    def layout(
        self, count: int, pairs: Sequence[tuple[int, int]], before: Mapping[int, Point], seconds: float
    ) -> Deferred[list[Point]]:
        """Return the positions; see :func:`.layout`. Fails with :class:`LayoutFailed`."""
        if self._is_stopped:
            return fail(LayoutFailed("stopped"))
        request = json.dumps([count, list(pairs), list(before.items()), seconds]).encode()
        process = _Process(self._reactor, request, seconds + GRACE)
        self._running.add(process)
        process.done.addBoth(self._ended, process)
        # the environment, for what the user's Python needs
        self._reactor.spawnProcess(
            process, sys.executable, [sys.executable, "-m", __name__], env=dict(os.environ), childFDs=_PIPES
        )
        return process.done.addCallback(_positions, count)

    def _ended(self, result: Any, process: _Process) -> Any:
        self._running.discard(process)
        return result

    def stop(self) -> Deferred[None]:
        """Kill what runs, and begin no more: layouts fail. Fires once nothing runs."""
        self._is_stopped = True
        running = list(self._running)
        ended = [process.ended() for process in running]
        for process in running:
            process.kill()
        return gatherResults(ended).addCallback(lambda _: None)


_PIPES = {0: "w", 1: "r", 2: "r"}


def _positions(output: bytes, count: int) -> list[Point]:
    rows = json.loads(output)
    if len(rows) != count:
        raise LayoutFailed(f"{len(rows)} positions for {count} nodes")
    return [(x, y) for x, y in rows]


class _Process(ProcessProtocol):
    def __init__(self, reactor: Any, request: bytes, seconds: float) -> None:
        self.done: Deferred[Any] = Deferred()
        self._ended: list[Deferred[None]] = []
        self._reactor = reactor
        self._request = request
        self._seconds = seconds
        self._output: list[bytes] = []
        self._size = 0
        self._errors = b""
        self._deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(self._request)
        transport.closeStdin()
        self._request = b""
        self._deadline = self._reactor.callLater(self._seconds, self.kill)

    def outReceived(self, data: bytes) -> None:
        self._output.append(data)
        self._size += len(data)
        if self._size > MAX_OUTPUT:
            self.kill()

    def errReceived(self, data: bytes) -> None:
        self._errors = (self._errors + data)[-2000:]

    def ended(self) -> Deferred[None]:
        """Fire once it is gone, however."""
        ended: Deferred[None] = Deferred()
        self._ended.append(ended)
        return ended

    def kill(self) -> None:
        """End it at once."""
        transport: Any = self.transport
        if transport.pid is not None:
            transport.signalProcess("KILL")

    def processEnded(self, reason: Failure) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        status: Any = reason.value
        if status.exitCode == 0:
            self.done.callback(b"".join(self._output))
        else:
            last = self._errors.decode("utf-8", "replace").strip().splitlines()[-1:]
            self.done.errback(LayoutFailed("; ".join([str(status), *last])))
        for each in self._ended:
            each.callback(None)


def main() -> None:
    """Read a request from stdin, write the positions to stdout."""
    if hasattr(os, "nice"):
        # the node comes first
        os.nice(10)
    count, pairs, before, seconds = json.load(sys.stdin)
    positions = layout(count, pairs, {node: (x, y) for node, (x, y) in before}, seconds)
    json.dump([[round(x, 4), round(y, 4)] for x, y in positions], sys.stdout)


if __name__ == "__main__":
    main()
