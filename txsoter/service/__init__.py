"""Peers that are kept: a Twisted service that dials some, is dialled by others, and ends them all.

::

    service = PeerService(config)
    service.dial(clientFromString(reactor, "tcp:192.0.2.7:18555"), "tcp:192.0.2.7:18555")
    service.listen(serverFromString(reactor, "tcp:18555"), "tcp:18555")
    service.setServiceParent(application)
"""

from txsoter.service.observers import Observer, observed
from txsoter.service.peers import ListeningService, PeerService, ReadyPeer, having_nothing

__all__ = ["ListeningService", "Observer", "PeerService", "ReadyPeer", "having_nothing", "observed"]
