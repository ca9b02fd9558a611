"""Metrics for Prometheus: what peers have counted, read when it is asked for.

::

    metrics = Metrics(peers=lambda: service.peers, held=lambda: service.config.memory.total)
    service = PeerService(config.replace(listeners=metrics.timed(config.listeners)), observers=[metrics])
    MetricsService(metrics, "tcp:9180").setServiceParent(application)
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib import metadata
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from twisted.logger import Logger

import txsoter
from txsoter.core.listeners import Listeners
from txsoter.core.state import State
from txsoter.core.stats import PeerStats
from txsoter.core.traffic import UNKNOWN_COMMANDS, Traffic
from txsoter.errors import CloseReason, LocalError
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.service.observers import Observer
from txsoter.service.tallies import BOUNDS, COMPLETED, HandlerTimes, RoundTrips, Tally, direction
from txsoter.wire.message import messages

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from txsoter.capture import CaptureState

__all__ = ["Metrics"]

T = TypeVar("T")
Number = Callable[[], float]
"""Gives a number when asked."""

_STATES = [state.value for state in State if state is not State.CLOSED]
_DIRECTIONS = ("inbound", "outbound")


class Metrics(Observer):
    """Counts for Prometheus: an observer of peers, and a collector of prometheus-client.

    Nothing is done for each message: a peer's own counters are read when they are asked for, and added up for good
    when it ends. Labels never hold what a remote has said.

    :param peers: gives those that live: of whom this is told the end.
    :param held: gives the bytes that all of them hold, read and not handled or not sent yet.
    :param refused: gives how many connections were refused.
    :param banned: gives how many addresses are refused for what they did.
    :param book: gives the sizes of the address book's tables by their names.
    :param capture: gives how the recording of conversations goes.
    :param network: whose messages are spoken, as a label.
    :param now: gives the time in seconds, for how long listeners take.
    :raises LocalError: when prometheus-client is not installed.
    """

    log = Logger()

    def __init__(
        self,
        peers: Callable[[], Collection[SoterPeerProtocol]],
        *,
        held: Number | None = None,
        refused: Number | None = None,
        banned: Number | None = None,
        book: Callable[[], Mapping[str, float]] | None = None,
        capture: Callable[[], CaptureState] | None = None,
        network: str = "",
        now: Number = perf_counter,
    ) -> None:
        try:
            from prometheus_client import core
        except ImportError:
            raise LocalError("metrics need prometheus-client: pip install 'txsoter[metrics]'") from None
        self._core = core
        self._peers = peers
        self._held = held
        self._refused = refused
        self._banned = banned
        self._book = book
        self._capture = capture
        self._network = network
        self._ended = Tally()
        self._round_trips = RoundTrips()
        self._handlers = HandlerTimes(now)
        # what has failed once is not logged at each scrape
        self._failed: set[str] = set()

    def timed(self, listeners: Listeners) -> Listeners:
        """The application's listeners, timed: for the config, before observers are put in front of them."""
        return self._handlers.timed(listeners)

    # -- as an observer ------------------------------------------------------------------------

    def on_round_trip(self, peer: SoterPeerProtocol, seconds: float) -> None:
        """Count a round trip."""
        self._round_trips.add(seconds)

    def on_closed(self, peer: SoterPeerProtocol, reason: CloseReason) -> None:
        """Keep what it has counted."""
        self._ended.end(peer.stats(), reason)

    # -- as a collector ------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now; only in the reactor's thread."""
        live = [peer.stats() for peer in self._peers()]
        tally = self._ended.copy()
        for stats in live:
            tally.add(stats)
        yield from self._traffic(tally)
        yield from self._connections(tally, live)
        yield self._histogram()
        yield from self._handling(tally, live)
        yield from self._memory(live)
        yield from self._outside()
        yield self._build()

    def _traffic(self, tally: Tally) -> Iterable[Metric]:
        counter = self._core.CounterMetricFamily
        labels = ("direction", "command")
        count = counter("txsoter_messages", "Messages that were sent and received.", labels=labels)
        size = counter("txsoter_message_bytes", "Bytes of their frames.", labels=labels)
        known = {*messages(), UNKNOWN_COMMANDS}
        for way, traffics in (("received", tally.received), ("sent", tally.sent)):
            for command in sorted(known | traffics.keys()):
                traffic = traffics.get(command, Traffic())
                count.add_metric((way, command), traffic.messages)
                size.add_metric((way, command), traffic.bytes)
        read = "Bytes that were read, whether or not they became messages."
        malformed = "Messages that were malformed."
        return (
            count,
            size,
            counter("txsoter_read_bytes", read, tally.bytes_read),
            counter("txsoter_malformed_messages", malformed, tally.malformed),
        )

    def _connections(self, tally: Tally, live: Iterable[PeerStats]) -> Iterable[Metric]:
        core = self._core
        peers = core.GaugeMetricFamily("txsoter_peers", "Connections that there are.", labels=("state", "direction"))
        count = {(state, way): 0 for state in _STATES for way in _DIRECTIONS}
        for stats in live:
            place = (stats.state, direction(stats))
            count[place] = count.get(place, 0) + 1
        for (state, way), number in count.items():
            peers.add_metric((state.replace(" ", "_"), way), number)
        what = "Handshakes that are over, by who dialled and how they went."
        handshakes = core.CounterMetricFamily("txsoter_handshakes", what, labels=("direction", "result"))
        results = dict.fromkeys(((way, COMPLETED) for way in _DIRECTIONS), 0)
        for labels, number in {**results, **tally.handshakes}.items():
            handshakes.add_metric(labels, number)
        what = "Connections that have ended, by why and by whom."
        closes = core.CounterMetricFamily("txsoter_closes", what, labels=("cause", "by"))
        for labels, number in tally.closes.items():
            closes.add_metric(labels, number)
        return peers, handshakes, closes

    def _histogram(self) -> Metric:
        name, what = "txsoter_round_trip_seconds", "From a ping to its pong."
        trips = self._round_trips
        bounds = [*(str(bound / 1_000_000) for bound in BOUNDS), "+Inf"]
        buckets = list(zip(bounds, trips.up_to(), strict=True))
        return self._core.HistogramMetricFamily(name, what, buckets, trips.micros / 1_000_000)

    def _handling(self, tally: Tally, live: Iterable[PeerStats]) -> Iterable[Metric]:
        counter = self._core.CounterMetricFamily
        what = "Seconds that the application's listeners took, waits included."
        seconds = counter("txsoter_handler_seconds", what, labels=("listener",))
        for listener, time in self._handlers.times.items():
            seconds.add_metric((listener,), time.seconds)
        yield seconds
        yield counter("txsoter_handler_errors", "Listeners that failed.", tally.handler_errors)
        oldest = max((each.handling_seconds for each in live if each.handling_seconds is not None), default=0.0)
        what = "Age of the listener that has been running longest, for one message; 0 if none runs."
        yield self._core.GaugeMetricFamily("txsoter_oldest_handler_seconds", what, oldest)

    def _memory(self, live: Iterable[PeerStats]) -> Iterable[Metric]:
        gauge = self._core.GaugeMetricFamily
        size, length = sum(each.queue_bytes for each in live), sum(each.queue_length for each in live)
        yield gauge("txsoter_send_queue_bytes", "Bytes that wait to be sent.", size)
        yield gauge("txsoter_send_queue_messages", "Messages that wait to be sent.", length)
        held = self._asked("held", self._held)
        if held is not None:
            yield gauge("txsoter_held_bytes", "Bytes read and not handled yet, and bytes not sent yet.", held)

    def _outside(self) -> Iterable[Metric]:
        core = self._core
        refused = self._asked("refused", self._refused)
        if refused is not None:
            what = "Connections that were refused at once."
            yield core.CounterMetricFamily("txsoter_refused_connections", what, refused)
        banned = self._asked("banned", self._banned)
        if banned is not None:
            what = "Addresses that are refused for what they did."
            yield core.GaugeMetricFamily("txsoter_banned_addresses", what, banned)
        book = self._asked("book", self._book)
        if book is not None:
            what = "Addresses that are known, by table."
            sizes = core.GaugeMetricFamily("txsoter_book_addresses", what, labels=("table",))
            for table, size in book.items():
                sizes.add_metric((table,), size)
            yield sizes
        capture = self._asked("capture", self._capture)
        if capture is not None:
            yield from self._recording(capture)

    def _recording(self, capture: CaptureState) -> Iterable[Metric]:
        counter, gauge = self._core.CounterMetricFamily, self._core.GaugeMetricFamily
        running = int(capture.reason is None)
        yield gauge("txsoter_capture_running", "1 while conversations are recorded, else 0.", running)
        yield gauge("txsoter_capture_stored_bytes", "Bytes on the disk in folders of conversations.", capture.stored)
        yield gauge("txsoter_capture_waiting_bytes", "Bytes recorded and not written yet.", capture.waiting)
        yield counter("txsoter_capture_dropped", "Reads and writes that were not recorded.", capture.dropped)
        yield counter("txsoter_capture_failures", "Failures that have stopped the recording.", capture.failures)

    def _build(self) -> Metric:
        labels = {"version": _version("txsoter"), "twisted": _version("twisted"), "network": self._network}
        labels |= {"python": platform.python_version(), "compiled": " ".join(txsoter.compiled)}
        return self._core.InfoMetricFamily("txsoter_build", "What runs.", labels)

    def _asked(self, name: str, source: Callable[[], T] | None) -> T | None:
        """What ``source`` says; None when there is none, or it fails: the other metrics are still wanted."""
        try:
            return None if source is None else source()
        except Exception:
            if name not in self._failed:
                self._failed.add(name)
                self.log.failure("metrics: {name} failed, and is left out", name=name)
            return None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        # run from a checkout
        return "unknown"
