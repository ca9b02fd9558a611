"""Calls from other threads."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread, get_ident
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.task import Clock
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.python.failure import Failure

from txsoter import CloseCause, Listeners, PeerConfig, SoterClientFactory, SoterPeerProtocol, SoterServerFactory
from txsoter.errors import ConnectionClosed, FieldError, LocalError, RequestClosed, RequestTimedOut, UnsupportedMessage
from txsoter.peer.threads import CrossingDeferred
from txsoter.test.peer.cases import (
    WholePeerTestCase,
    as_block,
    as_tx,
    config,
    hash_of,
    over_sockets,
    real_reactor,
    wrong,
)
from txsoter.testing import CLIENT, SERVER, MemoryLink, ScriptedPair, ScriptedPeer, remote_version
from txsoter.wire import (
    Addr,
    AddrCache,
    GetAddr,
    GetBlocks,
    GetHeaders,
    Inv,
    InventoryVector,
    Message,
    NetAddress,
    Ping,
    Pong,
    Reject,
    SendHeaders,
)

R = TypeVar("R")


class CrossingClock(Clock):
    """A clock with a reactor's ``callFromThread``: the calls are made by ``turn()``."""

    def __init__(self) -> None:
        super().__init__()
        self.crossed: list[Callable[[], object]] = []

    def callFromThread(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        self.crossed.append(lambda: function(*arguments, **named))

    def turn(self) -> None:
        while self.crossed:
            self.crossed.pop(0)()


def elsewhere(function: Callable[..., R], *arguments: Any, **named: Any) -> R:
    """What ``function`` returns or raises in another thread."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(function(*arguments, **named))
        except BaseException:
            outcome.append(Failure())

    thread = Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    result: R = outcome[0]
    return result


class CrossingTests(WholePeerTestCase):
    """Each verb, from a thread that is not the reactor's."""

    def crossing_pair(self, handshake: bool = True, **fields: Any) -> tuple[ScriptedPair, CrossingClock]:
        clock = CrossingClock()
        return self.scripted(config(**fields), clock=clock, handshake=handshake), clock

    def test_nothing_happens_in_the_callers_thread(self) -> None:
        pair, clock = self.crossing_pair()
        sent = elsewhere(pair.peer.send, Ping(1))
        self.assertEqual(pair.hear(), [])
        self.assertNoResult(sent)
        clock.turn()
        self.assertEqual(pair.hear(), [Ping(1)])
        self.successResultOf(sent)

    def test_every_verb_does_what_it_does_in_the_reactors_thread(self) -> None:
        pair, clock = self.crossing_pair()
        peer = pair.peer
        place = NetAddress(1, "192.0.2.1", 1, 1)
        results: list[Any] = [
            elsewhere(peer.push_addresses, [place]),
            elsewhere(peer.push_address_cache, [place], [], []),
            elsewhere(peer.push_get_blocks, 1, hash_of(1)),
            elsewhere(peer.push_get_blocks, 1, hash_of(1)),
            elsewhere(peer.push_get_headers, 2),
            elsewhere(peer.push_reject, "inv", 0x10, "no"),
            elsewhere(peer.when_ready),
            elsewhere(peer.request, GetBlocks(height=3), Inv),
        ]
        elsewhere(peer.queue_inventory, as_block(1))
        elsewhere(peer.add_known_inventory, as_tx(1))
        elsewhere(peer.queue_inventory, as_tx(1))
        self.assertEqual((pair.hear(), peer.stats().known_inventory), ([], 0))
        clock.turn()
        cache = AddrCache([place], [], [])
        said: list[Message] = [
            Addr([place]),
            cache,
            GetBlocks(1, hash_of(1)),
            GetHeaders(2),
            Reject(b"inv", 0x10, b"no"),
            GetBlocks(height=3),
            Inv([as_block(1)]),
        ]
        self.assertEqual(pair.hear(), said)
        pair.say(Inv())
        outcomes = [self.successResultOf(each) for each in results]
        self.assertEqual(outcomes, [[place], [cache], None, None, None, None, peer, Inv()])
        pair.advance(10)
        self.assertEqual((pair.hear(), peer.stats().known_inventory), ([], 1))
        self.assertEqual(elsewhere(peer.stats), peer.stats())
        closed = [elsewhere(peer.when_closed), elsewhere(peer.disconnect, "done")]
        clock.turn()
        pair.pump()
        self.assertEqual([self.successResultOf(each).detail for each in closed], ["done", "done"])

    def test_a_reject_below_70002_is_nothing_there_too(self) -> None:
        pair, clock = self.crossing_pair(handshake=False)
        pair.remote.pver = 70001
        pair.handshake(remote_version(protocol_version=70001))
        pair.hear()
        rejected = elsewhere(pair.peer.push_reject, "inv", 0x10, "no")
        clock.turn()
        self.successResultOf(rejected)
        self.assertEqual(pair.hear(), [])

    def test_encoding_errors_are_raised_in_the_callers_thread(self) -> None:
        threads: list[int] = []
        listeners = Listeners(on_write=lambda peer, size, message, error: threads.append(get_ident()))
        pair, clock = self.crossing_pair(listeners=listeners)
        peer = pair.peer
        del threads[:]
        place = NetAddress(1, "192.0.2.1", 1, -1)
        calls: list[Callable[[], object]] = [
            lambda: peer.send(Ping(-1)),
            lambda: peer.request(Ping(-1), Pong),
            lambda: peer.push_addresses([place]),
            lambda: peer.push_address_cache([], [place], []),
            lambda: peer.push_get_blocks(1 << 40),
            lambda: peer.push_get_headers(1 << 40),
            lambda: peer.push_reject("inv", 256, "no"),
        ]
        for call in calls:
            with self.assertRaises(FieldError):
                elsewhere(call)
        self.assertEqual(threads, [])
        clock.turn()
        self.assertEqual(threads, [get_ident()] * len(calls))
        with self.assertRaises(FieldError):
            elsewhere(peer.queue_inventory, InventoryVector(1, b"short"))
        self.assertEqual((pair.hear(), clock.crossed), ([], []))

    def test_callbacks_run_in_the_reactors_thread_whoever_adds_them(self) -> None:
        pair, clock = self.crossing_pair()
        ran: list[tuple[str, object, int]] = []

        def note(result: object, name: str, word: str = "") -> object:
            ran.append((name + word, result if not isinstance(result, Failure) else result.type, get_ident()))
            return result

        def there() -> Deferred[Any]:
            sent = pair.peer.send(GetAddr())
            sent.addCallback(note, "callback", word="!").addErrback(note, "errback").addBoth(note, "both")
            sent.addCallbacks(note, note, callbackArgs=("either",), errbackArgs=("or",))
            return sent

        sent = elsewhere(there)
        self.assertIsInstance(sent, CrossingDeferred)
        self.assertEqual(ran, [])
        clock.turn()
        here = get_ident()
        self.assertEqual(ran, [("callback!", None, here), ("both", None, here), ("either", None, here)])
        del ran[:]
        pair.peer.disconnect()
        failed = elsewhere(there)
        clock.turn()
        self.assertEqual(ran, [(name, ConnectionClosed, here) for name in ("errback", "both", "or")])
        failed.addErrback(note, "here")
        self.assertEqual(ran[-1], ("here", ConnectionClosed, here))
        self.failureResultOf(failed, ConnectionClosed)

    def test_cancelling_there_gives_the_request_up_here(self) -> None:
        pair, clock = self.crossing_pair()
        threads: list[int] = []

        def note(result: object) -> object:
            threads.append(get_ident())
            return result

        def there() -> Deferred[Any]:
            answer: Deferred[Any] = pair.peer.request(Ping(1), Pong)
            return answer.addBoth(note)

        answer = elsewhere(there)
        clock.turn()
        self.assertEqual(pair.peer.stats().pending_requests, 1)
        elsewhere(answer.cancel)
        self.assertEqual((pair.peer.stats().pending_requests, threads), (1, []))
        clock.turn()
        self.assertEqual((pair.peer.stats().pending_requests, threads), (0, [get_ident()]))
        self.failureResultOf(answer, CancelledError)
        never = elsewhere(pair.peer.request, Ping(2), Pong)
        never.cancel()
        clock.turn()
        self.failureResultOf(never, CancelledError)
        self.assertEqual([each for each in pair.hear() if each != Ping(1)], [])
        self.assertEqual(pair.peer.stats().pending_requests, 0)

    def test_what_was_encoded_there_before_the_version_was_negotiated_is_encoded_again(self) -> None:
        pair, clock = self.crossing_pair(handshake=False)
        ping, unknown_there = elsewhere(pair.peer.send, Ping(7)), elsewhere(pair.peer.send, SendHeaders())
        pair.remote.pver = 60000
        pair.handshake(remote_version(protocol_version=60000))
        clock.turn()
        self.successResultOf(ping)
        self.failureResultOf(unknown_there, UnsupportedMessage)
        self.assertEqual(pair.hear()[2:], [Ping(0)])

    def test_without_anything_to_cross_over_by_it_is_an_error_of_the_caller(self) -> None:
        pair = self.scripted()
        with self.assertRaisesRegex(LocalError, "callFromThread"):
            elsewhere(pair.peer.send, Ping(1))
        unconnected = SoterPeerProtocol(config())
        with self.assertRaisesRegex(LocalError, "callFromThread"):
            elsewhere(unconnected.disconnect)

    def test_the_reactors_thread_is_the_one_in_which_the_connection_was_made(self) -> None:
        """Not the one in which the protocol was."""
        clock = CrossingClock()
        peer = elsewhere(SoterPeerProtocol, config(clock=clock))
        remote = ScriptedPeer()
        pair = ScriptedPair(peer, remote, MemoryLink(peer, remote, CLIENT, SERVER), clock)
        pair.handshake()
        self.successResultOf(peer.send(Ping(1)))
        peer.disconnect()
        pair.pump()
        self.assertEqual((clock.getDelayedCalls(), clock.crossed), ([], []))


def wait_for(pending: Deferred[Any]) -> Any:
    """The result of ``pending``, waited for in another thread than the reactor's."""
    return blockingCallFromThread(real_reactor(), wrong(lambda: pending))


class Pair:
    """Two peers connected over TCP, on the real reactor."""

    def __init__(self, **fields: Any) -> None:
        self.reactor = real_reactor()
        settings = PeerConfig(**{"network": config().network, "allow_self_connections": True, **fields})
        self.clients, self.servers = SoterClientFactory(settings), SoterServerFactory(settings)

    async def __aenter__(self) -> tuple[SoterPeerProtocol, SoterPeerProtocol]:
        self.port = await serverFromString(self.reactor, "tcp:0:interface=127.0.0.1").listen(self.servers)
        address = f"tcp:127.0.0.1:{self.port.getHost().port}"
        client = await clientFromString(self.reactor, address).connect(self.clients)
        await client.when_ready()
        [server] = self.servers.peers
        await server.when_ready()
        return client, server

    async def __aexit__(self, *failure: object) -> None:
        await self.port.stopListening()
        await self.clients.disconnect_all()
        await self.servers.disconnect_all()


@over_sockets(40)
async def test_1000_sends_from_8_threads_all_arrive_and_all_deferreds_fire_in_the_reactors_thread() -> None:
    heard: list[int] = []
    everything: Deferred[None] = Deferred()
    here = get_ident()
    fired: list[int] = []

    def on_ping(peer: SoterPeerProtocol, ping: Ping) -> None:
        heard.append(ping.nonce)
        if len(heard) == 1000:
            everything.callback(None)

    async with Pair(listeners=Listeners(on_ping=on_ping)) as (client, _):

        def work(number: int) -> list[Deferred[Any]]:
            assert get_ident() != here
            sent = [client.send(Ping(number * 125 + each)) for each in range(125)]
            return [each.addCallback(lambda _: fired.append(get_ident())) for each in sent]

        threads = await gatherResults([deferToThread(work, number) for number in range(8)])
        await gatherResults([each for sent in threads for each in sent])
        await everything
    assert fired == [here] * 1000
    assert sorted(heard) == list(range(1000))
    for number in range(8):
        of_one_thread = [each for each in heard if each // 125 == number]
        assert of_one_thread == sorted(of_one_thread)


@over_sockets()
async def test_requests_and_their_failures_from_a_thread() -> None:
    async with Pair(answer_pings=False) as (client, server):

        def work() -> list[Any]:
            outcomes: list[Any] = [wait_for(client.when_ready())]
            calls: list[Callable[[], Deferred[Any]]] = [
                lambda: client.request(GetBlocks(), Inv, timeout=0.05),
                lambda: client.send(Ping(-1)),
                lambda: client.send(Ping(1)),
            ]
            for call in calls:
                try:
                    outcomes.append(wait_for(call()))
                except LocalError as error:
                    outcomes.append(type(error))
                except RequestTimedOut as error:
                    outcomes.append(error.timeout)
            return outcomes

        assert await deferToThread(work) == [client, 0.05, FieldError, None]
        waiting = await deferToThread(lambda: [client.request(Ping(5), Pong)])
        closed = await deferToThread(lambda: [server.disconnect("from a thread")])
        assert (await closed[0]).detail == "from a thread"
        try:
            await waiting[0]
        except RequestClosed as error:
            assert error.reason.cause is CloseCause.REMOTE_CLOSED
        else:
            raise AssertionError("answered")
        assert client.stats().user_agent
