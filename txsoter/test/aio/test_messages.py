"""``async for message in peer.messages()``."""

from __future__ import annotations

import asyncio
from typing import Any

from txsoter.aio import Peer
from txsoter.test.aio.worlds import AsyncioWorld, simnet, simulated
from txsoter.test.peer.cases import as_tx, framed, tx
from txsoter.testing import remote_version
from txsoter.wire import GetData, Inv, InventoryType, InventoryVector, Message, Ping, Pong, SendHeaders, Tx, VerAck


async def taken(messages: Any, count: int) -> list[Message]:
    """The next messages."""
    return [await messages.__anext__() for _ in range(count)]


@simulated
async def test_in_order_until_the_end(world: AsyncioWorld) -> None:
    """Of every command, pings included; behind their listeners; then the loop is over."""
    heard: list[Message] = []
    peer, remote = await world.scripted(simnet(on_ping=lambda peer, ping: heard.append(ping)))
    messages = peer.messages()
    remote.say(Ping(1), SendHeaders(), Ping(2))
    await remote.hear()
    remote.hang_up()
    got = [message async for message in messages]
    assert got == [Ping(1), SendHeaders(), Ping(2)]
    assert heard == [Ping(1), Ping(2)]
    assert peer.close_reason is not None
    assert [message async for message in messages] == []
    assert [message async for message in peer.messages()] == []


@simulated
async def test_the_next_is_handled_when_it_is_asked_for(world: AsyncioWorld) -> None:
    """Until then the remote is not read, so that the back-pressure is its own."""
    handled: list[int] = []
    peer, remote = await world.scripted(simnet(on_ping=lambda peer, ping: handled.append(ping.nonce)))
    messages = peer.messages()
    remote.say(Ping(1), Ping(2), Ping(3))
    await world.sleep(1)
    assert handled == [1]
    assert peer.stats().handling == "ping"
    assert not peer.stats().is_reading
    assert await taken(messages, 1) == [Ping(1)]
    await world.sleep(1)
    assert handled == [1]
    assert await taken(messages, 1) == [Ping(2)]
    assert handled == [1, 2]
    assert await taken(messages, 1) == [Ping(3)]
    waits = asyncio.ensure_future(messages.__anext__())
    await world.sleep(1)
    assert peer.stats().handling is None
    assert peer.stats().is_reading
    remote.say(Ping(4))
    assert await waits == Ping(4)


@simulated
async def test_the_body_may_ask_its_peer(world: AsyncioWorld) -> None:
    """As a listener may: what came before the answer comes behind it."""
    peer, remote = await world.scripted()
    wanted = tx(1)
    messages = peer.messages()
    remote.say(Inv([InventoryVector(InventoryType.TX, wanted.txid)]), Ping(1))
    got: list[object] = []
    async for message in messages:
        got.append(message)
        if isinstance(message, Inv):
            asked = peer.request(GetData(list(message.vectors)), Tx)
            remote.say(Ping(2), wanted)
            assert await asked == wanted
        if isinstance(message, Tx):
            break
    assert got[1:] == [Ping(1), Ping(2), wanted]


@simulated
async def test_a_loop_that_is_left_lets_the_connection_go_on(world: AsyncioWorld) -> None:
    """Messages go to the listeners alone then; another loop begins where the one before ended."""
    heard: list[Message] = []
    peer, remote = await world.scripted(simnet(on_ping=lambda peer, ping: heard.append(ping)))
    messages = peer.messages()
    remote.say(Ping(1), Ping(2), Ping(3))
    async for message in messages:
        assert message == Ping(1)
        break
    del messages
    async for message in peer.messages():
        assert message == Ping(2)
        break
    await world.sleep(1)
    assert heard == [Ping(1), Ping(2), Ping(3)]
    assert peer.stats().is_reading


@simulated
async def test_a_later_iterator_takes_over(world: AsyncioWorld) -> None:
    """The one before ends behind what it was given."""
    peer, remote = await world.scripted()
    first = peer.messages()
    remote.say(Ping(1), Ping(2))
    await world.sleep(1)
    second = peer.messages()
    assert [message async for message in first] == [Ping(1)]
    assert await taken(second, 1) == [Ping(2)]


@simulated
async def test_cancelling_loses_no_message(world: AsyncioWorld) -> None:
    """Neither while one waits for it, nor when it has just come."""
    peer, remote = await world.scripted()
    messages = peer.messages()
    for nonce in (1, 2):
        waits = asyncio.ensure_future(messages.__anext__())
        await world.sleep(1)
        if nonce == 2:
            # handed over, and its task has not run yet
            peer.protocol.data_received(framed(Ping(2)))
        waits.cancel()
        await asyncio.wait([waits])
        assert waits.cancelled()
        if nonce == 1:
            remote.say(Ping(1))
        assert await taken(messages, 1) == [Ping(nonce)]


@simulated
async def test_two_tasks_cannot_share_one(world: AsyncioWorld) -> None:
    """The second is told so, and the first goes on."""
    peer, remote = await world.scripted()
    messages = peer.messages()
    first, second = (asyncio.ensure_future(messages.__anext__()) for _ in range(2))
    await asyncio.wait([second])
    assert isinstance(second.exception(), RuntimeError)
    remote.say(Ping(1))
    assert await first == Ping(1)


@simulated
async def test_who_waits_for_ready_misses_nothing(world: AsyncioWorld) -> None:
    """Neither behind ``when_ready()``, also through ``wait_for()``, nor in ``on_ready``.

    The first messages come together with the verack.
    """

    async def first(peer: Peer) -> Message:
        async for message in peer.messages():
            return message
        raise AssertionError("it has ended")

    async def on_ready(peer: Peer) -> None:
        found.append(await first(peer))

    found: list[Message] = []
    peer, remote = await world.scripted(simnet(on_ready=on_ready), handshake=False)
    remote.say(remote_version(), VerAck(), Inv([as_tx(1)]), Ping(2))
    await world.sleep(1)
    assert found == [Inv([as_tx(1)])]
    for wait in (lambda peer: peer.when_ready(), lambda peer: asyncio.wait_for(_when_ready(peer), 5)):
        peer, remote = await world.scripted(handshake=False)
        remote.say(remote_version(), VerAck(), Inv([as_tx(1)]), Ping(2))
        await wait(peer)
        assert await first(peer) == Inv([as_tx(1)])


@simulated
async def test_a_consumer_that_ends_with_its_connection(world: AsyncioWorld) -> None:
    """A coroutine that runs since ``on_ready`` is over when the connection is."""
    ends: list[str] = []

    async def consume(peer: Peer) -> None:
        async for message in peer.messages():
            if isinstance(message, Ping) and message.nonce == 7:
                await peer.disconnect("seven")
        ends.append("over")

    peer, remote = await world.scripted(simnet(on_ready=consume))
    remote.say(Ping(6), Ping(7), Ping(8))
    assert (await peer.when_closed()).detail == "seven"
    await world.sleep(1)
    assert ends == ["over"]
    assert await remote.hear() == [Pong(6), Pong(7)]
    assert peer.stats().handling is None


async def _when_ready(peer: Peer) -> None:
    await peer.when_ready()
