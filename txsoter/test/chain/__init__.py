"""Tests of ``txsoter.chain``, and what they share."""

from __future__ import annotations

from unittest import TestCase

from txsoter.errors import FieldError, InvalidProof, RemoteError
from txsoter.wire import Block, Encoding, Tx

__all__ = ["ChainTestCase", "block_of", "tx_of"]


def block_of(text: str) -> Block:
    """The block of a vector."""
    block, _ = Block.from_payload(bytes.fromhex(text), encoding=Encoding.WITNESS)
    return block


def tx_of(text: str) -> Tx:
    """The transaction of a vector."""
    tx, _ = Tx.from_payload(bytes.fromhex(text), encoding=Encoding.WITNESS)
    return tx


class ChainTestCase(TestCase):
    """Assertions on what is refused."""

    def assert_invalid(self, rule: str, reason: str, call: object, *arguments: object) -> None:
        """``call`` refuses what a remote sent, naming the rule."""
        assert callable(call)
        with self.assertRaisesRegex(InvalidProof, reason) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.rule, rule)
        self.assertIsInstance(caught.exception, RemoteError)

    def assert_mistake(self, field: str, call: object, *arguments: object) -> None:
        """``call`` refuses what the caller gave it, naming the argument."""
        assert callable(call)
        with self.assertRaises(FieldError) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.field, field)
