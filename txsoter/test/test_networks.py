"""Tests of :mod:`txsoter.networks`."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Any
from unittest import TestCase

from txsoter.errors import FieldError
from txsoter.networks import MAINNET, REGTEST, SIMNET, TESTNET1, Network, network_named
from txsoter.wire import ZERO_HASH, Encoding, Hash, read_message, write_message

NETWORKS = (MAINNET, TESTNET1, REGTEST, SIMNET)

# name, magic, first bytes on the wire, port, seeds, genesis hash, and the genesis header's time, bits, nonce
TABLE = (
    (
        "mainnet", 0xD9B4BEF9, "f9beb4d9", 8333, (),
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f", (0x495FAB29, 0x1D00FFFF, 0x7C2BAC1D),
    ),
    (
        "testnet1", 0x0709110B, "0b110907", 5070, ("134.209.59.43", "192.241.147.9"),
        "000000253a4f7c9e9472ae3e93d9ed8f5aa5008d754a409c862c404cb381de8b", (1296688602, 0x1D7FFFFF, 0x01140C89),
    ),
    (
        "regtest", 0xDAB5BFFA, "fabfb5da", 18444, (),
        "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206", (1296688602, 0x207FFFFF, 2),
    ),
    (
        "simnet", 0x12141C16, "161c1412", 18555, (),
        "5f2694c9f5d5808adf308c62995154d29596c36c554b15d3d95cdd6bebaf6cb2", (1543863094, 0x207FFFFF, 2),
    ),
)  # fmt: skip

COINBASE = bytes.fromhex(
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104"
    "455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f"
    "6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130"
    "b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5f"
    "ac00000000"
)
COINBASE_ID = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"


def digest(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


class SoterNetworksTests(TestCase):
    """The four networks of soter."""

    def test_table(self) -> None:
        """Names, magics, ports, seeds and genesis hashes are those of soterd."""
        for network, (name, magic, _, port, seeds, genesis, _) in zip(NETWORKS, TABLE, strict=True):
            self.assertEqual(
                (network.name, network.magic, network.default_port, network.seeds, str(network.genesis_hash)),
                (name, magic, port, seeds, genesis),
            )

    def test_magic_on_the_wire(self) -> None:
        """A frame begins with the magic's bytes, lowest first."""
        for network, row in zip(NETWORKS, TABLE, strict=True):
            assert network.genesis_block is not None
            raw = write_message(network.genesis_block, network.magic)
            self.assertEqual(raw[:4].hex(), row[2])

    def test_genesis_hashes_follow_from_the_figures(self) -> None:
        """Double SHA-256 of: version 1, prev zero, the coinbase's id, time, bits, nonce."""
        self.assertEqual((len(COINBASE), digest(COINBASE)[::-1].hex()), (204, COINBASE_ID))
        for network, (*_, genesis, (time, bits, nonce)) in zip(NETWORKS, TABLE, strict=True):
            header = struct.pack("<i32s32sIII", 1, bytes(32), digest(COINBASE), time, bits, nonce)
            self.assertEqual(digest(header)[::-1].hex(), genesis)
            assert network.genesis_block is not None
            self.assertEqual(network.genesis_block.hash, digest(header))

    def test_genesis_blocks_on_the_wire(self) -> None:
        """Both sub-headers have version 1 and no entries; one transaction, the coinbase."""
        for network, (*_, (time, bits, nonce)) in zip(NETWORKS, TABLE, strict=True):
            assert network.genesis_block is not None
            header = struct.pack("<i32s32sIII", 1, bytes(32), digest(COINBASE), time, bits, nonce)
            expected = header + struct.pack("<iiii", 1, 0, 1, 0) + b"\1" + COINBASE
            for encoding in Encoding:
                raw = write_message(network.genesis_block, network.magic, encoding=encoding)
                self.assertEqual(raw[24:], expected)
                self.assertEqual(read_message(raw, network.magic, encoding=encoding), (network.genesis_block, len(raw)))

    def test_genesis_blocks_hold_what_their_headers_commit_to(self) -> None:
        for network in NETWORKS:
            assert network.genesis_block is not None
            network.genesis_block.verify()
            self.assertEqual(str(network.genesis_block.header.merkle_root), COINBASE_ID)
            self.assertEqual(network.genesis_block.header.prev, ZERO_HASH)
            self.assertEqual([str(tx.txid) for tx in network.genesis_block.transactions], [COINBASE_ID])

    def test_found_by_name(self) -> None:
        self.assertEqual([network_named(row[0]) for row in TABLE], list(NETWORKS))

    def test_unknown_name(self) -> None:
        with self.assertRaises(FieldError) as caught:
            network_named("testnet3")
        self.assertEqual(caught.exception.value, "testnet3")
        self.assertEqual(caught.exception.limit, "one of mainnet, testnet1, regtest, simnet")
        for name in (None, 5, ["simnet"], SIMNET):
            with self.assertRaises(FieldError):
                network_named(name)  # type: ignore[arg-type]


class OwnNetworkTests(TestCase):
    """Users can define their own network."""

    def build(self, **changed: Any) -> Network:
        values: dict[str, Any] = {
            "name": "devnet", "magic": 0x0A0B0C0D, "default_port": 19555, "genesis_hash": Hash(b"\1" * 32),
        }  # fmt: skip
        return Network(**{**values, **changed})

    def assert_refused(self, field: str, limit: str, **changed: Any) -> None:
        with self.assertRaisesRegex(FieldError, limit) as caught:
            self.build(**changed)
        self.assertEqual(caught.exception.field, f"Network.{field}")

    def test_as_given(self) -> None:
        network = self.build()
        self.assertEqual((network.name, network.magic, network.default_port), ("devnet", 0x0A0B0C0D, 19555))
        self.assertIsNone(network.genesis_block)
        self.assertEqual(network.seeds, ())

    def test_magic_is_a_u32(self) -> None:
        self.assertEqual(self.build(magic=0).magic, 0)
        self.assertEqual(self.build(magic=0xFFFFFFFF).magic, 0xFFFFFFFF)
        self.assert_refused("magic", "from 0 to 4294967295", magic=-1)
        self.assert_refused("magic", "from 0 to 4294967295", magic=1 << 32)

    def test_port_is_1_to_65535(self) -> None:
        self.assertEqual(self.build(default_port=1).default_port, 1)
        self.assertEqual(self.build(default_port=65535).default_port, 65535)
        self.assert_refused("default_port", "from 1 to 65535", default_port=0)
        self.assert_refused("default_port", "from 1 to 65535", default_port=65536)

    def test_genesis_hash_is_32_bytes(self) -> None:
        self.assert_refused("genesis_hash", "32 bytes in wire order", genesis_hash=bytes(31))
        self.assert_refused("genesis_hash", "32 bytes in wire order", genesis_hash=bytes(33))

    def test_genesis_block_must_have_that_hash(self) -> None:
        assert SIMNET.genesis_block is not None
        network = self.build(genesis_block=SIMNET.genesis_block, genesis_hash=SIMNET.genesis_hash)
        self.assertIs(network.genesis_block, SIMNET.genesis_block)
        self.assert_refused("genesis_hash", f"its block's, {SIMNET.genesis_hash}", genesis_block=SIMNET.genesis_block)

    def test_immutable(self) -> None:
        network = self.build()
        with self.assertRaises(AttributeError):
            network.magic = 1  # type: ignore[misc]

    def test_equality_and_hash(self) -> None:
        """By what tells networks apart; the block follows from its hash."""
        self.assertEqual(self.build(), self.build())
        self.assertEqual(hash(self.build()), hash(self.build()))
        self.assertNotEqual(self.build(), self.build(magic=1))

    def test_wrong_types(self) -> None:
        for fields in ({"magic": 1.5}, {"default_port": "5"}, {"genesis_hash": None}, {"genesis_hash": "x" * 32}):
            with self.assertRaises(FieldError):
                self.build(**fields)

    def test_errors_say_what_to_give_instead(self) -> None:
        shown = str(SIMNET.genesis_hash)
        self.assert_refused("genesis_hash", r"Hash\.from_hex\(text\)", genesis_hash=shown)
        self.assert_refused("genesis_hash", r"Hash\(raw\)", genesis_hash=bytes(32))
        self.assert_refused("genesis_block", "a Block, or None", genesis_block=bytes(300))
        self.assert_refused("magic", r"int\.from_bytes\(magic, 'little'\)", magic=b"\x16\x1c\x14\x12")
        self.assert_refused("magic", "has it as its attribute magic", magic=SIMNET)
        for name in ("", None, 7):
            self.assert_refused("name", "a string that is not empty", name=name)
        for seeds in ("192.0.2.1", ["192.0.2.1"], ("192.0.2.1", 7), ("",), None):
            self.assert_refused("seeds", "a tuple of host names and IPs", seeds=seeds)

    def test_repr_leaves_the_block_out(self) -> None:
        self.assertNotIn("Block", repr(SIMNET))
        self.assertIn("simnet", repr(SIMNET))
