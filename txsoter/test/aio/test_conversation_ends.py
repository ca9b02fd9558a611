"""Conversations of both adapters: deadlines, and why connections end."""

from __future__ import annotations

from typing import Any

import pytest

from txsoter.errors import (
    CloseCause,
    ClosedBy,
    ConnectionClosed,
    RequestClosed,
)
from txsoter.test.aio.worlds import World, conversation, simnet
from txsoter.test.peer.cases import as_block, as_tx
from txsoter.testing import remote_version
from txsoter.wire import (
    GetBlocks,
    GetData,
    Inv,
    Message,
    Ping,
    Pong,
    Reject,
    RejectCode,
    SendHeaders,
    Tx,
)


@conversation
async def test_pings_go_out_and_are_measured(world: World) -> None:
    """One in two minutes; the pong's round trip is told."""
    trips: list[float] = []
    peer, remote = await world.scripted(simnet(on_round_trip=lambda peer, seconds: trips.append(seconds)))
    for _ in range(3):
        await world.sleep(121)
        [ping] = await remote.hear()
        assert isinstance(ping, Ping)
        remote.say(Pong(ping.nonce))
    await world.sleep(1)
    assert len(trips) == 3
    assert peer.stats().ping_micros is not None


@conversation
async def test_an_idle_remote_is_closed(world: World) -> None:
    """After five minutes without a message."""
    peer, _ = await world.scripted()
    await world.sleep(295)
    assert not peer.is_closing
    await world.sleep(10)
    assert peer.close_reason.cause is CloseCause.IDLE


@conversation
async def test_a_remote_that_owes_an_answer_is_closed(world: World) -> None:
    """Its stall is named by what was asked."""
    peer, _ = await world.scripted()
    await peer.send(GetBlocks(height=1))
    reason = await peer.when_closed()
    assert (reason.cause, reason.command) == (CloseCause.STALLED, "getblocks")


@conversation
async def test_a_remote_that_talks_too_fast_is_read_slowly(world: World) -> None:
    """Nothing is lost by that, and it is not closed."""
    heard: list[Message] = []
    _peer, remote = await world.scripted(
        simnet(on_ping=lambda peer, ping: heard.append(ping), max_messages_per_second=10)
    )
    remote.say(*[Ping(number) for number in range(100)])
    await world.sleep(2)
    assert 10 <= len(heard) < 50
    await world.sleep(20)
    assert heard == [Ping(number) for number in range(100)]


@conversation
async def test_both_sides_know_why(world: World) -> None:
    """We by the reason that was given, the remote by ours having closed; calls after the first change nothing."""
    client, server = await world.pair()
    await client.when_ready()
    await server.when_ready()
    reason = await client.disconnect("enough")
    assert (reason.by, reason.cause, reason.detail) == (ClosedBy.LOCAL, CloseCause.DISCONNECT, "enough")
    assert await client.disconnect("again") is reason is client.close_reason
    theirs = await server.when_closed()
    assert (theirs.by, theirs.cause) == (ClosedBy.REMOTE, CloseCause.REMOTE_CLOSED)
    for peer in (client, server):
        assert peer.is_closing
        with pytest.raises(ConnectionClosed):
            await peer.when_ready()
        with pytest.raises(ConnectionClosed):
            await peer.send(Ping(1))
        peer.queue_inventory(as_block(1))


@conversation
async def test_a_message_sent_just_before_the_end_arrives(world: World) -> None:
    """What the transport takes at once still goes out."""
    peer, remote = await world.scripted()
    peer.send(Ping(1))
    peer.disconnect()
    assert await remote.hear() == [Ping(1)]
    assert await remote.is_closed()


@conversation
async def test_a_listener_may_end_the_connection(world: World) -> None:
    """And wait for the end; the messages behind are not handled."""
    steps: list[object] = []

    async def end(peer: Any, ping: Ping) -> None:
        steps.append((await peer.disconnect("seen enough")).detail)

    peer, remote = await world.scripted(
        simnet(
            on_ping=end,
            on_sendheaders=lambda peer, message: steps.append(message),
            on_closed=lambda peer, reason: steps.append("closed"),
        )
    )
    remote.say(Ping(1), SendHeaders())
    await peer.when_closed()
    await world.sleep(1)
    assert steps == ["closed", "seen enough"]


@conversation
async def test_a_listener_that_awaits_its_peer_fails_with_it(world: World) -> None:
    """It is told by the error, and that is no fault of its own."""
    ends: list[str] = []

    async def ask(peer: Any, inv: Inv) -> None:
        try:
            await peer.request(GetData(list(inv.vectors)), Tx, timeout=None)
        except RequestClosed as error:
            ends.append(error.command)
            raise

    peer, remote = await world.scripted(simnet(on_inv=ask))
    remote.say(Inv([as_tx(1)]))
    await remote.hear()
    remote.hang_up()
    await peer.when_closed()
    await world.sleep(1)
    assert ends == ["getdata"]
    assert peer.stats().handler_errors == 0


@conversation
async def test_the_remotes_reject_explains_the_end(world: World) -> None:
    """Its last words are part of the reason."""
    peer, remote = await world.scripted(inbound=True, handshake=False)
    remote.say(remote_version())
    remote.say(Reject(b"version", RejectCode.OBSOLETE, b"go away"))
    await remote.hear()
    remote.hang_up()
    reason = await peer.when_closed()
    assert (reason.cause, reason.code, reason.reject_reason) == (CloseCause.REJECTED, RejectCode.OBSOLETE, "go away")
