"""Tests of :mod:`txsoter.chain.proof_of_work`."""

from __future__ import annotations

from collections import Counter

from txsoter.chain import check_proof_of_work, proof_difficulty, target_of
from txsoter.errors import InvalidProof
from txsoter.networks import SIMNET
from txsoter.test import vectors
from txsoter.test.chain import ChainTestCase, block_of
from txsoter.test.wire import wrong
from txsoter.wire import BlockHeader

RULES = {
    "length of nonce is not correct": "20 nonces",
    "nonces are not in order": "nonces ascend",
    "nonce is too big": "nonces within the graph",
    "U endpoinsts don't match": "one cycle",
}
"""Our rules by the reference's words."""


class ProofOfWorkTests(ChainTestCase):
    """A header and its nonces."""

    def test_vectors(self) -> None:
        """The reference's verdict on each; of nonces with two faults either may be named."""
        seen = Counter[str]()
        for row in vectors.consensus("cuckoo"):
            header, nonces = bytes.fromhex(row["header"]), row["nonces"]
            try:
                check_proof_of_work(header, nonces)
            except InvalidProof as error:
                self.assertFalse(row["ok"], row["mut"])
                seen[error.rule] += 1
                if row["mut"] != "first | 2^31":
                    self.assertEqual(error.rule, RULES[row["error"]], row["mut"])
            else:
                self.assertTrue(row["ok"], row["mut"])
                seen["good"] += 1
        self.assertEqual(set(seen), {"good", *RULES.values()})
        self.assertEqual(seen["good"], 37)

    def test_difficulties_of_the_vectors(self) -> None:
        for row in vectors.consensus("cuckoo"):
            self.assertEqual(proof_difficulty(row["nonces"]), int(row["proof_difficulty"]))

    def test_mined_blocks(self) -> None:
        """As objects: a header, and the view of a decoded block's nonces."""
        for row in vectors.dag():
            block = block_of(row["raw"][24:].hex())
            check_proof_of_work(block.header, block.nonces)
            self.assertGreater(proof_difficulty(block.nonces), 0)

    def test_the_callers_mistakes(self) -> None:
        nonces = range(20)
        self.assert_mistake("header", check_proof_of_work, bytes(79), nonces)
        self.assert_mistake("header", check_proof_of_work, wrong(None), nonces)
        self.assert_mistake("header", check_proof_of_work, wrong("x" * 80), nonces)
        self.assert_mistake("version", check_proof_of_work, BlockHeader(version=1 << 31), nonces)
        self.assert_mistake("nonces", check_proof_of_work, BlockHeader(), wrong(iter(nonces)))
        for bad in ([-1], [1 << 32], ["1"], None, 5):
            self.assert_mistake("nonces", proof_difficulty, bad)


class TargetTests(ChainTestCase):
    """Bitcoin's compact form."""

    def test_known_targets(self) -> None:
        genesis = SIMNET.genesis_block
        assert genesis is not None
        for bits, target in (
            (0x01010000, 1),
            (0x1D00FFFF, 0xFFFF << 208),
            (genesis.header.bits, 0x7FFFFF << 232),
            (0x00FFFFFF & 0x007FFFFF, 0),
            (0x02123456, 0x1234),
            (0x03123456, 0x123456),
            (0x04123456, 0x12345600),
            (0, 0),
            (0xFF000000, 0),
            # the sign of a zero
            (0x01800000, 0),
            (0x80800000, 0),
            (0x20FFFFFF & 0xFF7FFFFF, 0x7FFFFF << 232),
            (0x21007FFF, 0x7FFF << 240),
            (0x2200007F, 0x7F << 248),
        ):
            self.assertEqual(target_of(bits), target, hex(bits))

    def test_numbers_that_are_no_targets(self) -> None:
        for bits in (0x04923456, 0x01FE0000, 0x2180FFFF):
            self.assert_invalid("target", "negative", target_of, bits)
        for bits in (0x22000100, 0x21010000, 0x23000001, 0xFF123456):
            self.assert_invalid("target", "more than 256 bits", target_of, bits)

    def test_the_callers_mistakes(self) -> None:
        for bits in (-1, 1 << 32, "x", None, 1.5):
            self.assert_mistake("bits", target_of, bits)
