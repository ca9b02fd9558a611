"""Two peers in one process: one listens on simnet's port on loopback, the other dials it.

python examples/peer_connection.py
"""

import argparse

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import react

from txsoter import SIMNET, Listeners, PeerConfig, SoterServerFactory, connect


def show_version(peer, version):
    print(f"{peer}: received version {version.protocol_version}, user agent {version.user_agent.decode()}")


async def main(reactor):
    argparse.ArgumentParser(description="Let two peers in one process shake hands, and part.").parse_args()
    # both are this process, which a peer otherwise takes for a mistake
    config = PeerConfig(network=SIMNET, allow_self_connections=True)
    listening = SoterServerFactory(config)
    address = ("127.0.0.1", SIMNET.default_port)
    try:
        port = await TCP4ServerEndpoint(reactor, address[1], interface=address[0]).listen(listening)
        dialling = connect(
            TCP4ClientEndpoint(reactor, *address),
            config.replace(listeners=Listeners(on_version=show_version)),
        )
        peer = await dialling.addTimeout(1, reactor)
    except Exception as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    print(f"{peer}: received verack, ready")
    print(f"{peer}: {await peer.disconnect('we are done')}")
    await listening.disconnect_all()
    await port.stopListening()


react(main)
