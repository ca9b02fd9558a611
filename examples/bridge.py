"""Relay between those who dial us and a node; each gets a connection to the node of its own.

python examples/bridge.py tcp:18556:interface=127.0.0.1 tcp:127.0.0.1:18555 --network simnet
"""

import argparse
from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.task import react

from txsoter import Listeners, PeerConfig, SoterClientFactory, SoterPeerProtocol, SoterServerFactory, networks
from txsoter.errors import ConnectionClosed, UnsupportedMessage
from txsoter.wire import Encoding, Ping, Pong, Unknown, VerAck, Version


class Side(SoterPeerProtocol):
    def __init__(self, config, inbound, other=None):
        super().__init__(config.replace(newest_block=lambda: self.other.stats().starting_height), inbound)
        self.other = other

    async def message_received(self, message):
        # handshakes and pings are each side's own, and a soterd closes on a command that it does not know
        if not isinstance(message, (Version, VerAck, Ping, Pong, Unknown)):
            with suppress(ConnectionClosed, UnsupportedMessage):
                await self.other.send(message, Encoding.WITNESS)  # nothing more is read until this has been taken


async def main(reactor):
    parser = argparse.ArgumentParser(description="Relay between those who dial us and a soter node.")
    parser.add_argument("listen", help="where to be dialled: an endpoint string such as tcp:18556:interface=127.0.0.1")
    parser.add_argument("node", help="where the node is: an endpoint string such as tcp:127.0.0.1:18555")
    parser.add_argument("--network", default="mainnet", choices=("mainnet", "testnet1", "regtest", "simnet"))
    parser.add_argument("--services", type=int, default=9, help="what we offer (default: 9, NETWORK and WITNESS)")
    args = parser.parse_args()

    async def dial_node(remote, version):  # our own version goes out after this, claiming what the node has
        try:
            node = await node_endpoint.connect(SoterClientFactory(config, lambda *given: Side(*given, other=remote)))
            node.when_closed().addCallback(lambda reason: remote.disconnect(f"the node: {reason}"))
            remote.when_closed().addCallback(lambda reason: node.disconnect(f"the remote: {reason}"))
            remote.other = await node.when_ready()
            print(f"{remote} is connected to {node}", flush=True)
        except Exception as error:
            print(f"{remote} is refused, there is no node: {error}", flush=True)
            remote.disconnect("no node")

    try:
        config = PeerConfig(network=networks.network_named(args.network), services=args.services)
        node_endpoint, endpoint = clientFromString(reactor, args.node), serverFromString(reactor, args.listen)
        server = SoterServerFactory(config.replace(listeners=Listeners(on_version=dial_node)), Side)
        print(f"listening: {(await endpoint.listen(server)).getHost()}", flush=True)
    except Exception as error:
        raise SystemExit(str(error)) from None
    await Deferred()


react(main)
