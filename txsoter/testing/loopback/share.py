"""A process that holds the share of a loopback network: ``python -m txsoter.testing.loopback.share``.

It reads lines from standard input: its options as JSON, then ``dial``; after each it answers by a line of JSON, with
the key ``error`` if that failed. It ends with its standard input, so that none is left when the process that started
it is killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Awaitable
from typing import Any

from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from txsoter.errors import TxsoterError
from txsoter.testing.loopback.network import LoopbackNetwork
from txsoter.testing.loopback.plan import LoopbackOptions, make_plan
from txsoter.testing.loopback.process_limits import own_process

__all__ = ["MAX_LINE", "main"]

MAX_LINE = 16 << 20
"""Bytes of a line: options may hold all edges."""


class _Commands(LineOnlyReceiver):
    """Standard input and output.

    :ivar ended: fires at the end of the input.
    """

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._network: LoopbackNetwork | None = None
        self.ended: Deferred[None] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        Deferred.fromCoroutine(self._answer(line)).addErrback(self._failed)

    async def _answer(self, line: bytes) -> None:
        try:
            await self._do(line)
            answer: dict[str, Any] = {"done": True}
        except TxsoterError as error:
            answer = {"error": str(error)}
        self.sendLine(json.dumps(answer).encode())  # type: ignore[no-untyped-call]

    def _do(self, line: bytes) -> Awaitable[None]:
        if self._network is not None:
            return self._network.dial()
        given = json.loads(line)
        self._network = LoopbackNetwork(
            self._reactor, make_plan(LoopbackOptions.from_json(given["options"])), tuple(given["share"])
        )
        return self._network.listen()

    def _failed(self, failure: Failure) -> None:
        if not self.ended.called:
            self.ended.errback(failure)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.ended.called:
            self.ended.callback(None)


def main() -> None:
    """Run until standard input ends. Exit status 1 for a line that is no command."""
    from twisted.internet import reactor

    # Ctrl-C goes to all processes of a terminal; the one that started this one sees to it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    own_process()
    running: Any = reactor
    commands = _Commands(running)
    stdio.StandardIO(commands)
    commands.ended.addCallbacks(lambda _: _exit(0), _fail)
    running.run()


def _fail(failure: Failure) -> None:
    failure.printTraceback(sys.stderr)
    _exit(1)


def _exit(status: int) -> None:
    """End the process at once: the kernel closes thousands of connections in no time, which an interpreter cannot."""
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
