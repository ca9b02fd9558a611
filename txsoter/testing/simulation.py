"""A network in one process, on simulated time, from one seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address as Ip
from random import Random
from typing import Any, TypeVar, cast
from zlib import crc32

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.python.failure import Failure

from txsoter.networks import SIMNET
from txsoter.peer.config import PeerConfig
from txsoter.peer.factory import connect, listen
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.testing.clock import SimulatedClock
from txsoter.testing.cores import CoreMaker, CoreNode, CorePeer
from txsoter.testing.endpoints import SimulatedClientEndpoint, SimulatedPort, SimulatedServerEndpoint
from txsoter.testing.interfaces import End
from txsoter.testing.links import SimulatedLink
from txsoter.testing.pipes import Packet, cancel
from txsoter.testing.transports import SimulatedTransport

__all__ = ["Faults", "SimulatedNetwork", "SimulatedNode"]

T = TypeVar("T")

KIB = 1024
FIRST_HOST = int(Ip("10.0.0.1"))
FIRST_EPHEMERAL_PORT = 49152


@attrs.frozen(kw_only=True)
class Faults:
    """What goes wrong in a network, and how often: seconds between two in the mean, None for never.

    :ivar reset: a connection breaks.
    :ivar hold: a program reads nothing from one of its connections for a while; what is sent to it piles up.
    :ivar hold_seconds: how long, at least and at most.
    :ivar partition: the network falls in two.
    :ivar partition_seconds: for how long, at least and at most.
    """

    reset: float | None = 30.0
    hold: float | None = 10.0
    hold_seconds: tuple[float, float] = (0.1, 20.0)
    partition: float | None = 100.0
    partition_seconds: tuple[float, float] = (1.0, 40.0)


class SimulatedNode:
    """A host of a :class:`SimulatedNetwork`, and how the peers there behave.

    :ivar host: its IP, as text.
    :ivar config: of its peers: as given to :meth:`SimulatedNetwork.node`, but on the network's clock, from its seed.
    """

    def __init__(self, network: SimulatedNetwork, host: str, config: PeerConfig) -> None:
        self.network = network
        self.host = host
        self.config = config

    def __repr__(self) -> str:
        return f"<node {self.host}>"

    def client_endpoint(
        self, to: SimulatedNode, port: int | None = None, timeout: float = 30.0
    ) -> SimulatedClientEndpoint:
        """The road to a port of another node.

        :param port: by default that of the other node's network.
        """
        return SimulatedClientEndpoint(self.network, self.host, to.address(port), timeout)

    def server_endpoint(self, port: int | None = None) -> SimulatedServerEndpoint:
        """A port of this node.

        :param port: by default that of its network.
        """
        return SimulatedServerEndpoint(self.network, self.address(port))

    def connect(self, to: SimulatedNode, port: int | None = None) -> Deferred[SoterPeerProtocol]:
        """As :func:`txsoter.connect`, with this node's config."""
        return connect(self.client_endpoint(to, port), self.config)

    def listen(self, port: int | None = None) -> Deferred[IListeningPort]:
        """As :func:`txsoter.listen`, with this node's config."""
        return listen(self.server_endpoint(port), self.config)

    def address(self, port: int | None = None) -> IPv4Address:
        """A port of this node, by default that of its network."""
        return IPv4Address("TCP", self.host, self.config.network.default_port if port is None else port)

    @property
    def transports(self) -> list[SimulatedTransport]:
        """This node's ends of its connections."""
        ends = (end for link in self.network.links for end in link.ends)
        return [end for end in ends if isinstance(end, SimulatedTransport) and end.connected and end.host == self.host]

    @property
    def peers(self) -> list[SoterPeerProtocol]:
        """Those whom this node is connected to, ready or not."""
        protocols = [end.protocol for end in self.transports]
        return [each for each in protocols if isinstance(each, SoterPeerProtocol)]


class SimulatedNetwork:
    """A network of any number of nodes in one process, where time is simulated and everything comes from a seed::

        network = SimulatedNetwork(seed=7)
        alice, bob = network.node(), network.node(PeerConfig(network=SIMNET, listeners=...))
        bob.listen()
        peer = network.wait_for(alice.connect(bob))
        peer.send(Ping(7))
        network.run(10)
        network.partition([alice])
        network.run(400)
        network.heal()
        network.close()

    The same without protocols: cores, driven by the network itself::

        alice, bob = network.core_node(), network.core_node(PeerConfig(network=SIMNET, listeners=...))
        peer = alice.connect(bob)
        peer.send(Ping(7), told=lambda answer, error: ...)

    Its links have latency; bytes arrive in random pieces, in order, and no later than they must: bandwidth has no
    limit. What is on its way and not read is bounded by the link's window, so a side that does not read is felt by
    the one that writes. A partition loses nothing: what was on its way arrives when it is healed, and connections
    end in it only if the peers give up.

    Two runs with the same seed and the same program are the same to the byte, which :attr:`digest` tells. For that
    the program too must take its time from :attr:`clock` and its randomness from :attr:`random` (a PeerService
    needs both: its ``clock``, and a ``retry_policy`` of its own), and iterate over no sets of peers.

    :param seed: where all randomness comes from.
    :param latency: seconds that bytes take, the least and the most; each link has its own in between, and each
        piece up to twice as much.
    :param chop: the probability that what is written at once arrives in several pieces.
    :param window: bytes that may be on their way in one direction of a link, the least and the most.
    :param overrun: the probability that a link gives all bytes that have arrived together although the protocol has
        paused reading meanwhile, as TLS does.
    :param beat: seconds; bytes arrive at multiples of it, and those of one link together. A network with one is coarser
        and faster.
    :ivar clock: a :class:`~txsoter.testing.SimulatedClock`.
    :ivar random: the only source of randomness.
    :ivar nodes: in the order in which they were made.
    :ivar core_nodes: those whose connections are cores.
    :ivar ports: open ones, by host and port.
    :ivar tap: called with the transport and the bytes of each write, if it is set.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        latency: tuple[float, float] = (0.005, 0.25),
        chop: float = 0.25,
        window: tuple[int, int] = (16 * KIB, 256 * KIB),
        overrun: float = 0.0,
        beat: float | None = None,
    ) -> None:
        self.seed = seed
        self.latency = latency
        self.chop = chop
        self.window = window
        self.overrun = overrun
        self.beat = beat
        self.random = Random(seed)
        self.clock = SimulatedClock()
        self.nodes: list[SimulatedNode] = []
        self.core_nodes: list[CoreNode] = []
        self.ports: dict[tuple[str, int], SimulatedPort] = {}
        self.tap: Callable[[SimulatedTransport, bytes], object] | None = None
        self._links: dict[int, SimulatedLink] = {}
        self._made = 0
        # the group of each host while the network is partitioned
        self._group: dict[str, int] = {}
        self._faults: dict[str, IDelayedCall] = {}
        self._digest = 0

    # -- who is there --------------------------------------------------------------------------

    def node(self, config: PeerConfig | None = None) -> SimulatedNode:
        """Add a node.

        :param config: of its peers, by default simnet's defaults. Its ``clock`` and ``random`` are replaced.
        """
        node = SimulatedNode(self, self._next_host(), self._own_config(config))
        self.nodes.append(node)
        return node

    def core_node(self, config: PeerConfig | None = None, make: CoreMaker = CorePeer) -> CoreNode:
        """Add a node whose connections are cores, driven without transports: it can be connected to others of its kind.

        :param config: as for :meth:`node`.
        :param make: makes its connections.
        """
        node = CoreNode(self, self._next_host(), self._own_config(config), make)
        self.core_nodes.append(node)
        return node

    def _next_host(self) -> str:
        return str(Ip(FIRST_HOST + len(self.nodes) + len(self.core_nodes)))

    def _own_config(self, config: PeerConfig | None) -> PeerConfig:
        base = PeerConfig(network=SIMNET) if config is None else config
        return base.replace(clock=self.clock, random=Random(self.random.getrandbits(64)), allow_self_connections=True)

    @property
    def links(self) -> list[SimulatedLink]:
        """The connections that live, and those that are being made, in the order in which they were dialled."""
        return list(self._links.values())

    @property
    def digest(self) -> str:
        """What has arrived until now, where and when, in eight characters; the same in runs that are the same."""
        return f"{self._digest:08x}"

    # -- time ----------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let time go on. What a protocol or a timer raises is raised here."""
        self.clock.advance(seconds)

    def run_until(self, condition: Callable[[], object], timeout: float = 60.0) -> None:
        """Let time go on until something holds.

        :param timeout: seconds.
        :raises TimeoutError: when it does not hold by then.
        """
        end = self.clock.seconds() + timeout
        while not condition():
            due = self.clock.next_time
            if due is None or due > end:
                self.clock.advance(max(0.0, end - self.clock.seconds()))
                if condition():
                    return
                raise TimeoutError(f"still waiting for {condition} after {timeout:g} s of simulated time")
            self.clock.advance(max(0.0, due - self.clock.seconds()))

    def wait_for(self, deferred: Deferred[T], timeout: float = 60.0) -> T:
        """Let time go on until a Deferred has fired.

        :param timeout: seconds.
        :return: its result; what it fails with is raised.
        :raises TimeoutError: when it has not fired by then.
        """
        results: list[Any] = []
        deferred.addBoth(results.append)
        self.run_until(lambda: results, timeout)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return cast(T, results[0])

    # -- what goes wrong -----------------------------------------------------------------------

    def partition(self, *groups: Iterable[SimulatedNode | CoreNode]) -> None:
        """Let nothing pass between groups of nodes, until :meth:`heal` or another partition.

        :param groups: the nodes named in none of them are one more together.
        """
        self._group = {node.host: number for number, group in enumerate(groups, 1) for node in group}
        self._retransmit()

    def heal(self) -> None:
        """End the partition: what was on its way arrives."""
        self._group = {}
        self._retransmit()

    def _retransmit(self) -> None:
        for link in self.links:
            link.retransmit()

    def reaches(self, host: str, other: str) -> bool:
        """Whether anything passes between two hosts."""
        group = self._group
        return not group or group.get(host, 0) == group.get(other, 0)

    def disturb(self, faults: Faults | None = None) -> None:
        """Let things go wrong at random, until :meth:`calm`."""
        self.calm()
        faults = Faults() if faults is None else faults
        for mean, act in (
            (faults.reset, self._reset_one),
            (faults.hold, self._hold_one),
            (faults.partition, self._split),
        ):
            if mean is not None:
                self._again(mean, act, faults)

    def calm(self) -> None:
        """Let nothing more go wrong, and heal the network."""
        for call in self._faults.values():
            cancel(call)
        self._faults.clear()
        self.heal()

    def _again(self, mean: float, act: Callable[[Faults], object], faults: Faults) -> None:
        def due() -> None:
            self._again(mean, act, faults)
            act(faults)

        self._faults[act.__name__] = self.clock.callLater(self.random.expovariate(1 / mean), due)

    def _reset_one(self, faults: Faults) -> None:
        if self._links:
            self.random.choice(self.links).reset()

    def _hold_one(self, faults: Faults) -> None:
        if self._links:
            self.random.choice(self.random.choice(self.links).ends).hold(self.random.uniform(*faults.hold_seconds))

    def _split(self, faults: Faults) -> None:
        nodes: list[SimulatedNode | CoreNode] = [*self.nodes, *self.core_nodes]
        self.partition([node for node in nodes if self.random.random() < 0.5])
        cancel(self._faults.get("heal"))
        self._faults["heal"] = self.clock.callLater(self.random.uniform(*faults.partition_seconds), self.heal)

    # -- the end -------------------------------------------------------------------------------

    def close(self, timeout: float = 120.0) -> None:
        """Stop all that goes wrong, close the ports, end all connections, and check that nothing is left.

        :param timeout: seconds for that.
        :raises AssertionError: when something is left by then: a connection, a timer.
        """
        self.calm()
        for port in list(self.ports.values()):
            port.stopListening()
        for link in self.links:
            for end in link.ends:
                end.finish()
        end_time = self.clock.seconds() + timeout
        while self.leftovers() and self.clock.seconds() < end_time:
            self.run(min(1.0, end_time - self.clock.seconds()))
        left = self.leftovers()
        if left:
            raise AssertionError(f"left after the end: {'; '.join(left)}")

    def leftovers(self) -> list[str]:
        """What there is still: ports, connections, timers."""
        ports = [f"port {port} of {host}" for host, port in self.ports]
        return [*ports, *map(str, self.links), *map(str, self.clock.getDelayedCalls())]

    # -- a link's part -------------------------------------------------------------------------

    def dial(self, host: str, to: IPv4Address) -> SimulatedTransport:
        """The end that dials of a new link, which is nothing yet but a way for a knock."""
        port = FIRST_EPHEMERAL_PORT + (self._made + 1) % (65536 - FIRST_EPHEMERAL_PORT)
        dialler = IPv4Address("TCP", host, port)
        # as seen from outside; the ends know each other by it
        client, server = SimulatedTransport(dialler, to), SimulatedTransport(to, dialler)
        self.connect(client, server, lambda: self._knock(server))
        return client

    def connect(self, client: End, server: End, knock: Callable[[], object]) -> None:
        """A new link between two ends."""
        self._made += 1
        self._links[self._made] = SimulatedLink(self, self._made, client, server, knock)

    def _knock(self, server: SimulatedTransport) -> None:
        """Somebody wants a connection."""
        address = server.getHost()
        port = self.ports.get((address.host, address.port))
        if port is None:
            server.put(Packet.RESET)
            return
        server.put(Packet.ACCEPTED)
        protocol = port.factory.buildProtocol(server.getPeer())
        if protocol is None:
            server.put(Packet.END)
        else:
            server.begin(protocol)

    def forget(self, link: SimulatedLink) -> None:
        """Nothing is left of a link."""
        self._links.pop(link.number, None)

    def note(self, link: SimulatedLink, dialled: bool, data: bytes) -> None:
        """Bytes have arrived at an end of a link."""
        # hashes of numbers are the same in every run
        self._digest = crc32(data, (self._digest ^ hash((self.clock.seconds(), link.number, dialled))) & 0xFFFFFFFF)
