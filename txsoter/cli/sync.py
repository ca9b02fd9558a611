"""``txsoter sync``: check the whole DAG of a node as a light client does, and keep its headers."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall

from txsoter.chain.light.client import LightClient
from txsoter.chain.light.header_record import HeaderRecord
from txsoter.chain.light.progress import SyncProgress
from txsoter.cli.dialling import add_dial_arguments, connected, dial_config, in_reactor
from txsoter.cli.output import aligned
from txsoter.command_line import CommandError, Parser
from txsoter.progress import Progress, bar, duration
from txsoter.wire import Block, Services

__all__ = ["add_arguments", "sync"]

DESCRIPTION = """\
Downloads all blocks of a node, lowest height first, and checks each: parents, proof of work, time, height, and that
its header commits to its transactions and parents. (Transactions are not validated.) With --state the headers are kept:
the next run checks what is new since. A node that lies, stalls or floods ends it with exit status 1.
"""

EPILOG = """\
It prints blocks (the number of headers in the DAG, the genesis block included), new (how many of them this run has
added), height (the greatest), and tip (the hash of each block without children); --json one object with a list, tips.

Ctrl-C ends it; what was checked until then is kept.
"""

SHOW_EVERY = 0.2
"""Seconds between two states of the progress bar."""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``sync``."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    add_dial_arguments(parser)
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="the directory for the headers; without it they are kept in memory"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run ``sync`` in the reactor."""
    return in_reactor(lambda reactor: sync(reactor, options))


async def sync(reactor: Any, options: argparse.Namespace) -> int:
    """Follow the node's lists of blocks to its tip, and print what there is then.

    :raises CommandError: when the node cannot be connected to, offers no blocks, closes, or misbehaves.
    :raises StateError: when the directory cannot be used.
    """
    client = LightClient(dial_config(options), options.state, timeout=options.timeout)
    new = 0

    def count(record: HeaderRecord, block: Block) -> None:
        nonlocal new
        new += 1

    client.listen_to_blocks(count)
    client.startService()
    with Progress(sys.stderr) as progress:
        try:
            progress.stage(f"connecting to {options.endpoint}")
            await _follow(reactor, options, client, progress)
        finally:
            progress.stage("writing the headers")
            await client.stopService()
    index = client.index
    found = {"blocks": len(index), "new": new, "height": index.max_height}
    tips = [str(tip.hash) for tip in index.tips]
    if options.json:
        print(json.dumps({**found, "tips": tips}))
    else:
        print(aligned([*((key, str(value)) for key, value in found.items()), *(("tip", tip) for tip in tips)]))
    return 0


async def _follow(reactor: Any, options: argparse.Namespace, client: LightClient, progress: Progress) -> None:
    shown = LoopingCall(lambda: progress.show(lambda: _line(client.progress)))
    shown.clock = reactor
    async with connected(reactor, options, client.config) as peer:
        if not peer.stats().services & Services.NETWORK:
            raise CommandError(f"{options.endpoint}: it does not offer blocks")
        shown.start(SHOW_EVERY, now=False)
        try:
            over: list[Deferred[Any]] = [client.when_synced(), peer.when_closed()]
            reason, first = await DeferredList(over, fireOnOneCallback=True, consumeErrors=True)
        finally:
            shown.stop()
    if first:
        raise CommandError(f"{options.endpoint}: {reason}")


def _line(progress: SyncProgress) -> str:
    left = "" if progress.eta is None else f", {duration(progress.eta)} left"
    words = f"{progress.synced} of {progress.total} blocks, {progress.rate:.0f} a second{left}"
    return f"{bar(progress.synced, progress.total)} {words}"
