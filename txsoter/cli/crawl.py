"""``txsoter crawl``: map a network."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError

from txsoter.cli.crawl_outputs import (
    add_file_arguments,
    add_output_arguments,
    check_files,
    locate_of,
    make_outputs,
    opened_changes,
    wants_files,
    write_files,
)
from txsoter.cli.dialling import in_reactor
from txsoter.cli.log_lines import warnings_shown
from txsoter.cli.output import aligned
from txsoter.clock import monotonic
from txsoter.command_line import (
    NETWORKS,
    CommandError,
    Parser,
    UsageError,
    network,
    positive,
    seconds,
    size,
    split_host_port,
    whole,
)
from txsoter.core.sanitize import sanitize
from txsoter.crawl.crawl_metrics import VisitCounts
from txsoter.crawl.crawl_service import CrawlService
from txsoter.crawl.network_map import NetworkMap, NodeKind
from txsoter.crawl.rules import CrawlRules
from txsoter.crawl.stored_map import StoredCrawl
from txsoter.crawl.visit_result import VisitResult
from txsoter.errors import FieldError
from txsoter.networks import MAINNET, Network, network_named
from txsoter.peer.config import PeerConfig
from txsoter.progress import Progress
from txsoter.service.book.places import place_at
from txsoter.service.outbound import endpoints_like

__all__ = ["add_arguments", "crawl"]

DESCRIPTION = """\
Visits all nodes of a network that can be found, asks each for the addresses that it knows and for its connections, and
prints a summary of the map; --json writes the map itself.

  txsoter crawl --once --network testnet1 --json map.json

It begins with the seeds of the network, unless --peer or --peers name nodes to begin with. With --once it ends when
every node was visited; otherwise it visits them again and again until Ctrl-C, and --state keeps what it knows.
Each visit asks once, and the user agent says "crawler". `txsoter crawl why HOST:PORT --state DIR` tells why a node is
listed or not, and `txsoter crawl export --state DIR` writes the map that is kept there as files.
"""

EPILOG = """\
--json writes one object: network; when; nodes: address, port, reachable, kind, version, agent, services, height, times,
reliability, reason (why it does not count); edges: from, to (HOST:PORT; "from" dialled "to"), claimed_by ("from", "to"
or both: which of the two says so), confirmed, first_seen, last_seen, unmatched (only the host of "from" is known; its
port is not one at which it listens). Times are seconds since 1970.
"""

DEFAULTS = CrawlRules()

TEMPLATE = "tcp:{host}:{port}:timeout=5"

SHOWN = 8
"""Rows of a table of the summary."""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``crawl``."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument(
        "--network", type=network, default=MAINNET, metavar="NAME", help=f"one of {NETWORKS} (default: mainnet)"
    )
    parser.add_argument("--once", action="store_true", help="visit every node once, and end")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="a node to begin with; may be repeated",
    )
    parser.add_argument(
        "--peers", type=Path, metavar="FILE", help="file of nodes to begin with, HOST:PORT in each line"
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="keep what is known in DIR, and go on from there")
    parser.add_argument(
        "--allow-unroutable", action="store_true", help="visit loopback and private addresses, too, as tests need it"
    )
    parser.add_argument(
        "--ipv6",
        action="store_true",
        help="visit IPv6 addresses, too; a soterd that has an IPv6 peer dies when it is asked for its addrcache",
    )
    parser.add_argument(
        "--outbound-endpoint",
        default=TEMPLATE,
        metavar="TEMPLATE",
        help=f"Twisted endpoint string by which nodes are dialled, such as tor:{{host}}:{{port}} (default: {TEMPLATE})",
    )
    parser.add_argument(
        "--comment",
        action="append",
        default=[],
        metavar="TEXT",
        help="comment of the user agent, such as how to reach you",
    )
    _add_limits(parser)
    add_output_arguments(parser)
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    export = commands.add_parser(
        "export",
        help="write the map that --state keeps as files",
        description="Writes the map of a crawl as files: `txsoter crawl export --state DIR --graphml FILE`. A running "
        "crawl may use the directory meanwhile.",
    )
    export.add_argument("--state", required=True, type=Path, metavar="DIR", help="the directory of the crawl")
    add_file_arguments(export)
    export.set_defaults(run=write_stored)
    why = commands.add_parser(
        "why",
        help="tell why an address is listed in the map or not",
        description="Tells why an address is listed in the map of a crawl or not: never dialled, refused, on another "
        "network, too slow, dropped, and so on. A running crawl may use the directory meanwhile.",
    )
    why.add_argument("place", metavar="HOST:PORT", help="the address; IPv6 in brackets")
    why.add_argument("--state", required=True, type=Path, metavar="DIR", help="the directory of the crawl")
    why.set_defaults(run=tell_why)


def _add_limits(parser: Parser) -> None:
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-dials",
        type=whole(1),
        default=DEFAULTS.max_dials,
        metavar="N",
        help=f"visits at a time (default: {DEFAULTS.max_dials})",
    )
    limits.add_argument(
        "--dials-per-second",
        type=_rate,
        default=DEFAULTS.dials_per_second,
        metavar="N",
        help=f"visits begun in a second (default: {DEFAULTS.dials_per_second:g})",
    )
    limits.add_argument(
        "--dials-per-network",
        type=whole(1),
        default=DEFAULTS.dials_per_network,
        metavar="N",
        help=f"visits at a time in one /24 of IPv4 or /48 of IPv6 (default: {DEFAULTS.dials_per_network})",
    )
    limits.add_argument(
        "--stay",
        type=seconds,
        default=DEFAULTS.stay,
        metavar="S",
        help=f"seconds that a visit lasts at least once it is connected (default: {DEFAULTS.stay:g})",
    )
    limits.add_argument(
        "--timeout",
        type=seconds,
        default=DEFAULTS.answer_timeout,
        metavar="S",
        help=f"seconds for the handshake, and seconds for the answers after it (default: {DEFAULTS.answer_timeout:g})",
    )
    limits.add_argument(
        "--revisit",
        type=seconds,
        default=DEFAULTS.revisit,
        metavar="S",
        help=f"seconds until a node that answers is visited again (default: {DEFAULTS.revisit:g})",
    )
    limits.add_argument(
        "--max-nodes",
        type=whole(1),
        default=DEFAULTS.max_nodes,
        metavar="N",
        help=f"addresses known at a time (default: {DEFAULTS.max_nodes})",
    )
    limits.add_argument(
        "--memory",
        type=size,
        default=256 << 20,
        metavar="SIZE",
        help="bytes that all connections may hold together (default: 256M)",
    )


def _rate(text: str) -> float:
    return positive(text, "a number above 0")


def run(options: argparse.Namespace) -> int:
    """Run ``crawl`` in the reactor.

    :raises UsageError: for arguments that cannot be used.
    """
    named = _named(options)
    if not named and not options.network.seeds:
        raise UsageError(f"{options.network.name} has no seeds: --peer or --peers must name a node to begin with")
    return in_reactor(lambda reactor: crawl(reactor, options, named))


def _named(options: argparse.Namespace) -> list[tuple[str, int]]:
    named = [_place(text, options.network) for text in options.peer]
    if options.peers is not None:
        with options.peers.open(encoding="utf-8", errors="replace") as lines:
            texts = filter(None, (line.partition("#")[0].strip() for line in lines))
            named += (_place(text, options.network) for text in islice(texts, options.max_nodes + 1))
    if len(named) > options.max_nodes:
        raise UsageError(f"--peers {options.peers}: names more than --max-nodes {options.max_nodes} nodes")
    return named


def _place(text: str, network: Network) -> tuple[str, int]:
    found = split_host_port(text, network.default_port)
    if found is None:
        raise UsageError(f"{text}: must be HOST:PORT such as 192.0.2.7:5070, or HOST")
    return found


def make_service(
    reactor: Any, options: argparse.Namespace, named: list[tuple[str, int]], **arguments: Any
) -> CrawlService:
    """Return the service that the options ask for.

    :raises UsageError: for arguments that cannot be used.
    """
    timeout = options.timeout
    rules = CrawlRules(
        once=options.once,
        revisit=options.revisit,
        max_dials=options.max_dials,
        dials_per_second=options.dials_per_second,
        dials_per_network=options.dials_per_network,
        stay=options.stay,
        answer_timeout=timeout,
        handshake_timeout=timeout,
        visit_timeout=3 * timeout,
        max_nodes=options.max_nodes,
        allow_unroutable=options.allow_unroutable,
        dial_ipv6=options.ipv6,
    )
    try:
        config = PeerConfig(network=options.network, user_agent_comments=options.comment, memory_budget=options.memory)
        endpoint_for = endpoints_like(reactor, options.outbound_endpoint)
    except FieldError as error:
        raise UsageError(str(error)) from None
    return CrawlService(
        config,
        rules,
        state=options.state,
        named=named,
        seeds=not named,
        endpoint_for=endpoint_for,
        resolves=options.outbound_endpoint.startswith("tcp:"),
        reactor=reactor,
        **arguments,
    )


def write_stored(options: argparse.Namespace) -> int:
    """Write the map of a store.

    :raises CrawlError: when there is no crawl, or it cannot be read.
    :raises OSError: when a file cannot be written.
    :raises PlaceError: for a file of ``--mmdb`` that cannot be used.
    :raises UsageError: when no file is wanted.
    """
    if not wants_files(options):
        raise UsageError("export: needs one of --json, --graphml, --dot, --csv-nodes, --csv-edges")
    check_files(options)
    locate = locate_of(options)
    write_files(options, StoredCrawl(options.state, time.time()).map(), locate)
    return 0


def tell_why(options: argparse.Namespace) -> int:
    """Print why an address is listed or not.

    :raises CrawlError: when there is no crawl, or it cannot be read.
    :raises UsageError: for what is no address.
    """
    crawl = StoredCrawl(options.state, time.time())
    host, port = _place(options.place, network_named(crawl.network))
    try:
        place = place_at(host, port)
    except FieldError as error:
        raise UsageError(f"{options.place}: must be {error.limit}, and a port") from None
    print(f"{place}: {crawl.why(place)}")
    return 0


async def crawl(reactor: Any, options: argparse.Namespace, named: list[tuple[str, int]]) -> int:
    """Crawl, and print.

    :raises CommandError: when no node answered, or a port cannot be opened.
    :raises OSError: when a file cannot be written.
    """
    now = monotonic(reactor)
    began = now()
    # before anything is dialled: what cannot be used ends it at once
    check_files(options)
    locate = locate_of(options)
    visits = VisitCounts()
    with warnings_shown("txsoter crawl"), Progress(sys.stderr) as progress, opened_changes(options) as tell:

        def show(result: VisitResult) -> None:
            visits.add(result)
            progress.show(lambda: _line(service))

        service = make_service(reactor, options, named, visited=show)
        # any, for Twisted has no types here
        outputs: Any = make_outputs(reactor, options, service, visits, locate, tell)
        progress.stage("looking for nodes")
        service.startService()
        try:
            _start(outputs)
            await (service.when_finished() if options.once else Deferred())
        except CancelledError:
            if options.once:
                raise
        finally:
            elapsed = now() - began
            found = service.map()
            if outputs is not None:
                await outputs.stopService()
            await service.stopService()
        # first, for changes may have been refused by a full disk
        has_told = write_files(options, found, locate)
        if outputs is not None and tell is not None:
            outputs.tell_changes(found)
    if not has_told and options.changes != "-":
        print("\n".join(_summary(found, service.visits, elapsed)))
    if options.once and not found.reachable:
        raise CommandError(f"no node answered: {_why_not(found, options, named)}")
    return 0


def _start(outputs: Any) -> None:
    """Begin to show the map, if that is wanted.

    :raises CommandError: when a port cannot be opened.
    """
    try:
        if outputs is not None:
            outputs.startService()
    except (CannotListenError, OverflowError) as error:
        raise CommandError(str(error)) from None


def _line(service: CrawlService) -> str:
    counts = service.counts()
    return f"{service.visits} visits, {counts['reachable']} nodes, {counts['waiting']} to visit"


def _why_not(found: NetworkMap, options: argparse.Namespace, named: Sequence[tuple[str, int]]) -> str:
    node = next(iter(found.nodes), None)
    if node is not None:
        return f"{node.name}: {node.reason}"
    hosts = [host for host, _ in named] or options.network.seeds
    return f"cannot be resolved: {', '.join(hosts[:SHOWN])}"


def _summary(found: NetworkMap, visits: int, elapsed: float) -> Iterator[str]:
    kinds = Counter(node.kind for node in found.nodes)
    confirmed = sum(edge.confirmed for edge in found.edges)
    unmatched = sum(edge.unmatched for edge in found.edges)
    yield aligned(
        (
            ("network", found.network),
            ("visits", f"{visits} in {elapsed:.1f} s"),
            ("nodes", ", ".join(f"{kinds[kind]} {kind.value}" for kind in NodeKind if kinds[kind]) or "none"),
            ("edges", f"{len(found.edges)}: {confirmed} confirmed by both ends, {unmatched} unmatched"),
        )
    )
    agents = Counter(sanitize(node.user_agent, 60) for node in found.reachable)
    if agents:
        yield ""
        yield aligned((("NODES", "USER AGENT"), *((str(count), agent) for agent, count in agents.most_common(SHOWN))))
