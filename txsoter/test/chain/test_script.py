"""Tests of :mod:`txsoter.chain.script`."""

from __future__ import annotations

from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from txsoter.chain.script import holds_public_keys, is_unspendable_data, operations, pushed_data
from txsoter.test.test_strategies import deterministic

KEY, LONG_KEY = b"\x21" + b"\2" * 33, b"\x41" + b"\4" * 65
ONE, TWO, THREE, CHECKSIG, CHECKMULTISIG, RETURN = b"\x51", b"\x52", b"\x53", b"\xac", b"\xae", b"\x6a"


def written(data: bytes, length_bytes: int) -> bytes:
    """A push whose length has that many bytes of its own; 0 for none."""
    if not length_bytes:
        return bytes([len(data)]) + data
    opcode = {1: 0x4C, 2: 0x4D, 4: 0x4E}[length_bytes]
    return bytes([opcode]) + len(data).to_bytes(length_bytes, "little") + data


class PushTests(TestCase):
    """The data in a script."""

    def test_each_kind_of_push(self) -> None:
        for length_bytes, sizes in ((0, (0, 1, 75)), (1, (0, 1, 255)), (2, (0, 256, 65535)), (4, (0, 1, 70_000))):
            for size in sizes:
                script = written(b"x" * size, length_bytes)
                self.assertEqual(pushed_data(CHECKSIG + script + ONE), [b"x" * size])

    def test_opcodes_push_nothing(self) -> None:
        self.assertEqual(pushed_data(bytes(range(0x4F, 0x100))), [])
        self.assertEqual(len(operations(bytes(range(0x4F, 0x100))) or ()), 0x100 - 0x4F)

    def test_a_push_beyond_the_end_spoils_the_script(self) -> None:
        for length_bytes in (0, 1, 2, 4):
            whole = written(b"ab", length_bytes)
            for size in range(1, len(whole)):
                self.assertIsNone(operations(KEY + whole[:size]))
                self.assertEqual(pushed_data(KEY + whole[:size]), [])
        self.assertIsNone(operations(b"\x4e\xff\xff\xff\xff"))

    @deterministic(200)
    @given(st.lists(st.tuples(st.binary(max_size=80), st.sampled_from((1, 2, 4)))))
    def test_whatever_is_pushed_is_found(self, pushes: list[tuple[bytes, int]]) -> None:
        script = b"".join(written(data, length_bytes) for data, length_bytes in pushes)
        self.assertEqual(pushed_data(script), [data for data, _ in pushes])

    @deterministic(300)
    @given(st.binary(max_size=60))
    def test_any_bytes(self, script: bytes) -> None:
        found = operations(script)
        if found is not None:
            self.assertLessEqual(sum(1 + len(data or b"") for _, data in found), len(script))
        holds_public_keys(script)
        is_unspendable_data(script)


class FormTests(TestCase):
    """Forms that filters treat in their own way."""

    def test_data_that_cannot_be_spent(self) -> None:
        for good in (b"", ONE, KEY, b"\x50\x60", written(b"x" * 80, 1), b"\0"):
            self.assertTrue(is_unspendable_data(RETURN + good), good.hex())
        for bad in (b"\x61", CHECKSIG, RETURN, KEY[:-1], ONE + CHECKSIG):
            self.assertFalse(is_unspendable_data(RETURN + bad), bad.hex())
        for other in (b"", ONE, ONE + RETURN, KEY):
            self.assertFalse(is_unspendable_data(other))

    def test_public_keys(self) -> None:
        for good in (
            KEY + CHECKSIG,
            LONG_KEY + CHECKSIG,
            ONE + KEY + ONE + CHECKMULTISIG,
            TWO + KEY + LONG_KEY + KEY + THREE + CHECKMULTISIG,
            # more signatures than keys, which the reference takes
            b"\x60" + KEY + ONE + CHECKMULTISIG,
            b"\0" + KEY + ONE + CHECKMULTISIG,
        ):
            self.assertTrue(holds_public_keys(good), good.hex())
        for bad in (
            b"",
            CHECKSIG,
            KEY,
            KEY[1:] + CHECKSIG,
            b"\x20" + bytes(32) + CHECKSIG,
            KEY + KEY + CHECKSIG,
            ONE + CHECKSIG,
            CHECKMULTISIG,
            ONE + ONE + CHECKMULTISIG,
            ONE + b"\0" + CHECKMULTISIG,
            ONE + KEY + TWO + CHECKMULTISIG,
            ONE + KEY + KEY + ONE + CHECKMULTISIG,
            ONE + b"\x01\x02" + ONE + CHECKMULTISIG,
            KEY + KEY + ONE + CHECKMULTISIG,
            ONE + KEY + b"\x01\x01" + CHECKMULTISIG,
            b"\x76\xa9\x14" + bytes(20) + b"\x88" + CHECKSIG,
            ONE + KEY + ONE + CHECKMULTISIG + ONE,
        ):
            self.assertFalse(holds_public_keys(bad), bad.hex())
