"""Partial merkle trees (BIP37): the part of a block's merkle tree that proves some of its transactions.

The tree is walked from its root, depth first. Each node visited has a bit: whether it is, or is above, a transaction
to be proven. Below a node whose bit is 0, and at a transaction, the walk goes no deeper, and the node has its hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from txsoter.errors import InvalidProof
from txsoter.wire.hashes import Hash

__all__ = ["MAX_PROVEN_TRANSACTIONS", "partial_tree", "proven"]

MAX_PROVEN_TRANSACTIONS = 1_000_000 // 60
"""The most transactions in a block: it has at most 1,000,000 bytes without witnesses, and each at least 60."""


def partial_tree(txids: Sequence[bytes], matched: Sequence[bool]) -> tuple[list[Hash], bytes]:
    """Return the hashes and the bits, packed into bytes, of the partial tree over ``txids``.

    :param txids: of all the block's transactions in order, at least one.
    :param matched: which of them to prove.
    """
    levels = [(list(txids), list(matched))]
    while len(levels[-1][0]) > 1:
        hashes, above = levels[-1]
        if len(hashes) % 2:
            # a node without a right sibling is its own
            hashes, above = [*hashes, hashes[-1]], [*above, False]
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        levels.append(
            (
                [sha256(sha256(left + right).digest()).digest() for left, right in pairs],
                [left or right for left, right in zip(above[::2], above[1::2], strict=True)],
            )
        )
    kept: list[Hash] = []
    bits: list[bool] = []

    def walk(height: int, position: int) -> None:
        hashes, above = levels[height]
        bits.append(above[position])
        if height == 0 or not above[position]:
            kept.append(Hash(hashes[position]))
            return
        walk(height - 1, 2 * position)
        if 2 * position + 1 < len(levels[height - 1][0]):
            walk(height - 1, 2 * position + 1)

    walk(len(levels) - 1, 0)
    packed = sum(1 << position for position, bit in enumerate(bits) if bit)
    return kept, packed.to_bytes((len(bits) + 7) // 8, "little")


def proven(total: int, hashes: Sequence[bytes], flags: bytes) -> tuple[Hash, list[Hash]]:
    """Return the root of a partial tree, and the transactions that it proves, in the block's order.

    :param total: transactions in the block.
    :param flags: the bits, the first in the lowest bit of the first byte.
    :raises InvalidProof: for a tree that Bitcoin Core refuses.
    """
    if not 0 < total <= MAX_PROVEN_TRANSACTIONS:
        raise InvalidProof("count of transactions", f"{total}, must be 1 to {MAX_PROVEN_TRANSACTIONS}")
    if len(hashes) > total:
        raise InvalidProof("count of hashes", f"{len(hashes)} for {total} transactions")
    if len(flags) * 8 < len(hashes):
        raise InvalidProof("count of bits", f"{len(flags) * 8} for {len(hashes)} hashes")
    next_hash = iter(hashes)
    next_bit = iter(f"{int.from_bytes(flags, 'little'):0{len(flags) * 8}b}"[::-1])
    matches: list[Hash] = []
    used = 0

    def walk(height: int, position: int) -> bytes:
        nonlocal used
        used += 1
        bit = next(next_bit, None)
        if bit is None:
            raise InvalidProof("count of bits", f"the tree has more than {len(flags) * 8}")
        above = bit == "1"
        if height == 0 or not above:
            found = next(next_hash, None)
            if found is None:
                raise InvalidProof("count of hashes", f"the tree has more than {len(hashes)}")
            if above:
                matches.append(Hash(found))
            return found
        left = right = walk(height - 1, 2 * position)
        if (2 * position + 1) << (height - 1) < total:
            right = walk(height - 1, 2 * position + 1)
            if right == left:
                # a copy of the last transactions, which the root does not show (CVE-2012-2459)
                raise InvalidProof("siblings differ", f"two equal hashes at height {height - 1}")
        return sha256(sha256(left + right).digest()).digest()

    root = walk((total - 1).bit_length(), 0)
    if next(next_hash, None) is not None:
        raise InvalidProof("count of hashes", f"the tree has fewer than {len(hashes)}")
    if (used + 7) // 8 != len(flags):
        raise InvalidProof("count of bits", f"{len(flags) * 8} for a tree of {used}")
    return Hash(root), matches
