"""Inputs of the chain suite: the same in every run, from a fixed seed."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from benchmarks.inputs import blocks
from txsoter.test import vectors
from txsoter.wire import Block, BlockHeader, Hash, merkle_root

__all__ = ["Proof", "block_of_transactions", "long_dag", "proofs", "scripts", "wide_dag"]

Parents = dict[str, list[str]]


class Proof(NamedTuple):
    """A header and its proof of work."""

    header: bytes
    nonces: list[int]


def proofs() -> list[Proof]:
    """Good proofs of work, mined by the reference."""
    rows = [row for row in vectors.consensus("cuckoo") if row["ok"]]
    return [Proof(bytes.fromhex(row["header"]), row["nonces"]) for row in rows]


def scripts(count: int, seed: str) -> list[bytes]:
    """Scripts that pay to hashes of keys: 25 bytes each."""
    rng = Random(seed)
    return [b"\x76\xa9\x14" + rng.randbytes(20) + b"\x88\xac" for _ in range(count)]


def block_of_transactions(count: int) -> Block:
    """A block of as many small transactions, at most 2000, as it is decoded."""
    found = blocks()[0].transactions[:count]
    root, _ = merkle_root([each.txid for each in found])
    block = Block(BlockHeader(merkle_root=root), transactions=found)
    decoded, _ = Block.from_payload(block.to_payload())
    return decoded


def long_dag() -> Parents:
    """The DAG of 660 blocks that the reference needs more than a second to order."""
    return {each["id"]: each["parents"] for each in vectors.consensus("dag_order_long")[2]["blocks"]}


def wide_dag(size: int, width: int = 4) -> Parents:
    """A DAG as miners make it who hear of the last blocks late: each builds on all the tips that it knows."""
    rng = Random("dag")
    names = [str(Hash(rng.randbytes(32))) for _ in range(size)]
    parents: Parents = {names[0]: []}
    for at in range(1, size):
        known = names[: max(1, at - rng.randrange(width))]
        built_on = {parent for each in known[-100:] for parent in parents[each]}
        parents[names[at]] = [each for each in known[-50:] if each not in built_on]
    return parents
