"""`walk_blocks()`: all blocks of a node in order of height, whatever the node lists; with both adapters."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest

from txsoter import walk_blocks
from txsoter.core.state import State
from txsoter.errors import FieldError, InvalidBlock, MalformedMessage, RemoteError, RequestNotFound, RequestTimedOut
from txsoter.test.aio.worlds import World, conversation, simnet
from txsoter.test.node import FakeNode, grown, recorded
from txsoter.test.peer.cases import as_block, as_tx
from txsoter.wire import Block, GetBlocks, GetData, Inv, InventoryType, InventoryVector, Ping, Pong


class Node:
    """A node of either adapter, and a peer that is connected to it."""

    def __init__(self, node: FakeNode, peer: Any) -> None:
        self.node = node
        self.peer = peer

    @property
    def expected(self) -> list[tuple[int, Block]]:
        """All its blocks in order of height."""
        return sorted(self.node.blocks.values(), key=lambda each: each[0])

    @property
    def fetched(self) -> list[Any]:
        """Hashes of all blocks that it was asked for."""
        return [vector.hash for each in self.node.questions if isinstance(each, GetData) for vector in each.vectors]


async def connected(world: World, node: FakeNode, **fields: Any) -> Node:
    """Connect to a node."""
    peer, _ = await world.pair(simnet(**fields), node.factory.config)
    await peer.when_ready()
    return Node(node, peer)


async def walked(peer: Any, *arguments: Any, **options: Any) -> list[tuple[int, Block]]:
    """Return all that is walked over."""
    return [each async for each in walk_blocks(peer, *arguments, **options)]


@conversation
async def test_all_of_a_recorded_dag(world: World) -> None:
    """From genesis to the tip, also from a node that lists few at a time; each block is fetched once."""
    for limit in (500, 7):
        node = await connected(world, FakeNode(recorded(), limit=limit))
        assert await walked(node.peer) == node.expected
        assert len(node.fetched) == len(set(node.fetched)) == 54


@conversation
async def test_full_lists_that_end_between_siblings(world: World) -> None:
    """Nothing is fetched twice or left out."""
    node = await connected(world, FakeNode(grown(heights=420, width=3)))
    assert await walked(node.peer) == node.expected
    assert len(node.fetched) == len(set(node.fetched)) == 1261


@conversation
async def test_from_a_height(world: World) -> None:
    """That height's siblings, and all above; nothing where it is above the tip."""
    node = await connected(world, FakeNode(grown(heights=20, width=3)))
    assert await walked(node.peer, 18) == [each for each in node.expected if each[0] >= 18]
    assert await walked(node.peer, 21) == []
    assert await walked(node.peer, 10_000) == []
    assert len(node.fetched) == 9


@conversation
async def test_announcements_meanwhile(world: World) -> None:
    """A block that is announced while it waits for a list is not taken for the answer."""
    late = list(grown(heights=421, width=3))[-3:]

    def announce(peer: Any, question: GetBlocks) -> Any:
        if late:
            height, block = late.pop()
            fake.blocks[block.hash] = (height, block)
            peer.send(Inv([InventoryVector(InventoryType.BLOCK, block.hash, height)]))
        return fake.list_blocks(peer, question)

    fake = FakeNode(grown(heights=420, width=3), hooks={"on_getblocks": announce})
    node = await connected(world, fake)
    assert await walked(node.peer) == node.expected


@conversation
async def test_a_block_that_the_application_asks_for_too(world: World) -> None:
    """It comes twice, once before its turn; the order stays."""
    node = await connected(world, FakeNode(recorded()))
    _, last = node.expected[-1]
    heights: list[int] = []
    async for height, _ in walk_blocks(node.peer):
        heights.append(height)
        if height == 3:
            node.peer.send(GetData([InventoryVector(InventoryType.BLOCK, last.hash)]))
            await node.peer.request(Ping(1), Pong)
    assert heights == [height for height, _ in node.expected]


@conversation
async def test_in_a_listener(world: World) -> None:
    """A listener may walk, and another request may be made meanwhile."""
    taken: list[Any] = []

    async def on_ping(peer: Any, ping: Ping) -> None:
        async for height, block in walk_blocks(peer):
            if height % 10 == 0:
                await peer.request(Ping(height), Pong)
            taken.append((height, block))

    fake = FakeNode(recorded(), strict=False)
    peer, other = await world.pair(simnet(on_ping=on_ping), fake.factory.config)
    await peer.when_ready()
    await other.send(Ping(99))
    await world.sleep(5)
    assert taken == Node(fake, peer).expected


@conversation
async def test_leaving_early(world: World) -> None:
    """Nothing is left of it, and the peer may walk again."""
    node = await connected(world, FakeNode(grown(heights=200, width=3)))
    async with aclosing(walk_blocks(node.peer)) as blocks:
        async for height, _ in blocks:
            if height == 5:
                break
    assert node.peer.stats().pending_requests == 0
    async for height, _ in walk_blocks(node.peer):
        if height == 5:
            break
    await world.sleep(1)
    assert (node.peer.stats().pending_requests, node.peer.stats().held_bytes) == (0, 0)
    # what had been asked for already is not waited for
    assert await walked(node.peer) == node.expected


@conversation
async def test_one_block_at_a_time(world: World) -> None:
    """While the loop is busy, nothing is read."""
    node = await connected(world, FakeNode(grown(heights=30, width=1)))
    async for height, _ in walk_blocks(node.peer):
        if height == 3:
            await world.sleep(100)
            stats = node.peer.stats()
            assert stats.received["block"].messages <= 5
            assert not stats.is_reading
    assert node.peer.state is State.READY


@conversation
async def test_false_blocks(world: World) -> None:
    """A block that its header does not commit to ends it."""
    height, block = recorded()[5]
    false = Block(header=block.header, parents=block.parents, transactions=[*block.transactions, *block.transactions])
    node = await connected(world, FakeNode([*recorded()[:5], (height, false)]))
    with pytest.raises(InvalidBlock, match=str(block.hash)):
        await walked(node.peer)


@conversation
async def test_missing_blocks(world: World) -> None:
    """A block that is listed but not there ends it, behind those before it."""
    fake = FakeNode(recorded(), hooks={"on_getdata": lambda peer, question: lose(peer, question)})
    _, gone = recorded()[5]

    async def lose(peer: Any, question: GetData) -> None:
        fake.blocks.pop(gone.hash, None)
        await fake.serve(peer, question)

    node = await connected(world, fake)
    with pytest.raises(RequestNotFound, match=str(gone.hash)):
        await walked(node.peer)


async def _says(world: World, answers: list[Inv], **options: Any) -> None:
    peer, remote = await world.scripted()
    over = world.start(_walk_all(peer, options))
    for answer in answers:
        assert [type(each) for each in await remote.hear()] == [GetBlocks]
        remote.say(answer)
    await over


async def _walk_all(peer: Any, options: Any) -> None:
    expected = options.pop("expected")
    with pytest.raises(expected):
        await walked(peer, **options)


@conversation
async def test_lists_that_are_none(world: World) -> None:
    """Heights that go down, or transactions among the blocks."""
    genesis = as_block(0)
    for bad in ([genesis, as_block(2), as_block(1)], [genesis, as_tx(1)]):
        await _says(world, [Inv(bad)], expected=MalformedMessage)


@conversation
async def test_more_siblings_than_a_list_holds(world: World) -> None:
    """Those that are not listed cannot be had: an error, not silence."""
    node = await connected(world, FakeNode(grown(heights=2, width=501)))
    with pytest.raises(RemoteError, match="500 blocks or more at height 2"):
        await walked(node.peer)


@conversation
async def test_silence(world: World) -> None:
    """Each list has its time."""
    peer, _ = await world.scripted(simnet(stall_timeout=None))
    with pytest.raises(RequestTimedOut, match="getblocks within 5 s"):
        await walked(peer, timeout=5)


@conversation
async def test_arguments(world: World) -> None:
    """What cannot be is said at once."""
    peer, _ = await world.scripted()
    for arguments in ((None,), (5,), (peer, -1), (peer, "5"), (peer, 1 << 31)):
        with pytest.raises(FieldError):
            walk_blocks(*arguments)
