"""Outputs of ``txsoter crawl``: files at its end, page, metrics, DNS and changes while it runs."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from twisted.internet.endpoints import serverFromString

from txsoter.cli.output_files import check_writable, write_file
from txsoter.command_line import Parser, UsageError
from txsoter.crawl.crawl_metrics import VisitCounts
from txsoter.crawl.crawl_outputs import CrawlOutputs, DnsSettings, dns_place
from txsoter.crawl.crawl_service import CrawlService
from txsoter.crawl.map_formats import FORMATS
from txsoter.crawl.map_rows import Locate
from txsoter.crawl.network_map import NetworkMap
from txsoter.crawl.places import Places
from txsoter.errors import FieldError
from txsoter.service.exposition import MetricsService
from txsoter.service.web.access import loopback_endpoint

__all__ = [
    "add_file_arguments",
    "add_output_arguments",
    "check_files",
    "locate_of",
    "make_outputs",
    "opened_changes",
    "wants_files",
    "write_files",
]

FILES = {
    "json": ("json", "JSON"),
    "graphml": ("graphml", "GraphML, for Gephi and other programs"),
    "dot": ("dot", "DOT, for Graphviz"),
    "csv-nodes": ("nodes.csv", "CSV, a node in each line"),
    "csv-edges": ("edges.csv", "CSV, a connection in each line"),
}
"""Options of files, with their writer and their format for people."""


def add_file_arguments(parser: Parser) -> None:
    """Add the arguments of files, and of what stands in them."""
    files = parser.add_argument_group("files; - is standard output")
    for option, (_, words) in FILES.items():
        files.add_argument(f"--{option}", metavar="FILE", help=f"write the map to FILE as {words}")
    files.add_argument(
        "--mmdb",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="file in MaxMind's format, with countries or AS numbers to add to the nodes; may be repeated; extra crawl",
    )


def add_output_arguments(parser: Parser) -> None:
    """Add the arguments of all outputs."""
    add_file_arguments(parser)
    shown = parser.add_argument_group("shown while it runs")
    shown.add_argument("--changes", metavar="FILE", help="append each change of the map to FILE as a line of JSON")
    shown.add_argument(
        "--status", metavar="ENDPOINT", help="serve the map as a page, such as tcp:8556; on loopback; extra crawl"
    )
    shown.add_argument(
        "--status-host", action="append", default=[], metavar="NAME", help="another name of the page; may be repeated"
    )
    shown.add_argument("--metrics", metavar="ENDPOINT", help="serve metrics for Prometheus; on loopback; extra metrics")
    shown.add_argument(
        "--dns", metavar="IP:PORT", help="answer DNS questions with good nodes; a port alone means loopback"
    )
    shown.add_argument("--dns-zone", metavar="NAME", help="name whose addresses it answers, such as seed.example.org")
    shown.add_argument("--dns-nameserver", metavar="NAME", help="host name of this server (default: the zone's)")


def locate_of(options: argparse.Namespace) -> Locate | None:
    """Return what says in which country an address is, if files for that are given.

    :raises PlaceError: for a file that cannot be used.
    """
    return Places(options.mmdb).locate if options.mmdb else None


def check_files(options: argparse.Namespace) -> None:
    """Check that the files that are wanted can be written.

    :raises OSError: when one cannot.
    """
    for option in FILES:
        path = getattr(options, option.replace("-", "_"))
        if path not in (None, "-"):
            check_writable(Path(path))


def wants_files(options: argparse.Namespace) -> bool:
    """Return whether any file is wanted."""
    return any(getattr(options, option.replace("-", "_")) is not None for option in FILES)


def write_files(options: argparse.Namespace, network_map: NetworkMap, locate: Locate | None) -> bool:
    """Write the files that are wanted; return whether one of them was standard output.

    :raises OSError: when one of them cannot be written.
    :raises PlaceError: when a file of ``--mmdb`` turns out to be damaged.
    """
    told = False
    for option, (writer, _) in FILES.items():
        path = getattr(options, option.replace("-", "_"))
        if path is None:
            continue
        text = FORMATS[writer](network_map, locate)
        if path == "-":
            told = True
            sys.stdout.write(text)
        else:
            write_file(Path(path), text)
    return told


@contextlib.contextmanager
def opened_changes(options: argparse.Namespace) -> Iterator[Callable[[str], object] | None]:
    """Give what writes a line of changes, or None if nobody wants them."""
    if options.changes is None:
        yield None
        return
    with contextlib.ExitStack() as stack:
        file: IO[str] = sys.stdout
        if options.changes != "-":
            file = stack.enter_context(Path(options.changes).open("a", encoding="utf-8"))
        yield lambda line: print(line, file=file, flush=True)


def make_outputs(
    reactor: Any,
    options: argparse.Namespace,
    crawl: CrawlService,
    visits: VisitCounts,
    locate: Locate | None,
    tell: Callable[[str], object] | None,
) -> CrawlOutputs | None:
    """Return what shows the map while the crawl runs; None if nothing is wanted.

    :raises UsageError: for arguments that cannot be used.
    """
    if tell is None and not (options.status or options.metrics or options.dns or options.dns_zone):
        return None
    if options.status and find_spec("rustworkx") is None:
        raise UsageError("--status: needs pip install 'txsoter[crawl]'")
    try:
        outputs = CrawlOutputs(
            crawl,
            visits,
            endpoint=None if options.status is None else _server(reactor, "status", options.status),
            hosts=options.status_host,
            locate=locate,
            dns=_dns(options),
            state=options.state,
            tell=tell,
            reactor=reactor,
        )
    except FieldError as error:
        option = "--dns" if error.field == "dns" else f"--dns-{error.field}"
        raise UsageError(f"{option} {error.value}: must be {error.limit}") from None
    if options.metrics is not None:
        endpoint = _server(reactor, "metrics", options.metrics)
        served = MetricsService(outputs.metrics(), endpoint, reactor=reactor, hosts=options.status_host)
        # any, for Twisted has no types here
        parent: Any = outputs
        parent.addService(served)
    return outputs


def _server(reactor: Any, option: str, text: str) -> Any:
    try:
        return serverFromString(reactor, loopback_endpoint(text))
    except Exception as error:
        # a TypeError or an IndexError is of Twisted's inner life
        why = f": {error}" if isinstance(error, ValueError) else ""
        raise UsageError(f"--{option} {text}: must be an endpoint such as tcp:8556{why}") from None


def _dns(options: argparse.Namespace) -> DnsSettings | None:
    if options.dns is None:
        if options.dns_zone is not None:
            raise UsageError("--dns-zone: needs --dns IP:PORT")
        return None
    if options.dns_zone is None:
        raise UsageError("--dns: needs --dns-zone NAME")
    return DnsSettings(*dns_place(options.dns), options.dns_zone, options.dns_nameserver)
