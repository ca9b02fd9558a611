"""``FilterDisputes``: who lies where peers differ about a block's filter."""

from __future__ import annotations

from collections.abc import Sequence

from txsoter.chain.light.filter_checks import Outpoint, best_filter, check_filter, created_outputs, spent_outpoints
from txsoter.chain.light.filter_peers import FilterPeers
from txsoter.chain.light.header_index import HeaderIndex
from txsoter.chain.light.header_record import HeaderRecord
from txsoter.chain.light.penalties import INVALID
from txsoter.errors import InvalidProof
from txsoter.peer.protocol import SoterPeerProtocol
from txsoter.wire import Block, Hash, double_sha256

__all__ = ["Claims", "FilterDisputes"]

Claims = dict[SoterPeerProtocol, dict[Hash, Hash]]
"""Of each peer, the filter hash of each block that it has answered for."""

MOST_FETCHED = 50
"""Blocks that are fetched to find the outputs that one disputed block spends."""


class FilterDisputes:
    """Finds out which filter is a block's, and drops peers whose filter cannot be.

    The filters are fetched, then the block, then blocks below it for the outputs that it spends, as far as these are
    needed; see :mod:`~txsoter.chain.light.filter_checks` for what can be proven. If several filters may be honest, the
    one with the most known scripts is taken, and nobody is dropped.

    :ivar uncertain: the blocks of which that is so: their filter may lack scripts that they spend. It is not kept on
        disk: after a restart their filters are believed.
    """

    def __init__(self, index: HeaderIndex, peers: FilterPeers) -> None:
        self._index = index
        self._peers = peers
        self.uncertain: set[Hash] = set()

    async def settle(self, record: HeaderRecord, claims: Claims) -> None:
        """Find out which filter is a block's: the claims of all who stay are the same then, or there are none."""
        claimants = [peer for peer, claim in claims.items() if record.hash in claim]
        filters = await self._peers.ask_all(claimants, lambda peer: self._peers.filter(peer, record))
        for peer in claimants:
            data = filters.get(peer)
            claimed = claims[peer].pop(record.hash)
            if data is None:
                continue
            claims[peer][record.hash] = double_sha256(data)
            if claimed != double_sha256(data):
                self._peers.contradicted(peer)
        if len(set(filters.values())) < 2:
            return
        block = await self._peers.block(record)
        best = None if block is None else await self._judge(record, block, filters)
        for peer in filters:
            if best is None:
                del claims[peer][record.hash]
            else:
                claims[peer][record.hash] = double_sha256(best)

    async def _judge(self, record: HeaderRecord, block: Block, filters: dict[SoterPeerProtocol, bytes]) -> bytes | None:
        """Drop the peers whose filter cannot be the block's; return the best of the others', or None."""
        spent = created_outputs([block])
        honest = self._drop_liars(block, filters, spent)
        outpoints = spent_outpoints(block)
        if len(set(honest.values())) > 1 and not spent.keys() >= set(outpoints):
            spent = await self._find_outputs(record, outpoints, spent)
            honest = self._drop_liars(block, honest, spent)
        if not honest:
            return None
        best = best_filter(block, list(honest.values()), spent)
        for peer, data in honest.items():
            if data != best:
                self.uncertain.add(record.hash)
                self._peers.differed(peer)
        return best

    def _drop_liars(
        self, block: Block, filters: dict[SoterPeerProtocol, bytes], spent: dict[Outpoint, bytes]
    ) -> dict[SoterPeerProtocol, bytes]:
        honest = {}
        for peer, data in filters.items():
            try:
                check_filter(data, block, spent)
            except InvalidProof as error:
                self._peers.punish(peer, INVALID, f"its filter is not its block's: {error.rule}")
            else:
                honest[peer] = data
        return honest

    async def _find_outputs(
        self, record: HeaderRecord, outpoints: Sequence[Outpoint], known: dict[Outpoint, bytes]
    ) -> dict[Outpoint, bytes]:
        """Look for the outputs that a block spends in the blocks below, the nearest first; return those found."""
        found, wanted = dict(known), set(outpoints)
        left = MOST_FETCHED
        for height in range(record.height - 1, -1, -1):
            for each in self._index.at_height(height):
                if not left or found.keys() >= wanted:
                    return found
                left -= 1
                block = await self._peers.block(each)
                if block is not None:
                    created = created_outputs([block])
                    found.update({outpoint: created[outpoint] for outpoint in created.keys() & wanted})
        return found
