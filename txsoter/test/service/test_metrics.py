"""Tests of :mod:`txsoter.service.metrics`: what Prometheus gets is what has happened."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from typing import Any
from unittest import mock

import attrs
from twisted.logger import LogLevel

import txsoter
from txsoter import CloseCause, Listeners, PeerConfig, SoterPeerProtocol
from txsoter.capture import CaptureState
from txsoter.core.state import State
from txsoter.errors import LocalError
from txsoter.service import Observer, observed
from txsoter.service.metrics import Metrics
from txsoter.test.peer.cases import AFTER_HANDSHAKE, WholePeerTestCase, config, framed
from txsoter.test.service.scraping import Scrape, metered, scrape
from txsoter.testing import remote_version
from txsoter.wire import (
    ZERO_HASH,
    Inv,
    Message,
    Ping,
    Pong,
    Reject,
    Services,
    Unknown,
    VerAck,
)


class Remembering(Observer):
    """What a PeerService knows: which peers live. (It knows them before they are ready; see :meth:`expect`.)"""

    def __init__(self) -> None:
        self.peers: set[SoterPeerProtocol] = set()

    def on_closed(self, peer: SoterPeerProtocol, reason: Any) -> None:
        self.peers.discard(peer)


class MetricsTestCase(WholePeerTestCase):
    """Peers with metrics.

    :ivar living: the peers that are known to them.
    """

    def setUp(self) -> None:
        super().setUp()
        self.living = Remembering()
        self.metrics = Metrics(lambda: self.living.peers)

    def metered(self, listeners: Listeners | None = None, **fields: Any) -> PeerConfig:
        """A config whose peers are counted."""
        counted = metered(self.metrics, listeners, **fields)
        return counted.replace(listeners=observed(counted.listeners, [self.living]))

    def expect(self, *peers: SoterPeerProtocol) -> None:
        """These are counted from now on."""
        self.living.peers.update(peers)

    def scrape(self) -> Scrape:
        return scrape(self.metrics)


class TrafficTests(MetricsTestCase):
    """Messages and bytes."""

    def test_adds_up_to_what_was_sent(self) -> None:
        """What one end has sent the other has received: in messages and bytes of each command, and after the end."""
        theirs = Metrics(lambda: [pair.server] if pair.server.state is not State.CLOSED else [])
        bloom: Any = {"services": Services.BLOOM, "stall_timeout": None}
        pair = self.connected_pair(self.metered(**bloom), metered(theirs, **bloom))
        self.expect(pair.client)
        for index, message in enumerate(AFTER_HANDSHAKE):
            for _ in range(index % 3 + 1):
                pair.client.send(message)
            if not index % 2:
                pair.server.send(message)
            pair.pump()
        commands = {message.command for message in AFTER_HANDSHAKE} | {"version", "verack"}
        self.assert_crossed(self.scrape(), scrape(theirs), commands)
        for index, message in enumerate(AFTER_HANDSHAKE):
            if message.command not in ("ping", "pong"):
                sent = self.scrape().value("txsoter_message_bytes_total", direction="sent", command=message.command)
                self.assertEqual(sent, (index % 3 + 1) * len(framed(message)))
        pair.client.disconnect()
        pair.pump()
        self.assertEqual((pair.client.state, pair.server.state), (State.CLOSED, State.CLOSED))
        self.assert_crossed(self.scrape(), scrape(theirs), commands)

    def assert_crossed(self, ours: Scrape, theirs: Scrape, commands: set[str]) -> None:
        for name in ("txsoter_messages_total", "txsoter_message_bytes_total"):
            for one, other in ((ours, theirs), (theirs, ours)):
                sent = one.by(name, "command", direction="sent")
                self.assertEqual(sent, other.by(name, "command", direction="received"))
            self.assertEqual(set(ours.by(name, "command", direction="sent")), commands)
        read = ours.value("txsoter_read_bytes_total")
        self.assertEqual(read, sum(theirs.by("txsoter_message_bytes_total", "command", direction="sent").values()))

    def test_commands_are_there_from_the_beginning(self) -> None:
        """Each of the 31, and one for all others, in both directions, at 0: a rate needs a beginning."""
        samples = self.scrape()["txsoter_messages_total"]
        self.assertEqual(len(samples), 2 * 32)
        self.assertEqual(set(samples.values()), {0})

    def test_hostile_commands_add_no_labels(self) -> None:
        """Whatever a remote invents stands under one label, and nothing of what it says is one."""
        pair = self.scripted(self.metered(), handshake=False)
        self.expect(pair.peer)
        before = self.scrape()
        pair.handshake(remote_version(user_agent=b'/"evil\n{}:1.0.0/'))
        invented = [f'{index:x}"\n\\' for index in range(300)]
        pair.say(*(Unknown(command, b"payload") for command in invented), Reject(b"evil", 0x40, b"evil"))
        self.assertEqual(self.scrape().samples.keys(), before.samples.keys())
        unknown = {"direction": "received", "command": "unknown"}
        self.assertEqual(self.scrape().value("txsoter_messages_total", **unknown), 300)
        sizes = sum(len(framed(Unknown(command, b"payload"))) for command in invented)
        self.assertEqual(self.scrape().value("txsoter_message_bytes_total", **unknown), sizes)
        pair.say(bytes(4) + b"evil".ljust(12, bytes(1)) + bytes(8))
        added = self.scrape().samples.keys() - before.samples.keys()
        self.assertEqual(added, {("txsoter_closes_total", frozenset({("cause", "malformed"), ("by", "local")}))})

    def test_malformed(self) -> None:
        """Malformed messages are counted, and the bytes that were read of what never became a message."""
        pair = self.scripted(self.metered())
        self.expect(pair.peer)
        before = self.scrape().value("txsoter_read_bytes_total")
        broken = framed(Ping(1))[:-1] + b"\xff"
        pair.say(broken[:10])
        self.assertEqual(self.scrape().value("txsoter_read_bytes_total"), before + 10)
        pair.say(broken[10:])
        self.assert_closed(pair, CloseCause.MALFORMED, "ping")
        self.assertEqual(self.scrape().value("txsoter_malformed_messages_total"), 1)
        self.assertEqual(self.scrape().value("txsoter_messages_total", direction="received", command="ping"), 0)
        self.assertEqual(self.scrape().value("txsoter_read_bytes_total"), before + 32)

    def test_never_backwards(self) -> None:
        """No counter falls, and no series goes, when peers end: by us, by them, by the network, by rubbish."""
        last = self.scrape().counts()
        ends: list[Any] = [
            lambda pair: pair.peer.disconnect(),
            lambda pair: pair.remote.transport.loseConnection(),
            lambda pair: pair.link.reset(),
            lambda pair: pair.remote.say(b"rubbish " * 9),
            lambda pair: pair.advance(30),
        ]
        for number, end in enumerate(ends * 2):
            pair = self.scripted(self.metered(), handshake=number % 3 > 0, inbound=number % 2 > 0)
            self.expect(pair.peer)
            pair.say(*(Inv() for _ in range(number)))
            if pair.peer.state is State.READY:
                pair.peer.send(Ping(number))
                pair.say(Pong(number))
            last = self.assert_grown(last)
            end(pair)
            last = self.assert_grown(last)
            pair.pump()
            last = self.assert_grown(last)
        self.assertGreater(sum(self.scrape()["txsoter_closes_total"].values()), 8)
        self.assertGreater(self.scrape().value("txsoter_round_trip_seconds_count"), 4)

    def assert_grown(self, last: Any) -> Any:
        now = self.scrape().counts()
        for key, value in last.items():
            self.assertGreaterEqual(now[key], value, key)
        return now

    def test_nothing_is_hooked_that_comes_often(self) -> None:
        """Metrics listen for round trips and for ends of connections, and for no message."""
        changed = metered(self.metrics).listeners
        hooked = [each.name for each in attrs.fields(Listeners) if getattr(changed, each.name)]
        self.assertEqual(hooked, ["on_round_trip", "on_closed"])


class ConnectionTests(MetricsTestCase):
    """Peers, handshakes and closes."""

    def peers(self) -> dict[tuple[str, str], float]:
        samples = self.scrape()["txsoter_peers"]
        self.assertEqual(len(samples), 2 * (len(State) - 1))
        return {(dict(key)["state"], dict(key)["direction"]): value for key, value in samples.items() if value}

    def test_peers_by_state_and_direction(self) -> None:
        """Each peer that lives counts once, where it stands."""
        self.expect(SoterPeerProtocol(config()))
        pairs = [
            self.scripted(self.metered(), inbound=way, handshake=ready) for way, ready in ((True, True), (False, 0))
        ]
        self.expect(*(pair.peer for pair in pairs))
        expected = {("connecting", "outbound"): 1, ("ready", "inbound"): 1, ("negotiating", "outbound"): 1}
        self.assertEqual(self.peers(), expected)
        pairs[1].say(remote_version())
        pairs[0].link.server.takes = False
        pairs[0].peer.disconnect()
        expected = {("connecting", "outbound"): 1, ("closing", "inbound"): 1, ("negotiated", "outbound"): 1}
        self.assertEqual(self.peers(), expected)

    def handshakes(self) -> dict[tuple[str, str], float]:
        samples = self.scrape()["txsoter_handshakes_total"]
        return {(dict(key)["direction"], dict(key)["result"]): value for key, value in samples.items()}

    def test_handshakes_by_result(self) -> None:
        """Those completed and those that failed, by who dialled; and each only once."""
        self.assertEqual(self.handshakes(), {("inbound", "completed"): 0, ("outbound", "completed"): 0})
        good = self.scripted(self.metered(), inbound=True)
        self.expect(good.peer)
        self.assertEqual(self.handshakes(), {("inbound", "completed"): 1, ("outbound", "completed"): 0})
        bad = self.fresh(self.metered())
        bad.handshake(remote_version(genesis_hash=ZERO_HASH))
        mute = self.fresh(self.metered(), inbound=True)
        mute.advance(30)
        # the first that it says is a verack, which completes nothing
        eager = self.fresh(self.metered())
        eager.say(VerAck())
        # nor does one that is malformed
        broken = self.fresh(self.metered())
        broken.say(remote_version(), framed(VerAck())[:-1] + b"\xff")
        good.peer.disconnect()
        good.pump()
        expected = {
            ("inbound", "completed"): 1,
            ("outbound", "completed"): 0,
            ("outbound", "wrong_genesis"): 1,
            ("inbound", "negotiation_timeout"): 1,
            ("outbound", "version_expected"): 1,
            ("outbound", "malformed"): 1,
        }
        self.assertEqual(self.handshakes(), expected)

    def test_hung_up_at_once(self) -> None:
        """One that is ready, and whom an application leaves at that moment, has completed its handshake."""
        pair = self.fresh(self.metered())

        def leave(peer: SoterPeerProtocol) -> None:
            peer.disconnect()

        pair.peer.when_ready().addCallback(leave)
        pair.handshake()
        self.assertEqual(self.handshakes(), {("inbound", "completed"): 0, ("outbound", "completed"): 1})

    def test_closes_by_cause_and_by_whom(self) -> None:
        """Each end counts once."""
        ends: Iterable[Any] = (
            lambda pair: pair.peer.disconnect(),
            lambda pair: pair.peer.disconnect(),
            lambda pair: pair.remote.transport.loseConnection(),
            lambda pair: pair.link.reset(),
            lambda pair: pair.say(VerAck()),
        )
        for end in ends:
            pair = self.scripted(self.metered())
            self.expect(pair.peer)
            end(pair)
            pair.pump()
        found = {tuple(sorted(key)): value for key, value in self.scrape()["txsoter_closes_total"].items()}
        expected = {
            ("local", "disconnect"): 2,
            ("remote", "remote_closed"): 1,
            ("network", "connection_lost"): 1,
            ("local", "duplicate_verack"): 1,
        }
        self.assertEqual(found, {(("by", by), ("cause", cause)): value for (by, cause), value in expected.items()})
        self.assertEqual(self.peers(), {})


class RoundTripTests(MetricsTestCase):
    """The histogram of round trips."""

    def bucket(self, bound: str) -> float:
        return self.scrape().value("txsoter_round_trip_seconds_bucket", le=bound)

    def test_from_ping_to_pong(self) -> None:
        """Each pong that answers a ping of ours counts, in seconds; one that does not, or comes again, does not."""
        pair = self.scripted(self.metered())
        for nonce, seconds in ((1, 0.25), (2, 0.3), (3, 100)):
            pair.peer.send(Ping(nonce))
            pair.advance(seconds, seconds)
            pair.say(Pong(nonce), Pong(nonce), Pong(99))
        self.assertEqual([self.bucket(bound) for bound in ("0.1", "0.25", "0.5", "60.0", "+Inf")], [0, 1, 2, 2, 3])
        self.assertEqual(self.scrape().value("txsoter_round_trip_seconds_count"), 3)
        self.assertAlmostEqual(self.scrape().value("txsoter_round_trip_seconds_sum"), 100.55)
        self.assertEqual(pair.peer.stats().ping_micros, 100_000_000)

    def test_pings_sent_before_on_ready(self) -> None:
        """A ping that somebody who waited for ready sends at once is measured, too."""
        pair = self.fresh(self.metered())

        def ping(peer: SoterPeerProtocol) -> None:
            peer.send(Ping(1))

        pair.peer.when_ready().addCallback(ping)
        pair.handshake()
        pair.say(Pong(1))
        self.assertEqual(self.bucket("0.001"), 1)


class HandlingTests(MetricsTestCase):
    """Listeners, queues, memory."""

    def test_handlers(self) -> None:
        """Seconds by listener, whether it still lives or not; and how many have failed."""

        def slow(peer: SoterPeerProtocol, message: Message) -> None:
            now[0] += 0.5
            raise ZeroDivisionError

        now = [0.0]
        self.metrics = Metrics(lambda: self.living.peers, now=lambda: now[0])
        pair = self.connected_pair(config(), self.metered(Listeners(on_inv=slow)))
        self.expect(pair.server)
        self.assertEqual(self.scrape().value("txsoter_handler_seconds_total", listener="inv"), 0)
        for _ in range(3):
            pair.client.send(Inv())
            pair.pump()
        for _ in range(2):
            self.assertEqual(self.scrape().value("txsoter_handler_seconds_total", listener="inv"), 1.5)
            self.assertEqual(self.scrape().value("txsoter_handler_errors_total"), 3)
            pair.server.disconnect()
            pair.pump()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_queues_and_memory(self) -> None:
        """What waits to be sent, of all peers together; and what all hold, as their budget says."""
        budget = config().memory
        self.metrics = Metrics(lambda: self.living.peers, held=lambda: budget.total)
        pairs = [self.scripted(self.metered()) for _ in range(2)]
        self.expect(*(pair.peer for pair in pairs))
        self.assertEqual(self.queued(), (0, 0))
        for pair in pairs:
            pair.link.client.takes = False
            for _ in range(3):
                pair.peer.send(Unknown("filler", bytes(100_000)))
        stats = [pair.peer.stats() for pair in pairs]
        self.assertGreater(stats[0].queue_bytes, 100_000)
        self.assertEqual(self.queued(), (2 * stats[0].queue_bytes, 2 * stats[0].queue_length))
        for pair in pairs:
            pair.link.client.takes = True
            pair.pump()
        self.assertEqual(self.queued(), (0, 0))
        self.assertEqual(self.scrape().value("txsoter_held_bytes"), 0)
        budget.total = 4321
        self.assertEqual(self.scrape().value("txsoter_held_bytes"), 4321)

    def queued(self) -> tuple[float, float]:
        found = self.scrape()
        return found.value("txsoter_send_queue_bytes"), found.value("txsoter_send_queue_messages")


class OutsideTests(MetricsTestCase):
    """What others tell, and what runs."""

    def test_others(self) -> None:
        """Refusals, bans and the address book, as they are told when asked; nothing of what there is not."""
        names = ("txsoter_refused_connections_total", "txsoter_banned_addresses", "txsoter_book_addresses")
        for name in (*names, "txsoter_held_bytes"):
            self.assertEqual(self.scrape()[name], {})
        book = {"tried": 12, "new": 340}
        self.metrics = Metrics(tuple, refused=lambda: 7, banned=lambda: 2, book=lambda: book, held=lambda: 4)
        self.assertEqual([self.scrape().value(name) for name in names[:2]], [7, 2])
        self.assertEqual(self.scrape().by(names[2], "table"), book)
        book["new"] += 1
        self.assertEqual(self.scrape().value(names[2], table="new"), 341)

    def test_capture(self) -> None:
        """Whether it records, and what that takes."""
        states = [CaptureState("No space left on device", 5000, 70, 17, 1), CaptureState(None, 6000, 0, 17, 1)]
        self.metrics = Metrics(tuple, capture=lambda: states[0])
        names = ("running", "stored_bytes", "waiting_bytes", "dropped_total", "failures_total")
        self.assertEqual([self.scrape().value(f"txsoter_capture_{name}") for name in names], [0, 5000, 70, 17, 1])
        del states[0]
        self.assertEqual([self.scrape().value(f"txsoter_capture_{name}") for name in names], [1, 6000, 0, 17, 1])

    def test_one_that_fails(self) -> None:
        """It is left out and logged once; all others are still there, and it is again when it is well."""
        sick = [True]

        def book() -> dict[str, float]:
            if sick:
                raise ZeroDivisionError
            return {"tried": 1}

        lines = self.log_lines(LogLevel.critical)
        self.metrics = Metrics(tuple, book=book, refused=lambda: 7)
        for _ in range(3):
            self.assertEqual(self.scrape()["txsoter_book_addresses"], {})
            self.assertEqual(self.scrape().value("txsoter_refused_connections_total"), 7)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("metrics: book failed", lines[0])
        sick.clear()
        self.assertEqual(self.scrape().value("txsoter_book_addresses", table="tried"), 1)

    def test_build(self) -> None:
        """Which versions run, and on which network."""
        self.metrics = Metrics(tuple, network="simnet")
        ((labels, value),) = self.scrape()["txsoter_build_info"].items()
        self.assertEqual(value, 1)
        self.assertEqual(dict(labels)["network"], "simnet")
        self.assertEqual(dict(labels)["python"], platform.python_version())
        self.assertEqual(dict(labels)["compiled"], " ".join(txsoter.compiled))
        self.assertEqual(set(dict(labels)), {"version", "twisted", "network", "python", "compiled"})

    def test_not_installed(self) -> None:
        """Without prometheus-client the error says what to install."""
        with mock.patch.dict(sys.modules, {"prometheus_client": None}):
            error = self.assertRaises(LocalError, Metrics, tuple)
        self.assertIn("pip install 'txsoter[metrics]'", str(error))
