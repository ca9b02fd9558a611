"""Tests of :mod:`txsoter.service.exposition`: metrics over HTTP, on loopback."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from typing import Any

import prometheus_client
import pytest
from prometheus_client.core import Metric
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from txsoter import SIMNET, Listeners, PeerConfig
from txsoter.service import PeerService
from txsoter.service.exposition import MAX_CONNECTIONS, MetricsService
from txsoter.service.metrics import Metrics
from txsoter.test.peer.cases import as_tx, over_sockets, real_reactor
from txsoter.test.service.scraping import Scrape
from txsoter.wire import Inv, Message, Ping, Pong, SendHeaders, Tx

LOOPBACK = "tcp:0:interface=127.0.0.1"


class Asking(Protocol):
    """A client that sends a request, and has the whole answer when its connection ends."""

    transport: Any

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.read = b""
        self.answered: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self.read += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.answered.callback(self.read)


def here(service: MetricsService) -> Any:
    """An endpoint to where it listens."""
    port: Any = service.port
    return clientFromString(real_reactor(), f"tcp:127.0.0.1:{port.getHost().port}")


async def ask(service: MetricsService, path: str = "/metrics", *headers: str, method: str = "GET") -> tuple[str, bytes]:
    """The answer's head, and its body."""
    request = "\r\n".join([f"{method} {path} HTTP/1.0", *headers, "", ""])
    client = await connectProtocol(here(service), Asking(request.encode()))
    head, _, body = (await client.answered).partition(b"\r\n\r\n")
    return head.decode(), body


async def scrape(service: MetricsService) -> Scrape:
    """As Prometheus does it."""
    return Scrape((await ask(service))[1].decode())


class Calling:
    """A collector that calls back when it is asked, and gives some metrics."""

    def __init__(self, call: Callable[[], object], *metrics: Metric) -> None:
        self.call = call
        self.metrics = metrics

    def collect(self) -> tuple[Metric, ...]:
        self.call()
        return self.metrics


class Slow(Metric):
    """A metric that keeps the thread which writes it down, and may fail then."""

    fails = False

    def __init__(self, *arguments: str) -> None:
        self.begun, self.gate, self._reactors = threading.Event(), threading.Event(), threading.get_ident()
        super().__init__(*arguments)

    @property
    def samples(self) -> list[Any]:
        if threading.get_ident() != self._reactors:
            self.begun.set()
            self.gate.wait(10)
            if self.fails:
                raise ZeroDivisionError
        return []

    @samples.setter
    def samples(self, samples: list[Any]) -> None:
        """There are none."""


async def turns(most: int = 1_000_000, until: Callable[[], object] = lambda: False) -> None:
    """Let the reactor work, so many times or until something is."""
    for _ in range(most):
        if until():
            break
        tick: Deferred[None] = Deferred()
        real_reactor().callLater(0, tick.callback, None)
        await tick


def serving(endpoint: Any = LOOPBACK) -> MetricsService:
    """A service that runs, without peers."""
    service = MetricsService(Metrics(tuple), endpoint)
    service.startService()
    return service


@over_sockets()
async def test_adds_up_to_what_was_sent() -> None:
    """Two services on loopback: what the one's metrics say was sent the other's say was received, and no more."""

    class Side:
        def __init__(self, listeners: Listeners) -> None:
            self.metrics = Metrics(
                lambda: self.peers.peers, held=lambda: self.peers.config.memory.total, network="simnet"
            )
            config = PeerConfig(network=SIMNET, allow_self_connections=True, listeners=self.metrics.timed(listeners))
            self.peers = PeerService(config, observers=[self.metrics])
            self.serving = MetricsService(self.metrics, LOOPBACK)
            self.serving.setServiceParent(self.peers)

    def answer(peer: Any, message: Message) -> None:
        peer.send(Inv([as_tx(each) for each in range(1000)]))

    server, client = Side(Listeners(on_sendheaders=answer)), Side(Listeners())
    listening = server.peers.listen(serverFromString(real_reactor(), LOOPBACK), "here")
    server.peers.startService()
    port: Any = listening.port
    there = clientFromString(real_reactor(), f"tcp:127.0.0.1:{port.getHost().port}")
    dialling: Any = client.peers.dial(there, "there")
    client.peers.startService()
    peer = (await dialling.whenConnected()).peer
    for number in range(50):
        peer.send(SendHeaders())
        peer.send(Tx(lock_time=number))
    await peer.request(Ping(7), Pong)
    ours, theirs = await scrape(client.serving), await scrape(server.serving)
    for name in ("txsoter_messages_total", "txsoter_message_bytes_total"):
        for one, other in ((ours, theirs), (theirs, ours)):
            assert one.by(name, "command", direction="sent") == other.by(name, "command", direction="received") != {}
    assert ours.value("txsoter_messages_total", direction="received", command="inv") == 50
    assert ours.value("txsoter_round_trip_seconds_count") == 1
    assert theirs.value("txsoter_handler_seconds_total", listener="sendheaders") > 0
    assert theirs.by("txsoter_peers", "state", direction="inbound") == {"ready": 1}
    assert ours.value("txsoter_held_bytes") == 0
    await client.peers.stopService()
    await server.peers.stopService()


@over_sockets()
async def test_what_is_served() -> None:
    """Text for Prometheus below /metrics, the process's own metrics too, packed where that is asked; nothing else."""
    service = serving()
    head, body = await ask(service)
    assert head.startswith("HTTP/1.0 200 OK\r\n")
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    seen = Scrape(body.decode())
    assert seen.value("process_open_fds") > 3
    assert seen.kinds["txsoter_messages_total"] == "counter"
    assert seen.kinds["txsoter_round_trip_seconds_bucket"] == "histogram"
    _, packed = await ask(service, "/metrics", "Accept-Encoding: gzip")
    assert Scrape(gzip.decompress(packed).decode()).samples.keys() == seen.samples.keys()
    _, few = await ask(service, "/metrics?name[]=txsoter_read_bytes_total")
    assert list(Scrape(few.decode()).samples) == [("txsoter_read_bytes_total", frozenset())]
    _, other = await ask(service, "/metrics", "Accept: application/openmetrics-text; version=1.0.0")
    assert other.endswith(b"# EOF\n")
    for path in ("/", "/metrics/", "/metrics/favicon.ico", "/other"):
        assert (await ask(service, path))[0].startswith("HTTP/1.0 404 ")
    assert (await ask(service, "/metrics", method="POST"))[0].startswith("HTTP/1.0 405 ")
    assert (await ask(service, "/metrics", method="OPTIONS"))[0].startswith("HTTP/1.0 200 ")
    await service.stopService()


@over_sockets()
async def test_loopback() -> None:
    """A description that names no interface means loopback; one that does means that; so does an endpoint."""
    reactor = real_reactor()
    cases = (
        ("tcp:0", "127.0.0.1"),
        ("tcp:0:interface=127.0.0.2", "127.0.0.2"),
        (serverFromString(reactor, "tcp:0:interface=127.0.0.3"), "127.0.0.3"),
    )
    for endpoint, host in cases:
        service = MetricsService(Metrics(tuple), endpoint)
        assert service.url is None
        service.startService()
        port: Any = service.port
        assert service.url == f"http://{host}:{port.getHost().port}/metrics"
        await service.stopService()


@over_sockets()
async def test_registry_of_its_own() -> None:
    """Two services count apart, and the registry that all programs share knows of neither."""
    services = [serving(), serving()]
    extra = prometheus_client.Counter("extra", "An application's.", registry=services[0].registry)
    extra.inc(3)
    assert (await scrape(services[0])).value("extra_total") == 3
    assert (await scrape(services[1]))["extra_total"] == {}
    shared = prometheus_client.generate_latest(prometheus_client.REGISTRY)
    assert b"txsoter_" not in shared
    for service in services:
        await service.stopService()


@over_sockets()
async def test_looks_in_the_reactors_thread() -> None:
    """Peers are looked at where they live; once for each time that somebody asks."""
    service, threads = serving(), []
    service.registry.register(Calling(lambda: threads.append(threading.get_ident())))
    threads.clear()
    await ask(service)
    await ask(service)
    assert threads == [threading.get_ident()] * 2
    await service.stopService()


@over_sockets()
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("gone", [False, True])
async def test_stopped_while_a_thread_answers(gone: bool, fails: bool) -> None:
    """It has stopped when the thread is done, not before: also when it fails, and when nobody waits any more."""
    service, slow, stopped = serving(), Slow("slow", "Takes its time.", "gauge"), list[None]()
    slow.fails = fails
    service.registry.register(Calling(lambda: None, slow))
    client = await connectProtocol(here(service), Asking(b"GET /metrics HTTP/1.0\r\n\r\n"))
    try:
        await turns(until=slow.begun.is_set)
        if gone:
            client.transport.abortConnection()
            await client.answered
        stopping = service.stopService().addCallback(stopped.append)
        await turns(10)
        assert stopped == []
    finally:
        slow.gate.set()
    await stopping
    assert service._guard.protocols == {}
    await client.answered


@over_sockets()
async def test_hangs_up_when_it_stops() -> None:
    """Connections that are kept open, for the next scrape or for nothing, are closed with it; and there is a limit."""
    service = serving()
    kept = [await connectProtocol(here(service), Asking(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"))]
    while len(kept) < MAX_CONNECTIONS:
        kept.append(await connectProtocol(here(service), Asking(b"")))
    assert await (await connectProtocol(here(service), Asking(b""))).answered == b""
    await turns(until=lambda: kept[0].read.endswith(b"\r\n0\r\n\r\n"))
    assert not any(each.answered.called for each in kept)
    await service.stopService()
    for each in kept:
        await each.answered
    assert service._guard.protocols == {}
