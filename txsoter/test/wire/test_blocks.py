"""Tests of :mod:`txsoter.wire.blocks`: ``block``, its headers and sub-headers, ``headers``."""

from __future__ import annotations

import struct
from typing import Any
from unittest import TestCase
from unittest.mock import patch

from txsoter.errors import FieldError, InvalidBlock, InvalidProof, MalformedMessage
from txsoter.networks import MAINNET, SIMNET
from txsoter.test import vectors
from txsoter.test.wire import BASE, HUGE, MAGIC, WITNESS, WireTestCase, changed, digest, varbytes, varint, wrong
from txsoter.wire import (
    MAX_HEADERS,
    ZERO_HASH,
    Block,
    BlockHeader,
    Hash,
    Headers,
    Parent,
    Tx,
    TxIn,
    TxOut,
    blocks,
    merkle_root,
    parents_commitment,
    read_message,
)

PREV, ROOT = Hash(bytes(range(32))), Hash(bytes(range(32, 64)))
HEADER = BlockHeader(-3, PREV, ROOT, 0x495FAB29, 0x1D00FFFF, 0x7C2BAC1D)
HEADER_BYTES = struct.pack("<i32s32sIII", -3, PREV, ROOT, 0x495FAB29, 0x1D00FFFF, 0x7C2BAC1D)
TX = Tx(1, (TxIn(ZERO_HASH, 0, b"in", 0, (b"witness",)),), (TxOut(50, b"out"),), 0)
TX_BASE, TX_WITNESS = TX.to_payload(), TX.to_payload(encoding=WITNESS)
NO_SUBHEADERS = struct.pack("<iiii", 0, 0, 0, 0)


class BlockHeaderTests(TestCase):
    """i32 version, hash prev, hash merkle root, u32 time, u32 bits, u32 nonce: 80 bytes."""

    def test_hash(self) -> None:
        """The block's hash is double SHA-256 of exactly these 80 bytes."""
        self.assertEqual(len(HEADER_BYTES), 80)
        self.assertEqual(HEADER.hash, digest(HEADER_BYTES))
        self.assertEqual(Block(header=HEADER, nonces=(1,), parents=(Parent(PREV),)).hash, digest(HEADER_BYTES))

    def test_hash_of_what_cannot_be_encoded(self) -> None:
        with self.assertRaises(FieldError):
            _ = BlockHeader(prev=b"short").hash

    def test_fields(self) -> None:
        self.assertEqual((HEADER.version, HEADER.prev, HEADER.merkle_root), (-3, PREV, ROOT))
        self.assertEqual((HEADER.time, HEADER.bits, HEADER.nonce), (0x495FAB29, 0x1D00FFFF, 0x7C2BAC1D))
        self.assertEqual((type(HEADER.prev), type(HEADER.merkle_root)), (Hash, Hash))

    def test_repr(self) -> None:
        self.assertEqual(
            repr(BlockHeader()),
            f"BlockHeader(version=1, prev='{'00' * 32}', merkle_root='{'00' * 32}', time=0, bits=0x0, nonce=0)",
        )


class BlockTests(WireTestCase):
    """block header, parents sub-header, verification sub-header, count of tx."""

    def test_layout(self) -> None:
        """Sub-headers' versions and counts are i32, not varints; a parent is a hash and 32 bytes of data."""
        parents = (Parent(PREV, b"d" * 32), Parent(ROOT))
        message = Block(HEADER, 5, parents, -6, (1, 0xFFFFFFFF), (TX,))
        payload = HEADER_BYTES + struct.pack("<ii", 5, 2) + PREV + b"d" * 32 + ROOT + bytes(32)
        payload += struct.pack("<iiII", -6, 2, 1, 0xFFFFFFFF) + b"\1"
        self.assert_wire(message, payload + TX_WITNESS, encoding=WITNESS)
        self.assertEqual(self.encode(message), payload + TX_BASE)
        self.assertEqual(self.encode(self.decode(Block, payload + TX_WITNESS, encoding=WITNESS)), payload + TX_BASE)
        stripped = changed(message, transactions=(Tx.from_payload(TX_BASE)[0],))
        self.assert_wire(stripped, payload + TX_BASE)

    def test_empty(self) -> None:
        self.assert_wire(Block(), struct.pack("<i", 1) + bytes(76) + NO_SUBHEADERS + b"\0")

    def test_any_number_of_parents_and_nonces(self) -> None:
        """0..8 parents and 20 nonces are usual; more is legal."""
        for parents, nonces in ((0, 0), (1, 20), (8, 42), (9, 1), (300, 1000)):
            message = Block(HEADER, 0, (Parent(PREV),) * parents, 0, tuple(range(nonces)))
            payload = HEADER_BYTES + struct.pack("<ii", 0, parents) + (PREV + bytes(32)) * parents
            payload += struct.pack(f"<ii{nonces}I", 0, nonces, *range(nonces)) + b"\0"
            self.assert_wire(message, payload)

    def test_negative_counts(self) -> None:
        """Negative: malformed (soterd reads it as 0)."""
        for count in (-1, -(1 << 31)):
            raw = struct.pack("<i", count)
            reason = f"negative count in a sub-header: {count}"
            self.assert_malformed(Block, HEADER_BYTES + bytes(4) + raw + bytes(9), reason)
            self.assert_malformed(Block, HEADER_BYTES + bytes(12) + raw + bytes(9), reason)

    def test_counts_without_entries(self) -> None:
        """The payload's size is the bound."""
        for count in (1, 1 << 24, (1 << 31) - 1):
            raw = struct.pack("<i", count)
            self.assert_malformed(Block, HEADER_BYTES + bytes(4) + raw + bytes(63))
            self.assert_malformed(Block, HEADER_BYTES + bytes(12) + raw + bytes(3))

    def test_cut_at_every_byte(self) -> None:
        whole = self.encode(Block(HEADER, 0, (Parent(PREV),), 0, (1, 2), (TX, TX)), encoding=WITNESS)
        for size in range(len(whole)):
            self.assert_malformed(Block, whole[:size], encoding=WITNESS)

    def test_bytes_behind_the_message_are_ignored(self) -> None:
        whole = self.encode(Block(HEADER, 0, (Parent(PREV),), 0, (1, 2), (TX, TX)), encoding=WITNESS)
        self.assertEqual(self.encode(self.decode(Block, whole + b"more", encoding=WITNESS), encoding=WITNESS), whole)

    def test_400_001_transactions(self) -> None:
        """At most max / 10 + 1."""
        payload = HEADER_BYTES + NO_SUBHEADERS + varint(400_001) + bytes(10) * 400_001
        message, used = Block.from_payload(payload)
        self.assertEqual((len(message.transactions), used), (400_001, len(payload)))
        self.assert_too_large(message, len(payload), 4_000_000)

    def test_a_transaction_without_inputs_has_no_witness_encoding(self) -> None:
        """Its count would be read as the marker; whether the block was made, or decoded and not touched."""
        made = Block(HEADER, transactions=(TX, Tx(2, (), (TxOut(459008, b"\0\0"),))))
        for message in (made, self.decode(Block, self.encode(made))):
            error = self.assert_refused(message, "Block.transactions[1].inputs", "at least one", encoding=WITNESS)
            self.assertEqual(error.value, ())
            self.assertEqual(self.encode(message), self.encode(made))

    def test_400_002_transactions(self) -> None:
        start = HEADER_BYTES + NO_SUBHEADERS
        reason = "too many transactions: 400002, at most 400001"
        with self.assertRaisesRegex(MalformedMessage, reason):
            Block.from_payload(start + varint(400_002) + bytes(10) * 400_002)
        self.assert_malformed(Block, start + HUGE, "too many transactions: 18446744073709551615")
        self.assert_refused(Block(transactions=(Tx(),) * 400_002), "Block.transactions", "at most 400001")

    def test_largest(self) -> None:
        """4,000,000 bytes."""
        room = 4_000_000 - 80 - 16 - 1 - len(Tx(outputs=[TxOut(0)]).to_payload()) - 4
        start = HEADER_BYTES + NO_SUBHEADERS + b"\1" + bytes(5) + b"\1" + bytes(8)
        payload = start + varbytes(bytes(room)) + bytes(4)
        self.assertEqual(len(payload), 4_000_000)
        self.assert_wire(Block(HEADER, transactions=(Tx(0, (), [TxOut(0, bytes(room))]),)), payload)
        self.assert_malformed(Block, payload + b"\0", "announces 4000001 bytes, at most 4000000")
        larger = Block(HEADER, transactions=(Tx(0, (), [TxOut(0, bytes(room + 1))]),))
        self.assert_too_large(larger, 4_000_001, 4_000_000)

    def test_errors_name_the_field(self) -> None:
        bad_tx = Tx(inputs=TX.inputs, outputs=(TxOut(1 << 63),))
        for message, field, limit in (
            (Block(header=BlockHeader(time=-1)), "Block.header.time", "u32"),
            (Block(header=wrong(None)), "Block.header", "a row of version, prev"),
            (Block(parents_version=1 << 31), "Block.parents_version", "i32"),
            (Block(parents=(Parent(PREV), Parent(b"x"))), "Block.parents[1].hash", "32 bytes, not 1"),
            (Block(parents=(Parent(PREV, b"x"),)), "Block.parents[0].data", "32 bytes, not 1"),
            (Block(verification_version=1 << 31), "Block.verification_version", "i32"),
            (Block(nonces=(0, 1, -1)), "Block.nonces[2]", "u32"),
            (Block(nonces=wrong(None)), "Block.nonces", "of the field's type"),
            (Block(transactions=(TX, bad_tx)), "Block.transactions[1].outputs[0].value", "i64"),
            (Block(transactions=wrong([b"raw"])), "Block.transactions[0]", "a Tx"),
        ):
            for encoding in (BASE, WITNESS):
                self.assert_refused(message, field, limit, encoding=encoding)

    def test_parent(self) -> None:
        parent = Parent(PREV)
        self.assertEqual((parent.hash, parent.data, type(parent.hash)), (PREV, bytes(32), Hash))
        self.assertEqual(repr(parent), f"Parent(hash='{PREV[::-1].hex()}', data='{'00' * 32}')")


class CommitmentTests(TestCase):
    """prev: double SHA-256 of the parents' hashes, sorted by the hex people read, in wire order."""

    def test_sorted_as_people_read_them(self) -> None:
        low, high = bytes(31) + b"\1", b"\xff" * 31 + b"\0"
        self.assertLess(str(Hash(high)), str(Hash(low)))
        for parents in ((low, high), (high, low)):
            self.assertEqual(parents_commitment(parents), digest(high + low))

    def test_one_parent(self) -> None:
        self.assertEqual(parents_commitment(iter([PREV])), digest(PREV))

    def test_zero_on_a_genesis_block(self) -> None:
        self.assertEqual(parents_commitment([]), ZERO_HASH)


def dag_blocks() -> list[Block]:
    blocks = []
    for row in vectors.dag():
        block, _ = read_message(row["raw"], MAGIC, encoding=WITNESS)
        assert isinstance(block, Block)
        blocks.append(block)
    return blocks


class VerifyTests(TestCase):
    """The header commits to the transactions and to the parents, which can and should be checked."""

    def setUp(self) -> None:
        self.blocks = dag_blocks()
        self.merging = next(block for block in self.blocks if len(block.parents) > 1)

    def assert_invalid(self, block: Block, reason: str) -> None:
        with self.assertRaisesRegex(InvalidBlock, reason) as caught:
            block.verify()
        self.assertEqual(caught.exception.block_hash, block.hash)

    def test_mined_blocks_are_good(self) -> None:
        for block in self.blocks:
            block.verify()
        self.assertEqual(len(self.blocks), 53)

    def test_changed_merkle_root(self) -> None:
        header = self.merging.header
        other = BlockHeader(*header[:2], bytes(32), *header[3:])
        self.assert_invalid(changed(self.merging, header=other), "merkle root is 0{64}, its transactions' is ")

    def test_transactions_alone(self) -> None:
        """The parents are somebody else's to check then."""
        block = self.merging
        Block(block.header, transactions=block.transactions).verify_transactions()
        with self.assertRaisesRegex(InvalidBlock, "it has no transactions"):
            Block(block.header).verify_transactions()

    def test_changed_transaction(self) -> None:
        self.assert_invalid(changed(self.merging, transactions=(TX,)), f"its transactions' is {TX.txid}")

    def test_changed_parent(self) -> None:
        parents = (Parent(PREV), *self.merging.parents[1:])
        self.assert_invalid(changed(self.merging, parents=parents), "its parents' commitment is")

    def test_omitted_parents(self) -> None:
        for block in self.blocks:
            if block.parents:
                self.assert_invalid(changed(block, parents=block.parents[1:]), "its parents' commitment is")
        self.assert_invalid(changed(self.merging, parents=()), "commitment is 0{64}")

    def test_order_of_parents_does_not_matter(self) -> None:
        changed(self.merging, parents=list(self.merging.parents)[::-1]).verify()

    def test_nonces_are_not_covered(self) -> None:
        other = changed(self.merging, nonces=(1, 2, 3), verification_version=9, parents_version=9)
        other.verify()
        self.assertEqual(other.hash, self.merging.hash)

    def test_witnesses_are_not_covered(self) -> None:
        """The merkle root is over the transactions' ids, not their witness ids."""
        Block(BlockHeader(merkle_root=TX.txid), transactions=(TX,)).verify()
        self.assertNotEqual(TX.txid, TX.wtxid)

    def test_repeated_transactions(self) -> None:
        """CVE-2012-2459: another block with the same root and hash."""
        transactions = [Tx(lock_time=number) for number in range(3)]
        root, _ = merkle_root([each.txid for each in transactions])
        good = Block(BlockHeader(merkle_root=root), transactions=transactions)
        good.verify()
        repeated = changed(good, transactions=[*transactions, transactions[-1]])
        self.assertEqual(repeated.hash, good.hash)
        self.assert_invalid(repeated, "repeated transactions make its merkle tree ambiguous")

    def test_no_transactions(self) -> None:
        """Their merkle root is the zero hash, which a header may have."""
        self.assert_invalid(Block(), "it has no transactions")

    def test_a_transaction_of_64_bytes(self) -> None:
        """It could be two hashes, a node of the tree."""
        posing = Tx(1, (TxIn(PREV, 0, b"x" * 4),), (TxOut(0),))
        self.assertEqual(len(posing.to_payload()), 60 + 4)
        for transactions in ((posing,), (TX, posing), (posing, TX)):
            block = Block(
                BlockHeader(merkle_root=merkle_root([each.txid for each in transactions])[0]), transactions=transactions
            )
            self.assert_invalid(block, f"transaction {transactions.index(posing)} could be a node of the merkle tree")

    def test_two_hashes_posing_as_a_transaction(self) -> None:
        """The header of a block of two transactions, whose ids are bytes that parse as one."""
        posing = Tx(1, (TxIn(PREV, 0, b"x" * 4),), (TxOut(0),), 5)
        raw = posing.to_payload()
        root, _ = merkle_root([raw[:32], raw[32:]])
        self.assertEqual(root, posing.txid)
        self.assert_invalid(Block(BlockHeader(merkle_root=root), transactions=(posing,)), "64 bytes")

    def test_a_transaction_whose_base_encoding_has_64_bytes(self) -> None:
        """Whatever its witness adds."""
        posing = Tx(1, (TxIn(PREV, 0, b"x" * 4, 0, (b"witness",)),), (TxOut(0),))
        self.assertGreater(len(posing.to_payload(encoding=WITNESS)), 64)
        self.assert_invalid(Block(BlockHeader(merkle_root=posing.txid), transactions=(posing,)), "64 bytes")
        for script in (b"x" * 3, b"x" * 5):
            other = Tx(1, (TxIn(PREV, 0, script),), (TxOut(0),))
            Block(BlockHeader(merkle_root=other.txid), transactions=(other,)).verify()

    def test_a_coinbase_may_have_64_bytes(self) -> None:
        """Its first hash is zero, which no transaction's id is; anything that is not quite one is no coinbase."""
        for outpoint, good in (((ZERO_HASH, 0xFFFFFFFF), True), ((PREV, 0xFFFFFFFF), False), ((ZERO_HASH, 0), False)):
            coinbase = Tx(1, (TxIn(Hash(outpoint[0]), outpoint[1], b"x" * 4),), (TxOut(50),))
            self.assertIs(coinbase.is_coinbase, good)
            block = Block(BlockHeader(merkle_root=coinbase.txid), transactions=(coinbase,))
            if good:
                block.verify()
            else:
                self.assert_invalid(block, "64 bytes")
        self.assertFalse(Tx().is_coinbase)
        self.assertFalse(Tx(1, (TxIn(ZERO_HASH, 0xFFFFFFFF),) * 2).is_coinbase)


class CheckTests(TestCase):
    """All that a mined block must be in itself."""

    def setUp(self) -> None:
        self.blocks = [block for block in dag_blocks() if block.parents]
        self.block = self.blocks[-1]

    def assert_invalid(self, block: Block, rule: str, reason: str, **arguments: Any) -> None:
        with self.assertRaisesRegex(InvalidBlock, reason) as caught:
            block.check(**arguments)
        self.assertEqual((caught.exception.rule, caught.exception.block_hash), (rule, block.hash))
        self.assertIsInstance(caught.exception, InvalidProof)

    def test_mined_blocks_are_good(self) -> None:
        for block in self.blocks:
            block.check()
            block.check(now=block.header.time, median_time=block.header.time - 1)
        self.assertEqual(len(self.blocks), 53)

    def test_parents(self) -> None:
        self.assert_invalid(changed(self.block, parents=()), "parents", "it has no parents")
        self.assert_invalid(changed(self.block, parents=(Parent(PREV),)), "parents", "parents' commitment is")

    def test_a_genesis_block_does_not_pass(self) -> None:
        for network in (MAINNET, SIMNET):
            assert network.genesis_block is not None
            self.assert_invalid(network.genesis_block, "parents", "it has no parents")

    def test_a_block_that_does_not_verify(self) -> None:
        self.assert_invalid(changed(self.block, transactions=(TX,)), "merkle root", "merkle root is")
        self.assert_invalid(changed(self.block, transactions=()), "transactions", "no transactions")

    def test_proof_of_work(self) -> None:
        nonces = list(self.block.nonces)
        self.assert_invalid(changed(self.block, nonces=nonces[1:]), "20 nonces", "20 nonces: there are 19")
        self.assert_invalid(changed(self.block, nonces=nonces[::-1]), "nonces ascend", "nonces ascend: nonce 1 is")
        other = [*nonces[:-1], nonces[-1] + 1]
        self.assert_invalid(changed(self.block, nonces=other), "one cycle", "one cycle: ")

    def test_times(self) -> None:
        """At most two hours ahead, and above the median of the ancestors."""
        mined = self.block.header.time
        self.block.check(now=mined - 7200)
        self.assert_invalid(
            self.block, "time too new", f"its time is {mined}, at most {mined - 1} is taken", now=mined - 7201
        )
        self.assert_invalid(self.block, "time too old", "not above the median", median_time=mined)
        with patch.object(blocks, "wall_clock", lambda: mined - 7201):
            self.assert_invalid(self.block, "time too new", "is taken now")


class HeadersTests(WireTestCase):
    """count <= 2000 of (block header, varint 0)."""

    def test_layout(self) -> None:
        self.assert_wire(Headers(), b"\0")
        self.assert_wire(Headers((HEADER, BlockHeader())), b"\2" + HEADER_BYTES + b"\0\1" + bytes(80))

    def test_trailing_varint_must_be_0(self) -> None:
        for at in (81, 162):
            for byte in (1, 0xFD, 0xFF):
                payload = bytearray(b"\2" + (HEADER_BYTES + b"\0") * 2)
                payload[at] = byte
                self.assert_malformed(Headers, bytes(payload), "a byte that must be zero is not")

    def test_2000(self) -> None:
        """max 9 + 2000 * 81."""
        self.assertEqual((MAX_HEADERS, Headers.max_size()), (2000, 162_009))
        self.assert_wire(Headers((HEADER,) * 2000), varint(2000) + (HEADER_BYTES + b"\0") * 2000)

    def test_2001(self) -> None:
        payload = varint(2001) + (HEADER_BYTES + b"\0") * 2001
        with self.assertRaisesRegex(MalformedMessage, "too many headers: 2001, at most 2000"):
            Headers.from_payload(payload)
        self.assert_malformed(Headers, payload, "announces 162084 bytes, at most 162009")
        self.assert_refused(Headers((HEADER,) * 2001), "Headers.headers", "at most 2000 headers in a message, not 2001")

    def test_cut_short(self) -> None:
        self.assert_malformed(Headers, b"")
        self.assert_malformed(Headers, b"\1" + HEADER_BYTES)
        self.assert_malformed(Headers, HUGE, "too many headers")

    def test_decoded_headers(self) -> None:
        header = self.decode(Headers, b"\1" + HEADER_BYTES + b"\0").headers[0]
        self.assertEqual(header, HEADER)
        self.assertIs(type(header), BlockHeader)
        self.assertEqual(header.hash, digest(HEADER_BYTES))

    def test_errors_name_the_header(self) -> None:
        bad = BlockHeader(merkle_root=bytes(33))
        self.assert_refused(Headers((HEADER, bad)), "Headers.headers[1].merkle_root", "32 bytes, not 33")

    def test_a_blocks_own_header_is_no_view_of_it(self) -> None:
        """A header of ``headers`` is written into a block without the byte behind it."""
        header = self.decode(Headers, b"\1" + HEADER_BYTES + b"\0").headers[0]
        self.assertEqual(self.encode(Block(header))[:96], HEADER_BYTES + NO_SUBHEADERS)
