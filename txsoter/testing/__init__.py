"""For tests of programs that use txsoter: peers in memory, a remote that follows a script, a whole network.

Nothing here opens a socket or waits: bytes move when :meth:`MemoryLink.pump` is called, time when the
``Clock`` is advanced::

    pair = connected_pair()
    pair.client.send(Ping(7))
    pair.pump()
    assert pair.server.stats().received["ping"].messages == 1
    pair.clock.advance(120)

:class:`SimulatedNetwork` has any number of nodes, and all that goes wrong between them, from one seed. Its nodes are
hosts of protocols, or of cores that are driven without Twisted (:class:`CoreNode`), which is faster.

A network over real TCP, for crawlers and whole processes, is in :mod:`txsoter.testing.loopback`.
"""

from txsoter.testing.clock import Livelock, SimulatedClock
from txsoter.testing.cores import CoreNode, CorePeer
from txsoter.testing.endpoints import SimulatedClientEndpoint, SimulatedPort, SimulatedServerEndpoint
from txsoter.testing.links import SimulatedLink
from txsoter.testing.memory import CLIENT, SERVER, MemoryLink, MemoryTransport
from txsoter.testing.pairs import PeerPair, connected_pair, repeatable
from txsoter.testing.scripts import ScriptedPair, ScriptedPeer, remote_version, scripted
from txsoter.testing.simulation import Faults, SimulatedNetwork, SimulatedNode
from txsoter.testing.transports import SimulatedTransport

__all__ = [
    "CLIENT",
    "SERVER",
    "CoreNode",
    "CorePeer",
    "Faults",
    "Livelock",
    "MemoryLink",
    "MemoryTransport",
    "PeerPair",
    "ScriptedPair",
    "ScriptedPeer",
    "SimulatedClientEndpoint",
    "SimulatedClock",
    "SimulatedLink",
    "SimulatedNetwork",
    "SimulatedNode",
    "SimulatedPort",
    "SimulatedServerEndpoint",
    "SimulatedTransport",
    "connected_pair",
    "remote_version",
    "repeatable",
    "scripted",
]
