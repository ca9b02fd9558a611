"""Hashes of committed filters: the blocks to ask for, the blocks that an answer is about, and where peers differ.

A ``cfheaders`` message names no blocks. It lists the filter hashes of all blocks from a height to that of its stop,
siblings by the shown form of their hashes; a soterd puts the siblings of the height below in front, but for the first.
The chain of filter headers is a tree: a block's is made of its filter's hash and the header of the parent that it
lists last. So a header is computed here from each hash, and the remote's word for the header before is not used: an
honest node may have another, if it disagrees about a filter anywhere below.

A peer that knows a sibling more, or less, than we do lists other blocks than we expect. That is no lie. The number of
hashes tells, and so do the blocks below whose filter headers are known; the filters themselves, which name their
blocks, are asked for then.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from txsoter.chain.golomb_filter import filter_header
from txsoter.chain.light.header_index import HeaderIndex
from txsoter.chain.light.header_record import HeaderRecord
from txsoter.wire import ZERO_HASH, CFHeaders, Hash

__all__ = ["MOST_BLOCKS", "FilterRange", "compare", "computed_header", "read_hashes"]

P = TypeVar("P", bound=Hashable)

MOST_BLOCKS = 500
"""Blocks of a question. A node sends 1000 filters at most, and may know of siblings that we have not heard of."""


class FilterRange(NamedTuple):
    """All known blocks of consecutive heights, as a node lists them.

    :param start: the first height.
    :param records: by height, siblings by the shown form of their hashes; at least one.
    :param others_below: siblings of the height below ``start``, but for the first.
    """

    start: int
    records: tuple[HeaderRecord, ...]
    others_below: int

    @property
    def stop(self) -> Hash:
        """The last block, to ask up to."""
        return self.records[-1].hash

    @classmethod
    def above(cls, index: HeaderIndex, lowest: int, highest: int, most: int = MOST_BLOCKS) -> FilterRange | None:
        """Return the range from a height that has blocks without filter headers, as far up as heights have such.

        It begins a height lower: answers are checked by what is known there.

        :param highest: the last height that it may have.
        :param most: blocks, those of the height below included.
        :return: None if the height has too many blocks for any answer.
        """
        start = max(lowest - 1, 0)
        records = index.at_height(start) if start < lowest else []
        if len(records) + len(index.at_height(lowest)) > most:
            start, records = lowest, []
        for height in range(lowest, highest + 1):
            level = index.at_height(height)
            if len(records) + len(level) > most or all(each.filter_header is not None for each in level):
                break
            records += level
        if not records or records[-1].height < lowest:
            return None
        return cls(start, tuple(records), max(len(index.at_height(start - 1)) - 1, 0))


def computed_header(index: HeaderIndex, record: HeaderRecord, filter_hash: Hash) -> Hash | None:
    """Return a block's filter header; None as long as that of its last parent is not known."""
    parents = record.parents
    if not parents:
        return filter_header(filter_hash, ZERO_HASH)
    below = index[parents[-1]].filter_header
    return None if below is None else filter_header(filter_hash, below)


def read_hashes(index: HeaderIndex, asked: FilterRange, answer: CFHeaders) -> dict[Hash, Hash] | None:
    """Return the filter hash of each block asked for, by the block's hash; None if it is not certain which is whose.

    :param answer: of the range's stop and filter type.
    """
    hashes = list(answer.filter_hashes)
    extra = len(hashes) - len(asked.records)
    if extra and extra != asked.others_below:
        return None
    if asked.others_below and any(each.filter_header is None for each in asked.records if each.height == asked.start):
        # nothing shows where the siblings below end: a block that the node lacks may make up for them
        return None
    found = {each.hash: filter_hash for each, filter_hash in zip(asked.records, hashes[extra:], strict=True)}
    for each in asked.records:
        if each.filter_header is not None and computed_header(index, each, found[each.hash]) != each.filter_header:
            return None
    return found


def compare(
    records: Sequence[HeaderRecord], claims: Mapping[P, Mapping[Hash, Hash]], needed: int
) -> tuple[dict[Hash, Hash], Hash | None]:
    """Return the filter hashes on which peers agree, and the first block about which two differ.

    Blocks behind that one are left for later; so is a block about which fewer than ``needed`` peers say something.

    :param records: in the order in which their filter headers are computed.
    :param claims: of each peer, the filter hash of each block that it has answered for.
    """
    agreed: dict[Hash, Hash] = {}
    for record in records:
        said = [each[record.hash] for each in claims.values() if record.hash in each]
        if len(set(said)) > 1:
            return agreed, record.hash
        if said and len(said) >= needed:
            agreed[record.hash] = said[0]
    return agreed, None
