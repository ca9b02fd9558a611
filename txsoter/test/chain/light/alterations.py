"""Answers and blocks of nodes that lie, for :mod:`txsoter.test.chain.light.sync_world`."""

from __future__ import annotations

from collections.abc import Callable

from txsoter.test.chain.light.dags import block_above
from txsoter.test.chain.light.sync_world import Alter
from txsoter.wire import Block, BlockHeader, Inv, InventoryVector, Message, Parent, Tx, merkle_root

__all__ = ["large_block", "on_blocks", "on_lists", "silent", "with_parents"]


def silent(question: Message, answers: list[Message]) -> list[Message]:
    """Answer nothing."""
    return []


def on_lists(change: Callable[[list[InventoryVector]], list[InventoryVector]]) -> Alter:
    """Change lists."""

    def alter(question: Message, answers: list[Message]) -> list[Message]:
        return [Inv(change(list(each.vectors))) if isinstance(each, Inv) else each for each in answers]

    return alter


def on_blocks(change: Callable[[Block], Message | None]) -> Alter:
    """Change blocks, or leave them out."""

    def alter(question: Message, answers: list[Message]) -> list[Message]:
        changed = [change(each) if isinstance(each, Block) else each for each in answers]
        return [each for each in changed if each is not None]

    return alter


def with_parents(block: Block, *parents: Block) -> Block:
    """Return the genuine block with another list of parents."""
    listed_parents = [Parent(each.hash) for each in parents]
    return Block(block.header, parents=listed_parents, nonces=block.nonces, transactions=block.transactions)


def large_block(parent: Block, count: int, number: int) -> Block:
    """Return a block of as many transactions."""
    small = block_above([parent], number)
    coinbase = small.transactions[0]
    transactions = [Tx(inputs=coinbase.inputs, outputs=coinbase.outputs, lock_time=each) for each in range(count)]
    root, _ = merkle_root([each.txid for each in transactions])
    header = BlockHeader(prev=small.header.prev, merkle_root=root, time=small.header.time)
    return Block(header, parents=small.parents, transactions=transactions)
