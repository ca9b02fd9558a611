"""Dial a node and print what it announces, until it closes or you press Ctrl-C.

python examples/watch.py tcp:127.0.0.1:18555 --network simnet --headers --fetch
"""

import argparse
import sys

from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react

from txsoter import Listeners, PeerConfig, connect
from txsoter.networks import network_named
from txsoter.wire import GetData, Inv, InventoryType, SendHeaders

KINDS = {InventoryType.TX: "tx", InventoryType.BLOCK: "block"}


def show_block(peer, block, payload):
    parents = " ".join(str(parent.hash) for parent in block.parents)
    print(f"block {block.hash}: {len(payload)} bytes, {len(block.transactions)} transactions, parents {parents}")


async def main(reactor):
    parser = argparse.ArgumentParser(description="Print what a soter node announces.")
    parser.add_argument("node", help="where the node is: an endpoint string such as tcp:127.0.0.1:18555")
    parser.add_argument("--network", default="mainnet", choices=("mainnet", "testnet1", "regtest", "simnet"))
    parser.add_argument("--headers", action="store_true", help="ask to be told of new blocks by their headers")
    parser.add_argument("--fetch", action="store_true", help="fetch announced blocks and transactions, and print them")
    args = parser.parse_args()

    def show_inv(peer, inv):
        for vector in inv.vectors:
            print(f"announced: {KINDS.get(vector.type, vector.type)} {vector.hash}, height {vector.height}")
        if args.fetch:
            peer.send(GetData([vector for vector in inv.vectors if vector.type in KINDS]))

    listeners = Listeners(
        on_inv=show_inv,
        on_headers=lambda peer, message: [print(f"announced: header {header.hash}") for header in message.headers],
        on_block=show_block,
        on_tx=lambda peer, tx: print(f"tx {tx.txid}: {len(tx.inputs)} inputs, {len(tx.outputs)} outputs"),
        on_getblocks=lambda peer, question: peer.send(Inv()),  # a node whose question is not answered closes
    )
    try:
        config = PeerConfig(network=network_named(args.network), listeners=listeners)
        peer = await connect(clientFromString(reactor, args.node), config)
    except Exception as error:
        raise SystemExit(f"{args.node}: {error}") from None
    reactor.addSystemEventTrigger("before", "shutdown", peer.disconnect, "interrupted")
    print(f"watching {peer}, at height {peer.stats().starting_height}")
    if args.headers:
        peer.send(SendHeaders())
    print(await peer.when_closed())


sys.stdout.reconfigure(line_buffering=True)  # a pipe, too, gets each line at once
react(main)
