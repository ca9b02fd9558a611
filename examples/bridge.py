"""Relay between those who dial us and a node; each gets a connection to the node of its own.
python examples/bridge.py tcp:18556:interface=127.0.0.1 tcp:127.0.0.1:18555 --network simnet"""

import argparse
import time
from contextlib import suppress

from twisted.internet import defer, endpoints, task

from txsoter import Listeners, PeerConfig, SoterClientFactory, SoterPeerProtocol, SoterServerFactory, networks
from txsoter.errors import ConnectionClosed, UnsupportedMessage
from txsoter.wire import Encoding, GetData, MemPool, Ping, Pong, Unknown, VerAck, Version


class Side(SoterPeerProtocol):
    def __init__(self, config, inbound, other=None):
        super().__init__(config.replace(newest_block=lambda: self.other.stats().starting_height), inbound)
        self.other, self.paid_until = other, 0.0

    async def message_received(self, message):
        # a soterd gives points for these, and forgets half of them each minute: past 100 it bans our address for a day
        points = {MemPool: 33, GetData: len(getattr(message, "vectors", ())) // 505}.get(type(message), 0)
        self.paid_until = max(self.paid_until, time.monotonic()) + points * 60 / 33
        if self.inbound and points and self.paid_until > time.monotonic() + 120:
            self.disconnect(f"the node would ban us, and all whom we bridge: too much {message.command}")
        # handshakes and pings are each side's own, and a soterd closes on a command that it does not know
        elif not isinstance(message, (Version, VerAck, Ping, Pong, Unknown)):
            with suppress(ConnectionClosed, UnsupportedMessage):
                await self.other.send(message, Encoding.WITNESS)  # nothing more is read until this has been taken


async def main(reactor):
    async def dial_node(remote, version):  # our own version goes out after this, claiming what the node has
        try:
            node = await to_node.connect(SoterClientFactory(config, lambda *given: Side(*given, other=remote)))
            node.when_closed().addCallback(lambda reason: remote.disconnect(f"the node: {reason}"))
            remote.when_closed().addCallback(lambda reason: node.disconnect(f"the remote: {reason}"))
            remote.other = await node.when_ready()
        except Exception as error:
            print(f"{remote} is refused, there is no node: {error}", flush=True)
            remote.disconnect("no node")

    parser = argparse.ArgumentParser(description="Relay between those who dial us and a soter node.")
    parser.add_argument("listen", help="where to be dialled: an endpoint string such as tcp:18556:interface=127.0.0.1")
    parser.add_argument("node", help="where the node is: an endpoint string such as tcp:127.0.0.1:18555")
    parser.add_argument("--network", default="mainnet", choices=("mainnet", "testnet1", "regtest", "simnet"))
    parser.add_argument("--services", type=int, default=9, help="what we offer (default: 9, NETWORK and WITNESS)")
    args = parser.parse_args()
    try:
        config = PeerConfig(network=networks.network_named(args.network), services=args.services)
        to_node, here = endpoints.clientFromString(reactor, args.node), endpoints.serverFromString(reactor, args.listen)
        server = SoterServerFactory(config.replace(listeners=Listeners(on_version=dial_node)), Side)
        print(f"listening: {(await here.listen(server)).getHost()}", flush=True)
    except Exception as error:
        raise SystemExit(str(error)) from None
    await defer.Deferred()


task.react(main)
