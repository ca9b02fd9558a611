"""Checks of what a remote says: proof of work, merkle proofs, filters, the order of the DAG, and a light client.

Nothing here knows of sockets or Twisted but the light client, whose names are loaded when they are first used. Bloom
and Golomb filters need libraries: ``pip install 'txsoter[chain]'``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from txsoter.chain.bloom_filter import BloomFilter
from txsoter.chain.dag import Dag
from txsoter.chain.golomb_filter import GolombFilter, basic_filter, basic_filter_items, filter_header
from txsoter.chain.merkle_proof import merkle_block
from txsoter.chain.proof_of_work import check_proof_of_work, proof_difficulty, target_of

if TYPE_CHECKING:
    from txsoter.chain.light.client import LightClient
    from txsoter.chain.light.confirmations import Confirmations
    from txsoter.chain.light.header_index import HeaderIndex
    from txsoter.chain.light.header_record import HeaderRecord
    from txsoter.chain.light.header_store import HeaderStore
    from txsoter.chain.light.progress import SyncProgress
    from txsoter.chain.light.watched import WatchedTransaction

_LIGHT = {
    "Confirmations": "txsoter.chain.light.confirmations",
    "HeaderIndex": "txsoter.chain.light.header_index",
    "HeaderRecord": "txsoter.chain.light.header_record",
    "HeaderStore": "txsoter.chain.light.header_store",
    "LightClient": "txsoter.chain.light.client",
    "SyncProgress": "txsoter.chain.light.progress",
    "WatchedTransaction": "txsoter.chain.light.watched",
}

__all__ = [
    "BloomFilter",
    "Confirmations",
    "Dag",
    "GolombFilter",
    "HeaderIndex",
    "HeaderRecord",
    "HeaderStore",
    "LightClient",
    "SyncProgress",
    "WatchedTransaction",
    "basic_filter",
    "basic_filter_items",
    "check_proof_of_work",
    "filter_header",
    "merkle_block",
    "proof_difficulty",
    "target_of",
]


def __getattr__(name: str) -> Any:
    try:
        home = _LIGHT[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
