"""DAGs of blocks without proof of work, made from a seed, that keep all other rules."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from txsoter.networks import SIMNET
from txsoter.wire import ZERO_HASH, Block, BlockHeader, Parent, Tx, TxIn, TxOut, parents_commitment

__all__ = ["GENESIS", "START", "block_above", "chain_of", "heights_of", "random_dag"]

assert SIMNET.genesis_block is not None
GENESIS: Block = SIMNET.genesis_block

START = GENESIS.header.time
"""Time of the genesis, seconds since 1970."""


def block_above(parents: Sequence[Block], number: int = 0, time: int | None = None) -> Block:
    """Return a block whose only transaction is its coinbase.

    :param parents: in the order in which it lists them.
    :param number: keeps blocks apart that are the same in all else.
    :param time: one second behind its newest parent's by default.
    """
    marked = b"\x08" + number.to_bytes(8, "little")
    coinbase = Tx(inputs=[TxIn(ZERO_HASH, 0xFFFFFFFF, marked)], outputs=[TxOut(5_000_000_000, b"\x51")])
    hashes = [each.hash for each in parents]
    header = BlockHeader(
        version=0x20000000,
        prev=parents_commitment(hashes),
        merkle_root=coinbase.txid,
        time=1 + max(each.header.time for each in parents) if time is None else time,
        bits=0x01010000,
    )
    return Block(header=header, parents=[Parent(each) for each in hashes], transactions=[coinbase])


def chain_of(count: int, start: Block = GENESIS, number: int = 0) -> list[Block]:
    """Return ``count`` blocks, each above the one before."""
    blocks = [start]
    for each in range(count):
        blocks.append(block_above([blocks[-1]], number + each))
    return blocks[1:]


def random_dag(rng: Random, count: int, width: int = 4, number: int = 0) -> list[Block]:
    """Return ``count`` blocks above the genesis, parents before children, of up to ``width`` tips; some are late."""
    blocks, tips = [GENESIS], [GENESIS]
    for each in range(count):
        parents = [rng.choice(blocks)] if rng.random() < 0.1 else rng.sample(tips, rng.randint(1, len(tips)))
        block = block_above(parents, number + each)
        blocks.append(block)
        hashes = {parent.hash for parent in block.parents}
        tips = [*[tip for tip in tips if tip.hash not in hashes][-width + 1 :], block]
    return blocks[1:]


def heights_of(blocks: Sequence[Block]) -> list[tuple[int, Block]]:
    """Return blocks above the genesis, parents before children, with their heights."""
    heights = {GENESIS.hash: 0}
    for block in blocks:
        heights[block.hash] = 1 + max(heights[each.hash] for each in block.parents)
    return [(heights[block.hash], block) for block in blocks]
