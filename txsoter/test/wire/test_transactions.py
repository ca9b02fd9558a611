"""Tests of :mod:`txsoter.wire.transactions`."""

from __future__ import annotations

import struct
from unittest import TestCase

from txsoter.errors import FieldError, LocalError, MalformedMessage
from txsoter.test.wire import BASE, HUGE, NEWEST, WITNESS, WireTestCase, digest, varbytes, varint, wrong
from txsoter.wire import Hash, Tx, TxIn, TxOut
from txsoter.wire.transactions import TransactionView, write_transactions
from txsoter.wire.txcodec import Marks, scan_transactions

H = bytes(range(32))
MARKER = b"\0\1"


def input_bytes(script: bytes = b"sig", sequence: int = 0xFFFFFFFF) -> bytes:
    return H + struct.pack("<I", 7) + varbytes(script) + struct.pack("<I", sequence)


def output_bytes(script: bytes = b"out", value: int = 5) -> bytes:
    return struct.pack("<q", value) + varbytes(script)


def tx_bytes(inputs: list[bytes], outputs: list[bytes], witnesses: list[list[bytes]] | None = None) -> bytes:
    """A transaction of version 2 and lock time 99; marked if ``witnesses`` are given."""
    parts = [b"\2\0\0\0", b"" if witnesses is None else MARKER]
    parts += [varint(len(inputs)), *inputs, varint(len(outputs)), *outputs]
    for items in witnesses or ():
        parts += [varint(len(items)), *map(varbytes, items)]
    return b"".join([*parts, b"\x63\0\0\0"])


IN = TxIn(Hash(H), 7, b"sig")
OUT = TxOut(5, b"out")
PLAIN = tx_bytes([input_bytes()], [output_bytes()])
SIGNED = tx_bytes([input_bytes(), input_bytes()], [output_bytes()], [[b"a", b""], []])
SIGNED_BASE = tx_bytes([input_bytes(), input_bytes()], [output_bytes()])
SIGNED_TX = Tx(2, (IN._replace(witness=(b"a", b"")), IN), (OUT,), 99)


class BaseTests(WireTestCase):
    """The base encoding."""

    def test_layout(self) -> None:
        """i32 version; inputs (hash, u32 index, script, u32 sequence); outputs (i64 value, script); u32 lock time."""
        self.assert_wire(Tx(2, (IN,), (OUT,), 99), PLAIN)

    def test_any_value_survives(self) -> None:
        for version, index, sequence, value, lock_time in (
            (-1, 0xFFFFFFFF, 0, -1, 0xFFFFFFFF),
            (-(1 << 31), 0, 0xFFFFFFFF, -(1 << 63), 0),
            ((1 << 31) - 1, 1, 1, (1 << 63) - 1, 1),
        ):
            payload = struct.pack("<iB32sIBIBqBI", version, 1, H, index, 0, sequence, 1, value, 0, lock_time)
            message = Tx(version, (TxIn(Hash(H), index, b"", sequence),), (TxOut(value),), lock_time)
            self.assert_wire(message, payload)

    def test_no_inputs(self) -> None:
        """In base decoding a count of 0 just means no inputs."""
        self.assert_wire(Tx(2, (), (OUT,), 99), tx_bytes([], [output_bytes()]))
        self.assert_wire(Tx(), b"\1" + bytes(9))

    def test_counts_and_scripts_at_each_varint_width(self) -> None:
        for size in (0xFC, 0xFD, 0xFFFF, 0x10000):
            script = b"s" * size
            message = Tx(2, (IN._replace(script=script),), (TxOut(5, script),), 99)
            self.assert_wire(message, tx_bytes([input_bytes(script)], [output_bytes(script)]))
        for count in (0xFC, 0xFD, 300):
            message = Tx(2, (IN,) * count, (OUT,) * count, 99)
            self.assert_wire(message, tx_bytes([input_bytes()] * count, [output_bytes()] * count))

    def test_cut_at_every_byte(self) -> None:
        for encoding in (BASE, WITNESS):
            for size in range(len(PLAIN)):
                self.assert_malformed(Tx, PLAIN[:size], encoding=encoding)

    def test_varints_must_be_shortest(self) -> None:
        start = b"\2\0\0\0"
        for payload in (
            start + b"\xfd\1\0" + input_bytes() + b"\0" + bytes(4),
            start + b"\1" + H + bytes(4) + b"\xfd\3\0sig" + bytes(4) + b"\0" + bytes(4),
            start + b"\0\xfd\1\0" + output_bytes() + bytes(4),
            start + b"\0\1" + bytes(8) + b"\xfd\3\0out" + bytes(4),
        ):
            self.assert_malformed(Tx, payload, "shortest form")

    def test_scripts_are_bounded_by_the_payload(self) -> None:
        for script in (HUGE, b"\xfe\xff\xff\xff\xff", b"\xfc"):
            self.assert_malformed(Tx, bytes(4) + b"\1" + bytes(36) + script + bytes(8))
            self.assert_malformed(Tx, bytes(5) + b"\1" + bytes(8) + script + bytes(8))

    def test_bounds_of_counts(self) -> None:
        """Inputs by 33,554,432 / 41 + 1, outputs by 33,554,432 / 9 + 1."""
        self.assert_malformed(Tx, bytes(4) + varint(818_401))
        self.assert_malformed(Tx, bytes(4) + varint(818_402), "too many inputs: 818402, at most 818401")
        self.assert_malformed(Tx, bytes(5) + varint(3_728_271))
        self.assert_malformed(Tx, bytes(5) + varint(3_728_272), "too many outputs: 3728272, at most 3728271")

    def test_bounds_of_counts_to_encode(self) -> None:
        self.assert_refused(Tx(inputs=(IN,) * 818_402), "Tx.inputs", "at most 818401 entries, not 818402")
        self.assert_refused(Tx(outputs=(OUT,) * 3_728_272), "Tx.outputs", "at most 3728271 entries, not 3728272")

    def test_largest(self) -> None:
        """4,000,000 bytes."""
        room = 4_000_000 - len(tx_bytes([], [output_bytes(b"")])) - 4
        payload = tx_bytes([], [output_bytes(b"x" * room)])
        self.assertEqual(len(payload), 4_000_000)
        self.assert_wire(Tx(2, (), (TxOut(5, b"x" * room),), 99), payload)
        self.assert_too_large(Tx(2, (), (TxOut(5, b"x" * (room + 1)),), 99), 4_000_001, 4_000_000)
        longer = tx_bytes([], [output_bytes(b"x" * (room + 1))])
        self.assert_malformed(Tx, longer, "announces 4000001 bytes, at most 4000000")

    def test_bytes_behind_it_are_left_alone(self) -> None:
        for encoding, raw in ((BASE, PLAIN), (WITNESS, PLAIN), (WITNESS, SIGNED)):
            message, used = Tx.from_payload(raw + b"more", NEWEST, encoding)
            self.assertEqual(used, len(raw))
            self.assertEqual(self.encode(message, encoding=encoding), raw)


class WitnessTests(WireTestCase):
    """The witness encoding (BIP144)."""

    def test_layout(self) -> None:
        """An input count of 0 is the marker, then 1, the real count, and after the outputs an item list per input."""
        self.assert_wire(SIGNED_TX, SIGNED, encoding=WITNESS)

    def test_marker_only_if_some_input_has_a_witness(self) -> None:
        self.assert_wire(Tx(2, (IN,), (OUT,), 99), PLAIN, encoding=WITNESS)
        empty_item = IN._replace(witness=(b"",))
        payload = tx_bytes([input_bytes()], [output_bytes()], [[b""]])
        self.assert_wire(Tx(2, (empty_item,), (OUT,), 99), payload, encoding=WITNESS)

    def test_base_leaves_witnesses_out(self) -> None:
        self.assertEqual(self.encode(SIGNED_TX), SIGNED_BASE)
        self.assertEqual(self.encode(self.decode(Tx, SIGNED, encoding=WITNESS)), SIGNED_BASE)

    def test_marked_without_any_witness(self) -> None:
        """Accepted, and written without the marker."""
        marked = tx_bytes([input_bytes()], [output_bytes()], [[]])
        message = self.decode(Tx, marked, encoding=WITNESS)
        self.assertEqual(message, Tx(2, (IN,), (OUT,), 99))
        self.assertFalse(message.has_witness)
        for encoding in (BASE, WITNESS):
            self.assertEqual(self.encode(message, encoding=encoding), PLAIN)

    def test_no_inputs_cannot_be_written(self) -> None:
        """Without the marker, the count of 0 would be read as one: as other outputs, or no transaction at all."""
        base = Tx(2, (), (OUT,), 99).to_payload()
        decoded, marked = self.decode(Tx, base), self.decode(Tx, tx_bytes([], [output_bytes()], []), encoding=WITNESS)
        parsed = self.decode(Tx, base)
        self.assertEqual(parsed.inputs, ())
        for message in (Tx(2, (), (OUT,), 99), decoded, parsed, marked):
            words = "at least one in the witness encoding; Encoding.BASE can write none"
            error = self.assert_refused(message, "Tx.inputs", words, encoding=WITNESS)
            self.assertEqual(error.value, ())
            self.assertEqual(self.encode(message), base)
            # there are ids all the same: without a witness they are one
            self.assertEqual((message.txid, message.wtxid), (digest(base), digest(base)))

    def test_what_no_inputs_would_be_read_as(self) -> None:
        """Another transaction, if it happens to be one: of 459008 nanoSoter become 562949953421319."""
        bare = Tx(1, (), (TxOut(459008, b"\0\0"),))
        misread = self.decode(Tx, bare.to_payload(), encoding=WITNESS)
        self.assertEqual([each.value for each in misread.outputs], [562949953421319])
        self.assert_refused(bare, "Tx.inputs", encoding=WITNESS)

    def test_flag_must_be_1(self) -> None:
        for flag in (0, 2, 0xFF):
            payload = bytearray(SIGNED)
            payload[5] = flag
            self.assert_malformed(Tx, bytes(payload), f"witness flag is {flag}, not 1", encoding=WITNESS)

    def test_marker_means_no_inputs_in_base(self) -> None:
        """0, 1 is then no inputs and one output: another transaction, or none."""
        payload = b"\2\0\0\0" + MARKER + output_bytes() + bytes(4)
        self.assertEqual(self.decode(Tx, payload).outputs, (OUT,))
        self.assert_malformed(Tx, payload, encoding=WITNESS)

    def test_cut_at_every_byte(self) -> None:
        for size in range(len(SIGNED)):
            self.assert_malformed(Tx, SIGNED[:size], encoding=WITNESS)

    def test_item_of_11_000_bytes(self) -> None:
        item = b"i" * 11_000
        message = Tx(2, (IN._replace(witness=(item,)),), (OUT,), 99)
        self.assert_wire(message, tx_bytes([input_bytes()], [output_bytes()], [[item]]), encoding=WITNESS)

    def test_item_of_11_001_bytes(self) -> None:
        item = b"i" * 11_001
        payload = tx_bytes([input_bytes()], [output_bytes()], [[item]])
        reason = "too many bytes in a witness item: 11001, at most 11000"
        self.assert_malformed(Tx, payload, reason, encoding=WITNESS)
        message = Tx(2, (IN, IN._replace(witness=(b"", item))), (OUT,), 99)
        self.assert_refused(message, "Tx.inputs[1].witness[1]", "at most 11000 bytes, not 11001", encoding=WITNESS)
        self.assertEqual(self.encode(message), SIGNED_BASE)

    def test_500_000_items(self) -> None:
        payload = tx_bytes([input_bytes()], [output_bytes()], [[b""] * 500_000])
        self.assertEqual(len(self.decode(Tx, payload, encoding=WITNESS).inputs[0].witness), 500_000)
        message = Tx(2, (IN._replace(witness=(b"",) * 500_000),), (OUT,), 99)
        self.assertEqual(self.encode(message, encoding=WITNESS), payload)

    def test_500_001_items(self) -> None:
        payload = tx_bytes([input_bytes()], [output_bytes()], [[b""] * 500_001])
        self.assert_malformed(Tx, payload, "too many witness items: 500001, at most 500000", encoding=WITNESS)
        message = Tx(2, (IN._replace(witness=(b"",) * 500_001),), (OUT,), 99)
        self.assert_refused(message, "Tx.inputs[0].witness", "at most 500000 entries", encoding=WITNESS)

    def test_decoded_base_has_no_witness(self) -> None:
        message = self.decode(Tx, PLAIN)
        self.assertFalse(message.has_witness)
        self.assertEqual(self.encode(message, encoding=WITNESS), PLAIN)


class IdTests(TestCase):
    """txid is double SHA-256 of the base encoding, wtxid that of the witness encoding."""

    def test_of_what_was_made_and_of_what_was_decoded(self) -> None:
        for message in (SIGNED_TX, Tx.from_payload(SIGNED, NEWEST, WITNESS)[0]):
            self.assertEqual((message.txid, message.wtxid), (digest(SIGNED_BASE), digest(SIGNED)))
            self.assertIs(type(message.txid), Hash)

    def test_without_witness_they_are_one(self) -> None:
        for encoding in (BASE, WITNESS):
            message, _ = Tx.from_payload(PLAIN, NEWEST, encoding)
            self.assertEqual((message.txid, message.wtxid), (digest(PLAIN), digest(PLAIN)))

    def test_of_what_cannot_be_encoded(self) -> None:
        with self.assertRaises(FieldError):
            _ = Tx(version=1 << 31).txid


class ValueTests(TestCase):
    """A transaction is immutable."""

    def setUp(self) -> None:
        self.made = SIGNED_TX
        self.decoded, _ = Tx.from_payload(SIGNED, NEWEST, WITNESS)

    def test_immutable(self) -> None:
        for message in (self.made, self.decoded):
            for name in ("version", "inputs", "outputs", "lock_time", "txid", "anything"):
                with self.assertRaises(AttributeError):
                    setattr(message, name, 1)

    def test_fields(self) -> None:
        for message in (self.made, self.decoded):
            self.assertEqual((message.version, message.lock_time, message.has_witness), (2, 99, True))
            self.assertEqual([each.witness for each in message.inputs], [(b"a", b""), ()])
            self.assertEqual(message.inputs[1], (H, 7, b"sig", 0xFFFFFFFF, ()))
            self.assertEqual(message.outputs, ((5, b"out"),))

    def test_has_witness(self) -> None:
        self.assertFalse(Tx(2, (IN,), (OUT,)).has_witness)
        self.assertFalse(Tx.from_payload(SIGNED_BASE)[0].has_witness)

    def test_equality_and_hash(self) -> None:
        again, _ = Tx.from_payload(SIGNED, NEWEST, WITNESS)
        for other in (again, self.made, Tx(2, list(self.made.inputs), [OUT], 99)):
            self.assertEqual(self.decoded, other)
            self.assertEqual(hash(self.decoded), hash(other))

    def test_witnesses_count(self) -> None:
        base, _ = Tx.from_payload(SIGNED_BASE)
        self.assertNotEqual(self.decoded, base)
        self.assertEqual(self.decoded.txid, base.txid)

    def test_same_bytes_in_another_encoding_are_another_transaction(self) -> None:
        """What is a marker to one is no inputs to the other."""
        raw = b"\2\0\0\0" + MARKER + b"\0\1" + bytes(6) + b"\2" + bytes(6)
        one, two = Tx.from_payload(raw, NEWEST, BASE), Tx.from_payload(raw, NEWEST, WITNESS)
        self.assertEqual((one[1], two[1]), (len(raw), len(raw)))
        self.assertEqual((one[0].outputs, two[0].outputs), ((TxOut(0x0100, bytes(2)),), (TxOut(2 << 48),)))
        self.assertNotEqual(one[0], two[0])

    def test_unequal_to_anything_else(self) -> None:
        self.assertNotEqual(self.made, SIGNED)
        self.assertNotEqual(self.made, Tx(2, self.made.inputs, self.made.outputs, 98))

    def test_repr(self) -> None:
        self.assertEqual(repr(self.decoded), f"<Tx {self.decoded.txid} of {len(SIGNED)} bytes>")
        self.assertEqual(repr(Tx(outputs=[OUT])), f"Tx(version=1, inputs=(), outputs=({OUT!r},), lock_time=0)")


class ErrorTests(WireTestCase):
    """A value that does not fit is named with its path."""

    def test_names_the_field(self) -> None:
        self.assert_refused(Tx(version=1 << 31), "Tx.version", "i32")
        self.assert_refused(Tx(lock_time=-1), "Tx.lock_time", "u32")
        self.assert_refused(Tx(inputs=(IN, IN._replace(previous_hash=wrong(b"")))), "Tx.inputs[1].previous_hash", "32")
        self.assert_refused(Tx(inputs=(IN._replace(previous_index=-1),)), "Tx.inputs[0].previous_index", "u32")
        self.assert_refused(Tx(inputs=(IN._replace(script=wrong("s")),)), "Tx.inputs[0].script", "bytes")
        self.assert_refused(Tx(inputs=(IN._replace(sequence=1 << 32),)), "Tx.inputs[0].sequence", "u32")
        self.assert_refused(Tx(outputs=(OUT, TxOut(1 << 63))), "Tx.outputs[1].value", "i64")
        self.assert_refused(Tx(outputs=(TxOut(0, wrong(None)),)), "Tx.outputs[0].script", "bytes")

    def test_witness_that_is_no_list(self) -> None:
        bad = Tx(inputs=(IN._replace(witness=wrong(7)),))
        self.assert_refused(bad, "Tx.inputs[0].witness", "of the field's type", encoding=WITNESS)

    def test_rows_of_another_kind(self) -> None:
        """A tuple that is too short must not become a transaction that is."""
        for encoding in (BASE, WITNESS):
            self.assert_refused(Tx(inputs=wrong([(H, 7)])), "Tx.inputs[0]", "a TxIn", encoding=encoding)
            self.assert_refused(
                Tx(inputs=(IN,), outputs=wrong([OUT, (5,)])), "Tx.outputs[1]", "a TxOut", encoding=encoding
            )
            self.assert_refused(Tx(inputs=(IN,), outputs=wrong([5])), "Tx.outputs[0]", "a TxOut", encoding=encoding)


class ScanTests(TestCase):
    """Walking over transactions without making objects of them."""

    def test_ends(self) -> None:
        """The offset behind each, and whether any is marked."""
        ends = [2 + len(PLAIN), 2 + len(PLAIN + SIGNED)]
        self.assertEqual(scan_transactions(b"--" + PLAIN + SIGNED, 2, 2, WITNESS), (ends, Marks.TRUE))
        self.assertEqual(scan_transactions(b"--" + PLAIN + SIGNED, 2, 1, WITNESS), (ends[:1], Marks.NONE))
        self.assertEqual(scan_transactions(b"--", 2, 0, WITNESS), ([], Marks.NONE))
        bare = tx_bytes([], [output_bytes()])
        self.assertEqual(scan_transactions(PLAIN + bare + PLAIN, 0, 3, BASE)[1], Marks.INPUTLESS)
        self.assertEqual(scan_transactions(tx_bytes([], [], []), 0, 1, WITNESS)[1], Marks.HOLLOW)

    def test_cut_at_every_byte(self) -> None:
        """Malformed is found here, lazy or not."""
        for encoding, raw in ((BASE, PLAIN), (WITNESS, SIGNED)):
            for size in range(len(raw)):
                with self.assertRaises((MalformedMessage, IndexError, struct.error)):
                    scan_transactions(raw[:size], 0, 1, encoding)


class TransactionViewTests(TestCase):
    """The transactions of a decoded block."""

    def setUp(self) -> None:
        self.raw = SIGNED + PLAIN + tx_bytes([input_bytes(b"x")], [])
        self.view, self.end = TransactionView.read(b"--\3" + self.raw + b"-", 2, 3, WITNESS)
        self.expected = [SIGNED_TX, Tx(2, (IN,), (OUT,), 99), Tx(2, (IN._replace(script=b"x"),), (), 99)]

    def test_sequence(self) -> None:
        self.assertEqual((len(self.view), self.end), (3, 3 + len(self.raw)))
        self.assertEqual(list(self.view), self.expected)
        self.assertEqual([self.view[at] for at in (0, 1, 2, -1, -3)], [self.expected[at] for at in (0, 1, 2, -1, -3)])
        for at in (slice(1, None), slice(None, None, -1), slice(5, 9)):
            self.assertEqual(self.view[at], self.expected[at])
        for at_outside in (3, -4):
            with self.assertRaises(IndexError):
                self.view[at_outside]

    def test_equality(self) -> None:
        again, _ = TransactionView.read(b"\3" + self.raw, 0, 3, WITNESS)
        for other in (again, self.expected, tuple(self.expected)):
            self.assertEqual(self.view, other)
        for unequal in (self.expected[:2], self.expected[::-1], 3, "abc"):
            self.assertNotEqual(self.view, unequal)
        with self.assertRaises(TypeError):
            hash(self.view)

    def test_repr(self) -> None:
        self.assertEqual(repr(self.view), f"<3 transactions of {len(self.raw)} bytes>")

    def test_bytes(self) -> None:
        """As they came, but without the witnesses where the base encoding is asked for."""
        self.assertEqual(write_transactions(self.view, 3, WITNESS), b"\3" + self.raw)
        self.assertEqual(write_transactions(self.view, 3, BASE), b"\3" + SIGNED_BASE + self.raw[len(SIGNED) :])
        plain, _ = TransactionView.read(b"\1" + PLAIN, 0, 1, BASE)
        for encoding in (BASE, WITNESS):
            self.assertEqual(write_transactions(plain, 1, encoding), b"\1" + PLAIN)

    def test_one_without_inputs(self) -> None:
        """Made, decoded or marked: in the base encoding alone, and the error says which of them it is."""
        bare = tx_bytes([], [output_bytes()])
        decoded, _ = TransactionView.read(b"\2" + PLAIN + bare, 0, 2, BASE)
        marked, _ = TransactionView.read(b"\2" + PLAIN + tx_bytes([], [output_bytes()], []), 0, 2, WITNESS)
        made = [Tx(2, (IN,), (OUT,), 99), Tx(2, (), (OUT,), 99)]
        for transactions in (decoded, marked, made, list(decoded)):
            self.assertEqual(list(transactions), made)
            self.assertEqual(write_transactions(transactions, 2, BASE), b"\2" + PLAIN + bare)
            with self.assertRaises(FieldError) as caught:
                write_transactions(transactions, 2, WITNESS)
            self.assertEqual(caught.exception.field, "transactions[1].inputs")

    def test_untouched_ones_are_not_copied(self) -> None:
        """What was decoded and is sent on as it came is the payload itself."""
        payload = b"\2" + PLAIN * 2
        view, _ = TransactionView.read(payload, 0, 2, BASE)
        self.assertIs(write_transactions(view, 2, WITNESS), payload)
        self.assertEqual(view.behind(b"\3"), b"\3" + PLAIN * 2)
        payload = b"\2" + PLAIN + SIGNED
        view, _ = TransactionView.read(payload, 0, 2, WITNESS)
        self.assertIs(write_transactions(view, 2, WITNESS), payload)

    def test_empty(self) -> None:
        view, end = TransactionView.read(b"--\0", 2, 1, WITNESS)
        self.assertEqual((len(view), end, list(view), view.behind(b"")), (0, 3, [], b""))

    def test_too_many(self) -> None:
        with self.assertRaisesRegex(MalformedMessage, "too many transactions: 3, at most 2"):
            TransactionView.read(b"\3" + self.raw, 0, 2, WITNESS)

    def test_writing(self) -> None:
        for transactions in (self.view, self.expected):
            self.assertEqual(write_transactions(transactions, 3, WITNESS), b"\3" + self.raw)

    def test_writing_too_many(self) -> None:
        for transactions in (self.view, self.expected):
            with self.assertRaisesRegex(FieldError, "at most 2 transactions, not 3"):
                write_transactions(transactions, 2, WITNESS)

    def test_writing_what_cannot_be_encoded(self) -> None:
        for bad, field in ((Tx(outputs=(TxOut(1 << 63),)), "transactions[1].outputs[0].value"), (5, "transactions[1]")):
            with self.assertRaises(LocalError) as caught:
                write_transactions([Tx(), wrong(bad)], 3, BASE)
            self.assertEqual(wrong(caught.exception).field, field)
