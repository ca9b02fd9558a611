"""``FilteredBlocks``: blocks that nodes filter with a bloom filter of ours (BIP37), and what can be checked of that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from txsoter.chain.bloom_filter import BloomFilter
from txsoter.chain.light.filter_peers import FilterPeers
from txsoter.chain.light.header_record import HeaderRecord
from txsoter.chain.light.penalties import INVALID
from txsoter.chain.light.watched import Concerns, Watched
from txsoter.errors import InvalidProof
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.wire import (
    FilterClear,
    FilterLoad,
    GetData,
    Hash,
    InventoryType,
    InventoryVector,
    MerkleBlock,
    Services,
    Tx,
)
from txsoter.wire.blocks import MERKLE_NODE

__all__ = ["FilteredBlocks", "Sighting"]

MOST_ASKED = 2
"""Peers that are asked for the same blocks: what one leaves out, the other may have."""


class Sighting(NamedTuple):
    """A transaction that concerns what is watched, in a block."""

    record: HeaderRecord
    tx: Tx
    proof: MerkleBlock
    concerns: Concerns


class Filtered(NamedTuple):
    """The answer of a peer.

    :param proofs: by block.
    :param matched: the transactions that each proof proves.
    :param sightings: those of them that concern what is watched.
    """

    proofs: dict[Hash, MerkleBlock]
    matched: dict[Hash, list[Hash]]
    sightings: dict[Hash, tuple[Tx, Concerns]]


class FilteredBlocks:
    """Asks nodes for blocks that they filter.

    A merkle proof shows that a transaction is in a block. It does not show that no other is: a node that leaves out a
    transaction is found out only if another node sends it, and is dropped then.

    :param watched: scripts and outputs, which the filter is made of.
    :param tweak: gives a random u32.
    """

    def __init__(self, peers: FilterPeers, watched: Watched, tweak: Callable[[], int]) -> None:
        self._peers = peers
        self._watched = watched
        self._tweak = tweak

    async def search(self, records: Sequence[HeaderRecord]) -> list[Sighting] | None:
        """Return the transactions found in blocks, in order; None if no peer has answered."""
        load = self._watched.bloom_filter(self._tweak()).filter_load()
        asked = self._peers.filtering()[:MOST_ASKED]
        answers = await self._peers.ask_all(asked, lambda peer: self._filtered(peer, records, load))
        honest = {peer: each for peer, each in answers.items() if each is not None}
        if not honest:
            return None
        found: list[Sighting] = []
        for record in records:
            sightings = _united(record, honest.values())
            found += sightings
            for peer, each in honest.items():
                lacking = [sighting.tx for sighting in sightings if sighting.tx.txid not in each.matched[record.hash]]
                if any(BloomFilter.from_filter_load(load).matches_tx(tx) for tx in lacking):
                    self._peers.punish(peer, INVALID, "it leaves out transactions that the bloom filter matches")
        return found

    async def _filtered(
        self, peer: SoterPeerProtocol, records: Sequence[HeaderRecord], load: FilterLoad
    ) -> Filtered | None:
        """Ask a peer; return None if it has sent a proof that is none.

        :raises RequestFailed: if it does not answer.
        """
        lock = self._peers.bloom_lock(peer)
        await lock.acquire()
        try:
            peer.send(load)
            return await self._ask(peer, records)
        except InvalidProof as error:
            self._peers.punish(peer, INVALID, f"its merkle proof is none: {error.rule}")
            return None
        finally:
            if not peer.is_closing:
                # else it would go on to announce what matches
                peer.send(FilterClear())
            lock.release()

    async def _ask(self, peer: SoterPeerProtocol, records: Sequence[HeaderRecord]) -> Filtered:
        has_witnesses = peer.stats().services & Services.WITNESS
        kind = InventoryType.WITNESS_FILTERED_BLOCK if has_witnesses else InventoryType.FILTERED_BLOCK
        question = GetData([InventoryVector(kind, each.hash, each.height) for each in records])
        found = Filtered({}, {}, {})
        answers = peer.request_all(question, (MerkleBlock, Tx), timeout=self._peers.timeout)
        async with aclosing(answers):
            async for answer in answers:
                if isinstance(answer, MerkleBlock):
                    found.proofs[answer.hash] = answer
                    found.matched[answer.hash] = answer.matched()
                elif isinstance(answer, Tx):
                    if len(answer.to_payload()) == MERKLE_NODE and not answer.is_coinbase:
                        raise InvalidProof("64 bytes", "what it proves could be a node of the merkle tree")
                    concerns = self._watched.concerns(answer)
                    if concerns is not None:
                        found.sightings[answer.txid] = answer, concerns
        return found


def _united(record: HeaderRecord, answers: Iterable[Filtered]) -> list[Sighting]:
    """Return what several peers have found in a block, each transaction once."""
    found: dict[Hash, Sighting] = {}
    for each in answers:
        for txid in each.matched[record.hash]:
            if txid in each.sightings:
                tx, concerns = each.sightings[txid]
                found.setdefault(txid, Sighting(record, tx, each.proofs[record.hash], concerns))
    return list(found.values())
