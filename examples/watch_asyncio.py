"""Dial a node with asyncio and print what it announces, until it closes or you press Ctrl-C.

python examples/watch_asyncio.py 127.0.0.1:18555 --network simnet --fetch
"""

# In a notebook, beside this file: from watch_asyncio import SIMNET, watch
# and in the next cell: await watch("127.0.0.1", 18555, SIMNET)
import argparse
import asyncio
import sys
from contextlib import suppress

from txsoter import SIMNET, PeerConfig, TxsoterError  # noqa: F401  # SIMNET is for the notebook
from txsoter.aio import connect
from txsoter.networks import network_named
from txsoter.wire import Block, GetBlocks, GetData, Headers, Inv, InventoryType, Tx

KINDS = {InventoryType.TX: "tx", InventoryType.BLOCK: "block"}


async def watch(host, port, network, fetch=False):
    async with await connect(host, port, PeerConfig(network=network)) as peer:
        print(f"watching {peer}, at height {peer.stats().starting_height}")
        # the next message waits until this one is printed, and the node in the end
        async for message in peer.messages():
            if isinstance(message, Inv):
                for vector in message.vectors:
                    print(f"announced: {KINDS.get(vector.type, vector.type)} {vector.hash}, height {vector.height}")
                if fetch:
                    await peer.send(GetData([vector for vector in message.vectors if vector.type in KINDS]))
            elif isinstance(message, Headers):
                print(*[f"announced: header {header.hash}" for header in message.headers], sep="\n")
            elif isinstance(message, Block):
                print(f"block {message.hash}: parents {' '.join(str(parent.hash) for parent in message.parents)}")
            elif isinstance(message, Tx):
                print(f"tx {message.txid}: {len(message.inputs)} inputs, {len(message.outputs)} outputs")
            elif isinstance(message, GetBlocks):
                await peer.send(Inv())  # a node whose question is not answered closes
        print(peer.close_reason)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print what a soter node announces, with asyncio.")
    parser.add_argument("node", help="where the node is: host:port, such as 127.0.0.1:18555")
    parser.add_argument("--network", default="mainnet", choices=("mainnet", "testnet1", "regtest", "simnet"))
    parser.add_argument("--fetch", action="store_true", help="fetch announced blocks and transactions, and print them")
    args = parser.parse_args()
    host, _, port = args.node.rpartition(":")
    sys.stdout.reconfigure(line_buffering=True)  # a pipe, too, gets each line at once
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(watch(host.strip("[]"), int(port), network_named(args.network), args.fetch))
    except (OSError, ValueError, TxsoterError) as error:
        raise SystemExit(f"{args.node}: {error}") from None
