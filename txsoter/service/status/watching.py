"""What a status page knows: an observer that remembers, and the picture it makes of it when somebody looks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from txsoter.errors import CloseReason
from txsoter.peer.config import PeerConfig
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.service.observers import Observer
from txsoter.service.status.ages import PageClock
from txsoter.service.status.closes import Closes
from txsoter.service.status.history import Histories
from txsoter.service.status.parts import Parts
from txsoter.service.status.sightings import MAX_ANNOUNCED_BLOCKS, Announced, Announcer
from txsoter.service.status.snapshot import (
    MAX_CLOSES,
    MAX_PEERS,
    MAX_SIGHTINGS,
    close_row,
    peer_height,
    peer_row,
    sighting_row,
    totals,
)
from txsoter.service.status.text import agent_name, service_names, shown
from txsoter.wire import Headers, Inv

__all__ = ["Picture", "StatusObserver"]


class StatusObserver(Observer):
    """Remembers what was announced, by whom, and how connections ended. It hears of no ordinary message.

    :ivar announced: blocks and transactions.
    :ivar closes: connections that have ended.
    :ivar ready: how many have been ready.
    """

    def __init__(self, clock: PageClock) -> None:
        self._clock = clock
        self._announcers: dict[int, Announcer] = {}
        self.announced = Announced()
        self.closes = Closes()
        self.ready = 0

    def on_ready(self, peer: SoterPeerProtocol) -> None:
        """Count it."""
        self.ready += 1

    def on_closed(self, peer: SoterPeerProtocol, reason: CloseReason) -> None:
        """Note why."""
        stats = peer.stats()
        began = self._clock.of_peer(stats.connected_at)
        self.closes.add(self._announcer(peer), stats, reason, self._clock.now(), began)
        self._announcers.pop(peer.id, None)
        self.announced.forget(peer.id)

    def on_inv(self, peer: SoterPeerProtocol, message: Inv) -> None:
        """Note what is announced."""
        self.announced.vectors(message.vectors, self._announcer(peer), self._clock.now())

    def on_headers(self, peer: SoterPeerProtocol, message: Headers) -> None:
        """So are blocks announced to those who sent ``sendheaders``."""
        headers = message.headers
        if len(headers) <= MAX_ANNOUNCED_BLOCKS:
            blocks = [(header.hash, -1) for header in headers]
            self.announced.listed(blocks, self._announcer(peer), self._clock.now())

    def _announcer(self, peer: SoterPeerProtocol) -> Announcer:
        announcer = self._announcers.get(peer.id)
        if announcer is None:
            stats = peer.stats()
            announcer = Announcer(stats.id, shown(stats.address), agent_name(stats.user_agent))
            if stats.advertised_version is not None:
                # before its version it may only end
                self._announcers[peer.id] = announcer
        return announcer


class Picture:
    """All that the page shows, made when somebody looks, but not more than once in ``interval`` seconds.

    :param peers: gives those that live.
    :param has_map: there is a map of the network beside the page.
    :ivar started_at: when the service was started, in seconds of a clock that is never set.
    :ivar version: of what is shown; another number when that has changed.
    """

    interval = 1.0
    # a little less: of calls that are a second apart, one may come a little late and the next in time
    fresh = 0.9

    def __init__(
        self,
        config: PeerConfig,
        clock: PageClock,
        peers: Callable[[], Iterable[SoterPeerProtocol]],
        observer: StatusObserver,
        parts: Parts,
        has_map: bool = False,
    ) -> None:
        self._config = config
        self._has_map = has_map
        self._clock = clock
        self._peers = peers
        self._observer = observer
        self._parts = parts
        self._histories = Histories()
        self._made_at: float | None = None
        self._body = self._rest = b""
        self.started_at = clock.now()
        self.version = 0

    def look(self) -> int:
        """See what there is now.

        :return: :attr:`version`.
        """
        now = self._clock.now()
        if self._made_at is None or now - self._made_at >= self.fresh:
            body = json.dumps(self.content(), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
            # so that it may stand inside of a page, whoever puts it there
            encoded = body.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()
            self._made_at = now
            if encoded != self._body:
                self._body = encoded
                self._rest = encoded[1:]
                self.version += 1
        return self.version

    def json_parts(self) -> tuple[bytes, bytes]:
        """Return what was seen last as JSON: the start, with what time it is now, and the rest, which answers share."""
        return b'{"now":%.3f,' % self._clock.stamp_now(), self._rest

    def json(self) -> bytes:
        """Return what was seen last as JSON, together with what time it is now."""
        return b"".join(self.json_parts())

    def content(self) -> dict[str, Any]:
        """What there is now, but for the time."""
        observer = self._observer
        peers = self._live()
        shown_first = sorted(peers, key=lambda each: (each.state != "ready", each.id))[:MAX_PEERS]
        announced, closes = observer.announced, observer.closes
        return {
            "node": self._node(),
            "totals": totals(peers, announced, self._histories, closes, observer.ready),
            "peers": [
                peer_row(each, peer_height(each, announced), self._histories.of(each.id), self._clock)
                for each in shown_first
            ],
            "peers_not_shown": len(peers) - len(shown_first),
            "blocks": [sighting_row(each, self._clock) for each in announced.blocks.latest(MAX_SIGHTINGS)],
            "transactions": [sighting_row(each, self._clock) for each in announced.transactions.latest(MAX_SIGHTINGS)],
            "closes": [
                close_row(each, self._clock) for each, _ in zip(closes.latest(), range(MAX_CLOSES), strict=False)
            ],
            "causes": {cause.name.lower(): count for cause, count in closes.causes.most_common()},
            "map": self._has_map,
            **self._parts.rows(),
        }

    def sample(self) -> None:
        """Note how much has come and gone since the last time."""
        peers = sorted(self._peers(), key=lambda peer: peer.id)[:MAX_PEERS]
        self._histories.sample(self._clock.now(), [peer.stats() for peer in peers])

    def _live(self) -> list[Any]:
        return [stats for stats in (peer.stats() for peer in self._peers()) if stats.connected_at is not None]

    def _node(self) -> dict[str, Any]:
        config = self._config
        return {
            "network": config.network.name,
            "agent": shown(config.user_agent),
            "agent_name": agent_name(config.user_agent),
            "protocol_version": config.protocol_version,
            "services": service_names(config.services),
            "height": self._own_height(),
            "started_at": self._clock.stamp(self.started_at),
        }

    def _own_height(self) -> int | None:
        if self._config.newest_block is None:
            return None
        try:
            return int(self._config.newest_block())
        except Exception:
            # connections end by it, and say so
            return None
