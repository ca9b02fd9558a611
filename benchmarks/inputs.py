"""What is measured: the same messages in every run, from a fixed seed, and the frames of Bitcoin that are like them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import NamedTuple

from txsoter import SIMNET
from txsoter.wire import (
    Addr,
    Block,
    BlockHeader,
    CFilter,
    Encoding,
    GetData,
    Hash,
    Headers,
    Inv,
    InventoryVector,
    Message,
    NetAddress,
    Parent,
    Ping,
    Services,
    Tx,
    TxIn,
    TxOut,
    Version,
    double_sha256,
    write_message,
)

__all__ = [
    "MAGIC",
    "SAMPLES",
    "SERVICES",
    "Sample",
    "blocks",
    "frame_of",
    "inventories",
    "mixed_blocks",
    "transactions",
]

MAGIC = SIMNET.magic
BITCOIN_MAGIC = bytes.fromhex("f9beb4d9")
SERVICES = Services.NETWORK | Services.WITNESS
"""What both ends advertise, as soterd does."""

_TX_BYTES = 225
_TIME = 1_700_000_000


def frame_of(command: str, payload: bytes, magic: bytes = BITCOIN_MAGIC) -> bytes:
    """A frame, whose header Bitcoin and soter share."""
    head = struct.pack("<4s12sI4s", magic, command.encode(), len(payload), double_sha256(payload)[:4])
    return head + payload


def varint(value: int) -> bytes:
    """The shortest varint of a value below 2^32."""
    if value < 0xFD:
        return bytes((value,))
    return struct.pack("<BH", 0xFD, value) if value <= 0xFFFF else struct.pack("<BI", 0xFE, value)


def _header(rng: Random) -> BlockHeader:
    return BlockHeader(
        1, rng.randbytes(32), rng.randbytes(32), _TIME + rng.randrange(10**6), 0x207FFFFF, rng.getrandbits(32)
    )


def _vectors(rng: Random, count: int) -> list[InventoryVector]:
    return [InventoryVector(1, rng.randbytes(32), -1) for _ in range(count)]


def _addresses(rng: Random, count: int) -> list[NetAddress]:
    return [
        NetAddress(SERVICES, bytes(10) + b"\xff\xff" + rng.randbytes(4), SIMNET.default_port, _TIME)
        for _ in range(count)
    ]


def _uniform_tx(rng: Random) -> Tx:
    """One input, two outputs: 225 bytes, as most transactions are."""
    spent = TxIn(Hash(rng.randbytes(32)), rng.randrange(4), rng.randbytes(106))
    return Tx(1, (spent,), tuple(TxOut(rng.randrange(10**12), rng.randbytes(25)) for _ in range(2)))


def _mixed_tx(rng: Random) -> Tx:
    """1 to 20 inputs and outputs, few more often than many; one in three with witnesses."""
    witness = rng.random() < 1 / 3
    inputs = []
    for _ in range(min(1 + int(rng.expovariate(0.4)), 20)):
        items = (rng.randbytes(72), rng.randbytes(33)) if witness else ()
        script = b"" if witness else rng.randbytes(rng.choice((106, 107, 139, 253)))
        inputs.append(TxIn(Hash(rng.randbytes(32)), rng.randrange(4), script, 0xFFFFFFFE, items))
    count = min(1 + int(rng.expovariate(0.4)), 20)
    outputs = [TxOut(rng.randrange(10**12), rng.randbytes(rng.choice((22, 23, 25, 34)))) for _ in range(count)]
    return Tx(2, inputs, outputs)


def _block(rng: Random, make: Callable[[Random], Tx], size: int) -> Block:
    """A block of about ``size`` bytes: two parents, 20 cycle nonces."""
    found: list[Tx] = []
    left = size
    while left >= _TX_BYTES:
        found.append(make(rng))
        left -= len(found[-1].to_payload(encoding=Encoding.WITNESS))
    return Block(
        header=_header(rng),
        parents=[Parent(Hash(rng.randbytes(32))) for _ in range(2)],
        nonces=[rng.getrandbits(32) for _ in range(20)],
        transactions=found,
    )


def _version(rng: Random) -> Version:
    here = NetAddress(SERVICES, "127.0.0.1", SIMNET.default_port)
    agent = b"/soterwire:0.6.0/benchmark:1.0.0/"
    return Version(
        70013, SERVICES, _TIME, here, NetAddress(SERVICES), rng.getrandbits(64), agent, SIMNET.genesis_hash, 1000
    )


class Sample(NamedTuple):
    """A message to measure.

    :param make: builds it of objects; its encoding is the witness one where it has witnesses.
    :param like: the payload of the Bitcoin message that is like it, of the same object; None where there is none.
    :param reference: microseconds that the Go reference takes to decode it: a constant of the design page.
    """

    name: str
    make: Callable[[Random, bool], Message]
    like: Callable[[Message], bytes] | None = None
    reference: float | None = None
    encoding: Encoding = Encoding.BASE

    def build(self, quick: bool) -> Message:
        """The message; smaller ``quick``."""
        return self.make(Random(self.name), quick)


def _like_inventory(message: Message) -> bytes:
    assert isinstance(message, (Inv, GetData))
    vectors = message.vectors
    return varint(len(vectors)) + b"".join(struct.pack("<I", kind) + found for kind, found, _ in vectors)


def _like_block(message: Message) -> bytes:
    assert isinstance(message, Block)
    header = Headers([message.header]).to_payload()[1:81]
    txs = [each.to_payload(encoding=Encoding.WITNESS) for each in message.transactions]
    return header + varint(len(txs)) + b"".join(txs)


def _like_version(message: Message) -> bytes:
    """Without the genesis hash, which stands before height and relay flag."""
    payload = message.to_payload()
    return payload[:-37] + payload[-5:]


def _same(message: Message) -> bytes:
    return message.to_payload()


def _n(count: int, quick: bool) -> int:
    return min(count, 20) if quick else count


def _bytes(size: int, quick: bool) -> int:
    return min(size, 20 * _TX_BYTES) if quick else size


SAMPLES = (
    Sample("ping", lambda rng, quick: Ping(rng.getrandbits(64)), _same, 0.78),
    Sample("version", lambda rng, quick: _version(rng), _like_version),
    Sample("inv of 1", lambda rng, quick: Inv(_vectors(rng, 1)), _like_inventory),
    Sample("inv of 1000", lambda rng, quick: Inv(_vectors(rng, _n(1000, quick))), _like_inventory, 213),
    Sample("inv of 45,000", lambda rng, quick: Inv(_vectors(rng, _n(45_000, quick))), _like_inventory, 8_800),
    Sample("getdata of 1000", lambda rng, quick: GetData(_vectors(rng, _n(1000, quick))), _like_inventory, 213),
    Sample("headers of 2000", lambda rng, quick: Headers([_header(rng) for _ in range(_n(2000, quick))]), _same, 911),
    Sample("addr of 1000", lambda rng, quick: Addr(_addresses(rng, _n(1000, quick))), _same, 266),
    Sample("tx, 225 B", lambda rng, quick: _uniform_tx(rng), _same, 2.2),
    Sample("block, 450 KB", lambda rng, quick: _block(rng, _uniform_tx, _bytes(450_000, quick)), _like_block, 2_760),
    Sample(
        "block, 450 KB mixed",
        lambda rng, quick: _block(rng, _mixed_tx, _bytes(450_000, quick)),
        _like_block,
        None,
        Encoding.WITNESS,
    ),
    Sample("block, 4 MB", lambda rng, quick: _block(rng, _uniform_tx, _bytes(3_990_000, quick)), _like_block),
    Sample(
        "cfilter, 20 KB",
        lambda rng, quick: CFilter(Hash(rng.randbytes(32)), rng.randbytes(_n(20_000, quick))),
        _same,
    ),
)


# -- what goes over connections ----------------------------------------------------------------

_VARIANTS = 4
"""How many different messages take turns, so that nothing can be remembered from one to the next."""


@cache
def inventories() -> tuple[Inv, ...]:
    """Invs of 1000, built of rows."""
    return tuple(Inv(_vectors(Random(f"inv {index}"), 1000)) for index in range(_VARIANTS))


@cache
def transactions() -> tuple[Tx, ...]:
    """Small transactions."""
    return tuple(_uniform_tx(Random(f"tx {index}")) for index in range(64))


@cache
def blocks() -> tuple[Block, ...]:
    """Blocks of 450 KB, their 2000 transactions all of one shape."""
    return tuple(_block(Random(f"block {index}"), _uniform_tx, 450_000) for index in range(_VARIANTS))


@cache
def mixed_blocks() -> tuple[Block, ...]:
    """Blocks of about the same size, their transactions of many shapes; to be encoded with witnesses."""
    return tuple(_block(Random(f"mixed {index}"), _mixed_tx, 450_000) for index in range(_VARIANTS))


def frames(messages: tuple[Message, ...], encoding: Encoding = Encoding.BASE) -> list[bytes]:
    """The frames of messages."""
    return [write_message(message, MAGIC, encoding=encoding) for message in messages]


def sent_on(messages: tuple[Message, ...], encoding: Encoding = Encoding.BASE) -> Iterator[Message]:
    """Messages as a relay has them: decoded, and not changed."""
    for message in messages:
        yield type(message).from_payload(message.to_payload(encoding=encoding), encoding=encoding)[0]
