"""Fuzz target: partial merkle trees, which a remote sends as the proof of transactions.

::

    python fuzz/partial_merkle.py fuzz/corpus/partial_merkle -max_total_time=60

Any count, hashes and bits are refused as :exc:`~txsoter.errors.InvalidProof`, or are a tree: its root and what it
proves are those of a walk without recursion, and the root is another as soon as a hash is. A tree that is built proves
what it was built for.
"""

from __future__ import annotations

from hashlib import sha256

from launch import launch
from pieces import mutated, parsed

from txsoter.errors import InvalidProof
from txsoter.wire import BlockHeader, Hash, MerkleBlock, merkle_root, partial_merkle

__all__ = ["KINDS", "SETTINGS", "mutated", "one_input"]

SETTINGS = 2
"""Bytes before the pieces: the count of transactions."""

HASH, BITS, BUILT = 0, 1, 2
"""The kinds of pieces: a hash of the tree, as what it is the hash of; bits; bits that say what to prove."""

KINDS = 3


def one_input(data: bytes) -> None:
    """Whatever ``data`` is, nothing is raised: unless txsoter is wrong."""
    settings, pieces = parsed(data, SETTINGS)
    total = int.from_bytes(settings, "little")
    hashes = [hashed(each.body) for each in pieces if each.kind % KINDS == HASH]
    flags = b"".join(each.body for each in pieces if each.kind % KINDS == BITS)
    read(total, hashes, flags)
    for each in pieces:
        if each.kind % KINDS == BUILT and each.body:
            built([bool(byte & 1) for byte in each.body])


def hashed(data: bytes) -> Hash:
    return Hash(sha256(data).digest())


def read(total: int, hashes: list[Hash], flags: bytes) -> None:
    """Read any tree."""
    expected = walked(total, hashes, flags)
    try:
        root, matches = partial_merkle.proven(total, hashes, flags)
    except InvalidProof:
        assert expected is None, "a tree is refused that is one"
        return
    assert expected == (root, matches), "the root or what is proven is not that of the tree"
    message = MerkleBlock(BlockHeader(merkle_root=root), total, hashes, flags)
    again, _ = MerkleBlock.from_payload(message.to_payload())
    assert again.matched() == matches, "the message proves something else"
    for position in range(min(len(hashes), 8)):
        changed = [hashed(b"another") if at == position else each for at, each in enumerate(hashes)]
        if changed != hashes:
            other = walked(total, changed, flags)
            assert other is None or other[0] != root, "the root does not commit to a hash"


def walked(total: int, hashes: list[Hash], flags: bytes) -> tuple[Hash, list[Hash]] | None:
    """The root and what is proven, by a walk over the nodes, then up from the lowest; None for no tree."""
    bits = [byte >> at & 1 for byte in flags for at in range(8)]
    if not 0 < total <= 16_666 or len(hashes) > total or len(bits) < len(hashes):
        return None
    widths = [total]
    while widths[-1] > 1:
        widths.append((widths[-1] + 1) // 2)
    stack, nodes, leaves = [(len(widths) - 1, 0)], [], 0
    known: dict[tuple[int, int], bytes] = {}
    matches = []
    while stack:
        height, position = node = stack.pop()
        if len(nodes) == len(bits):
            return None
        above = bits[len(nodes)]
        nodes.append(node)
        if height and above:
            stack += [(height - 1, at) for at in (2 * position + 1, 2 * position) if at < widths[height - 1]]
            continue
        if leaves == len(hashes):
            return None
        known[node] = hashes[leaves]
        if above:
            matches.append(hashes[leaves])
        leaves += 1
    if leaves < len(hashes) or len(bits) - len(nodes) >= 8:
        return None
    for height, position in reversed(nodes):
        if (height, position) not in known:
            left, right = (known.get((height - 1, at)) for at in (2 * position, 2 * position + 1))
            assert left is not None
            if left == right:
                return None
            joined = left + (left if right is None else right)
            known[height, position] = sha256(sha256(joined).digest()).digest()
    return Hash(known[len(widths) - 1, 0]), matches


def built(matched: list[bool]) -> None:
    """Build a tree over as many transactions, and read it."""
    txids = [hashed(b"%d" % number) for number in range(len(matched))]
    hashes, flags = partial_merkle.partial_tree(txids, matched)
    root, found = partial_merkle.proven(len(txids), hashes, flags)
    assert root == merkle_root(txids)[0], "a tree is built of another root"
    assert found == [txid for txid, wanted in zip(txids, matched, strict=True) if wanted], "it proves something else"
    assert walked(len(txids), hashes, flags) == (root, found)


if __name__ == "__main__":
    launch(__file__)
