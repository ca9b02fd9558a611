"""``twistd soter``: its options, the service they make, and what bad ones get."""

from __future__ import annotations

import io
import shutil
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IReactorCore
from twisted.logger import LogLevel
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from txsoter import MAINNET, REGTEST, SIMNET, TESTNET1, MessageLog, PeerConfig, tap
from txsoter.crawl.crawl_outputs import DnsSettings
from txsoter.crawl.crawl_service import CrawlService
from txsoter.crawl.rules import CrawlRules
from txsoter.service import ListeningService, options
from txsoter.service.book.store import Store
from txsoter.service.node import NodeService
from txsoter.tap import Options, makeService

LISTEN = ("--listen", "tcp:18555:interface=127.0.0.1")
INTERVALS = (
    "ping-interval",
    "trickle-interval",
    "idle-timeout",
    "negotiate-timeout",
    "stall-interval",
    "stall-timeout",
    "write-timeout",
    "close-timeout",
)


class ParentOptions(usage.Options):
    """Stands for twistd's and twist's."""

    subCommands: ClassVar = [["soter", None, Options, "A peer."]]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["logLevel"] = LogLevel.info


def parsed(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(arguments)
    return options


class OptionsTests(SynchronousTestCase):
    """What options mean."""

    def test_defaults(self) -> None:
        """Without options a peer is as by default, but answers that it has nothing and closes within seconds."""
        config, default = parsed(*LISTEN).config, PeerConfig()
        self.assertEqual(config.close_timeout, 3)
        assert config.listeners.on_getblocks is not None
        same = config.replace(
            log_connections=False,
            close_timeout=default.close_timeout,
            listeners=default.listeners,
            random=default.random,
        )
        self.assertEqual(same, default)

    def test_networks(self) -> None:
        """All four by their names."""
        for network in (MAINNET, TESTNET1, REGTEST, SIMNET):
            self.assertIs(parsed("--network", network.name, *LISTEN).config.network, network)

    def test_user_agent(self) -> None:
        """Name, version and comments."""
        config = parsed(*LISTEN, "--user-agent", "watcher:1.2.3", "--comment", "one", "--comment", "two").config
        self.assertEqual(config.user_agent, b"/soterwire:0.6.0/watcher:1.2.3(one; two)/")

    def test_crawl(self) -> None:
        """Beside the peers or alone, with options as those of the command; nobody is dialled for the address book."""
        options = parsed(
            "--crawl", "--state", ".", "--network", "testnet1", "--revisit", "900", "--max-dials", "50", "--ipv6"
        )
        assert options.crawl is not None
        self.assertEqual((options.crawl.revisit, options.crawl.max_dials, options.crawl.dial_ipv6), (900.0, 50, True))
        self.assertEqual((options.crawl.once, options.node.outbound), (False, 0))
        self.assertEqual(options.crawl.dials_per_second, CrawlRules().dials_per_second)
        self.assertIsNone(parsed(*LISTEN).crawl)
        parent: Any = makeService(options)
        (crawl,) = (each for each in parent.services if isinstance(each, CrawlService))
        self.assertFalse(crawl.config.log_connections)  # of each visit
        self.assertEqual(len(crawl.summary()), 1)

    def test_services(self) -> None:
        """A number, or names."""
        for text, bits in (("9", 9), ("0x4d", 77), ("network,witness", 9), ("Network, CF", 65), ("0", 0)):
            self.assertEqual(parsed(*LISTEN, "--services", text).config.services, bits)

    def test_intervals(self) -> None:
        """Seconds, or off."""
        for option in INTERVALS:
            field = option.replace("-", "_")
            self.assertEqual(getattr(parsed(*LISTEN, f"--{option}", "7.5").config, field), 7.5)
            self.assertIsNone(getattr(parsed(*LISTEN, f"--{option}", "off").config, field))

    def test_others(self) -> None:
        """Proxy, protocol version, relay and strictness."""
        config = parsed(
            *LISTEN, "--proxy", "[::1]:9050", "--protocol-version", "70012", "--no-relay", "--strict"
        ).config
        self.assertEqual((config.proxy, config.protocol_version), ("[::1]:9050", 70012))
        self.assertTrue(config.disable_relay_tx)
        self.assertTrue(config.strict)

    def test_what_shows_a_crawl(self) -> None:
        options = parsed(*_CRAWL, "--dns", "0.0.0.0:53", "--dns-zone", "seed.example.org")
        self.assertEqual(options.dns, DnsSettings("0.0.0.0", 53, "seed.example.org"))
        self.assertIsNone(options.places)
        options = parsed("--connect", "tcp:h:1")
        self.assertEqual((options.dns, options.places, options.crawl), (None, None, None))

    def test_verbose(self) -> None:
        """Once: a line a message; twice or more: dumps."""
        for flags, level in (((), 0), (("--verbose",), 1), (("-v", "-v"), 2), (("-vvv",), 2)):
            self.assertIs(parsed(*LISTEN, *flags).config.log_messages, MessageLog(level))

    def test_endpoints(self) -> None:
        """Any number of either, with the names that they were given by."""
        options = parsed(
            "--connect", "tcp:a:1", "-l", "tcp:2", "-c", "tcp:b:3", "--listen", "tcp:4:interface=127.0.0.1"
        )
        self.assertEqual([name for name, _ in options.connects], ["tcp:a:1", "tcp:b:3"])
        self.assertEqual([name for name, _ in options.listens], ["tcp:2", "tcp:4:interface=127.0.0.1"])
        self.assertEqual({type(each) for _, each in options.connects}, {TCP4ClientEndpoint})
        self.assertEqual({type(each) for _, each in options.listens}, {TCP4ServerEndpoint})

    def test_service(self) -> None:
        """The service has one part for each endpoint, and does nothing before it is started."""
        told: list[Any] = []
        # not the reactor of this process, which other tests use
        self.patch(tap, "use_monotonic_time", told.append)
        service = makeService(parsed(*LISTEN, "--connect", "tcp:192.0.2.7:1", "--connect", "tcp:192.0.2.7:2"))
        [node] = service
        assert isinstance(node, NodeService)
        parts = list(node.peers)
        self.assertEqual(len(parts), 3)
        self.assertEqual(sum(isinstance(each, ListeningService) for each in parts), 1)
        self.assertEqual(node.peers.peers, frozenset())
        self.assertFalse(service.running)
        self.assertEqual([IReactorCore.providedBy(each) for each in told], [True])


class NodeTests(SynchronousTestCase):
    """What stands beside the peers."""

    def test_defaults(self) -> None:
        """Eight are found on the networks that have others to be found; nothing is served, kept or recorded."""
        node = parsed(*LISTEN).node
        self.assertEqual(
            (node.outbound, node.state, node.status, node.metrics, node.capture), (8, None, None, None, None)
        )
        self.assertEqual(node.refusal, 4 * 3600)
        for more in (("--network", "simnet"), ("--network", "regtest"), ("--connect", "tcp:192.0.2.7:1")):
            self.assertEqual(parsed(*LISTEN, *more).node.outbound, 0)

    def test_values(self) -> None:
        options = parsed(
            *("--network", "testnet1", "--peer", "node.example", "--peer", "[2001:db8::1]:7", "--no-seeds"),
            *("--outbound", "3", "--state", "state", "--whitelist", "10.1.2.3/8", "--ban-hours", "0.5"),
            *("--status", "tcp:8556", "--status-host", "soter.example", "--metrics", "9556", "--capture", "capture"),
            *("--capture-total", "2G", "--capture-connection", "1mib", "--advertise", "203.0.113.7"),
            *("--max-connections", "off", "--max-messages-per-second", "50", "--memory-budget", "64M"),
        )
        node, config = options.node, options.config
        self.assertEqual(node.named, (("node.example", 5070), ("2001:db8::1", 7)))
        self.assertEqual((node.outbound, node.seeds, node.refusal), (3, False, 1800))
        self.assertEqual((node.state, node.capture), (Path("state").absolute(), Path("capture").absolute()))
        self.assertEqual(node.whitelist, ("127.0.0.0/8", "::1/128", "10.0.0.0/8"))
        self.assertEqual((node.status, node.status_hosts, node.metrics), ("tcp:8556", ("soter.example",), "9556"))
        self.assertEqual((node.capture_total, node.capture_connection), (2 << 30, 1 << 20))
        self.assertEqual(node.advertise, (("203.0.113.7", 5070),))
        self.assertEqual((config.max_connections, config.max_messages_per_second), (None, 50))
        self.assertEqual(config.memory_budget, 64 << 20)

    def written(self, text: str) -> str:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        path = folder / "soter.toml"
        path.write_text(text)
        return str(path)

    def test_settings_file(self) -> None:
        """What is given on the command line wins, lists as a whole."""
        path = self.written(
            'network = "simnet"\nlisten = ["tcp:1", "tcp:2"]\nconnect = ["tcp:h:1"]\nping-interval = 7\nstrict = true\n'
        )
        options = parsed("--config", path, "--listen", "tcp:3")
        self.assertEqual([name for name, _ in options.listens], ["tcp:3"])
        self.assertEqual([name for name, _ in options.connects], ["tcp:h:1"])
        config = options.config
        self.assertEqual((config.network, config.ping_interval, config.strict), (SIMNET, 7, True))
        self.assertEqual(parsed("--config", path, "--ping-interval", "9").config.ping_interval, 9)

    def test_bad_settings(self) -> None:
        """A bad key or value: one line that names it, what is allowed, and where it stands."""
        for text, words in (
            ("pigeon = 1", "--config PATH, line 1: pigeon: is no setting; there are "),
            ('netwrok = "simnet"', "--config PATH, line 1: netwrok: is no setting; did you mean network?"),
            ('config = "other.toml"', "--config PATH, line 1: config: is no setting"),
            ("strict = 1", "--config PATH, line 1: strict: must be true or false"),
            ('# ours\n[soter]\nnetwork = "simnet"', "--config PATH, line 2: soter: is a table, and there are none"),
            (
                "strict = true\nping_interval = -1",
                "--ping-interval -1: must be a number of seconds above 0, or off (PATH, line 2)",
            ),
            (
                'network = "simmet"',
                "--network simmet: must be one of mainnet, testnet1, regtest, simnet (PATH, line 1)",
            ),
        ):
            path = self.written(text)
            error = self.assertRaises(usage.UsageError, parsed, *LISTEN, "--config", path)
            self.assertTrue(str(error).startswith(words.replace("PATH", path)), error)

    def test_what_is_wrong_on_the_command_line_is_not_put_down_to_the_settings(self) -> None:
        path = self.written("ping-interval = 5")
        error = self.assertRaises(usage.UsageError, parsed, *LISTEN, "--config", path, "--ping-interval", "-1")
        self.assertEqual(str(error), "--ping-interval -1: must be a number of seconds above 0, or off")

    def test_the_example_is_one_that_works(self) -> None:
        path = Path(__file__).parent.parent.parent / "examples" / "operate" / "soter.toml"
        if path.is_file():
            options = parsed("--config", str(path))
            self.assertEqual((options.config.network, options.node.outbound), (TESTNET1, 8))

    def test_book(self) -> None:
        """--book and --book-json show the address book of a folder, and end."""
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        Store(folder, TESTNET1, lambda: 1e9).close()
        for flag, words in (("--book", "testnet1: 0 addresses, 0 tried"), ("--book-json", '"network": "testnet1"')):
            printed = io.StringIO()
            with redirect_stdout(printed):
                ended = self.assertRaises(SystemExit, parsed, "--state", str(folder), flag)
            self.assertEqual(ended.code, 0)
            self.assertIn(words, printed.getvalue())


SUCH_LISTEN = "must be an endpoint such as tcp:18555:interface=127.0.0.1"
SUCH_CONNECT = "must be an endpoint such as tcp:192.0.2.7:18555"

_CRAWL = ("--crawl", "--state", "state", "--peer", "192.0.2.1")

BAD: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("--network", "simnet"),
        "--listen ENDPOINT, --connect ENDPOINT, --outbound N or --crawl is needed, at least one of them",
    ),
    (("--connect", "tcp:h:1", "--dns", "5353"), "--dns: needs --crawl, and --dns-zone NAME"),
    (
        (*_CRAWL, "--dns", "host:5353", "--dns-zone", "a.org"),
        "--dns host:5353: must be IP:PORT such as 0.0.0.0:53, or a port, which means loopback",
    ),
    ((*_CRAWL, "--dns", "5353", "--dns-zone", "a..org"), "--dns-zone a..org: must be a host name in ASCII of at most"),
    (
        (*_CRAWL, "--dns", "5353", "--dns-zone", "a.org", "--dns-nameserver", "-"),
        "--dns-nameserver -: must be a host name in ASCII of at most",
    ),
    ((*_CRAWL, "--mmdb", "/nowhere/a.mmdb"), "--mmdb /nowhere/a.mmdb: No such file or directory"),
    (("--crawl",), "--crawl: needs --state FOLDER, where the map is kept"),
    (("--crawl", "--state", "."), "--crawl: needs --peer HOST:PORT to begin with, where no seeds are asked"),
    (("--crawl", "--state", ".", "--stay", "off"), "--stay off: must be a number of seconds above 0"),
    (("--network", "moonnet"), "--network moonnet: must be one of mainnet, testnet1, regtest, simnet"),
    (("--listen", "pigeon:1"), f"--listen pigeon:1: {SUCH_LISTEN}: Unknown endpoint type: 'pigeon'"),
    (("--listen", "tcp:port"), f"--listen tcp:port: {SUCH_LISTEN}: invalid literal for int() with base 10: 'port'"),
    (("--listen", "tcp:65536"), f"--listen tcp:65536: {SUCH_LISTEN}: ports are from 0 to 65535"),
    (("--listen", "tcp:-1"), f"--listen tcp:-1: {SUCH_LISTEN}: ports are from 0 to 65535"),
    (("--connect", "tcp:127.0.0.1:0"), f"--connect tcp:127.0.0.1:0: {SUCH_CONNECT}: ports are from 1 to 65535"),
    (("--proxy", "h:99999", "--connect", "tcp:h:1"), "--proxy h:99999: must be HOST:PORT, such as 127.0.0.1:9050"),
    (("--connect", "tcp:host"), f"--connect tcp:host: {SUCH_CONNECT}"),
    (
        ("--connect", "tcp:host=h:port=99999"),
        f"--connect tcp:host=h:port=99999: {SUCH_CONNECT}: ports are from 1 to 65535",
    ),
    (("--user-agent", "watcher"), "--user-agent watcher: must be NAME:VERSION, such as watcher:1.0.0"),
    (("--user-agent", "watcher:1.0"), "--user-agent watcher:1.0: '1.0' must be a semantic version, such as 1.0.0"),
    (
        ("--user-agent", "a/b:1.0.0"),
        "--user-agent a/b:1.0.0: 'a/b' must be printable, not empty, and without any of / : ( )",
    ),
    (("--comment", "a;b"), "--comment a;b: must be printable, not empty, and without any of / ; ( )"),
    (("--services", "pigeons"), "--services pigeons: must be a number below 2**64, or some of network,"),
    (("--services=-1",), "--services -1: must be a number below 2**64, or some of network,"),
    (("--services", str(1 << 64)), f"--services {1 << 64}: must be a number below 2**64, or some of network,"),
    (("--protocol-version", "208"), "--protocol-version 208: must be a number from 209 to 70013"),
    (("--protocol-version", "x"), "--protocol-version x: must be a number from 209 to 70013"),
    (("--proxy", "proxy.example"), "--proxy proxy.example: must be HOST:PORT, such as 127.0.0.1:9050"),
    *(
        ((f"--{option}={value}",), f"--{option} {value}: must be a number of seconds above 0, or off")
        for option in INTERVALS
        for value in ("-1", "0", "soon", "nan", "inf")
    ),
    (("--network", "simnet", "--outbound", "3"), "--outbound 3: must be 0 on simnet, where nothing is ever learned"),
    (("--outbound", "many"), "--outbound many: must be a whole number from 0"),
    (
        ("--outbound-endpoint", "tcp:host:1"),
        "--outbound-endpoint tcp:host:1: must be an endpoint with {host} and {port}",
    ),
    (("--peer", "a:b"), "--peer a:b: must be HOST:PORT such as 192.0.2.7:5070, or HOST"),
    (("--peer", "[::1]:0"), "--peer [::1]:0: must be HOST:PORT such as 192.0.2.7:5070, or HOST"),
    (("--advertise", "name:5070"), "--advertise name:5070: must be IP:PORT such as 203.0.113.7:5070, or an IP"),
    (("--whitelist", "10.0.0"), "--whitelist 10.0.0: must be an address or a network such as 10.0.0.0/8"),
    (("--max-connections", "-1"), "--max-connections -1: must be a whole number from 0, or off"),
    (("--max-bytes-per-second", "0"), "--max-bytes-per-second 0: must be a whole number from 1, or off"),
    (("--memory-budget", "much"), "--memory-budget much: must be a number of bytes such as 512M, or off"),
    (("--capture-total", "1M"), "--capture-total: must be no less than --capture-connection"),
    (("--ban-hours", "0"), "--ban-hours 0: must be a number of hours above 0"),
    (
        ("--status", "pigeon:1"),
        "--status pigeon:1: must be an endpoint such as tcp:8556: Unknown endpoint type: 'pigeon'",
    ),
    (("--metrics", "tcp:70000"), "--metrics tcp:70000"),
    (("--book",), "--book: needs --state FOLDER, where the address book is"),
    (("--book", "--state", "/nowhere"), "--state /nowhere: has no book.sqlite3"),
    (("--config", "/nowhere.toml"), "--config /nowhere.toml: No such file or directory"),
    (("--connect", "tcp:h:1", "--connect", "tcp:h:1"), "--connect tcp:h:1: must be given once"),
    (("tcp:18555",), "tcp:18555: must be an option; an endpoint stands behind --listen or --connect"),
    (("--pigeon",), "option --pigeon not recognized"),
    (("--listen",), "option --listen requires argument"),
)
"""Bad options, and how the one line begins that they get."""


class BadOptionsTests(SynchronousTestCase):
    """Bad options are told of at once, in one line that names them and what is allowed."""

    def test_errors(self) -> None:
        """Each is a UsageError of one line."""
        for arguments, line in BAD:
            # good ones are there, too, but for what is about those
            more = () if arguments[0] == "--listen" or arguments == ("--network", "simnet") else LISTEN
            error = self.assertRaises(usage.UsageError, parsed, *more, *arguments)
            self.assertTrue(str(error).startswith(line), str(error))
            self.assertNotIn("\n", str(error))

    def test_comments_too_long(self) -> None:
        """A user agent that soterd would not take, with how much shorter it must be."""
        error = self.assertRaises(usage.UsageError, parsed, *LISTEN, "--comment", "x" * 300)
        self.assertIn("bytes shorter", str(error))

    def test_no_txtorcon(self) -> None:
        """A tor: endpoint without txtorcon says what to install."""
        self.patch(options, "find_spec", lambda name: None)
        for arguments in (("--connect", "tor:soternode.onion:18555"), ("--listen", "onion:18555")):
            error = self.assertRaises(usage.UsageError, parsed, *arguments)
            self.assertEqual(str(error), f"{' '.join(arguments)}: needs txtorcon: pip install 'txsoter[tor]'")

    def test_below_twistd(self) -> None:
        """Below twistd and twist the line ends the process, and no help is printed before it."""
        for arguments, line in BAD:
            more = () if arguments[0] == "--listen" or arguments == ("--network", "simnet") else LISTEN
            printed = io.StringIO()
            with redirect_stdout(printed):
                ended = self.assertRaises(SystemExit, ParentOptions().parseOptions, ["soter", *more, *arguments])
            self.assertTrue(str(ended.code).startswith(f"soter: {line}"), ended.code)
            self.assertEqual(printed.getvalue(), "")

    def test_hint(self) -> None:
        """What the parser itself does not take comes with a hint."""
        ended = self.assertRaises(SystemExit, ParentOptions().parseOptions, ["soter", "--pigeon"])
        self.assertEqual(ended.code, "soter: option --pigeon not recognized; --help lists the options")

    def test_twist_logs_messages(self) -> None:
        """--verbose lets twist log at debug, where messages are; without it twist's own level stands."""
        for flags, level in (((), LogLevel.info), (("-v",), LogLevel.debug)):
            parent = ParentOptions()
            usage.Options.parseOptions(parent, ["soter", *LISTEN, *flags])
            self.assertIs(parent["logLevel"], level)
