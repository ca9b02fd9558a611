"""Shares of a network: which versions, services and heights its nodes have, and how that grows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import attrs

from txsoter.crawl.map_words import program, services
from txsoter.crawl.network_map import MapNode, NetworkMap

__all__ = ["LAGS", "OTHER", "OVER_TIME", "Growth", "GrowthSample", "Shares", "best_height", "shares", "shares_of"]

MAX_NAMES = 12
"""Versions that are counted by name."""

MAX_SAMPLES = 1024
"""Samples of growth that are kept; every second one goes when there are more, so that they reach back for ever."""

OTHER = "other"
"""Versions beyond :data:`MAX_NAMES`, the rarest ones, together."""

OVER_TIME = ("versions", "services", "heights")
"""The shares that are kept over time, as fields of :class:`Shares`."""

NO_AGENT = "none"
"""Nodes whose user agent is empty."""

LAGS = {"at the tip": 2, "within 10": 10, "within 100": 100, "within 1000": 1000, "further behind": None}
"""Names of ranges of height lag, with the most blocks that a node of that range is behind."""


@attrs.frozen
class Shares:
    """Counts of the nodes that are reachable.

    :ivar versions: nodes by the program in their user agent, the most common first.
    :ivar services: nodes by service; a node has several.
    :ivar heights: nodes by their lag behind the best height; see :data:`LAGS`.
    :ivar protocols: nodes by protocol version.
    """

    versions: dict[str, int]
    services: dict[str, int]
    heights: dict[str, int]
    protocols: dict[str, int]


def best_height(nodes: Iterable[MapNode]) -> int | None:
    """Return the greatest height that at least three nodes and one in fifty have: a few may lie. None if none has one.

    Of fewer than three nodes it is the least of their heights.
    """
    return _best([node.height for node in nodes if node.reachable and node.height is not None])


def _best(heights: list[int]) -> int | None:
    heights.sort(reverse=True)
    return heights[min(len(heights) - 1, max(2, len(heights) // 50))] if heights else None


def lag_name(height: int, best: int) -> str:
    """Return the range of :data:`LAGS` for a height."""
    return next(name for name, most in LAGS.items() if most is None or best - height <= most)


def shares(network_map: NetworkMap) -> Shares:
    """Return the shares of a map."""
    return shares_of(
        [(node.user_agent, node.services, node.height, node.protocol_version) for node in network_map.reachable]
    )


def shares_of(nodes: Sequence[tuple[str, int, int | None, int | None]]) -> Shares:
    """Return the shares of reachable nodes: user agent, services, height and protocol version of each."""
    heights = [height for _, _, height, _ in nodes if height is not None]
    best = _best(list(heights))
    lags = Counter(lag_name(height, best) for height in heights if best is not None)
    return Shares(
        versions=_common(program(agent) or NO_AGENT for agent, _, _, _ in nodes),
        services=dict(Counter(name for _, bits, _, _ in nodes for name in services(bits)).most_common(MAX_NAMES)),
        heights={name: lags[name] for name in LAGS if lags[name]},
        protocols=_common(str(pver) for _, _, _, pver in nodes),
    )


def _common(names: Iterable[str]) -> dict[str, int]:
    counts = Counter(names)
    common = dict(counts.most_common(MAX_NAMES))
    rest = counts.total() - sum(common.values())
    return {**common, OTHER: common.get(OTHER, 0) + rest} if rest else common


@attrs.frozen
class GrowthSample:
    """The size of a network at one moment.

    :ivar when: seconds since 1970.
    :ivar reachable: nodes that are reachable.
    :ivar known: addresses on the map.
    :ivar edges: edges on the map; None where that was not kept.
    :ivar height: see :func:`best_height`.
    :ivar shares: of the nodes that are reachable; None where they were not kept.
    """

    when: float
    reachable: int
    known: int
    edges: int | None
    height: int | None
    shares: Shares | None

    @classmethod
    def of(cls, network_map: NetworkMap) -> GrowthSample:
        """Return the sample of a map."""
        return cls(
            network_map.when,
            len(network_map.reachable),
            len(network_map.nodes),
            len(network_map.edges),
            best_height(network_map.nodes),
            shares(network_map),
        )


class Growth:
    """Samples over time, in bounded memory: the longer it goes on, the further they are apart.

    :ivar samples: the oldest first.
    """

    def __init__(self, interval: float = 60.0) -> None:
        self.samples: list[GrowthSample] = []
        self._interval = interval

    def is_due(self, when: float) -> bool:
        """Return whether the last sample is old enough for another one."""
        return not self.samples or when - self.samples[-1].when >= self._interval

    def add(self, sample: GrowthSample) -> None:
        """Keep a sample."""
        self.samples.append(sample)
        if len(self.samples) > MAX_SAMPLES:
            del self.samples[1::2]
            self._interval *= 2

    def begin_with(self, older: Sequence[GrowthSample]) -> None:
        """Put samples that were kept elsewhere before all others: no more than half of what is kept, evenly chosen."""
        first = self.samples[0].when if self.samples else math.inf
        before = [each for each in older if each.when < first]
        step = -(-len(before) // (MAX_SAMPLES // 2)) or 1
        self.samples[:0] = before[::step]
