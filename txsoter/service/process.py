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
from twisted.logger import ILogObserver, Logger, jsonFileLogObserver
from twisted.python.logfile import LogFile

from txsoter.errors import TxsoterError

__all__ = ["ProcessService"]

STOP_WITHIN = 4.5
"""Seconds after which the process ends although something has not ended: a service manager kills it at five."""


class ProcessService(MultiService):
    """Holds the services of a process. SIGTERM ends it with status 0, a port that is taken with 1.

    :param twistd: twistd's own options, empty below twist.
    :param summary: gives the lines that SIGUSR1 logs.
    :param json_logs: whether each line of the log is to be a JSON object.
    """

    log = Logger()

    def __init__(
        self,
        twistd: Mapping[str, Any],
        summary: Callable[[], list[str]] = list,
        json_logs: bool = False,
    ) -> None:
        MultiService.__init__(self)
        self._twistd = twistd
        self._summary = summary
        self._json_logs = json_logs

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Below twistd ``parent`` is the application, whose log observer this may choose."""
        MultiService.setServiceParent(self, parent)
        set_component = getattr(parent, "setComponent", None)
        if self._json_logs and set_component is not None:
            self._json_file = self._log_file()
            set_component(ILogObserver, jsonFileLogObserver(self._json_file, recordSeparator=""))

    def _log_file(self) -> Any:
        name = self._twistd.get("logfile")
        if name and name != "-":
            return LogFile.fromFullPath(name)
        if self._twistd.get("nodaemon") or not self._twistd:
            return sys.stdout
        return LogFile.fromFullPath("twistd.log")

    def privilegedStartService(self) -> None:
        """Open the ports, while twistd still has the right to."""
        self._start(super().privilegedStartService)

    def startService(self) -> None:
        """Begin."""
        self._start(super().startService)
        from twisted.internet import reactor

        run: Any = reactor
        run.callWhenRunning(self._answer_signals, run)

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

    def _answer_signals(self, reactor: Any) -> None:
        # twistd and twist let the reactor end by SIGTERM, and then kill themselves by it once more
        def stop(*_: object) -> None:
            reactor.callFromThread(lambda: reactor.running and reactor.stop())

        def tell(*_: object) -> None:
            reactor.callFromThread(self._tell_summary)

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGUSR1, tell)

    def _tell_summary(self) -> None:
        for line in self._summary():
            self.log.info("{line}", line=line)

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
