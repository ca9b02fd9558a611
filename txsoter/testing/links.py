"""A connection of a simulated network: its two ends, and the way between them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from twisted.internet.error import ConnectionLost as TransportLost

from txsoter.testing.interfaces import End, Network
from txsoter.testing.pipes import READ_SIZE, Packet, Pipe

__all__ = ["SimulatedLink"]

BY_THE_BYTE = 200
"""The most bytes that may arrive one by one."""


class SimulatedLink:
    """A TCP connection between two nodes of a :class:`~txsoter.testing.SimulatedNetwork`.

    :param knock: called when somebody's wish for a connection arrives at the end that was dialled.
    :ivar number: the first link of a network is 1.
    :ivar client: the end that dialled: a :class:`~txsoter.testing.SimulatedTransport`, or a
        :class:`~txsoter.testing.CorePeer`.
    :ivar server: the end that was dialled, of the same kind.
    :ivar latency: seconds that bytes take at least.
    :ivar window: bytes that may be on their way in one direction, unread ones included.
    :ivar overruns: whether bytes that have arrived together are all given, although reading was paused meanwhile.
    :ivar broken: whether it was reset.
    """

    def __init__(self, network: Network, number: int, client: End, server: End, knock: Callable[[], object]) -> None:
        self.network = network
        self.number = number
        random = network.random
        self.latency = random.uniform(*network.latency)
        self.window = random.randint(*network.window)
        self.overruns = random.random() < network.overrun
        self.client = client
        self.server = server
        self._hosts = client.host, server.host
        self.broken = False
        self._knock = knock
        self._pipes = Pipe(self, client, server), Pipe(self, server, client)
        for end, pipe in zip(self.ends, self._pipes, strict=True):
            end.attach(self, pipe)

    def __repr__(self) -> str:
        return f"<link {self.number}: {self.client.host} to {self.server.host}>"

    @property
    def ends(self) -> tuple[End, End]:
        """The end that dialled, and the one that was dialled."""
        return self.client, self.server

    @property
    def passable(self) -> bool:
        """Whether anything gets through."""
        return not self.broken and self.network.reaches(*self._hosts)

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
        if not cuts:
            return [data]
        return [data[start:end] for start, end in pairwise([0, *sorted(cuts), size])]

    def retransmit(self) -> None:
        """Send again what a partition has kept."""
        for pipe in self._pipes:
            pipe.retransmit()

    def reset(self) -> None:
        """Break the connection: what is on its way is lost, and both ends hear of it within a latency."""
        if self.broken:
            return
        self.broken = True
        for end, pipe in zip(self.ends, self._pipes, strict=True):
            pipe.discard()
            if end.connected:
                end.breaks(self.network.random.random() * self.latency)
        if self.client.attempt is not None:
            self.client.attempt.fail(TransportLost())
        self.closed()

    def arrived(self, end: End, packet: Packet | None) -> None:
        """Something other than bytes has arrived, or (None) bytes at an end that is closed."""
        other, back = (self.server, self._pipes[0]) if end is self.client else (self.client, self._pipes[1])
        if packet is Packet.KNOCK:
            self._knock()
        elif packet is Packet.ACCEPTED and end.attempt is not None:
            end.attempt.accepted()
        elif packet is Packet.RESET and end.attempt is not None:
            end.attempt.refused()
        elif packet is Packet.RESET and end.connected:
            end.was_reset()
        elif (packet is None or packet is Packet.ACCEPTED) and other.connected:
            back.put(Packet.RESET)

    def closed(self) -> None:
        """An end is closed, or will never be open: with the last one the link goes."""
        if not self.client.connected and not self.server.connected and self.client.attempt is None:
            for pipe in self._pipes:
                pipe.discard()
            self.network.forget(self)
