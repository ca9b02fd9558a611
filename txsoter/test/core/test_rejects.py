"""Rejects that an application sends."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from txsoter.core.rejects import lacks_hash, make_reject
from txsoter.errors import FieldError
from txsoter.wire import ZERO_HASH, Hash, Reject

HASH = Hash(bytes(range(32)))


class MakingTests(TestCase):
    def test_text_is_encoded_and_bytes_stay(self) -> None:
        self.assertEqual(make_reject("inv", 0x10, "né", None), Reject(b"inv", 0x10, "né".encode(), ZERO_HASH))
        self.assertEqual(make_reject(b"tx", 0x10, b"\xff", HASH), Reject(b"tx", 0x10, b"\xff", HASH))

    def test_what_is_no_text_is_refused(self) -> None:
        no_text: Any
        for no_text in (None, 5, "\ud800"):
            with self.assertRaisesRegex(FieldError, "^command"):
                make_reject(no_text, 0x10, "", None)
            with self.assertRaisesRegex(FieldError, "^reason"):
                make_reject("inv", 0x10, no_text, None)

    def test_only_blocks_and_transactions_lack_a_hash(self) -> None:
        lacking = {name for name in ("block", "tx", "inv") if lacks_hash(make_reject(name, 0x10, "", None))}
        self.assertEqual(lacking, {"block", "tx"})
        self.assertFalse(lacks_hash(make_reject("tx", 0x10, "", HASH)))
