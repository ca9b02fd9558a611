"""All blocks of a node, in order of height."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Iterator
from contextlib import aclosing
from typing import Any, Protocol

from txsoter.errors import FieldError, MalformedMessage, RemoteError
from txsoter.wire import Block, GetBlocks, GetData, Hash, Inv, InventoryType, InventoryVector

__all__ = ["walk_blocks"]

LISTED = 500
"""The most blocks that a soterd lists in an answer to ``getblocks``."""

BATCH = 100
"""Blocks asked for by one ``getdata``: what is still sent after the walk was left."""


class Peer(Protocol):
    """A peer of either adapter."""

    def request(self, message: Any, expected_type: Any, timeout: float | None, matching: Any = None) -> Awaitable[Any]:
        """See :meth:`txsoter.SoterPeerProtocol.request`."""
        ...

    def request_all(
        self, message: Any, expected_type: Any, *, count: int | None, timeout: float | None, matching: Any
    ) -> AsyncGenerator[Any, None]:
        """See :meth:`txsoter.SoterPeerProtocol.request_all`."""
        ...

    def stats(self) -> Any:
        """Return a snapshot of the connection."""
        ...


def walk_blocks(
    peer: Peer, from_height: int = 0, *, timeout: float | None = 90.0
) -> AsyncGenerator[tuple[int, Block], None]:
    """Iterate over all blocks of a node from a height up to its tip: ``async for height, block in walk_blocks(peer)``.

    Siblings of a height come one after the other. Each block is fetched with witnesses and verified against its
    header; heights are the node's word. While the loop is busy, nothing more is read: one block is held, and the list
    of the next 500. It may be in a listener, and ends at the tip that the node has then. Leave it early by ``break``,
    or for certain at once by :func:`contextlib.aclosing`.

    :param peer: of Twisted's or of asyncio's, ready.
    :param from_height: of the first block wanted; 0 is the genesis block's.
    :param timeout: seconds for each list, and for each block.
    :return: an asynchronous iterator over heights and blocks; it raises
        :exc:`~txsoter.errors.RequestFailed` when an answer does not come,
        :exc:`~txsoter.errors.InvalidBlock` for a block that its header does not commit to, and another
        :exc:`~txsoter.errors.RemoteError` for a list that is none.
    :raises txsoter.errors.FieldError: for arguments that cannot be.
    """
    if not callable(getattr(peer, "request_all", None)):
        raise FieldError("peer", peer, "a peer, such as connect() gives")
    if not isinstance(from_height, int) or isinstance(from_height, bool) or not 0 <= from_height < 1 << 31:
        raise FieldError("from_height", from_height, "a height from 0")
    return _walk(peer, from_height, timeout)


async def _walk(peer: Peer, from_height: int, timeout: float | None) -> AsyncGenerator[tuple[int, Block], None]:
    # a soterd does not answer if there is nothing to list: begin no higher than at its tip
    first = min(from_height, max(peer.stats().max_height, 0))
    seen: set[Hash] = set()
    while True:
        listed = await _list(peer, first, timeout)
        new = [each for each in listed if each.hash not in seen and each.height >= from_height]
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH]
            async with aclosing(_fetch(peer, batch, timeout)) as blocks:
                async for height, block in blocks:
                    yield height, block
        last = listed[-1].height if listed else first
        if all(each.hash in seen for each in listed):
            if len(listed) >= LISTED and last == first:
                raise RemoteError(f"{len(listed)} blocks or more at height {first}: getblocks does not list the others")
            return
        # a list that is full may end between siblings
        seen, first = {each.hash for each in listed}, last


async def _list(peer: Peer, first: int, timeout: float | None) -> list[InventoryVector]:
    """Return the blocks that the node lists from height ``first``.

    :raises RemoteError: if they are not in order of height.
    """

    def is_answer(inv: Inv) -> bool:
        # announcements begin elsewhere
        return not inv.vectors or inv.vectors[0].height == first

    inv = await peer.request(GetBlocks(height=first - 1), Inv, timeout, is_answer)
    listed: list[InventoryVector] = list(inv.vectors)
    height = first
    for each in listed:
        if not each.is_block or each.height < height:
            raise MalformedMessage("an answer to getblocks lists something else than blocks in order of height", "inv")
        height = each.height
    return listed


async def _fetch(
    peer: Peer, batch: list[InventoryVector], timeout: float | None
) -> AsyncGenerator[tuple[int, Block], None]:
    """Yield blocks in the order of ``batch``."""
    heights: Iterator[int] = iter([each.height for each in batch])
    expected = deque(each.hash for each in batch)

    def is_next(block: Block) -> bool:
        # the application may have asked for one of them as well, which comes out of turn then
        if not expected or block.hash != expected[0]:
            return False
        expected.popleft()
        return True

    question = GetData([InventoryVector(InventoryType.WITNESS_BLOCK, each.hash, each.height) for each in batch])
    answers = peer.request_all(question, Block, count=len(batch), timeout=timeout, matching=is_next)
    async with aclosing(answers) as blocks:
        async for block in blocks:
            block.verify()
            yield next(heights), block
