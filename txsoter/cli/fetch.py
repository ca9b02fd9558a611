"""``txsoter fetch``: download and verify all blocks of a node, and print the DAG."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import aclosing
from functools import partial
from typing import Any

from txsoter.cli.dialling import add_dial_arguments, dialled, in_reactor
from txsoter.cli.output import utc
from txsoter.command_line import CommandError, Parser, whole
from txsoter.core.walk import walk_blocks
from txsoter.errors import TxsoterError
from txsoter.progress import Progress
from txsoter.wire import Block, Encoding

__all__ = ["add_arguments", "fetch"]

DESCRIPTION = """\
Downloads all blocks of a node, lowest height first, and prints a line for each: height, hash, and the hashes of its
parents. Each block is verified: its header must commit to its transactions and to its parents. (Proof of work and the
transactions themselves are not.) The first block that fails ends it with exit status 1.

  txsoter fetch 127.0.0.1 --network simnet --dot | dot -Tsvg > dag.svg
  txsoter fetch 127.0.0.1 --network simnet --hex | txsoter verify --network simnet -
"""

EPILOG = """\
--json prints one object per line: height, hash, parents (hashes, in the block's order), time (of the header; UTC in
ISO 8601), bits (the header's target), transactions (their ids).
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``fetch``."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    add_dial_arguments(parser)
    parser.add_argument(
        "--from-height", type=whole(0), default=0, metavar="N", help="begin at this height (default: 0, genesis)"
    )
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="print one JSON object per line")
    formats.add_argument("--hex", action="store_true", help="print the blocks themselves in hex, one per line")
    formats.add_argument("--dot", action="store_true", help="print a graph in DOT, the language of Graphviz")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run ``fetch`` in the reactor."""
    return in_reactor(lambda reactor: fetch(reactor, options))


async def fetch(reactor: Any, options: argparse.Namespace) -> int:
    """Dial, download, and print; :func:`walk_blocks` verifies.

    :raises CommandError: when the node cannot be connected to, lacks what it listed, or a block is not valid.
    """
    count = 0
    show = _json if options.json else _hex if options.hex else _dot if options.dot else _text
    with Progress(sys.stderr) as progress:
        progress.stage(f"connecting to {options.endpoint}")
        async with dialled(reactor, options) as peer:
            top = peer.stats().starting_height
            if options.dot:
                print("digraph soter {\nrankdir=RL; node [shape=box];")
            try:
                async with aclosing(walk_blocks(peer, options.from_height, timeout=options.timeout)) as blocks:
                    async for height, block in blocks:
                        count += 1
                        if sys.stdout.isatty():
                            progress.clear()
                        print(show(height, block))
                        progress.show(partial("height {} of {}, {} blocks".format, height, max(top, height), count))
            except TxsoterError as error:
                raise CommandError(f"{options.endpoint}: {error}") from None
            if options.dot:
                print("}")
    return 0


def _text(height: int, block: Block) -> str:
    return " ".join((f"{height:>8}  {block.hash} ", *(str(parent.hash) for parent in block.parents))).rstrip()


def _json(height: int, block: Block) -> str:
    return json.dumps(
        {
            "height": height,
            "hash": str(block.hash),
            "parents": [str(parent.hash) for parent in block.parents],
            "time": utc(block.header.time),
            "bits": f"{block.header.bits:08x}",
            "transactions": [str(tx.txid) for tx in block.transactions],
        }
    )


def _hex(height: int, block: Block) -> str:
    return block.to_payload(encoding=Encoding.WITNESS).hex()


def _dot(height: int, block: Block) -> str:
    edges = [f'"{block.hash}" -> "{parent.hash}";' for parent in block.parents]
    return "\n".join((f'"{block.hash}" [label={height}];', *edges))
