"""PeerService: what it dials it dials again, and when it stops nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from txsoter import SIMNET, CloseCause, ClosedBy, CloseReason, ConnectionClosed, PeerConfig, SoterPeerProtocol
from txsoter.errors import FieldError
from txsoter.service import PeerService, having_nothing
from txsoter.testing import MemoryLink, ScriptedPeer, remote_version, repeatable, scripted
from txsoter.wire import (
    ZERO_HASH,
    GetBlocks,
    GetData,
    GetHeaders,
    Hash,
    Headers,
    Inv,
    InventoryType,
    InventoryVector,
    NotFound,
    VerAck,
    Version,
)


@implementer(IStreamClientEndpoint)
class Dialled:
    """An endpoint at which scripted remotes wait.

    :ivar links: of the connections made, the newest last.
    :ivar refuses: fail instead.
    :ivar pending: what is connecting, when ``hold`` is set.
    """

    def __init__(self) -> None:
        self.links: list[MemoryLink] = []
        self.remotes: list[ScriptedPeer] = []
        self.attempts = 0
        self.refuses = False
        self.hold = False
        self.cancelled = 0

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        self.attempts += 1
        if self.hold:
            return Deferred(self._cancel)
        if self.refuses:
            return fail(ConnectError(string="nobody\nthere"))
        peer: Any = protocolFactory.buildProtocol(IPv4Address("TCP", "192.0.2.2", 18555))
        self.remotes.append(ScriptedPeer())
        self.links.append(MemoryLink(peer, self.remotes[-1]))
        return succeed(peer)

    def _cancel(self, connecting: Deferred[Any]) -> None:
        self.cancelled += 1

    def pump(self) -> None:
        for link in self.links:
            link.pump()

    def accept(self, **version: object) -> None:
        """Let the newest remote shake hands."""
        self.remotes[-1].say(remote_version(**version), VerAck())
        self.pump()


class MemoryPort:
    """A port in memory."""

    open = True

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 18555)

    def stopListening(self) -> Deferred[None]:
        self.open = False
        self.stopped: Deferred[None] = Deferred()
        return self.stopped


@implementer(IStreamServerEndpoint)
class Listened:
    """An endpoint that listens in memory."""

    def __init__(self, answer: Callable[[], Deferred[Any]] | None = None) -> None:
        self.factory: Any = None
        self.port = MemoryPort()
        self._answer = answer

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        self.factory = protocolFactory
        port: Any = self.port
        return succeed(port) if self._answer is None else self._answer()

    def come(self) -> tuple[ScriptedPeer, MemoryLink]:
        """Let a remote dial."""
        remote = ScriptedPeer()
        link = MemoryLink(remote, self.factory.buildProtocol(None))
        link.pump()
        return remote, link


class ServiceTestCase(SynchronousTestCase):
    """A service with a clock, which must stand still in the end."""

    def setUp(self) -> None:
        self.clock = Clock()
        config = repeatable(self.clock, PeerConfig(network=SIMNET))
        self.service = PeerService(config, self.clock, retry_policy=lambda attempt: 10.0 * attempt)
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def logged(self, level: LogLevel = LogLevel.info) -> list[str]:
        """What the service's own parts have logged at this level."""
        own = [each for each in self.events if str(each.get("log_namespace", "")).startswith("txsoter.service")]
        return [formatEvent(each) for each in own if each["log_level"] is level]

    def assert_stopped(self, stopping: Deferred[None]) -> None:
        """All is over, and nothing is left."""
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.service.peers, frozenset())
        self.assertFalse(self.service.running)
        self.assertEqual(self.flushLoggedErrors(), [])


class DialTests(ServiceTestCase):
    """PeerService.dial."""

    def setUp(self) -> None:
        super().setUp()
        self.there = Dialled()
        self.client = self.service.dial(self.there, "tcp:there")

    def test_nothing_before_start(self) -> None:
        """Nobody is dialled before the service runs."""
        self.assertEqual(self.there.attempts, 0)
        self.assert_stopped(self.service.stopService())

    def test_ready(self) -> None:
        """A connection counts from the end of the handshake on, and its peer can be had."""
        self.service.startService()
        waiting = self.client.whenConnected()
        self.there.pump()
        self.assertNoResult(waiting)
        self.there.accept()
        ready: Any = self.successResultOf(waiting)
        self.assertEqual(self.service.peers, {ready.peer})
        self.assertEqual(ready.peer.state.value, "ready")
        self.assert_stops()

    def assert_stops(self) -> None:
        """Stop it with a connection: the remote is told, and the service waits for that."""
        stopping = self.service.stopService()
        self.assertNoResult(stopping)
        self.there.pump()
        self.assertIsNotNone(self.there.remotes[-1].closed)
        self.assert_stopped(stopping)

    def test_dialled_again(self) -> None:
        """A peer that has gone is dialled again after the policy's first wait, however long it was there."""
        self.service.startService()
        for attempt in range(1, 4):
            self.assertEqual(self.there.attempts, attempt)
            self.there.accept()
            self.clock.advance(50)
            self.there.links[-1].reset()
            self.clock.advance(9)
            self.assertEqual(self.there.attempts, attempt)
            self.clock.advance(1)
        self.assertEqual(self.there.attempts, 4)
        self.assert_stops()

    def test_refused_connection(self) -> None:
        """What cannot be connected to is dialled again after longer and longer waits, one line each."""
        self.there.refuses = True
        self.service.startService()
        for attempt in range(1, 5):
            self.assertEqual(self.there.attempts, attempt)
            self.clock.advance(10 * attempt)
        line = "cannot connect to tcp:there: An error occurred while connecting: nobodythere."
        self.assertEqual(self.logged(), [line] * 5)
        self.assertIn("Scheduling retry 2 to connect tcp:there in 20.0 seconds.", map(formatEvent, self.events))
        self.assert_stopped(self.service.stopService())

    def test_refused_handshake(self) -> None:
        """A remote that fails the handshake counts as a failure: longer and longer waits, and no traceback."""
        self.service.startService()
        for attempt in range(1, 5):
            self.assertEqual(self.there.attempts, attempt)
            self.there.accept(genesis_hash=ZERO_HASH)
            self.assertEqual(self.service.peers, frozenset())
            self.clock.advance(10 * attempt - 1)
            self.assertEqual(self.there.attempts, attempt)
            self.clock.advance(1)
        failure = self.client.whenConnected(failAfterFailures=1)
        self.there.accept(genesis_hash=ZERO_HASH)
        reason = self.failureResultOf(failure, ConnectionClosed).value.reason
        self.assertEqual((reason.by, reason.cause), (ClosedBy.LOCAL, CloseCause.WRONG_GENESIS))
        self.assert_stopped(self.service.stopService())

    def test_stop_while_connecting(self) -> None:
        """A connection that is being made is given up."""
        self.there.hold = True
        self.service.startService()
        self.assert_stopped(self.service.stopService())
        self.assertEqual(self.there.cancelled, 1)

    def test_stop_while_shaking_hands(self) -> None:
        """A handshake that is not over is given up, its connection closed."""
        self.service.startService()
        self.there.pump()
        self.assert_stops()

    def test_stop_while_waiting(self) -> None:
        """Nobody is dialled any more."""
        self.there.refuses = True
        self.service.startService()
        self.assert_stopped(self.service.stopService())
        self.clock.advance(100)
        self.assertEqual(self.there.attempts, 1)

    def test_started_again(self) -> None:
        """A service that was stopped can be started again."""
        for attempt in (1, 2):
            self.service.startService()
            self.there.accept()
            self.assertEqual(self.there.attempts, attempt)
            self.assertEqual(len(self.service.peers), 1)
            self.assert_stops()

    def test_what_never_answered_is_given_up_after_a_day(self) -> None:
        self.there.refuses = True
        self.service.startService()
        self.clock.pump([60.0] * 60 * 23)
        self.assertIsNone(self.service.dialled[0].given_up)
        self.clock.pump([60.0] * 60 * 3)
        attempts = self.there.attempts
        self.assertEqual(self.service.dialled[0].given_up, "it has not answered once in 24 hours")
        self.assertEqual(len(self.logged(LogLevel.warn)), 1)
        self.clock.pump([3600.0] * 100)
        self.assertEqual(self.there.attempts, attempts)
        self.assert_stopped(self.service.stopService())

    def test_what_answered_once_is_never_given_up(self) -> None:
        self.service.startService()
        self.there.accept()
        self.there.refuses = True
        self.there.links[-1].reset()
        self.clock.pump([600.0] * 6 * 50)
        self.assertIsNone(self.service.dialled[0].given_up)
        attempts = self.there.attempts
        self.clock.pump([600.0] * 6 * 10)
        self.assertGreater(self.there.attempts, attempts)
        self.assert_stopped(self.service.stopService())

    def test_ourselves_are_dialled_once(self) -> None:
        config = repeatable(self.clock, PeerConfig(network=SIMNET)).replace(allow_self_connections=False)
        self.service = PeerService(config, self.clock, retry_policy=lambda attempt: 10.0)
        there = Dialled()
        self.service.dial(there, "tcp:ourselves")
        self.service.startService()
        there.pump()
        [own] = there.remotes[0].heard
        assert isinstance(own, Version)
        there.accept(nonce=own.nonce)
        self.clock.pump([10.0] * 100)
        self.assertEqual((there.attempts, self.service.dialled[0].given_up), (1, "it is this process itself"))
        self.assert_stopped(self.service.stopService())

    def test_one_that_is_given_up_is_not_dialled_again(self) -> None:
        """Its connection is the caller's to end; a peer that was not dialled here makes no difference."""
        self.service.startService()
        self.there.accept()
        (peer,) = self.service.peers
        self.service.give_up(SoterPeerProtocol(self.service.config), "it is another")
        self.assertIsNone(self.service.dialled[0].given_up)
        self.service.give_up(peer, "it lies")
        self.assertFalse(peer.is_closing)
        self.assertEqual(self.service.dialled[0].given_up, "it lies")
        self.there.links[-1].reset()
        attempts = self.there.attempts
        self.clock.pump([600.0] * 100)
        self.assertEqual((self.there.attempts, len(self.service.peers)), (attempts, 0))
        self.assertEqual(self.logged(LogLevel.warn), ["tcp:there is dialled no more: it lies"])
        self.assert_stopped(self.service.stopService())

    def test_no_two_to_one_remote(self) -> None:
        with self.assertRaises(FieldError):
            self.service.dial(Dialled(), "tcp:there")
        self.assert_stopped(self.service.stopService())

    def test_taken_out(self) -> None:
        """One that is removed is disconnected, and not dialled again; others stay."""
        other = Dialled()
        self.service.startService()
        self.service.dial(other, "tcp:other")
        self.there.accept()
        other.accept()
        leaving: Any = self.service.removeService(self.client)
        self.there.pump()
        self.successResultOf(leaving)
        self.assertEqual(len(self.service.peers), 1)
        self.clock.advance(100)
        self.assertEqual((self.there.attempts, other.attempts), (1, 1))
        self.assertEqual([each.name for each in self.service.dialled], ["tcp:other"])
        stopping = self.service.stopService()
        other.pump()
        self.assert_stopped(stopping)

    def test_taken_out_while_shaking_hands(self) -> None:
        """One that is removed before its handshake is over is disconnected, too."""
        self.service.startService()
        self.there.pump()
        self.successResultOf(MultiService.removeService(self.service, self.client))
        self.there.pump()
        self.assertIsNotNone(self.there.remotes[-1].closed)
        self.assertEqual(self.service.peers, frozenset())
        self.assert_stopped(self.service.stopService())

    def test_reason(self) -> None:
        """Peers learn that it was the service that ended them."""
        self.service.startService()
        self.there.accept()
        (peer,) = self.service.peers
        closed = peer.when_closed()
        self.assert_stops()
        reason = self.successResultOf(closed)
        self.assertEqual(reason, CloseReason(ClosedBy.LOCAL, CloseCause.DISCONNECT, "the service stops"))


class ListenTests(ServiceTestCase):
    """PeerService.listen."""

    def test_listens_and_closes(self) -> None:
        """It listens while it runs; those who came are disconnected when it stops, which waits for the port, too."""
        here = Listened()
        listening = self.service.listen(here, "tcp:here")
        self.assertIsNone(here.factory)
        self.service.startService()
        self.assertIn("listening on tcp:here: 192.0.2.1:18555", self.logged())
        self.assertIs(listening.port, here.port)
        remote, link = here.come()
        remote.say(remote_version())
        link.pump()
        self.assertEqual(remote.commands, ["version", "verack"])
        self.assertEqual(len(self.service.peers), 1)
        stopping = self.service.stopService()
        self.assertFalse(here.port.open)
        here.port.stopped.callback(None)
        self.assertNoResult(stopping)
        link.pump()
        self.assertIsNotNone(remote.closed)
        self.assert_stopped(stopping)
        self.assertIsNone(listening.port)

    def test_privileged(self) -> None:
        """Ports are opened while there is still the right to, and only once."""
        opened = []

        def listen() -> Deferred[Any]:
            opened.append(1)
            return succeed(here.port)

        here = Listened(listen)
        self.service.listen(here, "tcp:here")
        self.service.privilegedStartService()
        self.service.startService()
        self.assertEqual(opened, [1])
        stopping = self.service.stopService()
        here.port.stopped.callback(None)
        self.assert_stopped(stopping)

    def test_taken(self) -> None:
        """A port that is taken: the call that starts the service raises that."""
        error = CannotListenError("192.0.2.1", 18555, OSError("taken"))
        self.service.listen(Listened(lambda: fail(error)), "tcp:here")
        raised = self.assertRaises(CannotListenError, self.service.startService)
        self.assertIs(raised, error)

    def test_taken_found_later(self) -> None:
        """An endpoint that fails only after a while is logged in one line, and the service goes on."""
        opening: Deferred[Any] = Deferred()
        self.service.listen(Listened(lambda: opening), "onion:here")
        self.service.startService()
        opening.errback(ValueError("no tor"))
        self.assertEqual(self.logged(LogLevel.error), ["cannot listen on onion:here: no tor"])
        self.assert_stopped(self.service.stopService())

    def test_stop_while_opening(self) -> None:
        """A port that is being opened is given up, without a word."""
        cancelled: list[Deferred[Any]] = []
        self.service.listen(Listened(lambda: Deferred(cancelled.append)), "onion:here")
        self.service.startService()
        self.assert_stopped(self.service.stopService())
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.logged(LogLevel.error), [])


class HavingNothingTests(SynchronousTestCase):
    """having_nothing(): a soterd closes on those who do not answer its questions."""

    def test_answers(self) -> None:
        """Empty lists, and a notfound for all that was asked for, in pieces that may be sent."""
        pair = scripted(PeerConfig(network=SIMNET, listeners=having_nothing()))
        vectors = [InventoryVector(InventoryType.BLOCK, Hash(bytes([each % 251]) * 32), each) for each in range(50_000)]
        pair.say(GetBlocks(height=0), GetHeaders(height=0), GetData(vectors[:3]))
        self.assertEqual(pair.hear(), [Inv(), Headers(), NotFound(vectors[:3])])
        on_getdata = having_nothing().on_getdata
        assert on_getdata is not None
        on_getdata(pair.peer, GetData(vectors))
        pieces = [list(each.vectors) for each in pair.hear() if isinstance(each, NotFound)]
        self.assertEqual(pieces, [vectors[:45_000], vectors[45_000:]])
        pair.peer.disconnect()
        pair.pump()
        self.assertEqual(pair.clock.getDelayedCalls(), [])
