"""Between an atlas and the rows of its store. On the disk times are the wall clock's."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable

from txsoter.crawl.atlas import Atlas
from txsoter.crawl.candidate import Candidate
from txsoter.crawl.claims import Dialled, DialledBy
from txsoter.crawl.crawl_store import Batch, ClaimRow, DropRow, NodeRow, Stored, TallyRow
from txsoter.crawl.map_of import agent_text
from txsoter.crawl.map_shares import OVER_TIME, shares_of
from txsoter.crawl.network_map import WINDOWS, NodeKind
from txsoter.crawl.visit_result import Outcome
from txsoter.service.book.places import Place

__all__ = ["restore", "take_changes", "totals"]

AT_ONCE = 500
"""Addresses written in one transaction: more would hold up the reactor while they are put together."""

SPEAKERS_AT_ONCE = 50
"""The same of nodes whose claims are written, of which each may have hundreds."""

_RELIABILITY = struct.Struct(f"<{2 * len(WINDOWS)}d")


def take_changes(atlas: Atlas, shift: float, now: float | None = None) -> Batch | None:
    """Return what has changed and was not returned before, or a part of it; None when nothing has.

    :param shift: seconds by which the wall clock is ahead of the atlas's time.
    :param now: wall-clock time for rolling up, if that is due.
    """
    if not (atlas.changed or atlas.changed_claims or atlas.tallies or now is not None):
        return None
    nodes, gone, dropped, undropped = [], [], [], []
    for place in _some(atlas.changed, AT_ONCE):
        candidate = atlas.candidates.get(place)
        if candidate is not None:
            nodes.append(_node_row(candidate, atlas.claims.cached_at.get(place), shift))
        else:
            gone.append(place)
        if place in atlas.dropped:
            when, why = atlas.dropped[place]
            dropped.append(DropRow(*place, when + shift, why))
        else:
            undropped.append(place)
    speakers = _some(atlas.changed_claims, SPEAKERS_AT_ONCE)
    claims = [row for place in speakers for row in _claim_rows(atlas, place, shift)]
    tallies = []
    hours = round(shift / 3600)
    for place, hour in list(atlas.tallies)[:AT_ONCE]:
        tally = atlas.tallies.pop((place, hour))
        start = (hour + hours) * 3600
        tallies.append(TallyRow(start, *place, tally.visits, tally.successes, tally.latency, tally.height))
    return Batch(
        nodes=nodes,
        gone=gone,
        speakers=speakers,
        claims=claims,
        dropped=dropped,
        undropped=undropped,
        tallies=tallies,
        now=now,
    )


def _some(places: set[Place], most: int) -> list[Place]:
    return [places.pop() for _ in range(min(most, len(places)))]


def totals(atlas: Atlas, wall: float) -> list[tuple[int, str, int]]:
    """Return the network's totals for the hour that it is: addresses by their kind, and the shares of reachable nodes.

    The names of shares are ``versions:…``, ``services:…`` and ``heights:…``. Edges are not among them.

    :param wall: wall-clock time, seconds since 1970.
    """
    counts: Counter[str] = Counter(candidate.kind.value for candidate in atlas.candidates.values())
    found = shares_of(
        [
            (agent_text(each.user_agent), each.services, each.height, each.protocol_version)
            for each in atlas.candidates.values()
            if each.kind is NodeKind.REACHABLE
        ]
    )
    for what in OVER_TIME:
        counts.update({f"{what}:{name}": count for name, count in getattr(found, what).items()})
    start = int(wall) // 3600 * 3600
    return [(start, name, count) for name, count in sorted(counts.items())]


def _node_row(candidate: Candidate, said_at: float | None, shift: float) -> NodeRow:
    def wall(time: float | None) -> float | None:
        return None if time is None else time + shift

    alias = candidate.alias_of
    reliability = candidate.reliability
    return NodeRow(
        *candidate.place,
        candidate.first_seen + shift,
        candidate.last_seen + shift,
        wall(candidate.last_attempt),
        wall(candidate.first_success),
        wall(candidate.last_success),
        wall(candidate.up_since),
        wall(said_at),
        candidate.latency,
        candidate.services,
        candidate.protocol_version,
        candidate.user_agent,
        candidate.height,
        candidate.visits,
        candidate.failures,
        None if candidate.outcome is None else candidate.outcome.name,
        candidate.detail,
        None if reliability is None else _RELIABILITY.pack(*reliability),
        b"".join(bytes((len(each),)) + each for each in candidate.sources),
        int(candidate.is_named),
        int(candidate.is_ourselves),
        *((None, None) if alias is None else alias),
    )


def _claim_rows(atlas: Atlas, place: Place, shift: float) -> Iterable[ClaimRow]:
    for other, claim in atlas.claims.outbound.get(place, {}).items():
        yield ClaimRow(*place, 0, *other, claim.first + shift, claim.last + shift, 1, b"")
    for ip, by in atlas.claims.inbound.get(place, {}).items():
        ports = b"".join(port.to_bytes(2, "big") for port in by.ports)
        yield ClaimRow(*place, 1, ip, 0, by.first + shift, by.last + shift, by.count, ports)


def restore(atlas: Atlas, stored: Stored, shift: float, now: float) -> None:
    """Let an atlas that is empty go on from what was stored.

    A time in the future says that a clock was wrong, then or now; it is taken for now.

    :param now: the atlas's time.
    """

    def past(wall: float) -> float:
        return min(now, wall - shift)

    for row in stored.nodes:
        candidate, said_at = _candidate(row, past)
        due = now
        if candidate.last_attempt is not None and not atlas.rules.once:
            due = candidate.last_attempt + candidate.wait(atlas.rules)
        atlas.restore(candidate, due)
        if said_at is not None:
            atlas.claims.load(candidate.place, {}, {}, said_at)
    for claim in stored.claims:
        place = Place(claim.ip, claim.port)
        if place not in atlas.claims.cached_at:
            continue
        first, last = past(claim.first), past(claim.last)
        if claim.inbound:
            pairs = zip(claim.ports[::2], claim.ports[1::2], strict=False)
            ports = tuple(high << 8 | low for high, low in pairs)
            atlas.claims.inbound[place][claim.other_ip] = DialledBy(first, last, claim.connections, ports)
        else:
            atlas.claims.outbound[place][Place(claim.other_ip, claim.other_port)] = Dialled(first, last)
    for drop in stored.dropped:
        atlas.dropped[Place(drop.ip, drop.port)] = past(drop.moment), drop.why
    atlas.release_orphans()


def _candidate(row: NodeRow, past: Callable[[float], float]) -> tuple[Candidate, float | None]:
    def maybe(wall: float | None) -> float | None:
        return None if wall is None else past(wall)

    candidate = Candidate(Place(row.ip, row.port), past(row.first_seen))
    candidate.last_seen = past(row.last_seen)
    candidate.last_attempt = maybe(row.last_attempt)
    candidate.first_success, candidate.last_success = maybe(row.first_success), maybe(row.last_success)
    candidate.up_since = maybe(row.up_since)
    candidate.latency, candidate.services = row.latency, row.services
    candidate.protocol_version, candidate.user_agent, candidate.height = (
        row.protocol_version,
        row.user_agent,
        row.height,
    )
    candidate.visits, candidate.failures = row.visits, row.failures
    candidate.outcome = Outcome.__members__.get(row.outcome or "")
    candidate.detail = row.detail
    if row.reliability is not None and len(row.reliability) == _RELIABILITY.size:
        candidate.reliability = list(_RELIABILITY.unpack(row.reliability))
    candidate.sources = tuple(_sources(row.sources))
    candidate.is_named, candidate.is_ourselves = bool(row.named), bool(row.ourselves)
    if row.alias_ip is not None and row.alias_port is not None:
        candidate.alias_of = Place(row.alias_ip, row.alias_port)
    return candidate, maybe(row.said_at)


def _sources(packed: bytes) -> Iterable[bytes]:
    at = 0
    while at < len(packed):
        end = at + 1 + packed[at]
        yield packed[at + 1 : end]
        at = end
