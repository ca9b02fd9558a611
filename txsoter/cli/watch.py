"""``txsoter watch``: dial a node, and print what it announces."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred

from txsoter.cli.dialling import add_dial_arguments, dialled, in_reactor
from txsoter.cli.output import utc
from txsoter.clock import wall
from txsoter.command_line import CommandError, Parser, whole
from txsoter.core.sanitize import sanitize
from txsoter.errors import ConnectionClosed, InvalidBlock
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.wire import Block, GetData, Hash, Headers, Inv, InventoryType, SendHeaders, Tx

__all__ = ["add_arguments", "watch"]

DESCRIPTION = """\
Dials a node, and prints a line for each block and transaction that it announces: time (UTC), event, kind, height (- if
the node does not say), hash. With --fetch blocks and transactions have a second line, once they were received.

It ends after --count lines (exit status 0); or when the node closes the connection, or sends a block whose header does
not commit to its transactions and parents (exit status 1).
"""

EPILOG = """\
--json prints an object for each line:
  time     UTC in ISO 8601
  event    announced or received
  kind     block, header or tx
  hash     as block explorers show it
  height   of an announced block; null when the node does not say
A received block has size (bytes), transactions (their number) and parents (hashes); a received tx inputs and outputs
(their numbers).
"""

KINDS = {
    int(InventoryType.TX): "tx",
    int(InventoryType.WITNESS_TX): "tx",
    int(InventoryType.BLOCK): "block",
    int(InventoryType.WITNESS_BLOCK): "block",
}
"""Other types are not announced by honest nodes, and a soterd must not be asked for them."""

ASKED_AT_ONCE = 1000
"""Vectors in a getdata."""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``watch``."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    add_dial_arguments(parser)
    parser.add_argument("--headers", action="store_true", help="ask the node to announce blocks by their headers")
    parser.add_argument("--fetch", action="store_true", help="fetch what is announced, and print a line for it, too")
    parser.add_argument("--count", type=whole(1), metavar="N", help="end after N lines")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run ``watch`` in the reactor."""
    return in_reactor(lambda reactor: watch(reactor, options))


async def watch(reactor: Any, options: argparse.Namespace) -> int:
    """Dial, and print until the end.

    :raises CommandError: when the node cannot be connected to, or closes.
    """
    printer = Printer(options.json, options.count, wall(reactor))

    async def on_inv(peer: SoterPeerProtocol, inv: Inv) -> None:
        known = [each for each in inv.vectors if each.type in KINDS]
        for vector in known:
            height = vector.height if vector.height >= 0 else None
            printer.show("announced", KINDS[vector.type], vector.hash, height=height)
        if options.fetch:
            with suppress(ConnectionClosed):
                for start in range(0, len(known), ASKED_AT_ONCE):
                    # nothing more is read until this is sent
                    await peer.send(GetData(known[start : start + ASKED_AT_ONCE]))

    def on_headers(peer: SoterPeerProtocol, message: Headers) -> None:
        for header in message.headers:
            printer.show("announced", "header", header.hash, height=None)

    def on_block(peer: SoterPeerProtocol, block: Block, payload: bytes) -> None:
        try:
            block.verify()
        except InvalidBlock as error:
            printer.end(CommandError(f"{options.endpoint}: {error}"))
            return
        parents = [str(parent.hash) for parent in block.parents]
        counts = {"size": len(payload), "transactions": len(block.transactions)}
        printer.show("received", "block", block.hash, **counts, parents=parents)

    def on_tx(peer: SoterPeerProtocol, tx: Tx) -> None:
        printer.show("received", "tx", tx.txid, inputs=len(tx.inputs), outputs=len(tx.outputs))

    async with dialled(
        reactor,
        options,
        relay=True,
        on_inv=on_inv,
        on_headers=on_headers,
        on_block=on_block,
        on_tx=on_tx,
        # a node whose question is not answered closes
        on_getblocks=lambda peer, question: peer.send(Inv()),
    ) as peer:
        if sys.stderr.isatty():
            print(f"watching {sanitize(str(peer))}, height {peer.stats().starting_height}", file=sys.stderr)
        if options.headers:
            peer.send(SendHeaders())
        peer.when_closed().addCallback(lambda reason: printer.end(CommandError(f"{options.endpoint}: {reason}")))
        await printer.done
    return 0


class Printer:
    """Prints events, at most ``count`` of them.

    :param now: gives the time in seconds since 1970.
    :ivar done: fires when all are printed, or fails with why the watch is over.
    """

    def __init__(self, as_json: bool, count: int | None, now: Callable[[], float]) -> None:
        self.done: Deferred[None] = Deferred()
        self._as_json = as_json
        self._left = count
        self._now = now
        self._over = False

    def show(self, event: str, kind: str, hash: Hash, **details: Any) -> None:
        """Print an event, unless all are printed."""
        if self._over:
            return
        found = {"time": utc(int(self._now())), "event": event, "kind": kind, "hash": str(hash), **details}
        try:
            print(json.dumps(found) if self._as_json else _line(found), flush=True)
        except OSError as error:
            # a listener's failure would only be logged
            self.end(error)
            return
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self.end()

    def end(self, error: Exception | None = None) -> None:
        """Print no more."""
        if not self._over:
            self._over = True
            if error is None:
                self.done.callback(None)
            else:
                self.done.errback(error)


def _line(found: dict[str, Any]) -> str:
    words = []
    if "transactions" in found:
        words.append(f"{found['size']} bytes, {found['transactions']} transactions, parents")
        words += found["parents"]
    elif "inputs" in found:
        words.append(f"{found['inputs']} inputs, {found['outputs']} outputs")
    height = "-" if found.get("height") is None else found["height"]
    columns = f"{found['time']}  {found['event']:<9}  {found['kind']:<6}  {height:>8}  {found['hash']}"
    return f"{columns}  {' '.join(words)}".rstrip()
