"""What the page shows, as what JSON can hold. Times are seconds since 1970; None where nothing is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median_low
from typing import Any

from txsoter.core.stats import PeerStats
from txsoter.errors import CloseReason
from txsoter.service.status.ages import PageClock
from txsoter.service.status.closes import Close, Closes
from txsoter.service.status.history import Histories, History
from txsoter.service.status.sightings import Announced, Announcer, Sighting
from txsoter.service.status.text import agent_name, service_names, shown
from txsoter.wire import Services

__all__ = ["MAX_CLOSES", "MAX_PEERS", "MAX_SIGHTINGS", "close_row", "peer_row", "sighting_row", "totals"]

MAX_PEERS = 200
"""How many peers are shown, those that have been there for longest."""

MAX_SIGHTINGS = 15
"""How many blocks are shown, and how many transactions."""

MAX_CLOSES = 25
"""How many ends of connections are shown."""


def _milli(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def peer_height(stats: PeerStats, announced: Announced) -> int:
    """The height of the highest block that a peer says to have."""
    return max(stats.max_height, stats.starting_height, announced.height_of(stats.id))


def serves_blocks(stats: PeerStats) -> bool:
    """Return whether a peer says that it has blocks: the height of one that has none says nothing."""
    return bool(stats.services & Services.NETWORK)


def peer_row(stats: PeerStats, height: int, history: History | None, clock: PageClock) -> dict[str, Any]:
    """A peer."""
    return {
        "id": stats.id,
        "address": shown(stats.address),
        "direction": "inbound" if stats.inbound else "outbound",
        "state": stats.state,
        "agent": shown(stats.user_agent),
        "agent_name": agent_name(stats.user_agent),
        "protocol_version": stats.advertised_version,
        "services": service_names(stats.services),
        "height": height,
        "round_trip_micros": stats.ping_micros,
        "connected_at": clock.stamp(clock.of_peer(stats.connected_at)),
        "last_receive": clock.stamp(clock.of_peer(stats.last_receive)),
        "last_send": clock.stamp(clock.of_peer(stats.last_send)),
        "bytes_received": stats.bytes_received,
        "bytes_sent": stats.bytes_sent,
        "messages_received": stats.messages_received,
        "messages_sent": stats.messages_sent,
        "queue_bytes": stats.queue_bytes,
        "time_offset": stats.time_offset,
        "malformed": stats.malformed,
        "history": {
            "received": [] if history is None else list(history.received),
            "sent": [] if history is None else list(history.sent),
            "round_trip_micros": [] if history is None else list(history.round_trips),
        },
    }


def _remote(remote: Announcer) -> dict[str, Any]:
    return {"id": remote.id, "address": remote.address, "agent_name": remote.agent}


def sighting_row(sighting: Sighting, clock: PageClock) -> dict[str, Any]:
    """A block or a transaction that was announced."""
    return {
        "hash": str(sighting.hash),
        "height": sighting.height if sighting.height >= 0 else None,
        "first": _remote(sighting.first),
        "first_at": clock.stamp(sighting.first_at),
        "followed": len(sighting.delays),
        "median_delay": _milli(sighting.median_delay),
        "last_delay": _milli(sighting.last_delay),
    }


def close_row(close: Close, clock: PageClock) -> dict[str, Any]:
    """The end of a connection."""
    return {
        **_remote(close.remote),
        "direction": "inbound" if close.inbound else "outbound",
        "at": clock.stamp(close.at),
        "seconds": _milli(close.seconds),
        "by": close.reason.by.value,
        "cause": close.reason.cause.name.lower(),
        "why": close.reason.cause.value,
        "detail": _detail(close.reason),
        "times": close.times,
    }


def _detail(reason: CloseReason) -> str:
    words = [each for each in (reason.command, reason.detail, reason.reject_reason) if each]
    return shown(": ".join(words))


def _believed_height(heights: Sequence[int]) -> int | None:
    """The highest that two peers name, for one may lie; without two, that of the only one."""
    heights = sorted(heights, reverse=True)
    return heights[min(1, len(heights) - 1)] if heights else None


def totals(
    peers: Sequence[PeerStats], announced: Announced, histories: Histories, closes: Closes, ready: int
) -> dict[str, Any]:
    """What all peers come to, those that have gone included.

    :param ready: how many have been ready until now.
    """
    there = [each for each in peers if each.state == "ready"]
    pasts = [past for past in (histories.of(each.id) for each in peers) if past is not None]
    round_trips = [each.ping_micros for each in there if each.ping_micros is not None]
    return {
        "peers": len(there),
        "inbound": sum(each.inbound for each in there),
        "outbound": sum(not each.inbound for each in there),
        "connecting": len(peers) - len(there),
        "height": _believed_height([peer_height(each, announced) for each in there if serves_blocks(each)]),
        "round_trip_micros": median_low(round_trips) if round_trips else None,
        "bytes_received": closes.bytes_received + sum(each.bytes_received for each in peers),
        "bytes_sent": closes.bytes_sent + sum(each.bytes_sent for each in peers),
        "messages_received": closes.messages_received + sum(each.messages_received for each in peers),
        "messages_sent": closes.messages_sent + sum(each.messages_sent for each in peers),
        "history": {
            "received": _added(past.received for past in pasts),
            "sent": _added(past.sent for past in pasts),
        },
        "connections": ready,
        "closes": closes.causes.total(),
        "blocks": announced.blocks.total,
        "transactions": announced.transactions.total,
    }


def _added(series: Iterable[Sequence[int]]) -> list[int]:
    """The sums of several series that end at the same time, however long each is."""
    sums: list[int] = []
    for each in series:
        if len(each) > len(sums):
            sums = [0] * (len(each) - len(sums)) + sums
        for index, value in enumerate(reversed(each), 1):
            sums[-index] += value
    return sums
