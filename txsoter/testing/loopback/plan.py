"""The plan of a loopback network: addresses, kinds of nodes, connections. All of it follows from the options."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

import attrs

from txsoter.errors import FieldError
from txsoter.ip import pack_ip, parse_ip
from txsoter.networks import REGTEST
from txsoter.testing.loopback.topology import TOPOLOGIES, Edge
from txsoter.wire import NetAddress, Services

__all__ = [
    "BYSTANDER",
    "DEAD",
    "HIDDEN",
    "HONEST",
    "LIARS",
    "PROFILES",
    "LoopbackOptions",
    "Place",
    "Plan",
    "Profile",
    "made_up",
    "make_plan",
]

HONEST, HIDDEN, DEAD, BYSTANDER = "honest", "hidden", "dead", "bystander"

LIARS = {
    "claims-all": "claims connections in both directions with every node",
    "echo": "tells the remote's own address in all its answers",
    "fake-inbound": "claims inbound connections of nodes that have not dialled it",
    "flood": "tells 50,000 addresses, at none of which anybody listens",
    "ipv6": "tells IPv6 addresses in all its answers",
    "other-network": "speaks with the magic of another network",
    "other-services": "tells addresses of servers that speak another protocol",
    "slow": "tells the truth, but takes seconds for the handshake and for each answer",
    "tarpit": "accepts connections and never sends anything",
}
"""The kinds of liars, and the behaviour of each."""

BYSTANDERS = 4
"""Servers of another protocol in a network that has a liar who tells their addresses."""

BYSTANDER_PORT = 10025

TOLD_BY = 8
"""The number of honest nodes that know an address without being its neighbours."""

_PREFIX = bytes(10) + b"\xff\xff"
_FULL = Services.NETWORK | Services.BLOOM | Services.WITNESS | Services.CF


@attrs.frozen
class Profile:
    """The ``version`` message that some of the nodes have in common.

    :param weight: share of the nodes, relative to the other profiles' weights.
    :param user_agent_name: name of the program; see :class:`txsoter.PeerConfig`, also for the next three.
    :param height: number of the newest block.
    """

    weight: int
    user_agent_name: str
    user_agent_version: str
    services: int = int(_FULL)
    protocol_version: int = 70013
    height: int = 5000


PROFILES = (
    Profile(60, "lightnode", "1.2.0"),
    Profile(25, "lightnode", "1.1.3", height=4998),
    Profile(10, "lightnode", "1.0.2", services=int(Services.NETWORK | Services.WITNESS), height=3120),
    Profile(5, "othernode", "3.0.1", services=int(Services.NETWORK), protocol_version=70012),
)
"""The default mix: current nodes, some that are one release behind, few old ones that lag, another program."""


@attrs.frozen(kw_only=True)
class LoopbackOptions:
    """Options of a loopback network.

    :param nodes: number of honest nodes.
    :param seed: of all that is random. Equal options make equal networks, addresses included.
    :param topology: ``random``, ``ring`` or ``star``.
    :param degree: number of nodes that each node dials in a random graph.
    :param edges: the connections themselves, as pairs of node numbers from 0, instead of a topology.
    :param hidden: number of nodes that dial others and do not listen, as behind NAT.
    :param dead: number of addresses that nodes tell and at which nobody listens.
    :param liars: number of lying nodes by kind; see :data:`LIARS`.
    :param port: TCP port of all nodes.
    :param profiles: the versions that nodes are of.
    :param slow_seconds: delay of the handshake and of each answer of a slow liar.
    :raises txsoter.errors.FieldError: for values that cannot be.
    """

    nodes: int
    seed: int = 0
    topology: str = "random"
    degree: int = 8
    edges: Sequence[Edge] | None = None
    hidden: int = 0
    dead: int = 0
    liars: Mapping[str, int] = attrs.field(factory=dict)
    port: int = REGTEST.default_port
    profiles: Sequence[Profile] = PROFILES
    slow_seconds: float = 3.0

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.nodes <= MAX_NODES:
            raise FieldError("nodes", self.nodes, f"a whole number from 1 to {MAX_NODES}")
        if self.topology not in TOPOLOGIES:
            raise FieldError("topology", self.topology, f"one of {', '.join(TOPOLOGIES)}")
        unknown = sorted(set(self.liars) - set(LIARS))
        if unknown:
            raise FieldError("liars", ", ".join(unknown), f"of the kinds {', '.join(LIARS)}")
        for name, number in (
            ("degree", self.degree),
            ("hidden", self.hidden),
            ("dead", self.dead),
            *self.liars.items(),
        ):
            if not 0 <= number <= MAX_NODES:
                raise FieldError(name, number, f"a whole number from 0 to {MAX_NODES}")
        for edge in self.edges or ():
            if not (len(edge) == 2 and all(0 <= end < self.nodes for end in edge) and edge[0] != edge[1]):
                raise FieldError("edges", edge, f"two different numbers of nodes, from 0 to {self.nodes - 1}")
        if not 0 < self.port < 1 << 16 or self.port == BYSTANDER_PORT:
            raise FieldError("port", self.port, f"a whole number from 1 to 65535, except {BYSTANDER_PORT}")
        if not self.profiles:
            raise FieldError("profiles", self.profiles, "at least one Profile")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LoopbackOptions:
        """Return the options that :func:`attrs.asdict` made ``values`` of, which may have been JSON meanwhile."""
        profiles = tuple(Profile(**each) for each in values["profiles"])
        return cls(**{**values, "profiles": profiles})


MAX_NODES = 1_000_000
"""An upper limit of plans; the machine's open files end well before."""


@attrs.frozen
class Place:
    """An address of the network, and the node that is there.

    :ivar number: index in :attr:`Plan.places`.
    :ivar ip: the four bytes of the address.
    :ivar kind: ``honest``, ``hidden``, ``dead``, ``bystander``, or a kind of liar.
    :ivar profile: index of its profile.
    :ivar known: numbers of the places that it knows, apart from its neighbours.
    """

    number: int
    ip: bytes
    port: int
    kind: str
    profile: int
    known: tuple[int, ...]

    @property
    def host(self) -> str:
        """The address as text."""
        return socket.inet_ntoa(self.ip)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@attrs.frozen
class Plan:
    """All addresses and connections of a network.

    :ivar places: honest nodes first, in the order of their numbers.
    :ivar edges: connections, of which honest and hidden nodes dial. Liars have none.
    """

    options: LoopbackOptions
    places: Sequence[Place]
    edges: Sequence[Edge]
    dialled_by: Sequence[Sequence[int]] = attrs.field(init=False)
    """For each honest node the numbers of those that dial it and listen themselves."""
    number_of: Mapping[str, int] = attrs.field(init=False)
    """The numbers of places by host."""

    def __attrs_post_init__(self) -> None:
        dialled_by: list[list[int]] = [[] for _ in range(self.options.nodes)]
        for dialler, dialled in self.edges:
            if dialler < self.options.nodes:
                dialled_by[dialled].append(dialler)
        object.__setattr__(self, "dialled_by", dialled_by)
        object.__setattr__(self, "number_of", {place.host: place.number for place in self.places})

    def address(self, number: int, timestamp: int) -> NetAddress:
        """Return a place as nodes tell it.

        :param timestamp: when it was last seen, seconds since 1970.
        """
        place = self.places[number]
        services = self.options.profiles[place.profile].services
        return NetAddress(services, _PREFIX + place.ip, place.port, timestamp)

    def seen(self, host: str, port: int, timestamp: int) -> NetAddress:
        """Return the address of a remote that has dialled, as the one that it has dialled tells it."""
        number = self.number_of.get(host)
        if number is None:
            ip = parse_ip(host)
            return NetAddress(0, bytes(16) if ip is None else pack_ip(ip), port, timestamp)
        services = self.options.profiles[self.places[number].profile].services
        return NetAddress(services, _PREFIX + self.places[number].ip, port, timestamp)

    def of_kind(self, *kinds: str) -> list[Place]:
        """Return the places of some kinds."""
        return [place for place in self.places if place.kind in kinds]

    def truth(self) -> dict[str, Any]:
        """Return a description for JSON, against which a map of the network can be checked.

        ``nodes`` and ``edges`` hold the honest nodes that listen and the connections between them, ``A`` of a pair
        having dialled ``B``. ``hidden`` has the hosts of hidden nodes, and ``hidden_edges`` the connections that they
        have dialled; ``dead``, ``liars`` and ``bystanders`` have the other addresses that nodes tell.
        """
        names = [place.host if place.kind == HIDDEN else str(place) for place in self.places]
        edges: dict[bool, list[list[str]]] = {False: [], True: []}
        for dialler, dialled in self.edges:
            edges[self.places[dialler].kind == HIDDEN].append([names[dialler], names[dialled]])
        return {
            "network": REGTEST.name,
            "seed": self.options.seed,
            "nodes": names[: self.options.nodes],
            "edges": edges[False],
            "hidden": [place.host for place in self.of_kind(HIDDEN)],
            "hidden_edges": edges[True],
            "dead": [str(place) for place in self.of_kind(DEAD)],
            "liars": [{"address": str(place), "kind": place.kind} for place in self.of_kind(*LIARS)],
            "bystanders": [str(place) for place in self.of_kind(BYSTANDER)],
        }


def make_plan(options: LoopbackOptions) -> Plan:
    """Return the plan that follows from ``options``.

    Addresses are spread over 127.1.0.0 to 127.254.255.255. Each honest node knows the one after it, so that all can be
    found from any, besides others at random; each other address is known to some honest nodes.
    """
    # a source for each purpose: dead nodes and liars change nothing of the honest ones
    random = {name: Random(f"{options.seed} {name}") for name in ("edges", "known", "addresses", "profiles", "hidden")}
    liars = [kind for kind in LIARS for _ in range(options.liars.get(kind, 0))]
    bystanders = BYSTANDERS if options.liars.get("other-services") else 0
    kinds = [HONEST] * options.nodes + liars + [BYSTANDER] * bystanders + [DEAD] * options.dead
    first_hidden = len(kinds)
    kinds += [HIDDEN] * options.hidden
    if options.edges is None:
        edges = TOPOLOGIES[options.topology](options.nodes, options.degree, random["edges"])
    else:
        edges = [(dialler, dialled) for dialler, dialled in options.edges]
    for number in range(first_hidden, len(kinds)):
        dialled = random["hidden"].sample(range(options.nodes), min(options.degree, options.nodes))
        edges += [(number, other) for other in dialled]
    known: list[list[int]] = [[] for _ in range(options.nodes)]
    for number, kind in enumerate(kinds):
        # nobody honest tells the address of a server that is no node, or of a node that does not listen
        if kind not in (BYSTANDER, HIDDEN):
            for teller in random["known"].sample(range(options.nodes), min(TOLD_BY, options.nodes)):
                known[teller].append(number)
    for number in range(options.nodes):
        known[number].append((number + 1) % options.nodes)
    # the last byte of an address is neither 0 nor 255
    spread = random["addresses"].sample(range(254 * 256 * 254), len(kinds))
    profiles = random["profiles"].choices(
        range(len(options.profiles)), [each.weight for each in options.profiles], k=len(kinds)
    )
    places = [
        Place(
            number,
            bytes((127, 1 + where // (254 * 256), where // 254 % 256, 1 + where % 254)),
            BYSTANDER_PORT if kind == BYSTANDER else options.port,
            kind,
            profile,
            tuple(sorted({*known[number]} - {number})) if number < options.nodes else (),
        )
        for number, (kind, where, profile) in enumerate(zip(kinds, spread, profiles, strict=True))
    ]
    return Plan(options, places, edges)


def made_up(count: int, port: int, random: Random) -> Iterator[NetAddress]:
    """Return up to 65,535 different addresses that no plan has, all of 127.255.0.0/16."""
    for where in random.sample(range(0xFFFF), count):
        yield NetAddress(int(Services.NETWORK), _PREFIX + b"\x7f\xff" + where.to_bytes(2, "big"), port, 0)
