"""A service that is its process: how it begins, ends, and answers signals below twistd and twist."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import IServiceCollection, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, Logger, jsonFileLogObserver, textFileLogObserver

from txsoter.errors import TxsoterError
from txsoter.service.log_output import LogFile, RateLimit

__all__ = ["LOG_RATE", "ProcessService"]

LOG_RATE = 50.0
"""Lines of one kind that are logged a second by default."""

STOP_WITHIN = 4.5
"""Seconds after which the process ends although something has not ended: a service manager kills it at five."""


class ProcessService(MultiService):
    """Holds the services of a process. SIGTERM ends it with status 0, a port that is taken with 1.

    Below twistd it writes the log, unless that was told ``--logger`` or ``--syslog``: in files of bounded number and
    size, which SIGHUP reopens, and with a bounded number of lines a second.

    :param twistd: twistd's own options, empty below twist.
    :param summary: gives the lines that SIGUSR1 logs.
    :param json_logs: whether each line of the log is to be a JSON object.
    :param log_rate: lines a second of each kind that are logged; None for all.
    :ivar log_file: what the log is written to, or None.
    """

    log = Logger()

    def __init__(
        self,
        twistd: Mapping[str, Any],
        summary: Callable[[], list[str]] = list,
        json_logs: bool = False,
        log_rate: float | None = LOG_RATE,
    ) -> None:
        MultiService.__init__(self)
        self._twistd = twistd
        self._summary = summary
        self._json_logs = json_logs
        self._log_rate = log_rate
        self.log_file: LogFile | None = None

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Below twistd ``parent`` is the application, whose log observer this chooses."""
        MultiService.setServiceParent(self, parent)
        set_component = getattr(parent, "setComponent", None)
        is_told_otherwise = self._twistd.get("logger") or self._twistd.get("syslog")
        if self._twistd and set_component is not None and not is_told_otherwise:
            file = self._log_output()
            if file is not None:
                observer: ILogObserver = (
                    jsonFileLogObserver(file, recordSeparator="") if self._json_logs else textFileLogObserver(file)
                )
                if self._log_rate is not None:
                    observer = RateLimit(observer, self._log_rate)
                set_component(ILogObserver, observer)

    def _log_output(self) -> Any:
        """Open what the log goes to; None where twistd refuses that."""
        name, is_daemon = self._twistd.get("logfile"), not self._twistd.get("nodaemon")
        if name == "-" and is_daemon:
            return None
        if name == "-" or not (name or is_daemon):
            return sys.stdout
        self.log_file = LogFile(name or "twistd.log")
        return self.log_file

    def privilegedStartService(self) -> None:
        """Open the ports, while twistd still has the right to."""
        self._start(super().privilegedStartService)

    def startService(self) -> None:
        """Begin."""
        from twisted.internet import reactor

        run: Any = reactor
        # first of all: these kill a process that does not handle them
        signal.signal(signal.SIGUSR1, lambda *_: run.callFromThread(self._tell_summary))
        signal.signal(signal.SIGHUP, lambda *_: run.callFromThread(self._reopen_log))
        self._start(super().startService)
        run.callWhenRunning(self._handle_sigterm, run)

    def stopService(self) -> Deferred[Any]:
        """End everything; after 4.5 seconds what has not ended is left to the process's end."""
        from twisted.internet import reactor

        clock: Any = reactor

        ended: Deferred[Any] = Deferred()

        def late() -> None:
            self.log.warn("not everything has ended within {seconds} s", seconds=STOP_WITHIN)
            ended.callback(None)

        def in_time(result: Any) -> None:
            if timeout.active():
                timeout.cancel()
                ended.callback(result)

        # not addTimeout(), which would cancel what other parts still have to do
        timeout = clock.callLater(STOP_WITHIN, late)
        MultiService.stopService(self).addBoth(in_time)
        return ended

    def _handle_sigterm(self, reactor: Any) -> None:
        # not before the reactor runs, which handles it, too: twistd and twist let it end the reactor, and then kill
        # themselves by it once more
        def stop(*_: object) -> None:
            reactor.callFromThread(lambda: reactor.running and reactor.stop())

        signal.signal(signal.SIGTERM, stop)

    def _reopen_log(self) -> None:
        if self.log_file is None:
            self.log.info("SIGHUP: the log is in no file of this process's own, and nothing was reopened")
            return
        try:
            self.log_file.reopen()
        except OSError as error:
            self.log.error("SIGHUP: the log cannot be reopened: {error}", error=error)
        else:
            self.log.info("SIGHUP: the log was reopened: {path}", path=self.log_file.baseFilename)

    def _tell_summary(self) -> None:
        for line in self._summary():
            self.log.info("{line}", line=line)
        if self.log_file is not None and self.log_file.lost:
            self.log.warn("lines that could not be written to the log: {count}", count=self.log_file.lost)

    def _start(self, start: Callable[[], object]) -> None:
        try:
            start()
        except (CannotListenError, OSError, TxsoterError) as error:
            self.log.critical("soter: {error}", error=error)
            self._tell_twistd(str(error))
            raise SystemExit(1) from None

    def _tell_twistd(self, error: str) -> None:
        """Do what twistd does for other exceptions, whose tracebacks it shows."""
        status_pipe, pid_file = self._twistd.get("statusPipe"), self._twistd.get("pidfile")
        if pid_file:
            Path(pid_file).unlink(missing_ok=True)
        if status_pipe is not None:
            os.write(status_pipe, f"1 {error}".encode("ascii", "backslashreplace")[:100])
