"""Checks of a committed filter against its block: what can be proven of it, and what cannot.

A block proves the scripts of its outputs: each of them, but for empty ones and OP_RETURN with pushes, is in the
filter. A filter without one is a lie, and so is one that is no filter.

Beside these it has the scripts that the block spends, of outputs that other blocks hold. An honest filter has no other
items, so what cannot be one of either is a lie: more items than there are output scripts and inputs, or, where all
outputs that the inputs name have been found, any item that is none of their scripts. Whether a script that is spent
must be in the filter cannot be decided: nodes leave out what a transaction spends that they skip, because it is not
valid or spends what a block before has spent; which one that is depends on the order in which a node has heard of
blocks. So two honest nodes may have two filters for one block. Nobody is punished for that, and what watches scripts
looks into the block itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from txsoter.chain.golomb_filter import KEY_SIZE, GolombFilter, basic_filter_items
from txsoter.errors import InvalidProof
from txsoter.wire import Block, Hash
from txsoter.wire.codec import read_varint

__all__ = ["Outpoint", "best_filter", "check_filter", "created_outputs", "decoded_filter", "spent_outpoints"]

Outpoint = tuple[Hash, int]
"""An output: its transaction's id, and its position in it."""


def decoded_filter(block_hash: Hash, data: bytes) -> GolombFilter:
    """Return the committed filter of a block.

    :raises InvalidProof: for bytes that are none.
    """
    return GolombFilter.from_bytes(data, block_hash[:KEY_SIZE])


def created_outputs(blocks: Iterable[Block]) -> dict[Outpoint, bytes]:
    """Return the scripts of all outputs of blocks."""
    return {
        (txid, index): output.script
        for block in blocks
        for tx in block.transactions
        for txid in [tx.txid]
        for index, output in enumerate(tx.outputs)
    }


def spent_outpoints(block: Block) -> list[Outpoint]:
    """Return the outputs that a block's inputs name, each once."""
    inputs = (each for tx in block.transactions if not tx.is_coinbase for each in tx.inputs)
    return list(dict.fromkeys((each.previous_hash, each.previous_index) for each in inputs))


def check_filter(data: bytes, block: Block, spent: Mapping[Outpoint, bytes]) -> int:
    """Check a filter against its block.

    :param spent: scripts of outputs that the block's inputs name, as far as they have been found.
    :return: the number of known scripts among its items.
    :raises InvalidProof: naming the rule: of the decoding, ``"output scripts"`` or ``"items of the filter"``.
    """
    found = decoded_filter(block.hash, data)
    outputs = basic_filter_items(block, ())
    for script in outputs:
        if script not in found:
            raise InvalidProof("output scripts", f"{script[:40].hex()}, which the block pays to, is not in the filter")
    outpoints = spent_outpoints(block)
    known = [spent[each] for each in outpoints if each in spent]
    candidates = [script for script in basic_filter_items(block, known) if script in found]
    unknown = len(outpoints) - len(known)
    count, _ = read_varint(data, 0)
    if count > len(candidates) + unknown:
        words = f"there are {count}, where block and spent outputs have {len(candidates) + unknown} at most"
        raise InvalidProof("items of the filter", words)
    if (
        not unknown
        and count == len(candidates)
        and bytes(GolombFilter.build(block.hash[:KEY_SIZE], candidates)) != data
    ):
        raise InvalidProof("items of the filter", "they are not the scripts that block and spent outputs have")
    return len(candidates)


def best_filter(block: Block, filters: Sequence[bytes], spent: Mapping[Outpoint, bytes]) -> bytes:
    """Return, of filters that have passed :func:`check_filter`, the one with the most known scripts.

    One that has too much costs a download, one that has too little hides a payment.

    :param filters: one of each peer; if several have as many known scripts, the one that most peers have is taken.
    """
    return max(filters, key=lambda data: (check_filter(data, block, spent), filters.count(data), data))
