"""Tests of :mod:`txsoter.service.process`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from twisted import internet
from txsoter import SIMNET, PeerConfig
from txsoter.service import PeerService
from txsoter.service.process import ProcessService


class FakeReactor:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.running = True
        self.stopped = 0

    def callWhenRunning(self, function: Callable[..., object], *arguments: object) -> None:
        function(*arguments)

    def callFromThread(self, function: Callable[[], object]) -> None:
        function()

    def stop(self) -> None:
        self.stopped += 1
        self.running = False


class ProcessTests(SynchronousTestCase):
    """ProcessService: the service that is a process."""

    def fail_to_listen(self, twistd: dict[str, Any], start: str) -> list[str]:
        """Start one whose port is taken, and return what it logs as critical."""
        error = CannotListenError("127.0.0.1", 18555, OSError("taken"))
        service = ProcessService(twistd)
        peers = PeerService(PeerConfig(network=SIMNET))
        peers.setServiceParent(service)

        class Taken:
            def listen(self, factory: object) -> None:
                raise error

        taken: Any = Taken()
        peers.listen(taken, "tcp:18555")
        events: list[LogEvent] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        ended = self.assertRaises(SystemExit, getattr(service, start))
        self.assertEqual(ended.code, 1)
        return [formatEvent(each) for each in events if each["log_level"] is LogLevel.critical]

    def test_taken(self) -> None:
        """A port that is taken: one line in the log, and status 1, from twistd and twist alike."""
        for start in ("privilegedStartService", "startService"):
            lines = self.fail_to_listen({}, start)
            self.assertEqual(lines, ["soter: Couldn't listen on 127.0.0.1:18555: taken."])

    def test_taken_below_twistd(self) -> None:
        """twistd's pid file goes, and the process that waits for the daemon is told why."""
        folder = Path(tempfile.mkdtemp(dir="."))
        self.addCleanup(folder.rmdir)
        pid_file = folder / "twistd.pid"
        pid_file.write_text("1")
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.fail_to_listen({"pidfile": str(pid_file), "statusPipe": writing}, "privilegedStartService")
        os.close(writing)
        self.assertEqual(os.read(reading, 1000), b"1 Couldn't listen on 127.0.0.1:18555: taken.")
        self.assertFalse(pid_file.exists())

    def setUp(self) -> None:
        """Signals are given back afterwards."""
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def start(self, service: ProcessService) -> FakeReactor:
        """Start it."""
        reactor = FakeReactor()
        self.patch(internet, "reactor", reactor)
        service.startService()
        return reactor

    def test_sigterm(self) -> None:
        """SIGTERM stops the reactor, once, and leaves nothing for twistd to kill itself by."""
        reactor = self.start(ProcessService({}))
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(reactor.stopped, 1)

    def test_signals_are_handled_while_it_starts(self) -> None:
        """They are no end even then."""
        handlers: list[Any] = []

        class Part(Service):
            def startService(self) -> None:
                handlers.extend(signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGUSR1))

        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        service = ProcessService({})
        Part().setServiceParent(service)
        self.start(service)
        self.assertNotIn(signal.SIG_DFL, handlers)
        self.assertEqual(len(handlers), 2)

    def test_sigusr1(self) -> None:
        """It logs a summary."""
        lines: list[str] = []
        observer: Any = lambda event: lines.append(formatEvent(event))  # noqa: E731
        self.start(ProcessService({}, lambda: ["peers: 3", "book: {no format}"]))
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        signal.raise_signal(signal.SIGUSR1)
        self.assertEqual(lines, ["peers: 3", "book: {no format}"])

    def test_it_ends_in_time_although_a_part_does_not(self) -> None:
        class Endless(Service):
            def stopService(self) -> Deferred[None]:
                return Deferred()

        clock = Clock()
        self.patch(internet, "reactor", clock)
        service = ProcessService({})
        Endless().setServiceParent(service)
        stopping = service.stopService()
        clock.advance(4)
        self.assertNoResult(stopping)
        clock.advance(0.5)
        self.successResultOf(stopping)
        self.assertEqual(clock.getDelayedCalls(), [])

    def observer(self, twistd: dict[str, Any], **options: Any) -> Any:
        """The log observer that it gives twistd's application, or None."""
        application = MultiService()
        components: dict[Any, Any] = {}
        application.setComponent = components.__setitem__  # type: ignore[attr-defined]
        service = ProcessService(twistd, **options)
        service.setServiceParent(application)
        if service.log_file is not None:
            self.addCleanup(service.log_file.close)
        return components.get(ILogObserver)

    def folder(self) -> Path:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def test_json_logs(self) -> None:
        """Each line of the log is a JSON object; below twistd it goes where twistd's would."""
        file = self.folder() / "soter.log"
        Logger(observer=self.observer({"logfile": str(file)}, json_logs=True)).info("hello {name}", name="world")
        [line] = file.read_text().splitlines()
        event = json.loads(line)
        self.assertEqual((event["log_format"], event["name"]), ("hello {name}", "world"))
        self.assertEqual(event["log_level"]["name"], "info")

    def test_the_log_of_a_flood_is_small(self) -> None:
        """Whatever strangers do: a second has so many lines of a kind; it is told how many were left out."""
        file = self.folder() / "soter.log"
        log = Logger(observer=self.observer({"logfile": str(file)}))
        for number in range(100_000):
            log.debug("Received ping ({nonce}) from 192.0.2.7:50000 (inbound)", nonce=number)
        log.info("ours")
        lines = file.read_text().splitlines()
        self.assertLess(len(lines), 2000)
        self.assertTrue(lines[-1].endswith("ours"))

    def test_all_of_the_log(self) -> None:
        file = self.folder() / "soter.log"
        log = Logger(observer=self.observer({"logfile": str(file)}, log_rate=None))
        for number in range(3000):
            log.info("{number}", number=number)
        self.assertEqual(len(file.read_text().splitlines()), 3000)

    def test_an_operators_own_logger_and_syslog_stay(self) -> None:
        for twistd in ({"logger": "module.observer"}, {"syslog": True}, {"logfile": "-"}):
            self.assertIsNone(self.observer({"nodaemon": False, **twistd}))

    def test_standard_output(self) -> None:
        """Without a file; no file is made."""
        for twistd in ({"nodaemon": True}, {"nodaemon": True, "logfile": "-"}):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                Logger(observer=self.observer(twistd)).info("hello")
            self.assertTrue(out.getvalue().endswith("hello\n"))

    def test_sighup(self) -> None:
        """It opens the log by its name again, and says so there; a process without a file says that, and lives."""
        file = self.folder() / "soter.log"
        service = ProcessService({"logfile": str(file)})
        application = MultiService()
        components: dict[Any, Any] = {}
        application.setComponent = components.__setitem__  # type: ignore[attr-defined]
        service.setServiceParent(application)
        assert service.log_file is not None
        self.addCleanup(service.log_file.close)
        self.start(service)
        observer = components[ILogObserver]
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        file.rename(file.with_suffix(".old"))
        signal.raise_signal(signal.SIGHUP)
        self.assertTrue(file.read_text().endswith(f"SIGHUP: the log was reopened: {file}\n"))
        self.start(ProcessService({}))
        signal.raise_signal(signal.SIGHUP)
        self.assertIn("SIGHUP: the log is in no file of this process's own", file.read_text())

    def test_sighup_while_the_log_cannot_be_opened(self) -> None:
        folder = self.folder() / "logs"
        folder.mkdir()
        service = ProcessService({"logfile": str(folder / "soter.log")})
        application: Any = MultiService()
        application.setComponent = lambda *_: None
        service.setServiceParent(application)
        assert service.log_file is not None
        self.addCleanup(service.log_file.close)
        lines: list[str] = []
        observer: Any = lambda event: lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.start(service)
        shutil.rmtree(folder)
        signal.raise_signal(signal.SIGHUP)
        self.assertIn("SIGHUP: the log cannot be reopened: [Errno 2]", lines[-1])
