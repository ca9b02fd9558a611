"""The proof of work of a block, its difficulty, and the target that its header names."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b

from txsoter.errors import FieldError, InvalidProof
from txsoter.wire import BlockHeader, double_sha256
from txsoter.wire.codec import U32
from txsoter.wire.cuckoo import check_cycle

__all__ = ["check_proof_of_work", "proof_difficulty", "target_of"]

HEADER_SIZE = 80


def check_proof_of_work(header: BlockHeader | bytes, nonces: Sequence[int]) -> None:
    """Check that the nonces are a cuckoo cycle of the header's hash, as nodes check it.

    The difficulty is not compared with the target: validation does not, only miners do.

    :param header: a header, or its 80 bytes.
    :param nonces: a block's, 20 of them.
    :raises InvalidProof: naming the rule that the nonces break.
    :raises FieldError: for a header or nonces that are none.
    """
    if isinstance(header, BlockHeader):
        block_hash = header.hash
    elif isinstance(header, bytes) and len(header) == HEADER_SIZE:
        block_hash = double_sha256(header)
    else:
        raise FieldError("header", header, f"a BlockHeader or its {HEADER_SIZE} bytes")
    check_cycle(block_hash[:16], nonces)


def proof_difficulty(nonces: Sequence[int]) -> int:
    """Return the difficulty that a proof reaches: 2^256 divided by its hash.

    :param nonces: a block's; any number of u32.
    :raises FieldError: for nonces that are none.
    """
    try:
        packed = struct.pack(f"<{len(nonces)}I", *nonces)
    except (struct.error, TypeError):
        raise FieldError("nonces", nonces, "a sequence of u32") from None
    inner = blake2b(packed, digest_size=32).digest()
    return (1 << 256) // int.from_bytes(blake2b(inner, digest_size=32).digest(), "big")


def target_of(bits: int) -> int:
    """Return the target that ``bits``, a header's, stands for.

    The highest byte is a length in bytes, the others are the number's first three, of which the first bit is a sign.

    :raises InvalidProof: for a number that is negative or exceeds 256 bits.
    :raises FieldError: for bits that are no u32.
    """
    try:
        U32.check(bits)
    except FieldError as error:
        raise error.within("bits") from None
    size, digits = bits >> 24, bits & 0x7FFFFF
    target = digits << 8 * (size - 3) if size > 3 else digits >> 8 * (3 - size)
    if target and bits & 0x800000:
        raise InvalidProof("target", f"bits {bits:#010x} stand for a negative number")
    if target >> 256:
        raise InvalidProof("target", f"bits {bits:#010x} stand for a number of more than 256 bits")
    return target
