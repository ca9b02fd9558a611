"""Checks of what a remote says: proof of work, merkle proofs, filters, and the order of the DAG.

Nothing here knows of sockets or Twisted. Bloom and Golomb filters need libraries: ``pip install 'txsoter[chain]'``.
"""

from txsoter.chain.bloom_filter import BloomFilter
from txsoter.chain.dag import Dag
from txsoter.chain.golomb_filter import GolombFilter, basic_filter, basic_filter_items, filter_header
from txsoter.chain.merkle_proof import merkle_block
from txsoter.chain.proof_of_work import check_proof_of_work, proof_difficulty, target_of

__all__ = [
    "BloomFilter",
    "Dag",
    "GolombFilter",
    "basic_filter",
    "basic_filter_items",
    "check_proof_of_work",
    "filter_header",
    "merkle_block",
    "proof_difficulty",
    "target_of",
]
