"""``twistd soter`` and ``twist soter``: peers that run as a service."""

from __future__ import annotations

import math
import os
import re
import signal
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import CannotListenError
from twisted.logger import LogLevel
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from txsoter.errors import FieldError
from txsoter.networks import network_named
from txsoter.peer.config import PeerConfig
from txsoter.peer.logs import MessageLog
from txsoter.service import PeerService, having_nothing
from txsoter.wire import PROTOCOL_VERSION, Services

__all__ = ["Options", "makeService"]

OFF = "off"


_DEFAULTS = PeerConfig(close_timeout=3.0)  # a service that is told to stop has five seconds

_INTERVALS: dict[str, tuple[str, str]] = {
    "ping-interval": ("ping_interval", "between our pings"),
    "trickle-interval": ("trickle_interval", "for which inventory is collected before it is announced"),
    "idle-timeout": ("idle_timeout", "without a message after which a remote is closed"),
    "negotiate-timeout": ("negotiate_timeout", "for a handshake"),
    "stall-interval": ("stall_interval", "between looks at what a remote owes us"),
    "stall-timeout": ("stall_timeout", "for a remote's answer"),
    "write-timeout": ("write_timeout", "for which a remote may take no data"),
    "close-timeout": ("close_timeout", "for the last data to be taken when we close"),
}


class BadOption(UsageError):
    """An option that cannot be: names it, what was given, and what is allowed."""


def _seconds(option: str) -> Callable[[str], float | None]:
    def coerce(text: str) -> float | None:
        if text == OFF:
            return None
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < math.inf:
            raise BadOption(f"--{option} {text}: must be a number of seconds above 0, or {OFF}")
        return seconds

    return coerce


def _services(text: str) -> int:
    names = {service.name.lower(): int(service) for service in Services if service.name is not None}
    try:
        bits = int(text, 0)
    except ValueError:
        try:
            bits = sum({names[name.strip().lower()] for name in text.split(",")})
        except KeyError:
            bits = -1
    if not 0 <= bits < 1 << 64:
        raise BadOption(f"--services {text}: must be a number below 2**64, or some of {','.join(names)}")
    return bits


def _protocol_version(text: str) -> int:
    if not (text.isdecimal() and 209 <= int(text) <= PROTOCOL_VERSION):
        raise BadOption(f"--protocol-version {text}: must be a number from 209 to {PROTOCOL_VERSION}")
    return int(text)


def _proxy(text: str) -> str:
    try:
        PeerConfig(proxy=text)
    except FieldError as error:
        raise BadOption(f"--proxy {text}: must be {error.limit}") from None
    return text


class Options(BaseOptions):
    """The options of ``twistd soter``.

    :ivar config: what they make of a PeerConfig, after parsing.
    :ivar listens: name and endpoint of each ``--listen``.
    :ivar connects: name and endpoint of each ``--connect``.
    """

    synopsis = "[options]"
    longdesc = (
        "Runs peers of the soter network. Each --connect is kept: dialled again, with back-off, when it is gone. "
        "At least one --listen or --connect is needed. Endpoints are Twisted's: tcp:, tls:, unix:, tor: and others."
    )

    optParameters: ClassVar = [
        ["network", None, "mainnet", "mainnet, testnet1, regtest or simnet."],
        ["user-agent", None, f"{_DEFAULTS.user_agent_name}:{_DEFAULTS.user_agent_version}", "Our NAME:VERSION."],
        [
            "services",
            None,
            _DEFAULTS.services,
            "What we advertise: a number, or names such as network,witness.",
            _services,
        ],
        ["protocol-version", None, PROTOCOL_VERSION, "The highest that we speak.", _protocol_version],
        ["proxy", None, None, "HOST:PORT of the proxy behind --connect, which remotes must not learn.", _proxy],
        *(
            [option, None, int(getattr(_DEFAULTS, field)), f"Seconds {words}; or {OFF}.", _seconds(option)]
            for option, (field, words) in _INTERVALS.items()
        ),
    ]
    optFlags: ClassVar = [
        ["no-relay", None, "Ask remotes not to announce transactions."],
        ["strict", None, "Close on unknown commands, as soterd does."],
    ]

    config: PeerConfig

    def __init__(self) -> None:
        BaseOptions.__init__(self)
        self["listen"] = []
        self["connect"] = []
        self["comment"] = []
        self["verbose"] = 0
        self.listens: list[tuple[str, Any]] = []
        self.connects: list[tuple[str, Any]] = []

    def opt_listen(self, endpoint: str) -> None:
        """Listen on this endpoint, such as tcp:18555:interface=127.0.0.1. May be given several times."""
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def opt_connect(self, endpoint: str) -> None:
        """Keep a connection to this endpoint, such as tcp:192.0.2.7:18555. May be given several times."""
        self["connect"].append(endpoint)

    opt_c = opt_connect

    def opt_comment(self, comment: str) -> None:
        """A comment for the user agent. May be given several times."""
        self["comment"].append(comment)

    def opt_verbose(self) -> None:
        """Log each message in a line; given twice, with its content and bytes."""
        self["verbose"] += 1

    opt_v = opt_verbose

    def parseOptions(self, options: Iterable[str] | None = None) -> None:
        """Parse them.

        :raises UsageError: for what cannot be. Below twistd or twist that ends the process instead, with one line
            and status 1: twistd would print all its help before the line, and twist has a status of its own.
        """
        try:
            BaseOptions.parseOptions(self, options)
        except UsageError as error:
            if self.parent is None:
                raise
            # those of the parser itself say what is wrong, but not what is right
            hint = "" if isinstance(error, BadOption) else "; --help lists the options"
            line = " ".join(str(error).split())
            raise SystemExit(f"soter: {line if len(line) <= 400 else line[:397] + '...'}{hint}") from None

    def parseArgs(self, *args: str) -> None:
        """There are none."""
        if args:
            raise BadOption(f"{args[0]}: must be an option; an endpoint stands behind --listen or --connect")

    def postOptions(self) -> None:
        """Check what can be checked before anything runs."""
        if not (self["listen"] or self["connect"]):
            raise BadOption("--listen ENDPOINT or --connect ENDPOINT is needed, at least one of them")
        self.config = self._make_config()
        self.listens = [
            (text, _endpoint("listen", serverFromString, text, "tcp:18555:interface=127.0.0.1"))
            for text in self["listen"]
        ]
        self.connects = [
            (text, _endpoint("connect", clientFromString, text, "tcp:192.0.2.7:18555")) for text in self["connect"]
        ]
        if self["verbose"] and self.parent is not None and "logLevel" in self.parent:
            # twist logs from info on, and messages are logged at debug
            self.parent["logLevel"] = LogLevel.debug

    def _make_config(self) -> PeerConfig:
        name, colon, version = self["user-agent"].partition(":")
        if not colon:
            raise BadOption(f"--user-agent {self['user-agent']}: must be NAME:VERSION, such as watcher:1.0.0")
        try:
            network = network_named(self["network"])
        except FieldError as error:
            raise BadOption(f"--network {error.value}: must be {error.limit}") from None
        try:
            return PeerConfig(
                network=network,
                user_agent_name=name,
                user_agent_version=version,
                user_agent_comments=self["comment"],
                services=self["services"],
                protocol_version=self["protocol-version"],
                disable_relay_tx=bool(self["no-relay"]),
                proxy=self["proxy"],
                strict=bool(self["strict"]),
                listeners=having_nothing(),
                log_connections=True,
                log_messages=MessageLog(min(self["verbose"], MessageLog.DUMP)),
                **{field: self[option] for option, (field, _) in _INTERVALS.items()},
            )
        except FieldError as error:
            if error.field == "PeerConfig.user_agent_comments":
                # either one of them, or all when they are too long together
                given = "; ".join(error.value) if isinstance(error.value, tuple) else error.value
                what = f"--comment {given}:"
            else:
                what = f"--user-agent {self['user-agent']}: {error.value!r}"
            raise BadOption(f"{what} must be {error.limit}") from None


def _endpoint(option: str, parse: Callable[[Any, str], Any], text: str, example: str) -> Any:
    # not before: twistd and twist let their user choose which reactor is installed
    from twisted.internet import reactor

    what = f"--{option} {text}: must be an endpoint such as {example}"
    if text.startswith(("tor:", "onion:")) and find_spec("txtorcon") is None:
        raise BadOption(f"--{option} {text}: needs txtorcon: pip install 'txsoter[tor]'")
    lowest = 1 if option == "connect" else 0
    if any(not lowest <= int(port) <= 65535 for port in re.findall(r":(?:port=)?(-?[0-9]+)(?=:|$)", text)):
        raise BadOption(f"{what}: ports are from {lowest} to 65535")
    if text.startswith(("tls:", "ssl:")) and find_spec("OpenSSL") is None:
        raise BadOption(f"--{option} {text}: needs pip install 'twisted[tls]'")
    try:
        return parse(reactor, text)
    except TypeError:
        # says which of Twisted's functions lacks which argument
        raise BadOption(what) from None
    except Exception as error:
        raise BadOption(f"{what}: {error}") from None


class ProcessService(PeerService):
    """A PeerService that is its process: SIGTERM ends both with status 0, and a port that is taken with 1.

    :param twistd: twistd's own options, empty below twist.
    """

    def __init__(self, config: PeerConfig, twistd: Mapping[str, Any]) -> None:
        super().__init__(config)
        self._twistd = twistd

    def privilegedStartService(self) -> None:
        """Open the ports, while twistd still has the right to."""
        self._start(super().privilegedStartService)

    def startService(self) -> None:
        """Dial."""
        self._start(super().startService)
        from twisted.internet import reactor

        run: Any = reactor
        run.callWhenRunning(self._end_by_sigterm, run)

    def _end_by_sigterm(self, reactor: Any) -> None:
        """Let SIGTERM stop the reactor, and no more: twistd and twist then kill themselves by it once more."""

        def stop(*_: object) -> None:
            reactor.callFromThread(lambda: reactor.running and reactor.stop())

        signal.signal(signal.SIGTERM, stop)

    def _start(self, start: Callable[[], object]) -> None:
        try:
            start()
        except (CannotListenError, OSError) as error:
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


def makeService(options: Options) -> PeerService:
    """The service that the options ask for."""
    service = ProcessService(options.config, options.parent or {})
    for name, endpoint in options.listens:
        service.listen(endpoint, name)
    for name, endpoint in options.connects:
        service.dial(endpoint, name)
    return service
