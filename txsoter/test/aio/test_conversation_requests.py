"""Conversations of both adapters: requests and their answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from txsoter.errors import (
    CloseCause,
    FieldError,
    RequestClosed,
    RequestNotFound,
    RequestRejected,
    RequestTimedOut,
)
from txsoter.test.aio.worlds import World, conversation, simnet
from txsoter.test.peer.cases import as_block, as_tx, blocks, hash_of, tx
from txsoter.wire import (
    Block,
    GetBlocks,
    GetData,
    GetHeaders,
    Inv,
    InventoryType,
    InventoryVector,
    NotFound,
    Ping,
    Pong,
    Reject,
    Tx,
)


@conversation
async def test_requests_have_their_answers(world: World) -> None:
    """By hash, by nonce, by class, by ``matching``."""
    first, second = blocks(2)

    def serve(peer: Any, question: GetData) -> None:
        for vector in question.vectors:
            found = [each for each in (first, second) if each.hash == vector.hash]
            peer.send(found[0] if found else NotFound([vector]))

    client, server = await world.pair(
        simnet(), simnet(on_getdata=serve, on_getblocks=lambda peer, question: peer.send(Inv([as_block(3)])))
    )
    await client.when_ready()
    questions = [
        client.request(GetData([InventoryVector(InventoryType.BLOCK, each.hash)]), Block) for each in (second, first)
    ]
    assert [await each for each in questions] == [second, first]
    assert await client.request(Ping(8), Pong) == Pong(8)
    assert (await client.request(GetBlocks(height=2), Inv)).vectors[0].height == 3
    with pytest.raises(RequestNotFound):
        await client.request(GetData([as_tx(5)]), Tx)
    chosen = client.request(GetBlocks(height=2), Inv, 5, lambda inv: len(inv.vectors) == 2)
    await server.send(Inv([as_tx(1), as_tx(2)]))
    assert len((await chosen).vectors) == 2


@conversation
async def test_requests_fail(world: World) -> None:
    """By a reject, by time, by the end of the connection; and when they cannot be asked at all."""
    peer, remote = await world.scripted(simnet(stall_timeout=None))
    rejected = peer.request(GetData([as_tx(9)]), Tx)
    remote.say(Reject(b"tx", 0x10, b"no such luck", hash_of(9)))
    with pytest.raises(RequestRejected, match="no such luck"):
        await rejected
    with pytest.raises(RequestTimedOut, match="within 3 s"):
        await peer.request(GetHeaders(height=1), Inv, timeout=3)
    with pytest.raises(FieldError):
        peer.request(GetData([]), Tx)
    last = peer.request(GetData([as_tx(9)]), Tx, timeout=None)
    await world.sleep(100)
    await remote.hear()
    remote.hang_up()
    with pytest.raises(RequestClosed) as failure:
        await last
    assert failure.value.reason.cause is CloseCause.REMOTE_CLOSED
    assert failure.value.reason == await peer.when_closed()
    with pytest.raises(RequestClosed):
        await peer.request(Ping(1), Pong)


@conversation
async def test_a_request_that_is_given_up_takes_no_answer(world: World) -> None:
    """The next who asks has it."""
    peer, remote = await world.scripted()
    given_up, waits = peer.request(GetBlocks(height=1), Inv), peer.request(GetBlocks(height=1), Inv)
    given_up.cancel()
    assert peer.stats().pending_requests == 1
    remote.say(Inv([as_block(4)]))
    assert (await waits).vectors[0].height == 4
    with pytest.raises((asyncio.CancelledError, CancelledError)):
        await given_up


@conversation
async def test_a_listener_may_ask_its_own_peer(world: World) -> None:
    """What came before the answer is handled behind it, in order."""
    steps: list[object] = []
    wanted = tx(1)

    async def fetch(peer: Any, inv: Inv) -> None:
        found = await peer.request(GetData(list(inv.vectors)), Tx)
        steps.append(found)

    _peer, remote = await world.scripted(
        simnet(on_inv=fetch, on_ping=lambda peer, ping: steps.append(ping), on_tx=lambda peer, tx: steps.append("tx"))
    )
    remote.say(Inv([InventoryVector(InventoryType.TX, wanted.txid)]), Ping(1))
    assert [type(each) for each in await remote.hear()] == [GetData]
    remote.say(Ping(2), wanted, Ping(3))
    await world.sleep(1)
    assert steps == [wanted, Ping(1), Ping(2), "tx", Ping(3)]
