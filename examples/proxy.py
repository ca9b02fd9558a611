"""Dial a node through a SOCKS5 proxy such as Tor's, so that neither side learns the other's address.

python examples/proxy.py tor:soternode.onion:18555 --network simnet
python examples/proxy.py tor:192.0.2.7:18555 --socks 127.0.0.1:1080
"""

import argparse
from importlib.util import find_spec

from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react

from txsoter import PeerConfig, connect
from txsoter.core.sanitize import sanitize
from txsoter.networks import network_named


async def main(reactor):
    parser = argparse.ArgumentParser(description="Dial a soter node through a SOCKS5 proxy, and say who it is.")
    parser.add_argument("node", help="where the node is: tor:HOST:PORT, for any host that the proxy can reach")
    parser.add_argument("--socks", default="127.0.0.1:9050", help="the proxy, HOST:PORT (default: %(default)s, Tor's)")
    parser.add_argument("--network", default="mainnet", choices=("mainnet", "testnet1", "regtest", "simnet"))
    args = parser.parse_args()
    if find_spec("txtorcon") is None:
        raise SystemExit("txtorcon, which reads tor: endpoints, is missing: pip install 'txsoter[tor]'")
    if not args.node.startswith("tor:"):
        raise SystemExit(f"{args.node}: must begin with tor:, anything else would not go through the proxy")
    host, _, port = args.socks.rpartition(":")
    try:
        # with the proxy in the config, its address is not sent to the node either
        config = PeerConfig(network=network_named(args.network), proxy=args.socks)
        endpoint = clientFromString(reactor, f"{args.node}:socksHostname={host}:socksPort={port}")
        peer = await connect(endpoint, config)
    except Exception as error:
        raise SystemExit(f"{args.node} by {args.socks}: {error}") from None
    stats = peer.stats()
    print(f"connected by {args.socks}: {sanitize(stats.user_agent)}, height {stats.starting_height}")
    print(await peer.disconnect("seen enough"))


react(main)
