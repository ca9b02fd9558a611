"""Tests of :mod:`txsoter.wire.cuckoo`; the reference's vectors are those of ``check_proof_of_work``."""

from __future__ import annotations

import struct
from random import Random
from unittest import TestCase

from txsoter.errors import FieldError, InvalidProof
from txsoter.test import vectors
from txsoter.test.wire import wrong
from txsoter.wire import cuckoo
from txsoter.wire.cuckoo import MAX_NONCE, check_cycle

KEY = bytes(16)
NODE = (1 << 24) - 1


def siphash(key: bytes, word: int) -> int:
    """SipHash-2-4 as cuckoo cycles have it: one word, no block with a length."""
    mask = (1 << 64) - 1
    low, high = struct.unpack("<QQ", key)
    v: list[int] = [
        low ^ 0x736F6D6570736575,
        high ^ 0x646F72616E646F6D,
        low ^ 0x6C7967656E657261,
        high ^ 0x7465646279746573,
    ]

    def rotated(value: int, bits: int) -> int:
        return (value << bits | value >> 64 - bits) & mask

    def half(a: int, b: int, left: int, right: int) -> None:
        v[a] = (v[a] + v[b]) & mask
        v[b] = rotated(v[b], left) ^ v[a]
        v[a] = rotated(v[a], right)

    def rounds(count: int) -> None:
        for _ in range(count):
            half(0, 1, 13, 32)
            half(2, 3, 16, 0)
            half(0, 3, 21, 0)
            half(2, 1, 17, 32)

    v[3] ^= word
    rounds(2)
    v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


class CycleTests(TestCase):
    """Twenty edges that make one cycle."""

    def assert_refused(self, rule: str, nonces: object, reason: str = ".") -> None:
        with self.assertRaisesRegex(InvalidProof, reason) as caught:
            check_cycle(KEY, wrong(nonces))
        self.assertEqual(caught.exception.rule, rule)

    def check_graph(self, left: list[int], right: list[int]) -> None:
        """Check twenty edges with these nodes."""
        cuckoo._check_nodes(left, right)

    def assert_no_cycle(self, left: list[int], right: list[int], reason: str) -> None:
        with self.assertRaisesRegex(InvalidProof, reason) as caught:
            self.check_graph(left, right)
        self.assertEqual(caught.exception.rule, "one cycle")

    def test_nodes_are_low_bits_of_hashes_of_one_word_each(self) -> None:
        """In both ways to compute them, of which compiled code takes one, and interpreted code the other."""
        rng = Random(1)
        for _ in range(20):
            key = rng.choice((rng.randbytes(16), b"\xff" * 16))
            edges = [rng.choice((0, 1, MAX_NONCE, rng.getrandbits(24))) for _ in range(20)]
            expected = [[siphash(key, 2 * edge + side) & NODE for edge in edges] for side in (0, 1)]
            for nodes in (cuckoo._nodes_at_once, cuckoo._nodes_in_turn):
                self.assertEqual([*nodes(edges, *struct.unpack("<QQ", key))], expected)

    def test_one_cycle_passes(self) -> None:
        pairs = [edge // 2 for edge in range(20)]
        self.check_graph(pairs, pairs[1:] + pairs[:1])

    def test_two_cycles(self) -> None:
        """Of 16 and 4 edges: all nodes have two edges, and the nodes' xor is zero on either side."""
        pairs = [edge // 2 for edge in range(20)]
        shifted = [*pairs[1:16], pairs[0], *pairs[17:], pairs[16]]
        self.assert_no_cycle(pairs, shifted, "has 16 edges, not 20")

    def test_two_edges_between_the_same_nodes(self) -> None:
        pairs = [edge // 2 for edge in range(20)]
        self.assert_no_cycle(pairs, pairs, "has 2 edges, not 20")

    def test_branches_and_dead_ends(self) -> None:
        pairs = [edge // 2 for edge in range(20)]
        shifted = pairs[1:] + pairs[:1]
        self.assert_no_cycle([*pairs[:-1], 77], shifted, "the edge of nonce 18 is a dead end")
        self.assert_no_cycle(pairs, [77, *shifted[1:]], "the edge of nonce 0 is a dead end")
        for count in (3, 4):
            self.assert_no_cycle([0] * count + pairs[count:], shifted, "more than two of its edges meet at node 0")

    def test_order_and_bounds(self) -> None:
        self.assert_refused("20 nonces", (), "there are 0")
        self.assert_refused("20 nonces", range(19), "there are 19")
        self.assert_refused("20 nonces", range(1 << 40), "there are 1099511627776")
        self.assert_refused("nonces ascend", [0] * 20, "nonce 1 is 0, must be 1 or more")
        self.assert_refused("nonces ascend", [-1, *range(19)], "nonce 0 is -1, must be 0 or more")
        self.assert_refused("nonces within the graph", [*range(19), NODE + 2], "nonce 19 is 16777217, at most 16777216")
        # 2^24 passes the bounds, and the graph is looked at
        self.assert_refused("one cycle", [*range(19), NODE + 1])

    def test_every_changed_bit_of_a_proof_is_seen(self) -> None:
        row = next(row for row in vectors.consensus("cuckoo") if row["ok"])
        key, nonces = bytes.fromhex(row["siphash_key"]), row["nonces"]
        check_cycle(key, nonces)
        for bit in range(128):
            other = (int.from_bytes(key, "little") ^ 1 << bit).to_bytes(16, "little")
            with self.assertRaises(InvalidProof):
                check_cycle(other, nonces)
        for position in range(20):
            for bit in range(24):
                other_nonces = [nonce ^ (1 << bit) * (at == position) for at, nonce in enumerate(nonces)]
                with self.assertRaises(InvalidProof):
                    check_cycle(key, other_nonces)

    def test_the_callers_mistakes(self) -> None:
        for key, nonces, field in (
            (bytes(15), range(20), "key"),
            ("x" * 16, range(20), "key"),
            (KEY, None, "nonces"),
            (KEY, [*range(19), "x"], "nonces[19]"),
            (KEY, [*range(19), 19.5], "nonces[19]"),
        ):
            with self.assertRaises(FieldError) as caught:
                check_cycle(wrong(key), wrong(nonces))
            self.assertEqual(caught.exception.field, field)
