"""Conversations of both adapters: the handshake, and who is refused in it."""

from __future__ import annotations

from typing import Any

import pytest

from txsoter.core.state import State
from txsoter.errors import (
    CloseCause,
    CloseReason,
    HandshakeFailed,
    LocalError,
)
from txsoter.test.aio.worlds import World, conversation, simnet
from txsoter.test.peer.cases import hash_of
from txsoter.testing import remote_version
from txsoter.wire import (
    Ping,
    Reject,
    RejectCode,
    SendHeaders,
    VerAck,
    Version,
)


@conversation
async def test_both_sides_become_ready(world: World) -> None:
    """Each is told once, and knows what the other has said of itself."""
    ready: list[Any] = []
    client, server = await world.pair(
        simnet(on_ready=ready.append, user_agent_name="one", newest_block=lambda: 7), simnet(on_ready=ready.append)
    )
    assert await client.when_ready() is client
    assert await server.when_ready() is server
    await world.sleep(1)
    assert len(ready) == 2
    assert set(map(id, ready)) == {id(client), id(server)}
    assert (client.state, server.state) == (State.READY, State.READY)
    assert client.close_reason is server.close_reason is None
    stats = server.stats()
    assert (stats.inbound, stats.starting_height, stats.negotiated_version) == (True, 7, 70013)
    assert b"/one:" in stats.user_agent
    assert stats.id == server.id != client.id
    assert stats.state == "ready"


@conversation
async def test_a_remote_of_another_network_is_refused(world: World) -> None:
    """It is told why, and so is whoever waits."""
    closed: list[CloseReason] = []
    peer, remote = await world.scripted(simnet(on_closed=lambda peer, reason: closed.append(reason)), handshake=False)
    ready = peer.when_ready()
    remote.say(remote_version(genesis_hash=hash_of(1)))
    with pytest.raises(HandshakeFailed) as failure:
        await ready
    assert failure.value.reason.cause is CloseCause.WRONG_GENESIS
    reason = await peer.when_closed()
    version, reject = await remote.hear()
    assert closed == [failure.value.reason] == [reason]
    assert isinstance(version, Version)
    assert isinstance(reject, Reject)
    assert reject.code == RejectCode.INVALID
    assert await remote.is_closed()
    with pytest.raises(HandshakeFailed):
        await peer.when_ready()


@conversation
async def test_a_coroutine_may_refuse_a_version(world: World) -> None:
    """What it returns is sent, and the connection ends."""

    async def refuse(peer: Any, version: Version) -> Reject:
        await world.sleep(2)
        return Reject(b"version", RejectCode.OBSOLETE, b"too old")

    peer, remote = await world.scripted(simnet(on_version=refuse), inbound=True, handshake=False)
    remote.say(remote_version(), VerAck())
    assert (await peer.when_closed()).cause is CloseCause.REFUSED_BY_LISTENER
    assert await remote.hear() == [Reject(b"version", RejectCode.OBSOLETE, b"too old")]


@conversation
async def test_a_silent_remote_is_closed(world: World) -> None:
    """The handshake has a limit of time."""
    peer, _ = await world.scripted(handshake=False)
    await world.sleep(29)
    assert not peer.is_closing
    await world.sleep(2)
    assert peer.close_reason.cause is CloseCause.NEGOTIATION_TIMEOUT
    with pytest.raises(HandshakeFailed):
        await peer.when_ready()


@conversation
async def test_a_process_that_dials_itself_is_closed(world: World) -> None:
    """Unless the config allows it."""
    client, server = await world.pair(simnet(allow_self_connections=False), simnet(allow_self_connections=False))
    reasons = [await client.when_closed(), await server.when_closed()]
    assert CloseCause.SELF_CONNECTION in [each.cause for each in reasons]


@conversation
async def test_messages_sent_before_the_handshake_wait_for_it(world: World) -> None:
    """They come behind the verack, in order; what is not encodable is refused at once."""
    peer, remote = await world.scripted(handshake=False)
    done = [peer.send(Ping(1)), peer.send(SendHeaders())]
    assert [type(each) for each in await remote.hear()] == [Version]
    remote.say(remote_version(), VerAck())
    for each in done:
        await each
    assert await remote.hear() == [VerAck(), Ping(1), SendHeaders()]
    with pytest.raises(LocalError):
        peer.send(Ping(-1))
