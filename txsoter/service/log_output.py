"""The log of a process that runs for months: bounded files, and a bounded rate of lines."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from logging import LogRecord, makeLogRecord
from logging.handlers import RotatingFileHandler

import attrs
from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

__all__ = ["LOG_FILES", "LOG_FILE_BYTES", "LogFile", "RateLimit"]

LOG_FILE_BYTES = 10_000_000
"""Size at which a log file is set aside and a new one is begun."""

LOG_FILES = 10
"""Log files at most, the one that is written to among them."""

BURST_SECONDS = 10.0
"""A burst of lines may have as many as come in so many seconds at the allowed rate."""

TELL_SECONDS = 10.0
"""Seconds after which lines that were left out are told of."""

MAX_KINDS = 1000
"""Kinds of lines that are remembered; beyond that all begin anew."""


class LogFile(RotatingFileHandler):
    """A log file that is set aside as ``.1``, ``.2`` and so on, the oldest of which go.

    What cannot be written, such as for want of a descriptor, is counted, and the file is opened again for the next
    line. (Twisted's own file is closed for good then.)

    :ivar lost: pieces of text that were not written.
    """

    terminator = ""

    def __init__(self, path: str, max_bytes: int = LOG_FILE_BYTES, files: int = LOG_FILES) -> None:
        path = os.path.abspath(path)
        super().__init__(path, "a", max_bytes, files - 1, encoding="utf-8", errors="backslashreplace")
        self.lost = 0

    def write(self, text: str) -> None:
        """Write ``text``; in any thread."""
        self.handle(makeLogRecord({"msg": text}))

    def reopen(self) -> None:
        """Open the file by its name again: it may have been moved.

        :raises OSError: when it cannot be opened now. It is tried again with each line.
        """
        self.acquire()
        try:
            stream, self.stream = self.stream, None
            if stream is not None:
                stream.close()
            self.stream = self._open()
        finally:
            self.release()

    def doRollover(self) -> None:
        """Set the file aside, unless the process may not: after it has given up root, for instance."""
        if os.access(os.path.dirname(self.baseFilename), os.W_OK):
            super().doRollover()

    def handleError(self, record: LogRecord) -> None:
        """Count it. There is nowhere to tell of it."""
        self.lost += 1


@attrs.define
class _Kind:
    tokens: float
    counted_at: float
    left_out: int = 0


@implementer(ILogObserver)
class RateLimit:
    """Passes on a number of events a second of each kind, and tells how many of which it has left out.

    A kind is what one line of code logs. Remotes cause lines of some kinds, so that no flood of these hides the others.

    :param observer: what they are passed on to.
    :param rate: events of a kind a second.
    :param now: gives monotonic seconds.
    """

    def __init__(self, observer: ILogObserver, rate: float, now: Callable[[], float] = time.monotonic) -> None:
        self._observer = observer
        self._rate = rate
        self._burst = rate * BURST_SECONDS
        self._now = now
        self._kinds: dict[tuple[object, object], _Kind] = {}
        self._tell_at: float | None = None

    def __call__(self, event: LogEvent) -> None:
        """Pass on an event, or count it."""
        now = self._now()
        if self._tell_at is not None and now >= self._tell_at:
            self._tell()
        key = event.get("log_namespace"), event.get("log_format")
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= MAX_KINDS:
                self._tell()
                self._kinds.clear()
            kind = self._kinds[key] = _Kind(self._burst, now)
        kind.tokens = min(self._burst, kind.tokens + (now - kind.counted_at) * self._rate)
        kind.counted_at = now
        if kind.tokens >= 1:
            kind.tokens -= 1
            self._observer(event)
        else:
            kind.left_out += 1
            if self._tell_at is None:
                self._tell_at = now + TELL_SECONDS

    def _tell(self) -> None:
        self._tell_at = None
        for (namespace, text), kind in list(self._kinds.items()):
            if kind.left_out:
                count, kind.left_out = kind.left_out, 0
                self._observer(
                    {
                        "log_namespace": __name__,
                        "log_level": LogLevel.warn,
                        "log_time": time.time(),
                        "log_format": "{count} lines of {namespace} were left out: {text!r}, over {rate:g} a second",
                        "count": count,
                        "namespace": namespace,
                        "text": text,
                        "rate": self._rate,
                    }
                )
