"""OutboundService over real sockets."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString

from txsoter import PeerConfig
from txsoter.networks import REGTEST
from txsoter.service import PeerService
from txsoter.service.book import AddressBook, BookKeeper
from txsoter.service.outbound import OutboundService, endpoints_like
from txsoter.test.peer.cases import over_sockets, real_reactor
from txsoter.test.service.book.support import at


class Node:
    """A node on loopback, in this process."""

    def __init__(self, **settings: Any) -> None:
        reactor = real_reactor()
        self.book = AddressBook(REGTEST, reactor, allow_unroutable=True)
        keeper = BookKeeper(self.book)
        config = PeerConfig(network=REGTEST, clock=reactor, **settings)
        self.peers = PeerService(config, reactor, observers=[keeper])
        self.outbound = OutboundService(self.peers, keeper, 2, endpoints_like(reactor))
        self.parts = (self.book, self.peers, self.outbound)
        listening = self.peers.listen(serverFromString(reactor, "tcp:0:interface=127.0.0.1"), "here")
        for part in self.parts[:2]:
            part.startService()
        assert listening.port is not None
        address: Any = listening.port.getHost()
        self.place = at("127.0.0.1", address.port)

    async def stop(self) -> None:
        for part in reversed(self.parts):
            await maybeDeferred(part.stopService)


def called(target: Any, name: str, times: int = 1) -> Deferred[Any]:
    """Fires when a method has been called so many times, with the last call's arguments."""
    fires: Deferred[Any] = Deferred()
    method, left = getattr(target, name), iter(range(times - 1, -1, -1))

    def note(*arguments: Any) -> Any:
        result = method(*arguments)
        if next(left, None) == 0:
            fires.callback(arguments)
        return result

    setattr(target, name, note)
    return fires


@over_sockets()
async def test_found_through_another() -> None:
    """One that is named tells of a third, which is found, too."""
    nodes = first, second, third = [Node(allow_self_connections=True) for _ in range(3)]
    first.book.name("127.0.0.1", second.place.port)
    second.book.name("127.0.0.1", third.place.port)
    both = called(first.book, "succeeded", 2)
    first.outbound.startService()
    await both
    assert set(first.outbound.ready.values()) == {second.place, third.place}
    assert dict(first.book.sizes()) == {"tried": 2, "new": 0}
    for node in nodes:
        await node.stop()


@over_sockets()
async def test_ourselves_over_sockets() -> None:
    """Our own address is known for what it is after one connection."""
    node = Node()
    node.book.name("127.0.0.1", node.place.port)
    own = called(node.book, "is_own")
    node.outbound.startService()
    assert await own == (node.place,)
    assert len(node.book) == 0
    await node.stop()
