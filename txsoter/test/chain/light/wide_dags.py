"""DAGs with siblings, payments and what spends them, without proof of work, from a seed."""

from __future__ import annotations

from random import Random
from typing import Any

from txsoter.test.chain.served_dag import GENESIS, block_above, payment
from txsoter.wire import Block

__all__ = ["BLOCKS", "wide_dag"]


def wide_dag(heights: int = 60, seed: int = 1, spending: float = 0.3) -> list[Block]:
    """Return blocks of a DAG with up to three siblings of a height, some of which spend coins of others."""
    rng = Random(seed)
    blocks: list[Block] = []
    below = [GENESIS]
    coins: list[Any] = []
    for _ in range(heights):
        level = []
        for _ in range(rng.randint(1, 3)):
            number = len(blocks)
            spends = len(coins) > 10 and rng.random() < spending
            spent = [payment((coins.pop(0), 0), to=[b"\x52%c" % number])] if spends else []
            parents = rng.sample(below, rng.randint(1, len(below)))
            level.append(block_above(parents, *spent, script=b"\x14" + bytes([number % 7]) * 20, number=number))
            blocks.append(level[-1])
        coins += [each.transactions[0] for each in level]
        below = level
    return blocks


BLOCKS = wide_dag()
