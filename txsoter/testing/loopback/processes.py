"""A network whose nodes are in several processes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NoReturn

import attrs
from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from txsoter.testing.loopback.network import LoopbackError
from txsoter.testing.loopback.plan import Plan

__all__ = ["LoopbackProcesses"]

STOP_TIMEOUT = 20.0
"""Seconds for a process to close its connections and end, before it is killed."""

ENDED = "a process of the network has ended"

PROGRAM = "txsoter.testing.loopback.share"


class LoopbackProcesses:
    """A :class:`LoopbackNetwork` that other processes hold, each a share of its nodes.

    They end with this process, however it ends.

    :param plan: all addresses and connections.
    :param count: number of processes.
    """

    def __init__(self, reactor: Any, plan: Plan, count: int) -> None:
        self.plan = plan
        self._reactor = reactor
        self._count = count
        self._shares: list[_Share] = []
        self._lost: list[Deferred[NoReturn]] = []

    @property
    def entry(self) -> str:
        """The address of an honest node, ``HOST:PORT``, from which all others can be found."""
        return str(self.plan.places[0])

    def truth(self) -> dict[str, Any]:
        """Return the description of the network for JSON; see :meth:`Plan.truth`."""
        return self.plan.truth()

    async def start(self) -> None:
        """Start the processes, and connect all nodes.

        :raises LoopbackError: when that fails; all processes are ended then.
        """
        options = attrs.asdict(self.plan.options)
        try:
            for _ in range(self._count):
                self._shares.append(_Share(self._reactor, self._share_ended))
            await self._all(
                json.dumps({"options": options, "share": [index, self._count]}) for index in range(self._count)
            )
            await self._all(["dial"] * self._count)
        except BaseException:
            await self.stop()
            raise

    async def _all(self, lines: Iterable[str]) -> None:
        """Give each process a line, and wait until all have done what it says."""
        asked = [share.ask(line) for share, line in zip(self._shares, lines, strict=True)]
        for answer in await gatherResults(asked):
            if "error" in answer:
                raise LoopbackError(answer["error"])

    def _share_ended(self) -> None:
        lost, self._lost = self._lost, []
        for each in lost:
            each.errback(LoopbackError(ENDED))

    def when_lost(self) -> Deferred[NoReturn]:
        """Return a Deferred that fails with :exc:`LoopbackError` when a process ends, or has ended, by itself."""
        if any(share.has_ended for share in self._shares):
            return fail(LoopbackError(ENDED))
        lost: Deferred[NoReturn] = Deferred()
        self._lost.append(lost)
        return lost

    async def stop(self) -> None:
        """End all processes, by closing their standard input; kill those that do not end in time."""
        self._lost.clear()
        shares, self._shares = self._shares, []
        await gatherResults([share.stop() for share in shares])


class _Share(ProcessProtocol):
    """A process of the network, which is started at once.

    :param on_end: called when it has ended.
    """

    transport: Any

    def __init__(self, reactor: Any, on_end: Callable[[], object]) -> None:
        self._reactor = reactor
        self._on_end = on_end
        self._unread = b""
        self._asked: Deferred[dict[str, Any]] | None = None
        self._ended: Deferred[None] = Deferred()
        command = [sys.executable, "-m", PROGRAM]
        reactor.spawnProcess(self, command[0], command, env=dict(os.environ), childFDs={0: "w", 1: "r", 2: 2})

    @property
    def has_ended(self) -> bool:
        """True when the process has ended."""
        return self._ended.called

    def ask(self, line: str) -> Deferred[dict[str, Any]]:
        """Give it a line; fires with its answer, or with an ``error`` when it ends instead."""
        asked = self._asked = Deferred()
        if self.has_ended:
            self._answer({"error": ENDED})
        else:
            self.transport.write(line.encode() + b"\n")
        return asked

    def _answer(self, answer: dict[str, Any]) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.callback(answer)

    def outReceived(self, data: bytes) -> None:
        self._unread += data
        line, end, rest = self._unread.partition(b"\n")
        if end:
            self._unread = rest
            self._answer(json.loads(line))

    def processEnded(self, reason: Failure) -> None:
        self._answer({"error": ENDED})
        self._ended.callback(None)
        self._on_end()

    def stop(self) -> Deferred[None]:
        """Close its standard input; fires when it has ended."""
        if not self.has_ended:
            self.transport.closeStdin()
            late = self._reactor.callLater(STOP_TIMEOUT, self._kill)
            self._ended.addCallback(lambda _: late.active() and late.cancel())
        return self._ended

    def _kill(self) -> None:
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")
