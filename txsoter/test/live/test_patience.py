"""What time does to a connection with a soterd: minutes of it, in which many connections wait at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from txsoter import SIMNET, CloseReason, Listeners, SoterPeerProtocol
from txsoter.core.state import State
from txsoter.errors import CloseCause, ClosedBy
from txsoter.test.live.peers import FULL, answer_nothing_new, dial, live, simnet, within
from txsoter.testing.soterd import SoterdFactory
from txsoter.wire import GetBlocks, GetData, GetHeaders, InventoryType, InventoryVector, MemPool, Message, Ping, Pong


async def stays(peer: SoterPeerProtocol, seconds: float) -> None:
    """Wait, and fail at once if the connection ends meanwhile."""
    try:
        reason = await within(seconds, peer.when_closed())
    except TimedOut:
        assert peer.state is State.READY
    else:
        pytest.fail(f"{reason}, before {seconds} s had passed")


@live(180)
async def test_stalls(soterds: SoterdFactory) -> None:
    """Ours: none for what a healthy node leaves unanswered. Its own: after 30 to 45 s, for those who do not answer."""
    scenarios = (_no_false_stalls(soterds), _answering(soterds), _silent(soterds))
    await gatherResults([Deferred.fromCoroutine(each) for each in scenarios], consumeErrors=True)


async def _no_false_stalls(soterds: SoterdFactory) -> None:
    """We are still connected after 110 s."""
    node = await soterds.start()
    genesis = InventoryVector(InventoryType.FILTERED_BLOCK, SIMNET.genesis_hash, 0)
    questions: list[tuple[Message, str]] = [
        (MemPool(), "inv"),  # its pool is empty
        (GetHeaders(height=0), "headers"),  # it is not current
        (GetData([genesis]), "merkleblock"),  # there is no filter
        (GetData(), "notfound"),
    ]
    peers = [await dial(node, simnet()) for _ in questions]
    for peer, (question, _) in zip(peers, questions, strict=True):
        await peer.send(question)
    await gatherResults([Deferred.fromCoroutine(stays(peer, 110)) for peer in peers])
    for peer, (question, answer) in zip(peers, questions, strict=True):
        assert (await peer.request(Ping(3), Pong)).nonce == 3
        assert peer.stats().sent[question.command].messages == 1
        # had it answered, the silence above would prove nothing
        assert answer not in peer.stats().received
        await peer.disconnect()


async def _answering(soterds: SoterdFactory) -> None:
    """Who answers its getblocks is alive at 60 s."""
    node = await soterds.start()
    peer = await dial(node, simnet(services=FULL, listeners=Listeners(on_getblocks=answer_nothing_new)))
    await stays(peer, 60)
    assert peer.stats().received["getblocks"].messages == 1
    assert peer.stats().sent["inv"].messages == 1
    await peer.disconnect()


async def _silent(soterds: SoterdFactory) -> None:
    """Who does not is closed after 30 to 45 s, and knows that the remote did it."""
    node = await soterds.start()
    asked: Deferred[float] = Deferred()

    def on_getblocks(peer: SoterPeerProtocol, question: GetBlocks) -> None:
        asked.callback(peer.transport.reactor.seconds())

    peer = await dial(node, simnet(services=FULL, listeners=Listeners(on_getblocks=on_getblocks)))
    began = await asked
    reason = await peer.when_closed()
    took = peer.transport.reactor.seconds() - began
    print(f"closed {took:.2f} s after its getblocks: {reason}")
    assert 29 < took < 46
    assert (reason.by, reason.cause) == (ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED)


@implementer(IReactorTime)
class WatchedClock:
    """The reactor's time, and the timers that were set in it."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: list[IDelayedCall] = []

    def seconds(self) -> float:
        seconds: float = self._reactor.seconds()
        return seconds

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> IDelayedCall:
        call: IDelayedCall = self._reactor.callLater(delay, callable, *args, **kwargs)
        self._calls.append(call)
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        return [call for call in self._calls if call.active()]


@pytest.mark.slow
@live(450)
async def test_six_quiet_minutes(soterds: SoterdFactory) -> None:
    """Our pings keep a quiet connection up for 360 s; without them and without pongs it is closed at 300 s."""
    from twisted.internet import reactor

    node = await soterds.start()
    quiet_clock, silent_clock = WatchedClock(reactor), WatchedClock(reactor)
    quiet = await dial(node, simnet(clock=quiet_clock))
    silent = await dial(node, simnet(clock=silent_clock, ping_interval=None, answer_pings=False))
    began = silent_clock.seconds()
    ends: list[tuple[CloseReason, float]] = []
    silent.when_closed().addCallback(lambda reason: ends.append((reason, silent_clock.seconds() - began)))
    assert silent_clock.getDelayedCalls() != []

    await stays(quiet, 360)

    stats = quiet.stats()
    print(f"round trip {stats.ping_micros} us, {stats.sent['ping']}, {stats.received['ping']}; the silent one: {ends}")
    assert stats.ping_micros is not None and 0 < stats.ping_micros < 1_000_000
    # every 120 s or up to a tenth less, ours; every 120 s, its
    assert stats.sent["ping"].messages == stats.received["pong"].messages == 3
    assert stats.received["ping"].messages == stats.sent["pong"].messages >= 2
    assert stats.malformed == 0
    ((reason, took),) = ends
    assert 299 < took < 303
    assert (reason.by, reason.cause) == (ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED)
    assert "ping" not in silent.stats().sent and "pong" not in silent.stats().sent
    assert silent_clock.getDelayedCalls() == []
    await quiet.disconnect()
    assert quiet_clock.getDelayedCalls() == []
