"""``twistd soter`` and ``twist soter``: peers that run as a service."""

from __future__ import annotations

import getopt
import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.logger import LogLevel
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from txsoter.clock import use_monotonic_time
from txsoter.core.log_text import MessageLog
from txsoter.crawl.crawl_metrics import VisitCounts
from txsoter.crawl.crawl_outputs import CrawlOutputs, DnsSettings, dns_place
from txsoter.crawl.crawl_service import CrawlService
from txsoter.crawl.places import Places
from txsoter.crawl.rules import CrawlRules
from txsoter.errors import FieldError, TxsoterError
from txsoter.networks import REGTEST, SIMNET, network_named
from txsoter.peer.config import PeerConfig
from txsoter.service import options as made
from txsoter.service.book import book_json, book_table, read_book
from txsoter.service.node import NodeService, NodeSettings
from txsoter.service.options import OFF, BadOption
from txsoter.service.peers import having_nothing
from txsoter.service.process import LOG_RATE, ProcessService
from txsoter.service.scores import LOOPBACK
from txsoter.service.settings import SettingsError, arguments, read_settings
from txsoter.wire import PROTOCOL_VERSION

__all__ = ["Options", "makeService"]

_DEFAULTS = PeerConfig(close_timeout=3.0)  # a service that is told to stop has five seconds

OUTBOUND = 8
"""How many peers are found by default, where there are any to be found and none was named."""

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

_COUNTS = (
    ("max-connections", _DEFAULTS.max_connections, f"Remotes that may dial us at a time; or {OFF}."),
    ("max-connections-per-address", _DEFAULTS.max_connections_per_address, f"Of them from one address; or {OFF}."),
    ("max-messages-per-second", None, "Messages a second past which a remote is read no faster."),
    ("max-bytes-per-second", None, "Bytes a second past which a remote is read no faster."),
)
_BUDGET = made.size("memory-budget", off=True)

_CRAWL = CrawlRules()
_SECONDS = partial(made.seconds, off=False)

_LOG_RATE = made.number("log-rate", 1, off=True)

_COMMAND_LINE_ONLY = ("config", "help", "version", "verbose", "book", "book-json")

_LISTS = ("listen", "connect", "comment", "peer", "advertise", "whitelist", "status-host", "mmdb")
"""Options that may be given several times."""


class Options(BaseOptions):
    """The options of ``twistd soter``.

    :ivar config: what they make of a PeerConfig, after parsing.
    :ivar listens: name and endpoint of each ``--listen``.
    :ivar connects: name and endpoint of each ``--connect``.
    :ivar node: what they make of NodeSettings.
    :ivar crawl: the rules of ``--crawl``, or None without.
    :ivar dns: the seeder of ``--dns``, or None without.
    :ivar places: the files of ``--mmdb``, or None without.
    """

    synopsis = "[options]"
    longdesc = (
        "Runs peers of the soter network. Each --connect is kept: dialled again, with back-off, when it is gone; "
        "others are found by --outbound. Endpoints are Twisted's: tcp:, tls:, unix:, tor: and others. All options may "
        "stand in a TOML file (--config), too. docs/operate.md tells more."
    )

    optParameters: ClassVar = [
        ["network", None, "mainnet", "mainnet, testnet1, regtest or simnet."],
        ["user-agent", None, f"{_DEFAULTS.user_agent_name}:{_DEFAULTS.user_agent_version}", "Our NAME:VERSION."],
        [
            "services",
            None,
            _DEFAULTS.services,
            "What we advertise: a number, or names such as network,witness.",
            made.services,
        ],
        ["protocol-version", None, PROTOCOL_VERSION, "The highest that we speak.", made.protocol_version],
        ["proxy", None, None, "HOST:PORT of the proxy behind --connect, which remotes must not learn.", made.proxy],
        *(
            [option, None, int(getattr(_DEFAULTS, field)), f"Seconds {words}; or {OFF}.", made.seconds(option)]
            for option, (field, words) in _INTERVALS.items()
        ),
        *(
            [option, None, default, words, made.number(option, 0 if option.startswith("max-conn") else 1, off=True)]
            for option, default, words in _COUNTS
        ),
        [
            "memory-budget",
            None,
            _DEFAULTS.memory_budget,
            f"Bytes that all connections may hold together; or {OFF}.",
            _BUDGET,
        ],
        [
            "outbound",
            None,
            None,
            "Peers to find: 8; 0 with --connect or --crawl, on simnet and regtest.",
            made.number("outbound"),
        ],
        ["outbound-endpoint", None, "tcp:{host}:{port}:timeout=10", "How they are dialled, such as tor:{host}:{port}."],
        [
            "state",
            None,
            None,
            "Folder of the address book and of --crawl; without it the book is forgotten with the process.",
        ],
        ["ban-hours", None, 4.0, "Hours for which who has misbehaved is refused.", made.hours],
        ["status", None, None, "Endpoint of the status page, such as tcp:8556; on loopback unless it says else."],
        ["metrics", None, None, "Endpoint of the metrics for Prometheus, such as tcp:9556; as --status."],
        ["capture", None, None, "Folder in which all conversations are recorded; see python -m txsoter.capture."],
        ["capture-total", None, 1 << 30, "Bytes that they may take there; the oldest go.", made.size("capture-total")],
        [
            "capture-connection",
            None,
            64 << 20,
            "Bytes of one connection; its oldest go.",
            made.size("capture-connection"),
        ],
        ["revisit", None, _CRAWL.revisit, "Seconds until a node that answers is visited again.", _SECONDS("revisit")],
        ["stay", None, _CRAWL.stay, "Seconds that a visit lasts at least.", _SECONDS("stay")],
        ["max-dials", None, _CRAWL.max_dials, "Visits at a time.", made.number("max-dials", 1)],
        [
            "dials-per-second",
            None,
            int(_CRAWL.dials_per_second),
            "Visits begun in a second.",
            made.number("dials-per-second", 1),
        ],
        [
            "dials-per-network",
            None,
            _CRAWL.dials_per_network,
            "Visits at a time in one /24 of IPv4 or /48 of IPv6.",
            made.number("dials-per-network", 1),
        ],
        ["max-nodes", None, _CRAWL.max_nodes, "Addresses that a crawl knows at a time.", made.number("max-nodes", 1)],
        ["dns", None, None, "IP:PORT of the DNS seeder, such as 0.0.0.0:53; a port alone means loopback."],
        ["dns-zone", None, None, "Name whose addresses it answers, such as seed.example.org."],
        ["dns-nameserver", None, None, "Host name of this server; by default the zone's."],
        ["log-rate", None, int(LOG_RATE), f"Log lines of one kind a second; or {OFF}.", _LOG_RATE],
        ["config", None, None, "TOML file with options, named as here; what is given here wins."],
    ]
    optFlags: ClassVar = [
        ["no-relay", None, "Ask remotes not to announce transactions."],
        ["strict", None, "Close on unknown commands, as soterd does."],
        ["no-seeds", None, "Do not ask the network's seeds when too few peers are known."],
        ["allow-unroutable", None, "Let loopback and private addresses into the address book."],
        ["crawl", None, "Map the network: visit all nodes again and again, and keep the map in --state."],
        ["ipv6", None, "Visit IPv6 addresses, too, of which a soterd may die: it cannot tell of IPv6 peers."],
        ["json-logs", None, "Log each event as a JSON object."],
        ["book", None, "Show the address book in --state as a table, and end."],
        ["book-json", None, "Show it as JSON, and end."],
    ]

    config: PeerConfig
    node: NodeSettings
    crawl: CrawlRules | None
    dns: DnsSettings | None
    places: Places | None

    def __init__(self) -> None:
        BaseOptions.__init__(self)
        for name in _LISTS:
            self[name] = []
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

    def opt_peer(self, place: str) -> None:
        """HOST:PORT of a peer that belongs into the address book. May be given several times."""
        self["peer"].append(place)

    def opt_advertise(self, place: str) -> None:
        """IP:PORT at which others can reach us, told to peers that we dial. May be given several times."""
        self["advertise"].append(place)

    def opt_whitelist(self, network: str) -> None:
        """Address or network that is never refused, whatever it does. May be given several times."""
        self["whitelist"].append(network)

    def opt_status_host(self, name: str) -> None:
        """Another name under which the status page may be asked for. May be given several times."""
        self["status-host"].append(name)

    def opt_mmdb(self, file: str) -> None:
        """File in MaxMind's format with countries or AS numbers, for the map. May be given several times."""
        self["mmdb"].append(file)

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
        given = list(sys.argv[1:] if options is None else options)
        self._places: dict[str, str] = {}
        try:
            try:
                BaseOptions.parseOptions(self, [*self._from_file(given), *given])
            except SettingsError as error:
                raise BadOption(f"--config {error}") from None
            except BadOption as error:
                raise BadOption(f"{error}{self._place_of(error)}") from None
        except UsageError as error:
            if self.parent is None:
                raise
            # those of the parser itself say what is wrong, but not what is right
            hint = "" if isinstance(error, BadOption) else "; --help lists the options"
            line = " ".join(str(error).split())
            raise SystemExit(f"soter: {line if len(line) <= 400 else line[:397] + '...'}{hint}") from None

    def _from_file(self, given: Sequence[str]) -> list[str]:
        """What the settings file adds to the options that were given; these win, lists as a whole."""
        try:
            found, _ = getopt.getopt(list(given), self.shortOpt, self.longOpt)
        except getopt.GetoptError:
            # what that is, the parser itself will say
            return []
        short = {"-l": "listen", "-c": "connect", "-v": "verbose"}
        named = {short.get(option, option.lstrip("-")): value for option, value in found}
        if "config" not in named:
            return []
        long = [each for each in self.longOpt if each.rstrip("=") not in _COMMAND_LINE_ONLY]
        flags = [each for each in long if not each.endswith("=")]
        values = [each[:-1] for each in long if each.endswith("=")]
        settings = read_settings(named["config"])
        added = [each for each in arguments(settings, flags, values, _LISTS) if each[0] not in named]
        self._places = {name: settings.place(name) for name, _ in added}
        return [f"--{name}={value}" if name in values else f"--{name}" for name, value in added]

    def _place_of(self, error: UsageError) -> str:
        """Where in the settings file the option stands that an error begins with, if that is where it comes from."""
        option = str(error).partition(" ")[0].rstrip(":").removeprefix("--")
        return f" ({self._places[option]})" if option in self._places else ""

    def parseArgs(self, *args: str) -> None:
        """There are none."""
        if args:
            raise BadOption(f"{args[0]}: must be an option; an endpoint stands behind --listen or --connect")

    def postOptions(self) -> None:
        """Check what can be checked before anything runs."""
        if self["book"] or self["book-json"]:
            self._show_book()
        self.config = self._make_config()
        self.node = self._make_node()
        self.crawl = self._make_crawl() if self["crawl"] else None
        self.dns = self._make_dns()
        self.places = self._make_places()
        if not (self["listen"] or self["connect"] or self.node.outbound or self.crawl):
            needed = "--listen ENDPOINT, --connect ENDPOINT, --outbound N or --crawl"
            raise BadOption(f"{needed} is needed, at least one of them")
        self.listens = [
            (text, made.endpoint("listen", serverFromString, text, "tcp:18555:interface=127.0.0.1"))
            for text in self["listen"]
        ]
        self.connects = [
            (text, made.endpoint("connect", clientFromString, text, "tcp:192.0.2.7:18555")) for text in self["connect"]
        ]
        twice = next((text for text in self["connect"] if self["connect"].count(text) > 1), None)
        if twice is not None:
            raise BadOption(f"--connect {twice}: must be given once; there are never two connections to one remote")
        if self["verbose"] and self.parent is not None and "logLevel" in self.parent:
            # twist logs from info on, and messages are logged at debug
            self.parent["logLevel"] = LogLevel.debug

    def _show_book(self) -> None:
        if self["state"] is None:
            raise BadOption("--book: needs --state FOLDER, where the address book is")
        show = book_json if self["book-json"] else book_table
        try:
            print(show(read_book(Path(self["state"])), time.time()))
        except TxsoterError as error:
            raise BadOption(f"--state {error}") from None
        raise SystemExit(0)

    def _make_node(self) -> NodeSettings:
        network = self.config.network
        alone = bool(self["connect"] or self["crawl"]) or network.magic in (SIMNET.magic, REGTEST.magic)
        outbound = self["outbound"] if self["outbound"] is not None else 0 if alone else OUTBOUND
        if outbound and network.magic == SIMNET.magic:
            raise BadOption(f"--outbound {outbound}: must be 0 on simnet, where nothing is ever learned")
        if self["capture-total"] < self["capture-connection"]:
            raise BadOption("--capture-total: must be no less than --capture-connection")
        for page, module, extra in (("metrics", "prometheus_client", "metrics"),):
            if self[page] is not None and find_spec(module) is None:
                raise BadOption(f"--{page} {self[page]}: needs pip install 'txsoter[{extra}]'")
        return NodeSettings(
            state=None if self["state"] is None else Path(self["state"]).absolute(),
            outbound=outbound,
            outbound_endpoint=made.template(self["outbound-endpoint"]),
            named=tuple(made.peer_place(text, network.default_port) for text in self["peer"]),
            seeds=not self["no-seeds"],
            advertise=tuple(made.own_place(text, network.default_port) for text in self["advertise"]),
            allow_unroutable=bool(self["allow-unroutable"]),
            whitelist=(*LOOPBACK, *map(made.whitelisted, self["whitelist"])),
            refusal=self["ban-hours"] * 3600,
            metrics=None if self["metrics"] is None else made.served("metrics", self["metrics"]),
            status=None if self["status"] is None else made.served("status", self["status"]),
            status_hosts=tuple(self["status-host"]),
            capture=None if self["capture"] is None else Path(self["capture"]).absolute(),
            capture_total=self["capture-total"],
            capture_connection=self["capture-connection"],
        )

    def _make_crawl(self) -> CrawlRules:
        if self["state"] is None:
            raise BadOption("--crawl: needs --state FOLDER, where the map is kept")
        if not self["peer"] and (self["no-seeds"] or not self.config.network.seeds):
            raise BadOption("--crawl: needs --peer HOST:PORT to begin with, where no seeds are asked")
        return CrawlRules(
            revisit=self["revisit"],
            stay=self["stay"],
            max_dials=self["max-dials"],
            dials_per_second=float(self["dials-per-second"]),
            dials_per_network=self["dials-per-network"],
            max_nodes=self["max-nodes"],
            allow_unroutable=bool(self["allow-unroutable"]),
            dial_ipv6=bool(self["ipv6"]),
        )

    def _make_dns(self) -> DnsSettings | None:
        if self["dns"] is None:
            return None
        if not self["crawl"] or self["dns-zone"] is None:
            raise BadOption("--dns: needs --crawl, and --dns-zone NAME")
        try:
            settings = DnsSettings(*dns_place(self["dns"]), self["dns-zone"], self["dns-nameserver"])
            settings.make_zone()
        except FieldError as error:
            option = "--dns" if error.field == "dns" else f"--dns-{error.field}"
            raise BadOption(f"{option} {error.value}: must be {error.limit}") from None
        return settings

    def _make_places(self) -> Places | None:
        if self["crawl"] and self["status"] is not None and find_spec("rustworkx") is None:
            raise BadOption(f"--status {self['status']}: with --crawl it needs pip install 'txsoter[crawl]'")
        if not self["mmdb"]:
            return None
        try:
            return Places(map(Path, self["mmdb"]))
        except TxsoterError as error:
            raise BadOption(f"--mmdb {error}") from None

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
                max_connections=self["max-connections"],
                max_connections_per_address=self["max-connections-per-address"],
                max_messages_per_second=self["max-messages-per-second"],
                max_bytes_per_second=self["max-bytes-per-second"],
                memory_budget=self["memory-budget"],
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


def makeService(options: Options) -> ProcessService:
    """The service that the options ask for; from now on the reactor measures on a clock that nobody can set."""
    # not before: twistd and twist let their user choose which one is installed; nothing is scheduled on it yet
    from twisted.internet import reactor

    use_monotonic_time(reactor)
    visits = VisitCounts()
    crawl = make_crawl(options, visits)
    outputs = None if crawl is None else make_outputs(options, crawl, visits)
    collectors = () if outputs is None or options.node.metrics is None else (outputs.metrics(),)
    pages = None if outputs is None else outputs.pages()
    node = NodeService(options.config, options.node, pages=pages, collectors=collectors)
    for name, endpoint in options.listens:
        node.listen(endpoint, name)
    for name, endpoint in options.connects:
        node.dial(endpoint, name)
    # twist's parent is another class, and keeps its own log
    twistd = options.parent if options.parent is not None and "nodaemon" in options.parent else {}
    summary = node.summary if crawl is None else lambda: [*node.summary(), *crawl.summary()]
    process = ProcessService(twistd, summary, bool(options["json-logs"]), options["log-rate"])
    # any, for Twisted has no types here
    parent: Any = process
    parent.addService(node)
    for service in (crawl, outputs):
        if service is not None:
            parent.addService(service)
    return process


def make_outputs(options: Options, crawl: CrawlService, visits: VisitCounts) -> CrawlOutputs:
    """What the crawl's map is shown and served by."""
    locate = None if options.places is None else options.places.locate
    return CrawlOutputs(crawl, visits, locate=locate, dns=options.dns, state=options.node.state)


def make_crawl(options: Options, visits: VisitCounts) -> CrawlService | None:
    """The crawl that the options ask for, or None."""
    if options.crawl is None:
        return None
    settings = options.node
    return CrawlService(
        # two lines for each visit would be all that the log has
        options.config.replace(log_connections=False),
        options.crawl,
        state=settings.state,
        named=settings.named,
        seeds=settings.seeds,
        endpoint_for=settings.outbound_endpoint,
        # beside a proxy, asking for names would tell who asks
        resolves=options.config.proxy is None and options["outbound-endpoint"].startswith("tcp:"),
        visited=visits.add,
    )
