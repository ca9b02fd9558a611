"""All blocks of a node, in the order of their heights."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from twisted.internet.defer import FirstError, gatherResults

from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.wire import Block, GetBlocks, GetData, Hash, Inv, InventoryType, InventoryVector

__all__ = ["walk_blocks"]

_AT_ONCE = 100


async def walk_blocks(peer: SoterPeerProtocol, from_height: int = 0) -> AsyncGenerator[tuple[int, Block], None]:
    """Yield each block from ``from_height`` on, with its height.

    :raises RequestFailed: when the node does not answer, or lacks a block that it has listed.
    """
    height = from_height - 1
    seen: set[Hash] = set()
    while True:
        first = height + 1

        def answers(inv: Inv, first: int = first) -> bool:
            # announcements begin elsewhere
            return not inv.vectors or inv.vectors[0].height == first

        inv = await peer.request(GetBlocks(height=height), Inv, matching=answers)
        new = [
            InventoryVector(InventoryType.WITNESS_BLOCK, each.hash, each.height)
            for each in inv.vectors
            if each.hash not in seen
        ]
        if not new:
            return
        for start in range(0, len(new), _AT_ONCE):
            batch = new[start : start + _AT_ONCE]
            asked = [peer.request(GetData([each]), Block) for each in batch]
            try:
                blocks = await gatherResults(asked, consumeErrors=True)
            except FirstError as error:
                error.subFailure.raiseException()
            for vector, block in zip(batch, blocks, strict=True):
                yield vector.height, block
                # a node lists 500 at a time, and may stop in the middle of a height
                height = vector.height - 1
        seen = {each.hash for each in inv.vectors}
