"""A page that shows what goes on: peers, what they announce, why connections end; live, and as JSON.

::

    status = StatusService(serverFromString(reactor, loopback_endpoint("8080")), lambda: service.peers, config)
    service = PeerService(config, observers=[status.observer])
    status.setServiceParent(service)
"""

from txsoter.service.status.parts import Ban, Dialled, StatusParts
from txsoter.service.status.service import StatusService
from txsoter.service.web.access import loopback_endpoint

__all__ = ["Ban", "Dialled", "StatusParts", "StatusService", "loopback_endpoint"]
