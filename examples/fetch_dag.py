"""Fetch all blocks of a node: check each, print its height, hash and parents, perhaps draw the DAG.

python examples/fetch_dag.py tcp:127.0.0.1:18555 --network simnet --dot dag.dot && dot -Tsvg -O dag.dot
"""

import argparse
from pathlib import Path

from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react

from txsoter import PeerConfig, connect, walk_blocks
from txsoter.networks import network_named


async def main(reactor):
    parser = argparse.ArgumentParser(description="Fetch, check and print all blocks of a soter node.")
    parser.add_argument("node", help="where the node is: an endpoint string such as tcp:127.0.0.1:18555")
    parser.add_argument("--network", default="mainnet", choices=("mainnet", "testnet1", "regtest", "simnet"))
    parser.add_argument("--dot", type=Path, metavar="FILE", help="write the DAG there, for Graphviz")
    args, drawing = parser.parse_args(), ["digraph soter {", "rankdir=RL; node [shape=box];"]
    try:
        from tqdm import tqdm

        peer = await connect(clientFromString(reactor, args.node), PeerConfig(network=network_named(args.network)))
        with tqdm(total=peer.stats().starting_height, unit=" heights", disable=None) as bar:  # None: on a tty only
            async for height, block in walk_blocks(peer):
                hash, *parents = map(str, (block.hash, *(parent.hash for parent in block.parents)))
                bar.write(" ".join((str(height), hash, *parents)))
                bar.update(height - bar.n)
                drawing += [f'"{hash}" [label={height}];', *(f'"{hash}" -> "{parent}";' for parent in parents)]
        if args.dot:
            args.dot.write_text("\n".join((*drawing, "}\n")))
    except ImportError as error:
        raise SystemExit(f"{error}: pip install tqdm, which draws the progress bar") from None
    except Exception as error:
        raise SystemExit(f"{args.node}: {error}") from None


react(main)
