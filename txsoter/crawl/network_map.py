"""The map of a network at one moment: its nodes and its edges, each with its evidence.

Everything here is immutable and knows neither Twisted nor a clock. Times are wall-clock seconds since 1970. Texts that
came from remotes (user agents) are as they came, decoded: whoever prints them must escape them.
"""

from __future__ import annotations

import enum
from functools import cached_property

import attrs

from txsoter.ip import parse_ip

__all__ = [
    "FROM",
    "TO",
    "WINDOWS",
    "MapEdge",
    "MapNode",
    "NetworkMap",
    "NodeKind",
    "Reliability",
    "host_port",
]

FROM, TO = "from", "to"
"""The two ends that can claim an edge: that which dialled, and that which was dialled."""

WINDOWS = (("2h", 7200.0), ("8h", 28800.0), ("1d", 86400.0), ("1w", 604800.0), ("1month", 2592000.0))
"""Names and seconds of the windows over which the reliability of a node is measured."""


def host_port(host: str, port: int) -> str:
    """Return ``HOST:PORT``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class NodeKind(str, enum.Enum):
    """The crawler's judgement of an address; only the first one counts as a node of the network."""

    REACHABLE = "reachable"
    """It completed a handshake at its last visit."""
    DOWN = "down"
    """It completed a handshake before, but not at its last visits."""
    SEEN = "seen"
    """Others say that it is there; it has not completed a handshake with us."""
    FAKE = "fake"
    """It never answered, and a single source told of it."""
    ALIAS = "alias"
    """Another address of a node that is listed under ``MapNode.alias_of``."""
    OURSELVES = "ourselves"
    """It is this crawler itself."""


@attrs.frozen(kw_only=True)
class Reliability:
    """The share of visits that succeeded, decayed over one window.

    :ivar window: name of the window; see :data:`WINDOWS`.
    :ivar share: from 0 to 1.
    :ivar samples: decayed number of visits.
    """

    window: str
    share: float
    samples: float


@attrs.frozen(kw_only=True)
class MapNode:
    """An address, and what is known of it.

    :ivar host: IP address as text.
    :ivar port: TCP port.
    :ivar kind: the crawler's judgement.
    :ivar services: service bits that it names itself; 0 while it has not.
    :ivar protocol_version: that it names itself, or None while it has not.
    :ivar user_agent: that it names itself, decoded, not escaped; may be empty.
    :ivar height: of its chain, as of its last ``version``, or None.
    :ivar first_seen: when the crawler first heard of it.
    :ivar last_seen: when somebody last told of it, or it answered.
    :ivar last_attempt: when it was last dialled, or None.
    :ivar last_success: when it last completed a handshake, or None.
    :ivar connected_since: since when every visit has succeeded; None when the last one did not.
    :ivar latency: seconds from dialling until the handshake was complete, at its last success; or None.
    :ivar reliability: one for each of :data:`WINDOWS`, in that order; empty when it was never dialled.
    :ivar good: whether its reliability is enough to recommend it to others.
    :ivar alias_of: ``HOST:PORT`` of the node that it is another address of, or None.
    :ivar sources: number of different sources that told of it, as far as they are counted.
    :ivar reason: why it does not count as a node, in words; empty when it does.
    """

    host: str
    port: int
    kind: NodeKind
    services: int = 0
    protocol_version: int | None = None
    user_agent: str = ""
    height: int | None = None
    first_seen: float = 0.0
    last_seen: float = 0.0
    last_attempt: float | None = None
    last_success: float | None = None
    connected_since: float | None = None
    latency: float | None = None
    reliability: tuple[Reliability, ...] = ()
    good: bool = False
    alias_of: str | None = None
    sources: int = 0
    reason: str = ""

    @property
    def name(self) -> str:
        """``HOST:PORT``, an IPv6 address in brackets."""
        return host_port(self.host, self.port)

    @property
    def reachable(self) -> bool:
        """True when it completed a handshake at its last visit, and is not another's alias."""
        return self.kind is NodeKind.REACHABLE

    @property
    def is_ipv6(self) -> bool:
        """True when its address is IPv6."""
        ip = parse_ip(self.host)
        return ip is not None and ip.version == 6


@attrs.frozen(kw_only=True)
class MapEdge:
    """A connection that one node dialled to another, and who says so.

    :ivar source: ``HOST:PORT`` of the node that dialled. When ``unmatched`` it is the host and the ephemeral port that
        the other end saw, which is no node's address.
    :ivar target: ``HOST:PORT`` of the node that was dialled.
    :ivar claimed_by: the ends that say so in their own words, over a connection to their own address:
        :data:`FROM`, :data:`TO`, or both.
    :ivar first_seen: when it was first claimed.
    :ivar last_seen: when it was last claimed.
    :ivar unmatched: the node that dialled is not known: only its host is.
    """

    source: str
    target: str
    claimed_by: frozenset[str]
    first_seen: float
    last_seen: float
    unmatched: bool = False

    @property
    def confirmed(self) -> bool:
        """True when both ends say so."""
        return len(self.claimed_by) == 2


@attrs.frozen(kw_only=True, eq=False, slots=False)
class NetworkMap:
    """The nodes and edges of a network at one moment.

    :ivar network: name of the network.
    :ivar when: the moment.
    :ivar nodes: all addresses that are worth showing, judged, in the order of their addresses.
    :ivar edges: connections, in the order of their ends. An edge's ends need not be among the nodes.
    """

    network: str
    when: float
    nodes: tuple[MapNode, ...] = ()
    edges: tuple[MapEdge, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, MapNode]:
        """The nodes by ``HOST:PORT``."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def reachable(self) -> tuple[MapNode, ...]:
        """The nodes that are reachable."""
        return tuple(node for node in self.nodes if node.reachable)
