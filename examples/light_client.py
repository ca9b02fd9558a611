"""Watch a script: print payments to it and what spends them, proven, until the nodes close or you press Ctrl-C.

python examples/light_client.py 76a914...88ac tcp:127.0.0.1:18555 --network simnet
"""

import argparse
import sys

from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react

from txsoter import PeerConfig, connect
from txsoter.chain import LightClient
from txsoter.networks import network_named


def show(found):
    paid = sum(found.transaction.outputs[position].value for position in found.pays) / 1e9
    print(
        f"height {found.height}: {'mined' if found.is_mined else 'transaction'} {found.transaction.txid}"
        f" in {'blue' if found.is_blue else 'red'} block {found.block_hash}: pays {paid:g},"
        f" spends {len(found.spends)} outputs, {found.confirmations} confirmations,"
        f" one of {found.proof.total} transactions, proven by {len(found.proof.hashes)} hashes"
    )


async def main(reactor):
    parser = argparse.ArgumentParser(description="Watch a script with a light client, which believes no node.")
    parser.add_argument("script", type=bytes.fromhex, help="of the outputs to watch for, in hexadecimal")
    parser.add_argument("node", nargs="+", help="where a node is: an endpoint string such as tcp:127.0.0.1:18555")
    parser.add_argument("--network", default="mainnet", choices=("mainnet", "testnet1", "regtest", "simnet"))
    parser.add_argument("--from-height", type=int, default=0, help="of the first blocks to be searched")
    args = parser.parse_args()
    config = PeerConfig(network=network_named(args.network))
    # the filters of a node that is alone have to be believed; two watch each other
    client = LightClient(config, filter_peers=min(len(args.node), 2))
    client.startService()
    reactor.addSystemEventTrigger("before", "shutdown", client.stopService)
    try:
        watch, peers = client.watch([args.script], from_height=args.from_height), []
        for node in args.node:
            peers.append(await connect(clientFromString(reactor, node), client.config))
    except Exception as error:
        raise SystemExit(f"{', '.join(args.node)}: {error}") from None
    closed = gatherResults([peer.when_closed() for peer in peers])
    closed.addCallback(lambda reasons: [print(*reasons, sep="\n"), client.stopService()])
    await client.when_synced()
    print(f"watching from height {args.from_height} of {client.index.max_height}")
    async for found in watch:
        show(found)


sys.stdout.reconfigure(line_buffering=True)  # a pipe, too, gets each line at once
react(main)
