"""``MapFeed``: makes the map now and then, for all who show or serve it."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from txsoter.crawl.map_shares import Growth, GrowthSample
from txsoter.crawl.network_map import NetworkMap

__all__ = ["INTERVAL", "MapFeed"]

INTERVAL = 5.0
"""Seconds between two maps."""

SHARE = 0.05
"""The most of our time that making maps may take: where it takes long, it is done less often."""


class MapFeed(Service):
    """Asks for the map while it runs, and hands it on.

    :param source: makes the map as of now.
    :param clock: by default the reactor.
    :ivar current: the latest map; None before there is one.
    :ivar growth: samples of the network's size.
    :ivar timer: gives seconds of real time, to measure how long making a map takes.
    """

    log = Logger()

    def __init__(
        self, source: Callable[[], NetworkMap], clock: IReactorTime | None = None, interval: float = INTERVAL
    ) -> None:
        if clock is None:
            # not before: the user may choose which one is installed
            from twisted.internet import reactor

            global_clock: Any = reactor
            clock = global_clock
        self.current: NetworkMap | None = None
        self.growth = Growth()
        self.timer: Callable[[], float] = perf_counter
        self._source = source
        self._interval = interval
        self._listeners: list[Callable[[NetworkMap], object]] = []
        self._making = LoopingCall(self._make)
        self._making.clock = clock
        self._rest = 0
        self._fails = False

    def listen(self, call: Callable[[NetworkMap], object]) -> None:
        """Call ``call`` with each map from now on."""
        self._listeners.append(call)

    def startService(self) -> None:
        """Make the first map, and go on."""
        Service.startService(self)
        self._making.start(self._interval).addErrback(lambda failure: self.log.failure("no more maps", failure))

    def stopService(self) -> None:
        """Make no more."""
        Service.stopService(self)
        if self._making.running:
            self._making.stop()

    def _make(self) -> None:
        if self._rest > 0:
            self._rest -= 1
            return
        began = self.timer()
        try:
            self.current = made = self._source()
            if self.growth.is_due(made.when):
                self.growth.add(GrowthSample.of(made))
            for call in self._listeners:
                call(made)
            self._fails = False
        except Exception:
            # told once, not every few seconds for months
            if not self._fails:
                self.log.failure("the map cannot be made or shown")
            self._fails = True
        self._rest = int((self.timer() - began) / SHARE / self._interval)
