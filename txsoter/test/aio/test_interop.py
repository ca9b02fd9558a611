"""asyncio's peers and Twisted's, over loopback: the reactor in this thread, the loop in another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.threads import deferToThread

from txsoter import CloseCause, SoterPeerProtocol, SoterServerFactory
from txsoter.aio import Peer, Server, connect, serve
from txsoter.peer.factory import connect as twisted_connect
from txsoter.test.aio.worlds import simnet
from txsoter.test.peer.cases import as_block, blocks, over_sockets, real_reactor
from txsoter.wire import Block, GetBlocks, GetData, Inv, InventoryType, InventoryVector, Ping, Pong, Unknown

LOOPBACK = "127.0.0.1"
BLOCKS = blocks(20)


def give_blocks(peer: Any, question: GetData) -> None:
    """Send the blocks that are asked for."""
    by_hash = {block.hash: block for block in BLOCKS}
    for vector in question.vectors:
        peer.send(by_hash[vector.hash])


def serving() -> Any:
    """A config that answers, whichever adapter has it."""
    vectors = [InventoryVector(InventoryType.BLOCK, block.hash, 1) for block in BLOCKS]
    return simnet(on_getblocks=lambda peer, question: peer.send(Inv(vectors)), on_getdata=give_blocks)


async def converse(peer: Any) -> None:
    """Ask for everything, and send what is large, both of which must arrive."""
    listed = await peer.request(GetBlocks(height=0), Inv)
    for vector in listed.vectors:
        assert (await peer.request(GetData([vector]), Block)).hash == vector.hash
    for _ in range(10):
        await peer.send(Unknown("filler", bytes(900_000)))
    assert await peer.request(Ping(7), Pong) == Pong(7)
    peer.queue_inventory(as_block(1))
    assert await peer.request(Ping(8), Pong) == Pong(8)


@over_sockets()
async def test_asyncio_dials_twisted() -> None:
    """And both know how it ended."""

    async def dial() -> Any:
        async with await connect(LOOPBACK, number, simnet()) as peer:
            await converse(peer)
        return peer.stats()

    factory = SoterServerFactory(serving())
    port = await TCP4ServerEndpoint(real_reactor(), 0, interface=LOOPBACK).listen(factory)
    number = port.getHost().port
    closed: Deferred[Any] = Deferred()
    dialled = deferToThread(asyncio.run, dial())
    while not factory.peers:
        await _turn()
    (peer,) = factory.peers
    peer.when_closed().chainDeferred(closed)
    theirs = await dialled
    assert (await closed).cause is CloseCause.REMOTE_CLOSED
    ours = peer.stats()
    assert theirs.state == ours.state == "closed"
    assert (theirs.bytes_sent, theirs.bytes_received) == (ours.bytes_received, ours.bytes_sent)
    assert ours.received["inv"].messages == 1
    await port.stopListening()


@over_sockets()
async def test_twisted_dials_asyncio() -> None:
    """The same the other way round."""
    begun: Deferred[int] = Deferred()
    call = real_reactor().callFromThread

    async def listen() -> list[Peer]:
        async with await serve(LOOPBACK, 0, serving()) as server:
            call(begun.callback, server.sockets[0].getsockname()[1])
            peers = await _first(server)
            await asyncio.gather(*[peer.when_closed() for peer in peers])
            return peers

    listening = deferToThread(asyncio.run, listen())
    peer: SoterPeerProtocol = await twisted_connect(TCP4ClientEndpoint(real_reactor(), LOOPBACK, await begun), simnet())
    await converse(peer)
    await peer.disconnect()
    (theirs,) = await listening
    assert theirs.id != peer.id
    assert theirs.close_reason is not None
    assert theirs.close_reason.cause is CloseCause.REMOTE_CLOSED
    ours, other = peer.stats(), theirs.stats()
    assert (ours.bytes_sent, ours.bytes_received) == (other.bytes_received, other.bytes_sent)


async def _first(server: Server) -> list[Peer]:
    while not server.peers:
        await asyncio.sleep(0.01)
    return list(server.peers)


def _turn() -> Awaitable[None]:
    turn: Deferred[None] = Deferred()
    real_reactor().callLater(0.01, turn.callback, None)
    return turn
