"""``txsoter testnet``: run a network of light nodes on loopback addresses."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from txsoter.cli.dialling import in_reactor
from txsoter.cli.output_files import check_writable, write_file
from txsoter.command_line import INTERRUPTED, Parser, UsageError, whole
from txsoter.errors import FieldError
from txsoter.testing.loopback.plan import LIARS, LoopbackOptions, make_plan
from txsoter.testing.loopback.process_limits import file_limit, processes_for
from txsoter.testing.loopback.processes import LoopbackProcesses
from txsoter.testing.loopback.topology import TOPOLOGIES, Edge

__all__ = ["add_arguments", "run_testnet"]

DESCRIPTION = """\
Runs a regtest network of light nodes on this machine, over TCP: each listens at an address of its own in 127.0.0.0/8
(all of which Linux has), and dials others from there. Nodes make the handshake and answer getaddr and getaddrcache;
they have no blocks. Try crawlers, seeders and peers on it.

Once all nodes are connected it prints `ready HOST:PORT`, the address of one from which all can be found, and runs until
SIGTERM or Ctrl-C (exit status 0). A given seed and options always make the same network, addresses included.
"""

EPILOG = """\
--truth writes one JSON object before `ready` is printed:
  network, seed   "regtest", and the seed
  nodes           addresses of the honest nodes that listen, HOST:PORT
  edges           connections between them, pairs [A, B] of addresses: A has dialled B
  hidden          hosts of the nodes that do not listen
  hidden_edges    connections that these have dialled, pairs of host and address
  dead            addresses that nodes tell, and at which nobody listens
  liars           objects of address and kind. They have no connections with honest nodes, which tell their addresses
  bystanders      addresses of servers of another protocol, told by liars of the kind other-services

kinds of liars:
""" + "\n".join(f"  {kind:<15} {words}" for kind, words in LIARS.items())


def _liars(text: str) -> dict[str, int]:
    """Return the numbers of liars by kind, of KIND=N with commas between."""
    found: dict[str, int] = {}
    for each in text.split(","):
        kind, _, number = each.partition("=")
        try:
            count = whole(0)(number)
        except argparse.ArgumentTypeError:
            raise argparse.ArgumentTypeError(f"{each}: must be KIND=N, such as tarpit=5") from None
        if kind not in (*LIARS, "all"):
            raise argparse.ArgumentTypeError(f"{kind}: must be all, or one of {', '.join(LIARS)}")
        found.update(dict.fromkeys(LIARS, count) if kind == "all" else {kind: count})
    return found


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``testnet``."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument(
        "--nodes", type=whole(1), default=100, metavar="N", help="number of honest nodes (default: 100)"
    )
    parser.add_argument("--seed", type=whole(0), default=0, metavar="S", help="seed of all that is random (default: 0)")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="write the nodes and connections to FILE, as JSON")
    graph = parser.add_mutually_exclusive_group()
    graph.add_argument(
        "--topology",
        choices=list(TOPOLOGIES),
        default="random",
        help="graph of connections: random (the default), ring, or star, in which all nodes dial the first one",
    )
    graph.add_argument(
        "--edges",
        type=Path,
        metavar="FILE",
        help="read the connections from FILE: a JSON list of pairs of node numbers from 0, the first dials the second",
    )
    parser.add_argument(
        "--degree",
        type=whole(0),
        default=8,
        metavar="N",
        help="number of others that each node of a random graph dials (default: 8)",
    )
    parser.add_argument(
        "--hidden",
        type=whole(0),
        default=0,
        metavar="N",
        help="number of nodes that dial others and do not listen, as behind NAT (default: 0)",
    )
    parser.add_argument(
        "--dead",
        type=whole(0),
        default=0,
        metavar="N",
        help="number of addresses that nodes tell and at which nobody listens (default: 0)",
    )
    parser.add_argument(
        "--liars",
        type=_liars,
        default={},
        metavar="KIND=N,...",
        help="number of lying nodes of each kind; all=N for N of every kind (default: none)",
    )
    parser.add_argument(
        "--port", type=whole(1), default=18444, metavar="N", help="TCP port of all nodes (default: 18444)"
    )
    parser.add_argument(
        "--processes",
        type=whole(1),
        metavar="N",
        help="number of processes that hold the nodes (default: as few as the limit on open files allows)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the network until the reactor is stopped, which is how it is meant to end."""
    ready: list[str] = []
    status = in_reactor(lambda reactor: run_testnet(reactor, options, ready))
    return 0 if status == INTERRUPTED and ready else status


async def run_testnet(reactor: Any, options: argparse.Namespace, ready: list[str]) -> int:
    """Run the network until this is cancelled.

    :param ready: is given the address that is printed.
    :raises OSError: when the file of ``--truth`` cannot be written.
    :raises UsageError: for numbers that cannot be.
    :raises LoopbackError: when the network cannot be started, or a process of it ends.
    :raises TooManyFiles: when it needs more open files than it may have.
    """
    try:
        given = LoopbackOptions(
            nodes=options.nodes,
            seed=options.seed,
            topology=options.topology,
            degree=options.degree,
            edges=None if options.edges is None else _read_edges(options.edges),
            hidden=options.hidden,
            dead=options.dead,
            liars=options.liars,
            port=options.port,
        )
    except FieldError as error:
        raise UsageError(str(error)) from None
    if options.truth is not None:
        check_writable(options.truth)
    plan = make_plan(given)
    count = processes_for(plan, options.processes, file_limit())
    network = LoopbackProcesses(reactor, plan, count)
    try:
        await network.start()
        lost = network.when_lost()
        if options.truth is not None:
            write_file(options.truth, json.dumps(network.truth()))
        ready.append(network.entry)
        print(f"ready {network.entry}", flush=True)
        await lost
    finally:
        await network.stop()


def _read_edges(path: Path) -> list[Edge]:
    """Return the edges in a file; their numbers are not checked.

    :raises UsageError: when it is no JSON list of pairs of whole numbers.
    """
    try:
        found = json.loads(path.read_bytes())
        return [(_number(dialler), _number(dialled)) for dialler, dialled in found]
    except (ValueError, TypeError, RecursionError):
        raise UsageError(f"{path}: must be a JSON list of pairs of node numbers, such as [[0, 1], [1, 2]]") from None


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value
