"""Programs that tests start, read and end, on the real reactor."""

from __future__ import annotations

import codecs
import fcntl
import os
import signal
import struct
import sys
import termios
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

import txsoter

__all__ = ["EXAMPLES", "ROOT", "TWIST", "TWISTD", "Program"]

ROOT = Path(txsoter.__file__).parents[1]
EXAMPLES = Path(__file__).parents[2] / "examples"

TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")
TWIST = ("-m", "twisted")


class Program(ProcessProtocol):
    """A Python program with this process's txsoter. ``async with`` ends it.

    :param arguments: of the interpreter.
    :param environment: on top of this process's.
    :param folder: where it runs.
    :param tty: whether it has a terminal; then ``out`` has what it writes to stderr, too.
    :ivar out: what it has written to stdout.
    :ivar err: what it has written to stderr.
    :ivar code: its exit status; minus the number of the signal that ended it; None while it runs.
    """

    def __init__(
        self,
        *arguments: str,
        folder: str | Path = ROOT,
        environment: dict[str, str] | None = None,
        tty: bool = False,
    ) -> None:
        from twisted.internet import reactor

        self.out = self.err = ""
        self.code: int | None = None
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._waiting: list[tuple[str, Deferred[str]]] = []
        self._ended: list[Deferred[int]] = []
        path = os.pathsep.join(filter(None, [(environment or {}).get("PYTHONPATH"), str(ROOT)]))
        env = {**os.environ, **(environment or {}), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        run: Any = reactor
        self.transport: Any = run.spawnProcess(
            self, sys.executable, [sys.executable, *arguments], env=env, path=str(folder), usePTY=tty
        )
        if tty:
            # 24 lines of 100 columns
            fcntl.ioctl(self.transport.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))

    async def __aenter__(self) -> Program:
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self.code is None:
            self.signal(signal.SIGKILL)
            await self.ended()

    def outReceived(self, data: bytes) -> None:
        self.out += self._decode(data)
        for text, waiting in list(self._waiting):
            if text in self.out:
                self._waiting.remove((text, waiting))
                waiting.callback(self.out)

    def errReceived(self, data: bytes) -> None:
        self.err += data.decode("utf-8", "replace")

    def processEnded(self, reason: Failure) -> None:
        error = reason.value
        assert isinstance(error, (ProcessDone, ProcessTerminated))
        self.code = -error.signal if error.signal else error.exitCode
        for ended in self._ended:
            ended.callback(self.code)
        for text, waiting in self._waiting:
            waiting.errback(AssertionError(f"it ended with {self.code} before {text!r}: {self.out}{self.err}"))

    def says(self, text: str) -> Deferred[str]:
        """Wait until it has written ``text`` to stdout; fails when it ends without."""
        waiting: Deferred[str] = Deferred()
        self._waiting.append((text, waiting))
        self.outReceived(b"")
        if self.code is not None and not waiting.called:
            self._waiting.clear()
            waiting.errback(AssertionError(f"it ended with {self.code} before {text!r}: {self.out}{self.err}"))
        return waiting

    def ended(self) -> Deferred[int]:
        """Wait for its end; fires with ``code``."""
        ended: Deferred[int] = Deferred()
        if self.code is None:
            self._ended.append(ended)
        else:
            ended.callback(self.code)
        return ended

    def signal(self, number: int) -> None:
        """Send it a signal, by its own pid."""
        os.kill(self.transport.pid, number)
