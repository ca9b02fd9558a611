"""Tests of :mod:`txsoter.service.exposition`: metrics over HTTP, on loopback."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterable
from typing import Any

import prometheus_client
from prometheus_client.core import Metric
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from txsoter import SIMNET, Listeners, PeerConfig
from txsoter.service import PeerService
from txsoter.service.exposition import FRESH_SECONDS, MAX_CONNECTIONS, MetricsService
from txsoter.service.metrics import Metrics
from txsoter.test.peer.cases import as_tx, over_sockets, real_reactor
from txsoter.test.service.scraping import Scrape
from txsoter.test.service.web import Deaf, Here, Visitor
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
    host = () if any(each.startswith("Host:") for each in headers) else ("Host: localhost",)
    request = "\r\n".join([f"{method} {path} HTTP/1.0", *host, *headers, "", ""])
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


async def turns(most: int = 1_000_000, until: Callable[[], object] = lambda: False) -> None:
    """Let the reactor work, so many times or until something is."""
    for _ in range(most):
        if until():
            break
        tick: Deferred[None] = Deferred()
        real_reactor().callLater(0, tick.callback, None)
        await tick


def serving(endpoint: Any = LOOPBACK, hosts: Iterable[str] = ()) -> MetricsService:
    """A service that runs, without peers."""
    service = MetricsService(Metrics(tuple), endpoint, hosts=hosts)
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
    assert Scrape(gzip.decompress(packed).decode()).samples == seen.samples
    _, few = await ask(service, "/metrics?name[]=txsoter_read_bytes_total")
    assert list(Scrape(few.decode()).samples) == [("txsoter_read_bytes_total", frozenset())]
    head, other = await ask(service, "/metrics", "Accept: application/openmetrics-text; version=1.0.0")
    assert "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8" in head
    assert other.endswith(b"# EOF\n")
    for path in ("/", "/metrics/", "/metrics/favicon.ico", "/other"):
        assert (await ask(service, path))[0].startswith("HTTP/1.0 404 ")
    await service.stopService()


@over_sockets()
async def test_the_guard_of_the_status_page() -> None:
    """HEAD is answered; other hosts, other sites and other methods are not; no answer says what serves it."""
    service = serving(hosts=["node.example"])
    head, body = await ask(service, method="HEAD")
    assert head.startswith("HTTP/1.0 200 OK\r\n")
    assert "Content-Length: 0" not in head
    assert body == b""
    answers = [
        await ask(service, "/metrics", "Host: node.example:9556"),
        await ask(service, "/metrics", "Host: evil.example"),
        await ask(service, "/metrics", "Sec-Fetch-Site: cross-site"),
        *[await ask(service, method=method) for method in ("POST", "OPTIONS", "FOO")],
    ]
    assert [answer[0][9:12] for answer in answers] == ["200", "421", "403", "405", "405", "405"]
    for answer, _ in answers:
        assert "\r\nServer: txsoter\r\n" in answer
        assert "twisted" not in answer.lower()
    assert not any(b"txsoter_" in body for _, body in answers[1:])
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


class Asked:
    """A visitor in memory, on a clock."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self.clock = Clock()
        self.here = Here()
        self.collected = 0
        clock: Any = self.clock
        self.service = MetricsService(Metrics(tuple), self.here, reactor=clock, hosts=hosts)
        self.service.registry.register(Calling(self.count))
        self.collected = 0
        self.service.startService()

    def count(self) -> None:
        self.collected += 1

    def ask(self, path: str = "/metrics", **headers: str) -> bytes:
        return Visitor(self.here.factory).ask(path, **headers).body


def test_collects_once_a_second_at_most() -> None:
    """Whoever asks, and in whichever format: collecting is what keeps peers waiting."""
    asked = Asked()
    first = asked.ask()
    for accept in ("text/plain", "application/openmetrics-text; version=1.0.0", *(f"a/{each}" for each in range(99))):
        assert asked.ask(accept=accept)
    assert asked.ask() == first
    assert asked.collected == 1
    asked.clock.advance(FRESH_SECONDS)
    asked.ask()
    assert asked.collected == 2


def test_few_variants_are_written_of_the_same_metrics() -> None:
    """Who makes up formats and selections is given all of it as plain text: that costs nothing more."""
    asked = Asked()
    plain = asked.ask()
    odd = [asked.ask(f"/metrics?name[]=txsoter_read_bytes_total&name[]={each}") for each in range(50)]
    assert odd[0] != plain
    assert odd[-1] == plain
    assert len(set(odd)) == 2


@over_sockets()
async def test_hangs_up_when_it_stops() -> None:
    """Connections that are kept open, for the next scrape or for nothing, are closed with it."""
    service = serving()
    kept = [await connectProtocol(here(service), Asking(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"))]
    while len(kept) < MAX_CONNECTIONS:
        kept.append(await connectProtocol(here(service), Asking(b"")))
    await turns(until=lambda: b"txsoter_build_info" in kept[0].read)
    assert not any(each.answered.called for each in kept)
    await service.stopService()
    for each in kept:
        await each.answered


@over_sockets()
async def test_stops_at_once_whatever_clients_do() -> None:
    """Pipelined requests of which no answer is read do not hold it up."""
    service = serving()
    deaf = []
    for _ in range(MAX_CONNECTIONS):
        client = Deaf(b"GET /metrics HTTP/1.1\r\nHost:localhost\r\n\r\n" * 780)
        deaf.append(await connectProtocol(here(service), client))
    await turns(100)
    started = time.monotonic()
    await service.stopService()
    assert time.monotonic() - started < 1
    for client in deaf:
        await client.hear()
