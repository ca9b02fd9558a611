"""For tests of programs that use txsoter: peers connected in memory, and a remote that follows a script.

Nothing here opens a socket or waits: bytes move when :meth:`MemoryLink.pump` is called, time when the
``Clock`` is advanced::

    pair = connected_pair()
    pair.client.send(Ping(7))
    pair.pump()
    assert pair.server.stats().received["ping"].messages == 1
    pair.clock.advance(120)
"""

from txsoter.testing.memory import CLIENT, SERVER, MemoryLink, MemoryTransport
from txsoter.testing.pairs import PeerPair, connected_pair, repeatable
from txsoter.testing.scripts import ScriptedPair, ScriptedPeer, remote_version, scripted

__all__ = [
    "CLIENT",
    "SERVER",
    "MemoryLink",
    "MemoryTransport",
    "PeerPair",
    "ScriptedPair",
    "ScriptedPeer",
    "connected_pair",
    "remote_version",
    "repeatable",
    "scripted",
]
