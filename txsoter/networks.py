"""The networks of soter, and how to define another.

::

    DEVNET = Network(name="devnet", magic=0x0A0B0C0D, default_port=19555, genesis_hash=Hash.from_hex("..."))
"""

from __future__ import annotations

import attrs

from txsoter.errors import FieldError
from txsoter.wire import Block, BlockHeader, Hash, Tx
from txsoter.wire.arguments import check_magic

__all__ = ["MAINNET", "REGTEST", "SIMNET", "TESTNET1", "Network", "network_named"]


@attrs.frozen
class Network:
    """A network: what tells its peers from those of others.

    :param name: for options and logs.
    :param magic: u32; a frame begins with its four bytes, lowest first.
    :param default_port: where nodes listen.
    :param genesis_hash: of its first block; peers name it in their ``version``.
    :param genesis_block: the first block itself, if known.
    :param seeds: addresses of nodes to begin with: host names or IPs, at the default port.
    :raises FieldError: for values that cannot be, and a block that has another hash.
    """

    name: str
    magic: int
    default_port: int
    genesis_hash: Hash
    genesis_block: Block | None = attrs.field(default=None, repr=False, eq=False)
    seeds: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise FieldError("Network.name", self.name, "a string that is not empty")
        try:
            check_magic(self.magic)
        except FieldError as error:
            raise error.within("Network") from None
        if not isinstance(self.default_port, int) or not 0 < self.default_port < 1 << 16:
            raise FieldError("Network.default_port", self.default_port, "a whole number from 1 to 65535")
        if not isinstance(self.genesis_hash, Hash):
            limit = "a Hash: Hash.from_hex(text), or Hash(raw) of 32 bytes in wire order"
            raise FieldError("Network.genesis_hash", self.genesis_hash, limit)
        if self.genesis_block is not None:
            if not isinstance(self.genesis_block, Block):
                raise FieldError("Network.genesis_block", self.genesis_block, "a Block, or None")
            if self.genesis_block.hash != self.genesis_hash:
                limit = f"its block's, {self.genesis_block.hash}"
                raise FieldError("Network.genesis_hash", str(self.genesis_hash), limit)
        if not isinstance(self.seeds, tuple) or not all(isinstance(each, str) and each for each in self.seeds):
            raise FieldError("Network.seeds", self.seeds, "a tuple of host names and IPs, without ports")


_GENESIS_COINBASE = bytes.fromhex(
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104"
    "455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f"
    "6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130"
    "b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5f"
    "ac00000000"
)


def _genesis(time: int, bits: int, nonce: int) -> Block:
    """A genesis block of soter: Bitcoin's coinbase, no parents, no cycle."""
    coinbase, _ = Tx.from_payload(_GENESIS_COINBASE)
    return Block(
        header=BlockHeader(version=1, merkle_root=coinbase.txid, time=time, bits=bits, nonce=nonce),
        parents_version=1,
        verification_version=1,
        transactions=(coinbase,),
    )


def _network(name: str, magic: int, port: int, genesis: Block, seeds: tuple[str, ...] = ()) -> Network:
    return Network(name, magic, port, genesis.hash, genesis, seeds)


MAINNET = _network("mainnet", 0xD9B4BEF9, 8333, _genesis(0x495FAB29, 0x1D00FFFF, 0x7C2BAC1D))
"""Soter's main network. Its seeds are Bitcoin's, not soter's, so there are none here."""

TESTNET1 = _network(
    "testnet1",
    0x0709110B,
    5070,
    _genesis(1296688602, 0x1D7FFFFF, 0x01140C89),
    seeds=("134.209.59.43", "192.241.147.9"),
)
"""Soter's test network."""

REGTEST = _network("regtest", 0xDAB5BFFA, 18444, _genesis(1296688602, 0x207FFFFF, 2))
"""For regression tests on one machine."""

SIMNET = _network("simnet", 0x12141C16, 18555, _genesis(1543863094, 0x207FFFFF, 2))
"""For simulations: nothing is learned or advertised there."""

_BY_NAME = {network.name: network for network in (MAINNET, TESTNET1, REGTEST, SIMNET)}


def network_named(name: str) -> Network:
    """Return the network that ``name`` means.

    :raises FieldError: when it is none of soter's four.
    """
    try:
        return _BY_NAME[name]
    except (KeyError, TypeError):
        raise FieldError("network", name, f"one of {', '.join(_BY_NAME)}") from None
