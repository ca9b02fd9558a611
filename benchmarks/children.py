"""Child processes that take commands on standard input and answer in JSON, and that always end."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

__all__ = ["ROOT", "Child"]

ROOT = Path(__file__).resolve().parents[1]


class Child:
    """``python -m benchmarks`` with some arguments; a context manager that ends the process by its id.

    :param arguments: of the command line.
    :param program: another program and its arguments, instead; it runs where we do.
    :param environment: of the process; None for ours.
    """

    def __init__(
        self, *arguments: str, program: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self._what = " ".join(arguments or program)
        self._process = subprocess.Popen(
            program or [sys.executable, "-m", "benchmarks", *arguments],
            cwd=None if program else ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._unread = b""

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.close()
            process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()

    @property
    def code(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def ask(self, *words: object, timeout: float = 180) -> dict[str, Any]:
        """Give a command, and wait for its answer."""
        self.tell(*words)
        return self.answer(timeout)

    def tell(self, *words: object) -> None:
        """Give a command; its answer is read by :meth:`answer`, also that it has ended."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
            self._process.stdin.flush()

    def answer(self, timeout: float = 180) -> dict[str, Any]:
        """The next line that it says.

        :raises RuntimeError: when it has ended, says that it failed, or takes too long.
        """
        assert self._process.stdout is not None
        descriptor, deadline = self._process.stdout.fileno(), monotonic() + timeout
        while b"\n" not in self._unread:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - monotonic()))
            if not ready:
                raise RuntimeError(f"{self._what}: no answer in {timeout} s")
            more = os.read(descriptor, 65536)
            if not more:
                raise RuntimeError(f"{self._what}: ended with status {self._process.wait()}")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        if not isinstance(found, dict):
            raise RuntimeError(f"{self._what}: answered {found}, not a JSON object")
        if "error" in found:
            raise RuntimeError(f"{self._what}: {found['error']}")
        return found
