"""A process that captures: numbered messages between two peers on loopback, until it is told or killed.

Arguments: the directory, and the most bytes that a file may have (0 for any).
"""

from __future__ import annotations

import resource
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.task import deferLater, react
from twisted.logger import globalLogBeginner, textFileLogObserver

from txsoter import SIMNET, Listeners, PeerConfig, SoterClientFactory, SoterServerFactory
from txsoter.capture import Capture
from txsoter.wire import Unknown

__all__ = ["FILLER"]

FILLER = 10_000
"""Bytes of a message."""


async def run(reactor: Any, directory: str, limit: int) -> None:
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    capture = Capture(directory, reactor, max_connection=1 << 30)
    capture.startService()
    config = PeerConfig(network=SIMNET, allow_self_connections=True)
    heard = 0

    def on_unknown(peer: object, message: Unknown) -> None:
        nonlocal heard
        heard += 1

    listener = SoterServerFactory(config.replace(listeners=Listeners(on_unknown=on_unknown)), capture)
    port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(listener)
    host: Any = port.getHost()
    peer: Any = await clientFromString(reactor, f"tcp:127.0.0.1:{host.port}").connect(
        SoterClientFactory(config, capture)
    )
    await peer.when_ready()
    number = told = 0
    while not (told and heard >= told + 100):
        await peer.send(Unknown("number", number.to_bytes(8, "little") + bytes(FILLER - 8)))
        number += 1
        if number % 50 == 0:
            print(f"at {number}.", flush=True)
            await deferLater(reactor, 0.0)
        if capture.stopped is not None and not told:
            told = heard
    print(f"went on to {heard}; is {peer.state.value}", flush=True)
    await peer.disconnect()
    await listener.disconnect_all()
    await port.stopListening()
    await capture.stopService()


def main(reactor: Any, directory: str, limit: str) -> Deferred[None]:
    return Deferred.fromCoroutine(run(reactor, directory, int(limit)))


if __name__ == "__main__":
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
    react(main, sys.argv[1:])
