"""The little of scripts that filters need: what they push, and two of their standard forms."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["OP_RETURN", "Operation", "holds_public_keys", "is_unspendable_data", "operations", "pushed_data"]

OP_PUSHDATA1, OP_PUSHDATA2, OP_PUSHDATA4 = 0x4C, 0x4D, 0x4E
OP_1, OP_16 = 0x51, 0x60
OP_RETURN = 0x6A
OP_CHECKSIG, OP_CHECKMULTISIG = 0xAC, 0xAE

_LENGTH_BYTES = {OP_PUSHDATA1: 1, OP_PUSHDATA2: 2, OP_PUSHDATA4: 4}
_KEY_SIZES = (33, 65)


class Operation(NamedTuple):
    """A step of a script.

    :param opcode: its first byte.
    :param data: the bytes that it pushes, if they are in the script; empty for OP_0.
    """

    opcode: int
    data: bytes | None


def operations(script: bytes) -> list[Operation] | None:
    """Return the steps of a script; None where a push goes beyond its end."""
    found: list[Operation] = []
    offset, size = 0, len(script)
    while offset < size:
        opcode = script[offset]
        offset += 1
        if opcode > OP_PUSHDATA4:
            found.append(Operation(opcode, None))
            continue
        length = opcode
        if opcode >= OP_PUSHDATA1:
            start = offset
            offset += _LENGTH_BYTES[opcode]
            if offset > size:
                return None
            length = int.from_bytes(script[start:offset], "little")
        end = offset + length
        if end > size:
            return None
        found.append(Operation(opcode, script[offset:end]))
        offset = end
    return found


def pushed_data(script: bytes) -> list[bytes]:
    """Return the data that a script pushes; none where a push goes beyond its end."""
    return [data for _, data in operations(script) or () if data is not None]


def is_unspendable_data(script: bytes) -> bool:
    """Return whether a script is OP_RETURN with nothing but pushes behind it, small numbers included."""
    if not script or script[0] != OP_RETURN:
        return False
    found = operations(script[1:])
    return found is not None and all(opcode <= OP_16 for opcode, _ in found)


def holds_public_keys(script: bytes) -> bool:
    """Return whether a script is a public key and OP_CHECKSIG, or a standard multisig of public keys."""
    found = operations(script)
    if found is None or len(found) < 2:
        return False
    *before, (last, _) = found
    if last == OP_CHECKSIG:
        return len(before) == 1 and _is_key(before[0])
    if last != OP_CHECKMULTISIG or len(before) < 3:
        return False
    (required, _), *keys, (total, _) = before
    return _is_small(required) and _is_small(total) and _number(total) == len(keys) and all(map(_is_key, keys))


def _is_key(operation: Operation) -> bool:
    return operation.data is not None and len(operation.data) in _KEY_SIZES


def _is_small(opcode: int) -> bool:
    return opcode == 0 or OP_1 <= opcode <= OP_16


def _number(opcode: int) -> int:
    return opcode - OP_1 + 1 if opcode else 0
