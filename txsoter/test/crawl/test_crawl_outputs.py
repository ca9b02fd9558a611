"""Tests of :mod:`txsoter.crawl.crawl_outputs`, and of the outputs of ``txsoter crawl``."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from contextlib import redirect_stdout
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from unittest import mock
from xml.etree import ElementTree

import prometheus_client
import pytest
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import Factory

from txsoter import REGTEST, PeerConfig
from txsoter.cli.crawl import crawl
from txsoter.cli.main import make_parser
from txsoter.command_line import CommandError, UsageError
from txsoter.crawl.crawl_metrics import VisitCounts
from txsoter.crawl.crawl_outputs import CrawlOutputs, DnsSettings, QuietLocate, dns_place
from txsoter.crawl.crawl_store import Batch, CrawlStore
from txsoter.crawl.map_shares import Shares
from txsoter.crawl.network_map import NetworkMap, NodeKind
from txsoter.crawl.places import PlaceError
from txsoter.errors import FieldError
from txsoter.test.cli.support import run_main
from txsoter.test.crawl.maps import node, the_map
from txsoter.test.crawl.mmdb import mmdb
from txsoter.test.crawl.test_dns_service import Ports
from txsoter.test.crawl.test_layout import Reactor
from txsoter.test.loopback.visitor import running
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.peer.support import TrialCase
from txsoter.test.service.scraping import Scrape
from txsoter.test.service.web import Here, Visitor

PORT = REGTEST.default_port
ONE = f"203.0.113.1:{PORT}"


class Memory(Ports, Reactor):
    """Ports, processes and threads in memory."""


class Crawl:
    """A crawl that has a map.

    :ivar shown: the map.
    """

    def __init__(self, shown: NetworkMap) -> None:
        self.shown = shown
        self.config = PeerConfig(network=REGTEST)

    def map(self) -> NetworkMap:
        return self.shown

    def counts(self) -> dict[str, int]:
        return {"waiting": 4}


class OutputsTests(TrialCase):
    def setUp(self) -> None:
        self.reactor: Any = Memory()
        self.crawl: Any = Crawl(the_map([node(1, port=PORT), node(2, port=PORT + 1)]))
        self.lines: list[str] = []

    def outputs(self, **how: Any) -> CrawlOutputs:
        outputs: Any = CrawlOutputs(self.crawl, VisitCounts(), reactor=self.reactor, **how)
        outputs.startService()
        self.addCleanup(self.stop, outputs)
        return outputs  # type: ignore[no-any-return]

    def stop(self, outputs: CrawlOutputs) -> None:
        stopped = outputs.stopService()
        if self.reactor.killed:
            self.reactor.end(ProcessTerminated(None, 9))
            self.flushLoggedErrors()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_changes_are_told(self) -> None:
        self.outputs(tell=self.lines.append)
        self.crawl.shown = the_map([node(1, port=PORT, kind=NodeKind.DOWN)])
        self.reactor.advance(5)
        found = [json.loads(line) for line in self.lines]
        self.assertEqual([(each["change"], each["address"]) for each in found], [
            ("added", "203.0.113.1"), ("added", "203.0.113.2"), ("changed", "203.0.113.1"), ("removed", "203.0.113.2"),
        ])  # fmt: skip

    def test_good_nodes_are_seeded(self) -> None:
        outputs = self.outputs(dns=DnsSettings("127.0.0.1", 5353, "seed.example.org"))
        assert outputs.dns is not None
        self.assertEqual([str(each.ip) for each in outputs.dns.zone.addresses], ["203.0.113.1"])
        self.crawl.shown = the_map([])
        self.reactor.advance(5)
        self.assertEqual(outputs.dns.zone.addresses, ())

    def test_metrics(self) -> None:
        registry: Any = prometheus_client.CollectorRegistry()
        registry.register(self.outputs(dns=DnsSettings("127.0.0.1", 5353, "a.org")).metrics())
        seen = Scrape(prometheus_client.generate_latest(registry).decode())
        self.assertEqual(seen.value("txsoter_crawl_waiting"), 4)
        self.assertEqual(seen.value("txsoter_crawl_nodes", kind="reachable"), 2)
        self.assertEqual(seen.value("txsoter_dns_answers_total"), 0)

    def test_the_page_shows_a_past(self) -> None:
        """Of a node, and of the network, from the crawl's store."""
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        store = CrawlStore(folder, REGTEST, lambda: 1e9)
        hours = [(hour * 3600, kind, hour + more) for hour in (5, 6) for kind, more in (("down", 0), ("reachable", 1))]
        said = [("versions:a:b 1", 2), ("versions:soterd 4.2.0", 5), ("services:NETWORK", 7), ("heights:at the tip", 6)]
        store.write(Batch(totals=[*hours, *((6 * 3600, name, count) for name, count in said)]))
        here = Here()
        outputs = self.outputs(endpoint=here, state=folder)
        samples = [(each.when, each.reachable, each.known, each.shares) for each in outputs.map.feed.growth.samples]
        kept = Shares({"soterd 4.2.0": 5, "a:b 1": 2}, {"NETWORK": 7}, {"at the tip": 6}, {})
        self.assertEqual(samples[:2], [(5 * 3600, 6, 11, None), (6 * 3600, 7, 13, kept)])
        page = json.loads(Visitor(here.factory).ask("/map.json").body)["growth"]
        self.assertEqual(set(page), {"when", "reachable", "edges", "versions", "services", "heights"})
        self.assertEqual(len(samples), 3)
        found = json.loads(Visitor(here.factory).ask(f"/map/node.json?name={ONE}").body)
        self.assertEqual((found["address"], found["history"]), ("203.0.113.1", []))
        store.close()

    def test_a_store_that_cannot_be_read(self) -> None:
        self.outputs(state=Path("/nowhere"))
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_a_damaged_file_of_places(self) -> None:
        """It is told once, and the map is shown without."""
        calls: list[str] = []

        def locate(host: str) -> dict[str, Any]:
            calls.append(host)
            if len(calls) > 1:
                raise PlaceError("a.mmdb: is damaged")
            return {"country": "PT", "asn": 1, "org": "x"}

        quiet = QuietLocate(locate)
        self.assertEqual([quiet("a")["country"] for _ in range(4)], ["PT", None, None, None])
        self.assertEqual(len(calls), 2)


class PlaceTests(TrialCase):
    def test_places(self) -> None:
        for text, place in (
            ("5353", ("127.0.0.1", 5353)),
            ("udp:5353", ("127.0.0.1", 5353)),
            ("tcp:53:interface=0.0.0.0", ("0.0.0.0", 53)),
            (r"udp:53:interface=\:\:1", ("::1", 53)),
            ("0.0.0.0:53", ("0.0.0.0", 53)),
            ("[::]:53", ("::", 53)),
            ("0", ("127.0.0.1", 0)),
        ):
            self.assertEqual(dns_place(text), place)

    def test_what_is_none(self) -> None:
        for text in ("", "x", "host:53", "1.2.3.4", "65536", "1.2.3.4:0", "udp:53:interface=host", "udp:53:x=1", "::1"):
            self.assertRaises(FieldError, dns_place, text)


def options(*arguments: str) -> Any:
    given = ["crawl", "--network", "regtest", "--allow-unroutable", *arguments]
    return make_parser(given).parse_args(given)


def to_itself() -> Any:
    """Let the crawl dial nodes of its own process, which the command never does."""
    return mock.patch("txsoter.cli.crawl.PeerConfig", partial(PeerConfig, allow_self_connections=True))


@over_sockets(60)
async def test_every_output_of_the_command(tmp_path: Path) -> None:
    """Eight nodes on loopback, with everything that shows them."""
    (tmp_path / "a.mmdb").write_bytes(mmdb({"127.0.0.0/8": {"country": {"iso_code": "PT"}}}))
    async with running(8) as network:
        files = {name: str(tmp_path / name) for name in ("json", "graphml", "dot", "csv-nodes", "csv-edges", "changes")}
        host, _, port = network.entry.rpartition(":")
        arguments = ["--once", "--stay", "0.01", "--status", "0", "--metrics", "0", "--dns", "0", "--dns-zone", "a.org"]
        arguments += ["--mmdb", str(tmp_path / "a.mmdb")]
        for name, path in files.items():
            arguments += [f"--{name}", path]
        shown = io.StringIO()
        with to_itself(), redirect_stdout(shown):
            assert await crawl(real_reactor(), options(*arguments), [(host, int(port))]) == 0
        truth = network.truth()
    read = {name: Path(path).read_text(encoding="utf-8") for name, path in files.items()}
    found = json.loads(read["json"])
    assert {f"{each['address']}:{each['port']}" for each in found["nodes"]} == set(truth["nodes"])
    assert {each["country"] for each in found["nodes"]} == {"PT"}
    edges = {(each["from"], each["to"]) for each in found["edges"]}
    assert edges == {tuple(edge) for edge in truth["edges"]}
    graph = ElementTree.fromstring(read["graphml"])
    assert len(list(graph.iter("{http://graphml.graphdrawing.org/xmlns}edge"))) == len(edges)
    assert read["dot"].count(" -> ") == len(edges)
    assert len(list(csv.DictReader(io.StringIO(read["csv-nodes"])))) == 8
    assert {(row["from"], row["to"]) for row in csv.DictReader(io.StringIO(read["csv-edges"]))} == edges
    changes = [json.loads(line) for line in read["changes"].splitlines()]
    added = [each["address"] for each in changes if each["what"] == "node" and each["change"] == "added"]
    assert {ip_address(each) for each in added} == {ip_address(each["address"]) for each in found["nodes"]}
    assert "8 reachable" in shown.getvalue()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dns", "5353"], "--dns: needs --dns-zone NAME"),
        (["--dns-zone", "a.org"], "--dns-zone: needs --dns IP:PORT"),
        (["--dns", "x:y", "--dns-zone", "a.org"], "--dns x:y: must be IP:PORT"),
        (["--dns", "5353", "--dns-zone", "-"], "--dns-zone -: must be a host name"),
        (["--status", "pigeon:1"], "--status pigeon:1: must be an endpoint such as tcp:8556: Unknown endpoint type"),
        (["--metrics", "tcp"], "--metrics tcp: must be an endpoint such as tcp:8556"),
    ],
)
@over_sockets()
async def test_what_cannot_be_used(arguments: list[str], words: str) -> None:
    """One error, before anything is dialled."""
    with pytest.raises(UsageError) as raised:
        await crawl(real_reactor(), options("--once", *arguments), [("127.0.0.1", 1)])
    assert words in str(raised.value)


@pytest.mark.parametrize("option", ["--status", "--metrics", "--dns"])
@over_sockets()
async def test_a_port_that_is_taken(option: str) -> None:
    """It says so, and nothing is left."""
    taken: Any = real_reactor().listenTCP(0, Factory(), interface="127.0.0.1")
    zone = ("--dns-zone", "a.org") if option == "--dns" else ()
    given = options("--once", option, str(taken.getHost().port), *zone)
    with pytest.raises(CommandError, match="Couldn't listen on"):
        await crawl(real_reactor(), given, [("127.0.0.1", 1)])
    await taken.stopListening()


@over_sockets()
async def test_a_file_on_standard_output_is_alone_there() -> None:
    shown = io.StringIO()
    async with running(3) as network:
        host, _, port = network.entry.rpartition(":")
        with to_itself(), redirect_stdout(shown):
            given = options("--once", "--stay", "0.01", "--json", "-")
            await crawl(real_reactor(), given, [(host, int(port))])
    assert len(json.loads(shown.getvalue())["nodes"]) == 3


@over_sockets(60)
async def test_files_of_a_store(tmp_path: Path) -> None:
    """They are those of the crawl that wrote it."""
    state, first, again = tmp_path / "state", tmp_path / "first.csv", tmp_path / "again.csv"
    async with running(5) as network:
        host, _, port = network.entry.rpartition(":")
        given = options("--once", "--stay", "0.01", "--state", str(state), "--csv-edges", str(first))
        with to_itself(), redirect_stdout(io.StringIO()):
            await crawl(real_reactor(), given, [(host, int(port))])
    assert run_main("crawl", "export", "--state", state, "--csv-edges", again) == (0, "", "")
    ends = [[row[:3] for row in csv.reader(io.StringIO(path.read_text()))] for path in (first, again)]
    assert ends[0] == ends[1]
    assert len(ends[0]) > 5
    status, out, error = run_main("crawl", "export", "--state", state)
    assert (status, out) == (2, "")
    assert "needs one of --json" in error
    status, _, error = run_main("crawl", "export", "--state", tmp_path, "--json", "-")
    assert (status, "has no crawl.sqlite3" in error) == (1, True)
