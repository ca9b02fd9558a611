"""Merkle proofs: the ``merkleblock`` that proves some transactions of a block.

Checking one is :meth:`txsoter.wire.MerkleBlock.matched`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from txsoter.errors import FieldError
from txsoter.wire import Block, MerkleBlock, Tx
from txsoter.wire.partial_merkle import MAX_PROVEN_TRANSACTIONS, partial_tree

__all__ = ["merkle_block"]


def merkle_block(block: Block, matches: Callable[[Tx], bool] | Collection[bytes | int]) -> MerkleBlock:
    """Return the proof of some of a block's transactions.

    :param matches: the transactions to prove: a function that is called with each in order, such as
        :meth:`BloomFilter.matches_tx <txsoter.chain.BloomFilter.matches_tx>`; or their ids; or their positions; or one
        bool for each transaction.
    :raises FieldError: for a block without transactions or with too many for a proof, and for a match that it lacks.
    """
    transactions = block.transactions
    if not 0 < len(transactions) <= MAX_PROVEN_TRANSACTIONS:
        raise FieldError("block.transactions", transactions, f"1 to {MAX_PROVEN_TRANSACTIONS} transactions")
    txids = [each.txid for each in transactions]
    matched = [bool(matches(each)) for each in transactions] if callable(matches) else _chosen(txids, matches)
    hashes, flags = partial_tree(txids, matched)
    return MerkleBlock(block.header, len(txids), hashes, flags)


def _chosen(txids: Sequence[bytes], matches: Collection[bytes | int]) -> list[bool]:
    """Return for each transaction whether it is among the ids or positions, or its own bool."""
    if all(isinstance(each, bool) for each in matches) and len(matches) == len(txids):
        return [bool(each) for each in matches]
    position_of = {txid: position for position, txid in enumerate(txids)}
    matched = [False] * len(txids)
    for each in matches:
        position = position_of.get(each) if isinstance(each, bytes) else each
        if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < len(txids):
            raise FieldError("matches", each, "the id or position of a transaction of the block")
        matched[position] = True
    return matched
