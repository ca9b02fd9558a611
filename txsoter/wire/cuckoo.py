"""Cuckoo cycles, the proof of work of soter: 20 edges of a graph of 2^24 edges that make one cycle.

A block's hash is the key from which the graph grows; each of its nonces is an edge. An edge joins a node on one side of
the graph to a node on the other, both found by the edge's number and SipHash-2-4 of a single word, without the length
that SipHash pads data with: so no library has it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from txsoter.errors import FieldError, InvalidProof

if TYPE_CHECKING:
    # an integer of 64 bits to mypyc, and a plain one to Python
    from mypy_extensions import i64

__all__ = ["CYCLE_LENGTH", "check_cycle"]

CYCLE_LENGTH: Final = 20
"""Edges in a proof."""

MAX_NONCE: Final = 1 << 24
"""The highest nonce taken, one more than the graph has edges: the node takes it, too."""

_NODE_MASK: Final = (1 << 24) - 1

_HASHES = 2 * CYCLE_LENGTH
_LANE_BYTES = 16
_ONES = sum(1 << 8 * _LANE_BYTES * lane for lane in range(_HASHES))
_WORDS = _ONES * ((1 << 64) - 1)
_FINAL = _ONES * 0xFF
_LANES = struct.Struct("<" + "Q8x" * _HASHES)
_KEY = struct.Struct("<QQ")


def check_cycle(key: object, nonces: object) -> None:
    """Check that ``nonces`` are the edges of one cycle of 20.

    :param key: 16 bytes, the first of a block's hash in wire order.
    :param nonces: a sequence of whole numbers.
    :raises InvalidProof: for nonces that are not 20, do not ascend, exceed 2^24, or are no such cycle.
    :raises FieldError: for a key or nonces of another type.
    """
    if not isinstance(key, bytes) or len(key) != _KEY.size:
        raise FieldError("key", key, "16 bytes")
    if not isinstance(nonces, Sequence):
        raise FieldError("nonces", nonces, "a sequence of whole numbers")
    if len(nonces) != CYCLE_LENGTH:
        raise InvalidProof("20 nonces", f"there are {len(nonces)}")
    given = list(nonces)
    lowest = 0
    for position, edge in enumerate(given):
        if not isinstance(edge, int):
            raise FieldError(f"nonces[{position}]", edge, "a whole number")
        if edge < lowest:
            raise InvalidProof("nonces ascend", f"nonce {position} is {edge:d}, must be {lowest} or more")
        if edge > MAX_NONCE:
            raise InvalidProof("nonces within the graph", f"nonce {position} is {edge:d}, at most {MAX_NONCE}")
        lowest = edge + 1
    edges: list[int] = given
    key_low, key_high = _KEY.unpack(key)
    left, right = _nodes(edges, key_low, key_high)
    _check_nodes(left, right)


def _check_nodes(left_nodes: list[int], right_nodes: list[int]) -> None:
    """Check that edges with these nodes on either side are one cycle."""
    left, right = _neighbours(left_nodes), _neighbours(right_nodes)
    edge, length = right[left[0]], 2
    while edge and length < CYCLE_LENGTH:
        edge = right[left[edge]]
        length += 2
    if length != CYCLE_LENGTH:
        raise InvalidProof("one cycle", f"the cycle of the first nonce has {length} edges, not {CYCLE_LENGTH}")


def _neighbours(nodes: list[int]) -> list[int]:
    """The other edge at the node of each edge, both as positions.

    :raises InvalidProof: for a node that does not have exactly two edges.
    """
    first: dict[int, int] = {}
    others = [-1] * len(nodes)
    for edge, node in enumerate(nodes):
        other = first.setdefault(node, edge)
        if other == edge:
            continue
        if others[other] >= 0:
            raise InvalidProof("one cycle", f"more than two of its edges meet at node {node}")
        others[edge], others[other] = other, edge
    if -1 in others:
        raise InvalidProof("one cycle", f"the edge of nonce {others.index(-1)} is a dead end")
    return others


def _nodes_at_once(edges: list[int], key_low: int, key_high: int) -> tuple[list[int], list[int]]:
    """Return the nodes of 20 edges on either side: the low bits of SipHash-2-4, without a length.

    All are computed at once, each in a lane of 128 bits of one integer, which takes a ninth of the time of one after
    the other. The upper half of a lane takes what an addition carries or a rotation shifts out.
    """
    words = [2 * edge + side for side in (0, 1) for edge in edges]
    word = int.from_bytes(_LANES.pack(*words), "little")
    v0 = (key_low ^ 0x736F6D6570736575) * _ONES
    v1 = (key_high ^ 0x646F72616E646F6D) * _ONES
    v2 = (key_low ^ 0x6C7967656E657261) * _ONES
    v3 = (key_high ^ 0x7465646279746573) * _ONES ^ word
    for turn in range(6):
        if turn == 2:
            v0 ^= word
            v2 ^= _FINAL
        v0 = (v0 + v1) & _WORDS
        v1 = (v1 << 13 | v1 >> 51) & _WORDS ^ v0
        v0 = (v0 << 32 | v0 >> 32) & _WORDS
        v2 = (v2 + v3) & _WORDS
        v3 = (v3 << 16 | v3 >> 48) & _WORDS ^ v2
        v0 = (v0 + v3) & _WORDS
        v3 = (v3 << 21 | v3 >> 43) & _WORDS ^ v0
        v2 = (v2 + v1) & _WORDS
        v1 = (v1 << 17 | v1 >> 47) & _WORDS ^ v2
        v2 = (v2 << 32 | v2 >> 32) & _WORDS
    ends = _LANES.unpack((v0 ^ v1 ^ v2 ^ v3).to_bytes(_LANES.size, "little"))
    nodes = [end & _NODE_MASK for end in ends]
    return nodes[:CYCLE_LENGTH], nodes[CYCLE_LENGTH:]


def _nodes_in_turn(edges: list[int], key_low: int, key_high: int) -> tuple[list[int], list[int]]:
    """Return what :func:`_nodes_at_once` does, one after the other: a tenth of the time where it is compiled.

    Numbers of 64 bits are kept as two of 32, whose sums fit 64: nothing is lost that Python would keep.
    """
    low0, high0 = _halves(key_low ^ 0x736F6D6570736575)
    low1, high1 = _halves(key_high ^ 0x646F72616E646F6D)
    low2, high2 = _halves(key_low ^ 0x6C7967656E657261)
    low3, high3 = _halves(key_high ^ 0x7465646279746573)
    left = [_node(2 * edge, low0, high0, low1, high1, low2, high2, low3, high3) for edge in edges]
    right = [_node(2 * edge + 1, low0, high0, low1, high1, low2, high2, low3, high3) for edge in edges]
    return left, right


def _halves(number: int) -> tuple[int, int]:
    return number & 0xFFFFFFFF, number >> 32


def _node(word: i64, a: i64, ah: i64, b: i64, bh: i64, c: i64, ch: i64, d: i64, dh: i64) -> int:
    """Return the node of a word; the state's four numbers are ``a`` to ``d``, ``h`` their upper halves."""
    d ^= word
    for turn in range(6):
        if turn == 2:
            a ^= word
            c ^= 0xFF
        a += b
        ah = (ah + bh + (a >> 32)) & 0xFFFFFFFF
        a &= 0xFFFFFFFF
        b, bh = ((b << 13 | bh >> 19) & 0xFFFFFFFF) ^ a, ((bh << 13 | b >> 19) & 0xFFFFFFFF) ^ ah
        c += d
        ch = (ch + dh + (c >> 32)) & 0xFFFFFFFF
        c &= 0xFFFFFFFF
        d, dh = ((d << 16 | dh >> 16) & 0xFFFFFFFF) ^ c, ((dh << 16 | d >> 16) & 0xFFFFFFFF) ^ ch
        # a rotation by 32 bits exchanges the halves
        a, ah = ah + d, a
        ah = (ah + dh + (a >> 32)) & 0xFFFFFFFF
        a &= 0xFFFFFFFF
        d, dh = ((d << 21 | dh >> 11) & 0xFFFFFFFF) ^ a, ((dh << 21 | d >> 11) & 0xFFFFFFFF) ^ ah
        c += b
        ch = (ch + bh + (c >> 32)) & 0xFFFFFFFF
        c &= 0xFFFFFFFF
        b, bh = ((b << 17 | bh >> 15) & 0xFFFFFFFF) ^ c, ((bh << 17 | b >> 15) & 0xFFFFFFFF) ^ ch
        c, ch = ch, c
    return (a ^ b ^ c ^ d) & _NODE_MASK


_nodes = _nodes_in_turn if __file__.endswith((".so", ".pyd")) else _nodes_at_once
