"""``Crawler``: makes the visits that an atlas decides on, with Twisted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from txsoter.core.listeners import Listeners
from txsoter.crawl.atlas import Atlas
from txsoter.crawl.visit import Visit
from txsoter.crawl.visit_result import VisitResult
from txsoter.errors import CloseReason
from txsoter.peer.config import PeerConfig
from txsoter.peer.factory import SoterClientFactory
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.service.book.places import Place
from txsoter.service.outbound import EndpointFor
from txsoter.wire import Addr, AddrCache, Version

__all__ = ["COMMENT", "Crawler"]

COMMENT = "crawler"
"""Comment of the user agent, that operators know a visit from a peer."""

PACE = 0.02
"""Seconds between two turns at least, in each of which as many visits begin as may."""


class Crawler:
    """Visits addresses while it runs.

    :param atlas: decides whom to visit, and learns the results.
    :param config: of its connections; the crawler's own times and listeners replace its own.
    :param endpoint_for: makes the endpoint for an IP and a port.
    :param clock: a reactor, or a test's clock.
    :param now: gives the atlas's time, in seconds.
    :param random: chooses among addresses when there are too many.
    :param visited: called with each result, after the atlas has it.
    :ivar visits: number of addresses whose visit has ended.
    """

    log = Logger()

    def __init__(
        self,
        atlas: Atlas,
        config: PeerConfig,
        endpoint_for: EndpointFor,
        clock: IReactorTime,
        now: Callable[[], float],
        random: Random,
        visited: Callable[[VisitResult], object] | None = None,
    ) -> None:
        self.visits = 0
        self._atlas = atlas
        self._endpoint_for = endpoint_for
        self._clock = clock
        self._now = now
        self._random = random
        self._told = visited
        self._under_way: dict[Visit, None] = {}
        self._by_peer: dict[SoterPeerProtocol, Visit] = {}
        self._config = crawl_config(config, atlas, self._listeners())
        self._timer: IDelayedCall | None = None
        self._is_running = self._is_turning = False
        self._stopped: list[Deferred[None]] = []
        self._finished: list[Deferred[None]] = []

    # -- its life ------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to visit."""
        self._is_running = True
        self._turn()

    def stop(self) -> Deferred[None]:
        """Visit no more, and leave everybody; fires once all connections are closed."""
        self._is_running = False
        self._cancel_timer()
        for visit in list(self._under_way):
            visit.give_up()
        if not self._under_way:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._stopped.append(stopped)
        return stopped

    def when_finished(self) -> Deferred[None]:
        """Fire once no visit is under way or planned; each call gets a Deferred of its own."""
        if self._is_running and self._atlas.is_finished:
            return succeed(None)
        finished: Deferred[None] = Deferred(self._finished.remove)
        self._finished.append(finished)
        return finished

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- pacing --------------------------------------------------------------------------------

    def wake(self) -> None:
        """Look for visits that are due, because addresses were added."""
        if self._is_running:
            self._turn()

    def _turn(self) -> None:
        # a visit may end at once, before the loop that began it is over
        if self._is_turning:
            return
        self._is_turning = True
        self._cancel_timer()
        try:
            while places := self._atlas.next_visit(self._now()):
                self._begin(places)
        finally:
            self._is_turning = False
        now = self._now()
        due = self._atlas.next_time(now)
        if due is not None:
            self._timer = self._clock.callLater(max(PACE, due - now), self._due)
        elif self._atlas.is_finished:
            while self._finished:
                self._finished.pop(0).callback(None)

    def _due(self) -> None:
        self._timer = None
        self._turn()

    # -- visits --------------------------------------------------------------------------------

    def _begin(self, places: tuple[Place, ...]) -> None:
        results: dict[Place, VisitResult] = {}
        rules = self._atlas.rules
        visits: list[Visit] = []
        meeting = None if len(places) == 1 else partial(_meet, visits, self._clock, rules.stay)
        visits += [Visit(place, rules, self._clock, self._random, meeting) for place in places]

        def over(result: VisitResult, visit: Visit) -> None:
            del self._under_way[visit]
            results[result.place] = result
            if len(results) == len(places):
                self._visited(tuple(results[place] for place in places))
            elif meeting is not None:
                meeting()

        for visit in visits:
            self._under_way[visit] = None
            visit.done.addCallback(over, visit)
        for visit in visits:
            factory = SoterClientFactory(self._config, partial(self._make_peer, visit))
            visit.begin(partial(self._endpoint_for, visit.place.host, visit.place.port), factory)

    def _visited(self, results: tuple[VisitResult, ...]) -> None:
        self.visits += len(results)
        self._atlas.visited(results, self._now())
        for result in results:
            self._tell(result)
        if self._is_running:
            self._turn()
        elif not self._under_way:
            while self._stopped:
                self._stopped.pop(0).callback(None)

    def _tell(self, result: VisitResult) -> None:
        if self._told is None:
            return
        try:
            self._told(result)
        except Exception:
            # the crawl goes on all the same
            self.log.failure("a result of a visit was not taken by {taker!r}", taker=repr(self._told))

    # -- its peers -----------------------------------------------------------------------------

    def _make_peer(self, visit: Visit, config: PeerConfig, inbound: bool) -> SoterPeerProtocol:
        peer = SoterPeerProtocol(config, inbound)
        self._by_peer[peer] = visit
        return peer

    def _listeners(self) -> Listeners:
        # one table of listeners for all visits: making one for each takes longer than the visit
        by_peer, atlas = self._by_peer, self._atlas

        def on_version(peer: SoterPeerProtocol, version: Version) -> None:
            visit = by_peer[peer]
            visit.on_version(peer, version)
            if visit.own_end is not None:
                atlas.connected(visit.place, visit.own_end)

        def on_ready(peer: SoterPeerProtocol) -> None:
            by_peer[peer].on_ready(peer)

        def on_addr(peer: SoterPeerProtocol, message: Addr) -> None:
            by_peer[peer].on_addr(message)

        def on_addrcache(peer: SoterPeerProtocol, message: AddrCache) -> None:
            by_peer[peer].on_addrcache(message)

        def on_read(peer: SoterPeerProtocol, size: int, message: object, error: object) -> None:
            by_peer[peer].on_read(size)

        def on_closed(peer: SoterPeerProtocol, reason: CloseReason) -> None:
            del by_peer[peer]

        return Listeners(
            on_version=on_version,
            on_ready=on_ready,
            on_addr=on_addr,
            on_addrcache=on_addrcache,
            on_read=on_read,
            on_closed=on_closed,
        )


def crawl_config(config: PeerConfig, atlas: Atlas, listeners: Listeners) -> PeerConfig:
    """Return the config of visits: short, asking for nothing but addresses, and saying what it is."""
    comments = tuple(config.user_agent_comments)
    return config.replace(
        user_agent_comments=comments if COMMENT in comments else (COMMENT, *comments),
        services=0,
        disable_relay_tx=True,
        negotiate_timeout=atlas.rules.handshake_timeout,
        ping_interval=None,
        idle_timeout=None,
        stall_interval=None,
        close_timeout=2.0,
        max_known_inventory=0,
        # hundreds of lines a second for months; the result of each visit is kept
        log_connections=False,
        listeners=listeners,
    )


def _meet(visits: list[Visit], clock: IReactorTime, wait: float) -> None:
    """Let visits that are to overlap ask once all have shaken hands, and leave once all have their answers."""
    open_visits = [visit for visit in visits if not visit.is_over]
    if not all(visit.is_ready for visit in open_visits):
        return
    for visit in open_visits:
        visit.ask_after(wait)
    if all(visit.has_answers for visit in open_visits):
        for visit in open_visits:
            visit.leave()
