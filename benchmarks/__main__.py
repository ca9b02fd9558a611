"""The command line: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

DESCRIPTION = """\
How fast txsoter is, beside other Python libraries, and beside what Twisted and SHA-256 alone need for the same bytes.

  codec   bytes to messages and back, without a connection
  peer    two processes with a connection between them: pings, invs, blocks, handshakes, latency
  scale   thousands of idle connections: memory, CPU, and telling all of them something
  metrics what metrics for Prometheus cost
  aio     the same as peer on asyncio, beside Twisted
  chain   proof of work, filters, merkle proofs, the order of the DAG
  crawl   the crawler on networks of 100, 1,000 and 10,000 loopback nodes
  compiled  compiled modules beside their sources; only where the installed txsoter has any

Without a suite all of them but crawl run, which takes less than ten minutes; crawl takes as long by itself. Figures are
medians of the rounds with their spread; what is compared takes turns within each round, after a warm-up. Leave the
machine alone meanwhile.
"""

PEER = """\
Two processes with a connection between them.

Without a command both ends run here, in turn with the floors. To put another implementation at one end:

  python -m benchmarks peer serve tcp:18555:interface=127.0.0.1
  python -m benchmarks peer drive tcp:127.0.0.1:18555 ping 200000
"""

# quick runs are for the smoke test: their figures mean nothing
QUICK_ROUNDS = 1


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < 5:
        raise argparse.ArgumentTypeError("a figure is the median of at least 5 rounds (--quick for a trial run)")
    return rounds


def parser() -> argparse.ArgumentParser:
    """The options."""
    common = argparse.ArgumentParser(add_help=False)
    # no defaults here: a suite's parser would put them over what stands before the suite
    options = common.add_argument_group("options", argument_default=argparse.SUPPRESS)
    options.add_argument("--rounds", type=_rounds, metavar="N", help="rounds a figure is the median of (default 5)")
    options.add_argument("--quick", action="store_true", help="a trial run of seconds; its figures mean nothing")
    options.add_argument(
        "--reference",
        metavar="PROGRAM",
        help="codec: another implementation to measure in turn (benchmarks/reference.py)",
    )
    options.add_argument("--json", metavar="FILE", help="also write every round of every figure to FILE")
    plain = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="python -m benchmarks", description=DESCRIPTION, formatter_class=plain, parents=[common]
    )
    suites = top.add_subparsers(
        dest="suite", metavar="[codec|peer|scale|metrics|aio|chain|crawl|compiled]", title="suites"
    )
    suites.add_parser("codec", help="bytes to messages and back", parents=[common])
    peer = suites.add_parser(
        "peer", help="two processes and a connection", description=PEER, formatter_class=plain, parents=[common]
    )
    _peer_commands(peer)
    scale = suites.add_parser("scale", help="thousands of idle connections", parents=[common])
    _scale_commands(scale)
    suites.add_parser("metrics", help="what metrics cost", parents=[common])
    aio = suites.add_parser("aio", help="asyncio beside Twisted", parents=[common])
    _aio_commands(aio)
    suites.add_parser("chain", help="proofs, filters, the order of the DAG", parents=[common])
    crawl = suites.add_parser("crawl", help="the crawler on networks of loopback nodes", parents=[common])
    crawl.add_argument(
        "--nodes", type=int, nargs="+", metavar="N", help="numbers of nodes, instead of 100, 1,000 and 10,000"
    )
    suites.add_parser("compiled", help="compiled modules beside their sources", parents=[common])
    return top


def _peer_commands(peer: argparse.ArgumentParser) -> None:
    kinds, modes = (
        ("txsoter", "bare", "checksum"),
        "ping, inv, inv-tuples, block, block-mixed, tx, handshake, handshake-16",
    )
    ends = peer.add_subparsers(dest="end", metavar="serve|drive", title="one end alone")
    serve = ends.add_parser("serve", help="accept connections until interrupted; prints the port as JSON")
    serve.add_argument("endpoint", help="where to listen, such as tcp:0:interface=127.0.0.1")
    serve.add_argument("--read-vectors", choices=("rows", "tuples"), help="look at every vector of every inv")
    serve.add_argument(
        "--report", action="store_true", help="answer each line of standard input by what was counted since"
    )
    drive = ends.add_parser("drive", help="dial, do one thing many times, and print what it took as JSON")
    drive.add_argument("endpoint", help="where to dial, such as tcp:127.0.0.1:18555")
    drive.add_argument("mode", help=f"one of {modes}; - to read modes and counts from standard input")
    drive.add_argument("count", type=float, help="how many; seconds for tx")
    for end in (serve, drive):
        end.add_argument("--as", dest="kind", choices=kinds, default="txsoter", help="what the end is made of")
        end.add_argument("--metrics", action="store_true", help="with metrics, served and asked for each second")


def _scale_commands(scale: argparse.ArgumentParser) -> None:
    ends = scale.add_subparsers(
        dest="end", metavar="accept|dial", title="one end alone, told what to do on standard input"
    )
    for role in ("accept", "dial"):
        end = ends.add_parser(role, help=f"the end that {role}s")
        end.add_argument("endpoint")
        end.add_argument("--as", dest="kind", choices=("txsoter", "bare"), default="txsoter")


def _aio_commands(aio: argparse.ArgumentParser) -> None:
    ends = aio.add_subparsers(
        dest="end", metavar="serve|drive", title="one end alone, told what to do on standard input"
    )
    for role in ("serve", "drive"):
        end = ends.add_parser(role, help=f"the end that {role}s")
        end.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="what it runs on")
        if role == "drive":
            end.add_argument("port", type=int, help="where the other end serves, on loopback")


def main() -> None:
    """Run what was asked for."""
    arguments = parser().parse_args()
    if getattr(arguments, "end", None) is not None:
        _be_one_end(arguments)
        return
    quick = getattr(arguments, "quick", False)
    rounds = getattr(arguments, "rounds", QUICK_ROUNDS if quick else 5)
    reference = getattr(arguments, "reference", None)
    if reference is not None and arguments.suite not in (None, "codec"):
        raise SystemExit("--reference: only the codec suite takes one")
    _run_suites(
        arguments.suite, rounds, quick, getattr(arguments, "json", None), reference, getattr(arguments, "nodes", None)
    )


def _be_one_end(arguments: argparse.Namespace) -> None:
    # imported where they are needed: an end must not carry what only the suites need
    if arguments.suite == "scale":
        from benchmarks.scale_ends import hold

        hold(arguments.end, arguments.endpoint, arguments.kind == "txsoter")
    elif arguments.suite == "aio":
        from benchmarks.aio_ends import be_end

        be_end(arguments.end, getattr(arguments, "port", 0), arguments.loop)
    elif arguments.end == "serve":
        from benchmarks.peer_ends import serve

        serve(arguments.endpoint, arguments.kind, arguments.read_vectors, arguments.report, arguments.metrics)
    else:
        from benchmarks.peer_ends import MODES, drive

        if arguments.mode not in (*MODES, "-"):
            raise SystemExit(f"mode {arguments.mode!r}: must be one of {', '.join(MODES)}, or -")
        drive(arguments.endpoint, arguments.kind, arguments.mode, arguments.count, arguments.metrics)


def _run_suites(
    suite: str | None,
    rounds: int,
    quick: bool,
    json_file: str | None,
    reference: str | None,
    sizes: Sequence[int] | None,
) -> None:
    from benchmarks import aio, chain, codec, compiled, crawl, measure, metrics, peer, scale

    # whoever ends this process ends its children, too
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    suites: dict[str, Callable[[int, bool], measure.Report]] = {
        "codec": partial(codec.run, reference=reference),
        "peer": peer.run,
        "scale": scale.run,
        "metrics": metrics.run,
        "aio": aio.run,
        "chain": chain.run,
        "crawl": partial(crawl.run, sizes=sizes),
        "compiled": compiled.run,
    }
    machine = measure.machine()
    about = {"machine": machine, "command": " ".join(sys.argv[1:]), "rounds": rounds, "quick": quick}
    out, started = measure.console(), perf_counter()
    out.print(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, {machine['python']}")
    out.print(", ".join(f"{name} {version}" for name, version in machine["packages"].items()))
    out.print(f"compiled: {', '.join(machine['compiled']) or 'nothing'}")
    if quick:
        out.print("A trial run on tiny inputs: its figures mean nothing.")
    reports = []
    for name, run in suites.items():
        if suite == name or (suite is None and name != "crawl"):
            try:
                report = run(rounds, quick)
            except compiled.NothingCompiled as error:
                if suite is not None:
                    raise SystemExit(f"{suite}: {error}") from None
                continue
            reports.append(report)
            out.print()
            out.print(report.table())
            for note in report.notes:
                out.print(f"- {note}", highlight=False)
    about["seconds"] = perf_counter() - started
    out.print(f"\n{about['seconds']:.0f} seconds in all")
    if json_file is not None:
        measure.write_json(json_file, reports, about)


if __name__ == "__main__":
    main()
