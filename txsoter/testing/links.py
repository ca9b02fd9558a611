"""A connection of a simulated network: its two ends, and the way between them."""

from __future__ import annotations

from itertools import pairwise

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost as TransportLost

from txsoter.testing.interfaces import Network
from txsoter.testing.transports import READ_SIZE, Packet, SimulatedTransport

__all__ = ["SimulatedLink"]

BY_THE_BYTE = 200
"""The most bytes that may arrive one by one."""


class SimulatedLink:
    """A TCP connection between two nodes of a :class:`~txsoter.testing.SimulatedNetwork`.

    :ivar number: the first link of a network is 1.
    :ivar client: the end that dialled.
    :ivar server: the end that was dialled.
    :ivar latency: seconds that bytes take at least.
    :ivar window: bytes that may be on their way in one direction, unread ones included.
    :ivar overruns: whether bytes that have arrived together are all given, although reading was paused meanwhile.
    :ivar broken: whether it was reset.
    """

    def __init__(self, network: Network, number: int, client: IPv4Address, server: IPv4Address) -> None:
        self.network = network
        self.number = number
        random = network.random
        self.latency = random.uniform(*network.latency)
        self.window = random.randint(*network.window)
        self.overruns = random.random() < network.overrun
        # as seen from outside; the ends know each other by it
        self.client = SimulatedTransport(self, client, server)
        self.server = SimulatedTransport(self, server, client)
        self.broken = False

    def __repr__(self) -> str:
        return f"<link {self.number}: {self.client.getHost().host} to {self.server.getHost().host}>"

    @property
    def ends(self) -> tuple[SimulatedTransport, SimulatedTransport]:
        """The end that dialled, and the one that was dialled."""
        return self.client, self.server

    @property
    def passable(self) -> bool:
        """Whether anything gets through."""
        return not self.broken and self.network.reaches(self.client.getHost().host, self.server.getHost().host)

    def delay(self) -> float:
        """How long something takes now, in seconds."""
        return self.latency * (1.0 + self.network.random.random())

    def pieces(self, data: bytes) -> list[bytes]:
        """``data`` in the pieces in which it will arrive."""
        random, size = self.network.random, len(data)
        cuts = {*range(READ_SIZE, size, READ_SIZE)}
        if size > 1 and random.random() < self.network.chop:
            if size <= BY_THE_BYTE and random.random() < 0.03:
                cuts = {*range(1, size)}
            else:
                cuts |= {random.randrange(1, size) for _ in range(random.randint(1, 5))}
        return [data[start:end] for start, end in pairwise([0, *sorted(cuts), size])]

    def reset(self) -> None:
        """Break the connection: what is on its way is lost, and both ends hear of it within a latency."""
        if self.broken:
            return
        self.broken = True
        for end in self.ends:
            end.discard()
            if end.connected:
                end._aborting = True
                end.reading = False
                end._lose_later(self.network.random.random() * self.latency, TransportLost(), None)
        if self.client.attempt is not None:
            self.client.attempt.fail(TransportLost())
        self.closed()

    def arrived(self, end: SimulatedTransport, packet: Packet | None) -> None:
        """Something other than bytes has arrived, or (None) bytes at an end that is closed."""
        if packet is Packet.KNOCK:
            self.network.knock(self)
        elif packet is Packet.ACCEPTED and end.attempt is not None:
            end.attempt.accepted()
        elif packet is Packet.RESET and end.attempt is not None:
            end.attempt.refused()
        elif packet is Packet.RESET and end.connected:
            end._lose(TransportLost(), None)
        elif (packet is None or packet is Packet.ACCEPTED) and end.other.connected:
            end.put(Packet.RESET)

    def closed(self) -> None:
        """An end is closed, or will never be open: with the last one the link goes."""
        if not self.client.connected and not self.server.connected and self.client.attempt is None:
            for end in self.ends:
                end.discard()
            self.network.forget(self)
